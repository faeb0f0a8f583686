//! Opens the corpus of a configuration with the reader of its kind, and logs what the reader did not use.

#[cfg(feature = "scenes")]
use std::path::Path;

use super::corpus::Corpus;
use super::corpus::unused::Weight;
use super::{jsonl, karpathy, webdataset};
use crate::data::settings::Data;
use crate::data::settings::DataKind;
use crate::error::{Error, Result};

/// Reads the corpus as [`read`] does and logs once what is not used of it.
///
/// # Errors
/// As [`read`].
pub fn open(data: &Data, on_image: &(dyn Fn() + Sync)) -> Result<Corpus> {
    let corpus = read(data, on_image)?;
    log_unused(&corpus);
    Ok(corpus)
}

/// Reads the corpus. Scenes that are not on disk yet are drawn first; `on_image` is called once for each.
///
/// # Errors
/// When a file is missing or refused (see the readers), or the kind is `scenes` and this build lacks that
/// feature.
pub fn read(data: &Data, on_image: &(dyn Fn() + Sync)) -> Result<Corpus> {
    let (captions, photos, on_bad) = (data.captions_file(), data.images_folder(), data.on_bad_image);
    match data.kind {
        DataKind::Scenes => {
            draw_scenes(data, on_image)?;
            jsonl::read(&captions, Some(&photos), on_bad)
        }
        DataKind::Karpathy => karpathy::read(&captions, &photos, &data.name, on_bad),
        DataKind::Jsonl => jsonl::read(&captions, Some(&photos), on_bad),
        DataKind::Webdataset => webdataset::read(&photos, on_bad),
        DataKind::Features => jsonl::read(&captions, None, on_bad),
    }
}

fn log_unused(corpus: &Corpus) {
    let unused = |weight| corpus.unused().describe(weight);
    if let Some(damage) = unused(Weight::Damage) {
        tracing::warn!("the corpus is not complete: {damage}");
    }
    if let Some(left_out) = unused(Weight::LeftOut) {
        tracing::warn!("left out: {left_out}");
    }
    if let Some(harmless) = unused(Weight::Harmless) {
        tracing::info!("not used: {harmless}");
    }
}

/// As [`open`], for commands that only read: nothing is drawn.
///
/// # Errors
/// As [`open`] and [`require_drawn`].
pub fn open_existing(data: &Data) -> Result<Corpus> {
    require_drawn(data)?;
    open(data, &|| ())
}

/// Refuses scenes that are not on disk.
///
/// # Errors
/// Then.
pub fn require_drawn(data: &Data) -> Result<()> {
    if data.kind == DataKind::Scenes && !scenes_are_drawn(data)? {
        let what = "does not hold the scenes of this configuration; dsi data show --config FILE draws them";
        return Err(Error::file(&data.root, what));
    }
    Ok(())
}

/// Draws the scenes that are not on disk yet.
#[cfg(feature = "scenes")]
fn draw_scenes(data: &Data, on_image: &(dyn Fn() + Sync)) -> Result<()> {
    super::scenes::write(Path::new(&data.root), &spec(data), on_image)
}

#[cfg(feature = "scenes")]
fn scenes_are_drawn(data: &Data) -> Result<bool> {
    super::scenes::is_drawn(Path::new(&data.root), &spec(data))
}

#[cfg(feature = "scenes")]
fn spec(data: &Data) -> super::scenes::Spec {
    let side = u32::try_from(data.side).expect("invariant: the configuration bounds data.side");
    let Data { scenes_seed: seed, train, val, test, .. } = *data;
    super::scenes::Spec { seed, train, val, test, side }
}

#[cfg(not(feature = "scenes"))]
fn draw_scenes(_: &Data, _: &(dyn Fn() + Sync)) -> Result<()> {
    Err(without_scenes())
}

#[cfg(not(feature = "scenes"))]
fn scenes_are_drawn(_: &Data) -> Result<bool> {
    Err(without_scenes())
}

#[cfg(not(feature = "scenes"))]
fn without_scenes() -> Error {
    Error::input(
        "data.kind = \"scenes\" needs the feature `scenes`, which this build lacks; build with it, or choose another kind",
    )
}
