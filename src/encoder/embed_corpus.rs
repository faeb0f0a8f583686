//! Opens the corpus of a configuration and embeds all of it, or takes the embeddings from the encoder or the
//! cache.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use super::before_embedding::BeforeEmbedding;
use super::embedded_corpus::{EmbeddedCorpus, photos_of};
use super::embedding_key::EmbeddingKey;
use super::gather_rows::gather_rows;
use super::row_cache::{Batches, ItemHash, RowCache, Rows};
use super::unreadable_photos::split_readable;
use super::{Advance, DualEncoder, EncoderSource, PhotoView};
use crate::context::Context;
use crate::data::corpus::Corpus;
use crate::data::corpus_embeddings::Embeddings;
use crate::data::photo_record::PhotoRecord;
use crate::data::photos::{self, Photo, PhotoHash};
use crate::data::settings::Data;
use crate::data::settings::OnBadImage;
use crate::data::{open_corpus, verify};
use crate::encoder::settings::Encoder;
use crate::error::{Error, Result};
use crate::escape::escaped;
use crate::ids::ImageIdx;
use crate::matrix::Matrix;
use crate::run_folder::RunFolder;

/// The corpus of `[data]`, embedded by the encoder of `[encoder]`. Each rank embeds a share; all of them
/// return everything.
///
/// # Errors
/// When the corpus or the encoder cannot be read, or a photo cannot and `data.on_bad_image` is `"error"`.
pub fn embed_corpus(data: &Data, encoder: &Encoder, ctx: &Context) -> Result<EmbeddedCorpus> {
    embed_corpus_after(&BeforeEmbedding::NOTHING, data, encoder, ctx)
}

/// As [`embed_corpus()`], once these checks are passed.
///
/// # Errors
/// As there, and what the checks refuse.
pub fn embed_corpus_after(
    checks: &BeforeEmbedding,
    data: &Data,
    encoder: &Encoder,
    ctx: &Context,
) -> Result<EmbeddedCorpus> {
    let (opened, corpus) = open_both(checks, data, encoder, open_all(data, ctx)?, ctx)?;
    let caches = [Path::new(&encoder.cache)];
    let storage = Storage::new(&caches, data.on_bad_image);
    embed_opened(checks, opened, corpus, &storage, ctx)
}

/// The corpus of `[data]`, as far as `data.limit` keeps it, without embeddings.
///
/// # Errors
/// When it cannot be read.
pub fn open_kept(data: &Data, ctx: &Context) -> Result<Corpus> {
    let all = open_all(data, ctx)?;
    all.keeping(&all.proportional(data.limit))
}

/// Where embeddings are kept, and what happens to photos that have none.
struct Storage<'a> {
    /// Embeddings are read from all of these folders and written to the last one.
    caches: &'a [&'a Path],
    on_bad: OnBadImage,
    /// Images whose photo is gone or was replaced: their rows are cached, or lost.
    changed: &'a [ImageIdx],
}

impl<'a> Storage<'a> {
    fn new(caches: &'a [&'a Path], on_bad: OnBadImage) -> Self {
        Self { caches, on_bad, changed: &[] }
    }

    fn is_changed(&self, image: usize) -> bool {
        self.changed.contains(&ImageIdx::from(image))
    }
}

/// As [`embed_corpus`], for a run that has an index: its photos are those that the index was made of, and nothing is
/// written outside the run.
///
/// # Errors
/// As [`embed_corpus`], and when scenes are not on disk.
pub fn embed_corpus_of_run(
    checks: &BeforeEmbedding,
    data: &Data,
    encoder: &Encoder,
    run: &RunFolder,
    ctx: &Context,
) -> Result<EmbeddedCorpus> {
    let (opened, corpus) = open_both(checks, data, encoder, open_corpus::open_existing(data)?, ctx)?;
    if let Some(embeddings) = opened.corpus_rows() {
        return Ok(ready_made(opened, corpus, embeddings));
    }
    let own = run.cache();
    let caches = [Path::new(&encoder.cache), own.as_path()];
    let Some(record) = PhotoRecord::read(&run.index())? else {
        let storage = Storage::new(&caches, data.on_bad_image);
        return embed_opened(checks, opened, corpus, &storage, ctx);
    };
    let compared = record.compare(&corpus);
    compared.report(&corpus);
    let corpus = corpus.keeping(&compared.images)?;
    let storage = Storage { changed: &compared.changed(), ..Storage::new(&caches, OnBadImage::Error) };
    embed_photos(opened, corpus, compared.hashes, &storage, ctx)
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
    embed_opened(&BeforeEmbedding::NOTHING, encoder, corpus, &Storage::new(&[cache], on_bad), ctx)
}

