//! An incomplete download: a file that grows as `NAME.part`, locked by one process, and is renamed when
//! complete.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};

use super::{Download, Fault};
use crate::error::Error;
use crate::file_io;
use crate::progress::Progress;

/// The downloaded part of a file.
pub struct PartialFile {
    /// Its length in bytes.
    pub length: u64,
    file: File,
    path: PathBuf,
}

/// The path of the incomplete download of `path`.
pub fn partial_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".part");
    name.into()
}

impl PartialFile {
    /// Opens the part that an earlier attempt left, or creates it.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        Self::open_locked(partial_path(path)).map_err(Fault::Local)
    }

    fn open_locked(path: PathBuf) -> Result<Self, Error> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        }
        let mut options = File::options();
        let file = options.create(true).read(true).append(true).open(&path);
        let file = file.map_err(Error::io("write", &path))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let what = "another process downloads it: try again when that is done";
                return Err(Error::file(&path, what));
            }
            // Some network disks have no locks; the checksum still detects two writers.
            Err(TryLockError::Error(_)) | Ok(()) => {}
        }
        let length = file.metadata().map_err(Error::io("read", &path))?.len();
        Ok(Self { length, file, path })
    }

    /// Appends bytes.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.file.write_all(bytes).map_err(Error::io("write", &self.path)).map_err(Fault::Local)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Empties the part.
    pub fn clear(&mut self) -> Result<(), Fault> {
        self.file.set_len(0).map_err(Error::io("write", &self.path)).map_err(Fault::Local)?;
        self.length = 0;
        Ok(())
    }

    /// Checks the complete file and renames it; a wrong one is emptied.
    pub fn finish(&mut self, download: &Download, progress: Progress) -> Result<(), Fault> {
        if let Some(expected) = download.checksum {
            let bar = progress.bytes(Some(self.length), format!("checking {}", download.name));
            self.file.rewind().map_err(Error::io("read", &self.path)).map_err(Fault::Local)?;
            let found = expected.of(&self.file, &|n| bar.inc(n));
            let found = found.map_err(Error::io("read", &self.path)).map_err(Fault::Local)?;
            if found != *expected {
                self.clear()?;
                return Err(Fault::Answer(format!("its {found} is not the {expected} that is expected")));
            }
        }
        self.rename(download.path).map_err(Error::io("write", download.path)).map_err(Fault::Local)
    }

    fn rename(&self, path: &Path) -> std::io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, path)?;
        file_io::sync_folder(path.parent().unwrap_or(Path::new(".")))
    }
}
