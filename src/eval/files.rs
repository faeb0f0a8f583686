//! The names of the run and qrels files of an evaluation: each row of the report has its own run file.
//!
//! `DATASET-SPLIT/caption.folds.generative-rerank.run` has the lists of one row; what was right does not depend on the
//! retriever, so rows share `caption.qrels`, or `caption.fold-1-of-5.qrels` and so on where figures are means over
//! folds.

use std::path::{Path, PathBuf};

use super::questions::Pool;
use super::setting::{Files, QueryKind, Stage};

/// Where the files of one evaluation lie.
pub struct Names {
    /// The folder of the report.
    folder: PathBuf,
    /// `DATASET-SPLIT`
    stem: String,
}

impl Names {
    /// Of a report in `folder` about this data set and split.
    pub fn new(folder: PathBuf, dataset: &str, split: &str) -> Self {
        Self { folder, stem: format!("{dataset}-{split}") }
    }

    /// The report itself.
    pub fn report(&self) -> PathBuf {
        self.folder.join(format!("{}.json", self.stem))
    }

    /// A file that a report names.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(Path::new(name))
    }

    /// The files of a row.
    pub fn of(&self, query: QueryKind, pool: &Pool, retriever: &str, stage: Stage) -> Files {
        let run = format!("{}/{query}.{}.{retriever}-{stage}.run", self.stem, pool.gallery);
        Files { run, qrels: self.qrels(query, pool) }
    }

    /// The qrels files of a gallery's folds.
    pub fn qrels(&self, query: QueryKind, pool: &Pool) -> Vec<String> {
        let count = pool.folds.len();
        if count == 1 {
            return vec![format!("{}/{query}.qrels", self.stem)];
        }
        (1..=count).map(|fold| format!("{}/{query}.fold-{fold}-of-{count}.qrels", self.stem)).collect()
    }
}
