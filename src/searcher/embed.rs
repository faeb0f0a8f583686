//! From queries to aligned embeddings.

use std::io::Write as _;
use std::sync::{Arc, OnceLock};

use super::Store;
use super::encoder_ref::EncoderRef;
use super::query::{Part, Query};
use super::stored_model::StoredModel;
use crate::data::photos::Photo;
use crate::encoder::{DualEncoder, MirrorTta, PhotoView};
use crate::error::{Error, Result};
use crate::matrix::{Matrix, dot};
use crate::modality::Modality;
use crate::progress::Progress;
use crate::run_folder::RunFolder;

/// The shortest vector that has a direction.
const SHORTEST: f32 = 1e-20;

/// A query in the space of the codebooks.
#[derive(Debug, Clone, PartialEq)]
pub struct AlignedQuery {
    /// A unit row.
    pub row: Vec<f32>,
    /// What the decoder takes it for.
    pub modality: Modality,
}

/// Embeds queries, with an encoder that is opened when one needs it.
pub struct Embedder {
    run: RunFolder,
    source: EncoderRef,
    mirror: MirrorTta,
    encoder: OnceLock<Arc<dyn DualEncoder>>,
}

impl Embedder {
    /// The embedder of a store in a run folder.
    pub fn new(run: &RunFolder, model: &StoredModel) -> Self {
        Self {
            run: run.clone(),
            source: model.file.encoder.clone(),
            mirror: MirrorTta::of_queries(model.file.search.mirrored),
            encoder: OnceLock::new(),
        }
    }

    /// The same with the encoder in another folder.
    pub fn with_encoder_in(&self, folder: &str) -> Self {
        Self {
            run: self.run.clone(),
            source: self.source.clone().moved_to(folder),
            mirror: self.mirror,
            encoder: OnceLock::new(),
        }
    }

    fn encoder(&self) -> Result<&Arc<dyn DualEncoder>> {
        if let Some(encoder) = self.encoder.get() {
            return Ok(encoder);
        }
        let opened = self.source.open(&self.run, Progress::Hidden)?;
        Ok(self.encoder.get_or_init(|| opened))
    }

    /// The embeddings of a batch of queries; captions are encoded together.
    ///
    /// # Errors
    /// When a query has no meaning here, or its encoder fails.
    pub fn embed(&self, queries: &[Query], store: &Store, model: &StoredModel) -> Result<Vec<AlignedQuery>> {
        let parts = || queries.iter().flat_map(|query| &query.parts);
        let texts: Vec<&str> = parts().filter_map(|(_, part)| text_of(part)).collect();
        let mut texts = if texts.is_empty() {
            Vec::new().into_iter()
        } else {
            let encoder = self.encoder()?;
            encoder.report_cut_captions(&texts)?;
            let rows = encoder.texts(&texts, &|_| ())?;
            model
                .align
                .query(Modality::Caption, &rows)?
                .iter()
                .map(<[f32]>::to_vec)
                .collect::<Vec<_>>()
                .into_iter()
        };
        let mut aligned = Vec::with_capacity(queries.len());
        for query in queries {
            let mut rows = Vec::with_capacity(query.parts.len());
            for (weight, part) in &query.parts {
                let (row, modality) = match part {
                    Part::Text(_) => (texts.next().unwrap_or_default(), Modality::Caption),
                    other => self.part(other, store, model)?,
                };
                rows.push((*weight, row, modality));
            }
            aligned.push(sum(&rows)?);
        }
        Ok(aligned)
    }

