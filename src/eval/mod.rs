//! Evaluation: queries of a split through retrievers, ranks into figures, figures into files and a table.
//!
//! ```text
//! query_sets × galleries × retrievers ─ measure_rows ─▶ report, run and qrels files
//! ```
//!
//! An [`Evaluation`] is printed before its files are written.
//!
//! [`compare_runs`] compares several reports with each other and with [`published_results`].

pub mod bootstrap;
pub mod compare_runs;
pub mod fit_rerank_weight;
pub mod galleries;
mod gather_results;
pub mod image_to_text;
pub mod measure_rows;
pub mod memorisation;
pub mod pending_files;
pub mod protocol;
pub mod published_results;
pub mod query_outcomes;
pub mod query_sets;
pub mod read_run_files;
pub mod report;
pub mod report_table;
pub mod row_setting;
pub mod run_and_qrels_files;
pub mod settings;
pub mod significance;
pub mod trec_files;

use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::error::Result;
use crate::retriever::generative_variants::DECODER;
use crate::retriever::ranking_stage::Stage;
use crate::retriever::{RetrieverFactory, RetrieverSpec, registry};
use crate::run_folder::RunFolder;
use crate::run_lock::RunLock;
pub use galleries::require;
use measure_rows::RowMeasurer;
use pending_files::PendingFiles;
pub use protocol::Protocol;
use query_sets::QuerySet;
use report::Report;
use run_and_qrels_files::{ReportFiles, report_path};

/// What an evaluation found, and its files, which are still to be written.
pub struct Evaluation {
    /// The figures.
    pub report: Report,
    path: PathBuf,
    files: PendingFiles,
    /// The re-ranking weight that was fitted for the run, and where it is kept.
    fitted: Option<(RunFolder, f64)>,
    /// Whether this is the first rank, which writes for all.
    writes: bool,
}

impl Evaluation {
    /// With a re-ranking weight that was fitted for this run.
    #[must_use]
    pub fn with_fitted(self, fitted: Option<(RunFolder, f64)>) -> Self {
        Self { fitted, ..self }
    }

    /// Writes the fitted weight, the run and qrels files, and last the report. Only the first rank writes.
    ///
    /// # Errors
    /// When a file cannot be written: it is named.
    pub fn write(self) -> Result<()> {
        if !self.writes {
            return Ok(());
        }
        let folder = self.path.parent().unwrap_or(Path::new("."));
        // Without the lock, the files below say what cannot be written.
        let _lock = RunLock::wait(folder, "an evaluation").ok();
        if let Some((run, weight)) = &self.fitted {
            fit_rerank_weight::write(run, *weight)?;
        }
        self.files.write()?;
        self.report.write(&self.path)
    }
}

/// Measures the retrievers of a table, those that the run has, on the split that the configuration names. The
/// report, and for each row a run file and its qrels, are for the folder; [`Evaluation::write`] writes them.
/// Each rank answers a share of the queries.
///
/// # Errors
/// When the split is empty or a retriever fails.
pub fn evaluate(
    protocol: &Protocol,
    table: &[&RetrieverSpec],
    run: &RetrieverFactory,
    folder: &RunFolder,
    ctx: &Context,
) -> Result<Evaluation> {
    let (corpus, section) = (&run.prepared().corpus, protocol.section);
    let galleries = galleries::galleries(section, corpus)?;
    let photos = query_sets::photos(run, &corpus.images_in(section.split))?;
    let sets = query_sets(protocol, run, &photos)?;
    let main = (galleries[0].gallery, last_stage(table, run));
    let mut measurer = RowMeasurer {
        protocol,
        retrievers: table.iter().copied().filter(|spec| spec.is_available(run)).collect(),
        run,
        files: ReportFiles::new(protocol.dataset, section.split.word(), main, corpus),
        pending: PendingFiles::new(folder.eval(), corpus),
        comm: &ctx.comm,
    };
    let mut report = empty_report(protocol);
    let rows: usize = sets.iter().map(|set| measurer.answering(set.kind).count()).sum();
    let bar = ctx.bar(galleries.len() * (rows + 1), "measuring");
    for set in &sets {
        for gallery in &galleries {
            report.rows.extend(measurer.rows(set, gallery, &bar)?);
        }
    }
    for gallery in &galleries {
        report.rows.push(measurer.image_to_text_row(&photos, gallery)?);
        bar.inc(1);
    }
    report.memorisation = Some(memorisation::memorisation(run)?);
    bar.finish_and_clear();
    let path = report_path(&folder.eval(), protocol.dataset, section.split.word());
    let (files, writes) = (measurer.pending, ctx.comm.is_first());
    Ok(Evaluation { report, path, files, fitted: None, writes })
}

/// All queries of an evaluation, in the order of the report.
fn query_sets(protocol: &Protocol, run: &RetrieverFactory, photos: &QuerySet) -> Result<Vec<QuerySet>> {
    let split = protocol.section.split;
    let mut sets = vec![query_sets::captions(run, split)?, photos.clone()];
    if protocol.section.views {
        sets.extend(query_sets::views(run, &run.prepared().corpus.images_in(split), protocol.seed)?);
    }
    Ok(sets)
}

/// The last generative stage that is measured.
fn last_stage(table: &[&RetrieverSpec], run: &RetrieverFactory) -> Stage {
    registry::default_for_search(table, run).unwrap_or(&DECODER).stage
}

fn empty_report(protocol: &Protocol) -> Report {
    Report::new(
        protocol.dataset.to_owned(),
        protocol.section.split.to_string(),
        protocol.seed,
        protocol.encoder.to_owned(),
        protocol.settings.clone(),
    )
}
