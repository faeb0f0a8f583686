//! One file of images: their names and docids, and what a search needs of each.
//!
//! Docids lie in the order of the trie, so those that share a first code are one range, a *list*. An image comes at the
//! place of its first docid; if every image has one docid, image and docid have the same number.
//!
//! | section | content |
//! |---|---|
//! | `lists` | u32: where the list of each first code begins, and the end of the last one |
//! | `codes` | the codes after the first, docid by docid; 1, 2 or 4 bytes each |
//! | `constants`, `scales` | f32 a docid: score = scale · Σ look-ups + constant; missing: 0 and 1 |
//! | `bonuses` | f32 an image: what its constants hold on top of its docid's own, if anything |
//! | `owners` | u32 a docid: its image, if some image has two docids |
//! | `names`, `name_ends` | UTF-8, and u32: where each name ends |
//! | `files`, `file_ends` | the same for the image's photo, if that is not the folder of the segment and the name |
//! | `hashes` | the first 16 bytes of the BLAKE3 of each photo |
//! | `rows`, `row_factors` | embeddings for re-ranking ([`super::rows`]) |

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::rows::{self, RowKind};
use super::section::{Section, Sections};
use crate::docid::{Code, MAX_CODES};
use crate::error::{Error, Result};

pub(super) const VERSION: u32 = 1;

/// The start of a photo's BLAKE3.
pub type ShortHash = [u8; 16];

/// What holds for all images of a segment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Head {
    pub(super) version: u32,
    /// Number of images.
    pub images: usize,
    /// Number of docids.
    pub docids: usize,
    /// Number of codes at each level.
    pub codes_per_level: Vec<usize>,
    /// How rows are kept, and their width.
    pub rows: (RowKind, usize),
    /// The folder of the photos; `None` if there are no photos, or not in one folder.
    pub folder: Option<PathBuf>,
}

impl Head {
    /// Bytes of a code.
    pub(super) fn code_bytes(&self) -> usize {
        match self.codes_per_level.iter().copied().max().unwrap_or(0) {
            0..=256 => 1,
            257..=65_536 => 2,
            _ => 4,
        }
    }

    /// Codes of a docid after the first one.
    pub(super) fn later_levels(&self) -> usize {
        self.codes_per_level.len().saturating_sub(1)
    }
}

