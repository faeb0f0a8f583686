//! The photos that the image tower is shown at each step, decoded, and augmented where that is wanted, ahead of the step.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::prefetch::Prefetcher;
use super::query_batches::BatchSampler;
use super::step::MicroBatch;
use crate::config::{Config, OnBadImage, TrainableLayers};
use crate::data::corpus::Corpus;
use crate::data::photos::{Photo, decode_batch, view_batch};
use crate::data::preprocess::Preprocess;
use crate::distributed::{Comm, share};
use crate::encoder::embedded_corpus::photos_of;
use crate::error::{Error, Result};
use crate::rng;

/// The log target of photos that cannot be read: every rank reports those of its own share.
pub const PHOTO_FAULTS: &str = "dsi::photo_faults";

/// Photos as squares; none where one could not be read.
pub type Squares = Vec<Option<Vec<u8>>>;

/// The photos of a step: those that ask, and those of its contrastive loss.
pub type Photos = Arc<(Squares, Squares)>;

/// What is made ahead: the squares or faults of the photos that ask, and of those of the contrastive loss.
type Made = [Vec<Result<Vec<u8>>>; 2];

/// The photos of the steps of a training.
pub struct PhotoLoader {
    ahead: Prefetcher<Made>,
    /// The step that was asked for last, and its photos: both losses ask for them.
    last: RefCell<Option<(usize, Photos)>>,
    on_bad: OnBadImage,
    /// Faults that were told.
    told: RefCell<BTreeSet<String>>,
    faults: Cell<usize>,
}

impl PhotoLoader {
    /// The photos of a configuration's training, in the order of its queries.
    ///
    /// # Errors
    /// When the image tower is trained and the corpus has no photos.
    pub fn new(
        config: &Config,
        corpus: &Corpus,
        preprocess: &Preprocess,
        order: Arc<BatchSampler>,
        comm: &Comm,
    ) -> Result<Self> {
        let (tune, seed, accumulate) = (config.tune.clone(), config.seed, config.train.accumulate);
        let photos = match tune.image {
            TrainableLayers::None => Vec::new(),
            _ => photos_of(corpus, corpus.images())?,
        };
        let preprocess = preprocess.clone();
        // Of the ranks only two numbers go to the thread that decodes.
        let (rank, size) = (comm.rank(), comm.size());
        let shares = move |items: usize| share(rank, size, items);
        let make = move |step: usize| -> Made {
            if photos.is_empty() {
                return [Vec::new(), Vec::new()];
            }
            // What is drawn for a photo does not depend on which rank shows it.
            let shown = |rows: &[usize], stream: &str| {
                let own = shares(rows.len());
                let photos: Vec<&Photo> = rows[own.clone()].iter().map(|&row| &photos[row]).collect();
                let draw = |n: usize| rng::stream(seed, &format!("{stream} {}", own.start + n), step as u64);
                match tune.augment {
                    true => view_batch(&photos, &preprocess, &draw),
                    false => decode_batch(&photos, &preprocess),
                }
            };
            let asking = shown(&order.images(step), "photo");
            if tune.contrastive.at(MicroBatch::nth(step, accumulate).step().0) == 0.0 {
                return [asking, Vec::new()];
            }
            let paired: Vec<usize> = order.paired(step).iter().map(|pair| pair.image().row()).collect();
            [asking, shown(&paired, "paired photo")]
        };
        Ok(Self {
            ahead: Prefetcher::new(make),
            last: RefCell::default(),
            on_bad: config.data.on_bad_image,
            told: RefCell::default(),
            faults: Cell::default(),
        })
    }

    /// The photos that ask at a step, and those of its contrastive loss, which are there where that has a weight.
    ///
    /// # Errors
    /// When a photo can no longer be read, unless such are to be skipped.
    pub fn of(&self, step: usize) -> Result<Photos> {
        let mut last = self.last.borrow_mut();
        if let Some((_, photos)) = last.as_ref().filter(|(of, _)| *of == step) {
            return Ok(photos.clone());
        }
        let [asking, paired] = self.ahead.of(step);
        let photos = Arc::new((self.sound(asking)?, self.sound(paired)?));
        *last = Some((step, photos.clone()));
        Ok(photos)
    }

    /// Time that steps have waited for photos since this was last asked.
    pub fn waited(&self) -> Duration {
        self.ahead.waited()
    }

    /// Photos without their faults, each of which is told once, or ends the training.
    ///
    /// # Errors
    /// The first fault, unless faults are to be skipped.
    pub fn sound(&self, photos: Vec<Result<Vec<u8>>>) -> Result<Squares> {
        photos.into_iter().map(|photo| photo.map(Some).or_else(|fault| self.fault(fault))).collect()
    }

    /// Tells of each photo once, and counts.
    fn fault(&self, fault: Error) -> Result<Option<Vec<u8>>> {
        if self.on_bad == OnBadImage::Error {
            let remedy = "replace the photo and go on with --resume, or set data.on_bad_image = \"skip\"";
            return Err(Error::input(format!("{fault}; {remedy}")));
        }
        self.faults.set(self.faults.get() + 1);
        let fault = fault.to_string();
        if self.told.borrow_mut().insert(fault.clone()) {
            tracing::warn!(
                target: PHOTO_FAULTS,
                "{fault}: its embedding from before the training stands in for it ({} such so far)",
                self.faults.get()
            );
        }
        Ok(None)
    }
}

#[cfg(all(test, feature = "scenes"))]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::data::{jsonl, scenes};

    #[test]
    fn a_photo_that_vanished_ends_the_training_unless_it_is_to_be_skipped() {
        let root = tempfile::tempdir().unwrap();
        let spec = scenes::Spec { seed: 3, train: 6, val: 1, test: 1, side: 32 };
        scenes::write(root.path(), &spec, &|| ()).unwrap();
        let corpus = jsonl::read(&root.path().join("corpus.jsonl"), Some(root.path())).unwrap();
        let photo = corpus.photo(corpus.images().next().unwrap()).unwrap().path().to_path_buf();
        std::fs::remove_file(photo).unwrap();
        let shown = |on_bad: &str| {
            let sets = [
                "tune.image=all",
                "tune.contrastive=1",
                "tune.contrastive_pairs=9",
                "train.batch=16",
                on_bad,
            ]
            .map(str::to_owned);
            let config = Config::parse("", Path::new("x"), &sets).unwrap();
            let order = Arc::new(BatchSampler::new(&config, &corpus).unwrap());
            let gold = [order.images(0), order.paired(0).iter().map(|pair| pair.image().row()).collect()];
            let shown =
                PhotoLoader::new(&config, &corpus, &Preprocess::clip(16).unwrap(), order, &Comm::single())
                    .unwrap();
            (shown.of(0), gold)
        };
        let (photos, gold) = shown("data.on_bad_image=skip");
        let photos = photos.unwrap();
        for (squares, gold) in [&photos.0, &photos.1].into_iter().zip(gold) {
            let missing: Vec<bool> = gold.iter().map(|&row| row == 0).collect();
            assert_eq!(squares.iter().map(Option::is_none).collect::<Vec<_>>(), missing);
        }
        let error = shown("data.on_bad_image=error").0.unwrap_err().to_string();
        assert!(error.contains("--resume") && error.contains("cannot read"), "{error}");
    }
}
