//! Queries of a split, each with the image that it should find.
//!
//! A query carries its words or its photo together with its embedding, so that any retriever can be measured.

use super::row_setting::QueryKind;
use crate::data::corpus::{Corpus, Split};
use crate::encoder::embedded_corpus::{EmbeddedCorpus, photos_of};
use crate::encoder::{MirrorTta, PhotoView};
use crate::error::Result;
use crate::ids::ImageIdx;
use crate::modality::Modality;
use crate::retriever::{Query, RetrieverFactory};
use crate::rng;

/// Queries of one kind, each with its right image, in the order of the images.
#[derive(Clone)]
pub struct QuerySet {
    /// What the queries are.
    pub kind: QueryKind,
    /// The queries, completed by [`RetrieverFactory::complete`].
    pub queries: Vec<Query>,
    /// The right image of each.
    pub gold: Vec<ImageIdx>,
    /// Names for run files.
    pub ids: Vec<String>,
}

/// The captions of a split.
///
/// # Errors
/// As [`RetrieverFactory::complete`].
pub fn captions(run: &RetrieverFactory, split: Split) -> Result<QuerySet> {
    let corpus = &run.prepared().corpus;
    let captions = corpus.captions_in(split);
    Ok(QuerySet {
        kind: QueryKind::Caption,
        queries: run
            .complete(captions.iter().map(|&caption| by_caption(run.prepared(), caption)).collect())?,
        gold: captions.iter().map(|&caption| corpus.owner(caption)).collect(),
        ids: captions.iter().map(|&caption| caption_id(corpus, caption)).collect(),
    })
}

fn by_caption(prepared: &EmbeddedCorpus, caption: usize) -> Query {
    let row = prepared.embeddings.captions.row(caption).to_vec();
    Query::caption(prepared.corpus.caption(caption)).with_embedding(Modality::Caption, row)
}

/// The name of a caption in run files: its image's and its number there.
pub fn caption_id(corpus: &Corpus, caption: usize) -> String {
    let image = corpus.owner(caption);
    format!("{}#{}", corpus.id(image), caption - corpus.captions_of(image).start)
}

/// The photos of these images, each of which should find its own image.
///
/// # Errors
/// As [`RetrieverFactory::complete`].
pub fn photos(run: &RetrieverFactory, images: &[ImageIdx]) -> Result<QuerySet> {
    let queries = images.iter().map(|&image| by_photo(run.prepared(), image)).collect();
    Ok(QuerySet {
        kind: QueryKind::Image,
        queries: run.complete(queries)?,
        gold: images.to_vec(),
        ids: image_ids(&run.prepared().corpus, images),
    })
}

fn by_photo(prepared: &EmbeddedCorpus, image: ImageIdx) -> Query {
    let row = prepared.embeddings.images.row(image.row()).to_vec();
    let photo = prepared.corpus.photo(image).cloned();
    Query { photo, ..Query::default() }.with_embedding(Modality::Image, row)
}

/// A second view of the photo of each of these images, which should find the image; none in a corpus without
/// photos. The pixels of a view are never stored, so these queries have embeddings alone.
///
/// # Errors
/// When a photo can no longer be read.
pub fn views(run: &RetrieverFactory, images: &[ImageIdx], seed: u64) -> Result<Option<QuerySet>> {
    let prepared = run.prepared();
    if !prepared.encoder.embeds_new_inputs() {
        return Ok(None);
    }
    let photos = photos_of(&prepared.corpus, images.iter().copied())?;
    let mirror = MirrorTta::of_queries(run.sections().search.mirrored);
    let draw = |n: usize| rng::stream(seed, "view", n as u64);
    let rows = prepared.encoder.photos(&photos, PhotoView::second(&draw, mirror), &|_| ())?;
    let query = |row: Result<Vec<f32>>| Ok(Query::embedded(Modality::Image, row?));
    let queries = rows.into_iter().map(query).collect::<Result<_>>()?;
    Ok(Some(QuerySet {
        kind: QueryKind::View,
        queries: run.complete(queries)?,
        gold: images.to_vec(),
        ids: image_ids(&prepared.corpus, images),
    }))
}

fn image_ids(corpus: &Corpus, images: &[ImageIdx]) -> Vec<String> {
    images.iter().map(|&image| corpus.id(image).to_owned()).collect()
}
