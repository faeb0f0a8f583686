//! `dsi data fetch`: downloads a dataset from its publishers into a folder for `data.root`.
//!
//! Each file of the table ([`dataset_sources`]) is downloaded ([`http`](super::http)), unpacked (`unpack`)
//! and removed, one after the other, so that at most one archive is on the disk. Existing files are used:
//! unpacked photos and captions, archives that the user put into the folder, archives in the hub's cache, and
//! partial downloads.

pub mod dataset_sources;
mod unpack;

use std::path::{Path, PathBuf};
use std::{fs, io};

use self::dataset_sources::{Dataset, DatasetFile, Location, Output};
use super::http::{Checksum, Download, Fault};
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

/// The state of an archive.
enum Archive {
    /// The user put it into the folder, or another program into the hub's cache. It is never removed.
    Present(PathBuf),
    /// To be downloaded; so many bytes exist as a partial download.
    Missing(u64),
}

impl Fetcher<'_> {
    /// Completes the dataset's folder, and returns whether anything was missing.
    ///
    /// # Errors
    /// When a file cannot be downloaded (the message names it, the reason and the manual steps), the disk is
    /// too small, a checksum is wrong, or an archive is refused.
    pub fn fetch(&self, dataset: &Dataset) -> Result<bool> {
        let missing: Vec<&DatasetFile> =
            dataset.files.iter().filter(|file| !exists(&self.out.join(file.output.path()))).collect();
        if missing.is_empty() {
            return Ok(false);
        }
        tracing::info!("{}: {}", dataset.name, dataset.terms);
        let absent: Vec<&DatasetFile> =
            missing.iter().copied().filter(|file| matches!(self.locate(file), Archive::Missing(_))).collect();
        if self.hub.offline && !absent.is_empty() {
            return Err(self.offline_error(&absent));
        }
        self.announce(&missing)?;
        missing.into_iter().try_for_each(|file| self.fetch_file(file))?;
        Ok(true)
    }

    /// The state of an archive: in the folder, in the hub's cache, or missing.
    fn locate(&self, file: &DatasetFile) -> Archive {
        let by_hand =
            [file.name].iter().chain(file.alternatives).map(|name| self.out.join(name)).find(|p| p.is_file());
        if let Some(path) = by_hand {
            return Archive::Present(path);
        }
        let cached = file.locations.iter().find_map(|location| match location {
            Location::Hub(id, revision, file) => self.hub.cached(id, revision, file),
            Location::Web(_) => None,
        });
        cached.map_or_else(|| Archive::Missing(partial_length(&self.out.join(file.name))), Archive::Present)
    }

    /// Logs the files and sizes to download, and checks that they fit on the disk.
    fn announce(&self, missing: &[&DatasetFile]) -> Result<()> {
        let (mut now, mut most, mut download, mut unknown) = (0u64, 0u64, 0u64, false);
        for file in missing {
            let size = file.size.or_else(|| self.remote_size(file));
            unknown |= size.is_none();
            let size = size.unwrap_or(0);
            let (what, to_download) = match self.locate(file) {
                Archive::Present(path) => (format!("found ({})", path.display()), 0),
                Archive::Missing(0) if size == 0 => ("size unknown".to_owned(), 0),
                Archive::Missing(0) => (disk_space::size(size), size),
                Archive::Missing(part) => (
                    format!("{}, of which {} are downloaded", disk_space::size(size), disk_space::size(part)),
                    size.saturating_sub(part),
                ),
            };
            tracing::info!("{}: {what}, unpacked into {}", file.name, file.output.path());
            // Photos do not compress; captions do, to a third.
            let unpacked = if matches!(file.output, Output::File(_)) { size.saturating_mul(4) } else { size };
            download = to_download.saturating_add(download);
            most = most.max(to_download.saturating_add(unpacked).saturating_add(now));
            now = unpacked.saturating_add(now).saturating_add(if self.keep { to_download } else { 0 });
        }
        let at_least = if unknown { "at least " } else { "" };
        tracing::info!("{at_least}{} to fetch into {}", disk_space::size(download), self.out.display());
        disk_space::check(self.out, most.max(now))
    }

    fn remote_size(&self, file: &DatasetFile) -> Option<u64> {
        let absent = matches!(self.locate(file), Archive::Missing(_));
        let (url, token) = self.url(file.locations.first().filter(|_| absent)?);
        self.hub.http.head(&url, token.as_deref()).ok()?.size
    }

    fn url(&self, location: &Location) -> (String, Option<String>) {
        match location {
            Location::Hub(id, revision, file) => self.hub.dataset_file(id, revision, file),
            Location::Web(url) => ((*url).to_owned(), None),
        }
    }

    /// Downloads the archive if it is missing, and unpacks it.
    fn fetch_file(&self, file: &DatasetFile) -> Result<()> {
        let location = self.out.join(file.output.path());
        let (archive, downloaded) = match self.locate(file) {
            Archive::Present(path) => {
                check(file, &path, self.hub.http.progress)?;
                (path, false)
            }
            Archive::Missing(_) => (self.download(file)?, true),
        };
        let count = unpack::unpack(&archive, file.output, &location, self.hub.http.progress)?;
        tracing::info!("{}: {count} files in {}", file.name, location.display());
        if downloaded && !self.keep {
            fs::remove_file(&archive).map_err(Error::io("remove", &archive))?;
        }
        Ok(())
    }

    fn download(&self, file: &DatasetFile) -> Result<PathBuf> {
        let path = self.out.join(file.name);
        let mut faults = Vec::new();
        for location in &file.locations {
            let (url, token) = self.url(location);
            let DatasetFile { name, size, checksum, .. } = file;
            let checksum = checksum.as_ref();
            let download =
                Download { name, url: &url, token: token.as_deref(), path: &path, size: *size, checksum };
            match self.hub.http.download(&download) {
                Ok(()) => return Ok(path),
                Err(Fault::Local(error)) => return Err(error),
                Err(fault) => {
                    let remedy = if matches!(location, Location::Hub(..)) {
                        hub::remedy(name, &fault)
                    } else {
                        web_remedy(&fault)
                    };
                    faults.push(format!("{url}: {fault}; {remedy}"));
                }
            }
        }
        let by_hand = manual_steps(file, self.out);
        Err(Error::input(format!("{} cannot be fetched: {}; or {by_hand}", file.name, faults.join("; "))))
    }

    fn offline_error(&self, absent: &[&DatasetFile]) -> Error {
        let lines: Vec<String> = absent
            .iter()
            .map(|file| {
                format!("\n  {}, for {}: {}", file.name, file.output.path(), manual_steps(file, self.out))
            })
            .collect();
        let out = self.out.display();
        Error::input(format!("{out} is not complete, and the network is off (--offline):{}", lines.concat()))
    }
}

