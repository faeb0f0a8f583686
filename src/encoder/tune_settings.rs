//! `[tune]`: what of the encoder is trained with the decoder.

use super::trainable_layers::TrainableLayers;
use crate::config_schema::section;
use crate::config_schema::shared_limits::{
    DROPOUT, PAIRED_BATCH, RATE, SHARE, STEPS_OR_NONE, TEMPERATURE, WEIGHT_DECAY,
};
use crate::nn::weight_schedule::WeightSchedule;

section! {
    /// The part of the encoder that is trained with the decoder: on the same queries, and on pairs of
    /// captions and photos with the contrastive loss.
    Tune affects(weights, settings) {
        /// The part of the text tower that is trained: "none", "all", or how many of its last blocks.
        text: TrainableLayers = None;
        /// The part of the image tower that is trained: "none", "all", or how many of its last blocks.
        image: TrainableLayers = None;
        /// Peak learning rate of the text tower's last block, and of the norm and the projection after it.
        text_lr: f64 = 1e-5 in RATE;
        /// Peak learning rate of the image tower's last block, and of the norm and the projection after it.
        image_lr: f64 = 1e-5 in RATE;
        /// Factor on the learning rate from a block to the one below it, and from the first block to the
        /// embeddings.
        layer_decay: f64 = 0.8 in SHARE;
        /// AdamW's decoupled weight decay of both towers. Norms, biases and embeddings have none.
        weight_decay: f64 = 0.05 in WEIGHT_DECAY;
        /// Weight of CLIP's contrastive loss on train captions and their photos. A number, or numbers at
        /// steps ("0:1 100:0.5").
        contrastive: WeightSchedule = 0.0;
        /// Number of pairs in a batch of the contrastive loss. They are drawn for it alone, and each has the
        /// others as negatives, so it needs many. They take as much memory as a batch of `dsi pretrain` of
        /// that size; `recompute` reduces it.
        contrastive_pairs: usize = 256 in PAIRED_BATCH;
        /// Temperature τ of the contrastive loss. The loss compares aligned embeddings, for which CLIP's own
        /// temperature was not made; CLIP's own training starts from 0.07.
        contrastive_temperature: f64 = 0.07 in TEMPERATURE;
        /// Whether training replaces each photo by a random second view: cropped, mirrored, recoloured and
        /// compressed. The contrastive loss uses the same views. A caption that says left or right is then
        /// wrong for a mirrored photo.
        augment: bool = false;
        /// Share of a photo's patches that each step drops at random (FLIP, Li et al. 2023).
        patch_dropout: f64 = 0.0 in DROPOUT;
        /// Dropout probability of the residual branches of the towers' blocks.
        dropout: f64 = 0.0 in DROPOUT;
        /// Whether the activations inside the towers' blocks are computed again in the backward pass
        /// (gradient checkpointing): less memory, a third more time.
        recompute: bool = false;
        /// Steps between two assignments of images to docids, each with the encoder as it then is, which is
        /// the teacher from then on. 0: none, and the encoder before its training is the teacher. Needs
        /// `index.family = "learned"`, whose docids are unique without a suffix.
        reassign_every: usize = 0 in STEPS_OR_NONE;
    }
}

impl Tune {
    /// Whether any part of the encoder is trained.
    pub fn is_on(&self) -> bool {
        self.text != TrainableLayers::None || self.image != TrainableLayers::None
    }
}
