//! Grounded logits: the geometry of the codebooks as the starting point of the decoder's logits.
//!
//! With r_l = W·q − Σ_{j<l} e_{j,c_j}, level l scores code k by α_l·(2⟨r_l, e_{l,k}⟩ − ‖e_{l,k}‖²).
//! Summed over the levels of a docid that is α·(‖Wq‖² − ‖Wq − x̂‖²): nearest reconstruction. W starts as the
//! identity and α at 1/(2τ), so an untrained decoder *is* beam search over reconstructions.
//!
//! Errors: tensor operations fail only when the device does.

use candle_core::{DType, Device, Tensor};

use crate::docid::rq::Codebooks;
use crate::error::Result;
use crate::nn::layers::Linear;
use crate::nn::params::{Init, Scope};
use crate::nn::tensors;

/// The frozen codebooks with the trained W and α.
#[derive(Debug, Clone)]
pub struct Grounding {
    map: Linear,
    /// ln α, (1, levels)
    log_alpha: Tensor,
    books: Books,
}

/// Codebooks as tensors; nothing here is trained.
#[derive(Debug, Clone)]
pub struct Books {
    /// The entries of each level: (code, width).
    levels: Vec<Tensor>,
    /// ‖e‖² of the entries of each level: (1, code).
    squares: Vec<Tensor>,
}

impl Books {
    /// The codebooks on a device.
    pub fn new(codebooks: &Codebooks, device: &Device) -> Result<Self> {
        let levels: Vec<Tensor> = codebooks
            .levels()
            .iter()
            .map(|book| tensors::from_matrix(book, device))
            .collect::<Result<_>>()?;
        let squares =
            levels.iter().map(|book| Ok(book.sqr()?.sum(1)?.unsqueeze(0)?)).collect::<Result<_>>()?;
        Ok(Self { levels, squares })
    }

    /// The same in another precision.
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        let all = |tensors: &[Tensor]| tensors.iter().map(|t| Ok(t.to_dtype(dtype)?)).collect::<Result<_>>();
        Ok(Self { levels: all(&self.levels)?, squares: all(&self.squares)? })
    }

    /// The number of levels that have a codebook; a suffix level has none.
    pub fn levels(&self) -> usize {
        self.levels.len()
    }

    /// 2⟨r, e⟩ − ‖e‖² for every code of a level: residuals (row, width) → (row, code).
    pub fn geometry(&self, level: usize, residuals: &Tensor) -> Result<Tensor> {
        Ok(self.products(level, residuals)?.broadcast_sub(&self.squares[level])?)
    }

    /// 2⟨q, e⟩ for every code of a level: queries (row, width) → (row, code).
    pub fn products(&self, level: usize, queries: &Tensor) -> Result<Tensor> {
        Ok((queries.matmul(&self.levels[level].t()?)? * 2.0)?)
    }

    /// The residuals (row, width) less the entries of these codes (row) of a level.
    pub fn subtract(&self, level: usize, residuals: &Tensor, codes: &Tensor) -> Result<Tensor> {
        Ok((residuals - self.levels[level].index_select(codes, 0)?)?)
    }
}

impl Grounding {
    /// W (width, width), which starts as the identity, and ln α for each level.
    pub fn new(scope: &Scope, books: Books, width: usize, temperature: f64) -> Result<Self> {
        let alpha = Init::Constant((0.5 / temperature).ln() as f32);
        Ok(Self {
            map: Linear::without_bias(&scope.sub("map"), width, width, Init::Identity)?,
            log_alpha: scope.param("log_alpha", (1, books.levels()), alpha)?,
            books,
        })
    }

    /// The codebooks.
    pub fn books(&self) -> &Books {
        &self.books
    }

    /// W·q: (row, width) → (row, width).
    pub fn map(&self, queries: &Tensor) -> Result<Tensor> {
        self.map.forward(queries)
    }

    /// α of each level.
    pub fn alphas(&self) -> Result<Vec<f32>> {
        Ok(self.log_alpha.exp()?.squeeze(0)?.to_vec1()?)
    }

    /// α_l·(2⟨r, e⟩ − ‖e‖²) for every code: residuals (row, width) → (row, code).
    pub fn logits(&self, level: usize, residuals: &Tensor) -> Result<Tensor> {
        let alpha = self.log_alpha.narrow(1, level, 1)?.exp()?; // (1, 1)
        Ok(self.books.geometry(level, residuals)?.broadcast_mul(&alpha)?)
    }

    /// The same for the candidates' codes (query, candidate) of a level only. `mapped` is W·q (query, width),
    /// `offsets` are −2⟨x̂_{<l}, e⟩ − ‖e‖² of those codes (query, candidate).
    pub fn chosen(&self, level: usize, mapped: &Tensor, codes: &Tensor, offsets: &Tensor) -> Result<Tensor> {
        let alpha = self.log_alpha.narrow(1, level, 1)?.exp()?;
        let products = self.books.products(level, mapped)?; // (query, code)
        Ok((products.gather(codes, 1)? + offsets)?.broadcast_mul(&alpha)?)
    }
}
