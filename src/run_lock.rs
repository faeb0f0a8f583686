//! The lock of a folder that one program at a time writes: `.lock`, with the name of its owner.
//!
//! The operating system holds the lock (`flock`) and gives it back when its owner ends, however it ends: the lock of
//! a dead owner is taken over. On NFS the Linux kernel turns it into a lock of the server, which all hosts see if the
//! server's lock service runs. A file system without locks refuses; then the owner's name decides: on this host the
//! process must be gone, on another one the file must be deleted by hand.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The name of the file.
pub const LOCK: &str = ".lock";
/// Bytes of the longest description of an owner.
const LONGEST: u64 = 4096;
/// How often a lock file may vanish while it is taken: its owner deletes it at its end.
const ATTEMPTS: usize = 1000;

/// The right to write into a folder, until it is dropped.
#[derive(Debug)]
pub struct RunLock {
    file: File,
    path: PathBuf,
    /// Whether the folder was made for the lock: an empty one is removed with it.
    made_folder: bool,
}

/// The process that holds a lock.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Owner {
    pid: u32,
    host: String,
    /// Seconds since 1970.
    started: u64,
    /// The command: `dsi train`.
    what: String,
}

impl RunLock {
    /// Takes the lock of a folder, which is made if it is missing. `what`: the command, for other processes.
    ///
    /// # Errors
    /// When another process holds it (the message names that process), or the folder cannot be written.
    pub fn acquire(folder: &Path, what: &str) -> Result<Self> {
        let made_folder = !folder.exists();
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let path = folder.join(LOCK);
        for _ in 0..ATTEMPTS {
            let mut file = open(&path)?;
            match file.try_lock() {
                Ok(()) if !is_at(&file, &path) => continue,
                Ok(()) => report_dead_owner(&mut file, folder),
                Err(TryLockError::WouldBlock) => {
                    return Err(in_use(awaited_owner(&mut file).as_ref(), folder));
                }
                Err(TryLockError::Error(_)) => refuse_living_owner(&mut file, folder)?,
            }
            write_owner(&mut file, what).map_err(Error::io("write", &path))?;
            return Ok(Self { file, path, made_folder });
        }
        Err(Error::file(
            path,
            "is made and deleted by other processes all the time; start this command alone",
        ))
    }

    /// As [`RunLock::acquire`], but waits until the lock is free: for writing that takes a moment.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn wait(folder: &Path, what: &str) -> Result<Self> {
        let made_folder = !folder.exists();
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let path = folder.join(LOCK);
        loop {
            let mut file = open(&path)?;
            // A file system without locks lets everybody write; single files are replaced whole in any case.
            if file.lock().is_err() || is_at(&file, &path) {
                write_owner(&mut file, what).map_err(Error::io("write", &path))?;
                return Ok(Self { file, path, made_folder });
            }
        }
    }
}

impl Drop for RunLock {
    /// Deletes the file while it is locked, so that nobody can take the lock of a deleted file for this one.
    fn drop(&mut self) {
        fs::remove_file(&self.path).ok();
        if self.made_folder {
            self.path.parent().map(fs::remove_dir);
        }
        self.file.unlock().ok();
    }
}

fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).open(path).map_err(Error::io("create", path))
}

/// Whether a path still names this open file.
fn is_at(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let (Ok(open), Ok(named)) = (file.metadata(), fs::metadata(path)) else { return false };
        (open.dev(), open.ino()) == (named.dev(), named.ino())
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        path.exists()
    }
}

fn write_owner(file: &mut File, what: &str) -> std::io::Result<()> {
    let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let owner = Owner { pid: std::process::id(), host: host(), started, what: what.to_owned() };
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(serde_json::to_string(&owner)?.as_bytes())
}

