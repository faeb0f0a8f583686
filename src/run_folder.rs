//! The layout of a run folder: one experiment, with everything to repeat, resume, measure or search it.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The folder given by `--out` or `--run`.
#[derive(Debug, Clone)]
pub struct RunFolder(PathBuf);

impl RunFolder {
    /// The run in this folder, which may not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The resolved configuration.
    pub fn config(&self) -> PathBuf {
        self.0.join("config.toml")
    }

    /// The figures of the training: one JSON object per line.
    pub fn metrics(&self) -> PathBuf {
        self.0.join("metrics.jsonl")
    }

    /// The checkpoints, `step-N` each, with the pointers `last` and `best`.
    pub fn checkpoints(&self) -> PathBuf {
        self.0.join("checkpoints")
    }

    /// The index: docids, codebooks and alignment.
    pub fn index(&self) -> PathBuf {
        self.0.join("index")
    }

    /// The encoder that was trained with the decoder, and the index that belongs to it; made when training
    /// ends.
    pub fn tuned(&self) -> PathBuf {
        self.0.join("tuned")
    }

    /// The run whose weights the reports measure, if it is another one: JSON.
    pub fn borrowed(&self) -> PathBuf {
        self.0.join("weights.json")
    }

    /// The re-rank weight fitted on val after training, if the configuration says so: JSON.
    pub fn fitted(&self) -> PathBuf {
        self.0.join("fitted.json")
    }

    /// Removes what an earlier run left here: its checkpoints first, its configuration not at all, so that a
    /// crash on the way leaves no run that looks whole.
    pub fn clear(&self) -> Result<()> {
        for folder in [self.checkpoints(), self.index(), self.tuned(), self.eval()] {
            if folder.exists() {
                std::fs::remove_dir_all(&folder).map_err(Error::io("remove", &folder))?;
            }
        }
        for file in [self.borrowed(), self.fitted()] {
            if file.exists() {
                std::fs::remove_file(&file).map_err(Error::io("remove", &file))?;
            }
        }
        Ok(())
    }

    /// Reports, `DATASET-SPLIT.json`, and the TREC run and qrels files of their rows in `DATASET-SPLIT/`.
    pub fn eval(&self) -> PathBuf {
        self.0.join("eval")
    }
}
