//! From a run folder to its retrievers.

use std::sync::Arc;

use candle_core::{DType, Device};

use super::dense::Dense;
use super::generative::{Beam, Generative, Search};
use super::query_embedder::Embedder;
use super::rerank::Rerank;
use super::survival::survival;
use super::{Query, Retriever};
use crate::config::{Config, Loss};
use crate::docid::prior::log_prior;
use crate::docid::trie::Trie;
use crate::encoder::MirrorTta;
use crate::encoder::embedded_corpus::EmbeddedCorpus;
use crate::error::Result;
use crate::ids::ImageIdx;
use crate::matrix::Matrix;
use crate::modality::Modality;
use crate::model::alignment::Alignment;
use crate::model::candidate_table::CandidateTable;
use crate::model::checkpoint::{Checkpoint, Which};
use crate::model::decoder::Shape;
use crate::model::extra_docids::DocidTable;
use crate::model::generative_model::{GenerativeModel, Scoring};
use crate::model::grounded_logits::Books;
use crate::model::index_folder::DocidIndex;
use crate::model::lookahead::Lookahead;
use crate::nn::params::{Builder, Params};
use crate::run_folder::RunFolder;

/// Train captions that the prior of docids is measured with at most.
const MOST_ASKING: usize = 8192;

/// What a ranking is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetrieverKind {
    /// Exact search with the encoder alone.
    Dense,
    /// Exact search with the encoder and the trained alignment.
    Adapted,
    /// The decoder alone.
    Decoder,
    /// The decoder with the geometric term in its step score.
    Geometry,
    /// The candidates of the beam, re-ranked.
    Rerank,
    /// The decoder's score of every docid: what a perfect search would find.
    Exhaustive,
}

/// A model with the parameters it was made of.
pub struct Model {
    /// The joint model.
    pub dsi: Arc<GenerativeModel>,
    /// Its parameters.
    pub params: Params,
}

impl Model {
    /// A fresh model of this configuration over this index.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn fresh(config: &Config, index: &DocidIndex, device: &Device) -> Result<Self> {
        let builder = Builder::fresh(config.seed, device);
        let books = index.codebooks.as_ref().filter(|_| config.decoder.grounded);
        let books = books.map(|books| Books::new(books, device)).transpose()?;
        let shape = Shape {
            query: index.align.side(Modality::Caption).map.width(),
            width: config.decoder.width,
            layers: config.decoder.layers,
            heads: config.decoder.heads,
            memory: config.decoder.memory,
            codes: index.docids.codes_per_level().to_vec(),
            silent: books.is_some(),
        };
        let scoring = match config.train.loss {
            Loss::Listwise => Scoring::Logit,
            Loss::CrossEntropy => Scoring::LogProbability,
        };
        let grounding = books.map(|books| (books, config.decoder.temperature));
        let dsi = GenerativeModel::new(&builder.root(), shape, grounding, config.decoder.plan, scoring)?;
        Ok(Self { dsi: Arc::new(dsi), params: builder.finish("model".as_ref())? })
    }

    /// From now on its blocks compute with this type, whatever that of the parameters.
    pub fn compute_in(&mut self, dtype: DType) {
        Arc::make_mut(&mut self.dsi).compute_in(dtype);
    }

    /// The best model that a run has trained.
    ///
    /// # Errors
    /// When the run has no checkpoint, or one that is damaged or of another configuration.
    pub fn trained(config: &Config, index: &DocidIndex, run: &RunFolder, device: &Device) -> Result<Self> {
        let model = Self::fresh(config, index, device)?;
        let checkpoint = Checkpoint::read(&run.checkpoints(), Which::Best)?;
        model.params.assign(checkpoint.parts().0, &run.checkpoints())?;
        Ok(model)
    }
}

/// Everything retrievers are built from, opened once.
pub struct RetrieverFactory {
    config: Config,
    index: DocidIndex,
    dsi: Arc<GenerativeModel>,
    align: Arc<Alignment>,
    docids: Arc<DocidTable>,
    candidate_table: Arc<CandidateTable>,
    books: Option<Arc<Books>>,
    /// −η·log p(c) of each image of the corpus; empty where there is no prior.
    beside: Arc<Vec<f32>>,
    /// Unit rows of all images: the encoder's own, and aligned.
    images: Matrix,
    aligned: Arc<Matrix>,
    embedder: Embedder,
}

