//! The encoder of a store: where it was, and how it is found again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use serde::{Deserialize, Serialize};

use crate::data::encoder_folder;
use crate::encoder::DualEncoder;
use crate::encoder::clip::clip_encoder::ClipEncoder;
use crate::error::{Error, Result};
use crate::progress::Progress;

/// The short names of encoders that people use most, with their hub ids.
pub const SHORT_NAMES: [(&str, &str); 3] = [
    ("vit-b-32", "openai/clip-vit-base-patch32"),
    ("vit-l-14", "openai/clip-vit-large-patch14"),
    ("laion-b-32", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
];

/// The start of the path of an encoder that lies in the run folder.
pub const IN_RUN: &str = "./run/";

/// What embeds captions and photos for a store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EncoderRef {
    /// A CLIP.
    Clip {
        /// The folder or hub id as the user gave it; a path that begins with `./` if it lies in the run folder.
        path: String,
        /// The working folder that it was meant from.
        started_in: PathBuf,
        /// Whether it was a local folder, which is never looked for on a hub.
        local: bool,
        /// The revision of a hub id.
        revision: String,
        /// Inputs that are encoded at once.
        batch: usize,
        /// [`DualEncoder::fingerprint`].
        fingerprint: String,
    },
    /// Ready-made embeddings: queries are vectors.
    Vectors,
}

impl EncoderRef {
    /// The same encoder in another folder.
    #[must_use]
    pub fn moved_to(self, folder: &str) -> Self {
        match self {
            Self::Clip { started_in, local, revision, batch, fingerprint, .. } => {
                Self::Clip { path: folder.to_owned(), started_in, local, revision, batch, fingerprint }
            }
            Self::Vectors => Self::Vectors,
        }
    }

    /// Opens the encoder of a run folder.
    ///
    /// # Errors
    /// When there is none, it is not found, or it is not the one that the store was made with.
    pub fn open(&self, run: &Path, progress: Progress) -> Result<Arc<dyn DualEncoder>> {
        let Self::Clip { path, started_in, local, revision, batch, fingerprint } = self else {
            return Err(Error::input(
                "this run has ready-made embeddings and no encoder: search it with a vector (--vector FILE.npy), or with \
                 --like NAME",
            ));
        };
        let own = path.strip_prefix(IN_RUN).map(|own| run.join(own));
        if let Some(own) = own.as_ref().filter(|own| !own.is_dir()) {
            let what = "is the encoder that was trained in this run, and it is not there: copy the whole run folder, or end \
                        the training with dsi train --resume";
            return Err(Error::file(own, what));
        }
        let folder = match own.or_else(|| find_local(path, started_in)) {
            Some(folder) => folder,
            None if *local => return Err(lost(path, started_in)),
            None => encoder_folder::find(path, revision, progress)?,
        };
        let encoder = ClipEncoder::open(&folder, *batch, &Device::Cpu)?;
        if encoder.fingerprint() == fingerprint {
            return Ok(Arc::new(encoder));
        }
        let what = "is not the encoder that this run was made with: its files differ; give the right one back its place, \
                    or make the run again";
        Err(Error::file(folder, what))
    }
}

/// The folder of an encoder: where it was meant from, or in the working folder.
fn find_local(path: &str, started_in: &Path) -> Option<PathBuf> {
    [started_in.join(path), PathBuf::from(path)].into_iter().find(|folder| folder.is_dir())
}

fn lost(path: &str, started_in: &Path) -> Error {
    let what = format!(
        "was a local folder when this run was made in {}, and is neither there nor in the working folder; give its place \
         with --set encoder.path=FOLDER",
        started_in.display()
    );
    Error::file(path, what)
}

/// The path or hub id that a short name stands for; other words stand for themselves.
pub fn full_name(name: &str) -> &str {
    SHORT_NAMES.iter().find(|(short, _)| *short == name).map_or(name, |(_, full)| full)
}
