//! The weight of the second stage in a fused score, fitted on val captions instead of chosen.

use serde::{Deserialize, Serialize};

use super::query_sets::{self, QuerySet};
use crate::data::corpus::{Corpus, Split};
use crate::error::{Error, Result};
use crate::file_io;
use crate::ids::ImageIdx;
use crate::ranking::metrics;
use crate::retriever::exact_cosine::reranked_beam;
use crate::retriever::rerank::{Candidate, Rerank, Scorer};
use crate::retriever::{RankedList, Retriever, RetrieverFactory};
use crate::run_folder::RunFolder;

/// The version of the file.
const VERSION: u32 = 1;
/// The weights that are tried are k/20.
const STEPS: u32 = 20;

/// The weight for which a run's re-ranked beam has the largest mean of R@1, R@5 and R@10 over val captions,
/// with the val images as the gallery; of equally good ones the middle.
///
/// # Errors
/// When there is no val split, or a search fails.
pub fn rerank_weight(run: &RetrieverFactory) -> Result<f64> {
    let corpus = &run.prepared().corpus;
    require(corpus)?;
    let gallery = corpus.images_in(Split::Val);
    let captions = query_sets::captions(run, Split::Val)?;
    let weight = best_weight(&reranked_beam(run, &gallery), &captions)?;
    tracing::info!("the exact cosine counts {weight} in a fused score, fitted on val");
    Ok(weight)
}

/// Checks that there are val images to fit the weight on.
///
/// # Errors
/// When there are none.
pub fn require(corpus: &Corpus) -> Result<()> {
    if corpus.images_in(Split::Val).is_empty() {
        return Err(Error::input(
            "search.fit_rerank fits on val, and the corpus has no images there: set it to false",
        ));
    }
    Ok(())
}

/// The weight with the largest mean of R@1, R@5 and R@10 over these queries, for any retriever and any
/// scorer.
fn best_weight<R: Retriever, S: Scorer>(rerank: &Rerank<R, S>, set: &QuerySet) -> Result<f64> {
    let candidates = rerank.scored(&set.queries)?;
    Ok(f64::from(best_step(&candidates, &set.gold)) / f64::from(STEPS))
}

/// The file that keeps a fitted weight.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fitted {
    version: u32,
    rerank_weight: f64,
}

/// Writes the weight into the folder of its run.
///
/// # Errors
/// When the file cannot be written.
pub fn write(run: &RunFolder, rerank_weight: f64) -> Result<()> {
    file_io::write_json(&run.fitted(), &Fitted { version: VERSION, rerank_weight })
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
        .map_err(|e| Error::file(&path, format!("is not a fitted weight: {e}; train again")))?;
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

fn best_step(candidates: &[Vec<Candidate>], gold: &[ImageIdx]) -> u32 {
    let recalls: Vec<f64> =
        (0..=STEPS).map(|step| recall(candidates, gold, step as f32 / STEPS as f32)).collect();
    let most = recalls.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let best: Vec<u32> = (0..=STEPS).filter(|&step| recalls[step as usize] == most).collect();
    best[best.len() / 2]
}

/// The sum of R@1, R@5 and R@10 with this weight.
fn recall(candidates: &[Vec<Candidate>], gold: &[ImageIdx], weight: f32) -> f64 {
    let fused = |candidates: &Vec<Candidate>| {
        RankedList::new(candidates.iter().map(|candidate| candidate.fused(weight)))
    };
    let lists = candidates.iter().map(fused).zip(gold);
    let ranks: Vec<Option<usize>> = lists.map(|(list, &gold)| list.rank_of(gold)).collect();
    [1, 5, 10].map(|k| metrics::recall_at(&ranks, k)).iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_that_finds_more_wins() {
        let candidates = |rescored: [f32; 2], retrieved: [f32; 2]| -> Vec<Candidate> {
            let of = |n: usize| Candidate { image: n.into(), rescored: rescored[n], retrieved: retrieved[n] };
            [0, 1].map(of).into()
        };
        let gold = [ImageIdx(0), ImageIdx(0)];
        // The scorer alone finds the first query, both stages the second.
        let found = [candidates([1.0, 0.0], [0.0, 1.0]), candidates([1.0, 0.0], [1.0, 0.0])];
        assert!(best_step(&found, &gold) > STEPS / 2);
        let found = [candidates([0.0, 1.0], [1.0, 0.0]), candidates([1.0, 0.0], [1.0, 0.0])];
        assert!(best_step(&found, &gold) < STEPS / 2);
    }
}
