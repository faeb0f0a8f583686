//! What must hold before the first photo is embedded: a refusal that a corpus or an encoder decides comes
//! before hours of work, not after them.

use super::DualEncoder;
use crate::data::corpus::Corpus;
use crate::data::photos::PhotoHash;
use crate::error::Result;

/// A check of a corpus with the hashes of its photos.
pub type PhotosCheck<'a> = &'a dyn Fn(&Corpus, &[Option<PhotoHash>]) -> Result<()>;

/// Checks by a job that embeds a corpus, in the order in which they are made.
pub struct BeforeEmbedding<'a> {
    /// Of the corpus, which still has the images whose photos cannot be read.
    pub corpus: &'a dyn Fn(&Corpus) -> Result<()>,
    /// Of the opened encoder.
    pub encoder: &'a dyn Fn(&dyn DualEncoder) -> Result<()>,
    /// Of the corpus with the hash of each photo; there are none in a corpus of features.
    pub photos: PhotosCheck<'a>,
}

impl BeforeEmbedding<'static> {
    /// No check.
    pub const NOTHING: Self = Self { corpus: &|_| Ok(()), encoder: &|_| Ok(()), photos: &|_, _| Ok(()) };
}
