//! The first half of every retriever: queries in, unit embeddings out.

use std::sync::Arc;

use super::Query;
use crate::data::photos::Photo;
use crate::encoder::clip_encoder::{ClipEncoder, MirrorTta};
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::modality::Modality;

/// Embeds the queries of a retriever: with CLIP, or not at all where only ready-made embeddings exist.
#[derive(Clone)]
pub struct Embedder {
    encoder: Option<Arc<ClipEncoder>>,
    sides: MirrorTta,
    width: usize,
}

impl Embedder {
    /// Captions and photos are embedded by this encoder, in `width` numbers each; without one, only queries that
    /// are embeddings already can be answered.
    pub fn new(encoder: Option<Arc<ClipEncoder>>, sides: MirrorTta, width: usize) -> Self {
        Self { encoder, sides, width }
    }

    /// The unit rows of the queries, and what each is made of.
    ///
    /// # Errors
    /// When a query cannot be embedded.
    pub fn embed(&self, queries: &[Query]) -> Result<(Matrix, Vec<Modality>)> {
        let mut rows = Vec::new();
        let mut modalities = Vec::with_capacity(queries.len());
        for query in queries {
            let (modality, row) = self.one(query)?;
            modalities.push(modality);
            rows.push(row);
        }
        if let Some(row) = rows.iter().find(|row| row.len() != self.width) {
            let (given, width) = (row.len(), self.width);
            return Err(Error::input(format!("a query of {given} numbers; embeddings here have {width}")));
        }
        Ok((Matrix::new(self.width, rows.concat()), modalities))
    }

    fn one(&self, query: &Query) -> Result<(Modality, Vec<f32>)> {
        let encoder = || {
            self.encoder.as_deref().ok_or_else(|| {
                Error::input(
                    "ready-made features cannot embed a new caption or photo; use encoder.kind = \"clip\"",
                )
            })
        };
        match query {
            Query::Embedding(modality, row) => Ok((*modality, row.clone())),
            Query::Caption(text) => {
                Ok((Modality::Caption, encoder()?.captions(&[text], &|_| ())?.row(0).to_vec()))
            }
            Query::Image(path) => {
                let row = encoder()?
                    .photos(&[Photo::File(path.clone())], self.sides, &|_| ())?
                    .pop()
                    .expect("invariant: one row a photo")?;
                Ok((Modality::Image, row))
            }
        }
    }
}
