//! Checkpoints in the background: the next step begins while the last one's are still being written.

use std::path::PathBuf;
use std::thread::JoinHandle;

use crate::error::{Error, Result};
use crate::model::checkpoint::Checkpoint;

/// Writes checkpoints into a folder, one at a time.
pub struct Saver {
    folder: PathBuf,
    keep: usize,
    writing: Option<JoinHandle<Result<()>>>,
}

impl Saver {
    /// A saver that keeps the newest `keep` checkpoints, and the best.
    pub fn new(folder: PathBuf, keep: usize) -> Self {
        Self { folder, keep, writing: None }
    }

    /// Begins to write a checkpoint, which lies in this machine's memory and which nothing else may change any more, once the one
    /// before is written.
    ///
    /// # Errors
    /// When the one before could not be written.
    pub fn save(&mut self, checkpoint: Checkpoint) -> Result<()> {
        self.finish()?;
        let (folder, keep) = (self.folder.clone(), self.keep);
        self.writing = Some(std::thread::spawn(move || checkpoint.write(&folder, keep)));
        Ok(())
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    /// When it could not be: the disk is full, say.
    pub fn finish(&mut self) -> Result<()> {
        let Some(writing) = self.writing.take() else { return Ok(()) };
        writing.join().unwrap_or_else(|_| Err(Error::input("the thread that writes checkpoints panicked")))
    }
}

impl Drop for Saver {
    /// What was begun is ended, whatever went wrong elsewhere.
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            tracing::error!("{error}");
        }
    }
}
