//! What the codebooks alone can find, before any decoder is trained.
//!
//! A grounded decoder starts as a search by reconstructions, score(q, x̂) = 2⟨q, x̂⟩ − ‖x̂‖² (the order of
//! −‖q − x̂‖²). These measures say how good that start is: how near reconstructions are to the embeddings
//! ([`cosines`]), what an exhaustive search over them finds ([`recall`]), and how often a beam over prefixes
//! keeps the right one ([`prefix_survival`]). The figures go into [`super::gates`].

use rayon::prelude::*;

use super::rq::Codebooks;
use super::trie::Trie;
use super::{Docid, DocidSet};
use crate::ids::ImageIdx;
use crate::matrix::{Matrix, dot};
use crate::ranking::metrics::recall_at;
use crate::ranking::{keep_first, rank_of};

/// Queries scored by one matrix product: against 123,287 images this takes 32 MB.
const BLOCK: usize = 64;

/// For each level of the codebooks the mean over all images of cos(x, x̂), with x̂ the reconstruction from
/// the codes up to that level. `points` are the embeddings x of the images (`images × width`).
pub fn cosines(points: &Matrix, docids: &DocidSet, books: &Codebooks) -> Vec<f64> {
    let along_levels = |row: usize| -> Vec<f64> {
        let mut sum = vec![0.0; books.width()];
        let steps = books.levels().iter().zip(docids.of(ImageIdx::from(row)).codes());
        let cosine_after = steps.map(|(book, &code)| {
            sum.iter_mut().zip(book.row(code as usize)).for_each(|(sum, e)| *sum += e);
            cosine(points.row(row), &sum)
        });
        cosine_after.collect()
    };
    let rows: Vec<Vec<f64>> = (0..docids.images()).into_par_iter().map(along_levels).collect();
    column_means(&rows, books.levels().len())
}

/// Share of the queries whose gold image is among the best k of an exhaustive search by `reconstructions`
/// (`images × width`), for each k of `ks`; equal scores rank by [`ImageIdx`].
pub fn recall(queries: &Matrix, gold: &[ImageIdx], reconstructions: &Matrix, ks: &[usize]) -> Vec<f64> {
    let norms: Vec<f32> = reconstructions.iter().map(|x| dot(x, x)).collect();
    let blocks = queries.data().par_chunks(BLOCK * queries.width()).zip(gold.par_chunks(BLOCK));
    let ranks = blocks.flat_map_iter(|(block, gold)| {
        let block = Matrix::new(queries.width(), block.to_vec());
        let products = block.mul_transposed(reconstructions); // (query, image)
        products
            .iter()
            .zip(gold)
            .map(|(products, gold)| rank(products, &norms, gold.row()))
            .collect::<Vec<_>>()
    });
    let ranks: Vec<Option<usize>> = ranks.collect();
    ks.iter().map(|&k| recall_at(&ranks, k)).collect()
}

/// One-based rank of row `gold` by 2⟨q, x̂⟩ − ‖x̂‖².
fn rank(products: &[f32], norms: &[f32], gold: usize) -> Option<usize> {
    let scored = |row: usize| (2.0 * products[row] - norms[row], row);
    rank_of(&scored(gold), (0..products.len()).map(scored))
}

/// For each level of the docids, the share of the queries whose gold prefix survives a beam search over the
/// trie. The beam keeps the best `beam` nodes of every level by reconstruction; ties go to the earlier node.
/// A suffix level has no codebook and adds nothing to the score. An image outside the trie does not survive.
pub fn prefix_survival(
    queries: &Matrix,
    gold: &[ImageIdx],
    docids: &DocidSet,
    books: &Codebooks,
    trie: &Trie,
    beam: usize,
) -> Vec<f64> {
    let search = PrefixSearch { trie, norms: node_norms(docids, books, trie), beam };
    let blocks = queries.data().par_chunks(BLOCK * queries.width()).zip(gold.par_chunks(BLOCK));
    let rows = blocks.flat_map_iter(|(block, gold)| {
        let block = Matrix::new(queries.width(), block.to_vec());
        // One (query, code) matrix per level.
        let products: Vec<Matrix> = books.levels().iter().map(|book| block.mul_transposed(book)).collect();
        let survived = |(query, &gold): (usize, &ImageIdx)| {
            let products: Vec<&[f32]> = products.iter().map(|level| level.row(query)).collect();
            search.survival(&products, docids.of(gold))
        };
        gold.iter().enumerate().map(survived).collect::<Vec<_>>()
    });
    column_means(&rows.collect::<Vec<_>>(), trie.levels())
}

