//! Docids with the query-independent part of their grounded logits.
//!
//! Errors: tensor operations fail only when the device does.

use candle_core::{DType, Device, Tensor};

use crate::docid::rq::Codebooks;
use crate::docid::{Code, DocidSet};
use crate::error::Result;
use crate::ids::DocidRow;
use crate::matrix::{Matrix, dot};

/// Equally many candidate docids for each query.
#[derive(Debug, Clone)]
pub struct Candidates {
    /// (queries, candidates, levels), u32.
    pub(super) codes: Tensor,
    /// −2⟨x̂_{<l}, e_l⟩ − ‖e_l‖² of every code: the query-independent part of its grounded logit. Zero at
    /// levels without a codebook. (queries, candidates, levels)
    pub(super) offsets: Tensor,
}

impl Candidates {
    /// Equally many docids for each query, given by their codes.
    ///
    /// # Errors
    /// When queries have different numbers of docids, or docids different numbers of codes.
    pub fn of_codes(
        docids: &[Vec<Vec<Code>>],
        codebooks: Option<&Codebooks>,
        device: &Device,
    ) -> Result<Self> {
        let first = docids.first().map_or(&[][..], Vec::as_slice);
        let shape = (docids.len(), first.len(), first.first().map_or(0, Vec::len));
        let mut offsets = vec![0.0; shape.0 * shape.1 * shape.2];
        if let Some(codebooks) = codebooks {
            let docids = docids.iter().flatten();
            for (codes, offsets) in docids.zip(offsets.chunks_mut(shape.2.max(1))) {
                fill_offsets(codes, codebooks, offsets);
            }
        }
        let codes: Vec<Code> = docids.iter().flatten().flatten().copied().collect();
        Ok(Self {
            codes: Tensor::from_vec(codes, shape, device)?,
            offsets: Tensor::from_vec(offsets, shape, device)?,
        })
    }

    /// The same with offsets in another precision.
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        Ok(Self { codes: self.codes.clone(), offsets: self.offsets.to_dtype(dtype)? })
    }

    /// The candidates of the first `count` queries.
    pub fn first(&self, count: usize) -> Result<Self> {
        let first = |x: &Tensor| x.narrow(0, 0, count)?.contiguous();
        Ok(Self { codes: first(&self.codes)?, offsets: first(&self.offsets)? })
    }
}

/// All docids of a corpus with the offsets of their codes.
#[derive(Debug, Clone)]
pub struct CandidateTable {
    docids: DocidSet,
    /// (docids, levels)
    offsets: Matrix,
}

impl CandidateTable {
    /// A table of these docids; without codebooks all offsets are zero.
    pub fn new(docids: DocidSet, codebooks: Option<&Codebooks>) -> Self {
        let levels = docids.levels();
        let mut offsets = Matrix::zeros(docids.images(), levels);
        if let Some(codebooks) = codebooks {
            for (row, docid) in docids.iter().enumerate() {
                fill_offsets(docid.codes(), codebooks, offsets.row_mut(row));
            }
        }
        Self { docids, offsets }
    }

    /// The docids.
    pub fn docids(&self) -> &DocidSet {
        &self.docids
    }

    /// −2⟨x̂_{<l}, e_l⟩ − ‖e_l‖² of a docid's codes, one a level; zero at levels without a codebook.
    pub fn offsets(&self, row: DocidRow) -> &[f32] {
        self.offsets.row(row.row())
    }

    /// The candidates of several queries, equally many each, by their rows.
    pub fn candidates(&self, candidates: &[Vec<DocidRow>], device: &Device) -> Result<Candidates> {
        let shape = (candidates.len(), candidates.first().map_or(0, Vec::len), self.docids.levels());
        let rows = || candidates.iter().flatten();
        let codes: Vec<u32> = rows().flat_map(|&row| self.docids.get(row).codes()).copied().collect();
        let offsets: Vec<f32> = rows().flat_map(|&row| self.offsets(row)).copied().collect();
        Ok(Candidates {
            codes: Tensor::from_vec(codes, shape, device)?,
            offsets: Tensor::from_vec(offsets, shape, device)?,
        })
    }
}

/// −2⟨x̂_{<l}, e_l⟩ − ‖e_l‖² of each code that has a codebook; the others stay as they are.
pub fn fill_offsets(codes: &[Code], codebooks: &Codebooks, offsets: &mut [f32]) {
    let mut reconstruction = vec![0.0f32; codebooks.width()];
    for ((book, &code), offset) in codebooks.levels().iter().zip(codes).zip(offsets) {
        let entry = book.row(code as usize);
        *offset = -2.0 * dot(&reconstruction, entry) - dot(entry, entry);
        reconstruction.iter_mut().zip(entry).for_each(|(x, e)| *x += e);
    }
}
