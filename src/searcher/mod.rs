//! Search over a store, for programs and for `dsi search`.
//!
//! A [`Searcher`] opens the folder `search` of a run, and the encoder when a query needs it: no corpus, no other photo,
//! no caption.
//!
//! ```no_run
//! use dsi::searcher::{Query, Searcher};
//!
//! # fn main() -> dsi::error::Result<()> {
//! let searcher = Searcher::open("runs/holiday")?;
//! for hit in searcher.search(&Query::text("a dog on a beach"), 5)? {
//!     println!("{:.3} {}", hit.score, hit.image);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # How a query is answered
//! 1. The encoder embeds it, the alignment moves it ([`embed`]).
//! 2. Look-up tables of the query give each docid its score ([`crate::store::scan`]). With a trained grounded model,
//!    that is the model's score without the decoder: S = Σ_l α_l(2⟨Wq, e_l⟩ + constant).
//! 3. The decoder scores the best docids of the query, all levels at once by teacher forcing ([`score`]).
//! 4. The exact cosine of the rows that the store keeps is fused with that score.
//!
//! Models whose score is no such sum (classical docids, steps that are normalised) are searched by a beam over the trie
//! ([`beam`]).

pub mod beam;
pub mod bench;
pub mod change;
pub mod docid_shape;
pub mod embed;
pub mod embedding_spread;
pub mod encoder_ref;
pub mod explain;
pub mod index_photos;
pub mod name_pattern;
pub mod near_duplicates;
pub mod opened_store;
pub mod photo_quantiser;
pub mod query;
pub mod score;
pub mod stored_model;
pub mod write_store;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

pub use self::opened_store::Store;
pub use self::query::Query;

use self::name_pattern::NamePattern;
use rayon::prelude::*;

use self::beam::DocidBeam;
use self::embed::{AlignedQuery, Embedder};
use self::score::TableScores;
use self::stored_model::{SearchDefaults, StoredModel};
use crate::docid::Docid;
use crate::error::{Error, Result};
use crate::run_folder::RunFolder;
use crate::store::generation::Generation;
use crate::store::scan::{Best, Found, ImageSet, Tables};

/// Attempts to open a store while others replace it.
const ATTEMPTS: usize = 10;
/// Docids of an image at most: its own, and one made from captions.
const MOST_DOCIDS: usize = 2;
/// Queries that are scored at once.
const BATCH: usize = 64;

/// An image that a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Its name.
    pub image: String,
    /// The file of its photo, where it is known.
    pub file: Option<PathBuf>,
    /// Its docid.
    pub docid: Docid,
    /// Its score: higher is better.
    pub score: f32,
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Images at most.
    pub k: usize,
    /// Images before the first one.
    pub skip: usize,
    /// What names of images must fit.
    pub pattern: Option<NamePattern>,
}

/// An opened store.
pub struct Searcher {
    store: Store,
    model: StoredModel,
    embedder: Embedder,
    defaults: SearchDefaults,
    /// For models whose score is no sum of look-ups.
    beam: Option<DocidBeam>,
}

impl Searcher {
    /// Opens the store of a run folder.
    ///
    /// # Errors
    /// When there is none, or it is damaged.
    pub fn open(run: impl AsRef<Path>) -> Result<Self> {
        let run = RunFolder::new(run.as_ref());
        let folder = run.search();
        let mut attempt = 1;
        loop {
            let generation = Generation::read(&folder)?.ok_or_else(|| no_store(&run))?;
            match Self::of(&run, generation.clone()) {
                // Another process may just have replaced the generation, and removed its files.
                Err(_)
                    if attempt < ATTEMPTS
                        && Generation::read(&folder)?.is_some_and(|now| now != generation) =>
                {
                    attempt += 1;
                }
                opened => return opened,
            }
        }
    }

    fn of(run: &RunFolder, generation: Generation) -> Result<Self> {
        let folder = run.search();
        let model = StoredModel::read(&folder, &generation.model, &generation.vectors)?;
        let store = Store::open(&folder, generation)?;
        for part in &store.parts {
            if part.segment.head().codes_per_level != model.file.codes_per_level {
                return Err(Error::file(
                    &folder,
                    "has docids of another shape than its model; make the search store again",
                ));
            }
        }
        let beam = DocidBeam::needed(&model, &store)?;
        let embedder = Embedder::new(run, &model);
        Ok(Self { defaults: model.file.search.clone(), store, embedder, beam, model })
    }

