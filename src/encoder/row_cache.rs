//! Embeddings that were computed before, kept by the hash of what they were computed from.
//!
//! Each process that computes rows appends them, batch by batch, to a file of its own below `CACHE/ENCODER/photos` or
//! `…/captions`; all files there are read. An interruption loses the batch that it falls into, and a photo or caption
//! that was changed costs only its own row.
//!
//! A file begins with `MAGIC` and the width of a row (u32). A record is the hash of the item (32 bytes), the id of
//! its batch (8), the row (f32), and the first 8 bytes of the BLAKE3 hash of all that; numbers are little-endian. A
//! damaged or unfinished record ends the reading of its file.
//!
//! The last bits of a row can depend on the other items of its batch. A row of the same batch is therefore preferred,
//! and a corpus that was embedded before gets the same bits again. A row of another batch is taken if there is none.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::DualEncoder;
use crate::error::{Error, Result};
use crate::matrix::Matrix;

/// The start of a file, with the version of the format.
const MAGIC: &[u8; 8] = b"dsirows1";
/// Raise it when the same item gets other rows from the same encoder: when photos are decoded differently, for example.
const VERSION: u32 = 1;
/// Hexadecimal digits of an encoder's folder.
const ENCODER_DIGITS: usize = 16;
/// Bytes of a batch's id, and of a record's checksum.
const SHORT: usize = 8;
/// Bytes of an item's hash.
const LONG: usize = 32;

/// BLAKE3 of what a row is computed from: the bytes of a photo, or a caption.
pub type ItemHash = [u8; LONG];

/// Items and the batches in which they are embedded. Items without a hash are never cached.
pub struct Batches {
    hashes: Vec<Option<ItemHash>>,
    batches: Vec<Vec<usize>>,
}

impl Batches {
    /// `batches` names each item once, by its position in `hashes`.
    pub fn new(hashes: Vec<Option<ItemHash>>, batches: Vec<Vec<usize>>) -> Self {
        Self { hashes, batches }
    }

    /// Number of items.
    pub fn items(&self) -> usize {
        self.hashes.len()
    }

    /// The batches and their ids.
    pub fn iter(&self) -> impl Iterator<Item = (BatchId, &[usize])> {
        self.batches.iter().map(|items| (self.id(items), items.as_slice()))
    }

    fn id(&self, items: &[usize]) -> BatchId {
        let mut hasher = blake3::Hasher::new();
        items.iter().for_each(|&item| _ = hasher.update(&self.hashes[item].unwrap_or_default()));
        BatchId(short(&hasher.finalize()))
    }

    /// The items by hash, each with the id of its batch.
    fn wanted(&self) -> HashMap<ItemHash, Vec<(usize, BatchId)>> {
        let mut wanted: HashMap<ItemHash, Vec<(usize, BatchId)>> = HashMap::new();
        for (id, items) in self.iter() {
            for &item in items {
                if let Some(hash) = self.hashes[item] {
                    wanted.entry(hash).or_default().push((item, id));
                }
            }
        }
        wanted
    }
}

/// The hash of a batch's items in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchId([u8; SHORT]);

fn short(hash: &blake3::Hash) -> [u8; SHORT] {
    std::array::from_fn(|byte| hash.as_bytes()[byte])
}

/// Where the row of an item comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Missing,
    OtherBatch,
    SameBatch,
}

/// Rows of items, some of them still missing.
pub struct Rows {
    /// One row an item; zeros where it is missing.
    pub rows: Matrix,
    sources: Vec<Source>,
}

impl Rows {
    fn missing(items: usize, width: usize) -> Self {
        Self { rows: Matrix::zeros(items, width), sources: vec![Source::Missing; items] }
    }

    /// Whether an item has no row.
    pub fn is_missing(&self, item: usize) -> bool {
        self.sources[item] == Source::Missing
    }

    /// How many items have a row.
    pub fn found(&self) -> usize {
        self.sources.iter().filter(|source| **source != Source::Missing).count()
    }

    /// How many items have a row that was computed in another batch.
    pub fn of_other_batches(&self) -> usize {
        self.sources.iter().filter(|source| **source == Source::OtherBatch).count()
    }

    /// Gives an item its row.
    pub fn set(&mut self, item: usize, row: &[f32]) {
        self.put(item, row, Source::SameBatch);
    }

