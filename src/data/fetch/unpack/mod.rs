//! Archives from elsewhere, unpacked into one folder or not at all.
//!
//! Zip, tar and tar.gz. Only what is wanted is taken: photos, or one file. Folders in the archive do not matter, a
//! file goes by its last name. An archive with a path that leads outside (`../`, `/…`), a link or two photos of one
//! name is refused whole, and so is one that swells beyond reason. What is unpacked grows beside its place and is
//! renamed at the end.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use indicatif::ProgressBar;

use super::dataset_sources::Makes;
use crate::error::{Error, Result};
use crate::file_io;
use crate::progress::Progress;

/// Bytes of the largest photo, and of the largest other file (COCO's captions have 150 MB).
const LARGEST: [u64; 2] = [256 << 20, 1 << 30];
/// An archive may hold this many times its own bytes, and a gigabyte besides: photos do not pack at all.
const SWELL: u64 = 4;
/// Photos of the largest archive.
const MOST: usize = 2_000_000;
/// The endings of photos.
const PHOTOS: [&str; 5] = ["jpg", "jpeg", "png", "webp", "bmp"];

/// Takes out of the archive what it is to make and puts that at `place`; the number of files.
///
/// # Errors
/// When the archive cannot be read, has an entry that is refused (named), or lacks what is wanted.
pub fn unpack(archive: &Path, makes: Makes, place: &Path, progress: Progress) -> Result<usize> {
    let growing = beside(place);
    let remove = |path: &Path| match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(e)),
        _ => Ok(()),
    };
    remove(&growing)?;
    fs::create_dir_all(&growing).map_err(Error::io("create", &growing))?;
    let length = fs::metadata(archive).map_err(Error::io("read", archive))?.len();
    let mut taker = Taker {
        archive,
        makes,
        folder: &growing,
        room: length.saturating_mul(SWELL).saturating_add(1 << 30),
        names: HashSet::new(),
        bar: progress.bytes(Some(length), format!("unpacking {}", name_of(archive))),
    };
    let taken = taker.entries().and_then(|()| taker.finish(place));
    let count = taker.names.len();
    drop(taker);
    remove(&growing)?;
    taken.map(|()| count)
}

/// Where it grows: a folder, also for a file.
fn beside(place: &Path) -> PathBuf {
    let mut name = place.as_os_str().to_owned();
    name.push(".unpacking");
    name.into()
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Goes through an archive and takes what is wanted into a folder.
struct Taker<'a> {
    archive: &'a Path,
    makes: Makes,
    folder: &'a Path,
    room: u64,
    names: HashSet<String>,
    bar: ProgressBar,
}

