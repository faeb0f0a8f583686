//! Files: bounded reading, atomic writing.
//!
//! What other files name (a corpus, a model's folder) is opened by [`open_regular`]: reading a named pipe or a
//! device could wait for ever. What the user names on the command line is read by [`read_any`].

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::known_heads;

/// Opens a regular file, or a link to one, for reading. Does not wait, whatever the path is.
///
/// # Errors
/// When it cannot be opened, or is a folder, a named pipe, a socket or a device.
pub fn open_regular(path: &Path) -> Result<File> {
    // Opening some devices has an effect, so this looks first; and again, because the path may have changed.
    refuse_special(path, &fs::metadata(path).map_err(Error::io("read", path))?)?;
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, NOT_WAITING);
    let file = options.read(true).open(path).map_err(Error::io("read", path))?;
    refuse_special(path, &file.metadata().map_err(Error::io("read", path))?)?;
    Ok(file)
}

/// `O_NONBLOCK`: opening a named pipe does not wait for its writer. Regular files do not heed it.
#[cfg(all(unix, any(target_os = "linux", target_os = "android")))]
const NOT_WAITING: i32 = 0o4000;
/// As above, in the systems that come from BSD.
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
const NOT_WAITING: i32 = 0x4;

fn refuse_special(path: &Path, metadata: &Metadata) -> Result<()> {
    match special(metadata.file_type()) {
        Some(what) => Err(Error::file(path, format!("is {what} and not a file"))),
        None => Ok(()),
    }
}

/// What a path is if it is no regular file.
fn special(kind: FileType) -> Option<&'static str> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt as _;
        if kind.is_fifo() {
            return Some("a named pipe");
        }
        if kind.is_socket() {
            return Some("a socket");
        }
        if kind.is_block_device() || kind.is_char_device() {
            return Some("a device");
        }
    }
    kind.is_dir().then_some("a folder")
}

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// When it cannot be read, is no [regular file](open_regular), or is larger than the limit.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    read_open(open_regular(path)?, path, limit)
}

/// As [`read`], for what the user names: it may be a pipe or a device (`/dev/stdin`).
///
/// # Errors
/// When it cannot be read, or has more bytes than the limit.
pub fn read_any(path: &Path, limit: u64) -> Result<Vec<u8>> {
    read_open(File::open(path).map_err(Error::io("read", path))?, path, limit)
}

fn read_open(file: File, path: &Path, limit: u64) -> Result<Vec<u8>> {
    let length = file.metadata().map_or(0, |file| file.len());
    let mut bytes = Vec::new();
    // Room for one byte more: a buffer that is full is doubled before its end is noticed.
    let room = bytes.try_reserve_exact(length.min(limit) as usize + 1);
    room.map_err(|_| Error::file(path, format!("has {length} bytes, which do not fit into the memory")))?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() as u64 > limit {
        return Err(Error::file(path, format!("is larger than the {limit} bytes allowed here")));
    }
    Ok(bytes)
}

/// Reads a text file of at most `limit` bytes.
///
/// # Errors
/// As [`read`], and when the bytes are not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String> {
    text(path, read(path, limit)?)
}

/// As [`read_text`], for what the user names.
///
/// # Errors
/// As [`read_any`], and when the bytes are not UTF-8.
pub fn read_any_text(path: &Path, limit: u64) -> Result<String> {
    text(path, read_any(path, limit)?)
}

fn text(path: &Path, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes)
        .map_err(|error| known_heads::explain(path, error.as_bytes(), Error::file(path, "is not UTF-8 text")))
}

/// The first bytes of a regular file, for [`known_heads::describe`]; none if it cannot be read.
pub fn head(path: &Path) -> Vec<u8> {
    let mut head = Vec::new();
    let read = open_regular(path).map(|file| file.take(known_heads::ENOUGH).read_to_end(&mut head));
    if matches!(read, Ok(Ok(_))) { head } else { Vec::new() }
}

/// Writes a file through a temporary one in the same folder: flush, fsync, rename, fsync of the folder. A
/// crash at any byte leaves the old file or the new one, never a mixture. Missing parent folders are created.
///
/// # Errors
/// When any of these steps fails (a full disk, a missing permission).
pub fn write_atomic(path: &Path, fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let write = || -> std::io::Result<()> {
        let mut temporary = builder().tempfile_in(folder).map_err(without_path)?;
        let mut buffer = BufWriter::new(temporary.as_file_mut());
        fill(&mut buffer)?;
        buffer.flush()?;
        drop(buffer);
        temporary.as_file().sync_all()?;
        temporary.persist(path).map_err(|e| e.error)?;
        sync_folder(folder)
    };
    write().map_err(Error::io("write", path))
}