/// The codes after the first, docid by docid.
pub enum Codes<'a> {
    /// A byte each.
    One(&'a [u8]),
    /// Two bytes each.
    Two(&'a [u16]),
    /// Four bytes each.
    Four(&'a [u32]),
}

/// An opened segment.
pub struct Segment {
    head: Head,
    path: PathBuf,
    lists: Section,
    codes: Section,
    constants: Option<Section>,
    scales: Option<Section>,
    bonuses: Option<Section>,
    owners: Option<Section>,
    names: Strings,
    files: Option<Strings>,
    hashes: Option<Section>,
    rows: Section,
    row_factors: Option<Section>,
}

/// Strings one after the other.
struct Strings {
    bytes: Section,
    ends: Section,
}

impl Segment {
    /// Opens a segment file that has this hash.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, another file or of another version.
    pub fn open(path: &Path, hash: &[u8; 32]) -> Result<Self> {
        let (sections, head) = Sections::open::<Head>(path, hash)?;
        if head.version != VERSION {
            let what = format!("has format version {}; this program reads version {VERSION}", head.version);
            return Err(Error::file(path, what));
        }
        let misshapen =
            || Error::file(path, "is damaged: its parts do not fit each other; make the search store again");
        let &first =
            head.codes_per_level.first().filter(|&&codes| codes <= MAX_CODES).ok_or_else(misshapen)?;
        if !sections.has("owners") && head.docids != head.images {
            return Err(misshapen());
        }
        let fours = |count: usize| (count as u64).saturating_mul(4);
        let (images, docids) = (head.images as u64, head.docids as u64);
        let code_bytes = (head.later_levels() * head.code_bytes()) as u64;
        let row_bytes = (head.rows.1 as u64).saturating_mul(rows::bytes_per_number(head.rows.0) as u64);
        let optional = |name: &str, length: u64| {
            sections.has(name).then(|| sections.get(name, Some(length))).transpose()
        };
        let strings = |name: &str, ends: &str| -> Result<Strings> {
            Ok(Strings {
                bytes: sections.get(name, None)?,
                ends: sections.get(ends, Some(fours(head.images)))?,
            })
        };
        Ok(Self {
            lists: sections.get("lists", Some(fours(first + 1)))?,
            codes: sections.get("codes", Some(docids.saturating_mul(code_bytes)))?,
            constants: optional("constants", fours(head.docids))?,
            scales: optional("scales", fours(head.docids))?,
            bonuses: optional("bonuses", fours(head.images))?,
            owners: optional("owners", fours(head.docids))?,
            names: strings("names", "name_ends")?,
            files: sections.has("files").then(|| strings("files", "file_ends")).transpose()?,
            hashes: optional("hashes", images.saturating_mul(size_of::<ShortHash>() as u64))?,
            rows: sections.get("rows", Some(images.saturating_mul(row_bytes)))?,
            row_factors: optional("row_factors", fours(head.images))?,
            path: path.to_owned(),
            head,
        })
    }

    /// What holds for all of its images.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Bytes of all docids with what a search needs of each.
    pub fn docid_bytes(&self) -> usize {
        let optional = [&self.constants, &self.scales, &self.owners].into_iter().flatten();
        self.codes.len() + self.lists.len() + optional.map(Section::len).sum::<usize>()
    }

    /// The docids that begin with this code.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn list(&self, first: usize) -> Result<Range<usize>> {
        let bounds = self.lists.numbers::<u32>(first..first + 2)?;
        let range = bounds[0] as usize..bounds[1] as usize;
        if range.start <= range.end && range.end <= self.head.docids {
            return Ok(range);
        }
        Err(Error::file(&self.path, format!("is damaged: list {first} is no range of its docids")))
    }

    /// The codes after the first of a range of docids.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn codes(&self, docids: Range<usize>) -> Result<Codes<'_>> {
        let width = self.head.later_levels();
        let places = docids.start * width..docids.end * width;
        Ok(match self.head.code_bytes() {
            1 => Codes::One(self.codes.numbers(places)?),
            2 => Codes::Two(self.codes.numbers(places)?),
            _ => Codes::Four(self.codes.numbers(places)?),
        })
    }

    /// All codes of a docid.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn docid(&self, docid: usize) -> Result<Vec<Code>> {
        let lists = self.lists.numbers::<u32>(0..self.head.codes_per_level[0] + 1)?;
        let first = lists.partition_point(|&start| start as usize <= docid).saturating_sub(1) as Code;
        let later: Vec<Code> = match self.codes(docid..docid + 1)? {
            Codes::One(codes) => codes.iter().map(|&code| code.into()).collect(),
            Codes::Two(codes) => codes.iter().map(|&code| code.into()).collect(),
            Codes::Four(codes) => codes.to_vec(),
        };
        let codes: Vec<Code> = [first].into_iter().chain(later).collect();
        if codes.iter().zip(&self.head.codes_per_level).all(|(&code, &codes)| (code as usize) < codes) {
            return Ok(codes);
        }
        Err(Error::file(&self.path, format!("is damaged: docid {docid} has a code that there is not")))
    }

    /// The constants of a range of docids, if they have some.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn constants(&self, docids: Range<usize>) -> Result<Option<&[f32]>> {
        self.constants.as_ref().map(|constants| constants.numbers(docids)).transpose()
    }

    /// The scales of a range of docids, if they have some.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn scales(&self, docids: Range<usize>) -> Result<Option<&[f32]>> {
        self.scales.as_ref().map(|scales| scales.numbers(docids)).transpose()
    }

    /// The image of a docid.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn owner(&self, docid: usize) -> Result<usize> {
        let Some(owners) = &self.owners else { return Ok(docid) };
        let owner = owners.numbers::<u32>(docid..docid + 1)?[0] as usize;
        if owner < self.head.images {
            return Ok(owner);
        }
        Err(Error::file(&self.path, format!("is damaged: docid {docid} belongs to no image of it")))
    }

    /// What an image gets on top of its docid's own score.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn bonus(&self, image: usize) -> Result<f32> {
        let Some(bonuses) = &self.bonuses else { return Ok(0.0) };
        Ok(bonuses.numbers::<f32>(image..image + 1)?[0])
    }

    /// The name of an image.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn name(&self, image: usize) -> Result<&str> {
        self.string(&self.names, image)
    }

    /// The file of an image's photo, if it has one.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn file(&self, image: usize) -> Result<Option<PathBuf>> {
        match (&self.files, &self.head.folder) {
            (Some(files), _) => {
                let file = self.string(files, image)?;
                Ok((!file.is_empty()).then(|| PathBuf::from(file)))
            }
            (None, Some(folder)) => Ok(Some(folder.join(self.name(image)?))),
            (None, None) => Ok(None),
        }
    }

    /// The hash of an image's photo, if it is kept.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn hash(&self, image: usize) -> Result<Option<ShortHash>> {
        let length = size_of::<ShortHash>();
        let Some(hashes) = &self.hashes else { return Ok(None) };
        let bytes = hashes.bytes(image * length..(image + 1) * length)?;
        Ok(bytes.try_into().ok())
    }

    /// The row of an image for re-ranking, if rows are kept.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn row(&self, image: usize) -> Result<Option<Vec<f32>>> {
        let (kind, width) = self.head.rows;
        if kind == RowKind::None {
            return Ok(None);
        }
        let length = width * rows::bytes_per_number(kind);
        let bytes = self.rows.bytes(image * length..(image + 1) * length)?;
        let factor = match &self.row_factors {
            Some(factors) => factors.numbers::<f32>(image..image + 1)?[0],
            None => 1.0,
        };
        Ok(Some(rows::decode(kind, bytes, factor)))
    }

    fn string<'a>(&self, strings: &'a Strings, number: usize) -> Result<&'a str> {
        let end = strings.ends.numbers::<u32>(number..number + 1)?[0] as usize;
        let start = match number.checked_sub(1) {
            Some(before) => strings.ends.numbers::<u32>(before..number)?[0] as usize,
            None => 0,
        };
        let damaged = |_| Error::file(&self.path, format!("is damaged: string {number} is not UTF-8"));
        std::str::from_utf8(strings.bytes.bytes(start..end)?).map_err(damaged)
    }
}
