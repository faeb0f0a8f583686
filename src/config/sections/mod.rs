//! Every key of a configuration file: its type, its default, its unit and where it comes from.
//!
//! To add a key: one line here, one line in `rules`. An empty text or a zero stands for "none" where the key
//! says so; there are no optional keys, so the resolved configuration is always complete.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::choices::{
    DataKind, Device, EncoderKind, ExtraDocidSource, Family, Gallery, OnBadImage, OnLeak, Precision, Split,
};

/// Declares a struct of the configuration and its `Default` together, so that a key is written once.
macro_rules! section {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $key:ident: $kind:ty = $default:expr,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $($(#[$doc])* pub $key: $kind,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }
    };
}

mod training;

pub use training::{Pretrain, Train, Tune};

section! {
    /// One experiment, resolved and checked. A function gets its own section of it, never all of it.
    Config {
        /// The seed of every random stream but the scenes' own.
        seed: u64 = 0,
        /// Where tensors live.
        device: Device = Device::Auto,
        /// What transformer blocks compute with in a training.
        precision: Precision = Precision::Auto,
        /// The corpus.
        data: Data = Data::default(),
        /// What turns captions and photos into embeddings.
        encoder: Encoder = Encoder::default(),
        /// How docids are made, and when an index is refused.
        index: Index = Index::default(),
        /// The shape of the decoder.
        decoder: Decoder = Decoder::default(),
        /// How the decoder is trained.
        train: Train = Train::default(),
        /// How much of the encoder is trained with the decoder.
        tune: Tune = Tune::default(),
        /// How an answer is searched for.
        search: Search = Search::default(),
        /// What is measured.
        eval: Eval = Eval::default(),
        /// The small CLIP that `dsi pretrain` makes.
        pretrain: Pretrain = Pretrain::default(),
    }
}

section! {
    /// `[data]`: the corpus. `train`, `val`, `test`, `scenes_seed`, `side` are for `kind = "scenes"` alone.
    Data {
        /// The dataset's name in reports: letters, digits, `-`, `_` and `.`.
        name: String = "scenes".into(),
        /// Where the corpus comes from.
        kind: DataKind = DataKind::Scenes,
        /// The folder of the corpus.
        root: String = "runs/data/scenes".into(),
        /// The captions file, relative to `root` unless absolute; empty: `corpus.jsonl`. `karpathy` needs it:
        /// those files have another name for each dataset.
        captions: String = String::new(),
        /// The folder of the photos, or of the archives of a `webdataset`, relative to `root` unless absolute; empty:
        /// `root` itself.
        images: String = String::new(),
        /// Number of images kept, taken from each split in proportion; 0: all.
        limit: usize = 0,
        /// What to do with a photo that is missing or cannot be decoded.
        on_bad_image: OnBadImage = OnBadImage::Error,
        /// What stops a training when val or test have it and the train split too; it is reported in any case.
        on_leak: OnLeak = OnLeak::Photo,
        /// Scenes in the train split.
        train: usize = 800,
        /// Scenes in the val split.
        val: usize = 100,
        /// Scenes in the test split.
        test: usize = 100,
        /// The seed of the scenes: another seed is another corpus.
        scenes_seed: u64 = 0,
        /// Side of a scene, in pixels.
        side: usize = 128,
    }
}

impl Data {
    /// The captions file this section means.
    pub fn captions_file(&self) -> PathBuf {
        let name = if self.captions.is_empty() { "corpus.jsonl" } else { &self.captions };
        Path::new(&self.root).join(name)
    }

    /// The photo folder this section means.
    pub fn images_folder(&self) -> PathBuf {
        Path::new(&self.root).join(&self.images)
    }
}

section! {
    /// `[encoder]`: what turns captions and photos into embeddings.
    Encoder {
        /// CLIP, or the corpus's own ready-made embeddings.
        kind: EncoderKind = EncoderKind::Clip,
        /// A local folder, or a hub id `org/name`. Unused with `features`.
        path: String = "data/scenes-clip".into(),
        /// The revision of a hub id: a branch, a tag or a commit.
        revision: String = "main".into(),
        /// Photos or captions encoded at once.
        batch: usize = 64,
        /// The folder in which computed embeddings are kept.
        cache: String = "runs/cache".into(),
    }
}

section! {
    /// `[index]`: how docids are made (align, then quantise), and the gates that refuse an index.
    Index {
        /// How an image gets its docid.
        family: Family = Family::Rq,
        /// Codebooks of `rq` and `learned`: one level of the docid each.
        levels: usize = 8,
        /// Codes a level: the codebook size of `rq` and `learned`, the base of `numeric`, the branching of `tree`.
        codes: usize = 256,
        /// Codes of the first codebook; each further level has twice as many, up to `codes`. 0: `codes` at every level.
        first_codes: usize = 0,
        /// Lloyd iterations of a k-means.
        iterations: usize = 25,
        /// Beam of the quantiser, which finds closer codes than taking the nearest at each level; 1 does just that.
        encode_beam: usize = 8,
        /// Whether each side's mean is subtracted first, which closes the gap between the modalities.
        center: bool = false,
        /// Steps of the alignment before quantisation: I + A on each side, contrastive; 0: no alignment.
        align_steps: usize = 300,
        /// (image, caption) pairs in a step of the alignment.
        align_batch: usize = 512,
        /// Learning rate of the alignment.
        align_lr: f64 = 3e-4,
        /// Temperature τ of the alignment's contrastive loss.
        align_temperature: f64 = 0.05,
        /// Weight of a second term of the alignment, in which the mean of an image's other captions stands in for the image;
        /// 0: none. For encoders whose images lie where captions do.
        align_captions: f64 = 0.0,
        /// Weight decay of A, which pulls the alignment towards the identity.
        align_weight_decay: f64 = 0.1,
        /// Second views of each photo (cropped, mirrored, recoloured, compressed) from which image queries learn to find it: by
        /// an adapter that only they go through, and in the joint training; 0: none.
        views: usize = 0,
        /// Steps of the adapter's training.
        view_steps: usize = 2000,
        /// Peak learning rate of it.
        view_lr: f64 = 2e-3,
        /// Hidden units of the adapter.
        view_width: usize = 512,
        /// Steps in which the codebooks of `learned` are trained for retrieval; 0: none.
        learned_steps: usize = 200,
        /// Train captions in such a step.
        learned_batch: usize = 128,
        /// Train images that each of them has to rank, their own among them.
        learned_gallery: usize = 512,
        /// Peak learning rate of the codebooks.
        learned_lr: f64 = 1e-3,
        /// Weight of the contrastive loss: the caption's own image before all others, prefix by prefix; 0: none.
        learned_contrastive: f64 = 0.0,
        /// Weight of the ranking loss: every prefix is to rank images as their exact cosine does; 0: none.
        learned_ranking: f64 = 1.0,
        /// Weight of the reconstruction loss ‖x − x̂‖², mean over the levels; 0: none.
        learned_reconstruction: f64 = 3.0,
        /// Temperature τ of the scores of prefixes and of the exact cosine.
        learned_temperature: f64 = 0.05,
        /// Steps between re-assignments of images to codes, at which codes that no image uses are revived.
        learned_reassign: usize = 50,
        /// Whether images get a second docid, made of captions; an image found under both keeps the better score.
        seconds: ExtraDocidSource = ExtraDocidSource::None,
        /// Train captions that a pseudo-caption is the mean of.
        pseudo_captions: usize = 20,
        /// Gate: least perplexity of a level, as a share of min(codes, images).
        min_perplexity: f64 = 0.1,
        /// Gate: largest share of images whose codes another image has too.
        max_collisions: f64 = 0.5,
        /// Gate: least share of queries whose gold docid survives a plain beam search by reconstruction, among those
        /// whose image exact search has in as long a list.
        min_survival: f64 = 0.5,
        /// The beam of that search.
        survival_beam: usize = 50,
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

section! {
    /// `[decoder]`: the shape of the decoder and its start.
    Decoder {
        /// Width d of the decoder; `heads` divides it.
        width: usize = 128,
        /// Transformer blocks.
        layers: usize = 2,
        /// Attention heads.
        heads: usize = 4,
        /// Memory vectors made of a query's embedding.
        memory: usize = 4,
        /// Dropout probability while training.
        dropout: f64 = 0.1,
        /// Whether logits start from the codebook's geometry; needs `index.family = "rq"` or `"learned"`.
        grounded: bool = true,
        /// Whether a head scores the codes of all levels at once, so that the search can look ahead to it too (PAG).
        plan: bool = false,
        /// Temperature τ of grounded logits: α starts at 1/(2τ).
        temperature: f64 = 0.05,
    }
}

section! {
    /// `[search]`: how an answer is searched for.
    Search {
        /// Prefixes kept at each level.
        beam: usize = 50,
        /// Whether prefixes are kept by what the codebooks' geometry can still add below them, not only by what they
        /// have; for grounded decoders whose steps are not normalised.
        lookahead: bool = true,
        /// Weight λ of the codebook's geometry, under the query as the encoder gives it, in the step score of the
        /// stages after the decoder alone; 0: none.
        geometry: f64 = 0.2,
        /// Whether a photo asks together with its mirror image, by the mean of both embeddings: twice the encoding.
        mirrored: bool = false,
        /// A level at which the children of a node are told apart too little is a wildcard: all get the same score. This is
        /// the least doubt for that, the entropy of their softmax as a share of the largest one; 1: never.
        wildcard: f64 = 1.0,
        /// Weight η of the debiasing in the stages after the decoder alone: a docid's score is less η·log p(c), where p(c)
        /// says how readily it is given whatever is asked. It is measured with train captions, an image's own left out, when a
        /// run is opened; one number an image is kept. 0: none.
        prior: f64 = 0.0,
        /// Temperature τ of that prior.
        prior_temperature: f64 = 0.05,
        /// Whether the few candidates are re-ranked with their exact cosine.
        rerank: bool = true,
        /// Weight of the exact cosine in the fused score.
        rerank_weight: f64 = 0.7,
        /// Whether training ends with fitting that weight on val captions, by the mean of R@1, R@5 and R@10.
        fit_rerank: bool = false,
        /// Images returned.
        k: usize = 10,
    }
}

section! {
    /// `[eval]`: what is measured.
    Eval {
        /// The split whose captions and images are asked. Choose on val, report on test.
        split: Split = Split::Test,
        /// The images that may be returned.
        gallery: Gallery = Gallery::Both,
        /// Folds of consecutive images that the split is cut into as well, each a gallery of its own; their rows are
        /// the means over the folds. 1: none. COCO's "1k" is 5 folds of its 5,000 test images (Karpathy & Fei-Fei
        /// 2015).
        folds: usize = 1,
        /// Hits of a query in a run file. Ten are all that the metrics look at; fusing runs wants more.
        depth: usize = 10,
        /// Whether the whole trie is scored too, and the right prefix followed through the search: both separate decoder
        /// error from search error.
        exhaustive: bool = false,
        /// Whether second views of the split's photos (cropped, mirrored, recoloured, compressed) are asked with too.
        views: bool = false,
        /// Resamples of the bootstrap interval.
        bootstrap: usize = 1000,
        /// Queries answered at once.
        batch: usize = 64,
    }
}
