//! The joint model: a decoder, grounded in the codebooks or not, that scores docids for queries.

use candle_core::{D, Device, Tensor};

use super::decoder::{Cache, Decoder, Memory, Shape};
use super::grounding::{Books, Grounding};
use super::lookahead::Outlook;
use super::modality::Modality;
use crate::docid::rq::Codebooks;
use crate::docid::{Docid, DocidSet};
use crate::error::Result;
use crate::ids::ImageIdx;
use crate::matrix::{Matrix, dot};
use crate::nn::dropout::Dropout;
use crate::nn::params::Scope;
use crate::nn::tensors;

/// What a step contributes to the score of a docid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scoring {
    /// The plain logit. Normalised, if at all, over whole prefixes by the loss: what the listwise loss trains.
    Logit,
    /// Its log-probability among all codes of the level: what cross-entropy trains (classical DSI). A wrong node
    /// with few likely children looks certain then, and no later step can undo it (label bias).
    LogProbability,
}

/// The joint model.
#[derive(Debug, Clone)]
pub struct Dsi {
    decoder: Decoder,
    grounding: Option<Grounding>,
    scoring: Scoring,
}

/// Queries ready to be scored: embeddings and what they are made of.
#[derive(Debug, Clone)]
pub struct Queries {
    /// (queries, width), unit rows, aligned.
    embeddings: Tensor,
    /// [`Modality::row`] of each: (queries), u32.
    modalities: Tensor,
}

impl Queries {
    /// Unit rows and one modality each.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn new(embeddings: &Matrix, modalities: &[Modality], device: &Device) -> Result<Self> {
        let rows: Vec<u32> = modalities.iter().map(|m| m.row() as u32).collect();
        Ok(Self {
            embeddings: tensors::from_matrix(embeddings, device)?,
            modalities: Tensor::from_vec(rows, modalities.len(), device)?,
        })
    }

    /// Number of queries.
    pub fn count(&self) -> usize {
        self.modalities.elem_count()
    }
}

/// Equally many candidate docids for each query.
#[derive(Debug, Clone)]
pub struct Candidates {
    /// (queries, candidates, levels), u32.
    codes: Tensor,
    /// −2⟨x̂_{<l}, e_l⟩ − ‖e_l‖² of every code: what grounded logits need beside the query. Zero at levels without
    /// a codebook. (queries, candidates, levels)
    offsets: Tensor,
}

/// The docids of a corpus with their offsets: where candidates are taken from.
#[derive(Debug, Clone)]
pub struct Catalogue {
    docids: DocidSet,
    /// (images, levels)
    offsets: Matrix,
}

impl Catalogue {
    /// The docids of a corpus, and the codebooks that made them where there are any.
    pub fn new(docids: DocidSet, codebooks: Option<&Codebooks>) -> Self {
        let levels = docids.levels();
        let mut offsets = Matrix::zeros(docids.images(), levels);
        if let Some(codebooks) = codebooks {
            docids
                .iter()
                .enumerate()
                .for_each(|(row, docid)| fill_offsets(docid, codebooks, offsets.row_mut(row)));
        }
        Self { docids, offsets }
    }

    /// The docids.
    pub fn docids(&self) -> &DocidSet {
        &self.docids
    }

    /// −2⟨x̂_{<l}, e_l⟩ − ‖e_l‖² of an image's codes, one a level; zero at levels without a codebook.
    pub fn offsets(&self, image: ImageIdx) -> &[f32] {
        self.offsets.row(image.row())
    }

    /// The candidates of several queries, as rows of the corpus: all equally many.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn candidates(&self, images: &[Vec<usize>], device: &Device) -> Result<Candidates> {
        let shape = (images.len(), images.first().map_or(0, Vec::len), self.docids.levels());
        let rows = || images.iter().flatten();
        let codes: Vec<u32> = rows().flat_map(|&row| self.docids.get(row.into()).codes()).copied().collect();
        let offsets: Vec<f32> = rows().flat_map(|&row| self.offsets.row(row)).copied().collect();
        Ok(Candidates {
            codes: Tensor::from_vec(codes, shape, device)?,
            offsets: Tensor::from_vec(offsets, shape, device)?,
        })
    }
}

