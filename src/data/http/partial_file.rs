//! A file that is not whole yet: it grows as `NAME.part`, held by one process, until it gets its name.

use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};

use super::{Fault, Wanted};
use crate::error::Error;
use crate::file_io;
use crate::progress::Progress;

/// The part of a file that has come so far.
pub struct Part {
    /// Bytes of it.
    pub length: u64,
    file: File,
    path: PathBuf,
}

/// Where the part of the file `path` lies.
pub fn part_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".part");
    name.into()
}

impl Part {
    /// Opens what an earlier attempt left, or begins.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let path = part_of(path);
        let open = || -> Result<Self, Error> {
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
                // Some network disks have no locks; a checksum still tells when two wrote at once.
                Err(TryLockError::Error(_)) | Ok(()) => {}
            }
            let length = file.metadata().map_err(Error::io("read", &path))?.len();
            Ok(Self { length, file, path: path.clone() })
        };
        open().map_err(Fault::Local)
    }

    /// Writes the next bytes.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.file.write_all(bytes).map_err(Error::io("write", &self.path)).map_err(Fault::Local)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Begins anew.
    pub fn clear(&mut self) -> Result<(), Fault> {
        self.file.set_len(0).map_err(Error::io("write", &self.path)).map_err(Fault::Local)?;
        self.length = 0;
        Ok(())
    }

    /// Checks the whole file and gives it its name; a wrong one is emptied.
    pub fn finish(&mut self, wanted: &Wanted, progress: Progress) -> Result<(), Fault> {
        if let Some(expected) = wanted.checksum {
            let bar = progress.bytes(Some(self.length), format!("checking {}", wanted.name));
            self.file.rewind().map_err(Error::io("read", &self.path)).map_err(Fault::Local)?;
            let found = expected.of(&self.file, &|n| bar.inc(n));
            let found = found.map_err(Error::io("read", &self.path)).map_err(Fault::Local)?;
            if found != *expected {
                self.clear()?;
                return Err(Fault::Answer(format!("its {found} is not the {expected} that is expected")));
            }
        }
        let name = || -> std::io::Result<()> {
            self.file.sync_all()?;
            fs::rename(&self.path, wanted.path)?;
            file_io::sync_folder(wanted.path.parent().unwrap_or(Path::new(".")))
        };
        name().map_err(Error::io("write", wanted.path)).map_err(Fault::Local)
    }
}
