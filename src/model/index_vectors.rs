//! The alignment and the codebooks as named tensors of a file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use candle_core::{Device, Tensor};

use super::alignment::{Alignment, SideMap};
use super::query_adapter::QueryAdapter;
use crate::docid::rq::Codebooks;
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::modality::Modality;
use crate::nn::tensors;

/// Prefix of the names of the adapter's tensors.
const ADAPTER: &str = "adapter.";

/// The tensors of an alignment and codebooks.
///
/// # Errors
/// When the device fails.
pub fn to_tensors(align: &Alignment, codebooks: Option<&Codebooks>) -> Result<BTreeMap<String, Tensor>> {
    let mut vectors = BTreeMap::new();
    for modality in Modality::ALL {
        let (mean, map) = align_names(modality);
        let side = align.side(modality);
        vectors.insert(mean, tensors::from_matrix(&side.mean, &Device::Cpu)?);
        vectors.insert(map, tensors::from_matrix(&side.map, &Device::Cpu)?);
    }
    let books = codebooks.map_or(&[][..], Codebooks::levels);
    for (level, book) in books.iter().enumerate() {
        vectors.insert(book_name(level), tensors::from_matrix(book, &Device::Cpu)?);
    }
    if let Some(adapter) = align.adapter() {
        let named = adapter.params().iter();
        vectors.extend(named.map(|(name, tensor)| (format!("{ADAPTER}{name}"), tensor.clone())));
    }
    Ok(vectors)
}

/// Tensors that were read and not taken yet.
pub struct Vectors {
    path: PathBuf,
    tensors: BTreeMap<String, Tensor>,
    /// Numbers in an embedding.
    width: usize,
    /// Numbers in an entry of a codebook.
    book_width: usize,
}

impl Vectors {
    /// The tensors of the file at `path`, for embeddings of `width` numbers.
    pub fn of(tensors: BTreeMap<String, Tensor>, path: PathBuf, width: usize) -> Self {
        Self { path, tensors, width, book_width: width }
    }

    /// The same with codebooks of another width.
    #[must_use]
    pub fn with_books_of(self, book_width: usize) -> Self {
        Self { book_width, ..self }
    }

    /// The alignment and the codebooks of this many levels; `adapter`: whether there is one.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape or not finite.
    pub fn into_parts(mut self, levels: usize, adapter: bool) -> Result<(Alignment, Option<Codebooks>)> {
        let [caption, image] = Modality::ALL.map(|modality| self.take_side(modality));
        let (caption, image) = (caption?, image?);
        let codebooks = self.take_codebooks(levels)?;
        let adapter = adapter.then(|| self.into_adapter()).transpose()?;
        Ok((Alignment::new(caption, image).with_adapter(adapter), codebooks))
    }

    /// A matrix of rows of `width` numbers, with this many rows if given.
    fn take(&mut self, name: String, rows: Option<usize>, width: usize) -> Result<Matrix> {
        let missing = || Error::file(&self.path, format!("tensor {name} is missing"));
        let matrix = tensors::to_matrix(&self.tensors.remove(&name).ok_or_else(missing)?)?;
        let (found, own) = (matrix.rows(), matrix.width());
        if own == width && rows.is_none_or(|rows| rows == found) {
            return Ok(matrix);
        }
        let what = format!("tensor {name} is {found} × {own}, and rows here are {width} wide");
        Err(Error::file(&self.path, what))
    }

    fn take_side(&mut self, modality: Modality) -> Result<SideMap> {
        let (mean, map) = align_names(modality);
        Ok(SideMap {
            mean: self.take(mean, Some(1), self.width)?,
            map: self.take(map, Some(self.width), self.width)?,
        })
    }

    fn take_codebooks(&mut self, levels: usize) -> Result<Option<Codebooks>> {
        let books: Result<Vec<Matrix>> =
            (0..levels).map(|level| self.take(book_name(level), None, self.book_width)).collect();
        let books = books?;
        if books.is_empty() { Ok(None) } else { Ok(Some(Codebooks::new(books)?)) }
    }

    /// The adapter of the tensors with its prefix.
    fn into_adapter(mut self) -> Result<QueryAdapter> {
        let adapter = tensors::take_prefixed(&mut self.tensors, ADAPTER);
        QueryAdapter::loaded(adapter, self.width, &self.path)
    }
}

/// The names of μ and A.
fn align_names(modality: Modality) -> (String, String) {
    let side = match modality {
        Modality::Caption => "caption",
        Modality::Image => "image",
    };
    (format!("align.{side}.mean"), format!("align.{side}.map"))
}

fn book_name(level: usize) -> String {
    format!("codebook.{level}")
}
