//! `dsi data fetch`: a dataset from its publishers to a folder that a configuration can name.
//!
//! Each file of the table ([`sources`]) is downloaded ([`http`](super::http)), unpacked (`unpack`) and removed,
//! in turn, so that no more than one archive lies on the disk. What is there is not fetched again: photos and
//! captions in their places, archives that were put there by hand, archives in the hub's cache, parts of archives.

pub mod dataset_sources;
mod unpack;

use std::path::{Path, PathBuf};
use std::{fs, io};

use self::dataset_sources::{Dataset, Makes, Place, Source};
use super::http::{Fault, Wanted};
use super::hub::Hub;
use super::{disk_space, hub};
use crate::error::{Error, Result};
use crate::progress::Progress;

/// Fetches datasets.
pub struct Fetcher<'a> {
    /// The hub, whose client fetches from other hosts too.
    pub hub: &'a Hub,
    /// The folder of the dataset.
    pub out: &'a Path,
    /// Whether archives are kept after they are unpacked.
    pub keep: bool,
}

/// Where an archive is, or is to be.
enum Archive {
    /// Put here by hand, or by another program into the hub's cache: not ours to tidy.
    Here(PathBuf),
    /// Not here, but for so many bytes of it.
    Away(u64),
}

impl Fetcher<'_> {
    /// Completes the dataset's folder; whether anything was missing.
    ///
    /// # Errors
    /// When a file cannot be had (it says which, why, and where to put it by hand), the disk has no room, a
    /// checksum is wrong, or an archive is refused.
    pub fn fetch(&self, dataset: &Dataset) -> Result<bool> {
        let missing: Vec<&Source> =
            dataset.files.iter().filter(|source| !is_made(&self.out.join(source.makes.path()))).collect();
        if missing.is_empty() {
            return Ok(false);
        }
        tracing::info!("{}: {}", dataset.name, dataset.terms);
        let away: Vec<&Source> =
            missing.iter().copied().filter(|source| matches!(self.find(source), Archive::Away(_))).collect();
        if self.hub.offline && !away.is_empty() {
            return Err(self.unreachable(&away));
        }
        self.announce(&missing)?;
        missing.into_iter().try_for_each(|source| self.make(source))?;
        Ok(true)
    }

    /// Where the archive is: by hand, from a place it may also come from, or not at all.
    fn find(&self, source: &Source) -> Archive {
        let by_hand =
            [source.name].iter().chain(source.instead).map(|name| self.out.join(name)).find(|p| p.is_file());
        if let Some(path) = by_hand {
            return Archive::Here(path);
        }
        let cached = source.places.iter().find_map(|place| match place {
            Place::Hub(id, revision, file) => self.hub.cached(id, revision, file),
            Place::Web(_) => None,
        });
        cached.map_or_else(|| Archive::Away(part_of(&self.out.join(source.name))), Archive::Here)
    }

    /// Says what is to come, and refuses what the disk cannot take.
    fn announce(&self, missing: &[&Source]) -> Result<()> {
        let (mut now, mut most, mut download, mut unknown) = (0u64, 0u64, 0u64, false);
        for source in missing {
            let size = source.size.or_else(|| self.ask_size(source));
            unknown |= size.is_none();
            let size = size.unwrap_or(0);
            let (what, coming) = match self.find(source) {
                Archive::Here(path) => (format!("is here ({})", path.display()), 0),
                Archive::Away(0) if size == 0 => ("size unknown".to_owned(), 0),
                Archive::Away(0) => (disk_space::size(size), size),
                Archive::Away(part) => (
                    format!("{}, of which {} are here", disk_space::size(size), disk_space::size(part)),
                    size.saturating_sub(part),
                ),
            };
            tracing::info!("{}: {what}, makes {}", source.name, source.makes.path());
            // Photos do not pack; captions do, to a third.
            let unpacked = if matches!(source.makes, Makes::File(_)) { size.saturating_mul(4) } else { size };
            download = coming.saturating_add(download);
            most = most.max(coming.saturating_add(unpacked).saturating_add(now));
            now = unpacked.saturating_add(now).saturating_add(if self.keep { coming } else { 0 });
        }
        let at_least = if unknown { "at least " } else { "" };
        tracing::info!("{at_least}{} to fetch into {}", disk_space::size(download), self.out.display());
        disk_space::check(self.out, most.max(now))
    }

    fn ask_size(&self, source: &Source) -> Option<u64> {
        let away = matches!(self.find(source), Archive::Away(_));
        let (url, token) = self.address(source.places.first().filter(|_| away)?);
        self.hub.http.head(&url, token.as_deref()).ok()?.size
    }

    fn address(&self, place: &Place) -> (String, Option<String>) {
        match place {
            Place::Hub(id, revision, file) => self.hub.dataset_file(id, revision, file),
            Place::Web(url) => ((*url).to_owned(), None),
        }
    }

    /// Has the archive, and unpacks it.
    fn make(&self, source: &Source) -> Result<()> {
        let place = self.out.join(source.makes.path());
        let (archive, ours) = match self.find(source) {
            Archive::Here(path) => {
                check(source, &path, self.hub.http.progress)?;
                (path, false)
            }
            Archive::Away(_) => (self.download(source)?, true),
        };
        let count = unpack::unpack(&archive, source.makes, &place, self.hub.http.progress)?;
        tracing::info!("{}: {count} files in {}", source.name, place.display());
        if ours && !self.keep {
            fs::remove_file(&archive).map_err(Error::io("remove", &archive))?;
        }
        Ok(())
    }

    fn download(&self, source: &Source) -> Result<PathBuf> {
        let path = self.out.join(source.name);
        let mut faults = Vec::new();
        for place in &source.places {
            let (url, token) = self.address(place);
            let Source { name, size, checksum, .. } = source;
            let checksum = checksum.as_ref();
            let wanted =
                Wanted { name, url: &url, token: token.as_deref(), path: &path, size: *size, checksum };
            match self.hub.http.download(&wanted) {
                Ok(()) => return Ok(path),
                Err(Fault::Local(error)) => return Err(error),
                Err(fault) => {
                    let remedy = if matches!(place, Place::Hub(..)) {
                        hub::remedy(name, &fault)
                    } else {
                        again(&fault)
                    };
                    faults.push(format!("{url}: {fault}; {remedy}"));
                }
            }
        }
        let by_hand = by_hand(source, self.out);
        Err(Error::input(format!("{} cannot be fetched: {}; or {by_hand}", source.name, faults.join("; "))))
    }

    fn unreachable(&self, away: &[&Source]) -> Error {
        let lines: Vec<String> = away
            .iter()
            .map(|source| {
                format!("\n  {}, for {}: {}", source.name, source.makes.path(), by_hand(source, self.out))
            })
            .collect();
        let out = self.out.display();
        Error::input(format!(
            "{out} is not complete, and the network is not asked (--offline):{}",
            lines.concat()
        ))
    }
}

