//! From a configuration to a corpus with its embeddings: computed once by the frozen encoder, then cached.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{Device, Tensor};

use crate::config::{Data, Encoder as EncoderConfig, EncoderKind, OnBadImage};
use crate::context::Context;
use crate::data::corpus::Corpus;
use crate::data::embeddings::{self, Embeddings};
use crate::data::photos::{self, Photo, PhotoHash};
use crate::data::{encoder_folder, open_corpus, verify};
use crate::distributed::Comm;
use crate::encoder::clip_encoder::{ClipEncoder, MirrorTta};
use crate::error::{Error, Result};
use crate::ids::ImageIdx;
use crate::matrix::Matrix;
use crate::nn::tensors;

/// A corpus, its embeddings, and what made them.
pub struct EmbeddedCorpus {
    /// The corpus, without the images that were skipped.
    pub corpus: Corpus,
    /// Unit rows in corpus order.
    pub embeddings: Embeddings,
    /// The encoder for new captions and photos; none where the embeddings were brought along.
    pub encoder: Option<Arc<ClipEncoder>>,
    /// Hash of the encoder, so that an index is never used with another one.
    pub fingerprint: String,
    /// Hash of each image's photo, in corpus order; none where there are no photos.
    pub photos: Vec<Option<PhotoHash>>,
    /// The file that keeps the embeddings; none where they were brought along.
    pub cache: Option<PathBuf>,
}

/// Opens the corpus and embeds it, or reads the embeddings it brings or an earlier run has cached. Each rank embeds
/// a share, and all of them get everything.
///
/// # Errors
/// When the corpus or the encoder cannot be read, or a photo cannot and is not to be skipped.
pub fn prepare(data: &Data, encoder: &EncoderConfig, ctx: &Context) -> Result<EmbeddedCorpus> {
    let comm = &ctx.comm;
    let corpus = comm.first_rank_first(|| {
        let bar = ctx.bar(data.train + data.val + data.test, "drawing scenes");
        let corpus = open_corpus::open(data, &|| bar.inc(1))?;
        bar.finish_and_clear();
        Ok(corpus)
    })?;
    let kept = corpus.proportional(data.limit);
    if encoder.kind == EncoderKind::Features {
        let root = Path::new(&data.root);
        let embeddings = embeddings::read_features(root, &corpus)?.keeping(&corpus, &kept);
        let fingerprint = fingerprint(&embeddings);
        return Ok(EmbeddedCorpus {
            corpus: corpus.keeping(&kept)?,
            embeddings,
            encoder: None,
            fingerprint,
            photos: Vec::new(),
            cache: None,
        });
    }
    let folder =
        comm.first_rank_first(|| encoder_folder::find(&encoder.path, &encoder.revision, ctx.progress))?;
    let model = ClipEncoder::open(&folder, encoder.batch, &ctx.device)?;
    let corpus = corpus.keeping(&kept)?;
    verify::photos_are_there(&corpus, data.on_bad_image)?;
    let photos = photos_of(&corpus, corpus.images())?;
    let hashes = photos::hashes(&photos);
    let key = key(&corpus, &hashes, &model);
    let bits = u32::from_str_radix(&key[..6], 16).expect("invariant: a hash in hexadecimal digits");
    comm.agree("photos, captions or encoder: do all hosts see the same?", bits)?;
    let path = Path::new(&encoder.cache).join(format!("{key}.safetensors"));
    let (kept, corpus, embeddings) = embed(corpus, &photos, &model, (&path, data.on_bad_image), ctx)?;
    let photos = kept.into_iter().map(|image| hashes[image.row()]).collect();
    let fingerprint = model.fingerprint().to_owned();
    let (encoder, cache) = (Some(Arc::new(model)), Some(path));
    Ok(EmbeddedCorpus { corpus, embeddings, encoder, fingerprint, photos, cache })
}

