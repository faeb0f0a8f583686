//! The file that keeps the embeddings of a corpus, named by a hash of all that they depend on.
//!
//! It is safetensors with `kept` (u32, the images whose photos could be read), `images` and `captions` (one
//! f32 row each).

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};

use super::DualEncoder;
use crate::data::corpus::Corpus;
use crate::data::corpus_embeddings::Embeddings;
use crate::data::photos::PhotoHash;
use crate::error::Result;
use crate::ids::ImageIdx;
use crate::nn::tensors;

/// Hexadecimal digits of a file's name.
const KEY_DIGITS: usize = 32;
/// Hexadecimal digits that [`EmbeddingCache::key_bits`] returns: an f32 holds 24 bits exactly.
const SHARED_DIGITS: usize = 6;

/// The cache file of one corpus and one encoder.
pub struct EmbeddingCache {
    key: String,
    path: PathBuf,
}

impl EmbeddingCache {
    /// The file below `folder` for this encoder, these captions and names, and the bytes of these photos.
    pub fn new(
        folder: &Path,
        encoder: &dyn DualEncoder,
        corpus: &Corpus,
        photos: &[Option<PhotoHash>],
    ) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(encoder.fingerprint().as_bytes());
        hasher.update(corpus.fingerprint().as_bytes());
        photos.iter().for_each(|hash| _ = hasher.update(&hash.unwrap_or_default()));
        let key = hasher.finalize().to_hex()[..KEY_DIGITS].to_owned();
        Self { path: folder.join(format!("{key}.safetensors")), key }
    }

    /// The first 24 bits of the key, for ranks to compare.
    pub fn key_bits(&self) -> u32 {
        let digits = &self.key[..SHARED_DIGITS];
        u32::from_str_radix(digits, 16).expect("invariant: a hash in hexadecimal digits")
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The kept images and the embeddings of the file; `None` when it is missing, damaged or of another
    /// corpus.
    pub fn read(&self, corpus: &Corpus) -> Option<(Vec<ImageIdx>, Embeddings)> {
        let mut tensors = tensors::read(&self.path).ok()?;
        let kept: Vec<u32> = tensors.remove("kept")?.to_vec1().ok()?;
        let kept: Vec<ImageIdx> = kept.into_iter().map(ImageIdx).collect();
        let mut matrix = |name| tensors::to_matrix(&tensors.remove(name)?).ok();
        let embeddings = Embeddings { images: matrix("images")?, captions: matrix("captions")? };
        fits(corpus, &kept, &embeddings).then_some((kept, embeddings))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, kept: &[ImageIdx], embeddings: &Embeddings) -> Result<()> {
        let kept: Vec<u32> = kept.iter().map(|image| image.0).collect();
        let count = kept.len();
        let tensors = [
            ("kept".to_owned(), Tensor::from_vec(kept, count, &Device::Cpu)?),
            ("images".to_owned(), tensors::from_matrix(&embeddings.images, &Device::Cpu)?),
            ("captions".to_owned(), tensors::from_matrix(&embeddings.captions, &Device::Cpu)?),
        ];
        tensors::write(&self.path, &tensors.into())
    }
}

/// Whether there is one row for each kept image and for each of its captions.
fn fits(corpus: &Corpus, kept: &[ImageIdx], embeddings: &Embeddings) -> bool {
    let in_corpus = kept.iter().filter(|image| image.row() < corpus.len());
    let captions: usize = in_corpus.map(|&image| corpus.captions_of(image).len()).sum();
    kept.len() == embeddings.images.rows()
        && captions == embeddings.captions.rows()
        && kept.is_sorted_by(|a, b| a < b)
}
