//! Training of the alignment on the train split: the means, and I + A on each side by the symmetric
//! contrastive loss.

use std::collections::HashMap;

use candle_core::{Device, Tensor};

use super::Settings;
use crate::context::Context;
use crate::data::corpus::TrainPair;
use crate::data::corpus_embeddings::Embeddings;
use crate::data::epochs::Epochs;
use crate::encoder::contrastive_loss::contrastive_loss;
use crate::error::Result;
use crate::index::settings::Index;
use crate::matrix::Matrix;
use crate::modality::Modality;
use crate::model::alignment::{Alignment, SideMap};
use crate::nn::fit::{self, fit};
use crate::nn::params::{Builder, Init};
use crate::nn::tensors::{from_matrix, to_matrix, unit_rows};

/// The alignment that the first rank learns, on all ranks.
pub fn broadcast(
    settings: &Settings,
    embeddings: &Embeddings,
    pairs: &[TrainPair],
    ctx: &Context,
) -> Result<Alignment> {
    let learnt = if ctx.comm.is_first() {
        learn(settings.index, embeddings, pairs, settings.seed, ctx)?
    } else {
        Alignment::identity(embeddings.images.width())
    };
    let received = |own: Matrix| ctx.comm.broadcast_matrix(own.rows(), own.width(), || Ok(own));
    let side = |modality| -> Result<SideMap> {
        let SideMap { mean, map } = learnt.side(modality).clone();
        Ok(SideMap { mean: received(mean)?, map: received(map)? })
    };
    Ok(Alignment::new(side(Modality::Caption)?, side(Modality::Image)?))
}

/// Learns the alignment from train pairs; zero steps leave A at zero.
///
/// # Errors
/// When the loss diverges.
pub fn learn(
    settings: &Index,
    embeddings: &Embeddings,
    pairs: &[TrainPair],
    seed: u64,
    ctx: &Context,
) -> Result<Alignment> {
    let mut batches = Batches::new(settings, embeddings, pairs);
    if settings.align_steps > 0 && !pairs.is_empty() {
        let maps = train_maps(settings, &batches, seed, ctx)?;
        (batches.caption_side.map, batches.image_side.map) = maps;
    }
    Ok(Alignment::new(batches.caption_side, batches.image_side))
}

/// The train pairs as positions of captions and rows of images, from which batches are cut. Rows are selected
/// and centred batch by batch; those of all pairs at once would be two more copies of the corpus.
struct Batches<'a> {
    embeddings: &'a Embeddings,
    captions: Vec<usize>,
    images: Vec<usize>,
    /// The train captions of each image.
    captions_of: HashMap<usize, Vec<usize>>,
    caption_side: SideMap,
    image_side: SideMap,
    /// Whether batches have stand-ins.
    stand_ins: bool,
}

/// Centred unit rows of a few pairs, (pairs, width) each.
struct Batch {
    captions: Matrix,
    images: Matrix,
    /// The mean of the image's other captions in place of the image, for the second term of the loss.
    stand_ins: Option<Matrix>,
}

impl<'a> Batches<'a> {
    fn new(settings: &Index, embeddings: &'a Embeddings, pairs: &[TrainPair]) -> Self {
        let captions: Vec<usize> = pairs.iter().map(|pair| pair.caption().index()).collect();
        let images: Vec<usize> = pairs.iter().map(|pair| pair.image().row()).collect();
        let mut captions_of: HashMap<usize, Vec<usize>> = HashMap::new();
        for (&caption, &image) in captions.iter().zip(&images) {
            captions_of.entry(image).or_default().push(caption);
        }
        Self {
            caption_side: side(settings, &embeddings.captions, &captions),
            image_side: side(settings, &embeddings.images, &images),
            stand_ins: settings.align_captions > 0.0,
            embeddings,
            captions,
            images,
            captions_of,
        }
    }

