//! Makes second docids from captions ([`crate::model::extra_docids`]): from an image's own train captions, or
//! from pseudo-captions, the train captions nearest to the image in the aligned space. Captions of val or
//! test are not used.

use std::collections::HashSet;

use super::aligned_corpus::AlignedCorpus;
use crate::data::corpus::Split;
use crate::docid::rq::Codebooks;
use crate::docid::{Docid, DocidSet};
use crate::ids::ImageIdx;
use crate::index::settings::ExtraDocidSource;
use crate::index::settings::Index;
use crate::matrix::Matrix;
use crate::model::extra_docids::{ExtraDocid, Origin};
use crate::ranking::top_k;

/// The most train captions among which pseudo-captions are searched.
const MOST_CAPTIONS: usize = 100_000;
/// Images that one matrix product compares with captions.
const BLOCK: usize = 64;

/// The captions that make an image's second docid, by position; none if no image but this one has any.
type Captions = (Origin, Vec<usize>);

/// The second docids of a corpus. One that is already the docid of an image, or another second docid, is left
/// out; so is that of an image for which there is no caption.
pub fn make_extra_docids(
    settings: &Index,
    aligned: &AlignedCorpus,
    docids: &DocidSet,
    books: &Codebooks,
) -> Vec<ExtraDocid> {
    if settings.seconds == ExtraDocidSource::None {
        return Vec::new();
    }
    let chosen = chosen_captions(settings, aligned);
    let means = mean_captions(aligned, &chosen);
    let codes = books.encode_all(&means, settings.encode_beam);
    let mut taken: HashSet<Docid> = docids.iter().cloned().collect();
    let mut extra = Vec::new();
    for ((image, (origin, captions)), mut codes) in aligned.corpus.images().zip(chosen).zip(codes) {
        if captions.is_empty() {
            continue;
        }
        codes.resize(docids.levels(), 0); // the suffix level, if there is one
        let docid = Docid::new(codes);
        if taken.insert(docid.clone()) {
            extra.push(ExtraDocid { image, docid, origin, captions });
        }
    }
    extra
}

/// For each image the mean of its captions, as unit rows.
fn mean_captions(aligned: &AlignedCorpus, chosen: &[Captions]) -> Matrix {
    let width = aligned.images.width();
    let mut means = Matrix::zeros(chosen.len(), width);
    for (image, (_, captions)) in chosen.iter().enumerate() {
        for row in aligned.captions(captions).iter() {
            means.row_mut(image).iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
    }
    means.normalized()
}

/// For each image the captions that make its second docid.
fn chosen_captions(settings: &Index, aligned: &AlignedCorpus) -> Vec<Captions> {
    let candidates = candidate_captions(aligned);
    let rows = aligned.captions(&candidates);
    let all: Vec<ImageIdx> = aligned.corpus.images().collect();
    let mut chosen = Vec::with_capacity(all.len());
    for block in all.chunks(BLOCK) {
        let images: Vec<usize> = block.iter().map(|image| image.row()).collect();
        let scores = aligned.images.select(&images).mul_transposed(&rows); // (image, candidate)
        for (&image, scores) in block.iter().zip(scores.iter()) {
            chosen.push(choose(settings, aligned, image, &candidates, scores.to_vec()));
        }
    }
    chosen
}

/// The train captions among which pseudo-captions are searched: every n-th.
fn candidate_captions(aligned: &AlignedCorpus) -> Vec<usize> {
    let captions = aligned.train_captions();
    let step = captions.len().div_ceil(MOST_CAPTIONS).max(1);
    captions.into_iter().step_by(step).map(|(caption, _)| caption).collect()
}

/// The captions of one image, given the cosine of each candidate.
fn choose(
    settings: &Index,
    aligned: &AlignedCorpus,
    image: ImageIdx,
    candidates: &[usize],
    mut scores: Vec<f32>,
) -> Captions {
    let corpus = aligned.corpus;
    if settings.seconds == ExtraDocidSource::Own && corpus.split(image) == Split::Train {
        return (Origin::Own, corpus.captions_of(image).collect());
    }
    // An image's own captions are not pseudo-captions: only images of the train split could have them. What
    // is not a number is never chosen, not even where fewer captions are left than are wanted.
    for (score, &caption) in scores.iter_mut().zip(candidates) {
        if corpus.owner(caption) == image {
            *score = f32::NAN;
        }
    }
    let nearest = top_k(&scores, settings.pseudo_captions).into_iter();
    (Origin::Nearest, nearest.map(|place| candidates[place]).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::data::corpus::{Builder, Entry};
    use crate::data::corpus_embeddings::Embeddings;
    use crate::encoder::embedded_corpus::EmbeddedCorpus;
    use crate::encoder::precomputed_features::PrecomputedFeatures;
    use crate::model::alignment::Alignment;

    /// The captions of the second docid of each image; image n has the caption n.
    fn chosen(splits: &[Split]) -> Vec<Vec<usize>> {
        let mut builder = Builder::new(Path::new("c"), "line", None);
        for (n, &split) in splits.iter().enumerate() {
            let entry = Entry { id: n.to_string(), file: "x".into(), split, captions: vec!["x".into()] };
            builder.push(n + 1, entry).unwrap();
        }
        let rows = Matrix::new(2, [0.6, 0.8].repeat(splits.len()));
        let rows = Embeddings { images: rows.clone(), captions: rows };
        let prepared = EmbeddedCorpus {
            corpus: builder.build().unwrap(),
            embeddings: Arc::new(rows.clone()),
            encoder: Arc::new(PrecomputedFeatures::new(rows)),
            photos: Vec::new(),
            cache: None,
        };
        let settings = Index { seconds: ExtraDocidSource::Nearest, ..Index::default() };
        let align = Alignment::identity(2);
        let chosen = chosen_captions(&settings, &AlignedCorpus::new(&prepared, &align));
        chosen.into_iter().map(|(_, captions)| captions).collect()
    }

    #[test]
    fn an_image_gets_captions_of_others_alone_however_few_there_are() {
        use Split::{Test, Train};
        assert_eq!(chosen(&[Train, Train, Test]), [vec![1], vec![0], vec![0, 1]]);
        assert_eq!(chosen(&[Train, Test]), [vec![], vec![0]]);
    }
}
