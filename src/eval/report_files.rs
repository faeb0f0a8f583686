//! The names of the run and qrels files of an evaluation: each row of the report has its own run file.
//!
//! `DATASET-SPLIT/caption.folds.generative-rerank.run` has the lists of one row; what was right does not depend on the
//! retriever, so rows share `image.qrels`, or `caption.fold-1-of-5.qrels` and so on where figures are means over folds.
//! The main row, captions over the first gallery by the last generative stage, has its `DATASET-SPLIT.run` and
//! `DATASET-SPLIT.qrels` beside the report, where other programs look for them.

use std::path::{Path, PathBuf};

use super::query_sets::GalleryFolds;
use super::row_setting::{Files, Gallery, QueryKind, Stage};

/// Where the files of one evaluation lie.
pub struct Names {
    /// The folder of the report.
    folder: PathBuf,
    /// `DATASET-SPLIT`
    stem: String,
    /// Gallery and stage of the main row.
    main: (Gallery, Stage),
}

impl Names {
    /// Of a report in `folder` about this data set and split.
    pub fn new(folder: PathBuf, dataset: &str, split: &str, main: (Gallery, Stage)) -> Self {
        Self { folder, stem: stem(dataset, split), main }
    }

    /// The report itself.
    pub fn report(&self) -> PathBuf {
        self.folder.join(report(&self.stem))
    }

    /// Where the report on a split of a data set lies in the folder `eval`.
    pub fn report_of(eval: &Path, dataset: &str, split: &str) -> PathBuf {
        eval.join(report(&stem(dataset, split)))
    }

    /// A file that a report names.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(Path::new(name))
    }

    /// The files of a row.
    pub fn of(&self, query: QueryKind, pool: &GalleryFolds, retriever: &str, stage: Stage) -> Files {
        let run = match query {
            QueryKind::Caption if (pool.gallery, stage) == self.main => format!("{}.run", self.stem),
            _ => format!("{}/{query}.{}.{retriever}-{stage}.run", self.stem, pool.gallery),
        };
        Files { run, qrels: self.qrels(query, pool) }
    }

    /// The qrels files of a gallery's folds.
    pub fn qrels(&self, query: QueryKind, pool: &GalleryFolds) -> Vec<String> {
        let count = pool.folds.len();
        if count == 1 {
            let own = if query == QueryKind::Caption { String::new() } else { format!("/{query}") };
            return vec![format!("{}{own}.qrels", self.stem)];
        }
        (1..=count).map(|fold| format!("{}/{query}.fold-{fold}-of-{count}.qrels", self.stem)).collect()
    }
}

fn stem(dataset: &str, split: &str) -> String {
    format!("{dataset}-{split}")
}

fn report(stem: &str) -> String {
    format!("{stem}.json")
}
