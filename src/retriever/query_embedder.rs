//! The first step of every retriever: queries in, unit embeddings out.

use std::sync::Arc;

use super::Query;
use crate::data::photos::Photo;
use crate::encoder::{DualEncoder, MirrorTta, PhotoView};
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::modality::Modality;

/// Embeds the queries of a retriever.
#[derive(Clone)]
pub struct Embedder {
    encoder: Arc<dyn DualEncoder>,
    mirror: MirrorTta,
}

impl Embedder {
    /// Captions and photos are embedded by this encoder.
    pub fn new(encoder: Arc<dyn DualEncoder>, mirror: MirrorTta) -> Self {
        Self { encoder, mirror }
    }

    /// The unit rows (query, width) of the queries, and the modality of each.
    ///
    /// # Errors
    /// When a query cannot be embedded: a blank caption, an unreadable photo, an embedding of another width.
    pub fn embed(&self, queries: &[Query]) -> Result<(Matrix, Vec<Modality>)> {
        let mut rows = Vec::with_capacity(queries.len());
        let mut modalities = Vec::with_capacity(queries.len());
        for query in queries {
            let (modality, row) = self.one(query)?;
            modalities.push(modality);
            rows.push(row);
        }
        let width = self.encoder.width();
        if let Some(row) = rows.iter().find(|row| row.len() != width) {
            let given = row.len();
            return Err(Error::input(format!("a query of {given} numbers; embeddings here have {width}")));
        }
        Ok((Matrix::new(width, rows.concat()), modalities))
    }

    fn one(&self, query: &Query) -> Result<(Modality, Vec<f32>)> {
        match query {
            Query::Embedding(modality, row) => Ok((*modality, row.clone())),
            Query::Caption(text) => {
                Ok((Modality::Caption, self.encoder.texts(&[text], &|_| ())?.row(0).to_vec()))
            }
            Query::Image(path) => {
                let view = PhotoView::with_mirror(self.mirror);
                let rows = self.encoder.photos(&[Photo::File(path.clone())], view, &|_| ())?;
                let row = rows.into_iter().next().expect("invariant: one row for each photo")?;
                Ok((Modality::Image, row))
            }
        }
    }
}
