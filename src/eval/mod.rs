//! Evaluation: queries of a split through retrievers, ranks into figures, figures into files and a table.
//!
//! ```text
//! query_sets × galleries × retrievers ─ measure_rows ─▶ report, run and qrels files
//! ```
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

use crate::context::Context;
use crate::error::Result;
use crate::retriever::generative_variants::DECODER;
use crate::retriever::ranking_stage::Stage;
use crate::retriever::{RetrieverFactory, RetrieverSpec, registry};
use crate::run_folder::RunFolder;
pub use galleries::require;
use measure_rows::RowMeasurer;
pub use protocol::Protocol;
use query_sets::QuerySet;
use report::Report;
use row_setting::Gallery;
use run_and_qrels_files::{ReportFiles, report_path};

/// Measures the retrievers of a table, those that the run has, on the split that the configuration names.
/// Writes the report, and for each row a run file and its qrels, into the run folder. Each rank answers a
/// share of the queries; all but the first are given a folder that is thrown away.
///
/// # Errors
/// When the split is empty, a retriever fails or the disk is full.
pub fn evaluate(
    protocol: &Protocol,
    table: &[&RetrieverSpec],
    run: &RetrieverFactory,
    folder: &RunFolder,
    ctx: &Context,
) -> Result<Report> {
    let (corpus, section) = (&run.prepared().corpus, protocol.section);
    let galleries = galleries::galleries(section, corpus)?;
    let photos = query_sets::photos(run, &corpus.images_in(section.split))?;
    let sets = query_sets(protocol, run, &photos)?;
    let main = (galleries[0].gallery, last_stage(table, run));
    let measurer = RowMeasurer {
        protocol,
        retrievers: table.iter().copied().filter(|spec| spec.is_available(run)).collect(),
        run,
        files: files(protocol, run, folder, main),
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
    report.write(&report_path(&folder.eval(), protocol.dataset, section.split.word()))?;
    Ok(report)
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

fn files<'a>(
    protocol: &Protocol,
    run: &'a RetrieverFactory,
    folder: &RunFolder,
    main: (Gallery, Stage),
) -> ReportFiles<'a> {
    let split = protocol.section.split.word();
    ReportFiles::new(folder.eval(), protocol.dataset, split, main, &run.prepared().corpus)
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
