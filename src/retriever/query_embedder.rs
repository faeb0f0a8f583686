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
    /// An embedder by this encoder and alignment; `mirror` says whether photos are embedded with their mirror
    /// image.
    pub fn new(encoder: Arc<dyn DualEncoder>, mirror: MirrorTta, alignment: Arc<Alignment>) -> Self {
        Self { encoder, mirror, alignment }
    }

    /// Adds the embeddings that queries lack and aligns all of them.
    ///
    /// The encoder embeds each query by a call of its own, because the last bits of a row depend on the batch it
    /// is computed in. The queries are aligned together, which may change the last bit of an aligned row.
    ///
    /// # Errors
    /// When a query cannot be embedded: an empty caption, a photo that cannot be read, nothing at all; or its
    /// embedding is of another width.
    pub fn complete(&self, queries: Vec<Query>) -> Result<Vec<Query>> {
        let mut queries = queries.into_iter().map(|query| self.embed(query)).collect::<Result<Vec<_>>>()?;
        align(&mut queries, self.encoder.width(), &self.alignment)?;
        Ok(queries)
    }

    /// The query with an embedding of its caption, or else of its photo, if it has none yet.
    fn embed(&self, query: Query) -> Result<Query> {
        if query.embedding.is_some() {
            return Ok(query);
        }
        if let Some(text) = &query.text {
            self.encoder.report_cut_captions(&[text])?;
            let row = self.encoder.texts(&[text], &|_| ())?.row(0).to_vec();
            return Ok(query.with_embedding(Modality::Caption, row));
        }
        if let Some(photo) = &query.photo {
            let row = self.embed_photo(photo)?;
            return Ok(query.with_embedding(Modality::Image, row));
        }
        Ok(query)
    }

    fn embed_photo(&self, photo: &Photo) -> Result<Vec<f32>> {
        let view = PhotoView::with_mirror(self.mirror);
        let rows = self.encoder.photos(std::slice::from_ref(photo), view, &|_| ())?;
        rows.into_iter().next().expect("invariant: one row for each photo")
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