    /// Number of images that can be found.
    pub fn images(&self) -> usize {
        self.store.images()
    }

    /// Whether a decoder scores the best docids.
    pub fn has_decoder(&self) -> bool {
        self.model.trained.is_some()
    }

    /// Bytes an image that its docids take: codes, constants and scales, without names and rows.
    pub fn bytes_per_image(&self) -> f64 {
        let images: usize = self.store.parts.iter().map(|part| part.segment.head().images).sum();
        self.store.docid_bytes() as f64 / images.max(1) as f64
    }

    /// What a search does if nothing else is said.
    pub fn defaults(&self) -> &SearchDefaults {
        &self.defaults
    }

    /// The same with its encoder in another folder.
    #[must_use]
    pub fn with_encoder_in(mut self, folder: &str) -> Self {
        self.embedder = self.embedder.with_encoder_in(folder);
        self
    }

    /// The same with other defaults.
    #[must_use]
    pub fn with_defaults(self, defaults: SearchDefaults) -> Self {
        Self { defaults, ..self }
    }

    /// The best `k` images for a query, best first; fewer if there are not so many.
    ///
    /// # Errors
    /// When the query has no meaning here ([`Error::Input`]), its photo cannot be read, the encoder is not found, or
    /// the store is damaged.
    pub fn search(&self, query: &Query, k: usize) -> Result<Vec<Hit>> {
        let mut lists = self.search_all(std::slice::from_ref(query), k)?;
        Ok(lists.pop().unwrap_or_default())
    }

    /// The same for several queries; their captions are embedded together.
    ///
    /// # Errors
    /// As [`Searcher::search`].
    pub fn search_all(&self, queries: &[Query], k: usize) -> Result<Vec<Vec<Hit>>> {
        self.pages(queries, &Page { k, ..Page::default() })
    }

    /// A part of the list of each query.
    ///
    /// # Errors
    /// As [`Searcher::search`].
    pub fn pages(&self, queries: &[Query], page: &Page) -> Result<Vec<Vec<Hit>>> {
        let mut lists = Vec::with_capacity(queries.len());
        for batch in queries.chunks(BATCH) {
            let aligned = self.embedder.embed(batch, &self.store, &self.model)?;
            let wanted = page.k.saturating_add(page.skip).max(1);
            for found in self.found(&aligned, wanted, page.pattern.as_ref())? {
                let hits = found.into_iter().skip(page.skip).take(page.k);
                lists.push(hits.map(|found| self.hit(found)).collect::<Result<_>>()?);
            }
        }
        Ok(lists)
    }

    /// The docids of a batch of queries, best first, one an image, of images whose name fits the pattern.
    ///
    /// The best `candidates` docids by look-ups are ranked by all stages, then as many of those that follow, and so on: a
    /// longer list begins with the shorter one.
    fn found(
        &self,
        queries: &[AlignedQuery],
        k: usize,
        pattern: Option<&NamePattern>,
    ) -> Result<Vec<Vec<Found>>> {
        let block = self.defaults.candidates.max(1);
        let excluded = pattern.map(|pattern| self.store.excluded_by(pattern)).transpose()?;
        let found = match &self.beam {
            Some(beam) => {
                // A filtered list is cut out of one of all images.
                let count = if pattern.is_some() { self.docids() } else { self.docids().min(block.max(k)) };
                let found = beam.search(&self.model, queries, count.max(1))?;
                found
                    .into_iter()
                    .map(|found| self.without(found, excluded.as_deref()))
                    .collect::<Result<_>>()?
            }
            None => self.by_look_ups(queries, k, excluded.as_deref())?,
        };
        let ranked = |(query, found): (&AlignedQuery, Vec<Found>)| self.in_blocks(query, &found, block);
        queries.iter().zip(found).map(ranked).collect()
    }

    /// Number of docids.
    fn docids(&self) -> usize {
        self.store.parts.iter().map(|part| part.segment.head().docids).sum()
    }

