//! How a store embeds and scores queries: `model-N.json`, and its numbers in `vectors-N.safetensors`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::encoder_ref::EncoderRef;
use crate::docid::MAX_CODES;
use crate::docid::rq::Codebooks;
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::model::alignment::Alignment;
use crate::model::build_model::{DocidSpace, Model};
use crate::model::generative_model::{GenerativeModel, Scoring};
use crate::model::index_vectors;
use crate::model::settings;
use crate::nn::tensors;
use crate::store::generation::FileRef;

const VERSION: u32 = 2;
/// Bytes of the largest description, and of the largest file of numbers.
const LARGEST: u64 = 1 << 24;
const LARGEST_VECTORS: u64 = 1 << 34;
/// Prefix of the names of the decoder's tensors.
const DECODER: &str = "decoder.";
const BASIS: &str = "basis";

/// What gives a docid its score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocidScore {
    /// The cosine of query and reconstruction, ⟨q, x̂⟩/‖x̂‖: codebooks alone, nothing trained.
    Cosine,
    /// A trained model.
    Model(ModelShape),
}

/// The trained model's settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelShape {
    /// Width of the decoder.
    pub width: usize,
    /// Its blocks.
    pub layers: usize,
    /// Its attention heads.
    pub heads: usize,
    /// Its memory vectors.
    pub memory: usize,
    /// Whether logits start from the geometry of the codebooks.
    pub grounded: bool,
    /// Whether it has a plan-ahead head.
    pub plan: bool,
    /// τ of grounded logits and of the exact cosine.
    pub temperature: f64,
    /// Whether steps are normalised.
    pub scoring: Scoring,
    /// Weight of the geometry under the unmapped query, in nats.
    pub geometry: f64,
    /// The doubt at which a level of a beam search is a wildcard.
    pub wildcard: f32,
}

/// What a search does if the caller says nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchDefaults {
    /// Images to return.
    pub k: usize,
    /// Docids that the decoder scores, and that are re-ranked.
    pub candidates: usize,
    /// First codes whose docids are scored; 0: all.
    pub probes: usize,
    /// Whether the exact cosine takes part in the final score.
    pub rerank: bool,
    /// Its share, 0 to 1.
    pub rerank_weight: f32,
    /// Whether a photo query is embedded with its mirror image.
    pub mirrored: bool,
}

/// `model-N.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelFile {
    version: u32,
    /// What embeds captions and photos.
    pub encoder: EncoderRef,
    /// Numbers of an embedding.
    pub width: usize,
    /// Number of codes at each level.
    pub codes_per_level: Vec<usize>,
    /// Whether photo queries go through an adapter.
    pub adapter: bool,
    /// Levels with a codebook.
    pub codebooks: usize,
    /// Directions of an embedding that codebooks describe, if not all numbers of it.
    #[serde(default)]
    pub dimensions: Option<usize>,
    /// What gives a docid its score.
    pub score: DocidScore,
    /// What a search does if the caller says nothing else.
    pub search: SearchDefaults,
}

/// The numbers of a store that are written.
pub struct StoredNumbers<'a> {
    /// The map of queries and images into the space of the codebooks.
    pub align: &'a Alignment,
    /// The codebooks, if docids have some.
    pub codebooks: Option<&'a Codebooks>,
    /// The directions that they describe, if not all numbers of an embedding.
    pub basis: Option<&'a Matrix>,
    /// The parameters of a trained model.
    pub decoder: BTreeMap<String, Tensor>,
}

/// A description with its numbers, opened.
pub struct StoredModel {
    /// The description.
    pub file: ModelFile,
    /// The map of queries and images into the space of the codebooks.
    pub align: Alignment,
    /// The directions that the codebooks describe, (dimensions, width); `None`: the numbers of an embedding.
    pub basis: Option<Matrix>,
    /// The codebooks, if docids have some.
    pub codebooks: Option<Codebooks>,
    /// The trained model, if there is one.
    pub trained: Option<GenerativeModel>,
}

