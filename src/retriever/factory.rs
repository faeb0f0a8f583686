//! From a trained run to its retrievers: what they are built from, made once.

use std::sync::Arc;

use super::docid_search_parts::DocidSearch;
use super::query::Query;
use super::query_embedder::QueryEmbedder;
use super::sections::Sections;
use super::settings::Search;
use crate::docid::prior::log_prior;
use crate::encoder::MirrorTta;
use crate::encoder::embedded_corpus::EmbeddedCorpus;
use crate::error::Result;
use crate::matrix::Matrix;
use crate::modality::Modality;
use crate::model::alignment::Alignment;
use crate::model::generative_model::GenerativeModel;
use crate::model::grounded_logits::Books;
use crate::model::index_folder::DocidIndex;

/// Train captions that the prior of docids is measured with at most.
const MOST_PRIOR_CAPTIONS: usize = 8192;

/// The parts of a run that retrievers are built from.
pub struct RetrieverFactory<'a> {
    prepared: &'a EmbeddedCorpus,
    sections: Sections,
    index: DocidIndex,
    search: DocidSearch,
    books: Option<Arc<Books>>,
    prior_bonus: Arc<Vec<f32>>,
    aligned_images: Arc<Matrix>,
    embedder: QueryEmbedder,
}

impl<'a> RetrieverFactory<'a> {
    /// The parts of a run: its corpus, its configuration, its index, its model.
    ///
    /// # Errors
    /// When further docids of the index are not unique.
    pub fn new(
        prepared: &'a EmbeddedCorpus,
        sections: Sections,
        index: DocidIndex,
        model: Arc<GenerativeModel>,
    ) -> Result<Self> {
        let images = &prepared.embeddings.images;
        let books = index.codebooks.as_ref().map(|books| Books::new(books, model.device()).map(Arc::new));
        let aligned_images = index.align.apply(Modality::Image, images);
        let prior_bonus = prior_bonus(&sections.search, prepared, &index.align, &aligned_images);
        let mirror = MirrorTta::of_queries(sections.search.mirrored);
        let alignment = Arc::new(index.align.clone());
        Ok(Self {
            search: DocidSearch::new(model, &index, &sections.search, &sections.decoder)?,
            embedder: QueryEmbedder::new(prepared.encoder.clone(), mirror, alignment),
            books: books.transpose()?,
            prior_bonus: Arc::new(prior_bonus),
            aligned_images: Arc::new(aligned_images),
            prepared,
            sections,
            index,
        })
    }

    /// The same with another weight of the second stage in a fused score.
    pub fn with_rerank_weight(mut self, weight: f64) -> Self {
        self.sections.search.rerank_weight = weight;
        self
    }

    /// Queries with their embeddings and aligned embeddings: the step before every retriever.
    ///
    /// # Errors
    /// As [`QueryEmbedder::complete`].
    pub fn complete(&self, queries: Vec<Query>) -> Result<Vec<Query>> {
        self.embedder.complete(queries)
    }

    /// The corpus and its embeddings.
    pub fn prepared(&self) -> &EmbeddedCorpus {
        self.prepared
    }

    /// The configuration of retrievers.
    pub fn sections(&self) -> &Sections {
        &self.sections
    }

    /// The docids and what they were made with.
    pub fn index(&self) -> &DocidIndex {
        &self.index
    }

    /// Searches over the docids.
    pub fn docid_search(&self) -> &DocidSearch {
        &self.search
    }

    /// The codebooks, where the docids have some.
    pub fn books(&self) -> Option<&Arc<Books>> {
        self.books.as_ref()
    }

    /// Aligned unit rows of all images of the corpus.
    pub fn aligned_images(&self) -> &Arc<Matrix> {
        &self.aligned_images
    }

    /// −η·log p(c) of each image of the corpus; empty without a prior.
    pub fn prior_bonus(&self) -> &Arc<Vec<f32>> {
        &self.prior_bonus
    }
}

/// −η·log p(c) of every image, measured with captions of the train split; empty without a weight.
pub fn prior_bonus(
    search: &Search,
    prepared: &EmbeddedCorpus,
    alignment: &Alignment,
    aligned_images: &Matrix,
) -> Vec<f32> {
    let weight = search.prior as f32;
    if weight == 0.0 {
        return Vec::new();
    }
    let pairs = prepared.corpus.train_pairs();
    let stride = pairs.len().div_ceil(MOST_PRIOR_CAPTIONS).max(1);
    let (captions, owners): (Vec<usize>, Vec<usize>) =
        pairs.iter().step_by(stride).map(|pair| (pair.caption().index(), pair.image().row())).unzip();
    let queries = alignment.apply(Modality::Caption, &prepared.embeddings.captions.select(&captions));
    let log_prior = log_prior(aligned_images, &queries, &owners, search.prior_temperature);
    log_prior.into_iter().map(|log_prior| log_prior * -weight).collect()
}
