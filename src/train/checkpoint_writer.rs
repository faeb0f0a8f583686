//! Writes checkpoints on a thread of its own, while the training goes on.

use std::path::PathBuf;
use std::thread::JoinHandle;

use crate::error::{Error, Result};
use crate::model::checkpoint::Checkpoint;

/// Writes checkpoints into a folder, one at a time.
pub struct CheckpointWriter {
    folder: PathBuf,
    keep: usize,
    writing: Option<JoinHandle<Result<()>>>,
}

impl CheckpointWriter {
    /// A writer that keeps the newest `keep` checkpoints, and the best.
    pub fn new(folder: PathBuf, keep: usize) -> Self {
        Self { folder, keep, writing: None }
    }

    /// Starts to write a checkpoint, once the one before is written. Its tensors must be copies in this
    /// machine's memory.
    ///
    /// # Errors
    /// When the one before could not be written.
    pub fn write(&mut self, checkpoint: Checkpoint) -> Result<()> {
        self.finish()?;
        let (folder, keep) = (self.folder.clone(), self.keep);
        self.writing = Some(std::thread::spawn(move || checkpoint.write(&folder, keep)));
        Ok(())
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    /// When it could not be written, for example because the disk is full.
    pub fn finish(&mut self) -> Result<()> {
        let Some(writing) = self.writing.take() else { return Ok(()) };
        writing.join().unwrap_or_else(|_| Err(Error::input("the thread that writes checkpoints panicked")))
    }
}

impl Drop for CheckpointWriter {
    /// Waits for the checkpoint being written, also when the training fails.
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            tracing::error!("{error}");
        }
    }
}
