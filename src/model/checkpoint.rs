//! Checkpoints: `checkpoints/step-N/` with the weights, the optimiser's state and the progress of the run.
//!
//! A checkpoint is written into a temporary folder, flushed, and renamed; then the small files `last` and
//! `best`, which hold the name of a checkpoint, are replaced atomically. A crash at any byte leaves the
//! checkpoint before, and a training resumes from the newest that is whole ([`Checkpoint::resume`]). There is
//! no generator state to keep: every random stream follows from the seed and the step.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::file_io;
use crate::nn::tensors;

/// The format of `meta.json`; another is refused.
const VERSION: u32 = 1;
const META: &str = "meta.json";
const WEIGHTS: &str = "weights.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";

/// The prefix of the encoder's weights, if the encoder is trained too.
pub const ENCODER: &str = "encoder.";

/// Which checkpoint of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The newest one, from which `--resume` continues.
    Last,
    /// The one with the best validation score, with which a run is evaluated and searched.
    Best,
}

impl Which {
    fn pointer(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Best => "best",
        }
    }
}

/// The progress of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps taken.
    pub step: usize,
    /// The step and score of the best validation so far.
    pub best: Option<(usize, f64)>,
    /// Steps among them that were skipped because their loss or gradient was not finite.
    #[serde(default)]
    pub skipped: usize,
    /// Skipped steps in a row, up to now.
    #[serde(default)]
    pub in_a_row: usize,
    /// The step of the last validation that was better than all before. `best` may be a later one that is as
    /// good.
    #[serde(default)]
    pub improved: usize,
}

#[derive(Serialize, Deserialize)]
struct Meta {
    version: u32,
    #[serde(flatten)]
    progress: Progress,
    /// BLAKE3 of each file, so that a flipped bit is found before the training resumes.
    blake3: BTreeMap<String, String>,
}

/// A checkpoint.
pub struct Checkpoint {
    /// The progress of the run.
    pub progress: Progress,
    /// The model's parameters.
    pub weights: BTreeMap<String, Tensor>,
    /// The optimiser's moments, and what else a resumed training needs besides the weights.
    pub optimizer: BTreeMap<String, Tensor>,
}

impl Checkpoint {
    /// Writes the checkpoint below `folder`, points `last` at it, and `best` at the best one; then removes
    /// all but the newest `keep` and those that were the best when these were written.
    ///
    /// # Errors
    /// When the disk is full or read-only; the checkpoints before are then untouched.
    pub fn write(&self, folder: &Path, keep: usize) -> Result<()> {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let temporary = tempfile::TempDir::new_in(folder).map_err(Error::io("create", folder))?;
        let at = temporary.path();
        tensors::write(&at.join(WEIGHTS), &self.weights)?;
        tensors::write(&at.join(OPTIMIZER), &self.optimizer)?;
        let hash = |name: &str| Ok((name.to_owned(), hash(&at.join(name))?));
        let blake3 = [WEIGHTS, OPTIMIZER].into_iter().map(hash).collect::<Result<_>>()?;
        let meta = Meta { version: VERSION, progress: self.progress.clone(), blake3 };
        file_io::write_json(&at.join(META), &meta)?;

        let target = self::at(folder, self.progress.step);
        if target.exists() {
            remove(&target)?;
        }
        fs::rename(at, &target).map_err(Error::io("write", &target))?;
        file_io::sync_folder(folder).map_err(Error::io("write", folder))?;
        point(folder, &self.progress)?;
        prune(folder, self.progress.step, keep)
    }

    /// The newest checkpoint that is whole, if the one that was the best when it was written is whole too.
    /// Damaged checkpoints are logged by name and passed over.
    ///
    /// # Errors
    /// When there is no checkpoint, or none is whole.
    pub fn resume(folder: &Path) -> Result<Self> {
        let mut faults = Vec::new();
        for step in steps(folder)?.into_iter().rev() {
            match Self::read_with_best(folder, step) {
                Ok(checkpoint) => {
                    faults.iter().for_each(|fault| tracing::warn!("passed over: {fault}"));
                    point(folder, &checkpoint.progress)?;
                    return Ok(checkpoint);
                }
                Err(fault) => faults.push(fault),
            }
        }
        Err(faults.into_iter().next().unwrap_or_else(|| no_checkpoint(folder)))
    }

