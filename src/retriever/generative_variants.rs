//! The generative retriever in its stages: the decoder alone, fused with geometry and prior, exhaustive.

use std::sync::Arc;

use super::factory::RetrieverFactory;
use super::generative::{BeamSearch, Generative};
use super::ranking_stage::Stage;
use super::retriever_entry::{Need, RetrieverSpec};
use super::survival::survival;
use super::{Query, Retriever};
use crate::docid::trie::Trie;
use crate::error::Result;
use crate::ids::{DocidRow, ImageIdx};
use crate::modality::Modality;

/// The decoder alone.
pub static DECODER: RetrieverSpec = RetrieverSpec {
    name: "decoder",
    retriever: "generative",
    stage: Stage::Decoder,
    baseline: false,
    answers_search: false,
    queries: &Modality::ALL,
    needs: &[],
    enabled: |_| true,
    build: build_decoder,
    survival: Some(decoder_survival),
};

/// The decoder with the geometric term in its step scores.
pub static GEOMETRY: RetrieverSpec = RetrieverSpec {
    name: "geometry",
    stage: Stage::Geometry,
    answers_search: true,
    needs: &[Need::Codebooks],
    enabled: |sections| sections.search.geometry > 0.0,
    build: build_fused,
    survival: None,
    ..DECODER
};

/// The decoder's score of every docid: what a perfect search would find.
pub static EXHAUSTIVE: RetrieverSpec = RetrieverSpec {
    name: "exhaustive",
    stage: Stage::Exact,
    enabled: |sections| sections.exhaustive,
    build: build_exhaustive,
    survival: None,
    ..DECODER
};

fn build_decoder(run: &RetrieverFactory, gallery: &[ImageIdx]) -> Result<Box<dyn Retriever>> {
    Ok(Box::new(run.docid_search().decoder_alone(gallery)))
}

fn build_fused(run: &RetrieverFactory, gallery: &[ImageIdx]) -> Result<Box<dyn Retriever>> {
    Ok(Box::new(fused(run, gallery)))
}

fn build_exhaustive(run: &RetrieverFactory, gallery: &[ImageIdx]) -> Result<Box<dyn Retriever>> {
    Ok(Box::new(run.docid_search().exhaustive(gallery)))
}

fn decoder_survival(
    run: &RetrieverFactory,
    gallery: &[ImageIdx],
    queries: &[Query],
    gold: &[ImageIdx],
) -> Result<Vec<f64>> {
    survival(&run.docid_search().decoder_alone(gallery), queries, gold)
}

/// Beam search by the decoder, the geometry of the codebooks and the prior of docids, those of them that have
/// a weight.
pub fn fused(run: &RetrieverFactory, gallery: &[ImageIdx]) -> Generative {
    let sections = run.sections();
    let weight = sections.search.geometry_in_nats(sections.decoder.temperature);
    let geometry = run.books().filter(|_| weight > 0.0).map(|books| (Arc::clone(books), weight));
    let docids = run.docid_search().docids();
    let bonus = |&row: &DocidRow| run.prior_bonus().get(docids.owner(row).row()).copied();
    let extend = |trie: &Trie, beam: BeamSearch| BeamSearch {
        geometry: geometry.clone(),
        leaves: trie.rows().iter().filter_map(bonus).collect(),
        ..beam
    };
    run.docid_search().extended(gallery, extend)
}
