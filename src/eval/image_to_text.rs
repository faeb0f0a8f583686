//! The other direction, image→caption: photos of the split ask, captions of the gallery answer, by exact search.
//!
//! Only the dense row has it: what is spelt here are the docids of images, so no generative retriever returns
//! captions. The row stands in the report because papers print both directions.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::time::Instant;

use super::metrics;
use super::query_outcomes::QueryOutcomes;
use super::query_sets::{GalleryFolds, QuerySet};
use crate::encoder::embedded_corpus::EmbeddedCorpus;
use crate::ids::ImageIdx;
use crate::matrix::Matrix;
use crate::retriever::caption_ranking::rank_captions;

/// What all photos were answered.
pub struct Described {
    /// Ranks and gains.
    pub answers: QueryOutcomes,
    /// The first captions of each list with their scores, by position in the corpus.
    pub lists: Vec<Vec<(usize, f32)>>,
    /// Captions compared with a photo, at most.
    pub touched: usize,
    /// Mean time per photo in milliseconds.
    pub ms_per_query: f64,
}

/// Asks the `photos` for their captions, each among the captions of its fold; lists have `depth` captions.
pub fn describe(
    prepared: &EmbeddedCorpus,
    photos: &QuerySet,
    pool: &GalleryFolds,
    depth: usize,
) -> Described {
    let (mut ranks, mut gains, mut lists, mut touched) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let asked = pool.asked(&photos.gold);
    let mut seconds = 0.0;
    for (gallery, range) in pool.folds.iter().zip(&asked) {
        let asking = &photos.gold[range.clone()];
        let said = Said::by(prepared, gallery);
        touched = touched.max(said.positions.len());
        let own: Vec<Range<usize>> = asking.iter().map(|image| said.own[image].clone()).collect();
        let rows: Vec<usize> = asking.iter().map(|image| image.row()).collect();
        let began = Instant::now();
        let answers = rank_captions(&prepared.embeddings.images.select(&rows), &said.rows, &own, depth);
        seconds += began.elapsed().as_secs_f64();
        for (answer, own) in answers.into_iter().zip(own) {
            let places = (1..).zip(&answer.first).filter(|(_, (row, _))| own.contains(row));
            gains.push(metrics::gain_of_several(
                &places.map(|(place, _)| place).collect::<Vec<_>>(),
                own.len(),
                10,
            ));
            ranks.push(Some(answer.rank));
            lists.push(answer.first.into_iter().map(|(row, score)| (said.positions[row], score)).collect());
        }
    }
    let ms_per_query = 1000.0 * seconds / photos.gold.len() as f64;
    Described {
        answers: QueryOutcomes::with_gains(ranks, gains, photos.gold.clone(), asked),
        lists,
        touched,
        ms_per_query,
    }
}

/// The captions of a gallery.
struct Said<'a> {
    /// Position of each in the corpus.
    positions: Vec<usize>,
    /// The rows of each image's captions.
    own: HashMap<ImageIdx, Range<usize>>,
    /// Their unit rows.
    rows: Cow<'a, Matrix>,
}

impl<'a> Said<'a> {
    fn by(prepared: &'a EmbeddedCorpus, gallery: &[ImageIdx]) -> Self {
        let (mut positions, mut own) = (Vec::new(), HashMap::with_capacity(gallery.len()));
        for &image in gallery {
            let start = positions.len();
            positions.extend(prepared.corpus.captions_of(image));
            own.insert(image, start..positions.len());
        }
        let all = &prepared.embeddings.captions;
        // All of a large corpus would be a copy of a gigabyte.
        let whole = positions.len() == all.rows() && positions.is_sorted();
        let rows = if whole { Cow::Borrowed(all) } else { Cow::Owned(all.select(&positions)) };
        Self { positions, own, rows }
    }
}
