//! A new encoder, by the steps of `dsi::encoder`: a type that implements `DualEncoder`. This one knows three
//! colours.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{DType, Device};
use dsi::context::Context;
use dsi::data::open_corpus;
use dsi::data::photos::{self, Photo};
use dsi::data::second_view::second_view;
use dsi::data::settings::{Data, OnBadImage};
use dsi::encoder::embed_corpus::embed_corpus_with;
use dsi::encoder::embedded_corpus::{EmbeddedCorpus, photos_of};
use dsi::encoder::trainable_dual_encoder::TrainableTowers;
use dsi::encoder::view_embeddings::ViewEmbeddings;
use dsi::encoder::{Advance, DualEncoder, MirrorTta, PhotoView, TrainableSettings};
use dsi::error::Result;
use dsi::matrix::Matrix;
use dsi::rng;

use crate::fixture::Space;

tests! {
    a_new_encoder_embeds_a_corpus_once,
}

const COLOURS: [&str; 3] = ["red", "green", "blue"];

/// Embeds a caption as the colours that it names, and a photo as its mean colour.
#[derive(Default)]
struct ColourEncoder {
    /// Captions and photos that were embedded.
    embedded: AtomicUsize,
}

/// The unit row of some amounts of colour; one more number keeps it from being zero.
fn unit_row(colours: [f32; 3]) -> Vec<f32> {
    let [red, green, blue] = colours;
    Matrix::new(4, vec![red, green, blue, 1.0]).normalized().row(0).to_vec()
}

fn text_row(caption: &str) -> Vec<f32> {
    unit_row(COLOURS.map(|colour| caption.matches(colour).count() as f32))
}

/// `n` is the position of the photo in its list.
fn photo_row(photo: &Photo, n: usize, view: PhotoView) -> Result<Vec<f32>> {
    let photo = photos::read(photo)?;
    let second = view.second_view.map(|draw| second_view(&photo, &mut draw(n)));
    let pixels = second.as_ref().unwrap_or(&photo);
    // A mirror image has the same colours, so `view.mirror` changes nothing.
    let count = pixels.pixels().len() as f32;
    let mean = |channel: usize| pixels.pixels().map(|pixel| f32::from(pixel.0[channel])).sum::<f32>() / count;
    Ok(unit_row([mean(0), mean(1), mean(2)]))
}

impl DualEncoder for ColourEncoder {
    fn texts(&self, captions: &[&str], advance: Advance) -> Result<Matrix> {
        let rows: Vec<Vec<f32>> = captions.iter().map(|caption| text_row(caption)).collect();
        self.embedded.fetch_add(captions.len(), Ordering::Relaxed);
        advance(captions.len());
        Ok(Matrix::new(self.width(), rows.concat()))
    }

    fn photos(&self, photos: &[Photo], view: PhotoView, advance: Advance) -> Result<Vec<Result<Vec<f32>>>> {
        let rows = photos.iter().enumerate().map(|(n, photo)| photo_row(photo, n, view)).collect();
        self.embedded.fetch_add(photos.len(), Ordering::Relaxed);
        advance(photos.len());
        Ok(rows)
    }

    fn width(&self) -> usize {
        4
    }

    fn fingerprint(&self) -> &'static str {
        "three colours, version 1"
    }
}

/// The scenes of a space, embedded by this encoder.
fn embed(encoder: &Arc<ColourEncoder>, space: &Space) -> EmbeddedCorpus {
    let root = space.path("scenes").display().to_string();
    let data = Data { root, train: 6, val: 1, test: 1, side: 32, ..Data::default() };
    let corpus = open_corpus::open(&data, &|| ()).unwrap();
    let cache: &Path = &space.path("cache");
    embed_corpus_with(encoder.clone(), corpus, cache, OnBadImage::Error, &Context::default()).unwrap()
}

fn a_new_encoder_embeds_a_corpus_once() {
    let (space, encoder) = (Space::new(), Arc::new(ColourEncoder::default()));
    let embedded = embed(&encoder, &space);
    let (corpus, rows) = (&embedded.corpus, &embedded.embeddings);
    let sizes = (rows.images.rows(), rows.captions.rows(), rows.images.width(), rows.captions.width());
    assert_eq!(sizes, (8, corpus.captions().len(), 4, 4));
    assert_eq!(rows.captions.row(0), text_row(corpus.caption(0)));
    let photos = photos_of(corpus, corpus.images()).unwrap();
    assert_eq!(rows.images.row(7), photo_row(&photos[7], 0, PhotoView::PLAIN).unwrap());

    let inputs = encoder.embedded.load(Ordering::Relaxed);
    assert_eq!(inputs, 8 + corpus.captions().len());
    assert_eq!(embed(&encoder, &space).embeddings, embedded.embeddings);
    assert_eq!(encoder.embedded.load(Ordering::Relaxed), inputs, "the second time, the cache has all rows");

    let views = ViewEmbeddings::embed(&embedded, 1, &Context::default()).unwrap();
    assert_eq!(views.draw(&[0, 7], &mut rng::stream(0, "views", 0)).rows(), 2);
    let second = PhotoView::second(&|n| rng::stream(1, "view", n as u64), MirrorTta::On);
    assert_eq!(encoder.photos(&photos, second, &|_| ()).unwrap().len(), 8);

    let (device, compute) = (&Device::Cpu, DType::F32);
    let settings = TrainableSettings { towers: TrainableTowers::EVERYTHING, device, compute, keep: None };
    let refused = encoder.trainable(&settings).err().unwrap().to_string();
    assert!(refused.contains("cannot be trained"), "{refused}");
}
