//! From a run folder to its retrievers.

use std::sync::Arc;

use candle_core::Device;

use super::Retriever;
use super::dense::Dense;
use super::embedder::Embedder;
use super::generative::{Generative, Search};
use super::rerank::Rerank;
use crate::config::{Config, Loss};
use crate::docid::trie::Trie;
use crate::error::Result;
use crate::ids::ImageIdx;
use crate::matrix::Matrix;
use crate::model::align::Align;
use crate::model::checkpoint::{Checkpoint, Which};
use crate::model::decoder::Shape;
use crate::model::dsi::{Catalogue, Dsi, Scoring};
use crate::model::features::Prepared;
use crate::model::grounding::Books;
use crate::model::index::Index;
use crate::model::lookahead::LookAhead;
use crate::model::modality::Modality;
use crate::nn::params::{Builder, Params};
use crate::run::RunFolder;

/// What a ranking is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Exact search with the encoder alone.
    Dense,
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
    pub dsi: Arc<Dsi>,
    /// Its parameters.
    pub params: Params,
}

impl Model {
    /// A fresh model of this configuration over this index.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn fresh(config: &Config, index: &Index, device: &Device) -> Result<Self> {
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
        let dsi = Dsi::new(&builder.root(), shape, grounding, scoring)?;
        Ok(Self { dsi: Arc::new(dsi), params: builder.finish("model".as_ref())? })
    }

    /// The best model that a run has trained.
    ///
    /// # Errors
    /// When the run has no checkpoint, or one that is damaged or of another configuration.
    pub fn trained(config: &Config, index: &Index, run: &RunFolder, device: &Device) -> Result<Self> {
        let model = Self::fresh(config, index, device)?;
        let checkpoint = Checkpoint::read(&run.checkpoints(), Which::Best)?;
        model.params.assign(checkpoint.weights, &run.checkpoints())?;
        Ok(model)
    }
}

/// Everything retrievers are built from, opened once.
pub struct Parts {
    config: Config,
    index: Index,
    dsi: Arc<Dsi>,
    align: Arc<Align>,
    catalogue: Arc<Catalogue>,
    books: Option<Arc<Books>>,
    /// Unit rows of all images: the encoder's own, and aligned.
    images: Matrix,
    aligned: Arc<Matrix>,
    embedder: Embedder,
}

impl Parts {
    /// The parts of a run: its corpus, its index, its model.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn new(config: &Config, prepared: &Prepared, index: Index, dsi: Arc<Dsi>) -> Result<Self> {
        let images = prepared.embeddings.images.clone();
        let books = index.codebooks.as_ref().map(|books| Books::new(books, dsi.device()).map(Arc::new));
        Ok(Self {
            config: config.clone(),
            align: Arc::new(index.align.clone()),
            catalogue: Arc::new(Catalogue::new(index.docids.clone(), index.codebooks.as_ref())),
            aligned: Arc::new(index.align.apply(Modality::Image, &images)),
            books: books.transpose()?,
            embedder: Embedder::new(prepared.encoder.clone(), images.width()),
            images,
            index,
            dsi,
        })
    }

    /// The docids and what they were made with.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Whether retrievers of this kind exist here: the geometric term needs codebooks and a weight.
    pub fn has(&self, kind: Kind) -> bool {
        match kind {
            Kind::Geometry => self.books.is_some() && self.config.search.geometry > 0.0,
            Kind::Exhaustive => self.config.eval.exhaustive,
            Kind::Rerank => self.config.search.rerank,
            Kind::Dense | Kind::Decoder => true,
        }
    }

    /// The retriever of this kind over these images.
    pub fn build(&self, kind: Kind, gallery: &[ImageIdx]) -> Box<dyn Retriever> {
        match kind {
            Kind::Dense => {
                let rows: Vec<usize> = gallery.iter().map(|image| image.row()).collect();
                Box::new(Dense::new(gallery.to_vec(), self.images.select(&rows), self.embedder.clone()))
            }
            Kind::Decoder => Box::new(self.beam(gallery, false)),
            Kind::Geometry => Box::new(self.beam(gallery, true)),
            Kind::Exhaustive => {
                let trie = Arc::new(Trie::over(&self.index.docids, gallery.iter().copied()));
                Box::new(self.generative(trie, Search::Exhaustive(self.catalogue.clone())))
            }
            Kind::Rerank => Box::new(Rerank {
                inner: self.beam(gallery, true),
                candidates: self.config.search.beam,
                images: self.aligned.clone(),
                weight: self.config.search.rerank_weight as f32,
                temperature: self.config.decoder.temperature as f32,
            }),
        }
    }

    fn beam(&self, gallery: &[ImageIdx], with_geometry: bool) -> Generative {
        // In nats, as a grounded logit: λ/(2τ).
        let weight = self.config.search.geometry / (2.0 * self.config.decoder.temperature);
        let geometry =
            self.books.clone().filter(|_| with_geometry && weight > 0.0).map(|books| (books, weight));
        let trie = Arc::new(Trie::over(&self.index.docids, gallery.iter().copied()));
        let wanted = self.config.search.lookahead && self.config.decoder.grounded;
        let lookahead = wanted.then(|| Arc::new(LookAhead::new(&trie, &self.catalogue)));
        self.generative(trie, Search::Beam { width: self.config.search.beam, geometry, lookahead })
    }

    fn generative(&self, trie: Arc<Trie>, search: Search) -> Generative {
        Generative {
            dsi: self.dsi.clone(),
            trie,
            align: self.align.clone(),
            embedder: self.embedder.clone(),
            search,
        }
    }
}
