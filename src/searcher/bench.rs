//! What a search costs and finds: stores of given vectors, searched with given queries.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::encoder_ref::EncoderRef;
use super::index_photos::{EmbeddedPhotos, PhotoIndexSettings, write};
use super::photo_quantiser::{FitSettings, PhotoQuantiser};
use super::stored_model::{DocidScore, ModelFile, ModelShape, SearchDefaults, StoredNumbers};
use super::write_store::{OwnedSegment, constants, write_first};
use super::{Query, Searcher};
use crate::data::photo_list::NamedPhoto;
use crate::docid::Code;
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::model::alignment::Alignment;
use crate::model::build_model::{DocidSpace, Model};
use crate::model::generative_model::Scoring;
use crate::model::settings;
use crate::run_folder::RunFolder;
use crate::store::rows::RowKind;

/// Images in a list.
const K: usize = 10;

/// What is measured.
pub struct Bench {
    /// Unit rows of the images.
    pub images: Matrix,
    /// Number of codes at each level.
    pub codes_per_level: Vec<usize>,
    /// Directions that codebooks describe; 0: chosen.
    pub dimensions: usize,
    /// Whether a decoder scores the best docids. Its weights are fresh: they cost as much as trained ones.
    pub decoder: bool,
}

/// How a store is searched.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// First codes that are visited; 0: all.
    pub probes: usize,
    /// Docids that the decoder scores.
    pub candidates: usize,
    /// Queries at once.
    pub batch: usize,
}

/// A row of the measurement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// `dsi` with the decoder, `dsi-no-decoder` without.
    pub who: &'static str,
    /// Number of images.
    pub images: usize,
    /// Threads that answer.
    pub threads: usize,
    /// Queries at once.
    pub batch: usize,
    /// First codes that are visited; 0: all.
    pub probes: usize,
    /// Docids that the decoder scores.
    pub candidates: usize,
    /// Milliseconds a query.
    pub ms: f64,
    /// Bytes an image that a search needs, without names.
    pub bytes_per_image: f64,
    /// Share of queries whose right image comes first.
    pub recall1: f64,
    /// Share of queries whose right image is among the first five.
    pub recall5: f64,
    /// Share of queries whose right image is among the first ten.
    pub recall10: f64,
    /// Seconds that the index took.
    pub build_s: f64,
    /// Milliseconds that opening takes.
    pub open_ms: f64,
}

impl Bench {
    /// Builds the store in a run folder. Returns the seconds that it took.
    ///
    /// # Errors
    /// When the vectors are no embeddings, or the disk refuses.
    pub fn build(self, run: &RunFolder) -> Result<f64> {
        let began = Instant::now();
        if self.decoder {
            self.with_decoder(run)?
        } else {
            self.without_decoder(run)?
        }
        Ok(began.elapsed().as_secs_f64())
    }

    fn defaults() -> SearchDefaults {
        SearchDefaults { k: K, candidates: K, probes: 0, rerank: false, rerank_weight: 0.0, mirrored: false }
    }

    fn without_decoder(self, run: &RunFolder) -> Result<()> {
        let settings = PhotoIndexSettings {
            codes_per_level: self.codes_per_level,
            iterations: 25,
            dimensions: self.dimensions,
            encode_beam: 8,
            seed: 0,
            rows: RowKind::None,
            search: Self::defaults(),
        };
        let count = self.images.rows();
        let named = |number: usize| NamedPhoto { name: number.to_string(), file: Path::new("").to_owned() };
        let embedded =
            EmbeddedPhotos { photos: (0..count).map(named).collect(), hashes: Vec::new(), rows: self.images };
        write(&embedded, None, EncoderRef::Vectors, &settings, run)
    }

