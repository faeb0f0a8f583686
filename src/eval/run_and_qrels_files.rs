//! The run and qrels files of an evaluation: their names, and what is written into them.
//!
//! `DATASET-SPLIT/caption.folds.generative-rerank.run` has the lists of one row. The relevant images do
//! not depend on the retriever, so rows share `image.qrels`, or `caption.fold-1-of-5.qrels` and so on when
//! figures are means over folds. The main row, captions over the first gallery by the last generative stage,
//! has its `DATASET-SPLIT.run` and `DATASET-SPLIT.qrels` in the folder of the report, where other programs
//! look for them.
//!
//! Errors: writing fails when the disk does.

use std::path::{Path, PathBuf};

use super::galleries::GalleryFolds;
use super::query_sets::{QuerySet, caption_id};
use super::row_setting::{Files, Gallery, QueryKind, Setting};
use super::trec_files;
use crate::data::corpus::Corpus;
use crate::error::Result;
use crate::ids::ImageIdx;
use crate::retriever::RankedList;
use crate::retriever::ranking_stage::Stage;

/// The file of the report on a split of a data set, in the folder `eval` of a run.
pub fn report_path(eval: &Path, dataset: &str, split: &str) -> PathBuf {
    eval.join(format!("{dataset}-{split}.json"))
}

/// The files of one evaluation.
pub struct ReportFiles<'a> {
    /// The folder of the report.
    folder: PathBuf,
    /// `DATASET-SPLIT`
    stem: String,
    /// Gallery and stage of the main row.
    main: (Gallery, Stage),
    corpus: &'a Corpus,
}

impl<'a> ReportFiles<'a> {
    /// The files of a report in `folder` about this split of a data set.
    pub fn new(
        folder: PathBuf,
        dataset: &str,
        split: &str,
        main: (Gallery, Stage),
        corpus: &'a Corpus,
    ) -> Self {
        Self { folder, stem: format!("{dataset}-{split}"), main, corpus }
    }

    /// The names of the files of a row.
    pub fn of(&self, query: QueryKind, gallery: &GalleryFolds, retriever: &str, stage: Stage) -> Files {
        let run = match query {
            QueryKind::Caption if (gallery.gallery, stage) == self.main => format!("{}.run", self.stem),
            _ => format!("{}/{query}.{}.{retriever}-{stage}.run", self.stem, gallery.gallery),
        };
        Files { run, qrels: self.qrels(query, gallery) }
    }

    /// The names of the qrels files of a gallery's folds.
    fn qrels(&self, query: QueryKind, gallery: &GalleryFolds) -> Vec<String> {
        let (stem, count) = (&self.stem, gallery.folds.len());
        match (count, query) {
            (1, QueryKind::Caption) => vec![format!("{stem}.qrels")],
            (1, _) => vec![format!("{stem}/{query}.qrels")],
            _ => (1..=count).map(|fold| format!("{stem}/{query}.fold-{fold}-of-{count}.qrels")).collect(),
        }
    }

    /// Writes the lists of a row; `queries` are the names of its queries.
    pub fn write_run(&self, setting: &Setting, queries: &[String], lists: &[RankedList]) -> Result<()> {
        let named = |list: &RankedList| -> Vec<(&str, f32)> {
            list.hits().iter().map(|hit| (self.corpus.id(hit.image), hit.score)).collect()
        };
        self.write_lists(setting, queries.iter().zip(lists.iter().map(named)))
    }

    /// Writes lists of captions, each by its position in the corpus.
    pub fn write_caption_run(
        &self,
        setting: &Setting,
        queries: &[String],
        lists: &[Vec<(usize, f32)>],
    ) -> Result<()> {
        let named = |list: &Vec<(usize, f32)>| -> Vec<(String, f32)> {
            list.iter().map(|&(caption, score)| (caption_id(self.corpus, caption), score)).collect()
        };
        self.write_lists(setting, queries.iter().zip(lists.iter().map(named)))
    }

    fn write_lists<'q, D: AsRef<str>>(
        &self,
        setting: &Setting,
        lists: impl Iterator<Item = (&'q String, Vec<(D, f32)>)>,
    ) -> Result<()> {
        let tag = format!("{}-{}", setting.retriever, setting.stage);
        trec_files::write_run(&self.folder.join(&setting.files.run), &tag, lists)
    }

    /// Writes the right image of each query, one file a fold.
    pub fn write_qrels(&self, set: &QuerySet, gallery: &GalleryFolds) -> Result<()> {
        let ranges = gallery.query_ranges(&set.gold);
        for (name, range) in self.qrels(set.kind, gallery).iter().zip(ranges) {
            let gold = set.gold[range.clone()].iter().map(|&image| self.corpus.id(image));
            trec_files::write_qrels(&self.folder.join(name), set.ids[range].iter().zip(gold))?;
        }
        Ok(())
    }

    /// Writes the right captions of each photo, one file a fold.
    pub fn write_caption_qrels(
        &self,
        setting: &Setting,
        photos: &[ImageIdx],
        gallery: &GalleryFolds,
    ) -> Result<()> {
        for (name, range) in setting.files.qrels.iter().zip(gallery.query_ranges(photos)) {
            let right = photos[range].iter().flat_map(|&image| {
                let captions = self.corpus.captions_of(image);
                captions.map(move |caption| (self.corpus.id(image), caption_id(self.corpus, caption)))
            });
            trec_files::write_qrels(&self.folder.join(name), right)?;
        }
        Ok(())
    }
}
