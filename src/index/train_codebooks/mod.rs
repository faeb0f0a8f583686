//! Training of codebooks for retrieval: the family `learned` ("learned image id" of DSI for images; GenRet,
//! Sun et al. 2023; PRO).
//!
//! Plain residual quantisation brings a reconstruction near its embedding. A search needs something else: for
//! a *caption*, the first codes alone should rank the wanted image before the others. So codebooks fitted by
//! [`Codebooks::fit`] are trained further, by the [`loss`] over train captions and train images. Every few
//! steps the images are encoded again and dead codes are revived ([`crate::docid::revive_codes`]).

pub mod loss;

use std::collections::{BTreeMap, HashMap};

use candle_core::{Device, Tensor};
use rand::seq::index;

use self::loss::{Batch, Weights};
use crate::context::Context;
use crate::data::epochs::Epochs;
use crate::distributed::Comm;
use crate::docid::Code;
use crate::docid::revive_codes::revive;
use crate::docid::rq::Codebooks;
use crate::error::Result;
use crate::index::settings::Index;
use crate::matrix::Matrix;
use crate::model::encode_across_ranks;
use crate::nn::fit::{self, fit};
use crate::nn::params::{Builder, Init, Params};
use crate::nn::tensors::{from_matrix, to_matrix};
use crate::rng;

/// What codebooks are trained on.
pub struct CodebookTrainingData<'a> {
    /// Aligned unit rows of the train images.
    pub images: Matrix,
    /// For each train caption its position in the corpus and the row of its image in `images`.
    pairs: Vec<(usize, usize)>,
    /// Aligned unit rows of the captions at these positions.
    captions: &'a dyn Fn(&[usize]) -> Matrix,
}

impl<'a> CodebookTrainingData<'a> {
    /// The images `train_images` of a corpus, whose aligned unit rows are `images`, with their captions: the
    /// position of each in the corpus, and the row of its image.
    pub fn new(
        images: &Matrix,
        train_images: &[usize],
        train_captions: &[(usize, usize)],
        captions: &'a dyn Fn(&[usize]) -> Matrix,
    ) -> Self {
        let rows: HashMap<usize, usize> =
            train_images.iter().enumerate().map(|(row, &image)| (image, row)).collect();
        let pair = |&(caption, image): &(usize, usize)| Some((caption, *rows.get(&image)?));
        let pairs = train_captions.iter().filter_map(pair).collect();
        Self { images: images.select(train_images), pairs, captions }
    }

    /// The captions of these pairs, the `gallery` images that they rank (their own, and others drawn for the
    /// step) and the codes of the images.
    fn batch(
        &self,
        pairs: &[usize],
        gallery: usize,
        codes: &[Vec<Code>],
        draw: &mut rng::Rng,
        device: &Device,
    ) -> Result<Batch> {
        let (captions, own): (Vec<usize>, Vec<usize>) = pairs.iter().map(|&pair| self.pairs[pair]).unzip();
        let images = gallery_of(&own, self.images.rows(), gallery, draw);
        let column: HashMap<usize, usize> = images.iter().enumerate().map(|(at, &row)| (row, at)).collect();
        let mut is_own = Matrix::zeros(own.len(), images.len());
        for (caption, row) in own.iter().enumerate() {
            is_own.row_mut(caption)[column[row]] = 1.0;
        }
        let level = |level: usize| {
            let codes: Vec<u32> = images.iter().map(|&row| codes[row][level]).collect();
            Tensor::new(codes, device)
        };
        Ok(Batch {
            captions: from_matrix(&(self.captions)(&captions), device)?,
            images: from_matrix(&self.images.select(&images), device)?,
            codes: (0..codes[0].len()).map(level).collect::<candle_core::Result<_>>()?,
            own: from_matrix(&is_own, device)?,
        })
    }
}

/// The different rows of `own`, then others of `0..rows` in random order, `count` together (more if `own` has
/// more).
fn gallery_of(own: &[usize], rows: usize, count: usize, draw: &mut rng::Rng) -> Vec<usize> {
    let mut chosen = vec![false; rows];
    let others = index::sample(draw, rows, rows.min(count)).into_vec();
    let fresh = |row: &usize| !std::mem::replace(&mut chosen[*row], true);
    let mut images: Vec<usize> = own.iter().copied().chain(others).filter(fresh).collect();
    let own = images.iter().take_while(|row| own.contains(row)).count();
    images.truncate(count.max(own));
    images
}