    fn with_decoder(self, run: &RunFolder) -> Result<()> {
        let (width, codes_per_level) = (self.images.width(), self.codes_per_level);
        let fit = FitSettings {
            codes_per_level: &codes_per_level,
            iterations: 25,
            dimensions: width,
            encode_beam: 8,
            seed: 0,
        };
        let books = PhotoQuantiser::fit(&self.images, fit)?.books;
        let space =
            DocidSpace { query_width: width, codes_per_level: &codes_per_level, codebooks: Some(&books) };
        let section = settings::Decoder::default();
        let model = Model::fresh(0, &section, Scoring::Logit, &space, &candle_core::Device::Cpu)?;
        let codes: Vec<Code> = books.encode_all(&self.images, 8).into_iter().flatten().collect();
        let (constants, scales) =
            constants(Some(&model.generative), 0.0, Some(&books), &codes, &codes_per_level, width)?;
        let count = self.images.rows();
        let segment = OwnedSegment {
            codes_per_level: codes_per_level.clone(),
            codes,
            owners: (0..count).collect(),
            constants,
            scales,
            bonuses: Vec::new(),
            names: (0..count).map(|number| number.to_string()).collect(),
            files: Vec::new(),
            folder: None,
            hashes: Vec::new(),
            rows: (Matrix::default(), RowKind::None),
        };
        let score = DocidScore::Model(ModelShape::new(&section, Scoring::Logit, 0.0, 1.0));
        let file = ModelFile::new(EncoderRef::Vectors, &space, false, score, Self::defaults());
        let decoder = model.params.iter().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
        let align = Alignment::identity(width);
        let numbers = StoredNumbers { align: &align, codebooks: Some(&books), basis: None, decoder };
        write_first(&run.search(), &file, numbers, &segment)
    }
}

/// Searches a store with every query, and counts what is found.
///
/// # Errors
/// When the store is damaged, or a query does not fit it.
pub fn measure(
    run: &RunFolder,
    queries: &Matrix,
    right: &[usize],
    setting: Setting,
    threads: usize,
    build_s: f64,
) -> Result<Row> {
    let began = Instant::now();
    let searcher = Searcher::open(run.path())?;
    let open_ms = began.elapsed().as_secs_f64() * 1e3;
    let defaults = SearchDefaults {
        candidates: setting.candidates.max(1),
        probes: setting.probes,
        ..searcher.defaults().clone()
    };
    let with_decoder = searcher.has_decoder();
    let bytes_per_image = searcher.bytes_per_image();
    let searcher = searcher.with_defaults(defaults);
    let queries: Vec<Query> = queries.iter().map(Query::vector).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| Error::input(error.to_string()))?;
    let mut ranks = Vec::with_capacity(queries.len());
    let seconds = pool.install(|| -> Result<f64> {
        // Warm up: pages are mapped and verified.
        for batch in queries.chunks(setting.batch).take(8) {
            searcher.search_all(batch, K)?;
        }
        let began = Instant::now();
        for batch in queries.chunks(setting.batch) {
            ranks.extend(searcher.search_all(batch, K)?);
        }
        Ok(began.elapsed().as_secs_f64())
    })?;
    let rank = |(hits, right): (&Vec<super::Hit>, &usize)| {
        hits.iter().position(|hit| hit.image == right.to_string())
    };
    let ranks: Vec<Option<usize>> = ranks.iter().zip(right).map(rank).collect();
    let count = queries.len().max(1) as f64;
    let recall =
        |k: usize| ranks.iter().filter(|rank| rank.is_some_and(|rank| rank < k)).count() as f64 / count;
    Ok(Row {
        who: if with_decoder { "dsi" } else { "dsi-no-decoder" },
        images: searcher.images(),
        threads,
        batch: setting.batch,
        probes: setting.probes,
        candidates: if with_decoder { setting.candidates } else { 0 },
        ms: seconds * 1e3 / count,
        bytes_per_image,
        recall1: recall(1),
        recall5: recall(5),
        recall10: recall(K),
        build_s,
        open_ms,
    })
}
