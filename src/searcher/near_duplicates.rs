//! Images of a store that are nearly the same.

use super::embed::AlignedQuery;
use super::{Searcher, Store};
use crate::error::{Error, Result};
use crate::matrix::{Matrix, dot};
use crate::modality::Modality;

/// Neighbours of an image that are looked at.
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
    /// Pairs of images whose embeddings have at least this cosine, the nearest first. Each image is compared with those
    /// that a search for it finds.
    ///
    /// # Errors
    /// When the store keeps no embeddings, or is damaged.
    pub fn near_duplicates(&self, cosine: f32, progress: &dyn Fn()) -> Result<Vec<Pair>> {
        let mut pairs = Vec::new();
        for place in self.store.living() {
            let row = row(&self.store, place)?;
            let query = AlignedQuery { row: row.clone(), modality: Modality::Image };
            for found in &self.found(std::slice::from_ref(&query), NEIGHBOURS, None)?[0] {
                let other = (found.segment, self.store.segment(found.segment).owner(found.docid)?);
                let between = dot(&row, &self::row(&self.store, other)?);
                if other > place && between >= cosine {
                    let (image, other) =
                        (self.store.name(place)?.to_owned(), self.store.name(other)?.to_owned());
                    pairs.push(Pair { image, other, cosine: between });
                }
            }
            progress();
        }
        pairs.sort_by(|a, b| {
            b.cosine.total_cmp(&a.cosine).then_with(|| (&a.image, &a.other).cmp(&(&b.image, &b.other)))
        });
        Ok(pairs)
    }
}

/// The row of an image, of unit length.
fn row(store: &Store, (segment, image): (usize, usize)) -> Result<Vec<f32>> {
    let row = store.segment(segment).row(image)?;
    let row = row.ok_or_else(|| {
        Error::input("this store keeps no embeddings of its images (search.rows = \"none\")")
    })?;
    Ok(Matrix::new(row.len(), row).normalized().row(0).to_vec())
}
