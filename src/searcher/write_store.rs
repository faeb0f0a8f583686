//! From the parts of a run to its search store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Tensor;

use super::encoder_ref::EncoderRef;
use super::score;
use super::stored_model::{DocidScore, ModelFile, ModelShape, SearchDefaults, StoredModel, StoredNumbers};
use crate::data::photos::{Photo, PhotoHash};
use crate::docid::Code;
use crate::docid::rq::Codebooks;
use crate::encoder::embedded_corpus::EmbeddedCorpus;
use crate::error::Result;
use crate::matrix::{Matrix, dot};
use crate::modality::Modality;
use crate::model::build_model::Model;
use crate::model::candidate_table::fill_offsets;
use crate::model::generative_model::{GenerativeModel, Queries};
use crate::model::index_folder::DocidIndex;
use crate::run_folder::RunFolder;
use crate::store::generation::{FileRef, Generation, SegmentRef};
use crate::store::rows::RowKind;
use crate::store::segment::ShortHash;
use crate::store::write_segment::NewSegment;

/// The parts of a run that its store is made of.
pub struct RunParts<'a> {
    /// Corpus and embeddings.
    pub prepared: &'a EmbeddedCorpus,
    /// The docids.
    pub index: &'a DocidIndex,
    /// The trained model with its settings, if it is trained.
    pub trained: Option<(&'a Model, ModelShape)>,
    /// Where the encoder is found again.
    pub encoder: EncoderRef,
    /// What a search does by default.
    pub search: SearchDefaults,
    /// Aligned rows of all images.
    pub images: Matrix,
    /// What each image gets on top of its score; empty: nothing.
    pub bonus: Vec<f32>,
    /// How embeddings are kept for re-ranking.
    pub rows: RowKind,
}

impl RunParts<'_> {
    /// Whether such a run can be searched: it is trained, or its docids have codebooks.
    pub fn can_be_searched(&self) -> bool {
        self.trained.is_some() || self.index.codebooks.is_some()
    }

    /// Writes the store of the run and makes it the one that is searched.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(self, run: &RunFolder) -> Result<()> {
        let score = match &self.trained {
            Some((_, shape)) => DocidScore::Model(shape.clone()),
            None => DocidScore::Cosine,
        };
        let (index, decoder) = (self.index, self.decoder());
        let (encoder, search) = (self.encoder.clone(), self.search.clone());
        let file = ModelFile::new(encoder, &index.into(), index.meta.adapter, score, search);
        let numbers =
            StoredNumbers { align: &index.align, codebooks: index.codebooks.as_ref(), basis: None, decoder };
        write_first(&run.search(), &file, numbers, &self.segment()?)
    }

    fn decoder(&self) -> BTreeMap<String, Tensor> {
        let named = self.trained.iter().flat_map(|(model, _)| model.params.iter());
        named.map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect()
    }

    fn segment(self) -> Result<OwnedSegment> {
        let (corpus, index) = (&self.prepared.corpus, self.index);
        let all = index.docids.iter().chain(index.seconds.iter().map(|extra| &extra.docid));
        let codes: Vec<Code> = all.flat_map(|docid| docid.codes().to_vec()).collect();
        let extra = index.seconds.iter().map(|extra| extra.image.row());
        let owners: Vec<usize> = (0..corpus.len()).chain(extra).collect();
        let trained = self.trained.as_ref().map(|(model, _)| &*model.generative);
        let geometry = self.trained.as_ref().map_or(0.0, |(_, shape)| shape.geometry);
        let (books, width) = (index.codebooks.as_ref(), self.prepared.embeddings.images.width());
        let by_beam = self.trained.as_ref().is_some_and(|(_, shape)| shape.needs_beam());
        let (mut constants, scales) = if by_beam {
            // A beam adds the geometry step by step.
            (vec![0.0; owners.len()], Vec::new())
        } else {
            constants(trained, geometry, books, &codes, index.docids.codes_per_level(), width)?
        };
        for (constant, &owner) in constants.iter_mut().zip(&owners) {
            *constant += self.bonus.get(owner).copied().unwrap_or(0.0);
        }
        let photos: Vec<Option<PathBuf>> =
            corpus.images().map(|image| corpus.photo(image).map(Photo::path)).collect();
        Ok(OwnedSegment {
            codes_per_level: index.docids.codes_per_level().to_vec(),
            codes,
            owners,
            constants,
            scales,
            bonuses: self.bonus,
            names: corpus.images().map(|image| corpus.id(image).to_owned()).collect(),
            files: photos
                .into_iter()
                .map(|path| path.map(|p| std::path::absolute(&p).unwrap_or(p)))
                .collect(),
            folder: None,
            hashes: short_hashes(&self.prepared.photos),
            rows: (self.images, self.rows),
        })
    }
}

