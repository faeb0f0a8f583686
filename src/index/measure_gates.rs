//! The figures of the gates, measured on an index before anything is trained on it.

use super::aligned_corpus::AlignedCorpus;
use crate::data::corpus::Split;
use crate::docid::codebook_measures::{cosines, prefix_survival, recall};
use crate::docid::families::FamilyOutput;
use crate::docid::gates::{GateReport, Limits};
use crate::docid::rq::Codebooks;
use crate::docid::trie::Trie;
use crate::error::{Error, Result};
use crate::ids::ImageIdx;
use crate::index::settings::Index;

/// The most captions that the figures are measured with.
const MOST_QUERIES: usize = 2000;
/// The lengths of ranked lists at which recall is measured.
const RECALL_AT: [usize; 3] = [1, 5, 10];

/// All figures of the docids that a family gave.
pub fn measure(settings: &Index, aligned: &AlignedCorpus, made: &FamilyOutput) -> GateReport {
    let report = GateReport::new(&made.docids, made.family_levels, made.collisions);
    match &made.codebooks {
        Some(books) => with_codebooks(report, settings, aligned, made, books),
        None => report,
    }
}

/// Adds the figures of codebooks, by val captions if there are any, else by train captions.
fn with_codebooks(
    report: GateReport,
    settings: &Index,
    aligned: &AlignedCorpus,
    made: &FamilyOutput,
    books: &Codebooks,
) -> GateReport {
    let AlignedCorpus { corpus, images, .. } = aligned;
    let positions = query_captions(aligned);
    let gold: Vec<ImageIdx> = positions.iter().map(|&caption| corpus.owner(caption)).collect();
    let queries = aligned.captions(&positions);
    let (docids, beam) = (&made.docids, settings.survival_beam);
    let survival = prefix_survival(&queries, &gold, docids, books, &Trie::new(docids), beam);
    let reconstructed = recall(&queries, &gold, &books.reconstruct_all(docids), &RECALL_AT);
    report
        .with_cosines(cosines(images, docids, books))
        .with_survival(beam, survival, recall(&queries, &gold, images, &[beam])[0])
        .with_recall(&RECALL_AT, reconstructed, recall(&queries, &gold, images, &RECALL_AT))
}

/// Positions of the captions to measure with.
fn query_captions(aligned: &AlignedCorpus) -> Vec<usize> {
    let of_split = [Split::Val, Split::Train].map(|split| aligned.corpus.captions_in(split));
    let mut positions = of_split.into_iter().find(|captions| !captions.is_empty()).unwrap_or_default();
    positions.truncate(MOST_QUERIES);
    positions
}

/// Checks the figures against the limits of the configuration.
///
/// # Errors
/// When a gate fails: each with its figure and the remedy.
pub fn check(settings: &Index, report: &GateReport) -> Result<()> {
    let limits = Limits {
        min_perplexity: settings.min_perplexity,
        max_collisions: settings.max_collisions,
        min_survival: settings.min_survival,
    };
    let refusals = report.refuse(&limits);
    if refusals.is_empty() {
        return Ok(());
    }
    Err(Error::input(format!("this index cannot work:\n  {}", refusals.join("\n  "))))
}
