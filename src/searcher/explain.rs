//! Why an image comes where it comes for a query.

use serde::Serialize;

use super::embed::AlignedQuery;
use super::opened_store::ImagePlace;
use super::score::{self, TableScores};
use super::{Query, Searcher};
use crate::docid::Docid;
use crate::error::{Error, Result};
use crate::store::scan::{Best, Found};

/// What an image scores for a query, stage by stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The image.
    pub image: String,
    /// Its docid.
    pub docid: Docid,
    /// Number of docids that were scored.
    pub docids: usize,
    /// What each code of the docid adds by its look-up table.
    pub levels: Vec<f32>,
    /// The score by look-ups, with scale and constant.
    pub known: f32,
    /// Its one-based rank by that score.
    pub known_rank: usize,
    /// Docids that are looked at further.
    pub candidates: usize,
    /// What the decoder adds; `None` without a decoder.
    pub decoder: Option<f32>,
    /// The exact cosine on the scale of the score; `None` if no embeddings are kept.
    pub exact: Option<f32>,
    /// The final score.
    pub score: f32,
    /// The one-based rank in the list; `None` if the image was not among the candidates.
    pub rank: Option<usize>,
}

impl Searcher {
    /// Explains where the image of this name comes for a query.
    ///
    /// # Errors
    /// When there is no such image, the model is searched by a beam, or as [`Searcher::search`].
    pub fn explain(&self, query: &Query, name: &str) -> Result<Explanation> {
        if self.beam.is_some() {
            return Err(Error::input(
                "a run that is searched by a beam has no score for every image to explain",
            ));
        }
        let place = self.store.find(name)?;
        let queries = self.embedder.embed(std::slice::from_ref(query), &self.store, &self.model)?;
        let scores = TableScores { model: &self.model, store: &self.store };
        let tables = scores.tables(&queries)?;
        let everything = self.all(&tables[0])?;
        // Of an image with several docids, the one that gives it its place in a list.
        let own: Vec<usize> =
            (0..everything.len()).filter(|&rank| self.is_of(everything[rank], place)).collect();
        let scored = own.iter().map(|&rank| {
            let decoded = scores.with_decoder(&queries[0], vec![everything[rank]])?[0];
            Ok((rank, decoded, self.fused(&queries[0], decoded)?))
        });
        let scored = scored.collect::<Result<Vec<_>>>()?;
        let best = scored.into_iter().max_by(|a, b| a.2.score.total_cmp(&b.2.score));
        let (rank, decoded, fused) = best.ok_or_else(|| Error::input("the image has no score"))?;
        let known = everything[rank];
        let exact = self.exact_of(&queries[0], known)?;
        let codes = self.store.segment(known.segment).docid(known.docid)?;
        let list = self.search(query, self.defaults.candidates)?;
        Ok(Explanation {
            image: name.to_owned(),
            levels: tables[0].looked_up(&codes),
            docid: Docid::new(codes),
            docids: everything.len(),
            known: known.score,
            known_rank: rank + 1,
            candidates: self.defaults.candidates,
            decoder: self.has_decoder().then_some(decoded.score - known.score),
            score: fused.score,
            exact,
            rank: list.iter().position(|hit| hit.image == name).map(|place| place + 1),
        })
    }

    /// Whether a docid is one of this image's.
    fn is_of(&self, found: Found, place: ImagePlace) -> bool {
        let owner = || self.store.segment(found.segment).owner(found.docid);
        found.segment == place.0 && owner().is_ok_and(|image| image == place.1)
    }

    /// All docids by their look-ups, best first.
    fn all(&self, tables: &crate::store::scan::Tables) -> Result<Vec<Found>> {
        let mut best = Best::new(self.docids().max(1));
        for scanned in self.store.scanned(None) {
            scanned.scan(tables, 0, &mut best)?;
        }
        Ok(best.into_sorted())
    }

    /// The exact cosine of a docid's image, if its row is kept.
    fn exact_of(&self, query: &AlignedQuery, found: Found) -> Result<Option<f32>> {
        let segment = self.store.segment(found.segment);
        let row = segment.row(segment.owner(found.docid)?)?;
        Ok(row.map(|row| score::exact(&self.model, query, &row)))
    }
}
