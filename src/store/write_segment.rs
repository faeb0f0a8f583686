//! Writing a segment ([`super::segment`]): docids are sorted, and images follow their first docid.

use std::path::{Path, PathBuf};

use rayon::slice::ParallelSliceMut as _;

use super::generation::FileRef;
use super::rows::{self, RowKind};
use super::section::SectionWriter;
use super::segment::{Head, ShortHash, VERSION};
use crate::docid::Code;
use crate::error::{Error, Result};
use crate::file_io;
use crate::matrix::Matrix;

/// Bytes of a block that is read in one go.
const LARGE_BLOCK: usize = 64 << 10;
/// Bytes of a block of what is read image by image.
const SMALL_BLOCK: usize = 4 << 10;
/// Bytes of all names, or all files, at most.
const MOST_TEXT: usize = u32::MAX as usize;

/// The images of a new segment.
pub struct NewSegment<'a> {
    /// Number of codes at each level.
    pub codes_per_level: &'a [usize],
    /// The docids: (docids, levels), row by row.
    pub codes: &'a [Code],
    /// The image of each docid.
    pub owners: &'a [usize],
    /// The constant of each docid.
    pub constants: &'a [f32],
    /// The scale of each docid; empty: 1.
    pub scales: &'a [f32],
    /// What the constants hold for each image on top of its docid's own; empty: nothing.
    pub bonuses: &'a [f32],
    /// The name of each image.
    pub names: &'a [String],
    /// The file of each image; empty: its name in `folder`.
    pub files: &'a [Option<PathBuf>],
    /// The folder of the photos.
    pub folder: Option<PathBuf>,
    /// The hash of each image's photo; empty: not kept.
    pub hashes: &'a [ShortHash],
    /// The row of each image for re-ranking, and how to keep it.
    pub rows: Option<(&'a Matrix, RowKind)>,
}

