//! The other direction, image→caption: photos of a split search the captions of a gallery, exactly.
//!
//! Only the dense row has it: the decoder spells docids of images, so no generative retriever returns
//! captions. Reports have the row because papers print both directions.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::time::Instant;

use super::galleries::GalleryFolds;
use super::query_outcomes::QueryOutcomes;
use super::query_sets::QuerySet;
use crate::encoder::embedded_corpus::EmbeddedCorpus;
use crate::ids::ImageIdx;
use crate::matrix::Matrix;
use crate::ranking::metrics;
use crate::retriever::caption_ranking::{CaptionRanking, rank_captions};

/// Captions ranked for all photos of a query set.
pub struct ImageToText {
    /// Ranks and gains.
    pub outcomes: QueryOutcomes,
    /// The first captions of each list with their scores, by position in the corpus.
    pub lists: Vec<Vec<(usize, f32)>>,
    /// Captions compared with a photo, at most.
    pub embeddings_scored: usize,
    /// Mean time per photo in milliseconds.
    pub ms_per_query: f64,
}

/// Ranks for each of the `photos` the captions of its fold; lists have `depth` captions.
pub fn image_to_text(
    prepared: &EmbeddedCorpus,
    photos: &QuerySet,
    gallery: &GalleryFolds,
    depth: usize,
) -> ImageToText {
    let (mut ranks, mut gains, mut lists) = (Vec::new(), Vec::new(), Vec::new());
    let (mut embeddings_scored, mut seconds) = (0, 0.0);
    let ranges = gallery.query_ranges(&photos.gold);
    for (fold, range) in gallery.folds.iter().zip(&ranges) {
        let images = &photos.gold[range.clone()];
        let captions = CaptionGallery::of(prepared, fold);
        embeddings_scored = embeddings_scored.max(captions.positions.len());
        let own: Vec<Range<usize>> = images.iter().map(|image| captions.own[image].clone()).collect();
        let rows: Vec<usize> = images.iter().map(|image| image.row()).collect();
        let began = Instant::now();
        let rankings = rank_captions(&prepared.embeddings.images.select(&rows), &captions.rows, &own, depth);
        seconds += began.elapsed().as_secs_f64();
        for (ranking, own) in rankings.into_iter().zip(own) {
            gains.push(ndcg10(&ranking, &own));
            ranks.push(ranking.rank);
            lists.push(captions.positions_of(ranking));
        }
    }
    ImageToText {
        outcomes: QueryOutcomes::with_gains(ranks, gains, photos.gold.clone(), ranges),
        lists,
        embeddings_scored,
        ms_per_query: 1000.0 * seconds / photos.gold.len() as f64,
    }
}

/// nDCG@10 of a ranking in which the rows `own` are right.
fn ndcg10(ranking: &CaptionRanking, own: &Range<usize>) -> f64 {
    let right = (1..).zip(&ranking.first).filter(|(_, (row, _))| own.contains(row));
    let ranks: Vec<usize> = right.map(|(rank, _)| rank).collect();
    metrics::gain_of_several(&ranks, own.len(), 10)
}

/// The captions of the images of a gallery.
struct CaptionGallery<'a> {
    /// Position of each in the corpus.
    positions: Vec<usize>,
    /// The rows of each image's captions.
    own: HashMap<ImageIdx, Range<usize>>,
    /// Their unit rows.
    rows: Cow<'a, Matrix>,
}

impl<'a> CaptionGallery<'a> {
    fn of(prepared: &'a EmbeddedCorpus, gallery: &[ImageIdx]) -> Self {
        let (mut positions, mut own) = (Vec::new(), HashMap::with_capacity(gallery.len()));
        for &image in gallery {
            let start = positions.len();
            positions.extend(prepared.corpus.captions_of(image));
            own.insert(image, start..positions.len());
        }
        let all = &prepared.embeddings.captions;
        // A copy of all captions of a large corpus would take a gigabyte.
        let whole = positions.len() == all.rows() && positions.is_sorted();
        let rows = if whole { Cow::Borrowed(all) } else { Cow::Owned(all.select(&positions)) };
        Self { positions, own, rows }
    }

    /// The first captions of a ranking by their position in the corpus.
    fn positions_of(&self, ranking: CaptionRanking) -> Vec<(usize, f32)> {
        ranking.first.into_iter().map(|(row, score)| (self.positions[row], score)).collect()
    }
}
