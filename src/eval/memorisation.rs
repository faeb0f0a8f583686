//! Memorisation: how many images the decoder spells from their own photo. It is no retrieval, so reports keep
//! it apart.

use super::query_sets;
use crate::error::Result;
use crate::ids::ImageIdx;
use crate::retriever::generative_variants::DECODER;
use crate::retriever::{Retriever as _, RetrieverFactory};

/// Images that memorisation is measured on at most.
const MOST_IMAGES: usize = 2000;

/// Share of the images whose own photo makes the decoder, alone, spell their docid among all of the corpus.
///
/// # Errors
/// When the search fails.
pub fn memorisation(run: &RetrieverFactory) -> Result<f64> {
    let everything: Vec<ImageIdx> = run.prepared().corpus.images().collect();
    let stride = everything.len().div_ceil(MOST_IMAGES);
    let chosen: Vec<ImageIdx> = everything.iter().copied().step_by(stride).collect();
    let photos = query_sets::photos(run, &chosen)?;
    let lists = DECODER.build(run, &everything)?.retrieve(&photos.queries, 1)?;
    let right = lists.iter().zip(&photos.gold).filter(|(list, image)| list.rank_of(**image) == Some(1));
    Ok(right.count() as f64 / chosen.len() as f64)
}
