//! Tree docids: the path of an image in a hierarchical k-means over image embeddings (DSI "semantic", GRACE
//! "structured").

use super::{DocidFamily, FamilyInput, FamilyOutput};
use crate::docid::kmeans_tree::KmeansTree;
use crate::docid::suffix;
use crate::error::Result;

/// The family `tree`.
pub struct Tree;

impl DocidFamily for Tree {
    fn name(&self) -> &'static str {
        "tree"
    }

    fn about(&self) -> &'static str {
        "The path in a hierarchical k-means over image embeddings (\"semantic\" in DSI)."
    }

    fn fits_train_images(&self) -> bool {
        true
    }

    fn assign(&self, input: &FamilyInput) -> Result<FamilyOutput> {
        let train = input.images.select(input.train_images);
        let (branching, iterations) = (input.settings.codes, input.settings.iterations);
        let tree = KmeansTree::fit(&train, branching, iterations, &mut input.rng())?;
        let codes_per_level = tree.codes_per_level();
        // Images of one leaf share their path by design, so collisions are not reported.
        let (docids, _) = suffix::unique(tree.encode_all(input.images), &codes_per_level)?;
        Ok(FamilyOutput { docids, codebooks: None, family_levels: codes_per_level.len(), collisions: None })
    }
}
