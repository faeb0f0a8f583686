//! Trie-constrained beam search, batched over queries × beams; and exhaustive scoring of docids.
//!
//! Errors: tensor operations fail only when the device does.

use candle_core::Tensor;
use rayon::prelude::*;

use super::beam_level::{Hypothesis, extend};
use super::candidate_table::CandidateTable;
use super::generative_model::{GenerativeModel, Queries};
use super::grounded_logits::Books;
use super::lookahead::Lookahead;
use crate::docid::trie::Trie;
use crate::error::Result;
use crate::ids::DocidRow;
use crate::nn::dropout::Dropout;

/// How wide a search is, and what it scores with besides the model.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// Hypotheses kept at each level.
    pub beam: usize,
    /// Codebooks and the weight of their geometry, 2⟨q − x̂_{<l}, e⟩ − ‖e‖², in the step score. It is not
    /// normalised per step, because a step's mean is evidence too.
    pub geometry: Option<(&'a Books, f64)>,
    /// The constants of the trie, if prefixes are kept also by what the levels below can still add.
    pub lookahead: Option<&'a Lookahead>,
    /// What each docid of the trie gets on top of the sum of its steps (−η·log p(c)), leaf by leaf; may be
    /// empty.
    pub leaves: &'a [f32],
    /// The doubt at which a level is a wildcard, as a share of the largest possible; see [`extend`]. 1:
    /// never.
    pub wildcard: f32,
}

/// Docids that exhaustive scoring scores at once for all queries.
const CHUNK: usize = 64;

/// The hypotheses of one query at each level, best first.
pub type Beams = Vec<Vec<Hypothesis>>;

/// The best docids of the trie for each query with their scores, best first, at most `beam` each.
pub fn beam_search(
    model: &GenerativeModel,
    trie: &Trie,
    queries: &Queries,
    settings: Settings,
) -> Result<Vec<Vec<(DocidRow, f32)>>> {
    let found = beams(model, trie, queries, settings)?;
    Ok(found.iter().map(|beams| leaves(trie, beams)).collect())
}

/// The docids of the last level with their scores.
fn leaves(trie: &Trie, beams: &Beams) -> Vec<(DocidRow, f32)> {
    let last = beams.last().map_or(&[][..], Vec::as_slice);
    last.iter().map(|hypothesis| (trie.row(hypothesis.node), hypothesis.score)).collect()
}

/// The search itself: for each query the hypotheses kept at every level.
pub fn beams(
    model: &GenerativeModel,
    trie: &Trie,
    queries: &Queries,
    settings: Settings,
) -> Result<Vec<Beams>> {
    let mut state = model.begin(queries)?;
    let ahead = future_scores(model, trie, queries, settings)?;
    let mut kept: Vec<Beams> = vec![Vec::with_capacity(trie.levels()); queries.count()];
    // Rows of the batch that a query has at the current level: all queries have equally many.
    let mut rows = 1;
    let mut codes = None;
    for level in 0..trie.levels() {
        let scores = model.next(&mut state, codes.as_ref(), settings.geometry)?.to_vec2::<f32>()?;
        for (query, beams) in kept.iter_mut().enumerate() {
            let before = beams.last().map_or(&[][..], Vec::as_slice);
            let scores = |row: usize| scores[query * rows + row].as_slice();
            let ahead = ahead.get(query).map_or(&[][..], |values| &values[level]);
            beams.push(extend(trie, level, before, scores, ahead, settings.beam, settings.wildcard));
        }
        if level + 1 < trie.levels() {
            let widest = kept.iter().map(|beams| beams[level].len()).max().unwrap_or(0);
            let (parents, chosen) = padded(trie, level, &kept, rows, widest);
            let parents = Tensor::from_vec(parents, queries.count() * widest, model.device())?;
            let chosen = Tensor::from_vec(chosen, queries.count() * widest, model.device())?;
            model.advance(&mut state, &parents, &chosen, settings.geometry.map(|(books, _)| books))?;
            (rows, codes) = (widest, Some(chosen));
        }
    }
    Ok(kept)
}

/// For each query the most that can still be added below each node, level by level; empty when nothing can.
fn future_scores(
    model: &GenerativeModel,
    trie: &Trie,
    queries: &Queries,
    settings: Settings,
) -> Result<Vec<Vec<Vec<f32>>>> {
    let leaves = settings.leaves;
    if let Some(lookahead) = settings.lookahead
        && let Some(terms) = model.lookahead_terms(queries, settings.geometry)?
    {
        let values = |query| lookahead.values(trie, &terms, query, leaves);
        return Ok((0..queries.count()).into_par_iter().map(values).collect());
    }
    if leaves.is_empty() {
        return Ok(Vec::new());
    }
    let mut ahead = vec![Vec::new(); trie.levels()];
    ahead[trie.levels() - 1] = leaves.to_vec();
    Ok(vec![ahead; queries.count()])
}

