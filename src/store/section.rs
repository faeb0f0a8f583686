//! A mapped file of sections, each in blocks that are verified when they are first read.
//!
//! ```text
//! sections, each at a multiple of 64 bytes │ checksums of all blocks (8 bytes each) │ table (JSON)
//! │ length of the table (8) │ BLAKE3 of checksums and table (32) │ magic (8)
//! ```
//!
//! Opening reads the end of the file only. A block whose checksum differs is an error that names the file; no byte of
//! it is ever used.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::file_io;

const MAGIC: &[u8; 8] = b"dsistor1";
/// Bytes of a block's checksum, the start of its BLAKE3 hash.
const SUM: usize = 8;
/// Sections begin at multiples of this, so that numbers are aligned.
const ALIGNMENT: u64 = 64;
/// Bytes after the table: its length, the hash, the magic.
const END: usize = 8 + 32 + 8;

/// What the table says of a section.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct ByteRange {
    offset: u64,
    length: u64,
    /// Bytes of a block; the last one may be shorter.
    block: u64,
}

impl ByteRange {
    fn blocks(&self) -> u64 {
        self.length.div_ceil(self.block)
    }
}

/// The table at the end of a file.
#[derive(Debug, Serialize, Deserialize)]
struct Table<H> {
    /// What the writer says of the content.
    head: H,
    sections: BTreeMap<String, ByteRange>,
}

/// Writes sections one after the other.
pub struct SectionWriter<'a> {
    out: &'a mut dyn Write,
    position: u64,
    sections: BTreeMap<String, ByteRange>,
    sums: Vec<u8>,
}

