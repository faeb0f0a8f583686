//! ExtraDocid docids from captions (see [`crate::model::extra_docids`]) and, for images that have none, from pseudo-captions: the
//! train captions nearest to the image in the joint space. No caption of val or test is ever looked at.

use std::collections::HashSet;

use crate::config::{ExtraDocidSource, Index as Section};
use crate::data::corpus::{Corpus, Split};
use crate::docid::rq::Codebooks;
use crate::docid::{Docid, DocidSet};
use crate::ids::ImageIdx;
use crate::matrix::Matrix;
use crate::model::extra_docids::{ExtraDocid, Origin};
use crate::retriever::top_k::top_k;

/// Train captions that pseudo-captions are taken from at most.
const MOST_CAPTIONS: usize = 100_000;
/// Images that are compared with them by one matrix product.
const BLOCK: usize = 64;

/// The second docids of a corpus. One that an image or another second docid has already is left out.
///
/// `images`: aligned unit rows of all images; `rows` gives those of captions.
pub fn seconds(
    section: &Section,
    corpus: &Corpus,
    images: &Matrix,
    rows: &dyn Fn(&[usize]) -> Matrix,
    docids: &DocidSet,
    books: &Codebooks,
) -> Vec<ExtraDocid> {
    if section.seconds == ExtraDocidSource::None {
        return Vec::new();
    }
    let told = told(section, corpus, images, rows);
    let means: Vec<f32> = told
        .iter()
        .flat_map(|(_, captions)| {
            let mut mean = vec![0.0; images.width()];
            for row in rows(captions).iter() {
                mean.iter_mut().zip(row).for_each(|(m, x)| *m += x);
            }
            mean
        })
        .collect();
    let codes = books.encode_all(&Matrix::new(images.width(), means).normalized(), section.encode_beam);
    let mut taken: HashSet<Docid> = docids.iter().cloned().collect();
    let mut seconds = Vec::new();
    for ((image, (origin, captions)), mut codes) in corpus.images().zip(told).zip(codes) {
        codes.resize(docids.levels(), 0); // a suffix level, where there is one
        let docid = Docid::new(codes);
        if taken.insert(docid.clone()) {
            seconds.push(ExtraDocid { image, docid, origin, captions });
        }
    }
    seconds
}

/// For each image the captions that speak for it.
fn told(
    section: &Section,
    corpus: &Corpus,
    images: &Matrix,
    rows: &dyn Fn(&[usize]) -> Matrix,
) -> Vec<(Origin, Vec<usize>)> {
    let spoken: Vec<usize> = corpus.train_pairs().iter().map(|pair| pair.caption().index()).collect();
    let spoken: Vec<usize> =
        spoken.iter().copied().step_by(spoken.len().div_ceil(MOST_CAPTIONS).max(1)).collect();
    let captions = rows(&spoken);
    let all: Vec<ImageIdx> = corpus.images().collect();
    let nearest = |(image, mut scores): (ImageIdx, Vec<f32>)| {
        if section.seconds == ExtraDocidSource::Own && corpus.split(image) == Split::Train {
            return (Origin::Own, corpus.captions_of(image).collect());
        }
        // An image's own captions are no pseudo-captions: only images of the train split could have them.
        for (score, &caption) in scores.iter_mut().zip(&spoken) {
            if corpus.owner(caption) == image {
                *score = f32::NEG_INFINITY;
            }
        }
        let best = top_k(&scores, section.pseudo_captions).into_iter().map(|place| spoken[place]);
        (Origin::Nearest, best.collect())
    };
    let scored = all.chunks(BLOCK).flat_map(|block| {
        let of_block = images.select(&block.iter().map(|image| image.row()).collect::<Vec<_>>());
        let scores = of_block.mul_transposed(&captions);
        block.iter().copied().zip(scores.iter().map(<[f32]>::to_vec).collect::<Vec<_>>()).collect::<Vec<_>>()
    });
    scored.map(nearest).collect()
}
