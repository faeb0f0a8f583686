//! The sections of what is trained: the decoder, the encoder with it, a CLIP of one's own.

use serde::{Deserialize, Serialize};

use crate::config::choices::{Loss, LrSchedule, Regime};
use crate::config::trainable_layers::TrainableLayers;
use crate::config::weight_schedule::WeightSchedule;

section! {
    /// `[train]`: how the decoder is trained.
    Train {
        /// Optimiser steps.
        steps: usize = 200,
        /// Queries a step.
        batch: usize = 48,
        /// Share of queries that are captions; the rest are images.
        caption_share: f64 = 0.3,
        /// Which images may be learnt by heart.
        regime: Regime = Regime::Transductive,
        /// The objective.
        loss: Loss = Loss::Listwise,
        /// Candidates a query of the listwise loss: the gold image, images under prefixes that the search now
        /// keeps, and the nearest by the teacher.
        candidates: usize = 24,
        /// How many of them come from the search: the prefixes that compete with the gold one in earnest.
        beam_negatives: usize = 12,
        /// Share of image queries that are moved to where a caption of theirs might lie: by the difference
        /// between caption and image of a random train pair.
        caption_noise: f64 = 0.7,
        /// Weight of the gold image in the target distribution; the rest is the teacher's.
        target_gold: f64 = 0.1,
        /// Temperature of the teacher's distribution.
        teacher_temperature: f64 = 0.05,
        /// A `.npy` of scores (captions × images, both in the corpus's order) that teaches captions instead of exact search:
        /// those of a cross-encoder, say; empty: none.
        teacher: String = String::new(),
        /// Share of each level's target that is spread evenly over the prefixes (label smoothing).
        label_smoothing: f64 = 0.0,
        /// Share of caption queries that are drawn towards their image: s·image + (1 − s)·caption, s ~ Beta(2, 2).
        interpolation: f64 = 0.0,
        /// Weight of the margin loss beside the listwise one: the gold prefix of each level above every other by
        /// `margin_size`; a number, or numbers at steps ("0:0 100:0.5").
        margin: WeightSchedule = WeightSchedule::constant(0.0),
        /// That margin, in nats.
        margin_size: f64 = 1.0,
        /// Weight of the consistency between two captions of an image, beside the listwise loss; as `margin`.
        consistency: WeightSchedule = WeightSchedule::constant(0.0),
        /// Peak learning rate of the decoder.
        lr: f64 = 3e-4,
        /// Peak learning rate of the grounding (W and α).
        grounding_lr: f64 = 1e-4,
        /// AdamW's decoupled weight decay.
        weight_decay: f64 = 0.05,
        /// Steps over which the learning rate rises to its peak.
        warmup: usize = 50,
        /// What becomes of the learning rate after that.
        schedule: LrSchedule = LrSchedule::Cosine,
        /// Batches whose gradients, averaged, make a step: a larger batch than memory holds.
        accumulate: usize = 1,
        /// Largest norm of a step's gradient.
        clip_norm: f64 = 1.0,
        /// Decay of a moving average of the weights, which is validated and kept in their place; 0: none.
        ema: f64 = 0.0,
        /// Steps in a row that may be skipped because their loss or gradient is not finite.
        max_skipped: usize = 10,
        /// Validations without a better one after which the training ends; 0: it takes all its steps.
        patience: usize = 0,
        /// Newest checkpoints that are kept, beside the best.
        keep: usize = 2,
        /// Steps between validations.
        validate_every: usize = 50,
        /// Steps between checkpoints.
        checkpoint_every: usize = 100,
        /// Steps between log lines.
        log_every: usize = 10,
    }
}

impl Train {
    /// Caption queries of a batch; the others are images.
    pub fn captions_a_batch(&self) -> usize {
        (self.batch as f64 * self.caption_share).round() as usize
    }
}

