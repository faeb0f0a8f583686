//! Opens the corpus of a configuration and embeds all of it, or takes the embeddings from the encoder or the
//! cache.

use std::path::Path;
use std::sync::Arc;

use super::embedded_corpus::{EmbeddedCorpus, photos_of};
use super::embedding_cache::EmbeddingCache;
use super::gather_rows::gather_rows;
use super::unreadable_photos::{report_skipped, split_readable};
use super::{Advance, DualEncoder, EncoderSource, PhotoView};
use crate::context::Context;
use crate::data::corpus::Corpus;
use crate::data::corpus_embeddings::Embeddings;
use crate::data::photos::{self, Photo};
use crate::data::settings::Data;
use crate::data::settings::OnBadImage;
use crate::data::{open_corpus, verify};
use crate::distributed::Comm;
use crate::encoder::settings::Encoder;
use crate::error::Result;
use crate::ids::ImageIdx;
use crate::matrix::Matrix;

/// The corpus of `[data]`, embedded by the encoder of `[encoder]`. Each rank embeds a share; all of them
/// return everything.
///
/// # Errors
/// When the corpus or the encoder cannot be read, or a photo cannot and `data.on_bad_image` is `"error"`.
pub fn embed_corpus(data: &Data, encoder: &Encoder, ctx: &Context) -> Result<EmbeddedCorpus> {
    let all = open_all(data, ctx)?;
    let kept = all.proportional(data.limit);
    let root = Path::new(&data.root);
    let source = EncoderSource { section: encoder, root, corpus: &all, kept: &kept, ctx };
    let opened = (encoder.kind.open)(&source)?;
    let corpus = all.keeping(&kept)?;
    embed_corpus_with(opened, corpus, Path::new(&encoder.cache), data.on_bad_image, ctx)
}

/// A corpus embedded by an encoder that is open already. `cache` is the folder that keeps computed
/// embeddings.
///
/// # Errors
/// When a photo cannot be read and is not to be skipped, or the ranks see different photos or captions.
pub fn embed_corpus_with(
    encoder: Arc<dyn DualEncoder>,
    corpus: Corpus,
    cache: &Path,
    on_bad: OnBadImage,
    ctx: &Context,
) -> Result<EmbeddedCorpus> {
    if let Some(embeddings) = encoder.corpus_rows() {
        return Ok(EmbeddedCorpus { corpus, embeddings, encoder, photos: Vec::new(), cache: None });
    }
    verify::photos_are_there(&corpus, on_bad)?;
    let photos = photos_of(&corpus, corpus.images())?;
    let hashes = photos::hashes(&photos);
    let cache = EmbeddingCache::new(cache, &*encoder, &corpus, &hashes);
    ctx.comm.agree("photos, captions or encoder: do all hosts see the same?", cache.key_bits())?;
    let (kept, corpus, embeddings) = match read_on_all_ranks(&cache, &corpus, &ctx.comm) {
        Some((kept, embeddings)) => {
            report_skipped(corpus.len() - kept.len(), on_bad)?;
            let corpus = corpus.keeping(&kept)?;
            (kept, corpus, embeddings)
        }
        None => embed_and_keep(&*encoder, &corpus, &photos, &cache, on_bad, ctx)?,
    };
    Ok(EmbeddedCorpus {
        corpus,
        embeddings: Arc::new(embeddings),
        encoder,
        photos: kept.into_iter().map(|image| hashes[image.row()]).collect(),
        cache: Some(cache.path().to_owned()),
    })
}

/// Opens the corpus; the first rank may have to draw and write it before the others read it.
fn open_all(data: &Data, ctx: &Context) -> Result<Corpus> {
    ctx.comm.first_rank_first(|| {
        let bar = ctx.bar(data.train + data.val + data.test, "drawing scenes");
        let corpus = open_corpus::open(data, &|| bar.inc(1))?;
        bar.finish_and_clear();
        Ok(corpus)
    })
}

/// The cached embeddings; `None` on all ranks when one of them has none, since all must then embed their
/// shares.
fn read_on_all_ranks(
    cache: &EmbeddingCache,
    corpus: &Corpus,
    comm: &Comm,
) -> Option<(Vec<ImageIdx>, Embeddings)> {
    comm.all_or_none(cache.read(corpus))
}

/// Embeds the images with readable photos and their captions, and writes the cache. Returns these images as
/// positions in `corpus`, the corpus of them alone, and their embeddings.
fn embed_and_keep(
    encoder: &dyn DualEncoder,
    corpus: &Corpus,
    photos: &[Photo],
    cache: &EmbeddingCache,
    on_bad: OnBadImage,
    ctx: &Context,
) -> Result<(Vec<ImageIdx>, Corpus, Embeddings)> {
    let comm = &ctx.comm;
    let bar = ctx.bar(photos.len() + corpus.captions().len(), "encoding photos and captions");
    // The bar of one rank stands for all: they advance together.
    let advance = |count: usize| bar.inc((count * comm.size()) as u64);
    let (kept, images) = embed_images(encoder, photos, on_bad, comm, &advance)?;
    if comm.size() > 1 {
        name_skipped(corpus, &kept);
    }
    let corpus = corpus.keeping(&kept)?;
    let captions = embed_captions(encoder, &corpus, comm, &advance)?;
    bar.finish_and_clear();
    let embeddings = Embeddings { images, captions };
    if comm.is_first() {
        cache.write(&kept, &embeddings)?;
    }
    Ok((kept, corpus, embeddings))
}

/// The images whose photos can be read, and their rows; each rank embeds its share.
fn embed_images(
    encoder: &dyn DualEncoder,
    photos: &[Photo],
    on_bad: OnBadImage,
    comm: &Comm,
    advance: Advance,
) -> Result<(Vec<ImageIdx>, Matrix)> {
    let share = comm.share(photos.len());
    let rows = encoder.photos(&photos[share.clone()], PhotoView::PLAIN, advance)?;
    let (positions, rows) = split_readable(rows, on_bad)?;
    let rows = Matrix::new(encoder.width(), rows.concat());
    let readable: Vec<usize> = positions.into_iter().map(|position| share.start + position).collect();
    let (kept, rows) = gather_rows(&readable, &rows, photos.len(), comm);
    Ok((kept.into_iter().map(ImageIdx::from).collect(), rows))
}

fn embed_captions(
    encoder: &dyn DualEncoder,
    corpus: &Corpus,
    comm: &Comm,
    advance: Advance,
) -> Result<Matrix> {
    let captions: Vec<&str> = corpus.captions().iter().map(String::as_str).collect();
    comm.gather_shares(captions.len(), |share| encoder.texts(&captions[share], advance))
}

/// Logs the images that any rank skipped: each rank has logged its own photos only.
fn name_skipped(corpus: &Corpus, kept: &[ImageIdx]) {
    let skipped = corpus.images().filter(|image| kept.binary_search(image).is_err());
    skipped.for_each(|image| tracing::warn!("left out: {}", corpus.id(image)));
}
