//! `metrics.jsonl`: one JSON object a line, each with the step it belongs to.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::file_io;

/// Bytes of the largest log that is read back.
const LARGEST: u64 = 1 << 30;

/// The open log of a run.
pub struct MetricsLog {
    path: PathBuf,
    file: File,
}

impl MetricsLog {
    /// Opens the log of a run that has taken `step` steps. Lines of later steps are dropped: no checkpoint
    /// knows them.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn open(path: &Path, step: usize) -> Result<Self> {
        let kept = if step > 0 && path.exists() { lines_until(path, step)? } else { String::new() };
        file_io::write_atomic(path, |out| out.write_all(kept.as_bytes()))?;
        let file = OpenOptions::new().append(true).open(path).map_err(Error::io("write", path))?;
        Ok(Self { path: path.to_path_buf(), file })
    }

    /// Appends one line: the step, then the metrics.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn line<N: AsRef<str>>(&mut self, step: usize, metrics: &[(N, f64)]) -> Result<()> {
        let mut object = Map::from_iter([("step".to_owned(), Value::from(step))]);
        object.extend(metrics.iter().map(|(name, value)| (name.as_ref().to_owned(), Value::from(*value))));
        writeln!(self.file, "{}", Value::Object(object)).map_err(Error::io("write", &self.path))
    }
}

/// The whole lines of steps up to `step`.
fn lines_until(path: &Path, step: usize) -> Result<String> {
    let text = file_io::read_text(path, LARGEST)?;
    let kept = text.lines().filter(|line| step_of(line).is_some_and(|at| at <= step as u64));
    Ok(kept.map(|line| format!("{line}\n")).collect())
}

/// The step of a line; `None` for a line that is cut off.
fn step_of(line: &str) -> Option<u64> {
    serde_json::from_str::<Value>(line).ok()?.get("step")?.as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reopening_drops_lines_that_the_checkpoint_does_not_know() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.jsonl");
        let mut log = MetricsLog::open(&path, 0).unwrap();
        (1..=3).for_each(|step| log.line(step, &[("loss", 0.5)]).unwrap());
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "{\"step\":4,\"lo").unwrap();
        drop(MetricsLog::open(&path, 2).unwrap());
        let kept = std::fs::read_to_string(&path).unwrap();
        assert_eq!(kept, "{\"loss\":0.5,\"step\":1}\n{\"loss\":0.5,\"step\":2}\n");
    }
}
