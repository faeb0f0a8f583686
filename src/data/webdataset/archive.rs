//! Reads the entries of one archive and groups them into samples.

use std::collections::HashMap;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use tar::EntryType;

use super::end;
use super::member::{Content, Kind, Member, kind, split_name};
use super::sample::Sample;
use super::shards::Shard;
use crate::data::corpus::photo_path::{normal, slashed};
use crate::data::corpus::unused::{Reason, UnusedList};
use crate::data::photos::Photo;
use crate::error::{Error, Result};
use crate::file_io;
use crate::known_heads;

/// Bytes of the longest captions file.
pub const LONGEST: u64 = 1 << 20;

const LINK: &str =
    "is a link, which is not followed in archives; pack them with tar --dereference --hard-dereference";
const SPARSE: &str = "is stored as a sparse file, which is not read; pack the archive without --sparse";

/// The samples of an archive, in the order of their first files. Their files may be in any order.
///
/// # Errors
/// When the file cannot be read, is no tar archive, is cut short inside an entry, or has a name that leads out of the
/// archive or occurs twice.
pub fn read(shard: &Shard, unused: &mut UnusedList) -> Result<Vec<Sample>> {
    let path = &shard.path;
    let file = file_io::open_regular(path)?;
    let length = file.metadata().map_err(Error::io("read", path))?.len();
    if length == 0 {
        unused.add(Reason::EmptyArchive, shard.label());
        return Ok(Vec::new());
    }
    let mut tar = tar::Archive::new(BufReader::new(file));
    let mut samples = Samples { archive: path.as_path().into(), length, ..Samples::default() };
    for entry in tar.entries_with_seek().map_err(|e| broken(path, 0, &e))? {
        let entry = entry.map_err(|e| broken(path, samples.entries, &e))?;
        samples.add(entry, shard, unused).map_err(|what| Error::file(path, what))?;
    }
    if samples.entries == 0 {
        unused.add(Reason::NoEntries, shard.label());
    }
    if let Some(fault) = end::fault(tar.into_inner()).map_err(Error::io("read", path))? {
        unused.add(fault, shard.label());
    }
    Ok(samples.list)
}

/// What the tar reader refuses after some entries; at the start, what the file is instead if that is known.
fn broken(path: &Path, entries: usize, error: &io::Error) -> Error {
    if entries > 0 {
        return Error::file(
            path,
            format!("is damaged behind entry {entries} and cannot be read further: {error}"),
        );
    }
    let head = file_io::head(path);
    let is_tar = head.get(257..).is_some_and(|rest| rest.starts_with(b"ustar"));
    match known_heads::describe(&head).filter(|_| !is_tar) {
        Some(what) => Error::file(path, what),
        None => Error::file(path, format!("is not a tar archive that can be read: {error}")),
    }
}

/// The samples of an archive while it is read.
struct Samples {
    archive: Arc<Path>,
    /// Bytes of the archive.
    length: u64,
    /// Number of entries so far.
    entries: usize,
    list: Vec<Sample>,
    by_key: HashMap<String, usize>,
    /// The entry of each photo and captions file.
    by_name: HashMap<String, usize>,
}

impl Default for Samples {
    fn default() -> Self {
        let archive = Path::new("").into();
        let (by_key, by_name) = (HashMap::new(), HashMap::new());
        Self { archive, length: 0, entries: 0, list: Vec::new(), by_key, by_name }
    }
}

impl Samples {
    /// Takes one entry; the error is a clause that begins behind the archive's name.
    fn add(
        &mut self,
        mut entry: tar::Entry<'_, impl Read>,
        shard: &Shard,
        unused: &mut UnusedList,
    ) -> Result<(), String> {
        self.entries += 1;
        let raw = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let readable = match fate(entry.header().entry_type(), &raw) {
            Fate::Read => self.check_length(&entry, &raw).map(Ok)?,
            Fate::Unreadable(what) => Err(what.to_owned()),
            Fate::Ignored => return Ok(()),
            Fate::Unused(reason) => {
                unused.add(reason, format!("{}/{raw}", shard.label()));
                return Ok(());
            }
        };
        let name = name_in_archive(&raw)?;
        let content = readable.and_then(|()| self.content(&name, &mut entry));
        self.put(Member { kind: kind(&name), name, content }, shard, unused)
    }

