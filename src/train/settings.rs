//! `[train]`: how the decoder is trained.

use crate::config_schema::section;
use crate::config_schema::shared_limits::{
    BATCH, DECAY, NORM, PATH, RATE, SHARE, STEPS, STEPS_OR_NONE, TEMPERATURE, WEIGHT_DECAY,
};
use crate::data::settings::Regime;
use crate::model::settings::Loss;
use crate::nn::lr_schedule::LrSchedule;
use crate::train::objective::terms::LossTerms;

section! {
    /// How the decoder is trained.
    Train affects(weights, settings) {
        /// Number of optimiser steps.
        steps: usize = 200 in STEPS;
        /// Number of queries in a batch. A step has `accumulate` batches.
        batch: usize = 48 in BATCH;
        /// Share of the queries that are captions. The others are images.
        caption_share: f64 = 0.3 in SHARE;
        /// The images whose image→docid pairs the decoder is trained on.
        regime: Regime = Transductive;
        /// The objective.
        loss: Loss = Listwise;
        /// Number of candidates of a query in the listwise loss: the gold image, images under prefixes that
        /// the search keeps now, and the teacher's nearest.
        candidates: usize = 24 in 2..=4096;
        /// How many of the candidates come from the search: the prefixes that compete with the gold one.
        beam_negatives: usize = 12 in 0..=4096;
        /// Share of the image queries that are moved to where one of their captions might lie, by the
        /// difference between the caption and the image of a random train pair.
        caption_noise: f64 = 0.7 in SHARE;
        /// Weight of the gold image in the target distribution. The teacher gives the rest.
        target_gold: f64 = 0.1 in SHARE;
        /// Temperature of the teacher's distribution.
        teacher_temperature: f64 = 0.05 in TEMPERATURE;
        /// A `.npy` file of scores (captions × images, both in the corpus's order), from a cross-encoder for
        /// example, that is the teacher for captions in place of exact search. Empty: none.
        teacher: String = "" in PATH;
        /// Share of each level's target that is spread evenly over the prefixes (label smoothing).
        label_smoothing: f64 = 0.0 in SHARE;
        /// Share of the caption queries that are moved towards their image: s·image + (1 − s)·caption, s ~
        /// Beta(2, 2).
        interpolation: f64 = 0.0 in SHARE;
        /// Peak learning rate of the decoder.
        lr: f64 = 3e-4 in RATE;
        /// Peak learning rate of the grounding (W and α).
        grounding_lr: f64 = 1e-4 in RATE;
        /// AdamW's decoupled weight decay.
        weight_decay: f64 = 0.05 in WEIGHT_DECAY;
        /// Number of steps in which the learning rate rises to its peak.
        warmup: usize = 50 in STEPS_OR_NONE;
        /// The course of the learning rate after the warm-up.
        schedule: LrSchedule = Cosine;
        /// Number of batches whose averaged gradients make a step: for larger batches than fit into memory.
        accumulate: usize = 1 in 1..=65_536;
        /// Largest norm of a step's gradient. Longer ones are scaled down to it.
        clip_norm: f64 = 1.0 in NORM;
        /// Decay of a moving average of the weights, which is validated and kept in their place. 0: none.
        ema: f64 = 0.0 in DECAY;
        /// Number of steps in a row that may be skipped because their loss or gradient is not finite.
        max_skipped: usize = 10 in 0..=1_000_000;
        /// Number of validations without a better score after which the training ends. 0: it takes all its
        /// steps.
        patience: usize = 0 in 0..=1_000_000;
        /// Number of newest checkpoints that are kept, in addition to the best.
        keep: usize = 2 in 1..=1000;
        /// Steps between validations.
        validate_every: usize = 50 in STEPS;
        /// Steps between checkpoints.
        checkpoint_every: usize = 100 in STEPS;
        /// Steps between log lines.
        log_every: usize = 10 in STEPS;
    }
    includes {
        /// The weights and settings of loss terms.
        terms: LossTerms;
    }
}

impl Train {
    /// Caption queries of a batch; the others are images.
    pub fn captions_a_batch(&self) -> usize {
        (self.batch as f64 * self.caption_share).round() as usize
    }
}
