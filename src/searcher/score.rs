//! What a docid scores: the look-up tables of queries, the decoder's part, and the exact cosine.

use candle_core::Device;

use super::Store;
use super::embed::AlignedQuery;
use super::photo_quantiser::projected;
use super::stored_model::{DocidScore, StoredModel};
use crate::docid::rq::Codebooks;
use crate::error::{Error, Result};
use crate::matrix::{Matrix, dot};
use crate::modality::Modality;
use crate::model::candidate_table::Candidates;
use crate::model::generative_model::{GenerativeModel, Queries};
use crate::model::grounded_logits::Books;
use crate::model::lookahead::LookaheadTerms;
use crate::store::scan::{Found, Tables};

/// Scores by look-up tables, for models whose score is such a sum.
pub struct TableScores<'a> {
    /// The model.
    pub model: &'a StoredModel,
    /// The docids.
    pub store: &'a Store,
}

/// The queries of a batch as the model takes them.
pub fn model_queries(queries: &[AlignedQuery]) -> Result<Queries> {
    let width = queries.first().map_or(0, |query| query.row.len());
    let rows = Matrix::new(width, queries.iter().flat_map(|query| query.row.clone()).collect());
    let modalities: Vec<Modality> = queries.iter().map(|query| query.modality).collect();
    Queries::new(&rows, &modalities, &Device::Cpu)
}

/// The codebooks and the weight of their geometry under the unmapped query, if it has one.
pub fn geometry(codebooks: Option<&Codebooks>, weight: f64) -> Result<Option<(Books, f64)>> {
    let books =
        codebooks.filter(|_| weight > 0.0).map(|books| Books::new(books, &Device::Cpu)).transpose()?;
    Ok(books.map(|books| (books, weight)))
}

/// What is known of every docid's score before decoding; `None` if the score is no sum of look-ups.
pub fn known_terms(
    model: &GenerativeModel,
    queries: &Queries,
    codebooks: Option<&Codebooks>,
    weight: f64,
) -> Result<Option<LookaheadTerms>> {
    let geometry = geometry(codebooks, weight)?;
    model.lookahead_terms(queries, geometry.as_ref().map(|(books, weight)| (books, *weight)))
}

impl TableScores<'_> {
    /// The look-up tables of each query.
    ///
    /// # Errors
    /// When the model has no such tables.
    pub fn tables(&self, queries: &[AlignedQuery]) -> Result<Vec<Tables>> {
        match (&self.model.file.score, &self.model.trained, &self.model.codebooks) {
            (DocidScore::Model(shape), Some(model), books) => {
                let terms = known_terms(model, &model_queries(queries)?, books.as_ref(), shape.geometry)?;
                let terms = terms.ok_or_else(|| Error::input("this model has no look-up tables"))?;
                Ok((0..queries.len())
                    .map(|query| tables_of(&terms, query, &self.model.file.codes_per_level))
                    .collect())
            }
            (_, _, Some(books)) => {
                let width = self.model.file.width;
                let rows = Matrix::new(width, queries.iter().flat_map(|query| query.row.clone()).collect());
                let rows = projected(self.model.basis.as_ref(), &rows);
                let levels = &self.model.file.codes_per_level;
                Ok(rows.iter().map(|query| cosine_tables(books, query, levels)).collect())
            }
            _ => Err(Error::input("this store has neither codebooks nor a model; make it again")),
        }
    }

    /// Adds the decoder's part δ to docids of a query, if there is a decoder.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn with_decoder(&self, query: &AlignedQuery, mut found: Vec<Found>) -> Result<Vec<Found>> {
        let Some(model) = self.model.trained.as_ref().filter(|_| !found.is_empty()) else { return Ok(found) };
        let codes = found.iter().map(|f| self.store.segment(f.segment).docid(f.docid));
        let codes: Vec<Vec<u32>> = codes.collect::<Result<_>>()?;
        let candidates = Candidates::of_codes(&[codes], None, &Device::Cpu)?;
        let queries = model_queries(std::slice::from_ref(query))?;
        let decoded = model.decoder_scores(&queries, &candidates)?.to_vec2::<f32>()?;
        found.iter_mut().zip(&decoded[0]).for_each(|(found, delta)| found.score += delta);
        Ok(found)
    }
}

/// The tables of one query: what each code adds, zero at levels without a known part.
fn tables_of(terms: &LookaheadTerms, query: usize, codes_per_level: &[usize]) -> Tables {
    let table = |(level, &codes): (usize, &usize)| match terms.products.get(level) {
        Some(products) => products[query * codes..(query + 1) * codes].to_vec(),
        None => vec![0.0; codes],
    };
    Tables::new(codes_per_level.iter().enumerate().map(table).collect())
}

/// ⟨q, e⟩ for every code, zero at a level without a codebook.
fn cosine_tables(books: &Codebooks, query: &[f32], codes_per_level: &[usize]) -> Tables {
    let table = |(level, &codes): (usize, &usize)| match books.levels().get(level) {
        Some(book) => book.iter().map(|e| dot(query, e)).collect(),
        None => vec![0.0; codes],
    };
    Tables::new(codes_per_level.iter().enumerate().map(table).collect())
}

/// The exact cosine on the scale of a docid's score.
pub fn exact(model: &StoredModel, query: &AlignedQuery, row: &[f32]) -> f32 {
    let cosine = dot(&query.row, row);
    match &model.file.score {
        DocidScore::Cosine => cosine,
        DocidScore::Model(shape) => cosine / shape.temperature as f32,
    }
}