fn fill_offsets(docid: &Docid, codebooks: &Codebooks, offsets: &mut [f32]) {
    let mut reconstruction = vec![0.0f32; codebooks.width()];
    for ((book, &code), offset) in codebooks.levels().iter().zip(docid.codes()).zip(offsets) {
        let entry = book.row(code as usize);
        *offset = -2.0 * dot(&reconstruction, entry) - dot(entry, entry);
        reconstruction.iter_mut().zip(entry).for_each(|(x, e)| *x += e);
    }
}

/// A batch of queries in the middle of decoding.
pub struct Decoding {
    memory: Memory,
    cache: Cache,
    /// Residuals Wq − x̂ of every row, where the model is grounded.
    mapped: Option<Tensor>,
    /// Residuals q − x̂ under the unmapped query, for the geometric term of the search.
    plain: Tensor,
    level: usize,
}

impl Dsi {
    /// A model whose decoder is grounded in `books`, where given, at this temperature.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn new(
        scope: &Scope,
        shape: Shape,
        grounding: Option<(Books, f64)>,
        scoring: Scoring,
    ) -> Result<Self> {
        let width = shape.query;
        let ground =
            |(books, temperature)| Grounding::new(&scope.sub("grounding"), books, width, temperature);
        let grounding = grounding.map(ground).transpose()?;
        Ok(Self { decoder: Decoder::new(&scope.sub("decoder"), shape)?, grounding, scoring })
    }

    /// What a step contributes to a score.
    pub fn scoring(&self) -> Scoring {
        self.scoring
    }

    /// Scores of each level of each candidate: (queries, candidates, levels).
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn step_scores(
        &self,
        queries: &Queries,
        candidates: &Candidates,
        dropout: &mut Dropout,
    ) -> Result<Tensor> {
        let (count, per_query, levels) = candidates.codes.dims3()?;
        let memory = self.decoder.memory(&queries.embeddings, &queries.modalities)?;
        let states = self.decoder.forward(&memory, &candidates.codes, dropout)?; // (rows, levels, d)
        let mapped = self.grounding.as_ref().map(|g| g.map(&queries.embeddings)).transpose()?;
        let mut scores = Vec::with_capacity(levels);
        for level in 0..levels {
            let states = states.narrow(1, level, 1)?.squeeze(1)?.contiguous()?; // (rows, d)
            let codes = candidates.codes.narrow(2, level, 1)?.squeeze(2)?.contiguous()?; // (queries, candidates)
            let score = match self.scoring {
                Scoring::Logit => {
                    let own = self
                        .decoder
                        .chosen(level, &states, &codes.flatten_all()?)?
                        .reshape((count, per_query))?;
                    match (&self.grounding, &mapped) {
                        (Some(grounding), Some(mapped)) if level < grounding.books().levels() => {
                            let offsets = candidates.offsets.narrow(2, level, 1)?.squeeze(2)?.contiguous()?;
                            (own + grounding.chosen(level, mapped, &codes, &offsets)?)?
                        }
                        _ => own,
                    }
                }
                Scoring::LogProbability => {
                    let residuals = self.residuals(mapped.as_ref(), candidates, level)?;
                    let logits = self.logits(level, &states, residuals.as_ref())?;
                    let log_p = candle_nn::ops::log_softmax(&logits, D::Minus1)?;
                    log_p.gather(&codes.reshape((count * per_query, 1))?, 1)?.reshape((count, per_query))?
                }
            };
            scores.push(score);
        }
        Ok(Tensor::stack(&scores, 2)?)
    }

    /// Wq − x̂_{<l} of every candidate: (queries · candidates, width), where level `level` is grounded.
    fn residuals(
        &self,
        mapped: Option<&Tensor>,
        candidates: &Candidates,
        level: usize,
    ) -> Result<Option<Tensor>> {
        let (Some(grounding), Some(mapped)) = (&self.grounding, mapped) else { return Ok(None) };
        let (count, per_query, _) = candidates.codes.dims3()?;
        let width = mapped.dim(1)?;
        let repeated = mapped.unsqueeze(1)?.broadcast_as((count, per_query, width))?;
        let mut residuals = repeated.contiguous()?.reshape((count * per_query, width))?;
        for before in 0..level.min(grounding.books().levels()) {
            let codes = candidates.codes.narrow(2, before, 1)?.contiguous()?.flatten_all()?;
            residuals = grounding.books().subtract(before, &residuals, &codes)?;
        }
        Ok(Some(residuals))
    }

    /// Logits of all codes of a level: the decoder's, on top of the grounded ones where there are any.
    fn logits(&self, level: usize, states: &Tensor, residuals: Option<&Tensor>) -> Result<Tensor> {
        let own = self.decoder.logits(level, states)?;
        match (&self.grounding, residuals) {
            (Some(grounding), Some(residuals)) if level < grounding.books().levels() => {
                Ok((own + grounding.logits(level, residuals)?)?)
            }
            _ => Ok(own),
        }
    }

    /// Begins to decode for a batch of queries, one row each.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn begin(&self, queries: &Queries) -> Result<Decoding> {
        Ok(Decoding {
            memory: self.decoder.memory(&queries.embeddings, &queries.modalities)?,
            cache: Cache::default(),
            mapped: self.grounding.as_ref().map(|g| g.map(&queries.embeddings)).transpose()?,
            plain: queries.embeddings.clone(),
            level: 0,
        })
    }

    /// Scores of every code of the next level for every row, (rows, codes): the model's own, plus `weight` times
    /// the geometry of the codebook where `books` are given and reach this level.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn next(
        &self,
        decoding: &mut Decoding,
        codes: Option<&Tensor>,
        geometry: Option<(&Books, f64)>,
    ) -> Result<Tensor> {
        let level = decoding.level;
        let states = self.decoder.step(level, codes, &decoding.memory, &mut decoding.cache)?;
        let logits = self.logits(level, &states, decoding.mapped.as_ref())?;
        let scores = match self.scoring {
            Scoring::Logit => logits,
            Scoring::LogProbability => candle_nn::ops::log_softmax(&logits, D::Minus1)?,
        };
        decoding.level += 1;
        match geometry {
            Some((books, weight)) if level < books.levels() => {
                Ok((scores + (books.geometry(level, &decoding.plain)? * weight)?)?)
            }
            _ => Ok(scores),
        }
    }

    /// What the geometry in the step scores, grounded logits and `geometry` together, makes of every code for each
    /// query; none where there is no such geometry, or where a step is normalised.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn outlook(&self, queries: &Queries, geometry: Option<(&Books, f64)>) -> Result<Option<Outlook>> {
        let Some(grounding) = self.grounding.as_ref().filter(|_| self.scoring == Scoring::Logit) else {
            return Ok(None);
        };
        let mapped = grounding.map(&queries.embeddings)?;
        let mut outlook =
            Outlook { queries: queries.count(), products: Vec::new(), weights: grounding.alphas()? };
        for level in 0..grounding.books().levels() {
            let mut products =
                (grounding.books().products(level, &mapped)? * f64::from(outlook.weights[level]))?;
            if let Some((books, weight)) = geometry {
                products = (products + (books.products(level, &queries.embeddings)? * weight)?)?;
                outlook.weights[level] += weight as f32;
            }
            outlook.products.push(products.flatten_all()?.to_vec1()?);
        }
        Ok(Some(outlook))
    }

    /// Goes on with the rows `parents` (in their new order), to which `codes` of the level just scored were added.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn advance(
        &self,
        decoding: &mut Decoding,
        parents: &Tensor,
        codes: &Tensor,
        books: Option<&Books>,
    ) -> Result<()> {
        let level = decoding.level - 1;
        decoding.cache = decoding.cache.reordered(parents)?;
        if let (Some(grounding), Some(mapped)) = (&self.grounding, &decoding.mapped) {
            decoding.mapped = Some(taken_off(grounding.books(), level, mapped, parents, codes)?);
        }
        if let Some(books) = books {
            decoding.plain = taken_off(books, level, &decoding.plain, parents, codes)?;
        }
        Ok(())
    }

    /// Where this model's tensors live.
    pub fn device(&self) -> &Device {
        self.decoder.device()
    }
}

fn taken_off(
    books: &Books,
    level: usize,
    residuals: &Tensor,
    parents: &Tensor,
    codes: &Tensor,
) -> Result<Tensor> {
    let kept = residuals.index_select(parents, 0)?;
    if level < books.levels() { books.subtract(level, &kept, codes) } else { Ok(kept) }
}
