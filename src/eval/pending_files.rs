//! The files of an evaluation that are still to be written.
//!
//! Figures are printed before files are written, so that a full disk or a folder without permission costs the
//! files alone. Until then the lists of the rows are kept in memory. Very long lists (`eval.depth`) are written
//! at once; what goes wrong then is reported with the other files.

use std::path::{Path, PathBuf};

use super::trec_files;
use crate::data::corpus::Corpus;
use crate::error::{Error, Result};
use crate::ids::ImageIdx;
use crate::retriever::{Hit, RankedList};

/// The most bytes of ranked lists that are kept.
const KEPT_BYTES: usize = 256 << 20;

/// A hit of a search for captions: the image, the caption's number there, and the score.
pub type CaptionHit = (ImageIdx, usize, f32);

/// A run or qrels file.
pub struct PendingFile {
    /// Its path below the folder of the report.
    pub name: String,
    /// What it will hold.
    pub content: Content,
}

/// The content of a file.
pub enum Content {
    /// A run file with lists of images.
    Images {
        /// The name of the system.
        tag: String,
        /// The names of the queries.
        queries: Vec<String>,
        /// The list of each.
        lists: Vec<RankedList>,
    },
    /// A run file with lists of captions.
    Captions {
        /// The name of the system.
        tag: String,
        /// The names of the queries.
        queries: Vec<String>,
        /// The list of each.
        lists: Vec<Vec<CaptionHit>>,
    },
    /// A qrels file: pairs of a query and a right answer.
    Qrels(Vec<(String, String)>),
}

/// Files that wait.
pub struct PendingFiles {
    folder: PathBuf,
    /// The id of each image.
    images: Vec<String>,
    files: Vec<PendingFile>,
    bytes: usize,
    /// The first error of a file that was too long to wait.
    fault: Option<Error>,
}

impl PendingFiles {
    /// No files yet, for this folder.
    pub fn new(folder: PathBuf, corpus: &Corpus) -> Self {
        let images = corpus.images().map(|image| corpus.id(image).to_owned()).collect();
        Self { folder, images, files: Vec::new(), bytes: 0, fault: None }
    }

    /// Adds a file; one too many to keep is written.
    pub fn push(&mut self, file: PendingFile) {
        let bytes = file.content.bytes();
        if self.bytes + bytes <= KEPT_BYTES {
            self.bytes += bytes;
            self.files.push(file);
        } else if let Err(error) = file.write(&self.folder, &self.images) {
            self.fault.get_or_insert(error);
        }
    }

    /// Writes all files.
    ///
    /// # Errors
    /// When one cannot be written: the first of them.
    pub fn write(self) -> Result<()> {
        match self.fault {
            Some(error) => Err(error),
            None => self.files.iter().try_for_each(|file| file.write(&self.folder, &self.images)),
        }
    }
}

impl Content {
    /// The memory that its lists take; ids are small next to them.
    fn bytes(&self) -> usize {
        match self {
            Self::Images { lists, .. } => {
                lists.iter().map(|list| list.hits().len()).sum::<usize>() * size_of::<Hit>()
            }
            Self::Captions { lists, .. } => {
                lists.iter().map(Vec::len).sum::<usize>() * size_of::<CaptionHit>()
            }
            Self::Qrels(_) => 0,
        }
    }
}

impl PendingFile {
    fn write(&self, folder: &Path, images: &[String]) -> Result<()> {
        let path = folder.join(&self.name);
        match &self.content {
            Content::Images { tag, queries, lists } => {
                let named = |list: &RankedList| -> Vec<(&str, f32)> {
                    list.hits().iter().map(|hit| (&*images[hit.image.row()], hit.score)).collect()
                };
                trec_files::write_run(&path, tag, queries.iter().zip(lists.iter().map(named)))
            }
            Content::Captions { tag, queries, lists } => {
                let id = |&(image, number, score): &CaptionHit| {
                    (format!("{}#{number}", images[image.row()]), score)
                };
                let named = |list: &Vec<CaptionHit>| -> Vec<(String, f32)> { list.iter().map(id).collect() };
                trec_files::write_run(&path, tag, queries.iter().zip(lists.iter().map(named)))
            }
            Content::Qrels(right) => trec_files::write_qrels(&path, right.iter().map(|(q, d)| (q, d))),
        }
    }
}