/// Parent rows and codes of all hypotheses of a level, `widest` a query. A query with fewer repeats its first
/// one, so that the batch stays rectangular; nothing reads the scores of those rows.
fn padded(trie: &Trie, level: usize, kept: &[Beams], rows: usize, widest: usize) -> (Vec<u32>, Vec<u32>) {
    let mut parents = Vec::with_capacity(kept.len() * widest);
    let mut codes = Vec::with_capacity(kept.len() * widest);
    for (query, beams) in kept.iter().enumerate() {
        let beams = &beams[level];
        for slot in 0..widest {
            let hypothesis = beams.get(slot).unwrap_or(&beams[0]);
            parents.push((query * rows) as u32 + hypothesis.parent);
            codes.push(trie.code(level, hypothesis.node));
        }
    }
    (parents, codes)
}

/// The score of each of these docids for each query, by teacher forcing: no search, hence no search error.
pub fn exhaustive(
    model: &GenerativeModel,
    candidate_table: &CandidateTable,
    docids: &[DocidRow],
    queries: &Queries,
) -> Result<Vec<Vec<f32>>> {
    let mut scores = vec![Vec::with_capacity(docids.len()); queries.count()];
    for chunk in docids.chunks(CHUNK) {
        let candidates =
            candidate_table.candidates(&vec![chunk.to_vec(); queries.count()], model.device())?;
        let sums = model.step_scores(queries, &candidates, &mut Dropout::off())?.sum(2)?.to_vec2::<f32>()?;
        scores.iter_mut().zip(sums).for_each(|(all, part)| all.extend(part));
    }
    Ok(scores)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docid::rq::Codebooks;
    use crate::docid::suffix;
    use crate::matrix::Matrix;
    use crate::modality::Modality;
    use crate::model::decoder::Shape;
    use crate::model::generative_model::Scoring;
    use crate::nn::params::Builder;
    use crate::rng;
    use candle_core::Device;
    use rand::Rng as _;

    /// In an untrained model the geometry is the whole score, so with lookahead one hypothesis a level finds
    /// the best of all docids; without it, one does not.
    #[test]
    fn looking_ahead_finds_the_best_docid_with_a_beam_of_one() {
        let mut rng = rng::stream(1, "test", 0);
        let mut points = || {
            let numbers: Vec<f32> = (0..120 * 6).map(|_| rng.random_range(-1.0..1.0)).collect();
            Matrix::new(6, numbers).normalized()
        };
        let images = points();
        let embeddings = points();
        let books = Codebooks::fit(&images, &[8; 3], 5, &mut rng::stream(2, "test", 0)).unwrap();
        let (docids, _) = suffix::unique(books.encode_all(&images, 1), &books.codes_per_level()).unwrap();
        let codes = docids.codes_per_level().to_vec();
        let shape = Shape { query: 6, width: 8, layers: 1, heads: 2, memory: 2, codes, silent: true };
        let builder = Builder::fresh(0, &Device::Cpu);
        let grounding = Some((Books::new(&books, &Device::Cpu).unwrap(), 0.05));
        let model = GenerativeModel::new(&builder.root(), shape, grounding, false, Scoring::Logit).unwrap();
        let (trie, candidate_table) = (Trie::new(&docids), CandidateTable::new(docids, Some(&books)));
        let queries = Queries::new(&embeddings, &[Modality::Caption; 120], &Device::Cpu).unwrap();
        let best = |scores: &Vec<f32>| scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let wanted: Vec<f32> =
            exhaustive(&model, &candidate_table, trie.rows(), &queries).unwrap().iter().map(best).collect();
        let ahead = Lookahead::new(&trie, &candidate_table);
        let found_by = |lookahead| {
            let settings = Settings { beam: 1, geometry: None, lookahead, leaves: &[], wildcard: 1.0 };
            let found = beam_search(&model, &trie, &queries, settings).unwrap();
            found.iter().zip(&wanted).filter(|(hits, wanted)| (hits[0].1 - **wanted).abs() < 1e-3).count()
        };
        assert_eq!(found_by(Some(&ahead)), 120);
        assert!(found_by(None) < 120);
    }
}