impl ModelFile {
    /// A description in the current version of the format.
    pub fn new(
        encoder: EncoderRef,
        space: &DocidSpace,
        adapter: bool,
        score: DocidScore,
        search: SearchDefaults,
    ) -> Self {
        Self {
            version: VERSION,
            encoder,
            width: space.query_width,
            codes_per_level: space.codes_per_level.to_vec(),
            adapter,
            codebooks: space.codebooks.map_or(0, |books| books.levels().len()),
            dimensions: space.codebooks.map(Codebooks::width).filter(|&width| width != space.query_width),
            score,
            search,
        }
    }

    /// Writes the description and the numbers as files of generation `number`.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, folder: &Path, number: u64, numbers: StoredNumbers) -> Result<(FileRef, FileRef)> {
        let StoredNumbers { align, codebooks, basis, decoder } = numbers;
        let mut vectors = index_vectors::to_tensors(align, codebooks)?;
        if let Some(basis) = basis {
            vectors.insert(BASIS.to_owned(), tensors::from_matrix(basis, &Device::Cpu)?);
        }
        vectors.extend(decoder.into_iter().map(|(name, tensor)| (format!("{DECODER}{name}"), tensor)));
        let name = format!("vectors-{number}.safetensors");
        let encoded = tensors::encode(&folder.join(&name), &vectors)?;
        let vectors = FileRef::write(folder, name, &encoded)?;
        let json = serde_json::to_vec_pretty(self).map_err(|error| Error::input(error.to_string()))?;
        Ok((FileRef::write(folder, format!("model-{number}.json"), &json)?, vectors))
    }
}

impl ModelFile {
    /// Whether so many bytes of numbers can be those of this description. A description that somebody made up would
    /// otherwise take any memory.
    fn fits(&self, bytes: usize) -> bool {
        let numbers =
            |factors: &[usize]| factors.iter().try_fold(1usize, |all, &factor| all.checked_mul(factor));
        let codes = self.codes_per_level.iter().try_fold(0usize, |all, &codes| all.checked_add(codes));
        let decoder = match (&self.score, codes) {
            (_, None) => None,
            (DocidScore::Cosine, _) => Some(0),
            (DocidScore::Model(shape), Some(codes)) => {
                let parts = [
                    numbers(&[codes, shape.width]),
                    numbers(&[shape.layers, shape.width, shape.width]),
                    numbers(&[shape.memory, shape.width, self.width]),
                ];
                let is_whole = shape.heads > 0 && shape.width % shape.heads == 0;
                let total = parts.into_iter().try_fold(0usize, |all, part| all.checked_add(part?));
                total.filter(|_| is_whole)
            }
        };
        let least = numbers(&[self.width, self.width]).and_then(|align| decoder?.checked_add(align));
        let shaped =
            self.width > 0 && self.codes_per_level.iter().all(|codes| (1..=MAX_CODES).contains(codes));
        shaped
            && !self.codes_per_level.is_empty()
            && least.is_some_and(|least| least <= bytes / size_of::<f32>())
    }
}

impl StoredModel {
    /// Reads the files of a generation.
    ///
    /// # Errors
    /// When they cannot be read, do not fit each other, or are of another version.
    pub fn read(folder: &Path, model: &FileRef, vectors: &FileRef) -> Result<Self> {
        let path = model.path(folder);
        let file: ModelFile = serde_json::from_slice(&model.read(folder, LARGEST)?)
            .map_err(|error| Error::file(&path, format!("does not describe a search store: {error}")))?;
        if file.version != VERSION {
            let what = format!("has format version {}; this program reads version {VERSION}", file.version);
            return Err(Error::file(path, what));
        }
        let bytes = vectors.read(folder, LARGEST_VECTORS)?;
        if !file.fits(bytes.len()) {
            return Err(Error::file(
                &path,
                "describes a model that its numbers do not fill; make the search store again",
            ));
        }
        let path = vectors.path(folder);
        Self::of(file, tensors::decode(&path, &bytes)?, path)
    }