/// Writes a value as indented JSON with a newline at the end, as [`write_atomic`] does.
///
/// # Errors
/// As [`write_atomic`], and when the value has no JSON (a map whose keys are not text).
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    write_atomic(path, |out| {
        serde_json::to_writer_pretty(&mut *out, value)?;
        writeln!(out)
    })
}

/// Checks that files can be written into a folder, which need not exist yet. Nothing stays there.
///
/// # Errors
/// When the folder, or the nearest one above it that exists, takes no new file; the message ends with the
/// `remedy`.
pub fn check_writable(folder: &Path, remedy: &str) -> Result<()> {
    let mut above = folder.ancestors().filter(|path| !path.as_os_str().is_empty());
    let there = above.find(|path| path.symlink_metadata().is_ok()).unwrap_or(Path::new("."));
    match builder().tempfile_in(there) {
        Ok(_) => Ok(()),
        Err(error) => {
            let what = format!("no file can be written there ({}); {remedy}", error.kind());
            Err(Error::file(folder, what))
        }
    }
}

/// The system's own error, without the name of a temporary file that no user knows.
fn without_path(error: std::io::Error) -> std::io::Error {
    match error.to_string().split_once(" at path ") {
        Some((of_the_system, _)) => std::io::Error::new(error.kind(), of_the_system.to_owned()),
        None => error,
    }
}

/// Temporary files with the permissions of ordinary ones (the user's mask applies), not private ones.
fn builder() -> tempfile::Builder<'static, 'static> {
    #[cfg_attr(not(unix), allow(unused_mut, reason = "permissions are a matter of unix"))]
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder
}

/// Makes a rename or creation inside `folder` durable.
pub fn sync_folder(folder: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.txt");
        write_atomic(&path, |w| w.write_all(b"old")).unwrap();
        let failed = write_atomic(&path, |w| {
            w.write_all(b"half")?;
            Err(std::io::Error::other("disk full"))
        });
        assert!(failed.unwrap_err().to_string().contains("b.txt"));
        assert_eq!(read_text(&path, 10).unwrap(), "old");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_is_writable_if_the_nearest_one_above_it_is() {
        let folder = tempfile::tempdir().unwrap();
        check_writable(&folder.path().join("not/yet"), "x").unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        fs::write(folder.path().join("file"), b"").unwrap();
        for name in ["file", "file/below"] {
            let refused = check_writable(&folder.path().join(name), "use --out").unwrap_err().to_string();
            assert!(refused.contains(name) && refused.ends_with("; use --out"), "{refused}");
        }
    }

    #[test]
    fn a_refused_write_names_the_file_and_not_the_temporary_one() {
        let missing = builder().tempfile_in("/no/such/folder").map_err(without_path).unwrap_err();
        assert_eq!(missing.to_string(), std::io::Error::from_raw_os_error(2).to_string());
    }

    #[test]
    fn reading_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, b"12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert!(read(&path, 4).is_err());
        assert_eq!((head(&path), head(folder.path())), (b"12345".to_vec(), Vec::new()));
    }

    #[cfg(unix)]
    #[test]
    fn only_regular_files_are_opened_and_nothing_waits() {
        let folder = tempfile::tempdir().unwrap();
        let [pipe, socket, link] = ["pipe", "socket", "link"].map(|name| folder.path().join(name));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        let refusal = |path: &Path| read(path, 9).unwrap_err().to_string();
        assert!(refusal(&pipe).ends_with("pipe: is a named pipe and not a file"), "{}", refusal(&pipe));
        assert!(refusal(&link).contains("is a named pipe and not a file"));
        assert!(refusal(&socket).contains("is a socket and not a file"));
        assert!(refusal(Path::new("/dev/zero")).contains("is a device and not a file"));
        assert!(refusal(folder.path()).contains("is a folder and not a file"));
        assert!(refusal(&folder.path().join("none")).contains("cannot read"));
        assert_eq!(read_any(Path::new("/dev/null"), 9).unwrap(), b"");
    }
}