/// The rows of photos that belong to no corpus, and the positions of those that can be read; the others are logged.
/// `cache` is the folder that keeps computed embeddings.
///
/// # Errors
/// When the encoder fails.
pub fn embed_photo_list(
    encoder: &dyn DualEncoder,
    photos: &[Photo],
    hashes: &[Option<PhotoHash>],
    cache: &Path,
    ctx: &Context,
) -> Result<(Vec<usize>, Matrix)> {
    let caches = [cache];
    let storage = Storage::new(&caches, OnBadImage::Skip);
    let bar = ctx.bar(photos.len(), "encoding photos");
    let work = Work { encoder, storage: &storage, ctx };
    let (kept, rows) = work.images(photos, hashes, &|count| bar.inc(count as u64))?;
    bar.finish_and_clear();
    Ok((kept.into_iter().map(ImageIdx::row).collect(), rows))
}

/// The encoder, and the images of a corpus that the experiment keeps.
fn open_both(
    checks: &BeforeEmbedding,
    data: &Data,
    encoder: &Encoder,
    all: Corpus,
    ctx: &Context,
) -> Result<(Arc<dyn DualEncoder>, Corpus)> {
    let kept = all.proportional(data.limit);
    let corpus = all.keeping(&kept)?;
    (checks.corpus)(&corpus)?;
    let root = Path::new(&data.root);
    let source = EncoderSource { section: encoder, root, corpus: &all, kept: &kept, ctx };
    let opened = (encoder.kind.open)(&source)?;
    (checks.encoder)(&*opened)?;
    Ok((opened, corpus))
}

fn embed_opened(
    checks: &BeforeEmbedding,
    encoder: Arc<dyn DualEncoder>,
    corpus: Corpus,
    storage: &Storage,
    ctx: &Context,
) -> Result<EmbeddedCorpus> {
    if let Some(embeddings) = encoder.corpus_rows() {
        (checks.photos)(&corpus, &[])?;
        return Ok(ready_made(encoder, corpus, embeddings));
    }
    verify::photos_are_there(&corpus, storage.on_bad)?;
    let hashes = photos::hashes(&photos_of(&corpus, corpus.images())?);
    (checks.photos)(&corpus, &hashes)?;
    embed_photos(encoder, corpus, hashes, storage, ctx)
}

fn ready_made(encoder: Arc<dyn DualEncoder>, corpus: Corpus, embeddings: Arc<Embeddings>) -> EmbeddedCorpus {
    EmbeddedCorpus { corpus, embeddings, encoder, photos: Vec::new(), cache: None }
}