    fn batch(&self, pairs: &[usize]) -> Batch {
        let captions: Vec<usize> = pairs.iter().map(|&pair| self.captions[pair]).collect();
        let images: Vec<usize> = pairs.iter().map(|&pair| self.images[pair]).collect();
        Batch {
            captions: self.caption_side.centred(&self.embeddings.captions.select(&captions)),
            images: self.image_side.centred(&self.embeddings.images.select(&images)),
            stand_ins: self.stand_ins.then(|| self.image_side.centred(&self.stand_ins(pairs))),
        }
    }

    fn stand_ins(&self, pairs: &[usize]) -> Matrix {
        let captions = &self.embeddings.captions;
        let stand_in = |&pair: &usize| {
            other_captions(captions, &self.captions_of[&self.images[pair]], self.captions[pair])
        };
        Matrix::new(captions.width(), pairs.iter().flat_map(stand_in).collect())
    }
}

/// The side before training: it subtracts the mean of these rows if the configuration says so.
fn side(settings: &Index, matrix: &Matrix, rows: &[usize]) -> SideMap {
    if settings.center { SideMap::centring(matrix, rows) } else { SideMap::identity(matrix.width()) }
}

/// The sum of an image's captions except `own`; that of `own` if the image has no other.
fn other_captions(captions: &Matrix, of_image: &[usize], own: usize) -> Vec<f32> {
    let mut sum = vec![0.0; captions.width()];
    for &caption in of_image.iter().filter(|&&caption| caption != own || of_image.len() == 1) {
        sum.iter_mut().zip(captions.row(caption)).for_each(|(sum, x)| *sum += x);
    }
    sum
}

/// Trains A of the captions and A of the images.
fn train_maps(settings: &Index, batches: &Batches, seed: u64, ctx: &Context) -> Result<(Matrix, Matrix)> {
    let width = batches.embeddings.images.width();
    let builder = Builder::fresh(seed, &ctx.device);
    let map = |name: &str| builder.root().param(name, (width, width), Init::Constant(0.0));
    let maps = Maps {
        caption: map("caption.weight")?,
        image: map("image.weight")?,
        scale: Tensor::new(-(settings.align_temperature.ln() as f32), &ctx.device)?,
        stand_in_weight: settings.align_captions,
    };
    let params = builder.finish("align".as_ref())?;
    let epochs = Epochs::new(seed, "align order", batches.captions.len());
    let bar = ctx.bar(settings.align_steps, "aligning");
    let plan = fit::Plan {
        name: "alignment",
        steps: settings.align_steps,
        lr: settings.align_lr,
        decay: settings.align_weight_decay,
    };
    fit(&params, plan, &|| bar.inc(1), |step| {
        let batch = batches.batch(&epochs.batch(step, settings.align_batch));
        maps.loss(&batch, &ctx.device).map(Some)
    })?;
    bar.finish_and_clear();
    Ok((to_matrix(&maps.caption)?, to_matrix(&maps.image)?))
}

/// The trained maps A, (width, width) each, and what their loss needs.
struct Maps {
    caption: Tensor,
    image: Tensor,
    /// ln(1/τ)
    scale: Tensor,
    /// The weight of the term in which stand-ins replace the images.
    stand_in_weight: f64,
}

impl Maps {
    fn loss(&self, batch: &Batch, device: &Device) -> Result<Tensor> {
        let captions = aligned(&from_matrix(&batch.captions, device)?, &self.caption)?;
        let images = aligned(&from_matrix(&batch.images, device)?, &self.image)?;
        let loss = contrastive_loss(&images, &captions, &self.scale)?;
        let Some(stand_ins) = &batch.stand_ins else { return Ok(loss) };
        let stand_ins = aligned(&from_matrix(stand_ins, device)?, &self.image)?;
        let second = contrastive_loss(&stand_ins, &captions, &self.scale)?;
        Ok((loss + (second * self.stand_in_weight)?)?)
    }
}

/// normalise(x + A·x)
fn aligned(x: &Tensor, map: &Tensor) -> Result<Tensor> {
    unit_rows(&(x + x.matmul(&map.t()?)?)?)
}
