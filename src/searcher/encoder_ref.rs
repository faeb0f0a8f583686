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
use crate::run_folder::RunFolder;

/// The short names of encoders that people use most, with their hub ids.
pub const SHORT_NAMES: [(&str, &str); 3] = [
    ("vit-b-32", "openai/clip-vit-base-patch32"),
    ("vit-l-14", "openai/clip-vit-large-patch14"),
    ("laion-b-32", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
];

/// What embeds captions and photos for a store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EncoderRef {
    /// A CLIP.
    Clip {
        /// The folder or hub id as the user gave it.
        path: String,
        /// The working folder that it was meant from.
        started_in: String,
        /// Whether it was a local folder, which is never looked for on a hub.
        local: bool,
        /// The revision of a hub id.
        revision: String,
        /// Inputs that are encoded at once, and the encoder's identity.
        #[serde(flatten)]
        made_with: MadeWith,
    },
    /// The CLIP that was trained in the run, and lies in its folder.
    Tuned(MadeWith),
    /// Ready-made embeddings: queries are vectors.
    Vectors,
}

/// How the embeddings of a store were made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MadeWith {
    /// Inputs that are encoded at once.
    pub batch: usize,
    /// [`DualEncoder::fingerprint`].
    pub fingerprint: String,
}

impl EncoderRef {
    /// A CLIP at this path, or of this hub id.
    pub fn clip(path: &str, revision: &str, made_with: MadeWith) -> Self {
        Self::Clip {
            path: path.to_owned(),
            started_in: std::env::current_dir().unwrap_or_default().display().to_string(),
            local: Path::new(path).is_dir(),
            revision: revision.to_owned(),
            made_with,
        }
    }

    /// The same encoder in another folder.
    #[must_use]
    pub fn moved_to(self, folder: &str) -> Self {
        match self {
            Self::Clip { made_with, .. } | Self::Tuned(made_with) => Self::clip(folder, "", made_with),
            Self::Vectors => Self::Vectors,
        }
    }

    /// Opens the encoder of a run.
    ///
    /// # Errors
    /// When there is none, it is not found, or it is not the one that the store was made with.
    pub fn open(&self, run: &RunFolder, progress: Progress) -> Result<Arc<dyn DualEncoder>> {
        let (folder, made_with) = match self {
            Self::Vectors => return Err(Error::input(NO_ENCODER)),
            Self::Tuned(made_with) => (own_folder(run)?, made_with),
            Self::Clip { path, started_in, local, revision, made_with } => {
                let folder = match find_local(path, started_in) {
                    Some(folder) => folder,
                    None if *local => return Err(lost(path, started_in)),
                    None => encoder_folder::find(path, revision, progress)?,
                };
                (folder, made_with)
            }
        };
        let encoder = ClipEncoder::open(&folder, made_with.batch, &Device::Cpu)?;
        if encoder.fingerprint() == made_with.fingerprint {
            return Ok(Arc::new(encoder));
        }
        let what = "is not the encoder that this run was made with: its files differ; give the right one back its place, \
                    or make the run again";
        Err(Error::file(folder, what))
    }
}

const NO_ENCODER: &str = "this run has ready-made embeddings and no encoder: search it with a vector (--vector FILE.npy), or with \
                          --like NAME";

/// The folder of the encoder that was trained in the run.
fn own_folder(run: &RunFolder) -> Result<PathBuf> {
    let folder = run.tuned_encoder();
    if folder.is_dir() {
        return Ok(folder);
    }
    let what = "is the encoder that was trained in this run, and it is not there: copy the whole run folder, or end the \
                training with dsi train --resume";
    Err(Error::file(folder, what))
}

/// The folder of an encoder: where it was meant from, or in the working folder.
fn find_local(path: &str, started_in: &str) -> Option<PathBuf> {
    [Path::new(started_in).join(path), PathBuf::from(path)].into_iter().find(|folder| folder.is_dir())
}

fn lost(path: &str, started_in: &str) -> Error {
    let what = format!(
        "was a local folder when this run was made in {started_in}, and is neither there nor in the working folder; give its place \
         with --set encoder.path=FOLDER"
    );
    Error::file(path, what)
}

/// The path or hub id that a short name stands for; other words stand for themselves.
pub fn full_name(name: &str) -> &str {
    SHORT_NAMES.iter().find(|(short, _)| *short == name).map_or(name, |(_, full)| full)
}