    fn put(&mut self, item: usize, row: &[f32], source: Source) {
        self.rows.row_mut(item).copy_from_slice(row);
        self.sources[item] = source;
    }
}

/// The cached rows of one encoder for one kind of items.
pub struct RowCache {
    /// Folders that are read; new rows go to the last one.
    folders: Vec<PathBuf>,
    width: usize,
}

impl RowCache {
    /// The rows of `kind` (`photos`, `captions`) of an encoder, in caches of which the last one is written.
    pub fn new(caches: &[&Path], encoder: &dyn DualEncoder, kind: &str) -> Self {
        let fingerprint = blake3::hash(format!("{VERSION} {}", encoder.fingerprint()).as_bytes()).to_hex();
        let below = |cache: &&Path| cache.join(&fingerprint[..ENCODER_DIGITS]).join(kind);
        Self { folders: caches.iter().map(below).collect(), width: encoder.width() }
    }

    /// The rows that are there. Files that cannot be read are passed over.
    pub fn find(&self, batches: &Batches) -> Rows {
        let wanted = batches.wanted();
        let mut rows = Rows::missing(batches.items(), self.width);
        for file in self.folders.iter().flat_map(|folder| files(folder)) {
            self.read(&file, &mut |hash, batch, row| {
                for &(item, own) in wanted.get(hash).map_or(&[][..], Vec::as_slice) {
                    if own == batch {
                        rows.put(item, row, Source::SameBatch);
                    } else if rows.is_missing(item) {
                        rows.put(item, row, Source::OtherBatch);
                    }
                }
            });
        }
        rows
    }

    /// Reads the records of a file up to the first one that is damaged or unfinished.
    fn read(&self, path: &Path, found: &mut dyn FnMut(&ItemHash, BatchId, &[f32])) -> Option<()> {
        let mut file = BufReader::with_capacity(1 << 20, File::open(path).ok()?);
        let mut head = [0; MAGIC.len() + 4];
        file.read_exact(&mut head).ok()?;
        if head != header(self.width) {
            return None;
        }
        let mut record = vec![0; LONG + SHORT + 4 * self.width + SHORT];
        let mut row = vec![0.0; self.width];
        loop {
            file.read_exact(&mut record).ok()?;
            let (content, check) = record.split_at(record.len() - SHORT);
            if short(&blake3::hash(content)) != check {
                return None;
            }
            let hash: ItemHash = content[..LONG].try_into().ok()?;
            let batch = BatchId(content[LONG..LONG + SHORT].try_into().ok()?);
            let values = content[LONG + SHORT..].chunks_exact(4);
            row.iter_mut()
                .zip(values)
                .for_each(|(x, bytes)| *x = f32::from_le_bytes(bytes.try_into().unwrap_or_default()));
            found(&hash, batch, &row);
        }
    }

    /// Appends new rows to a file of this process.
    pub fn writer(&self) -> RowWriter<'_> {
        RowWriter { cache: self, file: Writing::NotBegun }
    }
}

fn header(width: usize) -> [u8; MAGIC.len() + 4] {
    let mut head = [0; MAGIC.len() + 4];
    head[..MAGIC.len()].copy_from_slice(MAGIC);
    head[MAGIC.len()..].copy_from_slice(&u32::try_from(width).unwrap_or(u32::MAX).to_le_bytes());
    head
}

/// The files of a folder in the order of their names; none if it cannot be listed.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "rows")).collect();
    files.sort();
    files
}

/// Appends rows to the cache. A cache that cannot be written costs a warning and not the rows.
pub struct RowWriter<'a> {
    cache: &'a RowCache,
    file: Writing,
}

enum Writing {
    NotBegun,
    To(File),
    Failed,
}