/// Writes a store of one segment and makes it the one that is searched.
///
/// # Errors
/// When the disk refuses.
pub fn write_first(
    folder: &Path,
    file: &ModelFile,
    numbers: StoredNumbers,
    segment: &OwnedSegment,
) -> Result<()> {
    // A damaged store is replaced like any other.
    let number = Generation::read(folder).ok().flatten().map_or(1, |current| current.number + 1);
    let (model, vectors) = file.write(folder, number, numbers)?;
    let file = segment.write(folder, format!("segment-{number}-0.bin"))?;
    Generation::new(number, model, vectors, vec![SegmentRef { file, removed: None }]).publish(folder)
}

/// The constants and scales of docids by a store's model: the part of their score that no query changes.
///
/// # Errors
/// When the device fails.
pub fn constants_of(model: &StoredModel, codes: &[Code]) -> Result<(Vec<f32>, Vec<f32>)> {
    let geometry = if let DocidScore::Model(shape) = &model.file.score { shape.geometry } else { 0.0 };
    constants(
        model.trained.as_ref(),
        geometry,
        model.codebooks.as_ref(),
        codes,
        &model.file.codes_per_level,
        model.file.width,
    )
}

/// The same by the parts of a model.
///
/// # Errors
/// When the device fails.
pub fn constants(
    trained: Option<&GenerativeModel>,
    geometry: f64,
    books: Option<&Codebooks>,
    codes: &[Code],
    codes_per_level: &[usize],
    width: usize,
) -> Result<(Vec<f32>, Vec<f32>)> {
    let levels = codes_per_level.len();
    let nothing = || (vec![0.0; codes.len() / levels], Vec::new());
    let Some(model) = trained else {
        return Ok(books.map_or_else(nothing, |books| cosine_constants(books, codes, levels)));
    };
    let zero = Queries::new(&Matrix::zeros(1, width), &[Modality::Caption], model.device())?;
    match (score::known_terms(model, &zero, books, geometry)?, books) {
        (Some(terms), Some(books)) => {
            Ok((grounded_constants(books, codes, levels, &terms.weights), Vec::new()))
        }
        _ => Ok(nothing()),
    }
}

/// Σ_l w_l(−2⟨x̂_{<l}, e_l⟩ − ‖e_l‖²) of every docid: the part of its grounded score that no query changes.
fn grounded_constants(books: &Codebooks, codes: &[Code], levels: usize, weights: &[f32]) -> Vec<f32> {
    let mut offsets = vec![0.0; levels];
    let constant = |codes: &[Code]| {
        offsets.fill(0.0);
        fill_offsets(codes, books, &mut offsets);
        offsets.iter().zip(weights).map(|(offset, weight)| offset * weight).sum()
    };
    codes.chunks(levels).map(constant).collect()
}

/// Zeros, and 1/‖x̂‖ of every docid: with them a sum of products is a cosine.
pub fn cosine_constants(books: &Codebooks, codes: &[Code], levels: usize) -> (Vec<f32>, Vec<f32>) {
    let scale = |codes: &[Code]| {
        let x = books.reconstruct(codes);
        1.0 / dot(&x, &x).sqrt().max(1e-6)
    };
    let scales: Vec<f32> = codes.chunks(levels).map(scale).collect();
    (vec![0.0; scales.len()], scales)
}

/// The hashes of photos as a store keeps them; none if a photo has none.
pub fn short_hashes(hashes: &[Option<PhotoHash>]) -> Vec<ShortHash> {
    hashes.iter().map(|hash| hash.as_ref().map(short_hash)).collect::<Option<_>>().unwrap_or_default()
}

/// The start of a photo's hash.
pub fn short_hash(hash: &PhotoHash) -> ShortHash {
    std::array::from_fn(|byte| hash[byte])
}

/// The content of a segment.
pub struct OwnedSegment {
    /// Number of codes at each level.
    pub codes_per_level: Vec<usize>,
    /// (docids, levels)
    pub codes: Vec<Code>,
    /// The image of each docid.
    pub owners: Vec<usize>,
    /// What each docid adds to its look-ups.
    pub constants: Vec<f32>,
    /// The factor of each docid's look-ups; empty: 1.
    pub scales: Vec<f32>,
    /// What the constants hold for each image on top of its docid's own; empty: nothing.
    pub bonuses: Vec<f32>,
    /// The names of the images.
    pub names: Vec<String>,
    /// Their files; empty: the name in `folder`.
    pub files: Vec<Option<PathBuf>>,
    /// The folder of the photos.
    pub folder: Option<PathBuf>,
    /// The hashes of the photos; empty: not kept.
    pub hashes: Vec<ShortHash>,
    /// Aligned rows of the images, and how to keep them.
    pub rows: (Matrix, RowKind),
}

impl OwnedSegment {
    /// Writes it; see [`NewSegment::write`].
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, folder: &Path, name: String) -> Result<FileRef> {
        let new = NewSegment {
            codes_per_level: &self.codes_per_level,
            codes: &self.codes,
            owners: &self.owners,
            constants: &self.constants,
            scales: &self.scales,
            bonuses: &self.bonuses,
            names: &self.names,
            files: &self.files,
            folder: self.folder.clone(),
            hashes: &self.hashes,
            rows: (self.rows.1 != RowKind::None).then_some((&self.rows.0, self.rows.1)),
        };
        new.write(folder, name)
    }
}