/// Embeds a corpus whose photos have these hashes.
fn embed_photos(
    encoder: Arc<dyn DualEncoder>,
    corpus: Corpus,
    hashes: Vec<Option<PhotoHash>>,
    storage: &Storage,
    ctx: &Context,
) -> Result<EmbeddedCorpus> {
    let key = EmbeddingKey::new(&*encoder, &corpus, &hashes);
    ctx.comm.agree("photos, captions or encoder: do all hosts see the same?", key.bits())?;
    let work = Work { encoder: &*encoder, storage, ctx };
    let (kept, corpus, embeddings) = work.embed(&corpus, &hashes)?;
    Ok(EmbeddedCorpus {
        photos: kept.into_iter().map(|image| hashes[image.row()]).collect(),
        cache: storage.caches.last().map(|cache| cache.join(key.name())),
        corpus,
        embeddings: Arc::new(embeddings),
        encoder,
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

/// What a corpus is embedded with.
struct Work<'a> {
    encoder: &'a dyn DualEncoder,
    storage: &'a Storage<'a>,
    ctx: &'a Context,
}

impl Work<'_> {
    /// Embeds the images with readable photos and their captions. Returns these images as positions in `corpus`, the
    /// corpus of them alone, and their embeddings.
    fn embed(
        &self,
        corpus: &Corpus,
        hashes: &[Option<PhotoHash>],
    ) -> Result<(Vec<ImageIdx>, Corpus, Embeddings)> {
        let comm = &self.ctx.comm;
        let photos = photos_of(corpus, corpus.images())?;
        let bar = self.ctx.bar(photos.len() + corpus.captions().len(), "encoding photos and captions");
        // The bar of one rank stands for all: they advance together.
        let advance = |count: usize| bar.inc((count * comm.size()) as u64);
        let (kept, images) = self.images(&photos, hashes, &advance)?;
        if comm.size() > 1 {
            name_skipped(corpus, &kept);
        }
        let corpus = corpus.keeping(&kept)?;
        let captions: Vec<&str> = corpus.captions().iter().map(String::as_str).collect();
        let computed = Cell::new(false);
        let rows =
            comm.gather_shares(captions.len(), |share| self.captions(&captions[share], &advance, &computed))?;
        bar.finish_and_clear();
        // Said when a corpus is embedded, and not at every later opening.
        if computed.get() && comm.is_first() {
            self.encoder.report_cut_captions(&captions)?;
        }
        Ok((kept, corpus, Embeddings { images, captions: rows }))
    }

    /// The images whose photos can be read, and their rows; each rank embeds its share.
    fn images(
        &self,
        photos: &[Photo],
        hashes: &[Option<PhotoHash>],
        advance: Advance,
    ) -> Result<(Vec<ImageIdx>, Matrix)> {
        let comm = &self.ctx.comm;
        let share = comm.share(photos.len());
        let own = &photos[share.clone()];
        let batches =
            Batches::new(hashes[share.clone()].to_vec(), in_order(own.len(), self.encoder.photo_batch()));
        let mut faults: Vec<Result<()>> = own.iter().map(|_| Ok(())).collect();
        let rows = self.rows("photos", &batches, advance, &mut |missing, rows| {
            if let Some(&item) = missing.iter().find(|&&item| self.storage.is_changed(share.start + item)) {
                return Err(lost_with_its_row(&own[item]));
            }
            let photos: Vec<Photo> = missing.iter().map(|&item| own[item].clone()).collect();
            let embedded = self.encoder.photos(&photos, PhotoView::PLAIN, advance)?;
            for (&item, row) in missing.iter().zip(embedded) {
                match row {
                    Ok(row) => rows.set(item, &row),
                    // Stops at once, before the other photos are embedded.
                    fault if self.storage.on_bad == OnBadImage::Error => {
                        return split_readable(vec![fault], self.storage.on_bad).map(drop);
                    }
                    fault => faults[item] = fault.map(drop),
                }
            }
            Ok(())
        })?;
        let (kept, _) = split_readable(faults, self.storage.on_bad)?;
        let own_rows = if kept.len() == own.len() { rows.rows } else { rows.rows.select(&kept) };
        let kept: Vec<usize> = kept.into_iter().map(|item| share.start + item).collect();
        let (kept, rows) = gather_rows(&kept, &own_rows, photos.len(), comm);
        Ok((kept.into_iter().map(ImageIdx::from).collect(), rows))
    }

    /// The rows of captions; `computed` becomes true if some were not cached.
    fn captions(&self, captions: &[&str], advance: Advance, computed: &Cell<bool>) -> Result<Matrix> {
        let hash = |caption: &&str| Some(ItemHash::from(blake3::hash(caption.as_bytes())));
        let batches =
            Batches::new(captions.iter().map(hash).collect(), self.encoder.caption_batches(captions)?);
        let rows = self.rows("captions", &batches, advance, &mut |missing, rows| {
            computed.set(true);
            let texts: Vec<&str> = missing.iter().map(|&item| captions[item]).collect();
            let embedded = self.encoder.texts(&texts, advance)?;
            missing.iter().zip(embedded.iter()).for_each(|(&item, row)| rows.set(item, row));
            Ok(())
        })?;
        Ok(rows.rows)
    }

    /// The rows of the items: the cached ones, and those that `embed` computes for the missing items of each batch.
    fn rows(
        &self,
        kind: &str,
        batches: &Batches,
        advance: Advance,
        embed: &mut dyn FnMut(&[usize], &mut Rows) -> Result<()>,
    ) -> Result<Rows> {
        let cache = RowCache::new(self.storage.caches, self.encoder, kind);
        let mut rows = cache.find(batches);
        advance(rows.found());
        if rows.of_other_batches() > 0 {
            tracing::debug!(
                "{} of {} cached {kind} come from other batches",
                rows.of_other_batches(),
                batches.items()
            );
        }
        let mut writer = cache.writer();
        for (id, items) in batches.iter() {
            let missing: Vec<usize> = items.iter().copied().filter(|&item| rows.is_missing(item)).collect();
            if !missing.is_empty() {
                embed(&missing, &mut rows)?;
                let embedded: Vec<usize> =
                    missing.into_iter().filter(|&item| !rows.is_missing(item)).collect();
                writer.append(batches, id, &embedded, &rows);
            }
        }
        Ok(rows)
    }
}

/// `count` items in their order, `batch` at once.
/// A photo of a run's index that is another one now, or gone, and whose embedding is in no cache.
fn lost_with_its_row(photo: &Photo) -> Error {
    let what = "is gone or was replaced since the index was made, and its embedding is in no cache: put the photo back, or \
                the cache that the run was made with (encoder.cache)";
    Error::file(photo.path(), what)
}

fn in_order(count: usize, batch: usize) -> Vec<Vec<usize>> {
    (0..count).collect::<Vec<_>>().chunks(batch.max(1)).map(<[usize]>::to_vec).collect()
}

/// Logs the images that any rank skipped: each rank has logged its own photos only.
fn name_skipped(corpus: &Corpus, kept: &[ImageIdx]) {
    let skipped = corpus.images().filter(|image| kept.binary_search(image).is_err());
    skipped.for_each(|image| tracing::warn!("left out: {}", escaped(corpus.id(image))));
}
