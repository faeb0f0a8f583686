//! Training of the alignment: the means, and I + A on each side by the symmetric contrastive loss, on
//! the train split.

use std::collections::HashMap;

use candle_core::Tensor;

use crate::config::{Index as Section, LrSchedule};
use crate::context::Context;
use crate::data::corpus::TrainPair;
use crate::data::embeddings::Embeddings;
use crate::data::epochs::Epochs;
use crate::encoder::contrastive_loss::contrastive_loss;
use crate::error::Result;
use crate::matrix::Matrix;
use crate::model::alignment::{Alignment, SideMap};
use crate::nn::adamw::{AdamW, Group};
use crate::nn::params::{Builder, Init};
use crate::nn::tensors::{from_matrix, to_matrix, unit_rows};

/// Learns the alignment from train pairs; zero steps leave A at zero.
///
/// # Errors
/// When the device refuses or the loss diverges.
pub fn learn(
    section: &Section,
    embeddings: &Embeddings,
    pairs: &[TrainPair],
    seed: u64,
    ctx: &Context,
) -> Result<Alignment> {
    let spoken: Vec<usize> = pairs.iter().map(|pair| pair.caption().index()).collect();
    let mut together: HashMap<usize, Vec<usize>> = HashMap::new(); // train captions of each image
    pairs.iter().for_each(|p| together.entry(p.image().row()).or_default().push(p.caption().index()));
    let seen: Vec<usize> = pairs.iter().map(|pair| pair.image().row()).collect();
    let side = |matrix: &Matrix, rows: &[usize]| {
        if section.center { SideMap::centring(matrix, rows) } else { SideMap::identity(matrix.width()) }
    };
    let mut caption = side(&embeddings.captions, &spoken);
    let mut image = side(&embeddings.images, &seen);
    if section.align_steps > 0 && !pairs.is_empty() {
        // Rows are picked and centred batch by batch: those of all pairs at once would be two more copies of the corpus.
        let rows = |batch: &[usize]| {
            let of = |pairs: &[usize]| batch.iter().map(|&pair| pairs[pair]).collect::<Vec<_>>();
            let stand_in = |&pair: &usize| others(&embeddings.captions, &together[&seen[pair]], spoken[pair]);
            let stand_ins = || batch.iter().flat_map(stand_in).collect();
            Batch {
                captions: caption.centred(&embeddings.captions.select(&of(&spoken))),
                images: image.centred(&embeddings.images.select(&of(&seen))),
                stand_ins: (section.align_captions > 0.0)
                    .then(|| image.centred(&Matrix::new(embeddings.captions.width(), stand_ins()))),
            }
        };
        (caption.map, image.map) = maps(section, pairs.len(), embeddings.images.width(), &rows, seed, ctx)?;
    }
    Ok(Alignment::new(caption, image))
}

/// Centred unit rows of a few pairs.
struct Batch {
    captions: Matrix,
    images: Matrix,
    /// What captions make of each image: the mean of its other ones. Made where it is wanted.
    stand_ins: Option<Matrix>,
}

/// The mean of the captions of an image but `own`; of itself, where it is the only one.
fn others(captions: &Matrix, of_image: &[usize], own: usize) -> Vec<f32> {
    let mut mean = vec![0.0; captions.width()];
    for &caption in of_image.iter().filter(|&&caption| caption != own || of_image.len() == 1) {
        mean.iter_mut().zip(captions.row(caption)).for_each(|(m, x)| *m += x);
    }
    mean
}

/// A for captions and A for images; `rows` gives a batch of the `pairs`.
fn maps(
    section: &Section,
    pairs: usize,
    width: usize,
    rows: &dyn Fn(&[usize]) -> Batch,
    seed: u64,
    ctx: &Context,
) -> Result<(Matrix, Matrix)> {
    let device = &ctx.device;
    let builder = Builder::fresh(seed, device);
    let map = |name: &str| builder.root().param(name, (width, width), Init::Constant(0.0));
    let (caption, image) = (map("caption.weight")?, map("image.weight")?);
    let params = builder.finish("align".as_ref())?;
    let scale = Tensor::new(-(section.align_temperature.ln() as f32), device)?;
    let epochs = Epochs::new(seed, "align order", pairs);
    let mut adamw = AdamW::new(&params)?;
    let bar = ctx.bar(section.align_steps, "aligning");
    for step in 0..section.align_steps {
        let batch = rows(&epochs.batch(step, section.align_batch));
        let moved = |rows: &Matrix, map: &Tensor| moved(&from_matrix(rows, device)?, map);
        let captions = moved(&batch.captions, &caption)?;
        let mut loss = contrastive_loss(&moved(&batch.images, &image)?, &captions, &scale)?;
        if let Some(stand_ins) = &batch.stand_ins {
            let beside = contrastive_loss(&moved(stand_ins, &image)?, &captions, &scale)?;
            loss = (loss + (beside * section.align_captions)?)?;
        }
        let lr = section.align_lr
            * LrSchedule::Cosine.factor(step, section.align_steps, section.align_steps / 20 + 1);
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