    /// The checkpoint of a step, if the one that was the best then is whole too.
    fn read_with_best(folder: &Path, step: usize) -> Result<Self> {
        let checkpoint = Self::read_at(&at(folder, step))?;
        if let Some((best, _)) = checkpoint.progress.best
            && best != step
        {
            verified(&at(folder, best))?;
        }
        Ok(checkpoint)
    }

    /// The weights of the decoder, and those of the encoder by its own names.
    pub fn parts(mut self) -> (BTreeMap<String, Tensor>, BTreeMap<String, Tensor>) {
        let encoder = tensors::take_prefixed(&mut self.weights, ENCODER);
        (self.weights, encoder)
    }

    /// Reads the checkpoint that `which` points at.
    ///
    /// # Errors
    /// When there is no checkpoint, or it is truncated, altered or of another version.
    pub fn read(folder: &Path, which: Which) -> Result<Self> {
        Self::read_at(&locate(folder, which)?)
    }

    fn read_at(at: &Path) -> Result<Self> {
        let meta = verified(at)?;
        let tensors = |name| tensors::read(&at.join(name));
        Ok(Self { weights: tensors(WEIGHTS)?, optimizer: tensors(OPTIMIZER)?, progress: meta.progress })
    }
}

/// The description of a checkpoint whose files are as they were written.
fn verified(at: &Path) -> Result<Meta> {
    let meta = read_meta(at)?;
    let Progress { step, best, skipped, .. } = &meta.progress;
    if at.file_name().and_then(|name| name.to_str()).and_then(step_of) != Some(*step)
        || best.is_some_and(|(best, _)| best > *step)
        || skipped > step
    {
        return Err(Error::file(at.join(META), "names another step than its folder, or later steps"));
    }
    for name in [WEIGHTS, OPTIMIZER] {
        let path = at.join(name);
        if meta.blake3.get(name) != Some(&hash(&path)?) {
            let what =
                "was truncated or altered since it was written; restore it from a copy, or train again";
            return Err(Error::file(&path, what));
        }
    }
    Ok(meta)
}

/// The folder of the checkpoint of a step.
fn at(folder: &Path, step: usize) -> PathBuf {
    folder.join(format!("step-{step}"))
}

/// The steps of the checkpoints that exist, in order.
fn steps(folder: &Path) -> Result<Vec<usize>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut steps = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let name = entry.map_err(Error::io("list", folder))?.file_name();
        steps.extend(name.to_str().and_then(step_of));
    }
    steps.sort_unstable();
    Ok(steps)
}

fn step_of(name: &str) -> Option<usize> {
    name.strip_prefix("step-")?.parse().ok()
}

/// Points `last` at the checkpoint of this progress, and `best` at the best one if it exists.
fn point(folder: &Path, progress: &Progress) -> Result<()> {
    let best =
        progress.best.map(|(step, _)| (Which::Best, step)).filter(|(_, step)| at(folder, *step).exists());
    for (which, step) in [Some((Which::Last, progress.step)), best].into_iter().flatten() {
        file_io::write_atomic(&folder.join(which.pointer()), |out| writeln!(out, "step-{step}"))?;
    }
    Ok(())
}

/// The folder of the checkpoint that `which` points at. Without a `best` one it is the last.
///
/// # Errors
/// When the folder has no checkpoint.
pub fn locate(folder: &Path, which: Which) -> Result<PathBuf> {
    let pointers = [which.pointer(), Which::Last.pointer()].map(|name| folder.join(name));
    let pointer = pointers.iter().find(|path| path.exists()).ok_or_else(|| no_checkpoint(folder))?;
    let name = file_io::read_text(pointer, 64)?;
    let step = step_of(name.trim());
    let step = step.ok_or_else(|| Error::file(pointer, "does not name a checkpoint (step-N)"))?;
    Ok(at(folder, step))
}