    /// The aligned row of a part that is no caption.
    fn part(&self, part: &Part, store: &Store, model: &StoredModel) -> Result<(Vec<f32>, Modality)> {
        match part {
            Part::Text(_) => Err(Error::input("invariant: captions are embedded together")),
            Part::ImagePath(path) => self.photo(&Photo::Given(path.clone()), model),
            Part::ImageBytes(bytes) => {
                let mut file =
                    tempfile::NamedTempFile::new().map_err(Error::io("write", "a temporary file"))?;
                file.write_all(bytes).map_err(Error::io("write", file.path()))?;
                self.photo(&Photo::Given(file.path().to_owned()), model)
            }
            Part::Vector(numbers) => Ok((vector(numbers, model)?, Modality::Caption)),
            Part::Like(name) => like(name, store, model),
        }
    }

    fn photo(&self, photo: &Photo, model: &StoredModel) -> Result<(Vec<f32>, Modality)> {
        let view = PhotoView::with_mirror(self.mirror);
        let rows = self.encoder()?.photos(std::slice::from_ref(photo), view, &|_| ())?;
        let row = rows
            .into_iter()
            .next()
            .ok_or_else(|| Error::input("the encoder gave no row for the photo"))??;
        let row = model.align.query(Modality::Image, &Matrix::new(row.len(), row))?;
        Ok((row.row(0).to_vec(), Modality::Image))
    }
}

fn text_of(part: &Part) -> Option<&str> {
    if let Part::Text(text) = part { Some(text) } else { None }
}

/// A caller's embedding, aligned.
fn vector(numbers: &[f32], model: &StoredModel) -> Result<Vec<f32>> {
    let width = model.file.width;
    if numbers.len() != width {
        return Err(Error::input(format!(
            "the query vector has {} numbers; embeddings here have {width}",
            numbers.len()
        )));
    }
    let norm = dot(numbers, numbers);
    if !norm.is_finite() || norm <= SHORTEST {
        return Err(Error::input(
            "the query vector has no direction: its numbers are all zero, or not finite",
        ));
    }
    let row = Matrix::new(width, numbers.to_vec()).normalized();
    Ok(model.align.query(Modality::Caption, &row)?.row(0).to_vec())
}

/// The row of an image of the store, or what its codes stand for.
fn like(name: &str, store: &Store, model: &StoredModel) -> Result<(Vec<f32>, Modality)> {
    let place = store.find(name)?;
    let segment = store.segment(place.0);
    if let Some(row) = segment.row(place.1)? {
        return Ok((row, Modality::Image));
    }
    let books = model.codebooks.as_ref();
    let books =
        books.ok_or_else(|| Error::input("this store keeps no embeddings of its images (search.rows)"))?;
    let codes = segment.docid(store.docids_of(place)?.first().copied().unwrap_or_default())?;
    let mut row = vec![0.0; model.file.width];
    match &model.basis {
        None => row = books.reconstruct(&codes),
        Some(basis) => {
            for (x, direction) in books.reconstruct(&codes).into_iter().zip(basis.iter()) {
                row.iter_mut().zip(direction).for_each(|(row, d)| *row += x * d);
            }
        }
    }
    Ok((Matrix::new(row.len(), row).normalized().row(0).to_vec(), Modality::Image))
}

/// The weighted sum of some rows, of unit length.
fn sum(rows: &[(f32, Vec<f32>, Modality)]) -> Result<AlignedQuery> {
    let width = rows.first().map_or(0, |(_, row, _)| row.len());
    let mut total = vec![0.0; width];
    for (weight, row, _) in rows {
        total.iter_mut().zip(row).for_each(|(total, x)| *total += weight * x);
    }
    if let [(weight, row, modality)] = rows
        && *weight == 1.0
    {
        return Ok(AlignedQuery { row: row.clone(), modality: *modality });
    }
    if dot(&total, &total) <= 1e-6 {
        return Err(Error::input("the parts of the query cancel each other out"));
    }
    let all_photos = rows.iter().all(|(_, _, modality)| *modality == Modality::Image);
    let row = Matrix::new(width, total).normalized();
    let modality = if all_photos { Modality::Image } else { Modality::Caption };
    Ok(AlignedQuery { row: row.row(0).to_vec(), modality })
}