    /// The best docids of each query by look-ups alone: those of at least `k` images.
    fn by_look_ups(
        &self,
        queries: &[AlignedQuery],
        k: usize,
        excluded: Option<&[ImageSet]>,
    ) -> Result<Vec<Vec<Found>>> {
        let per_image = if self.store.has_extra_docids() { MOST_DOCIDS } else { 1 };
        let blocks = k.saturating_mul(per_image).div_ceil(self.defaults.candidates.max(1)).max(1);
        let count = blocks.saturating_mul(self.defaults.candidates.max(1)).min(self.docids().max(1));
        let tables = TableScores { model: &self.model, store: &self.store }.tables(queries)?;
        tables.par_iter().map(|tables| self.best(tables, count, excluded)).collect()
    }

    /// Blocks of docids, each ranked by all stages; of an image with several docids, the first.
    fn in_blocks(&self, query: &AlignedQuery, found: &[Found], block: usize) -> Result<Vec<Found>> {
        let mut seen = HashSet::new();
        let mut ranked = Vec::with_capacity(found.len());
        for block in found.chunks(block) {
            for found in self.ranked(query, block.to_vec())? {
                if seen.insert((found.segment, self.store.segment(found.segment).owner(found.docid)?)) {
                    ranked.push(found);
                }
            }
        }
        Ok(ranked)
    }

    /// The docids whose image is not excluded.
    fn without(&self, found: Vec<Found>, excluded: Option<&[ImageSet]>) -> Result<Vec<Found>> {
        let Some(excluded) = excluded else { return Ok(found) };
        let mut kept = Vec::with_capacity(found.len());
        for found in found {
            if !excluded[found.segment].contains(self.store.segment(found.segment).owner(found.docid)?) {
                kept.push(found);
            }
        }
        Ok(kept)
    }

    fn best(&self, tables: &Tables, count: usize, excluded: Option<&[ImageSet]>) -> Result<Vec<Found>> {
        let mut best = Best::new(count);
        for scanned in self.store.scanned(excluded) {
            scanned.scan(tables, self.defaults.probes, &mut best)?;
        }
        Ok(best.into_sorted())
    }

    /// Docids by the score of all stages: look-ups or beam, decoder, exact cosine.
    fn ranked(&self, query: &AlignedQuery, found: Vec<Found>) -> Result<Vec<Found>> {
        let found = match &self.beam {
            Some(_) => found,
            None => TableScores { model: &self.model, store: &self.store }.with_decoder(query, found)?,
        };
        let mut found =
            found.into_iter().map(|found| self.fused(query, found)).collect::<Result<Vec<_>>>()?;
        found.retain(|found| !found.score.is_nan());
        found.sort_by(|a, b| {
            b.score.total_cmp(&a.score).then((a.segment, a.docid).cmp(&(b.segment, b.docid)))
        });
        Ok(found)
    }

    /// A docid with the exact cosine fused into its score, if the row of its image is kept.
    fn fused(&self, query: &AlignedQuery, found: Found) -> Result<Found> {
        let weight = if self.defaults.rerank { self.defaults.rerank_weight } else { 0.0 };
        if weight <= 0.0 {
            return Ok(found);
        }
        let segment = self.store.segment(found.segment);
        let image = segment.owner(found.docid)?;
        let Some(row) = segment.row(image)? else { return Ok(found) };
        let exact = score::exact(&self.model, query, &row) + segment.bonus(image)?;
        Ok(Found { score: weight * exact + (1.0 - weight) * found.score, ..found })
    }

    fn hit(&self, found: Found) -> Result<Hit> {
        let segment = self.store.segment(found.segment);
        let image = segment.owner(found.docid)?;
        Ok(Hit {
            image: segment.name(image)?.to_owned(),
            file: segment.file(image)?,
            docid: Docid::new(segment.docid(found.docid)?),
            score: found.score,
        })
    }
}

fn no_store(run: &RunFolder) -> Error {
    let what =
        "holds nothing to search; make it with dsi index FOLDER --out RUN, or with dsi train --config FILE";
    Error::file(run.path(), what)
}
