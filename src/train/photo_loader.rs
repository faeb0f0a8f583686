//! Decodes the photos of each training batch ahead of it on a thread, augmented if `tune.augment` says so.

use std::sync::Arc;
use std::time::Duration;

use super::batch_sampler::BatchSampler;
use super::joint_settings::JointSettings;
use super::prefetch::Prefetcher;
use super::step_and_micro_batch::MicroBatch;
use crate::data::corpus::Corpus;
use crate::data::photos::{Photo, decode_batch, view_batch};
use crate::data::preprocess::Preprocess;
use crate::distributed::{Comm, share};
use crate::encoder::embedded_corpus::photos_of;
use crate::encoder::trainable_layers::TrainableLayers;
use crate::encoder::unreadable_photos::{DecodedPhotos, PhotoFallback};
use crate::error::Result;
use crate::nn::weight_schedule::WeightSchedule;
use crate::rng;

/// What photos are loaded for and how they are prepared.
pub struct PhotoLoading<'a> {
    /// The settings of the training that they are for.
    pub settings: &'a JointSettings<'a>,
    /// How photos are prepared for the encoder.
    pub preprocess: &'a Preprocess,
    /// The processes that load a share each.
    pub comm: &'a Comm,
}

/// The photos of one micro-batch, on this rank.
#[derive(Default)]
pub struct BatchPhotos {
    /// Those of the image queries.
    pub queries: DecodedPhotos,
    /// Those of the pairs of the contrastive loss; empty while it has no weight.
    pub pairs: DecodedPhotos,
}

/// Decoded photos of the queries and of the pairs, or what is wrong with each.
type Decoded = [Vec<Result<Vec<u8>>>; 2];

/// The photos of all batches of a training.
pub struct PhotoLoader {
    decoded: Prefetcher<Decoded>,
    fallback: PhotoFallback,
}

impl PhotoLoader {
    /// The photos of a training, in the order of its queries.
    ///
    /// # Errors
    /// When the image tower is trained and the corpus has no photos.
    pub fn new(loading: &PhotoLoading, corpus: &Corpus, sampler: Arc<BatchSampler>) -> Result<Self> {
        let settings = loading.settings;
        let decoder = (settings.tune.image != TrainableLayers::None)
            .then(|| BatchDecoder::new(loading, corpus, sampler))
            .transpose()?;
        let decode = move |number| decoder.as_ref().map_or_else(Decoded::default, |all| all.decode(number));
        Ok(Self { decoded: Prefetcher::new(decode), fallback: PhotoFallback::new(settings.on_bad_image) })
    }

    /// The photos of a micro-batch.
    ///
    /// # Errors
    /// When a photo can no longer be read and `data.on_bad_image` is `"error"`.
    pub fn load(&mut self, batch: MicroBatch) -> Result<BatchPhotos> {
        let [queries, pairs] = self.decoded.of(batch.number());
        Ok(BatchPhotos { queries: self.admit(queries)?, pairs: self.admit(pairs)? })
    }

    /// The time spent waiting for photos since the last call.
    pub fn waited(&mut self) -> Duration {
        self.decoded.waited()
    }

    /// [`PhotoFallback::admit`].
    ///
    /// # Errors
    /// As there.
    pub fn admit(&mut self, decoded: Vec<Result<Vec<u8>>>) -> Result<DecodedPhotos> {
        self.fallback.admit(decoded)
    }
}

/// Decodes the photos of a batch: a function of the seed and the batch alone.
struct BatchDecoder {
    /// All photos of the corpus.
    photos: Vec<Photo>,
    preprocess: Preprocess,
    sampler: Arc<BatchSampler>,
    contrastive: WeightSchedule,
    augment: bool,
    seed: u64,
    accumulate: usize,
    rank: usize,
    ranks: usize,
}

impl BatchDecoder {
    fn new(loading: &PhotoLoading, corpus: &Corpus, sampler: Arc<BatchSampler>) -> Result<Self> {
        let settings = loading.settings;
        Ok(Self {
            photos: photos_of(corpus, corpus.images())?,
            preprocess: loading.preprocess.clone(),
            sampler,
            contrastive: settings.tune.contrastive.clone(),
            augment: settings.tune.augment,
            seed: settings.seed,
            accumulate: settings.train.accumulate,
            rank: loading.comm.rank(),
            ranks: loading.comm.size(),
        })
    }

