//! The step before every retriever: captions and photos in, queries with embeddings out.

use std::sync::Arc;

use super::query::{self, Query};
use crate::data::photos::Photo;
use crate::encoder::{DualEncoder, MirrorTta, PhotoView};
use crate::error::Result;
use crate::modality::Modality;
use crate::model::alignment::Alignment;

/// Embeds and aligns queries.
#[derive(Clone)]
pub struct QueryEmbedder {
    encoder: Arc<dyn DualEncoder>,
    mirror: MirrorTta,
    alignment: Arc<Alignment>,
}

impl QueryEmbedder {
    /// An embedder by this encoder and alignment; photos are embedded with their mirror image if `mirror` says so.
    pub fn new(encoder: Arc<dyn DualEncoder>, mirror: MirrorTta, alignment: Arc<Alignment>) -> Self {
        Self { encoder, mirror, alignment }
    }

    /// Adds the embeddings that queries lack, all captions in one batch and all photos in another, and aligns
    /// all of them.
    ///
    /// # Errors
    /// When a query cannot be embedded: an empty caption, a photo that cannot be read, nothing at all; or its
    /// embedding is of another width.
    pub fn complete(&self, mut queries: Vec<Query>) -> Result<Vec<Query>> {
        self.embed_captions(&mut queries)?;
        self.embed_photos(&mut queries)?;
        align(&mut queries, self.encoder.width(), &self.alignment)?;
        Ok(queries)
    }

    fn embed_captions(&self, queries: &mut [Query]) -> Result<()> {
        let places = lacking(queries, |query| query.text.is_some());
        if places.is_empty() {
            return Ok(());
        }
        let captions: Vec<&str> = places.iter().filter_map(|&place| queries[place].text.as_deref()).collect();
        let rows = self.encoder.texts(&captions, &|_| ())?;
        embed(queries, places, Modality::Caption, rows.iter().map(<[f32]>::to_vec));
        Ok(())
    }

    fn embed_photos(&self, queries: &mut [Query]) -> Result<()> {
        let places = lacking(queries, |query| query.photo.is_some());
        if places.is_empty() {
            return Ok(());
        }
        let photos: Vec<Photo> = places.iter().filter_map(|&place| queries[place].photo.clone()).collect();
        let rows = self.encoder.photos(&photos, PhotoView::with_mirror(self.mirror), &|_| ())?;
        let rows: Vec<Vec<f32>> = rows.into_iter().collect::<Result<_>>()?;
        embed(queries, places, Modality::Image, rows);
        Ok(())
    }
}

/// Adds the aligned rows of embedded queries, of `width` numbers each.
///
/// # Errors
/// When a query has no embedding, or one of another width.
pub fn align(queries: &mut [Query], width: usize, alignment: &Alignment) -> Result<()> {
    let (rows, modalities) = (query::rows(queries, width)?, query::modalities(queries)?);
    let aligned = alignment.queries(&rows, &modalities)?;
    for (query, row) in queries.iter_mut().zip(aligned.iter()) {
        if let Some(embedding) = &mut query.embedding {
            embedding.aligned = Some(row.to_vec());
        }
    }
    Ok(())
}

/// The places of the queries without an embedding that `can` be given one.
fn lacking(queries: &[Query], can: impl Fn(&Query) -> bool) -> Vec<usize> {
    (0..queries.len()).filter(|&place| queries[place].embedding.is_none() && can(&queries[place])).collect()
}

/// Gives the queries at these places their embeddings.
fn embed(
    queries: &mut [Query],
    places: Vec<usize>,
    modality: Modality,
    rows: impl IntoIterator<Item = Vec<f32>>,
) {
    for (place, row) in places.into_iter().zip(rows) {
        queries[place] = std::mem::take(&mut queries[place]).with_embedding(modality, row);
    }
}