fn read_owner(file: &mut File) -> Option<Owner> {
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// The owner of a lock that was just found taken: it may still be writing its name.
fn awaited_owner(file: &mut File) -> Option<Owner> {
    for _ in 0..ATTEMPTS {
        if let Some(owner) = read_owner(file) {
            return Some(owner);
        }
        file.seek(SeekFrom::Start(0)).ok()?;
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    None
}

/// Logs that the lock of a process that ended without giving it back is taken over.
fn report_dead_owner(file: &mut File, folder: &Path) {
    if let Some(owner) = read_owner(file) {
        let at = folder.display();
        tracing::info!("{at} was in use by {}, which has ended: taken over", owner.name());
    }
}

fn in_use(owner: Option<&Owner>, folder: &Path) -> Error {
    let owner = owner.map_or_else(|| "another process".to_owned(), Owner::name);
    Error::file(folder, format!("is in use by {owner}; wait until it ends, or choose another folder"))
}

/// On a file system without locks.
fn refuse_living_owner(file: &mut File, folder: &Path) -> Result<()> {
    let Some(owner) = read_owner(file) else { return Ok(()) };
    if owner.host != host() {
        let lock = folder.join(LOCK);
        let what = format!(
            "is in use by {}, or was: this file system has no locks; delete {} if that process has ended",
            owner.name(),
            lock.display()
        );
        return Err(Error::file(folder, what));
    }
    let is_alive = owner.pid != std::process::id() && Path::new(&format!("/proc/{}", owner.pid)).exists();
    if is_alive { Err(in_use(Some(&owner), folder)) } else { Ok(()) }
}

impl Owner {
    /// `dsi train (process 12 on host, started 3 minutes ago)`
    fn name(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let Self { pid, host, started, what } = self;
        format!("{what} (process {pid} on {host}, started {} ago)", duration(now.saturating_sub(*started)))
    }
}

/// A duration in its largest unit: `3 minutes`.
fn duration(seconds: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400, "days"), (3600, "hours"), (60, "minutes")];
    let unit = UNITS.iter().find(|(length, _)| seconds >= 2 * length);
    unit.map_or_else(|| format!("{seconds} seconds"), |(length, name)| format!("{} {name}", seconds / length))
}

fn host() -> String {
    let named = fs::read_to_string("/proc/sys/kernel/hostname").or_else(|error| match error.kind() {
        ErrorKind::NotFound => Ok(std::env::var("HOSTNAME").unwrap_or_default()),
        _ => Err(error),
    });
    named
        .ok()
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or("this host".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_owner_at_a_time_by_name() {
        let space = tempfile::tempdir().unwrap();
        let folder = space.path().join("run");
        let first = RunLock::acquire(&folder, "dsi train").unwrap();
        let refused = RunLock::acquire(&folder, "dsi index").unwrap_err().to_string();
        let process = std::process::id().to_string();
        for part in ["run: is in use by dsi train (process ", &process, "seconds ago", "another folder"] {
            assert!(refused.contains(part), "{part}: {refused}");
        }
        drop(first);
        assert!(!folder.exists(), "the empty folder goes with its lock");
        drop(RunLock::acquire(&folder, "dsi index").unwrap());
    }

    #[test]
    fn a_folder_with_files_and_a_lock_without_an_owner_are_kept_and_taken_over() {
        let space = tempfile::tempdir().unwrap();
        fs::write(space.path().join(LOCK), r#"{"pid": 1, "host": "x", "started": 5, "what": "dsi train"}"#)
            .unwrap();
        fs::write(space.path().join("notes.txt"), "mine").unwrap();
        drop(RunLock::acquire(space.path(), "dsi train").unwrap());
        drop(RunLock::wait(space.path(), "dsi eval").unwrap());
        let left: Vec<_> =
            fs::read_dir(space.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["notes.txt"]);
    }

    #[test]
    fn durations_have_their_largest_unit() {
        assert_eq!(
            [5, 119, 120, 7300, 200_000].map(duration),
            ["5 seconds", "119 seconds", "2 minutes", "2 hours", "2 days"]
        );
    }
}