/// Trains fitted codebooks; zero steps leave them as they are. The first rank takes the steps; all ranks
/// share the encoding of the images.
///
/// # Errors
/// When the loss diverges.
pub fn train(
    settings: &Index,
    start: &Codebooks,
    data: &CodebookTrainingData,
    seed: u64,
    ctx: &Context,
) -> Result<Codebooks> {
    if settings.learned_steps == 0 || data.pairs.is_empty() {
        return Ok(start.clone());
    }
    let (params, books) = parameters(start, &ctx.device)?;
    let weights = weights(settings);
    let epochs = Epochs::new(seed, "learned order", data.pairs.len());
    let mut codes = Vec::new();
    let bar = ctx.bar(settings.learned_steps, "learning codebooks");
    let plan =
        fit::Plan { name: "codebooks", steps: settings.learned_steps, lr: settings.learned_lr, decay: 0.0 };
    fit(&params, plan, &|| bar.inc(1), |step| {
        let mut draw = rng::stream(seed, "learned gallery", step as u64);
        if step % settings.learned_reassign == 0 {
            codes = reassign(settings, &params, &books, &data.images, &mut draw, &ctx.comm)?;
        }
        if !ctx.comm.is_first() {
            return Ok(None);
        }
        let pairs = epochs.batch(step, settings.learned_batch);
        let batch = data.batch(&pairs, settings.learned_gallery, &codes, &mut draw, &ctx.device)?;
        loss::loss(&books, &batch, weights).map(Some)
    })?;
    bar.finish_and_clear();
    let sizes = start.codes_per_level();
    encode_across_ranks::broadcast_codebooks(&sizes, start.width(), &ctx.comm, || read(&books))
}

fn weights(settings: &Index) -> Weights {
    Weights {
        contrastive: settings.learned_contrastive,
        ranking: settings.learned_ranking,
        reconstruction: settings.learned_reconstruction,
        temperature: settings.learned_temperature,
    }
}

/// The codebooks as parameters, and the same tensors by level.
fn parameters(start: &Codebooks, device: &Device) -> Result<(Params, Vec<Tensor>)> {
    let builder = Builder::loaded(tensors(start, device)?, |_| true, device);
    let mut books = Vec::new();
    for (level, book) in start.levels().iter().enumerate() {
        let shape = (book.rows(), book.width());
        books.push(builder.root().param(&level.to_string(), shape, Init::Constant(0.0))?);
    }
    Ok((builder.finish("codebooks".as_ref())?, books))
}

/// The tensor (codes, width) of each level, by its number.
fn tensors(books: &Codebooks, device: &Device) -> Result<BTreeMap<String, Tensor>> {
    let levels = books.levels().iter().enumerate();
    levels.map(|(level, book)| Ok((level.to_string(), from_matrix(book, device)?))).collect()
}

fn read(books: &[Tensor]) -> Result<Codebooks> {
    Codebooks::new(books.iter().map(to_matrix).collect::<Result<_>>()?)
}

