//! A corpus with the embeddings of its images and captions, and the encoder that made them.

use std::path::PathBuf;
use std::sync::Arc;

use super::DualEncoder;
use crate::data::corpus::Corpus;
use crate::data::corpus_embeddings::Embeddings;
use crate::data::photos::{Photo, PhotoHash};
use crate::error::{Error, Result};
use crate::ids::ImageIdx;

/// What [`embed_corpus`](mod@super::embed_corpus) returns.
pub struct EmbeddedCorpus {
    /// The corpus, without the images whose photos were skipped.
    pub corpus: Corpus,
    /// Unit rows in the order of the corpus.
    pub embeddings: Arc<Embeddings>,
    /// The encoder of the embeddings, for new captions and photos.
    pub encoder: Arc<dyn DualEncoder>,
    /// The hash of each image's photo, in the order of the corpus; empty when there are no photos.
    pub photos: Vec<Option<PhotoHash>>,
    /// The start of the names of files that keep further embeddings of this corpus; `None` when the encoder had the
    /// embeddings ready-made.
    pub cache: Option<PathBuf>,
}

impl EmbeddedCorpus {
    /// Whether the embeddings were computed from photos.
    pub fn has_photos(&self) -> bool {
        !self.photos.is_empty()
    }
}

/// The photos of some images.
///
/// # Errors
/// When the corpus has no photos.
pub fn photos_of(corpus: &Corpus, images: impl IntoIterator<Item = ImageIdx>) -> Result<Vec<Photo>> {
    let photo = |image| {
        let photo = corpus.photo(image).cloned();
        photo.ok_or_else(|| Error::input("this corpus has no photos for encoder.kind = \"clip\" to read"))
    };
    images.into_iter().map(photo).collect()
}
