//! The encoder against the implementations that its users know: transformers, open_clip, candle's own.
//!
//! What those computed is read from files: small ones of `tests/fixture/parity`, and the big ones that
//! `scripts/parity/run.sh` makes in the folder named by `DSI_PARITY`.

mod candle_clip;
mod encoder;
mod gradients;
mod photos;
mod tokens;

use std::path::{Path, PathBuf};

use libtest_mimic::Trial;

use crate::fixture::repository;

pub fn tests() -> Vec<Trial> {
    [candle_clip::tests(), encoder::tests(), gradients::tests(), photos::tests(), tokens::tests()]
        .into_iter()
        .flatten()
        .collect()
}

/// A file of the small material, which `scripts/parity/fixture.py` makes.
fn fixture(path: &str) -> PathBuf {
    repository("tests/fixture/parity").join(path)
}

/// The folders in a folder, by name.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    folders
}
