//! Training of codebooks for retrieval: the family `learned` ("learned image id" of DSI for images; GenRet, Sun et al.
//! 2023; PRO).
//!
//! Plain residual quantisation asks that a reconstruction lie near its embedding. A search asks something else: that
//! already the first codes put the wanted image before the others, under a *caption*. So codebooks fitted by
//! [`Codebooks::fit`] are trained on, by the [`loss`] over train captions and train images alone; every so many steps
//! the images are assigned anew and dead codes revived ([`crate::docid::revive_codes`]). Stands between the quantiser's fit
//! and the naming of images ([`crate::docid::unique_paths`]).

pub mod loss;

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use rand::seq::index;

use self::loss::{Batch, Weights};
use super::Rows;
use crate::config::{Index as Section, LrSchedule};
use crate::context::Context;
use crate::data::corpus::TrainPair;
use crate::data::epochs::Epochs;
use crate::distributed::Comm;
use crate::docid::revive_codes::revive;
use crate::docid::rq::Codebooks;
use crate::docid::{Code, distributed};
use crate::error::Result;
use crate::matrix::Matrix;
use crate::nn::adamw::{AdamW, Group};
use crate::nn::params::{Builder, Init, Params};
use crate::nn::tensors::{from_matrix, to_matrix};
use crate::rng;

/// What codebooks are trained on.
pub struct CodebookTrainingData<'a> {
    /// Aligned unit rows of the train images.
    pub images: Matrix,
    /// For each train caption its position in the corpus and the row of its image in `images`.
    spoken: Vec<(usize, usize)>,
    /// Aligned unit rows of captions of the corpus.
    captions: Rows<'a>,
}

impl<'a> CodebookTrainingData<'a> {
    /// The images `train` of a corpus, whose aligned unit rows are `images`, with their captions.
    pub fn new(images: &Matrix, train: &[usize], pairs: &[TrainPair], captions: Rows<'a>) -> Self {
        let rows: HashMap<usize, usize> =
            train.iter().enumerate().map(|(row, &image)| (image, row)).collect();
        let row = |pair: &TrainPair| Some((pair.caption().index(), *rows.get(&pair.image().row())?));
        Self { images: images.select(train), spoken: pairs.iter().filter_map(row).collect(), captions }
    }

