//! Where candidates are taken from: the docids of a corpus, with what grounded logits need of each beside the query.

use candle_core::{DType, Device, Tensor};

use crate::docid::rq::Codebooks;
use crate::docid::{Docid, DocidSet};
use crate::error::Result;
use crate::ids::ImageIdx;
use crate::matrix::{Matrix, dot};

/// Equally many candidate docids for each query.
#[derive(Debug, Clone)]
pub struct Candidates {
    /// (queries, candidates, levels), u32.
    pub(super) codes: Tensor,
    /// −2⟨x̂_{<l}, e_l⟩ − ‖e_l‖² of every code: what grounded logits need beside the query. Zero at levels without
    /// a codebook. (queries, candidates, levels)
    pub(super) offsets: Tensor,
}

impl Candidates {
    /// The same with offsets in another precision.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        Ok(Self { codes: self.codes.clone(), offsets: self.offsets.to_dtype(dtype)? })
    }

    /// Those of the first `count` queries.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn first(&self, count: usize) -> Result<Self> {
        let first = |x: &Tensor| x.narrow(0, 0, count)?.contiguous();
        Ok(Self { codes: first(&self.codes)?, offsets: first(&self.offsets)? })
    }
}

/// The docids of a corpus with their offsets: where candidates are taken from.
#[derive(Debug, Clone)]
pub struct CandidateTable {
    docids: DocidSet,
    /// (images, levels)
    offsets: Matrix,
}

impl CandidateTable {
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