impl NewSegment<'_> {
    fn levels(&self) -> usize {
        self.codes_per_level.len()
    }

    fn docid(&self, docid: usize) -> &[Code] {
        &self.codes[docid * self.levels()..][..self.levels()]
    }

    /// Writes the segment as `name` in `folder`.
    ///
    /// # Errors
    /// When the disk refuses, or the names are longer than 4 GiB.
    pub fn write(&self, folder: &Path, name: String) -> Result<FileRef> {
        let path = folder.join(&name);
        let order = Order::of(self);
        let names: Vec<&str> = order.images.iter().map(|&image| self.names[image].as_str()).collect();
        let files = self.files(&order, &path)?;
        check_text(&path, names.iter().map(|name| name.len()))?;
        let mut hash = [0; 32];
        file_io::write_atomic(&path, |out| {
            let mut out = SectionWriter::new(out);
            self.write_sections(&mut out, &order, &names, files.as_deref())?;
            hash = out.finish(&self.head())?;
            Ok(())
        })?;
        Ok(FileRef::new(name, &hash))
    }

    fn head(&self) -> Head {
        Head {
            version: VERSION,
            images: self.names.len(),
            docids: self.owners.len(),
            codes_per_level: self.codes_per_level.to_vec(),
            rows: self.rows.map_or((RowKind::None, 0), |(rows, kind)| (kind, rows.width())),
            folder: self.folder.clone(),
        }
    }

    /// In the alphabetical order of their names.
    fn write_sections(
        &self,
        out: &mut SectionWriter,
        order: &Order,
        names: &[&str],
        files: Option<&[String]>,
    ) -> std::io::Result<()> {
        let bytes = self.head().code_bytes();
        let later = |&docid: &usize| -> Vec<u8> {
            self.docid(docid)[1..].iter().flat_map(|code| code.to_le_bytes()[..bytes].to_vec()).collect()
        };
        let numbers =
            |all: &[f32]| order.docids.iter().map(|&docid| all[docid].to_le_bytes()).collect::<Vec<_>>();
        if !self.bonuses.is_empty() {
            let bonus = |&image: &usize| self.bonuses[image].to_le_bytes();
            out.section("bonuses", SMALL_BLOCK, order.images.iter().map(bonus))?;
        }
        out.section("codes", LARGE_BLOCK, order.docids.iter().map(later))?;
        if self.constants.iter().any(|constant| *constant != 0.0) {
            out.section("constants", LARGE_BLOCK, numbers(self.constants))?;
        }
        if let Some(files) = files {
            out.section("file_ends", SMALL_BLOCK, ends(files.iter().map(String::len)))?;
            out.section("files", SMALL_BLOCK, files)?;
        }
        if !self.hashes.is_empty() {
            out.section("hashes", SMALL_BLOCK, order.images.iter().map(|&image| self.hashes[image]))?;
        }
        out.section("lists", LARGE_BLOCK, self.lists(order))?;
        out.section("name_ends", SMALL_BLOCK, ends(names.iter().map(|name| name.len())))?;
        out.section("names", SMALL_BLOCK, names)?;
        if self.owners.len() != self.names.len() {
            let owner = |&docid: &usize| (order.place[self.owners[docid]] as u32).to_le_bytes();
            out.section("owners", LARGE_BLOCK, order.docids.iter().map(owner))?;
        }
        let encoded = |&image: &usize| self.rows.map(|(rows, kind)| rows::encode(kind, rows.row(image)));
        if self.rows.is_some_and(|(_, kind)| kind == RowKind::Int8) {
            let factor = |image| encoded(image).map_or(1.0, |(_, factor)| factor).to_le_bytes();
            out.section("row_factors", SMALL_BLOCK, order.images.iter().map(factor))?;
        }
        let row = |image| encoded(image).map_or_else(Vec::new, |(bytes, _)| bytes);
        out.section("rows", SMALL_BLOCK, order.images.iter().map(row))?;
        if !self.scales.is_empty() {
            out.section("scales", LARGE_BLOCK, numbers(self.scales))?;
        }
        Ok(())
    }

    /// Where the list of each first code begins, and the end of the last one.
    fn lists(&self, order: &Order) -> Vec<[u8; 4]> {
        let first = |docid: &usize| self.docid(*docid)[0] as usize;
        let start = |code: usize| order.docids.partition_point(|docid| first(docid) < code) as u32;
        (0..=self.codes_per_level[0]).map(|code| start(code).to_le_bytes()).collect()
    }

    /// The files of all images in the order of the segment; `None` if they follow from folder and name.
    fn files(&self, order: &Order, path: &Path) -> Result<Option<Vec<String>>> {
        if self.files.is_empty() {
            return Ok(None);
        }
        // A file whose name is not UTF-8 is as one that is not known.
        let known = |image: usize| self.files[image].as_ref().and_then(|file| file.to_str());
        let file = |&image: &usize| known(image).unwrap_or_default().to_owned();
        let files: Vec<String> = order.images.iter().map(file).collect();
        check_text(path, files.iter().map(String::len))?;
        Ok(Some(files))
    }
}

/// In which order docids and images are written.
struct Order {
    /// Docids in the order of their codes.
    docids: Vec<usize>,
    /// Images in the order of their first docid.
    images: Vec<usize>,
    /// The place of each image in that order.
    place: Vec<usize>,
}

impl Order {
    fn of(new: &NewSegment) -> Self {
        let mut docids: Vec<usize> = (0..new.owners.len()).collect();
        docids.par_sort_unstable_by(|&a, &b| new.docid(a).cmp(new.docid(b)).then(a.cmp(&b)));
        let mut place = vec![usize::MAX; new.names.len()];
        let mut images = Vec::with_capacity(new.names.len());
        for &docid in &docids {
            let image = new.owners[docid];
            if place[image] == usize::MAX {
                place[image] = images.len();
                images.push(image);
            }
        }
        Self { docids, images, place }
    }
}

/// Where each string ends.
fn ends(lengths: impl Iterator<Item = usize>) -> Vec<[u8; 4]> {
    let add = |end: &mut usize, length: usize| {
        *end += length;
        Some((*end as u32).to_le_bytes())
    };
    lengths.scan(0, add).collect()
}

fn check_text(path: &Path, lengths: impl Iterator<Item = usize>) -> Result<()> {
    match lengths.sum::<usize>() {
        total if total <= MOST_TEXT => Ok(()),
        total => {
            Err(Error::file(path, format!("would have {total} bytes of names; {MOST_TEXT} are the most")))
        }
    }
}