section! {
    /// `[tune]`: what of the encoder is trained with the decoder, on the same queries, and on pairs by the contrastive loss.
    Tune {
        /// The part of the text tower that is trained: "none", "all", or how many of its last blocks.
        text: TrainableLayers = TrainableLayers::None,
        /// The part of the image tower that is trained.
        image: TrainableLayers = TrainableLayers::None,
        /// Peak learning rate of the text tower's last block, and of the norm and the projection after it.
        text_lr: f64 = 1e-5,
        /// The same of the image tower.
        image_lr: f64 = 1e-5,
        /// Factor on the learning rate from a block to the one below it, and from the first block to the embeddings.
        layer_decay: f64 = 0.8,
        /// AdamW's decoupled weight decay of both towers; norms, biases and embeddings have none.
        weight_decay: f64 = 0.05,
        /// Weight of CLIP's contrastive loss on train captions and their photos; a number, or numbers at steps
        /// ("0:1 100:0.5").
        contrastive: WeightSchedule = WeightSchedule::constant(0.0),
        /// Pairs of a batch that it is computed of, drawn for it alone: each has the others as negatives, so that a few of them
        /// teach nothing. They take as much memory as a batch of as many in `dsi pretrain`; `recompute` makes it less.
        contrastive_pairs: usize = 256,
        /// Temperature τ of it. The loss is between aligned embeddings, for which CLIP's own temperature was not made; 0.07 is
        /// what CLIP's own training starts from.
        contrastive_temperature: f64 = 0.07,
        /// Whether photos are shown as second views (cropped, mirrored, recoloured, compressed), drawn anew each time; those of the
        /// contrastive loss too, whose captions may say left and right.
        augment: bool = false,
        /// Share of a photo's patches that are left out of a step, drawn anew each time (FLIP, Li et al. 2023).
        patch_dropout: f64 = 0.0,
        /// Share of what the towers' blocks add to their tokens that is left out of a step (dropout).
        dropout: f64 = 0.0,
        /// Whether what lies inside the towers' blocks is computed again in the backward pass instead of held (gradient
        /// checkpointing): less memory, a third more time.
        recompute: bool = false,
        /// Steps between re-assignments of images to docids, by the encoder as it then is, which from then on is the teacher too;
        /// 0: none, and the encoder before its training teaches. For `index.family = "learned"`, whose docids are unique
        /// without a suffix.
        reassign_every: usize = 0,
    }
}

section! {
    /// `[pretrain]`: the CLIP that `dsi pretrain` makes of the train split (Radford et al. 2021): a small one from
    /// nothing, or another one tuned. The keys from `width` to `context` are for the former alone.
    Pretrain {
        /// The CLIP whose weights are tuned, a local folder or a hub id `org/name`; empty: none.
        init: String = String::new(),
        /// The revision of a hub id: a branch, a tag or a commit.
        revision: String = "main".into(),
        /// Width of both towers; `heads` divides it.
        width: usize = 128,
        /// Transformer blocks of the image tower.
        vision_layers: usize = 4,
        /// Transformer blocks of the text tower.
        text_layers: usize = 3,
        /// Attention heads of both towers.
        heads: usize = 4,
        /// Side of the picture the image tower sees, in pixels; `patch` divides it.
        image_size: usize = 64,
        /// Side of a patch, in pixels.
        patch: usize = 8,
        /// Width of the joint embedding.
        projection: usize = 64,
        /// Tokens of the byte-pair vocabulary, with the two special ones.
        vocabulary: usize = 640,
        /// Longest caption in tokens, with the two special ones.
        context: usize = 40,
        /// Optimiser steps.
        steps: usize = 3000,
        /// (image, caption) pairs a step: each pair's negatives are the others.
        batch: usize = 256,
        /// Whether photos are shown as second views (cropped, mirrored, recoloured, compressed), drawn anew each time. Captions
        /// that say left and right are wrong of mirrored ones.
        augment: bool = false,
        /// Share of a photo's patches that are left out of a step, drawn anew each time (FLIP, Li et al. 2023).
        patch_dropout: f64 = 0.0,
        /// Share of what blocks add to their tokens that is left out of a step (dropout).
        dropout: f64 = 0.0,
        /// Whether what lies inside the blocks is computed again in the backward pass instead of held (gradient checkpointing):
        /// less memory, a third more time.
        recompute: bool = false,
        /// Peak learning rate.
        lr: f64 = 1e-3,
        /// AdamW's decoupled weight decay.
        weight_decay: f64 = 0.1,
        /// Steps over which the learning rate rises to its peak.
        warmup: usize = 200,
        /// What becomes of the learning rate after that.
        schedule: LrSchedule = LrSchedule::Cosine,
        /// Batches whose gradients, averaged, make a step. Negatives are those of one batch.
        accumulate: usize = 1,
        /// Largest norm of a step's gradient.
        clip_norm: f64 = 1.0,
        /// Decay of a moving average of the weights, which is validated and kept in their place; 0: none.
        ema: f64 = 0.0,
        /// Steps in a row that may be skipped because their loss or gradient is not finite.
        max_skipped: usize = 10,
        /// Validations without a better one after which the training ends; 0: it takes all its steps.
        patience: usize = 0,
        /// Newest checkpoints that are kept, beside the best.
        keep: usize = 2,
        /// The folder that gets the model, in Hugging Face's layout.
        out: String = "data/scenes-clip".into(),
        /// Steps between log lines.
        log_every: usize = 20,
        /// Steps between validations.
        validate_every: usize = 500,
    }
}
