//! Images of a store that are nearly the same.

use std::collections::BTreeMap;

use super::embed::AlignedQuery;
use super::opened_store::ImagePlace;
use super::{Searcher, Store};
use crate::error::{Error, Result};
use crate::matrix::{Matrix, dot};
use crate::modality::Modality;

/// Neighbours of an image that are looked at, at least.
const NEIGHBOURS: usize = 20;

/// Two images and their cosine.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// The name of one.
    pub image: String,
    /// The name of the other.
    pub other: String,
    /// The cosine of their embeddings.
    pub cosine: f32,
}

impl Searcher {
    /// Pairs of images whose embeddings have at least this cosine, the nearest first. An image is compared with those
    /// that its own look-ups find, and those whose look-ups find it.
    ///
    /// # Errors
    /// When the store keeps no embeddings, or is searched by a beam, or is damaged.
    pub fn near_duplicates(&self, cosine: f32, progress: &dyn Fn()) -> Result<Vec<Pair>> {
        let mut pairs: BTreeMap<(ImagePlace, ImagePlace), f32> = BTreeMap::new();
        for place in self.store.living() {
            let row = row(&self.store, place)?;
            let query = AlignedQuery { row: row.clone(), modality: Modality::Image };
            for found in &self.by_look_ups(std::slice::from_ref(&query), NEIGHBOURS, None)?[0] {
                let other = (found.segment, self.store.segment(found.segment).owner(found.docid)?);
                if other != place {
                    let between = dot(&row, &self::row(&self.store, other)?);
                    if between >= cosine {
                        pairs.insert((place.min(other), place.max(other)), between);
                    }
                }
            }
            progress();
        }
        let name = |place| self.store.name(place).map(str::to_owned);
        let pair = |((one, other), cosine)| Ok(Pair { image: name(one)?, other: name(other)?, cosine });
        let mut pairs = pairs.into_iter().map(pair).collect::<Result<Vec<_>>>()?;
        pairs.sort_by(|a, b| b.cosine.total_cmp(&a.cosine));
        Ok(pairs)
    }
}

/// The row of an image, of unit length.
fn row(store: &Store, (segment, image): ImagePlace) -> Result<Vec<f32>> {
    let row = store.segment(segment).row(image)?;
    let row = row.ok_or_else(|| {
        Error::input("this store keeps no embeddings of its images (search.rows = \"none\")")
    })?;
    Ok(Matrix::new(row.len(), row).normalized().row(0).to_vec())
}
