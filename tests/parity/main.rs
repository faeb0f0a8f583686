//! The encoder against the implementations that its users know: transformers, open_clip, candle's own.
//!
//! What those computed is read from files: small ones of `tests/fixture/parity`, and the big ones that
//! `scripts/parity/run.sh` makes in the folder named by `DSI_PARITY`.

mod encoder;
mod gradients;
mod photos;
mod stock;
mod tokens;

use std::path::{Path, PathBuf};

/// A part of what `scripts/parity/run.sh` made; says so where it is missing.
fn made(part: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("DSI_PARITY").map(|folder| PathBuf::from(folder).join(part));
    let found = folder.filter(|folder| folder.is_dir());
    if found.is_none() {
        println!("skipped: {part} (scripts/parity/run.sh makes it and sets DSI_PARITY)");
    }
    found
}

/// A file of the small material, which `scripts/parity/fixture.py` makes.
fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture/parity").join(path)
}

/// The folders in a folder, by name.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    folders
}