/// Hash of embeddings that were brought along: there is no encoder to ask.
fn fingerprint(embeddings: &Embeddings) -> String {
    let mut hasher = blake3::Hasher::new();
    for matrix in [&embeddings.images, &embeddings.captions] {
        hasher.update(&(matrix.width() as u64).to_le_bytes());
        for row in matrix.iter() {
            hasher.update(&row.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// The images whose photos can be read, the corpus of them, and their embeddings, from the file `cache` where it has
/// them.
fn embed(
    corpus: Corpus,
    photos: &[Photo],
    model: &ClipEncoder,
    (cache, on_bad): (&Path, OnBadImage),
    ctx: &Context,
) -> Result<(Vec<ImageIdx>, Corpus, Embeddings)> {
    let comm = &ctx.comm;
    let cached = read_cache(cache, &corpus);
    // One without it has all of them encode.
    if !comm.any(cached.is_none())
        && let Some((kept, embeddings)) = cached
    {
        report_skipped(corpus.len() - kept.len(), on_bad)?;
        let corpus = corpus.keeping(&kept)?;
        return Ok((kept, corpus, embeddings));
    }
    let bar = ctx.bar(photos.len() + corpus.captions().len(), "encoding photos and captions");
    // Each rank stands for all.
    let done = |n: usize| bar.inc((n * comm.size()) as u64);
    let own = comm.share(photos.len());
    let rows = model.photos(&photos[own.clone()], MirrorTta::Off, &done)?;
    let (kept, rows) = split_readable(rows, on_bad)?;
    let rows = Matrix::new(model.width(), rows.concat());
    let (kept, images) = gathered(kept.iter().map(|place| own.start + place), &rows, photos.len(), comm);
    let kept: Vec<ImageIdx> = kept.into_iter().map(ImageIdx::from).collect();
    if comm.size() > 1 {
        let left_out = corpus.images().filter(|image| kept.binary_search(image).is_err());
        left_out.for_each(|image| tracing::warn!("left out: {}", corpus.id(image)));
    }
    let corpus = corpus.keeping(&kept)?;
    let captions: Vec<&str> = corpus.captions().iter().map(String::as_str).collect();
    let captions = comm.gather_shares(captions.len(), |own| model.captions(&captions[own], &done))?;
    bar.finish_and_clear();
    let embeddings = Embeddings { images, captions };
    if comm.is_first() {
        write_cache(cache, &kept, &embeddings)?;
    }
    Ok((kept, corpus, embeddings))
}

/// Puts together what each rank has: `own` are this one's rows, `places` theirs among `count`. Gives the places that any rank
/// filled, and all rows.
fn gathered(
    places: impl Iterator<Item = usize>,
    own: &Matrix,
    count: usize,
    comm: &Comm,
) -> (Vec<usize>, Matrix) {
    if comm.size() == 1 {
        return (places.collect(), own.clone());
    }
    let places: Vec<usize> = places.collect();
    let there = comm.all_gather_rows(places.iter().map(|&place| (place, [1.0])), count, 1);
    let all = comm.all_gather_rows(places.into_iter().zip(own.iter()), count, own.width());
    let all = Matrix::new(own.width(), all);
    let kept: Vec<usize> = (0..count).filter(|&place| there[place] > 0.0).collect();
    let rows = all.select(&kept);
    (kept, rows)
}

/// The photos of these images.
///
/// # Errors
/// When the corpus has none.
pub fn photos_of(corpus: &Corpus, images: impl IntoIterator<Item = ImageIdx>) -> Result<Vec<Photo>> {
    let photo = |image| {
        let photo = corpus.photo(image).cloned();
        photo.ok_or_else(|| Error::input("this corpus has no photos for encoder.kind = \"clip\" to read"))
    };
    images.into_iter().map(photo).collect()
}

/// What was made of the photos that could be read, and their places in the list; skipped ones are counted in the log.
///
/// # Errors
/// The first fault, with the remedy, unless faults are to be skipped.
pub fn split_readable<T>(photos: Vec<Result<T>>, on_bad: OnBadImage) -> Result<(Vec<usize>, Vec<T>)> {
    let (mut kept, mut rows, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for (place, photo) in photos.into_iter().enumerate() {
        match photo {
            Ok(row) => {
                kept.push(place);
                rows.push(row);
            }
            Err(error) if on_bad == OnBadImage::Error => {
                let remedy = "replace the photo, or set data.on_bad_image = \"skip\" to leave it out";
                return Err(Error::input(format!("{error}; {remedy}")));
            }
            Err(error) => faults.push(error),
        }
    }
    faults.iter().take(5).for_each(|fault| tracing::warn!("skipped: {fault}"));
    report_skipped(faults.len(), on_bad)?;
    Ok((kept, rows))
}

fn report_skipped(count: usize, on_bad: OnBadImage) -> Result<()> {
    match (count, on_bad) {
        (0, _) => Ok(()),
        (_, OnBadImage::Skip) => {
            tracing::warn!("{count} images were left out: their photos cannot be read");
            Ok(())
        }
        (_, OnBadImage::Error) => Err(Error::input(format!(
            "{count} photos could not be read; mend them, or set data.on_bad_image = \"skip\" to leave them out"
        ))),
    }
}

/// Hash of everything the embeddings depend on: encoder, names, captions, and the bytes of every photo.
fn key(corpus: &Corpus, photos: &[Option<PhotoHash>], model: &ClipEncoder) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(model.fingerprint().as_bytes());
    hasher.update(corpus.fingerprint().as_bytes());
    photos.iter().for_each(|hash| _ = hasher.update(&hash.unwrap_or_default()));
    hasher.finalize().to_hex()[..32].to_owned()
}

/// The cached embeddings, if they are whole and of this corpus; anything else is computed again.
fn read_cache(path: &Path, corpus: &Corpus) -> Option<(Vec<ImageIdx>, Embeddings)> {
    let mut tensors = tensors::read(path).ok()?;
    let kept: Vec<u32> = tensors.remove("kept")?.to_vec1().ok()?;
    let mut matrix = |name| tensors::to_matrix(&tensors.remove(name)?).ok();
    let embeddings = Embeddings { images: matrix("images")?, captions: matrix("captions")? };
    let kept: Vec<ImageIdx> = kept.into_iter().map(ImageIdx).collect();
    let captions: usize =
        kept.iter().filter(|i| i.row() < corpus.len()).map(|&i| corpus.captions_of(i).len()).sum();
    let fits = kept.len() == embeddings.images.rows() && captions == embeddings.captions.rows();
    (fits && kept.is_sorted_by(|a, b| a < b)).then_some((kept, embeddings))
}

fn write_cache(path: &Path, kept: &[ImageIdx], embeddings: &Embeddings) -> Result<()> {
    let kept: Vec<u32> = kept.iter().map(|image| image.0).collect();
    let named = |name: &str, tensor: Tensor| (name.to_owned(), tensor);
    let tensors = [
        named("kept", Tensor::from_vec(kept.clone(), kept.len(), &Device::Cpu)?),
        named("images", tensors::from_matrix(&embeddings.images, &Device::Cpu)?),
        named("captions", tensors::from_matrix(&embeddings.captions, &Device::Cpu)?),
    ];
    tensors::write(path, &tensors.into())
}
