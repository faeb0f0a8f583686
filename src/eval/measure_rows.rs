//! The rows of a report: runs each query set through each retriever on each gallery, computes the figures and
//! keeps the ranked lists for the files.

use std::time::Instant;

use indicatif::ProgressBar;

use super::galleries::GalleryFolds;
use super::gather_results;
use super::image_to_text::image_to_text;
use super::pending_files::{PendingFile, PendingFiles};
use super::protocol::Protocol;
use super::query_outcomes::QueryOutcomes;
use super::query_sets::QuerySet;
use super::report::Row;
use super::row_setting::{QueryKind, Setting};
use super::run_and_qrels_files::ReportFiles;
use super::significance;
use crate::distributed::Comm;
use crate::error::Result;
use crate::retriever::ranking_stage::Stage;
use crate::retriever::{RankedList, Retriever, RetrieverFactory, RetrieverSpec};
use crate::rng;

/// The cut-offs at which a retriever is compared with the baseline.
const COMPARED: [usize; 2] = [1, 10];

/// What all rows of an evaluation are measured with.
pub struct RowMeasurer<'a> {
    /// What is measured.
    pub protocol: &'a Protocol<'a>,
    /// The retrievers that have rows.
    pub retrievers: Vec<&'a RetrieverSpec>,
    /// What retrievers are built from.
    pub run: &'a RetrieverFactory<'a>,
    /// The files that lists go to.
    pub files: ReportFiles<'a>,
    /// Those that are still to be written: by the first rank alone.
    pub pending: PendingFiles,
    /// The ranks that share the queries.
    pub comm: &'a Comm,
}

/// One measured retriever.
struct Measured<'a> {
    spec: &'a RetrieverSpec,
    row: Row,
    outcomes: QueryOutcomes,
}

/// What a retriever returned for all queries of a set.
struct Returned {
    lists: Vec<RankedList>,
    outcomes: QueryOutcomes,
    embeddings_scored: usize,
    seconds: f64,
}

