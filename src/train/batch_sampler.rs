//! Which captions and photos are the queries of each micro-batch, and which pairs its contrastive loss is
//! computed on.
//!
//! All of it is a function of the seed and the micro-batch's number alone, so a resumed run needs no
//! generator state.

use super::step_and_micro_batch::MicroBatch;
use crate::data::corpus::{Corpus, Split, TrainPair};
use crate::data::epochs::Epochs;
use crate::distributed::Comm;
use crate::encoder::tune_settings::Tune;
use crate::error::{Error, Result};
use crate::ids::ImageIdx;
use crate::train::settings::Train;

/// Checks that there is something to train on.
///
/// # Errors
/// When the train split has no images.
pub fn require_train_split(corpus: &Corpus) -> Result<()> {
    if corpus.images_in(Split::Train).is_empty() {
        return Err(Error::input("the corpus has no train split, so there is nothing to train on"));
    }
    Ok(())
}

/// The order in which training examples come.
pub struct BatchSampler {
    /// Caption queries of a micro-batch, on all ranks together.
    caption_queries: usize,
    /// The same of image queries.
    image_queries: usize,
    /// Pairs of the contrastive loss of a micro-batch; 0 if it never has a weight.
    contrastive_pairs: usize,
    /// (caption→docid) examples, which only train captions can make.
    pairs: Vec<TrainPair>,
    /// The images of (image→docid) examples: those whose docids may be learnt by heart.
    memorised: Vec<ImageIdx>,
    caption_order: Epochs,
    image_order: Epochs,
    pair_order: Epochs,
}

impl BatchSampler {
    /// The order that a seed gives.
    ///
    /// # Errors
    /// When the corpus has no train split.
    pub fn new(seed: u64, train: &Train, tune: &Tune, corpus: &Corpus) -> Result<Self> {
        require_train_split(corpus)?;
        let pairs = corpus.train_pairs();
        let memorised = corpus.memorised(train.regime);
        let caption_queries = train.captions_a_batch();
        Ok(Self {
            caption_queries,
            image_queries: train.batch - caption_queries,
            contrastive_pairs: if tune.contrastive.is_zero() { 0 } else { tune.contrastive_pairs },
            caption_order: Epochs::new(seed, "caption order", pairs.len()),
            image_order: Epochs::new(seed, "image order", memorised.len()),
            pair_order: Epochs::new(seed, "pair order", pairs.len()),
            pairs,
            memorised,
        })
    }

    /// Checks that every rank gets queries of each kind that a micro-batch has, and pairs.
    ///
    /// # Errors
    /// When there are more ranks than queries of a kind, or than pairs.
    pub fn check(&self, comm: &Comm) -> Result<()> {
        let ranks = comm.size();
        let is_too_few = |count: usize| count > 0 && count < ranks;
        let (captions, photos, pairs) = (self.caption_queries, self.image_queries, self.contrastive_pairs);
        if is_too_few(pairs) {
            return Err(Error::input(format!(
                "tune.contrastive_pairs = {pairs} are too few for {ranks} ranks: each needs one; raise it, or start fewer \
                 ranks"
            )));
        }
        if is_too_few(captions) || is_too_few(photos) {
            return Err(Error::input(format!(
                "train.batch = {} makes {captions} caption and {photos} photo queries a step, too few for {ranks} ranks: \
                 each needs one of both; raise train.batch, or start fewer ranks",
                captions + photos
            )));
        }
        Ok(())
    }

    /// Caption queries of a micro-batch, on all ranks together.
    pub fn caption_queries(&self) -> usize {
        self.caption_queries
    }

    /// All (caption, image) pairs of the train split.
    pub fn train_pairs(&self) -> &[TrainPair] {
        &self.pairs
    }

    /// The captions that are queries of a micro-batch, with their images.
    pub fn captions(&self, batch: MicroBatch) -> Vec<TrainPair> {
        let chosen = self.caption_order.batch(batch.number(), self.caption_queries);
        chosen.into_iter().map(|pair| self.pairs[pair]).collect()
    }

    /// The images whose photos are queries of a micro-batch, as rows of the corpus.
    pub fn images(&self, batch: MicroBatch) -> Vec<usize> {
        let chosen = self.image_order.batch(batch.number(), self.image_queries);
        chosen.into_iter().map(|image| self.memorised[image].row()).collect()
    }

    /// The pairs of the contrastive loss of a micro-batch.
    pub fn paired(&self, batch: MicroBatch) -> Vec<TrainPair> {
        let chosen = self.pair_order.batch(batch.number(), self.contrastive_pairs);
        chosen.into_iter().map(|pair| self.pairs[pair]).collect()
    }
}