/// Whether the output of an archive exists: a file, or a folder that is not empty.
fn exists(output: &Path) -> bool {
    output.is_file() || fs::read_dir(output).is_ok_and(|mut entries| entries.next().is_some())
}

/// Bytes of the partial download.
fn partial_length(path: &Path) -> u64 {
    fs::metadata(super::http::partial_path(path)).map_or(0, |part| part.len())
}

/// How the user can get the file manually.
fn manual_steps(file: &DatasetFile, out: &Path) -> String {
    let names = [file.name].iter().chain(file.alternatives).copied().collect::<Vec<_>>().join(" or ");
    format!("get it from {} and put it as {names} into {}, then fetch again", file.page, out.display())
}

fn web_remedy(fault: &Fault) -> &'static str {
    match fault {
        Fault::Status { code: 401 | 403 | 404 | 410, .. } => "it is no longer available there",
        Fault::Answer(_) => "does the network require a login?",
        _ => "try again: the download resumes",
    }
}

/// Checks the checksum of an archive that the user or another program provided, if its name is the published
/// one.
fn check(file: &DatasetFile, path: &Path, progress: Progress) -> Result<()> {
    let is_published = path.file_name().is_some_and(|name| name == file.name) || path.is_symlink();
    let Some(expected) = file.checksum.as_ref().filter(|_| is_published) else { return Ok(()) };
    let found = checksum(expected, file, path, progress).map_err(Error::io("read", path))?;
    if found != *expected {
        let what =
            format!("is not the published archive: its {found} is not the {expected} that is expected");
        return Err(Error::file(path, what + "; delete it to download it again"));
    }
    Ok(())
}

/// The checksum of the archive at `path`, with the hash function of `expected`.
fn checksum(
    expected: &Checksum,
    file: &DatasetFile,
    path: &Path,
    progress: Progress,
) -> io::Result<Checksum> {
    let content = fs::File::open(path)?;
    let length = content.metadata().ok().map(|metadata| metadata.len());
    let bar = progress.bytes(length, format!("checking {}", file.name));
    expected.of(content, &|n| bar.inc(n))
}
