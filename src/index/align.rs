//! Training of the alignment: the means, and I + A on each side by the symmetric contrastive loss, on
//! the train split.

use candle_core::{Device, Tensor};

use crate::config::Index as Section;
use crate::data::corpus::TrainPair;
use crate::data::embeddings::Embeddings;
use crate::data::epochs::Epochs;
use crate::error::Result;
use crate::matrix::Matrix;
use crate::model::align::{Align, Side};
use crate::model::clip::contrastive::contrastive_loss;
use crate::nn::adamw::{AdamW, Group};
use crate::nn::params::{Builder, Init};
use crate::nn::schedule::warmup_cosine;
use crate::nn::tensors::{from_matrix, to_matrix, unit_rows};
use crate::progress;

/// Learns the alignment from train pairs; zero steps leave A at zero.
///
/// # Errors
/// When the device refuses or the loss diverges.
pub fn learn(
    section: &Section,
    embeddings: &Embeddings,
    pairs: &[TrainPair],
    seed: u64,
    device: &Device,
) -> Result<Align> {
    let spoken: Vec<usize> = pairs.iter().map(|pair| pair.caption().index()).collect();
    let seen: Vec<usize> = pairs.iter().map(|pair| pair.image().row()).collect();
    let side = |matrix: &Matrix, rows: &[usize]| {
        if section.center { Side::centring(matrix, rows) } else { Side::identity(matrix.width()) }
    };
    let mut caption = side(&embeddings.captions, &spoken);
    let mut image = side(&embeddings.images, &seen);
    if section.align_steps > 0 && !pairs.is_empty() {
        // Rows are picked and centred batch by batch: those of all pairs at once would be two more copies of the corpus.
        let rows = |batch: &[usize]| {
            let of = |pairs: &[usize]| batch.iter().map(|&pair| pairs[pair]).collect::<Vec<_>>();
            (
                caption.centred(&embeddings.captions.select(&of(&spoken))),
                image.centred(&embeddings.images.select(&of(&seen))),
            )
        };
        (caption.map, image.map) =
            maps(section, pairs.len(), embeddings.images.width(), &rows, seed, device)?;
    }
    Ok(Align::new(caption, image))
}

/// A for captions and A for images; `rows` gives the centred captions and images of a batch of the `pairs`.
fn maps(
    section: &Section,
    pairs: usize,
    width: usize,
    rows: &dyn Fn(&[usize]) -> (Matrix, Matrix),
    seed: u64,
    device: &Device,
) -> Result<(Matrix, Matrix)> {
    let builder = Builder::fresh(seed, device);
    let map = |name: &str| builder.root().param(name, (width, width), Init::Constant(0.0));
    let (caption, image) = (map("caption.weight")?, map("image.weight")?);
    let params = builder.finish("align".as_ref())?;
    let scale = Tensor::new(-(section.align_temperature.ln() as f32), device)?;
    let epochs = Epochs::new(seed, "align order", pairs);
    let mut adamw = AdamW::new(&params)?;
    let bar = progress::bar(section.align_steps, "aligning");
    for step in 0..section.align_steps {
        let (captions, images) = rows(&epochs.batch(step, section.align_batch));
        let moved = |rows: &Matrix, map: &Tensor| moved(&from_matrix(rows, device)?, map);
        let loss = contrastive_loss(&moved(&images, &image)?, &moved(&captions, &caption)?, &scale)?;
        let lr = section.align_lr * warmup_cosine(step, section.align_steps, section.align_steps / 20 + 1);
        adamw.step(&loss.backward()?, 1.0, |_| Group { lr, decay: section.align_weight_decay })?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok((to_matrix(&caption)?, to_matrix(&image)?))
}

/// normalise(x + A·x)
fn moved(x: &Tensor, a: &Tensor) -> Result<Tensor> {
    unit_rows(&(x + x.matmul(&a.t()?)?)?)
}