/// The codes of the images under the codebooks of this step, after dead codes were revived.
fn reassign(
    settings: &Index,
    params: &Params,
    books: &[Tensor],
    images: &Matrix,
    draw: &mut rng::Rng,
    comm: &Comm,
) -> Result<Vec<Vec<Code>>> {
    let sizes: Vec<usize> = books.iter().map(|book| book.dim(0)).collect::<candle_core::Result<_>>()?;
    let now = encode_across_ranks::broadcast_codebooks(&sizes, images.width(), comm, || read(books))?;
    let codes = encode_across_ranks::encode_all(&now, images, settings.encode_beam, comm);
    let (revived, moved) = revive(&now, images, &codes, draw)?;
    if moved == 0 {
        return Ok(codes);
    }
    tracing::debug!("{moved} codes that no image used were revived");
    params.assign(tensors(&revived, books[0].device())?, "codebooks".as_ref())?;
    Ok(encode_across_ranks::encode_all(&revived, images, settings.encode_beam, comm))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docid::gates::GateReport;
    use crate::docid::{codebook_measures, suffix};
    use crate::ids::ImageIdx;
    use rand::Rng as _;

    const WIDTH: usize = 16;
    const TRAIN: usize = 300;
    const ALL: usize = 600;

    /// Unit rows of images and for each a caption near it, with a gap between the modalities: plain
    /// quantisation of both spends half of its first codes on places without images.
    fn world(number: u64) -> (Matrix, Matrix) {
        let mut draw = rng::stream(3, "world", number);
        let mut number = || draw.random_range(-1.0f32..1.0);
        let first = |at: usize| at.is_multiple_of(WIDTH);
        let images: Vec<f32> = (0..ALL * WIDTH).map(|at| if first(at) { 1.5 } else { number() }).collect();
        let caption = |(at, x): (usize, &f32)| if first(at) { -x } else { x + 0.3 * number() };
        let captions = images.iter().enumerate().map(caption).collect();
        (Matrix::new(WIDTH, images).normalized(), Matrix::new(WIDTH, captions).normalized())
    }

    fn settings(steps: usize) -> Index {
        Index {
            encode_beam: 4,
            learned_steps: steps,
            learned_batch: 64,
            learned_gallery: 150,
            learned_lr: 0.003,
            learned_reassign: 10,
            ..Index::default()
        }
    }

    fn fitted(images: &Matrix, captions: &Matrix) -> Codebooks {
        let points = images.stacked(captions);
        Codebooks::fit(&points, &[16, 16], 10, &mut rng::stream(1, "docids", 0)).unwrap()
    }

    fn trained(settings: &Index, images: &Matrix, captions: &Matrix, seed: u64) -> Codebooks {
        let train: Vec<usize> = (0..TRAIN).collect();
        let start = fitted(&images.select(&train), &captions.select(&train));
        let pairs = train.iter().map(|&row| (row, row)).collect();
        let data = CodebookTrainingData {
            images: images.select(&train),
            pairs,
            captions: &|rows| captions.select(rows),
        };
        super::train(settings, &start, &data, seed, &Context::default()).unwrap()
    }

    /// Recall@10 by reconstructions for unseen images and captions, and the share of the first level's codes
    /// that images use.
    fn gates(books: &Codebooks, images: &Matrix, captions: &Matrix) -> [f64; 2] {
        let codes = encode_across_ranks::encode_unique(books, images, 4, &Comm::single());
        let (docids, collisions) = suffix::unique(codes, &books.codes_per_level()).unwrap();
        let report = GateReport::new(&docids, 2, Some(collisions));
        let unseen: Vec<usize> = (TRAIN..ALL).collect();
        let gold: Vec<ImageIdx> = unseen.iter().map(|&row| ImageIdx::from(row)).collect();
        let queries = captions.select(&unseen);
        let recall = codebook_measures::recall(&queries, &gold, &books.reconstruct_all(&docids), &[10]);
        [recall[0], report.levels[0].used as f64 / report.levels[0].codes as f64]
    }

    #[test]
    fn training_finds_more_unseen_images_than_plain_quantisation_and_uses_all_codes() {
        let worlds = [0, 1, 2].map(world);
        let gates = |steps| {
            let each = worlds.iter().map(|(images, captions)| {
                gates(&trained(&settings(steps), images, captions, 0), images, captions)
            });
            each.fold([0.0; 2], |sum, one| [0, 1].map(|at| sum[at] + one[at] / 3.0))
        };
        let (plain, learned) = (gates(0), gates(80));
        assert!(learned[0] > plain[0] + 0.03, "recall: {plain:?} {learned:?}");
        assert!(plain[1] < 0.6 && learned[1] > 0.99, "use: {plain:?} {learned:?}");
    }

    #[test]
    fn zero_steps_change_nothing_and_a_seed_decides_the_rest() {
        let (images, captions) = world(0);
        let trained = |steps, seed| trained(&settings(steps), &images, &captions, seed);
        let train: Vec<usize> = (0..TRAIN).collect();
        assert_eq!(trained(0, 0), fitted(&images.select(&train), &captions.select(&train)));
        assert_eq!(trained(3, 0), trained(3, 0));
        assert_ne!(trained(3, 0), trained(3, 1));
    }

    #[test]
    fn a_gallery_has_the_captions_own_images_first_and_each_once() {
        let mut draw = rng::stream(1, "gallery", 0);
        let gallery = gallery_of(&[7, 2, 7], 20, 5, &mut draw);
        assert_eq!((gallery.len(), &gallery[..2]), (5, &[7, 2][..]));
        assert_eq!(gallery.iter().collect::<std::collections::BTreeSet<_>>().len(), 5);
        assert_eq!(gallery_of(&[3, 4], 20, 1, &mut draw), [3, 4]);
        assert_eq!(gallery_of(&[0], 3, 9, &mut draw).len(), 3);
    }
}
