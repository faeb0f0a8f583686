//! ExtraDocid docids: an image may be found under another docid too, the one that captions give it.
//!
//! Where an image lies and where captions speak of it are two places, and a caption may be nearer to the second. The
//! search treats both alike; an image found under both keeps the better score.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data::corpus::Corpus;
use crate::docid::{Docid, DocidSet};
use crate::error::{Error, Result};
use crate::file_io;
use crate::ids::ImageIdx;

/// Where the captions of a second docid come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// They are the image's own, of the train split.
    #[serde(rename = "own")]
    Own,
    /// They are pseudo-captions: the train captions nearest to the image.
    #[serde(rename = "nearest")]
    Nearest,
}

/// One image's second docid.
#[derive(Debug, Clone, PartialEq)]
pub struct ExtraDocid {
    /// Whose it is.
    pub image: ImageIdx,
    /// The docid: no image's first one, and nobody else's second one.
    pub docid: Docid,
    /// Where the captions come from.
    pub origin: Origin,
    /// The captions it was made from: positions in the corpus, all of the train split.
    pub captions: Vec<usize>,
}

/// A line of the file: names where the corpus has positions, for people to read.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    image: String,
    docid: Docid,
    origin: Origin,
    /// (image, number of the caption there)
    captions: Vec<(String, usize)>,
}

/// Writes second docids, a line each, in the order of their images.
///
/// # Errors
/// When the disk refuses.
pub fn write(path: &Path, seconds: &[ExtraDocid], corpus: &Corpus) -> Result<()> {
    let named = |&caption: &usize| {
        let owner = corpus.owner(caption);
        (corpus.id(owner).to_owned(), caption - corpus.captions_of(owner).start)
    };
    file_io::write_atomic(path, |out| {
        for second in seconds {
            let line = Line {
                image: corpus.id(second.image).to_owned(),
                docid: second.docid.clone(),
                origin: second.origin,
                captions: second.captions.iter().map(named).collect(),
            };
            writeln!(out, "{}", serde_json::to_string(&line)?)?;
        }
        Ok(())
    })
}

/// Reads what [`write()`] wrote, for this corpus.
///
/// # Errors
/// When the file is broken or speaks of images or captions that the corpus does not have.
pub fn read(path: &Path, corpus: &Corpus) -> Result<Vec<ExtraDocid>> {
    let text = file_io::read_text(path, 1 << 32)?;
    let second = |(number, line): (usize, &str)| {
        let line: Line = serde_json::from_str(line).map_err(|e| Error::line(path, number, e.to_string()))?;
        let find = |name: &str| {
            corpus
                .find(name)
                .ok_or_else(|| Error::line(path, number, format!("the corpus has no image {name}")))
        };
        let caption = |(name, place): &(String, usize)| {
            let of_image = corpus.captions_of(find(name)?);
            of_image
                .clone()
                .nth(*place)
                .ok_or_else(|| Error::line(path, number, format!("image {name} has no caption {place}")))
        };
        Ok(ExtraDocid {
            image: find(&line.image)?,
            captions: line.captions.iter().map(caption).collect::<Result<_>>()?,
            docid: line.docid,
            origin: line.origin,
        })
    };
    (1..).zip(text.lines()).map(second).collect()
}

/// All docids of a corpus and whose they are: those of its images in their order, then the second ones. A row of it stands
/// for an image wherever a search takes one.
#[derive(Debug, Clone)]
pub struct DocidTable {
    set: DocidSet,
    owners: Vec<ImageIdx>,
}

impl DocidTable {
    /// The docids of images, and further ones.
    ///
    /// # Errors
    /// When a second docid is not unique or of another shape.
    pub fn new(first: &DocidSet, seconds: &[ExtraDocid]) -> Result<Self> {
        let all = first.iter().chain(seconds.iter().map(|second| &second.docid)).cloned().collect();
        let images = (0..first.images()).map(ImageIdx::from);
        Ok(Self {
            set: DocidSet::new(all, first.codes_per_level().to_vec())?,
            owners: images.chain(seconds.iter().map(|second| second.image)).collect(),
        })
    }

    /// The docids, row by row.
    pub fn set(&self) -> &DocidSet {
        &self.set
    }

    /// The image of a row.
    pub fn owner(&self, row: ImageIdx) -> ImageIdx {
        self.owners[row.row()]
    }

    /// The rows of the images of a gallery.
    pub fn of(&self, gallery: &[ImageIdx]) -> Vec<ImageIdx> {
        let mut wanted = vec![false; self.owners.len()];
        gallery.iter().for_each(|image| wanted[image.row()] = true);
        (0..self.owners.len()).map(ImageIdx::from).filter(|&row| wanted[self.owner(row).row()]).collect()
    }
}
