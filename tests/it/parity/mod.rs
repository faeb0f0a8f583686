//! The encoder against the reference implementations: transformers, open_clip, PyTorch, candle-transformers.
//!
//! Their results are read from files: small ones in `tests/fixture/parity`, and large ones that
//! `scripts/parity/run.sh` writes to the folder `DSI_PARITY`.

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

/// A file of `tests/fixture/parity`, which `scripts/parity/fixture.py` writes.
fn fixture(path: &str) -> PathBuf {
    repository("tests/fixture/parity").join(path)
}

/// The folders in a folder, sorted by name.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    folders
}
