//! Extra docids: an image may have a second docid, made from captions about it.
//!
//! The embedding of an image and those of its captions lie apart, and a query may be nearer to the captions.
//! A search treats both docids alike; an image found under both keeps the better score.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data::corpus::Corpus;
use crate::docid::{Docid, DocidSet};
use crate::error::{Error, Result};
use crate::file_io;
use crate::ids::{DocidRow, ImageIdx};

/// Where the captions of an extra docid come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// The image's own captions, of the train split.
    #[serde(rename = "own")]
    Own,
    /// Pseudo-captions: the train captions nearest to the image.
    #[serde(rename = "nearest")]
    Nearest,
}

/// One image's extra docid.
#[derive(Debug, Clone, PartialEq)]
pub struct ExtraDocid {
    /// The image.
    pub image: ImageIdx,
    /// The docid, which no other image has.
    pub docid: Docid,
    /// Where its captions come from.
    pub origin: Origin,
    /// The captions it is made from: positions in the corpus, all of the train split.
    pub captions: Vec<usize>,
}

/// A line of the file. It has names instead of positions, so that people can read it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    image: String,
    docid: Docid,
    origin: Origin,
    /// (image, number of the caption there)
    captions: Vec<(String, usize)>,
}

/// Writes extra docids, a line each, in the order of their images.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, extra: &[ExtraDocid], corpus: &Corpus) -> Result<()> {
    let named = |&caption: &usize| {
        let owner = corpus.owner(caption);
        (corpus.id(owner).to_owned(), caption - corpus.captions_of(owner).start)
    };
    file_io::write_atomic(path, |out| {
        for extra in extra {
            let line = Line {
                image: corpus.id(extra.image).to_owned(),
                docid: extra.docid.clone(),
                origin: extra.origin,
                captions: extra.captions.iter().map(named).collect(),
            };
            writeln!(out, "{}", serde_json::to_string(&line)?)?;
        }
        Ok(())
    })
}

/// Reads what [`write()`] wrote, for this corpus.
///
/// # Errors
/// When the file is broken or names images or captions that the corpus does not have.
pub fn read(path: &Path, corpus: &Corpus) -> Result<Vec<ExtraDocid>> {
    let text = file_io::read_text(path, 1 << 32)?;
    let read = |(number, line)| parse(line, corpus).map_err(|what| Error::line(path, number, what));
    (1..).zip(text.lines()).map(read).collect()
}

/// The extra docid of a line, or what is wrong with it.
fn parse(line: &str, corpus: &Corpus) -> Result<ExtraDocid, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let captions = line.captions.iter().map(|(image, number)| find_caption(corpus, image, *number));
    Ok(ExtraDocid {
        image: find_image(corpus, &line.image)?,
        captions: captions.collect::<Result<_, String>>()?,
        docid: line.docid,
        origin: line.origin,
    })
}

fn find_image(corpus: &Corpus, name: &str) -> Result<ImageIdx, String> {
    corpus.find(name).ok_or_else(|| format!("the corpus has no image {name}"))
}

fn find_caption(corpus: &Corpus, image: &str, number: usize) -> Result<usize, String> {
    let mut captions = corpus.captions_of(find_image(corpus, image)?);
    captions.nth(number).ok_or_else(|| format!("image {image} has no caption {number}"))
}

/// All docids of a corpus and their images: first one docid for each image in their order, then the extra
/// ones. A search over docids returns rows of this table.
#[derive(Debug, Clone)]
pub struct DocidTable {
    set: DocidSet,
    owners: Vec<ImageIdx>,
}

impl DocidTable {
    /// The docids of images, one each, and the extra ones.
    ///
    /// # Errors
    /// When an extra docid is not unique or of another shape.
    pub fn new(first: &DocidSet, extra: &[ExtraDocid]) -> Result<Self> {
        let all = first.iter().chain(extra.iter().map(|extra| &extra.docid)).cloned().collect();
        let images = (0..first.images()).map(ImageIdx::from);
        Ok(Self {
            set: DocidSet::new(all, first.codes_per_level().to_vec())?,
            owners: images.chain(extra.iter().map(|extra| extra.image)).collect(),
        })
    }

    /// The docids, row by row.
    pub fn set(&self) -> &DocidSet {
        &self.set
    }

    /// The image of a row.
    pub fn owner(&self, row: DocidRow) -> ImageIdx {
        self.owners[row.row()]
    }

    /// All rows of the images of a gallery.
    pub fn rows_of(&self, gallery: &[ImageIdx]) -> Vec<DocidRow> {
        let mut wanted = vec![false; self.owners.len()];
        gallery.iter().for_each(|image| wanted[image.row()] = true);
        (0..self.owners.len()).map(DocidRow::from).filter(|&row| wanted[self.owner(row).row()]).collect()
    }
}