    fn decode(&self, number: usize) -> Decoded {
        let batch = MicroBatch::nth(number, self.accumulate);
        let queries = self.decode_share(&self.sampler.images(batch), "photo", batch);
        if self.contrastive.at(batch.step().0) == 0.0 {
            return [queries, Vec::new()];
        }
        let pairs: Vec<usize> = self.sampler.paired(batch).iter().map(|pair| pair.image().row()).collect();
        [queries, self.decode_share(&pairs, "paired photo", batch)]
    }

    /// This rank's share of some images' photos. The random stream of a photo does not depend on the rank
    /// that decodes it.
    fn decode_share(&self, images: &[usize], stream: &str, batch: MicroBatch) -> Vec<Result<Vec<u8>>> {
        let share = share(self.rank, self.ranks, images.len());
        let photos: Vec<&Photo> = images[share.clone()].iter().map(|&image| &self.photos[image]).collect();
        if !self.augment {
            return decode_batch(&photos, &self.preprocess);
        }
        let name = |n: usize| format!("{stream} {}", share.start + n);
        let draw = |n: usize| rng::stream(self.seed, &name(n), batch.number() as u64);
        view_batch(&photos, &self.preprocess, &draw)
    }
}

#[cfg(all(test, feature = "scenes"))]
mod tests {
    use super::*;
    use crate::data::settings::OnBadImage;
    use crate::data::{jsonl, scenes};
    use crate::encoder::tune_settings::Tune;
    use crate::model::settings::Decoder;
    use crate::retriever::settings::Search;
    use crate::train::settings::Train;

    /// The photos of the first batch of a training on a corpus, and the images they are of.
    fn first_batch(corpus: &Corpus, on_bad: OnBadImage) -> (Result<BatchPhotos>, [Vec<usize>; 2]) {
        let tune = Tune {
            image: TrainableLayers::All,
            contrastive: WeightSchedule::constant(1.0),
            contrastive_pairs: 9,
            ..Tune::default()
        };
        let train = Train { batch: 16, ..Train::default() };
        let sampler = Arc::new(BatchSampler::new(0, &train, &tune, corpus).unwrap());
        let first = MicroBatch::nth(0, 1);
        let pairs = sampler.paired(first).iter().map(|pair| pair.image().row()).collect();
        let images = [sampler.images(first), pairs];
        let (decoder, search) = (Decoder::default(), Search::default());
        let settings = JointSettings {
            seed: 0,
            encode_beam: 1,
            index_views: 0,
            decoder: &decoder,
            train: &train,
            tune: &tune,
            search: &search,
            on_bad_image: on_bad,
        };
        let (preprocess, comm) = (Preprocess::clip(16).unwrap(), Comm::single());
        let loading = PhotoLoading { settings: &settings, preprocess: &preprocess, comm: &comm };
        (PhotoLoader::new(&loading, corpus, sampler).unwrap().load(first), images)
    }

    #[test]
    fn an_unreadable_photo_ends_the_training_unless_it_is_to_be_skipped() {
        let root = tempfile::tempdir().unwrap();
        let spec = scenes::Spec { seed: 3, train: 6, val: 1, test: 1, side: 32 };
        scenes::write(root.path(), &spec, &|| ()).unwrap();
        let corpus =
            jsonl::read(&root.path().join("corpus.jsonl"), Some(root.path()), OnBadImage::Error).unwrap();
        let photo = corpus.photo(corpus.images().next().unwrap()).unwrap().path();
        std::fs::remove_file(photo).unwrap();
        let (photos, images) = first_batch(&corpus, OnBadImage::Skip);
        let photos = photos.unwrap();
        for (photos, images) in [&photos.queries, &photos.pairs].into_iter().zip(images) {
            let missing: Vec<bool> = images.iter().map(|&image| image == 0).collect();
            assert_eq!(photos.iter().map(Option::is_none).collect::<Vec<_>>(), missing);
        }
        let error = first_batch(&corpus, OnBadImage::Error).0.err().unwrap().to_string();
        assert!(error.contains("--resume") && error.contains("cannot read"), "{error}");
    }
}
