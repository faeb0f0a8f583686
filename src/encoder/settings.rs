//! `[encoder]`: what turns captions and photos into embeddings.

use super::{ENCODERS, EncoderSpec};
use crate::config_schema::shared_limits::{BATCH, REVISION, SOME_PATH};
use crate::config_schema::{named_entry_choice, section};

named_entry_choice! {
    /// What turns captions and photos into embeddings: an entry of [`ENCODERS`].
    EncoderKind: EncoderSpec = ENCODERS.iter();
}

section! {
    /// What turns captions and photos into embeddings.
    Encoder affects(embeddings) {
        /// A CLIP model, or the ready-made embeddings of the corpus.
        kind: EncoderKind = "clip";
        /// The model: a local folder, or a hub id `org/name`. Unused with `features`.
        path: String = "data/scenes-clip" in SOME_PATH, affects(embeddings, settings);
        /// The revision of a hub id: a branch, a tag or a commit.
        revision: String = "main" in REVISION, affects(embeddings, settings);
        /// Number of photos or captions that are encoded at once.
        batch: usize = 64 in BATCH;
        /// The folder that keeps computed embeddings.
        cache: String = "runs/cache" in SOME_PATH;
    }
}
