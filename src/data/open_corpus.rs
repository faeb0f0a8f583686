//! Opens the corpus of a configuration with the reader of its kind.

#[cfg(feature = "scenes")]
use std::path::Path;

use super::corpus::Corpus;
use super::{jsonl, karpathy, webdataset};
use crate::data::settings::Data;
use crate::data::settings::DataKind;
use crate::error::Result;

/// Reads the corpus. Scenes that are not on disk yet are drawn first; `on_image` is called once for each.
///
/// # Errors
/// When a file is missing or refused (see the readers), or the kind is `scenes` and this build lacks that
/// feature.
pub fn open(data: &Data, on_image: &(dyn Fn() + Sync)) -> Result<Corpus> {
    let corpus = match data.kind {
        DataKind::Scenes => {
            draw_scenes(data, on_image)?;
            jsonl::read(&data.captions_file(), Some(&data.images_folder()))?
        }
        DataKind::Karpathy => karpathy::read(&data.captions_file(), &data.images_folder(), &data.name)?,
        DataKind::Jsonl => jsonl::read(&data.captions_file(), Some(&data.images_folder()))?,
        DataKind::Webdataset => webdataset::read(&data.images_folder())?,
        DataKind::Features => jsonl::read(&data.captions_file(), None)?,
    };
    Ok(corpus)
}

/// Draws the scenes that are not on disk yet.
#[cfg(feature = "scenes")]
fn draw_scenes(data: &Data, on_image: &(dyn Fn() + Sync)) -> Result<()> {
    let side = u32::try_from(data.side).expect("invariant: the configuration bounds data.side");
    let Data { scenes_seed: seed, train, val, test, .. } = *data;
    let spec = super::scenes::Spec { seed, train, val, test, side };
    super::scenes::write(Path::new(&data.root), &spec, on_image)
}

#[cfg(not(feature = "scenes"))]
fn draw_scenes(_: &Data, _: &(dyn Fn() + Sync)) -> Result<()> {
    Err(crate::error::Error::input(
        "data.kind = \"scenes\" needs the feature `scenes`, which this build lacks; build with it, or choose another kind",
    ))
}
