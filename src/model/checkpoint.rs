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
            fs::remove_dir_all(&target).map_err(Error::io("replace", &target))?;
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
    let mut reader = fs::File::open(path).map_err(Error::io("read", path))?;
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
        if path.is_dir() && !kept.contains(&path) {
            fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
        }
        if is_half_written_pointer(&path) {
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

/// The step of the checkpoint that was the best when that of `step` was written.
fn best_of(folder: &Path, step: usize) -> Option<usize> {
    read_meta(&at(folder, step)).ok()?.progress.best.map(|(best, _)| best)
}

fn is_half_written_pointer(path: &Path) -> bool {
    path.is_file() && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".tmp"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn checkpoint(step: usize, best: usize) -> Checkpoint {
        let tensor = Tensor::new(&[step as f32], &Device::Cpu).unwrap();
        let named = |name: &str| BTreeMap::from([(name.to_owned(), tensor.clone())]);
        Checkpoint {
            progress: Progress { step, best: Some((best, 0.5)), ..Progress::default() },
            weights: named("w"),
            optimizer: named("m.w"),
        }
    }

    #[test]
    fn last_and_best_are_kept_and_the_rest_is_pruned() {
        let folder = tempfile::tempdir().unwrap();
        for (step, best) in [(10, 10), (20, 20), (30, 20), (40, 20)] {
            checkpoint(step, best).write(folder.path(), 1).unwrap();
        }
        let read = |which| Checkpoint::read(folder.path(), which).unwrap();
        assert_eq!(read(Which::Last).progress.step, 40);
        assert_eq!(read(Which::Best).weights["w"].to_vec1::<f32>().unwrap(), [20.0]);
        let folders =
            fs::read_dir(folder.path()).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir()).count();
        assert_eq!(folders, 2);
        let hash = |which| weights_hash(folder.path(), which).unwrap();
        assert_ne!(hash(Which::Last), hash(Which::Best));
    }

    #[test]
    fn a_training_goes_on_from_the_newest_whole_checkpoint_whose_best_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let space = folder.path();
        let resumed =
            || Checkpoint::resume(space).map(|found| found.progress.step).map_err(|e| e.to_string());
        assert!(resumed().unwrap_err().contains("train first"));
        for (step, best) in [(10, 10), (20, 10), (30, 30), (40, 30)] {
            checkpoint(step, best).write(space, 3).unwrap();
        }
        assert_eq!(steps(space).unwrap(), [10, 20, 30, 40]); // 10 was the best of 20
        // A crash after the rename and before the pointers: the newest is whole nevertheless.
        fs::write(space.join("last"), "step-30").unwrap();
        assert_eq!(resumed(), Ok(40));
        assert_eq!(Checkpoint::read(space, Which::Last).unwrap().progress.step, 40);
        let damage = |step: usize, name: &str| {
            let path = at(space, step).join(name);
            let mut bytes = fs::read(&path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(&path, bytes).unwrap();
        };
        damage(40, OPTIMIZER);
        assert_eq!(resumed(), Ok(30));
        assert_eq!(Checkpoint::read(space, Which::Last).unwrap().progress.step, 30);
        // The best of 40 and 30 is gone with 30 itself; that of 20 is 10.
        damage(30, WEIGHTS);
        assert_eq!(resumed(), Ok(20));
        assert_eq!(Checkpoint::read(space, Which::Best).unwrap().progress.step, 10);
        checkpoint(25, 25).write(space, 3).unwrap();
        assert_eq!(steps(space).unwrap(), [10, 20, 25], "what lies ahead was damaged");
        let meta = at(space, 25).join(META);
        let text = fs::read_to_string(&meta).unwrap();
        fs::write(&meta, text.replace("\"step\": 25", "\"step\": 26")).unwrap();
        assert_eq!(resumed(), Ok(20), "a step that is not its folder's");
        damage(10, WEIGHTS);
        damage(20, WEIGHTS);
        assert!(resumed().unwrap_err().contains("another step"));
    }

    #[test]
    fn damage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let fails = |part: &str| {
            let message = Checkpoint::read(folder.path(), Which::Last).err().unwrap().to_string();
            assert!(message.contains(part), "{message}");
        };
        fails("train first");
        checkpoint(7, 7).write(folder.path(), 1).unwrap();
        let weights = folder.path().join("step-7").join(WEIGHTS);
        let bytes = fs::read(&weights).unwrap();
        fs::write(&weights, &bytes[..bytes.len() - 1]).unwrap();
        fails("truncated or altered");
        fs::write(&weights, bytes).unwrap();
        let meta = folder.path().join("step-7").join(META);
        fs::write(&meta, fs::read_to_string(&meta).unwrap().replace("\"version\": 1", "\"version\": 9"))
            .unwrap();
        fails("format version 9");
        fs::write(folder.path().join("last"), "../../etc").unwrap();
        fails("does not name a checkpoint");
    }
}
