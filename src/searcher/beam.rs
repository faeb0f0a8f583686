//! The classical search: a beam over the trie of the store's docids, for models whose score is no sum of look-ups.

use candle_core::Device;

use super::Store;
use super::embed::AlignedQuery;
use super::score::{geometry, model_queries};
use super::stored_model::{DocidScore, StoredModel};
use crate::docid::trie::Trie;
use crate::docid::{Docid, DocidSet};
use crate::error::{Error, Result};
use crate::model::beam_search::{Settings, beam_search};
use crate::model::grounded_logits::Books;
use crate::store::scan::Found;

/// A trie of all docids that can be found.
pub struct DocidBeam {
    /// `None` if there are no images.
    trie: Option<Trie>,
    /// The segment and the number of each row of the trie's docids.
    places: Vec<(usize, usize)>,
    /// What each docid gets on top, leaf by leaf.
    leaves: Vec<f32>,
    geometry: Option<(Books, f64)>,
    wildcard: f32,
}

impl DocidBeam {
    /// The beam of a store whose model needs one.
    ///
    /// # Errors
    /// When the store is damaged.
    pub fn needed(model: &StoredModel, store: &Store) -> Result<Option<Self>> {
        let DocidScore::Model(shape) = &model.file.score else { return Ok(None) };
        if !shape.needs_beam() {
            return Ok(None);
        }
        let (mut docids, mut places, mut constants) = (Vec::new(), Vec::new(), Vec::new());
        for scanned in store.scanned(None) {
            for docid in 0..scanned.segment.head().docids {
                if !scanned.excluded.contains(scanned.segment.owner(docid)?) {
                    docids.push(Docid::new(scanned.segment.docid(docid)?));
                    places.push((scanned.number, docid));
                    constants.push(scanned.segment.constants(docid..docid + 1)?.map_or(0.0, |c| c[0]));
                }
            }
        }
        let trie = match docids.is_empty() {
            true => None,
            false => Some(Trie::new(&DocidSet::new(docids, model.file.codes_per_level.clone())?)),
        };
        let rows = trie.iter().flat_map(|trie| trie.rows());
        let leaves = rows.map(|row| constants[row.row()]).collect();
        let geometry = geometry(model.codebooks.as_ref(), shape.geometry)?;
        Ok(Some(Self { trie, places, leaves, geometry, wildcard: shape.wildcard }))
    }

    /// The best docids of each query, at most `beam`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn search(
        &self,
        model: &StoredModel,
        queries: &[AlignedQuery],
        beam: usize,
    ) -> Result<Vec<Vec<Found>>> {
        let Some(trie) = &self.trie else { return Ok(vec![Vec::new(); queries.len()]) };
        let trained =
            model.trained.as_ref().ok_or_else(|| Error::input("this store has no model; make it again"))?;
        debug_assert!(trained.device().same_device(&Device::Cpu));
        let settings = Settings {
            beam,
            geometry: self.geometry.as_ref().map(|(books, weight)| (books, *weight)),
            lookahead: None,
            leaves: &self.leaves,
            wildcard: self.wildcard,
        };
        let found = beam_search(trained, trie, &model_queries(queries)?, settings)?;
        let place = |(row, score): (crate::ids::DocidRow, f32)| {
            let (segment, docid) = self.places[row.row()];
            Found { score, segment, docid }
        };
        Ok(found.into_iter().map(|found| found.into_iter().map(place).collect()).collect())
    }
}
