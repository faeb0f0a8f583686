//! `[index]`: how docids are made, and the gates that refuse an index.

use crate::config_schema::shared_limits::{
    BATCH, BEAM, PAIRED_BATCH, RATE, SHARE, STEPS, STEPS_OR_NONE, TEMPERATURE, WEIGHT, WEIGHT_DECAY, WIDTH,
};
use crate::config_schema::{choice, section};
use crate::docid::families::Family;

choice! {
    /// Whether an image has a second docid, made from captions.
    ExtraDocidSource {
        /// It has one docid only.
        None = "none",
        /// From its own captions for images of the train split, from pseudo-captions for others. Train images
        /// then lie nearer to their own captions than any other image can: right for a search, too hopeful
        /// for tables over the whole corpus.
        Own = "own",
        /// From pseudo-captions for all images: the mean of the nearest train captions of other images.
        Nearest = "nearest",
    }
}

section! {
    /// How docids are made: the embeddings are aligned, then quantised. Gates refuse an index that cannot
    /// work.
    Index affects(index, settings) {
        /// How an image gets its docid.
        family: Family = "rq";
        /// Number of codebooks of `rq` and `learned`: each is one level of the docid.
        levels: usize = 8 in 1..=64;
        /// Number of codes at a level: the codebook size of `rq` and `learned`, the base of `numeric`, the
        /// branching of `tree`.
        codes: usize = 256 in 2..=4096;
        /// Number of codes of the first codebook. Each further level has twice as many, up to `codes`. 0:
        /// `codes` at every level.
        first_codes: usize = 0 in 0..=4096;
        /// Lloyd iterations of each k-means.
        iterations: usize = 25 in 1..=1000;
        /// Beam width of the quantiser. A beam finds closer codes than the nearest code at each level, which
        /// 1 takes.
        encode_beam: usize = 8 in BEAM;
        /// Whether the mean of the captions and that of the images are subtracted first, which closes the gap
        /// between the modalities.
        center: bool = false;
        /// Steps of the alignment before quantisation: a linear map I + A for captions and one for images,
        /// trained with a contrastive loss. 0: no alignment.
        align_steps: usize = 300 in STEPS_OR_NONE;
        /// Number of (image, caption) pairs in a step of the alignment.
        align_batch: usize = 512 in PAIRED_BATCH;
        /// Learning rate of the alignment.
        align_lr: f64 = 3e-4 in RATE;
        /// Temperature τ of the alignment's contrastive loss.
        align_temperature: f64 = 0.05 in TEMPERATURE;
        /// Weight of a second loss term of the alignment, in which the mean of an image's other captions
        /// takes the place of the image. 0: none. For encoders whose images lie where captions do.
        align_captions: f64 = 0.0 in 0.0..=100.0;
        /// Weight decay of A, which pulls the alignment towards the identity.
        align_weight_decay: f64 = 0.1 in WEIGHT_DECAY;
        /// Number of second views of each photo (cropped, mirrored, recoloured, compressed). From them an
        /// adapter for image queries learns to find the photo, and so does the joint training. 0: none.
        views: usize = 0 in 0..=1000;
        /// Training steps of the adapter for image queries.
        view_steps: usize = 2000 in STEPS;
        /// Peak learning rate of the adapter.
        view_lr: f64 = 2e-3 in RATE;
        /// Number of hidden units of the adapter.
        view_width: usize = 512 in WIDTH;
        /// Steps in which the codebooks of `learned` are trained for retrieval. 0: none.
        learned_steps: usize = 200 in STEPS_OR_NONE;
        /// Number of train captions in such a step.
        learned_batch: usize = 128 in BATCH;
        /// Number of train images that each of these captions ranks, its own image among them.
        learned_gallery: usize = 512 in PAIRED_BATCH;
        /// Peak learning rate of the codebooks.
        learned_lr: f64 = 1e-3 in RATE;
        /// Weight of the contrastive loss: the caption's own image before all others, prefix by prefix. 0:
        /// none.
        learned_contrastive: f64 = 0.0 in WEIGHT;
        /// Weight of the ranking loss: every prefix ranks images as their exact cosine does. 0: none.
        learned_ranking: f64 = 1.0 in WEIGHT;
        /// Weight of the reconstruction loss ‖x − x̂‖², the mean over the levels. 0: none.
        learned_reconstruction: f64 = 3.0 in WEIGHT;
        /// Temperature τ of the prefix scores and of the exact cosine in these losses.
        learned_temperature: f64 = 0.05 in TEMPERATURE;
        /// Steps between two assignments of images to codes. Each revives the codes that no image uses.
        learned_reassign: usize = 50 in STEPS;
        /// Whether images get a second docid, made from captions. An image that is found under both keeps the
        /// better score.
        seconds: ExtraDocidSource = None;
        /// Number of train captions whose mean is a pseudo-caption.
        pseudo_captions: usize = 20 in 1..=10_000;
        /// Gate: the least perplexity of a level, as a share of min(codes, images).
        min_perplexity: f64 = 0.1 in SHARE;
        /// Gate: the largest share of images whose codes another image has too.
        max_collisions: f64 = 0.5 in SHARE;
        /// Gate: the least share of queries whose gold docid survives a plain beam search by reconstruction.
        /// Only queries count whose image exact search has in a list of the same length.
        min_survival: f64 = 0.5 in SHARE;
        /// Beam width of that search.
        survival_beam: usize = 50 in BEAM;
    }
}

impl Index {
    /// The number of codes of each codebook.
    pub fn sizes(&self) -> Vec<usize> {
        let first = if self.first_codes == 0 { self.codes } else { self.first_codes };
        std::iter::successors(Some(first), |size| Some((2 * size).min(self.codes)))
            .take(self.levels)
            .collect()
    }
}
