//! The corpus that a configuration means.

use std::path::Path;

use super::corpus::Corpus;
use super::{jsonl, karpathy, scenes, webdataset};
use crate::config::{Data, DataKind};
use crate::error::Result;

/// Reads the corpus; the scenes are drawn first where they are not on disk yet. `done` hears of each scene drawn.
///
/// # Errors
/// When a file is missing or refused (see the readers).
pub fn open(data: &Data, done: &(dyn Fn() + Sync)) -> Result<Corpus> {
    let corpus = match data.kind {
        DataKind::Scenes => {
            scenes::write(Path::new(&data.root), &spec(data), done)?;
            jsonl::read(&data.captions_file(), Some(&data.images_folder()))?
        }
        DataKind::Karpathy => karpathy::read(&data.captions_file(), &data.images_folder(), &data.name)?,
        DataKind::Jsonl => jsonl::read(&data.captions_file(), Some(&data.images_folder()))?,
        DataKind::Webdataset => webdataset::read(&data.images_folder())?,
        DataKind::Features => jsonl::read(&data.captions_file(), None)?,
    };
    Ok(corpus)
}

fn spec(data: &Data) -> scenes::Spec {
    scenes::Spec {
        seed: data.scenes_seed,
        train: data.train,
        val: data.val,
        test: data.test,
        side: u32::try_from(data.side).expect("invariant: the configuration bounds data.side"),
    }
}
