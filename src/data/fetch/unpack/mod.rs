//! Unpacks downloaded archives (zip, tar and tar.gz) into one folder, completely or not at all.
//!
//! Only photos, or one file, are unpacked; folders in the archive do not matter. An archive is refused if it
//! has a path that leads outside (`../`, `/…`), a link, two photos of one name, or expands too much. The
//! files grow in a staging folder next to the target, which is renamed at the end.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use indicatif::ProgressBar;

use super::dataset_sources::Output;
use crate::error::{Error, Result};
use crate::file_io;
use crate::progress::Progress;

/// Bytes of the largest photo, and of the largest other file; COCO's captions have 150 MB.
const MAX_BYTES: [u64; 2] = [256 << 20, 1 << 30];
/// An archive may expand to this many times its size plus a gigabyte; photos do not compress.
const MAX_EXPANSION: u64 = 4;
/// The largest number of photos.
const MAX_FILES: usize = 2_000_000;
/// The file extensions of photos.
const PHOTO_EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "png", "webp", "bmp"];

/// Unpacks the `output` of an archive to `target`, and returns the number of files.
///
/// # Errors
/// When the archive cannot be read, has a refused entry (the message names it), or lacks the output.
pub fn unpack(archive: &Path, output: Output, target: &Path, progress: Progress) -> Result<usize> {
    let staging = staging_folder(target);
    remove_folder(&staging)?;
    fs::create_dir_all(&staging).map_err(Error::io("create", &staging))?;
    let length = fs::metadata(archive).map_err(Error::io("read", archive))?.len();
    let mut unpacker = Unpacker {
        archive,
        output,
        folder: &staging,
        budget: length.saturating_mul(MAX_EXPANSION).saturating_add(1 << 30),
        names: HashSet::new(),
        bar: progress.bytes(Some(length), format!("unpacking {}", name_of(archive))),
    };
    let result = unpacker.entries().and_then(|()| unpacker.finish(target));
    let count = unpacker.names.len();
    drop(unpacker);
    remove_folder(&staging)?;
    result.map(|()| count)
}

fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(e)),
        _ => Ok(()),
    }
}

/// The staging folder of a target.
fn staging_folder(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".unpacking");
    name.into()
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Reads an archive and writes the chosen entries into a folder.
struct Unpacker<'a> {
    archive: &'a Path,
    output: Output,
    folder: &'a Path,
    budget: u64,
    names: HashSet<String>,
    bar: ProgressBar,
}

impl Unpacker<'_> {
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
            self.unpack_entry(&name, kind, entry.size(), entry)?;
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
            self.unpack_entry(&name, kind, size, entry)?;
        }
        Ok(())
    }

    fn broken(&self, what: &dyn std::fmt::Display) -> Error {
        let what = format!("cannot be unpacked: {what}; delete it to download it again");
        Error::file(self.archive, what)
    }

    fn refuse(&self, entry: &str, what: &str) -> Error {
        let entry: String = entry.chars().take(200).flat_map(char::escape_debug).collect();
        Error::file(self.archive, format!("is refused: its entry `{entry}` {what}"))
    }

    /// Refuses an entry, skips it, or unpacks it.
    fn unpack_entry(&mut self, entry: &str, kind: Kind, size: u64, content: impl Read) -> Result<()> {
        if !is_inside(entry) {
            return Err(self.refuse(entry, "leads outside the folder"));
        }
        if kind == Kind::Other {
            return Err(self.refuse(entry, "is a link or a device; only files and folders are allowed"));
        }
        let name = entry.rsplit('/').next().unwrap_or_default();
        // macOS adds a hidden file with the same extension for each photo.
        let hidden = entry.split('/').any(|part| part.starts_with('.') && part != "." || part == "__MACOSX");
        if kind == Kind::Folder || hidden || !self.output.includes(name) {
            return Ok(());
        }
        if self.names.len() == MAX_FILES {
            return Err(self.refuse(entry, "is one too many"));
        }
        if !self.names.insert(name.to_owned()) {
            return Err(self.refuse(entry, "has the name of another one"));
        }
        let largest = MAX_BYTES[usize::from(matches!(self.output, Output::File(_)))];
        let limit = largest.min(self.budget);
        if size > limit {
            return Err(self.refuse(entry, "is too large"));
        }
        self.write(entry, name, limit, content)
    }

    /// Writes an entry. Sizes in the archive are not trusted: the bytes are counted against `limit`.
    fn write(&mut self, entry: &str, name: &str, limit: u64, content: impl Read) -> Result<()> {
        let path = self.folder.join(name);
        let mut file = File::create(&path).map_err(Error::io("write", &path))?;
        let mut content = ErrorRecorder { inner: content.take(limit + 1), fault: None };
        let copied = io::copy(&mut content, &mut file);
        match (copied, content.fault) {
            (_, Some(fault)) => Err(self.broken(&format!("{name}: {fault}"))),
            (Err(e), None) => Err(Error::io("write", &path)(e)),
            (Ok(n), None) if n > limit => Err(self.refuse(entry, "is too large")),
            (Ok(n), None) => {
                self.budget -= n;
                Ok(())
            }
        }
    }

    /// Moves the unpacked files to the target.
    fn finish(&self, target: &Path) -> Result<()> {
        if self.names.is_empty() {
            let output = match self.output {
                Output::File(path) => path,
                Output::Photos(_) => "photos",
            };
            return Err(Error::file(self.archive, format!("has no {output}; is it the right archive?")));
        }
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        }
        let from = match self.output {
            Output::File(path) => self.folder.join(last(path)),
            Output::Photos(_) => self.folder.to_owned(),
        };
        fs::remove_dir(target).ok(); // an empty folder of the user
        fs::rename(&from, target).map_err(Error::io("write", target))?;
        file_io::sync_folder(target.parent().unwrap_or(Path::new("."))).map_err(Error::io("write", target))
    }
}

impl Output {
    fn includes(self, name: &str) -> bool {
        match self {
            Self::File(path) => name == last(path),
            Self::Photos(_) => name.rsplit_once('.').is_some_and(|(stem, end)| {
                !stem.is_empty() && PHOTO_EXTENSIONS.contains(&end.to_ascii_lowercase().as_str())
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

/// Whether a path stays in its folder on every operating system.
fn is_inside(entry: &str) -> bool {
    let drive = entry.as_bytes().get(1) == Some(&b':');
    !entry.is_empty()
        && !entry.starts_with('/')
        && !drive
        && !entry.contains(['\\', '\0'])
        && !entry.split('/').any(|part| part == "..")
}

/// Records a read error, to tell a broken archive from a full disk.
struct ErrorRecorder<R> {
    inner: R,
    fault: Option<String>,
}

impl<R: Read> Read for ErrorRecorder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).inspect_err(|e| self.fault = Some(e.to_string()))
    }
}

#[cfg(test)]
mod tests;