/// A beam search over the prefixes of a trie.
///
/// It differs from the model's (`model::beam_level`): the score of a prefix is not a sum over its levels but
/// 2⟨q, x̂⟩ − ‖x̂‖² of the whole prefix, and only the kept sets count, not their order.
struct PrefixSearch<'a> {
    trie: &'a Trie,
    /// ‖x̂‖² of every node's prefix, level by level.
    norms: Vec<Vec<f32>>,
    beam: usize,
}

/// A prefix that the beam considers.
struct Held {
    node: u32,
    /// ⟨q, x̂⟩ of the prefix.
    product: f32,
    score: f32,
}

impl PrefixSearch<'_> {
    /// For each level 1 if the beam holds the prefix of `gold` there, else 0. `products` are ⟨q, e⟩ for the
    /// codewords e of each level of the codebooks.
    fn survival(&self, products: &[&[f32]], gold: &Docid) -> Vec<f64> {
        let mut steps: Vec<(u32, f32)> = self.trie.roots().map(|node| (node, 0.0)).collect();
        let one_level = |level: usize| {
            let held = self.best(level, &steps, products);
            let right = self.trie.descend(&gold.codes()[..=level]);
            let children = |held: &Held| {
                let product = held.product;
                self.trie.children(level, held.node).map(move |child| (child, product))
            };
            steps = held.iter().flat_map(children).collect();
            f64::from(u8::from(held.iter().any(|held| Some(held.node) == right)))
        };
        (0..self.trie.levels()).map(one_level).collect()
    }

    /// The best nodes of `level` among `steps`: nodes, each with ⟨q, x̂⟩ of its parent.
    fn best(&self, level: usize, steps: &[(u32, f32)], products: &[&[f32]]) -> Vec<Held> {
        let score = |&(node, parent): &(u32, f32)| {
            let code = self.trie.code(level, node) as usize;
            let product = parent + products.get(level).map_or(0.0, |products| products[code]);
            Held { node, product, score: 2.0 * product - self.norms[level][node as usize] }
        };
        let mut held: Vec<Held> = steps.iter().map(score).collect();
        keep_first(&mut held, self.beam, |a, b| b.score.total_cmp(&a.score).then(a.node.cmp(&b.node)));
        held
    }
}

/// ‖x̂‖² of every node's prefix, level by level; any docid below a node has the prefix.
fn node_norms(docids: &DocidSet, books: &Codebooks, trie: &Trie) -> Vec<Vec<f32>> {
    let norm = |level: usize, node: u32| {
        let row = trie.row(trie.leaves_under(level, node).start);
        let sum = books.reconstruct(&docids.get(row).codes()[..=level]);
        dot(&sum, &sum)
    };
    let of_level =
        |level| (0..trie.len(level) as u32).into_par_iter().map(|node| norm(level, node)).collect::<Vec<_>>();
    (0..trie.levels()).map(of_level).collect()
}

/// Cosine of two vectors; 0 when one is zero.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let norms = (f64::from(dot(a, a)) * f64::from(dot(b, b))).sqrt();
    if norms > 0.0 { f64::from(dot(a, b)) / norms } else { 0.0 }
}