    /// The captions at these positions, the `gallery` images they rank (their own, and others drawn for the step) and
    /// the codes of these.
    fn batch(
        &self,
        asked: &[usize],
        gallery: usize,
        codes: &[Vec<Code>],
        draw: &mut rng::Rng,
        device: &Device,
    ) -> Result<Batch> {
        let (captions, own): (Vec<usize>, Vec<usize>) = asked.iter().map(|&at| self.spoken[at]).unzip();
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

/// The different rows of `own`, then others of `0..rows` in random order, `count` together (more if `own` has more).
fn gallery_of(own: &[usize], rows: usize, count: usize, draw: &mut rng::Rng) -> Vec<usize> {
    let mut chosen = vec![false; rows];
    let others = index::sample(draw, rows, rows.min(count)).into_vec();
    let fresh = |row: &usize| !std::mem::replace(&mut chosen[*row], true);
    let mut images: Vec<usize> = own.iter().copied().chain(others).filter(fresh).collect();
    let own = images.iter().take_while(|row| own.contains(row)).count();
    images.truncate(count.max(own));
    images
}

/// Trains codebooks that were fitted already; zero steps leave them as they are. The steps are the first rank's; the codes of
/// the images are found by all of them.
///
/// # Errors
/// When the device refuses or the loss diverges.
pub fn train(
    section: &Section,
    start: &Codebooks,
    lessons: &CodebookTrainingData,
    seed: u64,
    ctx: &Context,
) -> Result<Codebooks> {
    let (device, comm) = (&ctx.device, &ctx.comm);
    if section.learned_steps == 0 || lessons.spoken.is_empty() {
        return Ok(start.clone());
    }
    let (params, books) = parameters(start, device)?;
    let weights = Weights {
        contrastive: section.learned_contrastive,
        ranking: section.learned_ranking,
        reconstruction: section.learned_reconstruction,
        temperature: section.learned_temperature,
    };
    let epochs = Epochs::new(seed, "learned order", lessons.spoken.len());
    let mut adamw = AdamW::new(&params)?;
    let mut codes = Vec::new();
    let bar = ctx.bar(section.learned_steps, "learning codebooks");
    for step in 0..section.learned_steps {
        let mut draw = rng::stream(seed, "learned gallery", step as u64);
        if step % section.learned_reassign == 0 {
            codes = reassign(section, &params, &books, &lessons.images, &mut draw, comm)?;
        }
        if !comm.is_first() {
            continue;
        }
        let asked = epochs.batch(step, section.learned_batch);
        let batch = lessons.batch(&asked, section.learned_gallery, &codes, &mut draw, device)?;
        let loss = loss::loss(&books, &batch, weights)?;
        let lr = section.learned_lr
            * LrSchedule::Cosine.factor(step, section.learned_steps, section.learned_steps / 20 + 1);
        adamw.step(&loss.backward()?, 1.0, |_| Group { lr, decay: 0.0 })?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    distributed::of_first(&start.codes_per_level(), start.width(), comm, || read(&books))
}

/// The codebooks as parameters, and the same tensors by level.
fn parameters(start: &Codebooks, device: &Device) -> Result<(Params, Vec<Tensor>)> {
    let named = start.levels().iter().enumerate();
    let tensors = named.map(|(level, book)| Ok((level.to_string(), from_matrix(book, device)?)));
    let builder = Builder::loaded(tensors.collect::<Result<_>>()?, |_| true, device);
    let shaped = start.levels().iter().enumerate();
    let books = shaped.map(|(level, book)| {
        builder.root().param(&level.to_string(), (book.rows(), book.width()), Init::Constant(0.0))
    });
    let books = books.collect::<Result<_>>()?;
    Ok((builder.finish("codebooks".as_ref())?, books))
}

fn read(books: &[Tensor]) -> Result<Codebooks> {
    Codebooks::new(books.iter().map(to_matrix).collect::<Result<_>>()?)
}

/// The codes of the images under the codebooks as they are now, after dead codes were revived.
fn reassign(
    section: &Section,
    params: &Params,
    books: &[Tensor],
    images: &Matrix,
    draw: &mut rng::Rng,
    comm: &Comm,
) -> Result<Vec<Vec<Code>>> {
    let sizes: Vec<usize> = books.iter().map(|book| book.dim(0)).collect::<candle_core::Result<_>>()?;
    let now = distributed::of_first(&sizes, images.width(), comm, || read(books))?;
    let codes = distributed::encode_all(&now, images, section.encode_beam, comm);
    let (revived, moved) = revive(&now, images, &codes, draw)?;
    if moved == 0 {
        return Ok(codes);
    }
    tracing::debug!("{moved} codes that no image used were revived");
    let device = books[0].device();
    let named = revived.levels().iter().enumerate();
    let tensors = named.map(|(level, book)| Ok((level.to_string(), from_matrix(book, device)?)));
    params.assign(tensors.collect::<Result<_>>()?, "codebooks".as_ref())?;
    Ok(distributed::encode_all(&revived, images, section.encode_beam, comm))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docid::gates::GateReport;
    use crate::docid::{reconstruction, suffix, unique_paths};
    use crate::ids::ImageIdx;
    use rand::Rng as _;

    const WIDTH: usize = 16;
    const TRAIN: usize = 300;
    const ALL: usize = 600;

    /// Unit rows of images, and for each a caption near it, but for a gap between the modalities: plain quantisation
    /// of both spends half of its first codes on places where no image lies.
    fn world(number: u64) -> (Matrix, Matrix) {
        let mut draw = rng::stream(3, "world", number);
        let mut number = || draw.random_range(-1.0f32..1.0);
        let first = |at: usize| at.is_multiple_of(WIDTH);
        let images: Vec<f32> = (0..ALL * WIDTH).map(|at| if first(at) { 1.5 } else { number() }).collect();
        let told = |(at, x): (usize, &f32)| if first(at) { -x } else { x + 0.3 * number() };
        let captions = images.iter().enumerate().map(told).collect();
        (Matrix::new(WIDTH, images).normalized(), Matrix::new(WIDTH, captions).normalized())
    }

    fn section(steps: usize) -> Section {
        Section {
            encode_beam: 4,
            learned_steps: steps,
            learned_batch: 64,
            learned_gallery: 150,
            learned_lr: 0.003,
            learned_reassign: 10,
            ..Section::default()
        }
    }

    fn fitted(images: &Matrix, captions: &Matrix) -> Codebooks {
        let points = images.stacked(captions);
        Codebooks::fit(&points, &[16, 16], 10, &mut rng::stream(1, "docids", 0)).unwrap()
    }

    fn trained(section: &Section, images: &Matrix, captions: &Matrix, seed: u64) -> Codebooks {
        let train: Vec<usize> = (0..TRAIN).collect();
        let start = fitted(&images.select(&train), &captions.select(&train));
        let spoken = train.iter().map(|&row| (row, row)).collect();
        let lessons = CodebookTrainingData {
            images: images.select(&train),
            spoken,
            captions: &|rows| captions.select(rows),
        };
        super::train(section, &start, &lessons, seed, &Context::default()).unwrap()
    }

    /// Recall@10 by reconstructions, of images and captions that nothing was trained on, and the share of the first
    /// level's codes that images use.
    fn gates(books: &Codebooks, images: &Matrix, captions: &Matrix) -> [f64; 2] {
        let codes = unique_paths::distinct(books, images, 4, &Comm::single());
        let (docids, collisions) = suffix::unique(codes, &books.codes_per_level()).unwrap();
        let report = GateReport::new(&docids, 2, Some(collisions));
        let held: Vec<usize> = (TRAIN..ALL).collect();
        let gold: Vec<ImageIdx> = held.iter().map(|&row| ImageIdx::from(row)).collect();
        let queries = captions.select(&held);
        let recall = reconstruction::recall(&queries, &gold, &books.reconstruct_all(&docids), &[10]);
        [recall[0], report.levels[0].used as f64 / report.levels[0].codes as f64]
    }

    #[test]
    fn training_finds_more_unseen_images_than_plain_quantisation_and_uses_all_codes() {
        let worlds = [0, 1, 2].map(world);
        let gates = |steps| {
            let each = worlds.iter().map(|(images, captions)| {
                gates(&trained(&section(steps), images, captions, 0), images, captions)
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
        let trained = |steps, seed| trained(&section(steps), &images, &captions, seed);
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
