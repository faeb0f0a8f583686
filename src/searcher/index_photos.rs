//! A folder of photos becomes a store: no captions, no splits, nothing trained.
//!
//! The docid of a photo is the residual quantisation of its embedding, and its score the cosine of query and
//! reconstruction.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::encoder_ref::EncoderRef;
use super::photo_quantiser::{FitSettings, PhotoQuantiser, projected};
use super::stored_model::{DocidScore, ModelFile, SearchDefaults, StoredNumbers};
use super::write_store::{OwnedSegment, cosine_constants, short_hashes, write_first};
use crate::context::Context;
use crate::data::photo_list::NamedPhoto;
use crate::data::photos::{self, Photo, PhotoHash};
use crate::docid::Code;
use crate::encoder::DualEncoder;
use crate::encoder::embed_corpus::embed_photo_list;
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::model::alignment::Alignment;
use crate::model::build_model::DocidSpace;
use crate::run_folder::RunFolder;
use crate::store::rows::RowKind;

/// What a store of photos is made with.
pub struct PhotoIndexSettings {
    /// Number of codes at each level ([`super::docid_shape`]).
    pub codes_per_level: Vec<usize>,
    /// Lloyd iterations of each k-means.
    pub iterations: usize,
    /// Number of directions that codebooks describe; 0: chosen ([`super::photo_quantiser`]).
    pub dimensions: usize,
    /// Beam of the quantiser.
    pub encode_beam: usize,
    /// The seed of all random streams.
    pub seed: u64,
    /// How embeddings are kept for re-ranking.
    pub rows: RowKind,
    /// What a search does by default.
    pub search: SearchDefaults,
}

/// Photos with their embeddings.
pub struct EmbeddedPhotos {
    /// The photos that can be read.
    pub photos: Vec<NamedPhoto>,
    /// The hash of each.
    pub hashes: Vec<Option<PhotoHash>>,
    /// Unit rows as the encoder gives them.
    pub rows: Matrix,
}

/// The hashes of photos.
pub fn hashes_of(photos: &[NamedPhoto]) -> Vec<Option<PhotoHash>> {
    photos::hashes(&photos.iter().map(|photo| Photo::File(photo.file.clone())).collect::<Vec<_>>())
}

impl EmbeddedPhotos {
    /// Embeds photos; the run's cache keeps every row, so an interruption costs one batch.
    ///
    /// # Errors
    /// When the encoder fails.
    pub fn embed(
        named: Vec<NamedPhoto>,
        hashes: &[Option<PhotoHash>],
        encoder: &dyn DualEncoder,
        run: &RunFolder,
        ctx: &Context,
    ) -> Result<Self> {
        let photos: Vec<Photo> = named.iter().map(|photo| Photo::File(photo.file.clone())).collect();
        let (kept, rows) = embed_photo_list(encoder, &photos, hashes, &run.cache(), ctx)?;
        let hashes = kept.iter().map(|&photo| hashes[photo]).collect();
        let mut named: Vec<Option<NamedPhoto>> = named.into_iter().map(Some).collect();
        let photos = kept.iter().filter_map(|&photo| named[photo].take()).collect();
        Ok(Self { photos, hashes, rows })
    }
}

/// Quantises embedded photos of a folder and writes the store of a run.
///
/// # Errors
/// When there is no photo, or the disk refuses.
pub fn write(
    embedded: &EmbeddedPhotos,
    folder: Option<PathBuf>,
    encoder: EncoderRef,
    settings: &PhotoIndexSettings,
    run: &RunFolder,
) -> Result<()> {
    let count = embedded.photos.len();
    if count == 0 {
        let what = "none of the photos can be read (JPEG, PNG, WebP, GIF, BMP)";
        return Err(folder.map_or_else(|| Error::input(what), |folder| Error::file(folder, what)));
    }
    let sizes = &settings.codes_per_level[..];
    let fit = FitSettings {
        codes_per_level: sizes,
        iterations: settings.iterations,
        dimensions: settings.dimensions,
        encode_beam: settings.encode_beam,
        seed: settings.seed,
    };
    let quantiser = PhotoQuantiser::fit(&embedded.rows, fit)?;
    let books = &quantiser.books;
    let width = embedded.rows.width();
    let space = DocidSpace { query_width: width, codes_per_level: sizes, codebooks: Some(books) };
    let file = ModelFile::new(encoder, &space, false, DocidScore::Cosine, settings.search.clone());
    let align = Alignment::identity(width);
    let numbers = StoredNumbers {
        align: &align,
        codebooks: Some(books),
        basis: quantiser.basis.as_ref(),
        decoder: BTreeMap::new(),
    };
    write_first(&run.search(), &file, numbers, &segment_of(embedded, &quantiser, settings, folder))
}

/// The segment of photos whose codes have the score of a cosine.
fn segment_of(
    embedded: &EmbeddedPhotos,
    quantiser: &PhotoQuantiser,
    settings: &PhotoIndexSettings,
    folder: Option<PathBuf>,
) -> OwnedSegment {
    let books = &quantiser.books;
    let points = projected(quantiser.basis.as_ref(), &embedded.rows);
    let codes: Vec<Code> = books.encode_all(&points, settings.encode_beam).into_iter().flatten().collect();
    let (constants, scales) = cosine_constants(books, &codes, books.levels().len());
    OwnedSegment {
        codes_per_level: books.codes_per_level(),
        owners: (0..embedded.photos.len()).collect(),
        bonuses: Vec::new(),
        names: embedded.photos.iter().map(|photo| photo.name.clone()).collect(),
        files: folder.iter().flat_map(|folder| files_unless_in(Some(folder), &embedded.photos)).collect(),
        hashes: short_hashes(&embedded.hashes),
        rows: (
            if settings.rows == RowKind::None { Matrix::default() } else { embedded.rows.clone() },
            settings.rows,
        ),
        folder,
        codes,
        constants,
        scales,
    }
}

/// The files of photos; none if each is its name in the folder.
pub fn files_unless_in(folder: Option<&Path>, photos: &[NamedPhoto]) -> Vec<Option<PathBuf>> {
    let in_folder = |photo: &NamedPhoto| folder.is_some_and(|folder| folder.join(&photo.name) == photo.file);
    if photos.iter().all(in_folder) {
        return Vec::new();
    }
    photos.iter().map(|photo| Some(photo.file.clone())).collect()
}