    fn check_length(&self, entry: &tar::Entry<'_, impl Read>, raw: &str) -> Result<(), String> {
        let end = entry.raw_file_position().checked_add(entry.size());
        if end.is_none_or(|end| end > self.length) { Err(format!("is cut short in `{raw}`")) } else { Ok(()) }
    }

    /// What an entry holds, or why it cannot be read.
    fn content(&self, name: &str, entry: &mut tar::Entry<'_, impl Read>) -> Result<Content, String> {
        let (offset, length) = (entry.raw_file_position(), entry.size());
        match kind(name) {
            Kind::Photo => {
                let archive = self.archive.clone();
                Ok(Content::Photo(Photo::Slice { archive, name: name.to_owned(), offset, length }))
            }
            Kind::Other => Ok(Content::Other),
            kind => bytes(entry, length).and_then(|bytes| Content::captions(kind, &bytes)),
        }
    }

    fn put(&mut self, member: Member, shard: &Shard, unused: &mut UnusedList) -> Result<(), String> {
        let Some((key, _)) = split_name(&member.name) else {
            unused.add(Reason::OtherExtension, format!("{}/{}", shard.label(), member.name));
            return Ok(());
        };
        let number = self.entries;
        if member.kind != Kind::Other
            && let Some(first) = self.by_name.insert(member.name.clone(), number)
        {
            let name = &member.name;
            return Err(format!(
                "`{name}` occurs twice, as entry {first} and as entry {number}; remove one of them"
            ));
        }
        let next = self.list.len();
        let place = *self.by_key.entry(key.to_owned()).or_insert(next);
        if place == next {
            self.list.push(Sample::new(key));
        }
        self.list[place].add(member);
        Ok(())
    }
}

/// What is to be done with an entry.
enum Fate {
    /// A file.
    Read,
    /// A file that cannot be read from its place in the archive.
    Unreadable(&'static str),
    /// Nothing, but it counts.
    Unused(Reason),
    /// A header about other entries.
    Ignored,
}

fn fate(entry_type: EntryType, raw: &str) -> Fate {
    let file = raw.rsplit('/').next().unwrap_or_default();
    match entry_type {
        EntryType::XGlobalHeader => Fate::Ignored,
        _ if entry_type.is_dir() || raw.ends_with('/') => Fate::Unused(Reason::Folder),
        _ if file.starts_with("._") => Fate::Unused(Reason::Apple),
        _ if file.starts_with('.') => Fate::Unused(Reason::Hidden),
        EntryType::Regular | EntryType::Continuous => Fate::Read,
        EntryType::Link | EntryType::Symlink => Fate::Unreadable(LINK),
        EntryType::GNUSparse => Fate::Unreadable(SPARSE),
        _ => Fate::Unused(Reason::NotFile),
    }
}

/// A name in its one spelling. As `tar` does when it unpacks, a slash at the start is ignored.
fn name_in_archive(raw: &str) -> Result<String, String> {
    let name = normal(Path::new(raw.trim_start_matches('/'))).map(|name| slashed(&name));
    name.ok_or_else(|| {
        format!("the name `{raw}` leads out of the archive; pack the archive inside the folder of its files (tar -C)")
    })
}

fn bytes(entry: &mut impl Read, size: u64) -> Result<Vec<u8>, String> {
    if size > LONGEST {
        return Err(format!("is larger than the {LONGEST} bytes captions may have"));
    }
    let mut bytes = Vec::new();
    entry.take(LONGEST).read_to_end(&mut bytes).map_err(|e| format!("cannot be read: {e}"))?;
    Ok(bytes)
}