/// The mean of each column, summed in row order; zeros when there is no row.
fn column_means(rows: &[Vec<f64>], columns: usize) -> Vec<f64> {
    let mean = |column: usize| rows.iter().map(|row| row[column]).sum::<f64>() / rows.len().max(1) as f64;
    (0..columns).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docid::kmeans::noise;
    use crate::docid::suffix;
    use crate::ids::DocidRow;
    use crate::rng::stream;
    use proptest::prelude::*;

    /// Level 0: 0 or 10; level 1: 0 or 4. Images at 0-1 (4), 1-0 (10), 1-1 (14).
    fn line() -> (Codebooks, DocidSet) {
        let books =
            Codebooks::new(vec![Matrix::new(1, vec![0.0, 10.0]), Matrix::new(1, vec![0.0, 4.0])]).unwrap();
        let docids = [[0, 1], [1, 0], [1, 1]].map(|codes| Docid::new(codes.to_vec()));
        (books, DocidSet::new(docids.to_vec(), vec![2, 2]).unwrap())
    }

    #[test]
    fn survival_on_a_line_matches_hand_computation() {
        let (books, docids) = line();
        let queries = Matrix::new(1, vec![4.9, 13.0]); // nearest: image 0 (4), image 2 (14)
        let survival = |gold: [u32; 2], beam| {
            let gold = gold.map(ImageIdx);
            prefix_survival(&queries, &gold, &docids, &books, &Trie::new(&docids), beam)
        };
        assert_eq!(survival([0, 2], 1), [1.0, 1.0]);
        assert_eq!(survival([1, 1], 1), [0.5, 0.0]); // 4.9 takes prefix 0; 13 takes prefix 1, then 14
        assert_eq!(survival([1, 1], 2), [1.0, 1.0]);
        let trie = Trie::over(&docids, [0, 1].map(DocidRow));
        let outside = prefix_survival(&queries, &[ImageIdx(0), ImageIdx(2)], &docids, &books, &trie, 9);
        assert_eq!(outside, [1.0, 0.5], "image 2 is not in this gallery, its first code is");
    }

    #[test]
    fn recall_ranks_by_distance_and_breaks_ties_by_image() {
        let reconstructions = Matrix::new(1, vec![4.0, 10.0, 4.0]);
        let queries = Matrix::new(1, vec![5.0, 5.0, 5.0]);
        let gold = [0, 1, 2].map(ImageIdx); // ranks 0, 2, 1
        let recall = recall(&queries, &gold, &reconstructions, &[1, 2, 3]);
        assert_eq!(recall, [1.0 / 3.0, 2.0 / 3.0, 1.0]);
    }

    #[test]
    fn cosines_are_means_over_images_after_each_level() {
        let books =
            Codebooks::new(vec![Matrix::new(2, vec![1.0, 0.0]), Matrix::new(2, vec![0.0, 1.0])]).unwrap();
        let (docids, _) = suffix::unique(vec![vec![0, 0], vec![0, 0]], &[1, 1]).unwrap();
        let points = Matrix::new(2, vec![3.0, 0.0, 1.0, 1.0]);
        let half = 0.5f64.sqrt();
        let expected = [(1.0 + half) / 2.0, (half + 1.0) / 2.0];
        for (found, expected) in cosines(&points, &docids, &books).into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_wide_beam_loses_nothing_and_survival_falls_with_depth(seed: u64, beam in 1usize..20) {
            let points = noise(80, 4);
            let books = Codebooks::fit(&points, &[4; 3], 5, &mut stream(seed, "rq", 0)).unwrap();
            let codes = books.encode_all(&points, 1);
            let (docids, _) = suffix::unique(codes, &books.codes_per_level()).unwrap();
            let (trie, queries) = (Trie::new(&docids), noise(100, 4));
            let gold: Vec<ImageIdx> = (0..100).map(|query| ImageIdx::from(query * 7 % 80)).collect();
            let survival = |beam| prefix_survival(&queries, &gold, &docids, &books, &trie, beam);
            prop_assert!(survival(80).iter().all(|&share| share == 1.0));
            prop_assert!(survival(beam).is_sorted_by(|above, below| above >= below));
        }
    }
}
