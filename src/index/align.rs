//! Training of the alignment: I + A on each side, symmetric contrastive loss on the train split.

use candle_core::{Device, Tensor};

use crate::config::Index as Section;
use crate::data::corpus::TrainPair;
use crate::data::embeddings::Embeddings;
use crate::data::epochs::Epochs;
use crate::error::Result;
use crate::matrix::Matrix;
use crate::model::align::Align;
use crate::model::clip::contrastive::contrastive_loss;
use crate::nn::adamw::{AdamW, Group};
use crate::nn::params::{Builder, Init};
use crate::nn::schedule::warmup_cosine;
use crate::nn::tensors::{from_matrix, to_matrix, unit_rows};
use crate::progress;

/// Learns the alignment from train pairs; zero steps give the identity.
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
    let width = embeddings.images.width();
    if section.align_steps == 0 || pairs.is_empty() {
        return Ok(Align::identity(width));
    }
    let builder = Builder::fresh(seed, device);
    let map = |name: &str| builder.root().param(name, (width, width), Init::Constant(0.0));
    let (caption, image) = (map("caption.weight")?, map("image.weight")?);
    let params = builder.finish("align".as_ref())?;
    let scale = Tensor::new(-(section.align_temperature.ln() as f32), device)?;
    let epochs = Epochs::new(seed, "align order", pairs.len());
    let mut adamw = AdamW::new(&params)?;
    let bar = progress::bar(section.align_steps, "aligning");
    for step in 0..section.align_steps {
        let batch: Vec<&TrainPair> =
            epochs.batch(step, section.align_batch).into_iter().map(|i| &pairs[i]).collect();
        let images = rows(&embeddings.images, batch.iter().map(|pair| pair.image().row()), device)?;
        let captions = rows(&embeddings.captions, batch.iter().map(|pair| pair.caption().index()), device)?;
        let loss = contrastive_loss(&moved(&images, &image)?, &moved(&captions, &caption)?, &scale)?;
        let lr = section.align_lr * warmup_cosine(step, section.align_steps, section.align_steps / 20 + 1);
        adamw.step(&loss.backward()?, 1.0, |_| Group { lr, decay: section.align_weight_decay })?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(Align::new(to_matrix(&caption)?, to_matrix(&image)?))
}

/// normalise(x + A·x)
fn moved(x: &Tensor, a: &Tensor) -> Result<Tensor> {
    unit_rows(&(x + x.matmul(&a.t()?)?)?)
}

fn rows(matrix: &Matrix, rows: impl Iterator<Item = usize>, device: &Device) -> Result<Tensor> {
    from_matrix(&matrix.select(&rows.collect::<Vec<_>>()), device)
}
