//! Training of the adapter for image queries: it learns to move each view of a photo close to the photo
//! itself. All photos that training may memorise are the negatives.

use candle_core::{D, Tensor};

use crate::context::Context;
use crate::data::epochs::Epochs;
use crate::encoder::view_embeddings::ViewEmbeddings;
use crate::error::{Error, Result};
use crate::ids::ImageIdx;
use crate::index::settings::Index;
use crate::matrix::Matrix;
use crate::model::query_adapter::QueryAdapter;
use crate::nn::fit::{self, fit};
use crate::nn::tensors::from_matrix;
use crate::rng;

/// Queries of a step.
const BATCH: usize = 512;
/// The most photos among which a query must find its own.
const MOST_PHOTOS: usize = 8192;

/// Learns an adapter.
///
/// `images`: aligned unit rows of all images; `views`: those of their views; `learnt`: the images that may be
/// learnt.
///
/// # Errors
/// When there are no images to learn, or the loss diverges.
pub fn learn(
    settings: &Index,
    images: &Matrix,
    views: &ViewEmbeddings,
    learnt: &[ImageIdx],
    seed: u64,
    ctx: &Context,
) -> Result<QueryAdapter> {
    require(learnt)?;
    let adapter = QueryAdapter::fresh(images.width(), settings.view_width, seed, &ctx.device)?;
    let count = learnt.len().min(MOST_PHOTOS);
    let epochs = Epochs::new(seed, "adapter order", learnt.len());
    let bar = ctx.bar(settings.view_steps, "learning views");
    let plan =
        fit::Plan { name: "query adapter", steps: settings.view_steps, lr: settings.view_lr, decay: 0.0 };
    fit(adapter.params(), plan, &|| bar.inc(1), |step| {
        // A whole epoch is drawn, so that no photo occurs twice: query n belongs to photo n and to no other.
        let drawn = epochs.batch(step, learnt.len()).into_iter().take(count);
        let photos: Vec<usize> = drawn.map(|place| learnt[place].row()).collect();
        let mut rng = rng::stream(seed, "adapter views", step as u64);
        let queries = from_matrix(&views.draw(&photos[..count.min(BATCH)], &mut rng), &ctx.device)?;
        let photos = from_matrix(&images.select(&photos), &ctx.device)?;
        loss(&adapter.forward(&queries)?, &photos, settings.align_temperature).map(Some)
    })?;
    bar.finish_and_clear();
    adapter.detached()
}

/// Checks that there are images whose views can be learnt.
///
/// # Errors
/// When there are none.
pub fn require(learnt: &[ImageIdx]) -> Result<()> {
    if learnt.is_empty() {
        return Err(Error::input(
            "index.views learns from images that training may memorise, and train.regime = \"inductive\" allows those of \
             the train split alone, which has none: set index.views = 0",
        ));
    }
    Ok(())
}

/// −log softmax(⟨q, x⟩/τ) of each query's own photo x, mean over the queries: InfoNCE (van den Oord et al.
/// 2018).
///
/// `queries`: (queries, width), `photos`: (photos, width), unit rows; query n's photo is the n-th.
fn loss(queries: &Tensor, photos: &Tensor, temperature: f64) -> Result<Tensor> {
    let logits = (queries.matmul(&photos.t()?)? / temperature)?;
    let log_p = candle_nn::ops::log_softmax(&logits, D::Minus1)?;
    let own = Tensor::arange(0u32, queries.dim(0)? as u32, queries.device())?.unsqueeze(1)?;
    Ok(log_p.gather(&own, 1)?.mean_all()?.neg()?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn the_loss_agrees_with_hand_computation() {
        let tensor =
            |rows: Vec<[f32; 2]>| Tensor::from_vec(rows.concat(), (rows.len(), 2), &Device::Cpu).unwrap();
        let photos = tensor(vec![[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]);
        let loss =
            loss(&tensor(vec![[1.0, 0.0], [1.0, 0.0]]), &photos, 0.5).unwrap().to_scalar::<f32>().unwrap();
        // logits 2, 0, 0: ln(e² + 2) less 2 for the first query, less 0 for the second
        let log_sum = (2f32.exp() + 2.0).ln();
        assert!((loss - (2.0 * log_sum - 2.0) / 2.0).abs() < 1e-5, "{loss}");
    }

    #[test]
    fn views_nearer_to_another_photo_learn_to_find_their_own() {
        let angles =
            |turn: f32| (0..8).map(move |n| (n as f32 * std::f32::consts::FRAC_PI_4 + turn).sin_cos());
        let rows = |turn: f32| Matrix::new(2, angles(turn).flat_map(|(sin, cos)| [cos, sin]).collect());
        let (images, views) = (rows(0.0), rows(0.6).stacked(&rows(0.55)));
        let learnt: Vec<ImageIdx> = (0..8usize).map(ImageIdx::from).collect();
        let settings = Index { view_steps: 150, view_width: 16, view_lr: 1e-2, ..Index::default() };
        let embedded = ViewEmbeddings::new(views.clone(), 8);
        let adapter = learn(&settings, &images, &embedded, &learnt, 1, &Context::default()).unwrap();
        let found = |queries: &Matrix| {
            let scores = queries.mul_transposed(&images);
            let best =
                |n: usize| scores.row(n).iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
            (0..queries.rows()).filter(|&n| best(n) == n % 8).count()
        };
        assert_eq!((found(&views), found(&adapter.apply(&views).unwrap())), (0, 16));
    }
}
