//! Training of the adapter of image queries: each view of a photo is to find the photo among all that may be learnt.

use candle_core::{D, Tensor};

use crate::config::{Index as Section, LrSchedule};
use crate::context::Context;
use crate::data::epochs::Epochs;
use crate::encoder::view_embeddings::ViewEmbeddings;
use crate::error::Result;
use crate::ids::ImageIdx;
use crate::matrix::Matrix;
use crate::model::query_adapter::QueryAdapter;
use crate::nn::adamw::{AdamW, Group};
use crate::nn::tensors::from_matrix;
use crate::rng;

/// Queries of a step.
const BATCH: usize = 512;
/// Photos that each of them is to be told from, at most.
const RIVALS: usize = 8192;

/// Learns an adapter.
///
/// `images`: aligned unit rows of all images; `views`: those of what asks for them; `learnt`: the images that may be learnt
/// by heart.
///
/// # Errors
/// When the device refuses or the loss diverges.
pub fn learn(
    section: &Section,
    images: &Matrix,
    views: &ViewEmbeddings,
    learnt: &[ImageIdx],
    seed: u64,
    ctx: &Context,
) -> Result<QueryAdapter> {
    let device = &ctx.device;
    let adapter = QueryAdapter::fresh(images.width(), section.view_width, seed, device)?;
    let mut adamw = AdamW::new(adapter.params())?;
    let rivals = learnt.len().min(RIVALS);
    let order = Epochs::new(seed, "adapter order", learnt.len());
    let bar = ctx.bar(section.view_steps, "learning views");
    for step in 0..section.view_steps {
        // A whole epoch is drawn, so that no photo comes twice: query n's own is the n-th, and no other is right.
        let drawn = order.batch(step, learnt.len()).into_iter().take(rivals);
        let photos: Vec<usize> = drawn.map(|place| learnt[place].row()).collect();
        let mut rng = rng::stream(seed, "adapter views", step as u64);
        let queries = from_matrix(&views.draw(&photos[..rivals.min(BATCH)], &mut rng), device)?;
        let photos = from_matrix(&images.select(&photos), device)?;
        let loss = loss(&adapter.forward(&queries)?, &photos, section.align_temperature)?;
        let lr = section.view_lr
            * LrSchedule::Cosine.factor(step, section.view_steps, section.view_steps / 20 + 1);
        adamw.step(&loss.backward()?, 1.0, |_| Group { lr, decay: 0.0 })?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    adapter.detached()
}

/// −log softmax(⟨q, x⟩/τ) of each query's own photo x, mean over the queries: InfoNCE (van den Oord et al. 2018).
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
    fn views_that_lie_beside_another_photo_learn_to_find_their_own() {
        let angles =
            |turn: f32| (0..8).map(move |n| (n as f32 * std::f32::consts::FRAC_PI_4 + turn).sin_cos());
        let rows = |turn: f32| Matrix::new(2, angles(turn).flat_map(|(sin, cos)| [cos, sin]).collect());
        let (images, views) = (rows(0.0), rows(0.6).stacked(&rows(0.55)));
        let learnt: Vec<ImageIdx> = (0..8usize).map(ImageIdx::from).collect();
        let section = Section { view_steps: 150, view_width: 16, view_lr: 1e-2, ..Section::default() };
        let asking = ViewEmbeddings::new(views.clone(), 8);
        let adapter = learn(&section, &images, &asking, &learnt, 1, &Context::default()).unwrap();
        let found = |queries: &Matrix| {
            let scores = queries.mul_transposed(&images);
            let best =
                |n: usize| scores.row(n).iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
            (0..queries.rows()).filter(|&n| best(n) == n % 8).count()
        };
        assert_eq!((found(&views), found(&adapter.apply(&views).unwrap())), (0, 16));
    }
}