impl RetrieverFactory {
    /// The parts of a run: its corpus, its index, its model.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn new(
        config: &Config,
        prepared: &EmbeddedCorpus,
        index: DocidIndex,
        dsi: Arc<GenerativeModel>,
    ) -> Result<Self> {
        let images = prepared.embeddings.images.clone();
        let books = index.codebooks.as_ref().map(|books| Books::new(books, dsi.device()).map(Arc::new));
        let docids = DocidTable::new(&index.docids, &index.seconds)?;
        let aligned = index.align.apply(Modality::Image, &images);
        let beside = prior(config, prepared, &index.align, &aligned);
        Ok(Self {
            config: config.clone(),
            align: Arc::new(index.align.clone()),
            candidate_table: Arc::new(CandidateTable::new(docids.set().clone(), index.codebooks.as_ref())),
            docids: Arc::new(docids),
            beside: Arc::new(beside),
            aligned: Arc::new(aligned),
            books: books.transpose()?,
            embedder: Embedder::new(prepared.encoder.clone(), MirrorTta::of_queries(&config.search)),
            images,
            index,
            dsi,
        })
    }

    /// Fuses with this weight of the exact cosine from now on.
    pub fn set_rerank_weight(&mut self, weight: f64) {
        self.config.search.rerank_weight = weight;
    }

    /// The docids and what they were made with.
    pub fn index(&self) -> &DocidIndex {
        &self.index
    }

    /// Whether retrievers of this kind exist here: the geometric term needs codebooks and a weight.
    pub fn has(&self, kind: RetrieverKind) -> bool {
        match kind {
            RetrieverKind::Geometry => self.books.is_some() && self.config.search.geometry > 0.0,
            RetrieverKind::Exhaustive => self.config.eval.exhaustive,
            RetrieverKind::Rerank => self.config.search.rerank,
            RetrieverKind::Adapted => self.config.index.align_steps > 0 || self.config.index.views > 0,
            RetrieverKind::Dense | RetrieverKind::Decoder => true,
        }
    }

    /// The retriever of this kind over these images.
    pub fn build(&self, kind: RetrieverKind, gallery: &[ImageIdx]) -> Box<dyn Retriever> {
        match kind {
            RetrieverKind::Dense => Box::new(self.dense(gallery, &self.images)),
            RetrieverKind::Adapted => {
                Box::new(self.dense(gallery, &self.aligned).adapted(self.align.clone()))
            }
            RetrieverKind::Decoder => {
                Box::new(self.generative(gallery, |trie| Search::Beam(self.alone(trie))))
            }
            RetrieverKind::Geometry => {
                Box::new(self.generative(gallery, |trie| Search::Beam(self.fused(trie))))
            }
            RetrieverKind::Exhaustive => {
                Box::new(self.generative(gallery, |_| Search::Exhaustive(self.candidate_table.clone())))
            }
            RetrieverKind::Rerank => Box::new(self.rerank(gallery)),
        }
    }

    /// [`survival()`] of the search by the decoder alone over these images.
    ///
    /// # Errors
    /// As [`survival()`].
    pub fn survival(&self, gallery: &[ImageIdx], queries: &[Query], gold: &[ImageIdx]) -> Result<Vec<f64>> {
        survival(&self.generative(gallery, |trie| Search::Beam(self.alone(trie))), queries, gold)
    }

    /// The search whose candidates are re-ranked.
    pub fn rerank(&self, gallery: &[ImageIdx]) -> Rerank {
        Rerank {
            inner: self.generative(gallery, |trie| Search::Beam(self.fused(trie))),
            candidates: self.config.search.beam,
            images: self.aligned.clone(),
            weight: self.config.search.rerank_weight as f32,
            temperature: self.config.decoder.temperature as f32,
            beside: self.beside.clone(),
        }
    }

    fn dense(&self, gallery: &[ImageIdx], images: &Matrix) -> Dense {
        let rows: Vec<usize> = gallery.iter().map(|image| image.row()).collect();
        Dense::new(gallery.to_vec(), images.select(&rows), self.embedder.clone())
    }

    /// A search over all docids of these images.
    fn generative(&self, gallery: &[ImageIdx], search: impl Fn(&Trie) -> Search) -> Generative {
        let trie = Trie::over(self.docids.set(), self.docids.of(gallery));
        Generative {
            dsi: self.dsi.clone(),
            search: search(&trie),
            trie,
            docids: self.docids.clone(),
            align: self.align.clone(),
            embedder: self.embedder.clone(),
        }
    }

    /// Beam search by the decoder alone.
    fn alone(&self, trie: &Trie) -> Beam {
        let search = &self.config.search;
        Beam {
            width: search.beam,
            geometry: None,
            lookahead: self.config.looks_ahead().then(|| Lookahead::new(trie, &self.candidate_table)),
            leaves: Vec::new(),
            wildcard: search.wildcard as f32,
        }
    }

    /// Beam search with what else speaks for a docid: geometry and prior.
    fn fused(&self, trie: &Trie) -> Beam {
        // In nats, as a grounded logit: λ/(2τ).
        let weight = self.config.search.geometry / (2.0 * self.config.decoder.temperature);
        let geometry = self.books.clone().filter(|_| weight > 0.0).map(|books| (books, weight));
        let beside = |&docid: &ImageIdx| self.beside.get(self.docids.owner(docid).row()).copied();
        let leaves = trie.images().iter().filter_map(beside).collect();
        Beam { geometry, leaves, ..self.alone(trie) }
    }
}

/// −η·log p(c) of every image, measured with captions of the train split; empty without a weight.
fn prior(config: &Config, prepared: &EmbeddedCorpus, align: &Alignment, images: &Matrix) -> Vec<f32> {
    let weight = config.search.prior as f32;
    if weight == 0.0 {
        return Vec::new();
    }
    let pairs = prepared.corpus.train_pairs();
    let asking: Vec<_> = pairs.iter().step_by(pairs.len().div_ceil(MOST_ASKING).max(1)).collect();
    let captions: Vec<usize> = asking.iter().map(|pair| pair.caption().index()).collect();
    let own: Vec<usize> = asking.iter().map(|pair| pair.image().row()).collect();
    let asked = align.apply(Modality::Caption, &prepared.embeddings.captions.select(&captions));
    let mut prior = log_prior(images, &asked, &own, config.search.prior_temperature);
    prior.iter_mut().for_each(|p| *p *= -weight);
    prior
}
