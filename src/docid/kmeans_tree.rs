//! Hierarchical k-means: the paths of the docid family `tree` (DSI "semantic", GRACE "structured").
//!
//! The embeddings are split into K clusters, each cluster again, until at most K images are left. The
//! collision rule ([`super::suffix`]) numbers the images of a leaf; its suffix is their last code. Paths that
//! end early are padded with code 0 to the depth of the tree. No path is then the beginning of another, and
//! in the trie a padded step has a single child, so it costs no decision. A new image descends along the kept
//! centroids, without a new fit.

use rayon::prelude::*;

use super::{Code, kmeans};
use crate::error::{Error, Result};
use crate::matrix::{Matrix, dot};
use crate::rng::Rng;

/// Clusters at this depth are not split. Real embeddings never get this deep. The limit stops data that lose a
/// few outliers per level from making endless docids.
const MAX_DEPTH: usize = 32;

/// A hierarchical k-means.
#[derive(Debug, Clone, PartialEq)]
pub struct KmeansTree {
    root: Node,
    branching: usize,
    depth: usize,
}

/// A cluster: one centroid per child; a leaf has neither.
#[derive(Debug, Clone, PartialEq, Default)]
struct Node {
    centroids: Matrix,
    children: Vec<Node>,
}

impl KmeansTree {
    /// Splits `points` (rows) until a cluster has at most `branching` of them or they are all equal.
    ///
    /// # Errors
    /// When `branching` is below 2, or as [`kmeans::fit`].
    pub fn fit(points: &Matrix, branching: usize, iterations: usize, rng: &mut Rng) -> Result<Self> {
        if branching < 2 {
            return Err(Error::input(format!("a tree with branching {branching}: at least 2 is needed")));
        }
        let root = Node::grow(points, branching, iterations, MAX_DEPTH, rng)?;
        let depth = root.depth();
        Ok(Self { root, branching, depth })
    }

    /// Number of codes of each level of a path; empty when all points are in one leaf.
    pub fn codes_per_level(&self) -> Vec<usize> {
        vec![self.branching; self.depth]
    }

    /// The padded path from the root to the leaf of `x`, nearest centroid first at every step.
    pub fn encode(&self, x: &[f32]) -> Vec<Code> {
        let mut path = Vec::with_capacity(self.depth);
        let mut node = &self.root;
        while !node.children.is_empty() {
            let child = node.nearest(x);
            path.push(child as Code);
            node = &node.children[child];
        }
        path.resize(self.depth, 0);
        path
    }

    /// The path of every row of `points`; images in one leaf have equal paths.
    pub fn encode_all(&self, points: &Matrix) -> Vec<Vec<Code>> {
        let rows: Vec<&[f32]> = points.iter().collect();
        rows.into_par_iter().map(|x| self.encode(x)).collect()
    }
}

impl Node {
    fn grow(
        points: &Matrix,
        branching: usize,
        iterations: usize,
        levels_left: usize,
        rng: &mut Rng,
    ) -> Result<Self> {
        if points.rows() <= branching || levels_left == 0 {
            return Ok(Self::default());
        }
        let centroids = kmeans::fit(points, branching, iterations, rng)?;
        let mut members = vec![Vec::new(); branching];
        for (row, nearest) in kmeans::assign(points, &centroids).into_iter().enumerate() {
            members[nearest.centroid].push(row);
        }
        let used: Vec<usize> = (0..branching).filter(|&cluster| !members[cluster].is_empty()).collect();
        if used.len() < 2 {
            return Ok(Self::default()); // all points are equal
        }
        let grow = |&cluster: &usize| {
            Self::grow(&points.select(&members[cluster]), branching, iterations, levels_left - 1, rng)
        };
        let children = used.iter().map(grow).collect::<Result<_>>()?;
        Ok(Self { centroids: centroids.select(&used), children })
    }

    /// Steps from here to the deepest leaf.
    fn depth(&self) -> usize {
        self.children.iter().map(|child| 1 + child.depth()).max().unwrap_or(0)
    }

    /// The child whose centroid is nearest to `x`: the least ‖c‖² − 2⟨x, c⟩.
    fn nearest(&self, x: &[f32]) -> usize {
        let values = self.centroids.iter().map(|c| dot(c, c) - 2.0 * dot(x, c));
        let least = values.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
        least.expect("invariant: an inner node has children").0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docid::kmeans::noise;
    use crate::docid::suffix;
    use crate::rng::stream;

    fn tree(points: &Matrix, branching: usize) -> KmeansTree {
        KmeansTree::fit(points, branching, 10, &mut stream(1, "tree", 0)).unwrap()
    }

    #[test]
    fn clusters_become_prefixes_and_short_paths_are_padded() {
        // Three points at 0 and 1 to 2; one far away: the root cuts it off, the other side splits again.
        let points = Matrix::new(1, vec![0.0, 1.5, 2.0, 1000.0]);
        let tree = tree(&points, 2);
        let paths = tree.encode_all(&points);
        assert_eq!(tree.codes_per_level(), [2, 2]);
        assert_eq!(paths[3][1], 0, "padded");
        assert_eq!(paths[1], paths[2], "one leaf of two images");
        assert!(paths[0][0] == paths[1][0] && paths[0][1] != paths[1][1] && paths[3][0] != paths[0][0]);
        assert_eq!(tree.encode(&[1900.0]), paths[3], "a new image descends");
        let (docids, collisions) = suffix::unique(paths, &tree.codes_per_level()).unwrap();
        assert_eq!((docids.codes_per_level(), collisions.shared), (&[2, 2, 2][..], 2));
    }

    #[test]
    fn points_of_one_leaf_need_no_path() {
        for points in [Matrix::new(1, vec![1.0, 2.0]), Matrix::new(1, vec![3.0; 9])] {
            let tree = tree(&points, 2);
            assert!(tree.codes_per_level().is_empty());
            let (docids, _) = suffix::unique(tree.encode_all(&points), &[]).unwrap();
            assert_eq!(docids.codes_per_level(), [points.rows()]);
        }
    }

    #[test]
    fn leaves_hold_at_most_as_many_images_as_there_are_branches() {
        let points = noise(600, 5);
        let tree = tree(&points, 6);
        let (docids, collisions) = suffix::unique(tree.encode_all(&points), &tree.codes_per_level()).unwrap();
        assert_eq!(docids.images(), 600);
        assert!(collisions.largest <= 6);
    }

    #[test]
    fn outliers_on_a_geometric_scale_do_not_make_endless_docids() {
        let points = Matrix::new(1, (-30..30).map(|i| 4f32.powi(i)).collect());
        assert_eq!(tree(&points, 2).depth, MAX_DEPTH);
        assert!(KmeansTree::fit(&points, 1, 10, &mut stream(1, "tree", 0)).is_err());
    }
}
