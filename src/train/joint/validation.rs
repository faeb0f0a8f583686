//! Validation of joint training: recall of caption→image on val captions, among all images, by the decoder
//! alone.

use super::JointTraining;
use crate::data::corpus::{Corpus, Split};
use crate::error::Result;
use crate::matrix::Matrix;
use crate::modality::Modality;
use crate::ranking::metrics::recall_at;
use crate::retriever::{Query, RankedList, Retriever as _, query_embedder};
use crate::train::task::Validation;

/// The largest number of val captions in a validation: enough to choose a checkpoint.
const MOST_CAPTIONS: usize = 500;

/// The depth of the lists that a validation looks at.
const DEPTH: usize = 10;

/// The val captions of a validation: every n-th, at most [`MOST_CAPTIONS`].
pub(super) fn validation_captions(corpus: &Corpus) -> Vec<usize> {
    let captions = corpus.captions_in(Split::Val);
    let stride = captions.len().div_ceil(MOST_CAPTIONS).max(1);
    captions.into_iter().step_by(stride).collect()
}

impl JointTraining<'_> {
    /// R@1, R@5 and R@10; the score is their mean. Each rank searches with its share of the captions.
    pub(super) fn recall(&self) -> Result<Validation> {
        let captions = &self.validation_captions;
        let ranks = self.ctx.comm.gather_shares(captions.len(), |share| self.gold_ranks(&captions[share]))?;
        let finite = |&rank: &f32| rank.is_finite().then_some(rank as usize);
        let ranks: Vec<Option<usize>> = ranks.data().iter().map(finite).collect();
        let recall = |k: usize| recall_at(&ranks, k);
        let metrics = vec![("val_r1", recall(1)), ("val_r5", recall(5)), ("val_r10", recall(10))];
        Ok(Validation { score: (recall(1) + recall(5) + recall(10)) / 3.0, metrics })
    }

    /// The rank of each caption's own image, (caption, 1): infinite if it is not among the first ten.
    fn gold_ranks(&self, captions: &[usize]) -> Result<Matrix> {
        let rows = self.source.embed_captions(captions)?;
        let query = |row: &[f32]| Query::embedded(Modality::Caption, row.to_vec());
        let mut queries: Vec<Query> = rows.iter().map(query).collect();
        query_embedder::align(&mut queries, rows.width(), &self.docids.index().align)?;
        let lists = self.docids.validation.retrieve(&queries, DEPTH)?;
        let rank = |(list, &caption): (&RankedList, &usize)| {
            let owner = self.prepared.corpus.owner(caption);
            list.rank_of(owner).map_or(f32::INFINITY, |rank| rank as f32)
        };
        Ok(Matrix::new(1, lists.iter().zip(captions).map(rank).collect()))
    }
}
