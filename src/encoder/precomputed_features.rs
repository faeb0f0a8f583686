//! Ready-made embeddings in the place of an encoder: the rows of one corpus, read from `.npy` files beside it
//! ([`read_features`]). They embed nothing new.

use std::sync::Arc;

use super::{Advance, DualEncoder, EncoderSource, EncoderSpec, PhotoView};
use crate::data::corpus_embeddings::{Embeddings, read_features};
use crate::data::photos::Photo;
use crate::error::{Error, Result};
use crate::matrix::Matrix;

/// `encoder.kind = "features"`.
pub const SPEC: EncoderSpec = EncoderSpec {
    name: "features",
    about: "Nothing: the corpus brings its embeddings.",
    label: |_| "features",
    open,
};

/// The embeddings of a corpus, and nothing that could make others.
pub struct PrecomputedFeatures {
    rows: Arc<Embeddings>,
    fingerprint: String,
}

impl PrecomputedFeatures {
    /// Embeddings in the order of their corpus.
    pub fn new(rows: Embeddings) -> Self {
        Self { fingerprint: hash(&rows), rows: Arc::new(rows) }
    }
}

impl DualEncoder for PrecomputedFeatures {
    fn texts(&self, _: &[&str], _: Advance) -> Result<Matrix> {
        Err(nothing_new())
    }

    fn photos(&self, _: &[Photo], _: PhotoView, _: Advance) -> Result<Vec<Result<Vec<f32>>>> {
        Err(nothing_new())
    }

    fn width(&self) -> usize {
        self.rows.images.width()
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn corpus_rows(&self) -> Option<Arc<Embeddings>> {
        Some(self.rows.clone())
    }

    fn embeds_new_inputs(&self) -> bool {
        false
    }
}

fn open(source: &EncoderSource) -> Result<Arc<dyn DualEncoder>> {
    let rows = read_features(source.root, source.corpus)?.keeping(source.corpus, source.kept);
    Ok(Arc::new(PrecomputedFeatures::new(rows)))
}

fn nothing_new() -> Error {
    Error::input("ready-made features cannot embed a new caption or photo; use encoder.kind = \"clip\"")
}

/// Hash of widths and rows.
fn hash(embeddings: &Embeddings) -> String {
    let mut hasher = blake3::Hasher::new();
    for matrix in [&embeddings.images, &embeddings.captions] {
        hasher.update(&(matrix.width() as u64).to_le_bytes());
        for row in matrix.iter() {
            hasher.update(&row.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
        }
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(caption: f32) -> PrecomputedFeatures {
        let images = Matrix::new(2, vec![1.0, 0.0]);
        PrecomputedFeatures::new(Embeddings { images, captions: Matrix::new(2, vec![0.0, caption]) })
    }

    #[test]
    fn the_rows_of_the_corpus_are_known_and_nothing_else() {
        let encoder = features(1.0);
        assert_eq!(encoder.width(), 2);
        assert_eq!(encoder.corpus_rows().unwrap().captions.data(), [0.0, 1.0]);
        let refused = encoder.texts(&["a dog"], &|_| ()).unwrap_err().to_string();
        assert!(refused.contains("ready-made features cannot embed"), "{refused}");
        assert!(encoder.photos(&[], PhotoView::PLAIN, &|_| ()).is_err());
    }

    #[test]
    fn the_fingerprint_is_of_the_rows() {
        assert_eq!(features(1.0).fingerprint(), features(1.0).fingerprint());
        assert_ne!(features(1.0).fingerprint(), features(-1.0).fingerprint());
    }
}
