//! What is searched for: a caption or a photo, with its embedding once it has one.
//!
//! A query is made once and then given to any retriever, which takes what it needs of it: words, pixels or
//! vectors. [`QueryEmbedder`](super::query_embedder::QueryEmbedder) adds the embedding. A retriever refuses a
//! query that lacks what it needs.

use std::path::PathBuf;

use crate::data::photos::Photo;
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::modality::Modality;

/// One query: a caption or a photo.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Query {
    /// The caption, for retrievers that read words.
    pub text: Option<String>,
    /// The photo, for retrievers that look at pixels.
    pub photo: Option<Photo>,
    /// The embedding of the caption or photo, for retrievers that compare vectors.
    pub embedding: Option<QueryEmbedding>,
}

/// A caption or a photo as a vector.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryEmbedding {
    /// What was embedded.
    pub modality: Modality,
    /// The unit row that the encoder gives.
    pub row: Vec<f32>,
    /// The same after the alignment of the index: a unit row in the space of the docids.
    pub aligned: Option<Vec<f32>>,
}

impl Query {
    /// A query by a caption.
    pub fn caption(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..Self::default() }
    }

    /// A query by a photo that the user names: a file, or a pipe.
    pub fn photo(path: impl Into<PathBuf>) -> Self {
        Self { photo: Some(Photo::Given(path.into())), ..Self::default() }
    }

    /// A query by a vector alone.
    pub fn embedded(modality: Modality, row: Vec<f32>) -> Self {
        Self::default().with_embedding(modality, row)
    }

    /// The same query with the unit row of its caption or photo.
    pub fn with_embedding(self, modality: Modality, row: Vec<f32>) -> Self {
        Self { embedding: Some(QueryEmbedding { modality, row, aligned: None }), ..self }
    }
}

/// The encoder's rows of all queries, (queries, width).
///
/// # Errors
/// When a query has no embedding, or one of another width.
pub fn rows(queries: &[Query], width: usize) -> Result<Matrix> {
    stacked(queries, width, |embedding| Some(&embedding.row))
}

/// The aligned rows of all queries, (queries, width).
///
/// # Errors
/// When a query has no aligned embedding, or one of another width.
pub fn aligned_rows(queries: &[Query], width: usize) -> Result<Matrix> {
    stacked(queries, width, |embedding| embedding.aligned.as_ref())
}

/// What each query is: a caption or a photo.
///
/// # Errors
/// When a query has no embedding.
pub fn modalities(queries: &[Query]) -> Result<Vec<Modality>> {
    queries.iter().map(|query| Ok(embedding(query)?.modality)).collect()
}

fn stacked(
    queries: &[Query],
    width: usize,
    part: impl Fn(&QueryEmbedding) -> Option<&Vec<f32>>,
) -> Result<Matrix> {
    let mut numbers = Vec::with_capacity(queries.len() * width);
    for query in queries {
        let row = part(embedding(query)?).ok_or_else(not_embedded)?;
        check_width(row, width)?;
        numbers.extend_from_slice(row);
    }
    Ok(Matrix::new(width, numbers))
}

/// Refuses an embedding that is not `width` numbers.
pub(super) fn check_width(row: &[f32], width: usize) -> Result<()> {
    if row.len() == width {
        return Ok(());
    }
    Err(Error::input(format!("a query of {} numbers; embeddings here have {width}", row.len())))
}

fn embedding(query: &Query) -> Result<&QueryEmbedding> {
    query.embedding.as_ref().ok_or_else(not_embedded)
}

fn not_embedded() -> Error {
    Error::input("a query has no embedding yet: complete queries with RetrieverFactory::complete first")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_without_what_is_needed_is_refused() {
        let embedded = Query::embedded(Modality::Image, vec![0.6, 0.8]);
        assert_eq!(rows(std::slice::from_ref(&embedded), 2).unwrap().data(), [0.6, 0.8]);
        assert_eq!(rows(&[], 2).unwrap().rows(), 0);
        let refusal = |found: Result<Matrix>| found.unwrap_err().to_string();
        assert!(refusal(rows(&[Query::caption("a dog")], 2)).contains("no embedding yet"));
        assert!(refusal(aligned_rows(std::slice::from_ref(&embedded), 2)).contains("no embedding yet"));
        assert!(refusal(rows(&[embedded], 3)).contains("a query of 2 numbers; embeddings here have 3"));
    }
}
