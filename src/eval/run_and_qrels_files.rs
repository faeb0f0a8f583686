//! The run and qrels files of an evaluation: their names, and what is written into them.
//!
//! `DATASET-SPLIT/caption.folds.generative-rerank.run` has the lists of one row. The relevant images do
//! not depend on the retriever, so rows share `image.qrels`, or `caption.fold-1-of-5.qrels` and so on when
//! figures are means over folds. The main row, captions over the first gallery by the last generative stage,
//! has its `DATASET-SPLIT.run` and `DATASET-SPLIT.qrels` in the folder of the report, where other programs
//! look for them.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::galleries::GalleryFolds;
use super::pending_files::{CaptionHit, Content, PendingFile};
use super::query_sets::{QuerySet, caption_id};
use super::row_setting::{Files, Gallery, QueryKind, Setting};
use crate::data::corpus::Corpus;
use crate::ids::ImageIdx;
use crate::retriever::RankedList;
use crate::retriever::ranking_stage::Stage;

/// The file of the report on a split of a data set, in the folder `eval` of a run.
pub fn report_path(eval: &Path, dataset: &str, split: &str) -> PathBuf {
    eval.join(format!("{dataset}-{split}.json"))
}

/// The files of one evaluation.
pub struct ReportFiles<'a> {
    /// `DATASET-SPLIT`
    stem: String,
    /// Gallery and stage of the main row.
    main: (Gallery, Stage),
    corpus: &'a Corpus,
}

impl<'a> ReportFiles<'a> {
    /// The files of a report about this split of a data set.
    pub fn new(dataset: &str, split: &str, main: (Gallery, Stage), corpus: &'a Corpus) -> Self {
        Self { stem: format!("{dataset}-{split}"), main, corpus }
    }

    /// The names of the files of a row.
    pub fn of(&self, query: QueryKind, gallery: &GalleryFolds, retriever: &str, stage: Stage) -> Files {
        let run = match query {
            QueryKind::Caption if (gallery.gallery, stage) == self.main => format!("{}.run", self.stem),
            _ => format!("{}/{query}.{}.{retriever}-{stage}.run", self.stem, gallery.gallery),
        };
        Files { run, qrels: self.qrels_names(query, gallery) }
    }

    /// The names of the qrels files of a gallery's folds.
    fn qrels_names(&self, query: QueryKind, gallery: &GalleryFolds) -> Vec<String> {
        let (stem, count) = (&self.stem, gallery.folds.len());
        match (count, query) {
            (1, QueryKind::Caption) => vec![format!("{stem}.qrels")],
            (1, _) => vec![format!("{stem}/{query}.qrels")],
            _ => (1..=count).map(|fold| format!("{stem}/{query}.fold-{fold}-of-{count}.qrels")).collect(),
        }
    }

    /// The run file of a row; `queries` are the names of its queries.
    pub fn run(&self, setting: &Setting, queries: &[String], lists: Vec<RankedList>) -> PendingFile {
        let content = Content::Images { tag: tag(setting), queries: queries.to_vec(), lists };
        PendingFile { name: setting.files.run.clone(), content }
    }

    /// The run file of a row whose lists hold captions, each by its position in the corpus.
    pub fn caption_run(
        &self,
        setting: &Setting,
        queries: &[String],
        lists: &[Vec<(usize, f32)>],
    ) -> PendingFile {
        let hit = |&(caption, score): &(usize, f32)| -> CaptionHit {
            let image = self.corpus.owner(caption);
            (image, caption - self.corpus.captions_of(image).start, score)
        };
        let lists = lists.iter().map(|list| list.iter().map(hit).collect()).collect();
        let content = Content::Captions { tag: tag(setting), queries: queries.to_vec(), lists };
        PendingFile { name: setting.files.run.clone(), content }
    }

    /// The right image of each query, one file a fold.
    pub fn qrels(&self, set: &QuerySet, gallery: &GalleryFolds) -> Vec<PendingFile> {
        let file = |(name, range): (String, Range<usize>)| {
            let gold = set.gold[range.clone()].iter().map(|&image| self.corpus.id(image).to_owned());
            let right = set.ids[range].iter().cloned().zip(gold).collect();
            PendingFile { name, content: Content::Qrels(right) }
        };
        let names = self.qrels_names(set.kind, gallery).into_iter();
        names.zip(gallery.query_ranges(&set.gold)).map(file).collect()
    }

    /// The right captions of each photo, one file a fold.
    pub fn caption_qrels(
        &self,
        setting: &Setting,
        photos: &[ImageIdx],
        gallery: &GalleryFolds,
    ) -> Vec<PendingFile> {
        let captions = |&image: &ImageIdx| {
            let id = move |caption| (self.corpus.id(image).to_owned(), caption_id(self.corpus, caption));
            self.corpus.captions_of(image).map(id)
        };
        let file = |(name, range): (&String, Range<usize>)| {
            let right = photos[range].iter().flat_map(captions).collect();
            PendingFile { name: name.clone(), content: Content::Qrels(right) }
        };
        setting.files.qrels.iter().zip(gallery.query_ranges(photos)).map(file).collect()
    }
}

/// The name of the system in a run file.
fn tag(setting: &Setting) -> String {
    format!("{}-{}", setting.retriever, setting.stage)
}
