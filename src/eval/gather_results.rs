//! The results of all ranks, each of which answers a share of the queries, put together.

use std::ops::Range;

use crate::distributed::Comm;
use crate::ids::ImageIdx;
use crate::retriever::{Hit, Ranked, RankedList};

/// The results for all `count` queries, of which this rank has those in the range `own`; lists have at most
/// `depth` images.
pub fn gather(own: Range<usize>, found: Vec<Ranked>, count: usize, depth: usize, comm: &Comm) -> Vec<Ranked> {
    if comm.size() == 1 {
        return found;
    }
    // A row holds a query's rank, the length of its list, images and scores. f32 holds whole numbers up to
    // 2²⁴ exactly.
    let width = 2 + 2 * depth;
    let packed = |(list, rank): Ranked| {
        let mut row = vec![rank.unwrap_or(0) as f32, list.hits().len() as f32];
        row.extend(list.hits().iter().flat_map(|hit| [hit.image.row() as f32, hit.score]));
        row.resize(width, 0.0);
        row
    };
    let all = comm.all_gather_rows(own.zip(found.into_iter().map(packed)), count, width);
    let unpacked = |row: &[f32]| {
        let hits = row[2..].chunks_exact(2).take(row[1] as usize);
        let list = hits.map(|pair| Hit { image: ImageIdx::from(pair[0] as usize), score: pair[1] });
        (RankedList::new(list), Some(row[0] as usize).filter(|&rank| rank > 0))
    };
    all.chunks_exact(width).map(unpacked).collect()
}