/// The hash of the weights that `which` points at: equal for equal weights.
///
/// # Errors
/// When there is no checkpoint, or its description cannot be read.
pub fn weights_hash(folder: &Path, which: Which) -> Result<String> {
    let at = locate(folder, which)?;
    let hash = read_meta(&at)?.blake3.remove(WEIGHTS);
    hash.ok_or_else(|| Error::file(at.join(META), format!("has no hash of {WEIGHTS}")))
}

/// Checks that there are checkpoints at all; reading them finds out whether they are whole.
///
/// # Errors
/// When the folder is missing.
pub fn require(folder: &Path) -> Result<()> {
    if folder.exists() { Ok(()) } else { Err(no_checkpoint(folder)) }
}

fn no_checkpoint(folder: &Path) -> Error {
    Error::file(folder, "holds no checkpoint; train first (dsi train --config FILE)")
}

fn read_meta(at: &Path) -> Result<Meta> {
    let path = at.join(META);
    let text = file_io::read_text(&path, 1 << 16)?;
    let version = |value: &serde_json::Value| value.get("version").and_then(serde_json::Value::as_u64);
    let value: serde_json::Value = serde_json::from_str(&text)
        .map_err(|e| Error::file(&path, format!("is not a checkpoint's state: {e}")))?;
    match version(&value) {
        Some(found) if found != u64::from(VERSION) => Err(Error::file(
            &path,
            format!("has format version {found}; this program reads version {VERSION}"),
        )),
        _ => serde_json::from_value(value)
            .map_err(|e| Error::file(&path, format!("is not a checkpoint's state: {e}"))),
    }
}

fn hash(path: &Path) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    let mut reader = file_io::open_regular(path)?;
    std::io::copy(&mut reader, &mut hasher).map_err(Error::io("read", path))?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// Removes every checkpoint but the newest `keep` up to `step` and the best one of each of them, and what a
/// crash left half-written.
fn prune(folder: &Path, step: usize, keep: usize) -> Result<()> {
    let newest: Vec<usize> =
        steps(folder)?.into_iter().rev().filter(|&other| other <= step).take(keep.max(1)).collect();
    let best = newest.iter().filter_map(|&step| best_of(folder, step));
    let kept: Vec<PathBuf> = newest.iter().copied().chain(best).map(|step| at(folder, step)).collect();
    for entry in fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let path = entry.map_err(Error::io("list", folder))?.path();
        if is_own(&path) && !kept.contains(&path) {
            remove(&path)?;
        }
        if is_half_written_pointer(&path) {
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

/// Whether a folder is a checkpoint, or what a crash left of one: it has the name of one and holds nothing but a
/// checkpoint's files.
fn is_own(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let named = step_of(&name).is_some() || name.starts_with(".tmp");
    let listed =
        || path.symlink_metadata().is_ok_and(|found| found.is_dir()).then(|| fs::read_dir(path).ok())?;
    let is_part = |name: &str| [META, WEIGHTS, OPTIMIZER].contains(&name) || name.starts_with(".tmp");
    let mut entries = match listed() {
        Some(entries) if named => entries,
        _ => return false,
    };
    entries.all(|entry| entry.is_ok_and(|entry| entry.file_name().to_str().is_some_and(is_part)))
}

/// Removes a checkpoint.
///
/// # Errors
/// When the folder holds files of somebody else: then all of it stays.
fn remove(path: &Path) -> Result<()> {
    if !is_own(path) {
        let what = "holds files that are not of a checkpoint; move them elsewhere";
        return Err(Error::file(path, what));
    }
    fs::remove_dir_all(path).map_err(Error::io("remove", path))
}

/// The step of the checkpoint that was the best when that of `step` was written.
fn best_of(folder: &Path, step: usize) -> Option<usize> {
    read_meta(&at(folder, step)).ok()?.progress.best.map(|(best, _)| best)
}

fn is_half_written_pointer(path: &Path) -> bool {
    path.is_file() && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".tmp"))
}

#[cfg(test)]
mod tests;
