//! A corpus in the space in which docids are made: its embeddings after the alignment.

use crate::data::corpus::{Corpus, Split};
use crate::encoder::embedded_corpus::EmbeddedCorpus;
use crate::matrix::Matrix;
use crate::modality::Modality;
use crate::model::alignment::Alignment;

/// A corpus with its aligned embeddings.
pub struct AlignedCorpus<'a> {
    /// The corpus.
    pub corpus: &'a Corpus,
    /// Aligned unit rows of all images.
    pub images: Matrix,
    captions: &'a Matrix,
    align: &'a Alignment,
}

impl<'a> AlignedCorpus<'a> {
    /// Aligns the images of a corpus.
    pub fn new(prepared: &'a EmbeddedCorpus, align: &'a Alignment) -> Self {
        Self {
            corpus: &prepared.corpus,
            images: align.apply(Modality::Image, &prepared.embeddings.images),
            captions: &prepared.embeddings.captions,
            align,
        }
    }

    /// Aligned unit rows of the captions at these positions. Captions are aligned when they are needed,
    /// because a large corpus has five times as many of them as images.
    pub fn captions(&self, positions: &[usize]) -> Matrix {
        self.align.apply(Modality::Caption, &self.captions.select(positions))
    }

    /// The rows of the images of the train split.
    pub fn train_images(&self) -> Vec<usize> {
        self.corpus.images_in(Split::Train).iter().map(|image| image.row()).collect()
    }

    /// For each train caption its position, and the row of its image.
    pub fn train_captions(&self) -> Vec<(usize, usize)> {
        let pairs = self.corpus.train_pairs().into_iter();
        pairs.map(|pair| (pair.caption().index(), pair.image().row())).collect()
    }
}