impl<'a> RowMeasurer<'a> {
    /// The retrievers that answer queries of this kind.
    pub fn answering(&self, kind: QueryKind) -> impl Iterator<Item = &'a RetrieverSpec> {
        self.retrievers.iter().copied().filter(move |spec| spec.queries.contains(&kind.modality()))
    }

    /// The rows of all retrievers for the same queries over the same gallery, each compared with the
    /// baseline.
    ///
    /// # Errors
    /// When a retriever fails.
    pub fn rows(&mut self, set: &QuerySet, gallery: &GalleryFolds, bar: &ProgressBar) -> Result<Vec<Row>> {
        self.keep(self.files.qrels(set, gallery));
        let mut measured = Vec::new();
        let answering: Vec<&RetrieverSpec> = self.answering(set.kind).collect();
        for spec in answering {
            measured.push(self.measure(spec, set, gallery)?);
            bar.inc(1);
        }
        self.add_survival(&mut measured, set, gallery)?;
        self.compare_with_baseline(&mut measured);
        Ok(measured.into_iter().map(|measured| measured.row).collect())
    }

    /// Keeps files of the first rank; all ranks have the same lists.
    fn keep(&mut self, files: Vec<PendingFile>) {
        if self.comm.is_first() {
            files.into_iter().for_each(|file| self.pending.push(file));
        }
    }

    fn measure(
        &mut self,
        spec: &'a RetrieverSpec,
        set: &QuerySet,
        gallery: &GalleryFolds,
    ) -> Result<Measured<'a>> {
        let returned = self.answer(spec, set, gallery)?;
        let setting = Setting {
            embeddings_scored: returned.embeddings_scored as f64,
            ms_per_query: 1000.0 * returned.seconds / set.queries.len() as f64,
            ..self.setting(spec.retriever, spec.stage, set.kind, gallery)
        };
        self.keep(vec![self.files.run(&setting, &set.ids, returned.lists)]);
        Ok(Measured { spec, row: self.row(setting, &returned.outcomes)?, outcomes: returned.outcomes })
    }

    /// The answers of a retriever, fold by fold. Each rank answers a share of the queries of a fold.
    fn answer(&self, spec: &RetrieverSpec, set: &QuerySet, gallery: &GalleryFolds) -> Result<Returned> {
        let ranges = gallery.query_ranges(&set.gold);
        let (mut lists, mut ranks) = (Vec::new(), Vec::new());
        let (mut seconds, mut embeddings_scored) = (0.0, 0);
        let (batch, depth) = (self.protocol.section.batch, self.protocol.section.depth);
        for (images, range) in gallery.folds.iter().zip(&ranges) {
            let retriever = spec.build(self.run, images)?;
            let share = self.comm.share(range.len());
            let here = range.start + share.start..range.start + share.end;
            let began = Instant::now();
            let mut found = Vec::with_capacity(share.len());
            for (queries, gold) in set.queries[here.clone()].chunks(batch).zip(set.gold[here].chunks(batch)) {
                found.extend(retriever.ranked(queries, gold, depth)?);
            }
            let found = gather_results::gather(share, found, range.len(), depth, self.comm);
            let (fold_lists, fold_ranks): (Vec<RankedList>, Vec<Option<usize>>) = found.into_iter().unzip();
            lists.extend(fold_lists);
            ranks.extend(fold_ranks);
            seconds += began.elapsed().as_secs_f64();
            embeddings_scored = embeddings_scored.max(retriever.embeddings_scored().min(images.len()));
        }
        let outcomes = QueryOutcomes::new(ranks, set.gold.clone(), ranges);
        Ok(Returned { lists, outcomes, embeddings_scored, seconds })
    }

    /// Adds the survival of right prefixes where `eval.exhaustive` asks for it and the gallery is one list of
    /// images.
    fn add_survival(&self, measured: &mut [Measured], set: &QuerySet, gallery: &GalleryFolds) -> Result<()> {
        let [images] = &gallery.folds[..] else { return Ok(()) };
        if !self.protocol.section.exhaustive {
            return Ok(());
        }
        for Measured { spec, row, .. } in measured {
            let Some(survival) = spec.survival else { continue };
            row.survival = survival(self.run, images, &set.queries, &set.gold)?;
            log_survival(row);
        }
        Ok(())
    }

    fn compare_with_baseline(&self, measured: &mut [Measured]) {
        let baseline = measured.iter().find(|measured| measured.spec.baseline);
        let Some(baseline) = baseline.map(|baseline| baseline.outcomes.clone()) else { return };
        let mut rng = rng::stream(self.protocol.seed, "significance", 0);
        let resamples = self.protocol.section.bootstrap;
        for measured in measured.iter_mut().filter(|measured| !measured.spec.baseline) {
            for k in COMPARED {
                let difference = significance::compare(&measured.outcomes, &baseline, k, resamples, &mut rng);
                measured.row.versus_dense.insert(k, difference);
            }
        }
    }

    /// The row of exact search for captions by photos.
    ///
    /// # Errors
    /// As [`Row::measure`].
    pub fn image_to_text_row(&mut self, photos: &QuerySet, gallery: &GalleryFolds) -> Result<Row> {
        let found = image_to_text(self.run.prepared(), photos, gallery, self.protocol.section.depth);
        let setting = Setting {
            embeddings_scored: found.embeddings_scored as f64,
            ms_per_query: found.ms_per_query,
            ..self.setting("dense", Stage::Exact, QueryKind::ImageToCaption, gallery)
        };
        self.keep(vec![self.files.caption_run(&setting, &photos.ids, &found.lists)]);
        self.keep(self.files.caption_qrels(&setting, &photos.gold, gallery));
        self.row(setting, &found.outcomes)
    }

    fn setting(&self, retriever: &str, stage: Stage, query: QueryKind, gallery: &GalleryFolds) -> Setting {
        Setting {
            files: self.files.of(query, gallery, retriever, stage),
            retriever: retriever.to_owned(),
            stage,
            query,
            gallery: gallery.gallery,
            regime: self.protocol.regime,
            images: gallery.images(),
            embeddings_scored: 0.0,
            ms_per_query: 0.0,
        }
    }

    fn row(&self, setting: Setting, outcomes: &QueryOutcomes) -> Result<Row> {
        let mut rng = rng::stream(self.protocol.seed, "bootstrap", 0);
        Row::measure(setting, outcomes, self.protocol.section.bootstrap, &mut rng)
    }
}

fn log_survival(row: &Row) {
    let shares: Vec<String> = row.survival.iter().map(|share| format!("{:.1}", 100.0 * share)).collect();
    let (query, gallery) = (row.query, row.gallery);
    tracing::info!("right prefixes kept, %, level by level ({query}, {gallery}): {}", shares.join(" "));
}