impl<'a> SectionWriter<'a> {
    /// A writer of a new file.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self { out, position: 0, sections: BTreeMap::new(), sums: Vec::new() }
    }

    /// Writes a section of `parts` in blocks of `block` bytes. Sections are read back by their names; they come in the
    /// alphabetical order of the names.
    pub fn section(
        &mut self,
        name: &str,
        block: usize,
        parts: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> io::Result<()> {
        let in_order = self.sections.last_key_value().is_none_or(|(last, _)| last.as_str() < name);
        assert!(in_order, "invariant: sections are written in the order of their names");
        let padding = self.position.next_multiple_of(ALIGNMENT) - self.position;
        self.write(&vec![0; padding as usize])?;
        let offset = self.position;
        let mut pending = Vec::with_capacity(block);
        for part in parts {
            let mut part = part.as_ref();
            while !part.is_empty() {
                let (now, later) = part.split_at(part.len().min(block - pending.len()));
                pending.extend_from_slice(now);
                part = later;
                if pending.len() == block {
                    self.block(&pending)?;
                    pending.clear();
                }
            }
        }
        if !pending.is_empty() {
            self.block(&pending)?;
        }
        let place = ByteRange { offset, length: self.position - offset, block: block as u64 };
        self.sections.insert(name.to_owned(), place);
        Ok(())
    }

    fn block(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sums.extend_from_slice(&checksum(bytes));
        self.write(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.position += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    /// Ends the file with its checksums and table. Returns the hash of both.
    pub fn finish(mut self, head: &impl Serialize) -> io::Result<[u8; 32]> {
        let sections = std::mem::take(&mut self.sections);
        let table = serde_json::to_vec(&Table { head, sections })?;
        let sums = std::mem::take(&mut self.sums);
        let hash = *blake3::Hasher::new().update(&sums).update(&table).finalize().as_bytes();
        for bytes in [&sums[..], &table, &(table.len() as u64).to_le_bytes(), &hash, MAGIC] {
            self.write(bytes)?;
        }
        Ok(hash)
    }
}

fn checksum(bytes: &[u8]) -> [u8; SUM] {
    let hash = blake3::hash(bytes);
    std::array::from_fn(|byte| hash.as_bytes()[byte])
}

/// The sections of a mapped file that are not taken yet.
pub struct Sections {
    map: Arc<Mmap>,
    path: Arc<Path>,
    places: BTreeMap<String, ByteRange>,
    /// Where the checksums begin, in the order of the sections' names.
    sums: usize,
}

impl Sections {
    /// Maps a file. `hash` is what [`SectionWriter::finish`] returned. Returns the writer's `head` too.
    ///
    /// # Errors
    /// When the file cannot be read, is cut short or another one, or its end was changed.
    pub fn open<H: for<'a> Deserialize<'a>>(path: &Path, hash: &[u8; 32]) -> Result<(Self, H)> {
        let file = file_io::open_regular(path)?;
        // SAFETY: store files are written under a temporary name and never changed afterwards.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io("read", path))?;
        let changed = || damaged(path, "its end is missing or was changed");
        let table = table_of(&map, hash).ok_or_else(changed)?;
        let Table { head, sections } = serde_json::from_slice(&map[table.clone()]).map_err(|_| changed())?;
        let sums = first_sum(&sections, table.start).ok_or_else(changed)?;
        if blake3::hash(&map[sums..table.end]) != *hash {
            return Err(changed());
        }
        Ok((Self { map: Arc::new(map), path: path.into(), places: sections, sums }, head))
    }

    /// Whether there is such a section.
    pub fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// A section of exactly `length` bytes, or of any if it is not given.
    ///
    /// # Errors
    /// When it is missing or has another length.
    pub fn get(&self, name: &str, length: Option<u64>) -> Result<Section> {
        let fits = |place: &&ByteRange| length.is_none_or(|length| length == place.length);
        let place = self.places.get(name).filter(fits);
        let place = *place.ok_or_else(|| damaged(&self.path, &format!("its section {name} does not fit")))?;
        let before = self.places.range(..name.to_owned()).map(|(_, place)| place.blocks()).sum::<u64>();
        let words = place.blocks().div_ceil(64) as usize;
        Ok(Section {
            map: Arc::clone(&self.map),
            path: Arc::clone(&self.path),
            place,
            sums: self.sums + SUM * before as usize,
            verified: (0..words).map(|_| AtomicU64::new(0)).collect(),
        })
    }
}

/// Where the table of a file lies; `None` if the end of the file is not that of this hash.
fn table_of(bytes: &[u8], hash: &[u8; 32]) -> Option<Range<usize>> {
    let end = bytes.len().checked_sub(END)?;
    let (length, rest) = bytes[end..].split_at(8);
    if rest[..32] != hash[..] || rest[32..] != MAGIC[..] {
        return None;
    }
    let length = usize::try_from(u64::from_le_bytes(length.try_into().ok()?)).ok()?;
    Some(end.checked_sub(length)?..end)
}

/// Where the checksums begin that end at `table`, if all sections lie before them.
fn first_sum(sections: &BTreeMap<String, ByteRange>, table: usize) -> Option<usize> {
    let (mut blocks, mut last) = (0u64, 0u64);
    for place in sections.values() {
        if place.block == 0 || place.offset % ALIGNMENT != 0 || place.offset < last {
            return None;
        }
        last = place.offset.checked_add(place.length)?;
        blocks = blocks.checked_add(place.blocks())?;
    }
    let first = (table as u64).checked_sub(blocks.checked_mul(SUM as u64)?)?;
    (last <= first).then_some(first as usize)
}

fn damaged(path: &Path, what: &str) -> Error {
    Error::file(path, format!("is damaged: {what}; make the search store again, or copy it again"))
}

/// A section of a mapped file.
pub struct Section {
    map: Arc<Mmap>,
    path: Arc<Path>,
    place: ByteRange,
    sums: usize,
    /// A bit for each block: whether it was verified.
    verified: Vec<AtomicU64>,
}

impl Section {
    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.place.length as usize
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.place.length == 0
    }

    /// All bytes.
    ///
    /// # Errors
    /// As [`Section::bytes`].
    pub fn all(&self) -> Result<&[u8]> {
        self.bytes(0..self.len())
    }

    /// Some bytes, verified.
    ///
    /// # Errors
    /// When they lie outside the section, or a block of them is damaged.
    pub fn bytes(&self, range: Range<usize>) -> Result<&[u8]> {
        if range.start > range.end || range.end > self.len() {
            return Err(damaged(&self.path, "a part of it points outside"));
        }
        if range.is_empty() {
            return Ok(&[]);
        }
        let block = self.place.block as usize;
        for number in range.start / block..=(range.end - 1) / block {
            let (word, bit) = (&self.verified[number / 64], 1u64 << (number % 64));
            if word.load(Ordering::Relaxed) & bit == 0 {
                self.verify(number)?;
                word.fetch_or(bit, Ordering::Relaxed);
            }
        }
        Ok(&self.raw()[range])
    }

    /// Numbers by their positions, verified.
    ///
    /// # Errors
    /// As [`Section::bytes`].
    pub fn numbers<T: bytemuck::AnyBitPattern>(&self, range: Range<usize>) -> Result<&[T]> {
        let size = size_of::<T>();
        let place = |position: usize| position.checked_mul(size);
        let (Some(start), Some(end)) = (place(range.start), place(range.end)) else {
            return Err(damaged(&self.path, "a part of it points outside"));
        };
        bytemuck::try_cast_slice(self.bytes(start..end)?)
            .map_err(|_| damaged(&self.path, "numbers are not aligned"))
    }

    fn raw(&self) -> &[u8] {
        &self.map[self.place.offset as usize..][..self.len()]
    }

    fn verify(&self, number: usize) -> Result<()> {
        let block = self.place.block as usize;
        let bytes = &self.raw()[number * block..self.len().min((number + 1) * block)];
        if self.map[self.sums + SUM * number..][..SUM] == checksum(bytes) {
            return Ok(());
        }
        Err(damaged(&self.path, "its checksums do not fit its bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn written(folder: &Path) -> (PathBuf, [u8; 32]) {
        let path = folder.join("x.bin");
        let mut bytes = Vec::new();
        let mut writer = SectionWriter::new(&mut bytes);
        writer.section("a", 4, [&[1u8, 2, 3][..], &[4, 5, 6, 7, 8, 9]]).unwrap();
        writer.section("b", 64, [7u32.to_le_bytes(), 8u32.to_le_bytes()]).unwrap();
        writer.section("c", 8, [[0u8; 0]]).unwrap();
        let hash = writer.finish(&"head").unwrap();
        std::fs::write(&path, &bytes).unwrap();
        (path, hash)
    }

    #[test]
    fn sections_come_back_aligned() {
        let folder = tempfile::tempdir().unwrap();
        let (path, hash) = written(folder.path());
        let (sections, head) = Sections::open::<String>(&path, &hash).unwrap();
        assert_eq!(head, "head");
        assert_eq!(sections.get("a", Some(9)).unwrap().bytes(3..6).unwrap(), [4, 5, 6]);
        assert_eq!(sections.get("b", None).unwrap().numbers::<u32>(0..2).unwrap(), [7, 8]);
        assert!(sections.get("c", Some(0)).unwrap().all().unwrap().is_empty());
        assert!(sections.get("a", Some(8)).is_err() && sections.get("d", None).is_err());
        assert!(sections.get("b", None).unwrap().numbers::<u32>(1..3).is_err());
        assert!(Sections::open::<String>(&path, &[0; 32]).is_err());
    }

    #[test]
    fn no_damaged_byte_is_ever_read() {
        let folder = tempfile::tempdir().unwrap();
        let (path, hash) = written(folder.path());
        let whole = std::fs::read(&path).unwrap();
        let contents = |path: &Path| -> Result<Vec<Vec<u8>>> {
            let (sections, _) = Sections::open::<String>(path, &hash)?;
            ["a", "b", "c"].map(|name| Ok(sections.get(name, None)?.all()?.to_vec())).into_iter().collect()
        };
        let sound = contents(&path).unwrap();
        for byte in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[byte] ^= 1;
            std::fs::write(&path, &flipped).unwrap();
            // Padding between sections may change: nobody reads it.
            match contents(&path) {
                Ok(found) => assert_eq!(found, sound),
                Err(error) => assert!(error.to_string().contains("x.bin: is damaged"), "{error}"),
            }
            std::fs::write(&path, &whole[..byte]).unwrap();
            assert!(contents(&path).is_err(), "cut at {byte}");
        }
    }
}