/// Whether what an archive makes is there: a file, or a folder with something in it.
fn is_made(place: &Path) -> bool {
    place.is_file() || fs::read_dir(place).is_ok_and(|mut entries| entries.next().is_some())
}

/// Bytes that an earlier attempt has left.
fn part_of(path: &Path) -> u64 {
    fs::metadata(super::http::part_of(path)).map_or(0, |part| part.len())
}

/// What else the user can do.
fn by_hand(source: &Source, out: &Path) -> String {
    let names = [source.name].iter().chain(source.instead).copied().collect::<Vec<_>>().join(" or ");
    format!("get it from {} and put it as {names} into {}, then fetch again", source.page, out.display())
}

fn again(fault: &Fault) -> &'static str {
    match fault {
        Fault::Status { code: 401 | 403 | 404 | 410, .. } => "it is no longer given there",
        Fault::Answer(_) => "does the network ask for a login?",
        _ => "try again: what has come is kept",
    }
}

/// An archive that was put here by hand or by another program must be the one that is known.
fn check(source: &Source, path: &Path, progress: Progress) -> Result<()> {
    let known = path.file_name().is_some_and(|name| name == source.name) || path.is_symlink();
    let Some(expected) = source.checksum.as_ref().filter(|_| known) else { return Ok(()) };
    let read = || -> io::Result<_> {
        let file = fs::File::open(path)?;
        let bar = progress
            .bytes(file.metadata().ok().map(|about| about.len()), format!("checking {}", source.name));
        expected.of(file, &|n| bar.inc(n))
    };
    let found = read().map_err(Error::io("read", path))?;
    if found != *expected {
        let what =
            format!("is not the archive that is known: its {found} is not the {expected} that is expected");
        return Err(Error::file(path, what + "; delete it, and it is fetched anew"));
    }
    Ok(())
}
