//! Encoders: captions and photos become unit vectors in one joint space.
//!
//! [`DualEncoder`] is the interface. CLIP ([`clip`]) implements it, and so do ready-made embeddings
//! ([`precomputed_features`]). Code outside this folder holds an `Arc<dyn DualEncoder>` and does not know
//! which one it is. [`embed_corpus`](mod@embed_corpus) embeds a whole corpus with it and caches the result.
//!
//! # How to add an encoder kind
//! 1. Write one file in this folder with a type that implements [`DualEncoder`] and a constant [`EncoderSpec`] that opens it.
//! 2. Add the constant to [`ENCODERS`]; its name is the word for `encoder.kind`.
//!
//! Caption batching is in [`embed_in_batches`](mod@embed_in_batches), the treatment of photos that cannot be
//! read in [`unreadable_photos`]; an implementation calls these and adds none of its own. An encoder that can
//! be trained with the decoder also implements [`TrainableDualEncoder`], returns it from
//! [`DualEncoder::trainable`] and says so in [`DualEncoder::check_trainable`].
//!
//! Errors: tensor operations fail only when the device does.

pub mod before_embedding;
pub mod clip;
pub mod contrastive_loss;
pub mod embed_corpus;
pub mod embed_in_batches;
pub mod embedded_corpus;
mod embedding_key;
mod gather_rows;
pub mod photo_view;
pub mod precomputed_features;
pub mod pretrain_settings;
pub mod regularization;
pub mod row_cache;
pub mod settings;
pub mod trainable_dual_encoder;
pub mod trainable_layers;
pub mod tune_settings;
pub mod unreadable_photos;
pub mod view_embeddings;

use std::path::Path;
use std::sync::Arc;

pub use photo_view::{MirrorTta, PhotoView};
pub use trainable_dual_encoder::{TrainableDualEncoder, TrainableSettings, TrainableTowers};

use crate::context::Context;
use crate::data::corpus::Corpus;
use crate::data::corpus_embeddings::Embeddings;
use crate::data::photos::Photo;
use crate::error::{Error, Result};
use crate::ids::ImageIdx;
use crate::matrix::Matrix;

/// Receives the number of inputs embedded since its last call.
pub type Advance<'a> = &'a dyn Fn(usize);

/// Embeds captions and photos in one joint space.
///
/// Equal calls give equal rows. The last bits of a row may depend on the other inputs of the call, since they
/// share matrix products.
pub trait DualEncoder: Send + Sync {
    /// Captions → unit rows (caption, width).
    ///
    /// # Errors
    /// When a caption is blank, or the encoder embeds nothing new.
    fn texts(&self, captions: &[&str], advance: Advance) -> Result<Matrix>;

    /// Photos → one unit row (width) each. A photo that cannot be read is an error in its own place.
    ///
    /// # Errors
    /// When the encoder embeds nothing new.
    fn photos(&self, photos: &[Photo], view: PhotoView, advance: Advance) -> Result<Vec<Result<Vec<f32>>>>;

    /// The captions in the batches in which [`DualEncoder::texts`] embeds them, each by its position. The rows of a
    /// batch are the same when it is embedded by itself.
    ///
    /// # Errors
    /// When a caption is blank.
    fn caption_batches(&self, captions: &[&str]) -> Result<Vec<Vec<usize>>> {
        Ok(vec![(0..captions.len()).collect()])
    }

    /// Logs how many of these captions are longer than the encoder reads, if any are.
    ///
    /// # Errors
    /// When a caption is blank.
    fn report_cut_captions(&self, _captions: &[&str]) -> Result<()> {
        Ok(())
    }

    /// How many photos [`DualEncoder::photos`] embeds at once, in order.
    fn photo_batch(&self) -> usize {
        usize::MAX
    }

    /// Width of a row.
    fn width(&self) -> usize;

    /// Hash of everything that decides the rows: encoders with equal fingerprints give equal rows.
    fn fingerprint(&self) -> &str;

    /// The rows of the corpus it was opened for, if it has them without embedding anything.
    fn corpus_rows(&self) -> Option<Arc<Embeddings>> {
        None
    }

    /// Whether it embeds captions and photos that are not in the corpus it was opened for.
    fn embeds_new_inputs(&self) -> bool {
        true
    }

    /// Checks, before anything is embedded, that these layers can be trained.
    ///
    /// # Errors
    /// As [`DualEncoder::trainable`].
    fn check_trainable(&self, _: TrainableTowers) -> Result<()> {
        Err(cannot_be_trained())
    }

    /// A second copy in which the chosen layers are variables, for training.
    ///
    /// # Errors
    /// When the encoder cannot be trained, or a tower has fewer blocks than are to be trained.
    fn trainable(&self, settings: &TrainableSettings) -> Result<Box<dyn TrainableDualEncoder>> {
        let TrainableSettings { .. } = settings;
        Err(cannot_be_trained())
    }
}

fn cannot_be_trained() -> Error {
    Error::input("this encoder cannot be trained; set tune.text and tune.image to \"none\"")
}

/// What an encoder is opened from.
pub struct EncoderSource<'a> {
    /// `[encoder]`.
    pub section: &'a settings::Encoder,
    /// The folder of the corpus.
    pub root: &'a Path,
    /// The whole corpus.
    pub corpus: &'a Corpus,
    /// The images of it that the experiment keeps.
    pub kept: &'a [ImageIdx],
    /// Where and with which other ranks it is opened.
    pub ctx: &'a Context,
}

/// One kind of encoder.
pub struct EncoderSpec {
    /// The word for `encoder.kind`.
    pub name: &'static str,
    /// What it is, in one sentence.
    pub about: &'static str,
    /// What reports call the encoder of a section.
    pub label: fn(&settings::Encoder) -> &str,
    /// Opens it.
    pub open: fn(&EncoderSource) -> Result<Arc<dyn DualEncoder>>,
}

impl EncoderSpec {
    /// The word for `encoder.kind`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it is, in one sentence.
    pub fn about(&self) -> &'static str {
        self.about
    }
}

/// All kinds of encoders.
pub static ENCODERS: &[EncoderSpec] = &[clip::clip_encoder::SPEC, precomputed_features::SPEC];
