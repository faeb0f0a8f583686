//! The loss of codebooks: every prefix of the docids should rank images for a caption as the embeddings do.
//!
//! With x̂_{≤l}(x) = Σ_{j≤l} e_{j,c_j(x)} a prefix scores S_l(q, x) = (2⟨q, x̂_{≤l}⟩ − ‖x̂_{≤l}‖²)/(2τ), the
//! sum of the grounded logits by which a beam search ranks it ([`crate::model::grounded_logits`]). Codes are
//! fixed within a step, so the loss is differentiable in the codewords.

use candle_core::{D, Tensor};
use candle_nn::ops::{log_softmax, softmax};

use crate::error::Result;

/// The weights of the terms of the loss; zero switches a term off.
#[derive(Debug, Clone, Copy)]
pub struct Weights {
    /// Cross-entropy of softmax S_l towards the caption's own image.
    pub contrastive: f64,
    /// Cross-entropy of softmax S_l towards softmax(⟨q, x⟩/τ), the exact search.
    pub ranking: f64,
    /// ‖x − x̂_{≤l}‖².
    pub reconstruction: f64,
    /// τ
    pub temperature: f64,
}

/// Captions, and the images that each of them ranks.
pub struct Batch {
    /// Aligned unit rows. (captions, width)
    pub captions: Tensor,
    /// Aligned unit rows. (images, width)
    pub images: Tensor,
    /// The images' codes, (images) a level.
    pub codes: Vec<Tensor>,
    /// One where the image is the caption's own, else zero. (captions, images)
    pub own: Tensor,
}

/// The weighted sum of the terms, each a mean over levels and over captions or images. `books`: (codes,
/// width) a level.
pub fn loss(books: &[Tensor], batch: &Batch, weights: Weights) -> Result<Tensor> {
    let target = weights.target(batch)?;
    let (levels, captions, images) = (books.len(), batch.captions.dim(0)?, batch.images.dim(0)?);
    let mut sum = batch.images.zeros_like()?; // x̂_{≤l}: (images, width)
    let scaled = (&batch.captions / weights.temperature)?;
    let mut total = Tensor::zeros((), sum.dtype(), sum.device())?;
    for (book, codes) in books.iter().zip(&batch.codes) {
        sum = (sum + book.index_select(codes, 0)?)?;
        if let Some(target) = &target {
            let squares = sum.sqr()?.sum(1)?.unsqueeze(0)?; // (1, images)
            let products = scaled.matmul(&sum.t()?)?; // (captions, images)
            let scores = products.broadcast_sub(&(squares * (0.5 / weights.temperature))?)?;
            let log_p = log_softmax(&scores, D::Minus1)?;
            total = (total + ((log_p * target)?.sum_all()? * (-1.0 / (levels * captions) as f64))?)?;
        }
        if weights.reconstruction > 0.0 {
            let error = (&batch.images - &sum)?.sqr()?.sum_all()?;
            total = (total + (error * (weights.reconstruction / (levels * images) as f64))?)?;
        }
    }
    Ok(total)
}

impl Weights {
    /// The target of softmax S_l, both terms in one, (captions, images); `None` if both weights are zero.
    fn target(self, batch: &Batch) -> Result<Option<Tensor>> {
        if self.contrastive == 0.0 && self.ranking == 0.0 {
            return Ok(None);
        }
        let cosines = batch.captions.matmul(&batch.images.t()?)?;
        let exact = softmax(&(cosines / self.temperature)?, D::Minus1)?;
        Ok(Some(((&batch.own * self.contrastive)? + (exact * self.ranking)?)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docid::kmeans::noise;
    use crate::matrix::Matrix;
    use crate::nn::tensors::from_matrix;
    use candle_core::{DType, Device, Var};

    const ALL: Weights = Weights { contrastive: 0.7, ranking: 1.3, reconstruction: 0.9, temperature: 0.2 };

    fn tensor(matrix: &Matrix) -> Tensor {
        from_matrix(matrix, &Device::Cpu).unwrap().to_dtype(DType::F64).unwrap()
    }

    /// Three captions, the first two of image 0, and four images.
    fn batch() -> Batch {
        let own = Matrix::new(4, vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        Batch {
            captions: tensor(&noise(3, 5).normalized()),
            images: tensor(&noise(7, 5).normalized()).narrow(0, 3, 4).unwrap(),
            codes: [[0u32, 1, 1, 0], [2, 0, 1, 2]]
                .iter()
                .map(|c| Tensor::new(c, &Device::Cpu).unwrap())
                .collect(),
            own: tensor(&own),
        }
    }

    fn books() -> Vec<Var> {
        [2, 3].iter().map(|&codes| Var::from_tensor(&tensor(&noise(codes, 5))).unwrap()).collect()
    }

    fn value(books: &[Var], weights: Weights) -> f64 {
        let books: Vec<Tensor> = books.iter().map(|book| book.as_tensor().clone()).collect();
        loss(&books, &batch(), weights).unwrap().to_scalar().unwrap()
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let books = books();
        let tensors: Vec<Tensor> = books.iter().map(|book| book.as_tensor().clone()).collect();
        let grads = loss(&tensors, &batch(), ALL).unwrap().backward().unwrap();
        let step = 1e-5;
        for book in &books {
            let gradient =
                grads.get(book.as_tensor()).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let start = book.as_tensor().copy().unwrap();
            let flat = start.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            for (at, gradient) in gradient.into_iter().enumerate() {
                let moved = |by: f64| {
                    let mut flat = flat.clone();
                    flat[at] += by;
                    book.set(&Tensor::from_vec(flat, start.shape(), &Device::Cpu).unwrap()).unwrap();
                    value(&books, ALL)
                };
                let difference = (moved(step) - moved(-step)) / (2.0 * step);
                book.set(&start).unwrap();
                assert!((gradient - difference).abs() < 1e-7, "entry {at}: {gradient} {difference}");
            }
        }
    }

    #[test]
    fn terms_add_up_and_each_can_be_switched_off() {
        let books = books();
        let none = Weights { contrastive: 0.0, ranking: 0.0, reconstruction: 0.0, ..ALL };
        let alone = [
            Weights { contrastive: ALL.contrastive, ..none },
            Weights { ranking: ALL.ranking, ..none },
            Weights { reconstruction: ALL.reconstruction, ..none },
        ];
        let each = alone.map(|weights| value(&books, weights));
        assert!(each.iter().all(|term| *term > 0.0), "{each:?}");
        assert!((each.iter().sum::<f64>() - value(&books, ALL)).abs() < 1e-12);
        assert_eq!(value(&books, none), 0.0);
    }

    #[test]
    fn reconstruction_is_the_mean_squared_error_over_levels() {
        let one = |data: Vec<f64>| Tensor::from_vec(data, (1, 1), &Device::Cpu).unwrap();
        let code = || Tensor::new(&[0u32], &Device::Cpu).unwrap();
        let batch = Batch {
            captions: one(vec![1.0]),
            images: one(vec![4.0]),
            codes: vec![code(), code()],
            own: one(vec![1.0]),
        };
        let weights = Weights { contrastive: 0.0, ranking: 0.0, reconstruction: 2.0, temperature: 1.0 };
        let loss = loss(&[one(vec![1.0]), one(vec![2.0])], &batch, weights).unwrap();
        assert_eq!(loss.to_scalar::<f64>().unwrap(), 2.0 * (9.0 + 1.0) / 2.0);
    }
}
