//! The layout of a run folder: one experiment, with everything to repeat, resume, measure or search it.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// What a run writes at the top of its folder.
const ENTRIES: [&str; 9] = [
    "config.toml",
    "metrics.jsonl",
    "checkpoints",
    "index",
    "tuned",
    "search",
    "eval",
    "weights.json",
    "fitted.json",
];

/// The files of a run that [`RunFolder::clear`] removes, by the folder below the run's; `*` stands for any text. Folders
/// inside others come first.
const WRITTEN: [(&str, &[&str]); 9] = [
    ("checkpoints/*", &["weights.safetensors", "optimizer.safetensors", "meta.json"]),
    ("checkpoints", &["last", "best"]),
    ("index", INDEX_FILES),
    ("tuned/index", INDEX_FILES),
    (
        "tuned/encoder",
        &[
            "model.safetensors",
            "config.json",
            "preprocessor_config.json",
            "tokenizer.json",
            "vocab.json",
            "merges.txt",
        ],
    ),
    ("search", &["current.json", "model-*.json", "vectors-*.safetensors", "segment-*.bin", "removed-*.bin"]),
    ("eval/*", &["*.run", "*.qrels"]),
    ("eval", &["*.json", "*.run", "*.qrels"]),
    ("", &["weights.json", "fitted.json"]),
];

const INDEX_FILES: &[&str] =
    &["index.json", "docids.jsonl", "seconds.jsonl", "photos.jsonl", "vectors.safetensors"];

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

    /// The encoder below [`RunFolder::tuned`].
    pub fn tuned_encoder(&self) -> PathBuf {
        self.tuned().join("encoder")
    }

    /// The search store: all that a search needs of the run.
    pub fn search(&self) -> PathBuf {
        self.0.join("search")
    }

    /// The run whose weights the reports measure, if it is another one: JSON.
    pub fn borrowed(&self) -> PathBuf {
        self.0.join("weights.json")
    }

    /// The re-rank weight fitted on val after training, if the configuration says so: JSON.
    pub fn fitted(&self) -> PathBuf {
        self.0.join("fitted.json")
    }

    /// The names in the folder that a run writes; empty when the folder holds no run.
    pub fn occupied(&self) -> Vec<&'static str> {
        ENTRIES.iter().copied().filter(|name| self.0.join(name).symlink_metadata().is_ok()).collect()
    }

    /// Embeddings that were computed for the run after its training; they go nowhere else.
    pub fn cache(&self) -> PathBuf {
        self.0.join("cache")
    }

    /// Removes the files that an earlier run left here, its checkpoints first, its configuration not at all, so that
    /// a crash on the way leaves no run that looks whole. Files of other names stay and are logged.
    pub fn clear(&self) -> Result<()> {
        for (folder, files) in WRITTEN {
            for folder in matching_folders(&self.0, folder)? {
                remove_files(&folder, files)?;
                if folder != self.0 {
                    remove_if_empty(&folder);
                }
            }
        }
        Ok(())
    }

    /// Reports, `DATASET-SPLIT.json`, and the TREC run and qrels files of their rows in `DATASET-SPLIT/`.
    pub fn eval(&self) -> PathBuf {
        self.0.join("eval")
    }
}

/// The existing folders below `root` that a pattern of [`WRITTEN`] names. A link is followed only if the pattern has
/// its whole name.
fn matching_folders(root: &Path, pattern: &str) -> Result<Vec<PathBuf>> {
    let mut found = vec![root.to_owned()];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let mut inner = Vec::new();
        for folder in &found {
            let named = |path: &PathBuf| if part == "*" { is_folder(path) } else { path.is_dir() };
            inner.extend(entries(folder)?.into_iter().filter(|path| fits(part, path) && named(path)));
        }
        found = inner;
    }
    Ok(found)
}

/// Removes the files of a folder that have one of these names, in the order of the names.
fn remove_files(folder: &Path, names: &[&str]) -> Result<()> {
    for name in names {
        for path in entries(folder)?.into_iter().filter(|path| !is_folder(path) && fits(name, path)) {
            std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

fn remove_if_empty(folder: &Path) {
    if std::fs::remove_dir(folder).is_err() {
        tracing::warn!("{} keeps files that dsi did not write", folder.display());
    }
}

/// What lies in a folder; nothing if there is no such folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let list = std::fs::read_dir(folder).and_then(|list| list.map(|entry| Ok(entry?.path())).collect());
    list.map_err(Error::io("list", folder))
}

fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_dir())
}

/// Whether the name of a path is `pattern`, in which a `*` stands for any text.
fn fits(pattern: &str, path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    pattern.split_once('*').map_or(name == pattern, |(start, end)| {
        name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clearing_removes_what_a_run_writes_and_nothing_else() {
        let space = tempfile::tempdir().unwrap();
        let run = RunFolder::new(space.path());
        let ours = [
            "checkpoints/step-1/meta.json",
            "index/index.json",
            "eval/a-test.json",
            "eval/a-test/x.run",
            "search/segment-1-0.bin",
            "fitted.json",
        ];
        let others = [
            "checkpoints/step-1/model.pt",
            "index/mine.txt",
            "eval/notes.md",
            "search/mine.bin",
            "config.toml",
            "photo.jpg",
        ];
        for name in ours.iter().chain(&others) {
            let path = space.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        run.clear().unwrap();
        assert!(ours.iter().all(|name| !space.path().join(name).exists()));
        assert!(others.iter().all(|name| space.path().join(name).exists()));
        assert_eq!(run.occupied(), ["config.toml", "checkpoints", "index", "search", "eval"]);
    }
}
