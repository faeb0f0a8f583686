//! One hash of all that the embeddings of a corpus depend on.

use super::DualEncoder;
use crate::data::corpus::Corpus;
use crate::data::photos::PhotoHash;

/// Hexadecimal digits of a name.
const DIGITS: usize = 32;
/// Hexadecimal digits that [`EmbeddingKey::bits`] returns: an f32 holds 24 bits exactly.
const SHARED_DIGITS: usize = 6;

/// The hash of an encoder, the captions and names of a corpus, and the bytes of its photos.
pub struct EmbeddingKey(String);

impl EmbeddingKey {
    /// `photos`: one hash an image.
    pub fn new(encoder: &dyn DualEncoder, corpus: &Corpus, photos: &[Option<PhotoHash>]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(encoder.fingerprint().as_bytes());
        hasher.update(corpus.fingerprint().as_bytes());
        photos.iter().for_each(|hash| _ = hasher.update(&hash.unwrap_or_default()));
        Self(hasher.finalize().to_hex()[..DIGITS].to_owned())
    }

    /// The hash as a file name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// The first 24 bits, for ranks to compare.
    pub fn bits(&self) -> u32 {
        let digits = &self.0[..SHARED_DIGITS];
        u32::from_str_radix(digits, 16).expect("invariant: a hash in hexadecimal digits")
    }
}