impl Taker<'_> {
    fn entries(&mut self) -> Result<()> {
        let file = File::open(self.archive).map_err(Error::io("read", self.archive))?;
        let name = name_of(self.archive);
        match () {
            () if name.ends_with(".zip") => self.zip(BufReader::new(file)),
            () if name.ends_with(".tar") => self.tar(BufReader::new(file)),
            () => self.tar(GzDecoder::new(BufReader::new(file))),
        }
    }

    fn zip(&mut self, file: BufReader<File>) -> Result<()> {
        let broken = |e: &dyn std::fmt::Display| self.broken(e);
        let mut zip = zip::ZipArchive::new(file).map_err(|e| broken(&e))?;
        for i in 0..zip.len() {
            let entry = zip.by_index(i).map_err(|e| self.broken(&e))?;
            let name = entry.name().map_err(|e| self.broken(&e))?.into_owned();
            let kind = if entry.is_dir() { Kind::Folder } else { Kind::of(!entry.is_symlink()) };
            self.bar.set_position(entry.data_start().unwrap_or(0));
            self.take(&name, kind, entry.size(), entry)?;
        }
        Ok(())
    }

    fn tar(&mut self, archive: impl Read) -> Result<()> {
        let mut tar = tar::Archive::new(self.bar.wrap_read(archive));
        for entry in tar.entries().map_err(|e| self.broken(&e))? {
            let entry = entry.map_err(|e| self.broken(&e))?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let header = entry.header().entry_type();
            let kind = match () {
                () if header.is_dir() => Kind::Folder,
                () if header.is_pax_global_extensions() => continue,
                () => Kind::of(header.is_file() || header.is_contiguous()),
            };
            let size = entry.size();
            self.take(&name, kind, size, entry)?;
        }
        Ok(())
    }

    fn broken(&self, what: &dyn std::fmt::Display) -> Error {
        let what = format!("cannot be unpacked: {what}; delete it, and it is fetched anew");
        Error::file(self.archive, what)
    }

    fn refuse(&self, entry: &str, what: &str) -> Error {
        let entry: String = entry.chars().take(200).flat_map(char::escape_debug).collect();
        Error::file(self.archive, format!("is refused: its entry `{entry}` {what}"))
    }

    /// Refuses an entry, passes it over, or takes it.
    fn take(&mut self, entry: &str, kind: Kind, size: u64, content: impl Read) -> Result<()> {
        if !is_inside(entry) {
            return Err(self.refuse(entry, "leads outside the folder"));
        }
        if kind == Kind::Other {
            return Err(self.refuse(entry, "is a link or a device; only files and folders are allowed"));
        }
        let name = entry.rsplit('/').next().unwrap_or_default();
        // What macOS adds to its archives: a hidden file for each photo, of the same ending.
        let hidden = entry.split('/').any(|part| part.starts_with('.') && part != "." || part == "__MACOSX");
        if kind == Kind::Folder || hidden || !self.makes.wants(name) {
            return Ok(());
        }
        if self.names.len() == MOST {
            return Err(self.refuse(entry, "is one too many"));
        }
        if !self.names.insert(name.to_owned()) {
            return Err(self.refuse(entry, "has the name of another one"));
        }
        let largest = LARGEST[usize::from(matches!(self.makes, Makes::File(_)))];
        let limit = largest.min(self.room);
        if size > limit {
            return Err(self.refuse(entry, "is too large"));
        }
        self.write(entry, name, limit, content)
    }

    /// What the archive says of sizes is not believed: more than `limit` bytes are refused when they come.
    fn write(&mut self, entry: &str, name: &str, limit: u64, content: impl Read) -> Result<()> {
        let path = self.folder.join(name);
        let mut file = File::create(&path).map_err(Error::io("write", &path))?;
        let mut content = Faithful { inner: content.take(limit + 1), fault: None };
        let copied = io::copy(&mut content, &mut file);
        match (copied, content.fault) {
            (_, Some(fault)) => Err(self.broken(&format!("{name}: {fault}"))),
            (Err(e), None) => Err(Error::io("write", &path)(e)),
            (Ok(n), None) if n > limit => Err(self.refuse(entry, "is too large")),
            (Ok(n), None) => {
                self.room -= n;
                Ok(())
            }
        }
    }

    /// Puts what was taken in its place.
    fn finish(&self, place: &Path) -> Result<()> {
        if self.names.is_empty() {
            let wanted = match self.makes {
                Makes::File(path) => path,
                Makes::Photos(_) => "photos",
            };
            return Err(Error::file(self.archive, format!("has no {wanted}; is it the right archive?")));
        }
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        }
        let from = match self.makes {
            Makes::File(path) => self.folder.join(last(path)),
            Makes::Photos(_) => self.folder.to_owned(),
        };
        fs::remove_dir(place).ok(); // an empty folder, made by hand
        fs::rename(&from, place).map_err(Error::io("write", place))?;
        file_io::sync_folder(place.parent().unwrap_or(Path::new("."))).map_err(Error::io("write", place))
    }
}

impl Makes {
    fn wants(self, name: &str) -> bool {
        match self {
            Self::File(path) => name == last(path),
            Self::Photos(_) => name.rsplit_once('.').is_some_and(|(stem, end)| {
                !stem.is_empty() && PHOTOS.contains(&end.to_ascii_lowercase().as_str())
            }),
        }
    }
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
    Other,
}

impl Kind {
    fn of(file: bool) -> Self {
        if file { Self::File } else { Self::Other }
    }
}

/// Whether a path stays in its folder on every system.
fn is_inside(entry: &str) -> bool {
    let drive = entry.as_bytes().get(1) == Some(&b':');
    !entry.is_empty()
        && !entry.starts_with('/')
        && !drive
        && !entry.contains(['\\', '\0'])
        && !entry.split('/').any(|part| part == "..")
}

/// Remembers that it was the archive that failed, not the disk.
struct Faithful<R> {
    inner: R,
    fault: Option<String>,
}

impl<R: Read> Read for Faithful<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).inspect_err(|e| self.fault = Some(e.to_string()))
    }
}

#[cfg(test)]
mod tests;