impl RowWriter<'_> {
    /// Keeps the rows of some items of a batch.
    pub fn append(&mut self, batches: &Batches, batch: BatchId, items: &[usize], rows: &Rows) {
        let mut bytes = Vec::new();
        for &item in items {
            let Some(hash) = batches.hashes[item] else { continue };
            let start = bytes.len();
            bytes.extend_from_slice(&hash);
            bytes.extend_from_slice(&batch.0);
            rows.rows.row(item).iter().for_each(|x| bytes.extend_from_slice(&x.to_le_bytes()));
            let check = short(&blake3::hash(&bytes[start..]));
            bytes.extend_from_slice(&check);
        }
        if !bytes.is_empty() && !matches!(self.file, Writing::Failed) {
            self.write(&bytes).unwrap_or_else(|error| self.give_up(&error));
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let folder = self.cache.folders.last().ok_or_else(|| Error::input("there is no cache"))?;
        if matches!(self.file, Writing::NotBegun) {
            self.file = Writing::To(begin(folder, self.cache.width)?);
        }
        match &mut self.file {
            Writing::To(file) => file.write_all(bytes).map_err(Error::io("write", folder)),
            Writing::NotBegun | Writing::Failed => Ok(()),
        }
    }

    fn give_up(&mut self, error: &Error) {
        tracing::warn!("the embeddings are not kept for the next time: {error}");
        self.file = Writing::Failed;
    }
}

impl Drop for RowWriter<'_> {
    fn drop(&mut self) {
        if let Writing::To(file) = &self.file {
            file.sync_all().ok();
        }
    }
}

/// A new file with its header.
fn begin(folder: &Path, width: usize) -> Result<File> {
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let name = || format!("{:016x}.rows", rand::random::<u64>());
    let mut file = File::create_new(folder.join(name())).map_err(Error::io("write", folder))?;
    file.write_all(&header(width)).map_err(Error::io("write", folder))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(folder: &Path) -> RowCache {
        RowCache { folders: vec![folder.to_owned()], width: 2 }
    }

    fn hash(item: u8) -> Option<ItemHash> {
        Some([item; LONG])
    }

    /// Embeds what is missing as (item's first byte, batch length), and returns how many items that were.
    fn embed(cache: &RowCache, batches: &Batches) -> (Rows, usize) {
        let mut rows = cache.find(batches);
        let mut writer = cache.writer();
        let mut count = 0;
        for (id, items) in batches.iter() {
            let missing: Vec<usize> = items.iter().copied().filter(|&item| rows.is_missing(item)).collect();
            for &item in &missing {
                rows.set(item, &[f32::from(batches.hashes[item].unwrap_or_default()[0]), items.len() as f32]);
            }
            writer.append(batches, id, &missing, &rows);
            count += missing.len();
        }
        (rows, count)
    }

    #[test]
    fn a_changed_item_costs_one_row_and_the_same_batches_give_the_same_rows() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        let batches = |items: &[u8], plan: &[&[usize]]| {
            Batches::new(
                items.iter().map(|&item| hash(item)).collect(),
                plan.iter().map(|batch| batch.to_vec()).collect(),
            )
        };
        let first = batches(&[1, 2, 3], &[&[0, 2], &[1]]);
        let (rows, count) = embed(&cache, &first);
        assert_eq!((count, rows.rows.data()), (3, &[1.0, 2.0, 2.0, 1.0, 3.0, 2.0][..]));
        let (again, count) = embed(&cache, &first);
        assert_eq!((count, again.of_other_batches(), again.rows.data()), (0, 0, rows.rows.data()));
        let changed = batches(&[1, 9, 3], &[&[0, 1, 2]]);
        let (rows, count) = embed(&cache, &changed);
        assert_eq!((count, rows.of_other_batches()), (1, 2));
        assert_eq!(rows.rows.data(), [1.0, 2.0, 9.0, 3.0, 3.0, 2.0]);
    }

    #[test]
    fn a_file_is_read_up_to_its_damage_and_other_widths_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        let batches = Batches::new(vec![hash(1), hash(2)], vec![vec![0], vec![1]]);
        embed(&cache, &batches);
        let path = files(folder.path()).pop().unwrap();
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let record = (whole.len() - MAGIC.len() - 4) / 2;
            let expected = length.saturating_sub(MAGIC.len() + 4) / record;
            assert_eq!(cache.find(&batches).found(), expected, "{length} bytes");
        }
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        fs::write(&path, &flipped).unwrap();
        assert_eq!(cache.find(&batches).found(), 1);
        let wider = RowCache { width: 3, ..cache };
        assert_eq!(wider.find(&batches).found(), 0);
    }

    #[test]
    fn a_cache_that_cannot_be_written_costs_no_row() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let (rows, count) = embed(&cache(&file), &Batches::new(vec![hash(1), None], vec![vec![0, 1]]));
        assert_eq!((count, rows.found()), (2, 2));
    }
}
