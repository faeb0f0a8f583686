//! Weights that are fitted and not chosen: how much the exact cosine counts in a fused score, on val captions.

use serde::{Deserialize, Serialize};

use super::metrics;
use super::query_sets;
use crate::config::Split;
use crate::encoder::embedded_corpus::EmbeddedCorpus;
use crate::error::{Error, Result};
use crate::file_io;
use crate::ids::ImageIdx;
use crate::retriever::RankedList;
use crate::retriever::factory::RetrieverFactory;
use crate::retriever::rerank::Evidence;
use crate::run_folder::RunFolder;

/// The version of the file.
const VERSION: u32 = 1;
/// The weights that are tried are k/20.
const STEPS: u32 = 20;

/// The weight with the largest mean of R@1, R@5 and R@10 over val captions, the val images being the gallery; of equal
/// ones the middle.
///
/// # Errors
/// When there is no val split, or a search fails.
pub fn rerank_weight(prepared: &EmbeddedCorpus, parts: &RetrieverFactory) -> Result<f64> {
    let gallery = prepared.corpus.images_in(Split::Val);
    if gallery.is_empty() {
        return Err(Error::input(
            "search.fit_rerank fits on val, and the corpus has no images there: set it to false",
        ));
    }
    let asked = query_sets::captions(prepared, Split::Val);
    let evidence = parts.rerank(&gallery).evidence(&asked.queries)?;
    Ok(f64::from(best(&evidence, &asked.gold)) / f64::from(STEPS))
}

/// The file that keeps a fitted weight.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fitted {
    version: u32,
    rerank_weight: f64,
}

/// Keeps the weight with its run.
///
/// # Errors
/// When the disk refuses.
pub fn write(run: &RunFolder, rerank_weight: f64) -> Result<()> {
    tracing::info!("the exact cosine counts {rerank_weight} in a fused score, fitted on val");
    let path = run.fitted();
    let json = serde_json::to_string_pretty(&Fitted { version: VERSION, rerank_weight })
        .map_err(|e| Error::file(&path, e.to_string()))?;
    file_io::write_atomic(&path, |out| writeln!(out, "{json}"))
}

/// The weight that was fitted for a run.
///
/// # Errors
/// When there is none, or the file is broken or of another version.
pub fn read(run: &RunFolder) -> Result<f64> {
    let path = run.fitted();
    if !path.exists() {
        let what = "has no fitted weight: train with search.fit_rerank = true, or set it to false";
        return Err(Error::file(run.path(), what));
    }
    let fitted: Fitted = serde_json::from_str(&file_io::read_text(&path, 1 << 16)?)
        .map_err(|e| Error::file(&path, format!("is no fitted weight: {e}; train again")))?;
    match (fitted.version, (0.0..=1.0).contains(&fitted.rerank_weight)) {
        (VERSION, true) => Ok(fitted.rerank_weight),
        (version, _) => {
            let what = format!(
                "has version {version}, weight {}; version {VERSION} and 0 to 1 are read",
                fitted.rerank_weight
            );
            Err(Error::file(&path, what))
        }
    }
}

fn best(evidence: &[Vec<Evidence>], gold: &[ImageIdx]) -> u32 {
    let score = |step: u32| {
        let weight = step as f32 / STEPS as f32;
        let rank = |(candidates, &gold): (&Vec<Evidence>, &ImageIdx)| {
            RankedList::new(candidates.iter().map(|candidate| candidate.fused(weight))).rank_of(gold)
        };
        let ranks: Vec<Option<usize>> = evidence.iter().zip(gold).map(rank).collect();
        [1, 5, 10].map(|k| metrics::recall_at(&ranks, k)).iter().sum::<f64>()
    };
    let scores: Vec<f64> = (0..=STEPS).map(score).collect();
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let best: Vec<u32> = (0..=STEPS).filter(|&step| scores[step as usize] == most).collect();
    best[best.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_that_finds_more_wins() {
        let evidence = |exact: [f32; 2], sequence: [f32; 2]| -> Vec<Evidence> {
            let of = |n: usize| Evidence { image: n.into(), exact: exact[n], sequence: sequence[n] };
            [0, 1].map(of).into()
        };
        let gold = [ImageIdx(0), ImageIdx(0)];
        // The first query is found by the cosine alone, the second by either.
        let asked = [evidence([1.0, 0.0], [0.0, 1.0]), evidence([1.0, 0.0], [1.0, 0.0])];
        assert!(best(&asked, &gold) > STEPS / 2);
        let asked = [evidence([0.0, 1.0], [1.0, 0.0]), evidence([1.0, 0.0], [1.0, 0.0])];
        assert!(best(&asked, &gold) < STEPS / 2);
    }
}