    fn of(file: ModelFile, mut tensors: BTreeMap<String, Tensor>, path: PathBuf) -> Result<Self> {
        let decoder = tensors::take_prefixed(&mut tensors, DECODER);
        let basis = match file.dimensions {
            Some(dimensions) => Some(take_basis(&mut tensors, dimensions, file.width, &path)?),
            None => None,
        };
        let book_width = file.dimensions.unwrap_or(file.width);
        let read = index_vectors::Vectors::of(tensors, path.clone(), file.width).with_books_of(book_width);
        let (align, codebooks) = read.into_parts(file.codebooks, file.adapter)?;
        let fits = |(book, &codes): (&Matrix, &usize)| book.rows() == codes;
        let books = codebooks.as_ref().map_or(&[][..], Codebooks::levels);
        if books.len() > file.codes_per_level.len() || !books.iter().zip(&file.codes_per_level).all(fits) {
            return Err(Error::file(
                path,
                "has codebooks that do not fit the docids; make the search store again",
            ));
        }
        let space = DocidSpace {
            query_width: file.width,
            codes_per_level: &file.codes_per_level,
            codebooks: codebooks.as_ref(),
        };
        let trained = match &file.score {
            DocidScore::Cosine => None,
            DocidScore::Model(shape) => {
                let model = Model::fresh(0, &shape.section(), shape.scoring, &space, &Device::Cpu)?;
                model.params.assign(decoder, &path)?;
                Some(std::sync::Arc::unwrap_or_clone(model.generative))
            }
        };
        Ok(Self { align, basis, codebooks, trained, file })
    }
}

fn take_basis(
    tensors: &mut BTreeMap<String, Tensor>,
    dimensions: usize,
    width: usize,
    path: &Path,
) -> Result<Matrix> {
    let wrong = || Error::file(path, "has no directions that fit its embeddings");
    let basis = tensors::to_matrix(&tensors.remove(BASIS).ok_or_else(wrong)?)?;
    if (basis.rows(), basis.width()) == (dimensions, width) { Ok(basis) } else { Err(wrong()) }
}

impl DocidScore {
    /// Whether docids are searched by a beam: their score is no sum of look-ups.
    pub fn needs_beam(&self) -> bool {
        matches!(self, Self::Model(shape) if shape.needs_beam())
    }
}

impl ModelShape {
    /// Whether this model's docids are searched by a beam: its steps are normalised or left out, or nothing of its score
    /// is known before decoding.
    pub fn needs_beam(&self) -> bool {
        self.scoring != Scoring::Logit || self.wildcard < 1.0 || !(self.grounded || self.plan)
    }

    /// The settings of a model that was trained with these sections.
    pub fn new(decoder: &settings::Decoder, scoring: Scoring, geometry: f64, wildcard: f64) -> Self {
        let settings::Decoder { width, layers, heads, memory, grounded, plan, temperature, .. } = *decoder;
        let wildcard = wildcard as f32;
        Self { width, layers, heads, memory, grounded, plan, temperature, scoring, geometry, wildcard }
    }

    /// `[decoder]` with these settings.
    fn section(&self) -> settings::Decoder {
        let Self { width, layers, heads, memory, grounded, plan, temperature, .. } = *self;
        settings::Decoder {
            width,
            layers,
            heads,
            memory,
            grounded,
            plan,
            temperature,
            ..settings::Decoder::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_larger_than_its_numbers_is_refused() {
        let section = settings::Decoder::default();
        let file = |width: usize, codes: usize, score: DocidScore| ModelFile {
            version: VERSION,
            encoder: EncoderRef::Vectors,
            width,
            codes_per_level: vec![codes; 2],
            adapter: false,
            codebooks: 0,
            dimensions: None,
            score,
            search: SearchDefaults {
                k: 1,
                candidates: 1,
                probes: 0,
                rerank: false,
                rerank_weight: 0.0,
                mirrored: false,
            },
        };
        let model = || DocidScore::Model(ModelShape::new(&section, Scoring::Logit, 0.0, 1.0));
        assert!(file(8, 4, DocidScore::Cosine).fits(256) && !file(8, 4, DocidScore::Cosine).fits(255));
        assert!(file(8, 4, model()).fits(1 << 20) && !file(8, 1 << 20, model()).fits(1 << 20));
        assert!(!file(usize::MAX, 4, model()).fits(1 << 20) && !file(8, 0, DocidScore::Cosine).fits(1 << 20));
        let odd = ModelShape { heads: 3, ..ModelShape::new(&section, Scoring::Logit, 0.0, 1.0) };
        assert!(!file(8, 4, DocidScore::Model(odd)).fits(1 << 20));
    }
}
