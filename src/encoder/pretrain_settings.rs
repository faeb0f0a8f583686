//! `[pretrain]`: the CLIP that `dsi pretrain` makes.

use crate::config_schema::section;
use crate::config_schema::shared_limits::{
    DECAY, DROPOUT, HEADS, LAYERS, NORM, PAIRED_BATCH, PATH, RATE, REVISION, SOME_PATH, STEPS, STEPS_OR_NONE,
    WEIGHT_DECAY, WIDTH,
};
use crate::nn::lr_schedule::LrSchedule;

section! {
    /// The CLIP that `dsi pretrain` trains on the train split (Radford et al. 2021): a small one with random
    /// weights, or another model that is tuned (`init`). The keys from `width` to `context` are for the
    /// former alone.
    Pretrain affects(clip) {
        /// The CLIP whose weights are tuned: a local folder, or a hub id `org/name`. Empty: random weights.
        init: String = "" in PATH;
        /// The revision of a hub id: a branch, a tag or a commit.
        revision: String = "main" in REVISION;
        /// Width of both towers. `heads` divides it.
        width: usize = 128 in WIDTH;
        /// Number of transformer blocks of the image tower.
        vision_layers: usize = 4 in LAYERS;
        /// Number of transformer blocks of the text tower.
        text_layers: usize = 3 in LAYERS;
        /// Number of attention heads of both towers.
        heads: usize = 4 in HEADS;
        /// Side of the picture that the image tower sees, in pixels. `patch` divides it.
        image_size: usize = 64 in 16..=1024;
        /// Side of a patch, in pixels.
        patch: usize = 8 in 2..=128;
        /// Width of the joint embedding.
        projection: usize = 64 in WIDTH;
        /// Number of tokens of the byte-pair vocabulary, the two special ones among them.
        vocabulary: usize = 640 in 514..=1_000_000;
        /// Longest caption in tokens, the two special ones among them.
        context: usize = 40 in 4..=1024;
        /// Number of optimiser steps.
        steps: usize = 3000 in STEPS;
        /// Number of (image, caption) pairs in a batch. The negatives of a pair are the others.
        batch: usize = 256 in PAIRED_BATCH;
        /// Whether training replaces each photo by a random second view: cropped, mirrored, recoloured and
        /// compressed. A caption that says left or right is then wrong for a mirrored photo.
        augment: bool = false;
        /// Share of a photo's patches that each step drops at random (FLIP, Li et al. 2023).
        patch_dropout: f64 = 0.0 in DROPOUT;
        /// Dropout probability of the residual branches of the blocks.
        dropout: f64 = 0.0 in DROPOUT;
        /// Whether the activations inside the blocks are computed again in the backward pass (gradient
        /// checkpointing): less memory, a third more time.
        recompute: bool = false;
        /// Peak learning rate.
        lr: f64 = 1e-3 in RATE;
        /// AdamW's decoupled weight decay.
        weight_decay: f64 = 0.1 in WEIGHT_DECAY;
        /// Number of steps in which the learning rate rises to its peak.
        warmup: usize = 200 in STEPS_OR_NONE;
        /// The course of the learning rate after the warm-up.
        schedule: LrSchedule = Cosine;
        /// Number of batches whose averaged gradients make a step. Negatives are those of one batch.
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
        /// The folder that gets the model, in Hugging Face's layout.
        out: String = "runs/clip" in SOME_PATH;
        /// Steps between log lines.
        log_every: usize = 20 in STEPS;
        /// Steps between validations.
        validate_every: usize = 500 in STEPS;
    }
}
