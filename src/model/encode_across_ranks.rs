//! Encoding a gallery of any size: each rank finds the codes of a share of the images, and all ranks get all
//! codes.

use std::ops::Range;

use crate::distributed::Comm;
use crate::docid::rq::Codebooks;
use crate::docid::{Code, unique_paths};
use crate::error::Result;
use crate::matrix::Matrix;

/// The codebooks that the first rank makes, with these numbers of codes and this width.
///
/// # Errors
/// What `make` reports.
pub fn broadcast_codebooks(
    codes_per_level: &[usize],
    width: usize,
    comm: &Comm,
    make: impl FnOnce() -> Result<Codebooks>,
) -> Result<Codebooks> {
    let made = if comm.is_first() { make()?.levels().to_vec() } else { Vec::new() };
    let mut made = made.into_iter();
    let mut level = |&codes: &usize| {
        let book = || Ok(made.next().expect("invariant: a codebook per level"));
        comm.broadcast_matrix(codes, width, book)
    };
    Codebooks::new(codes_per_level.iter().map(&mut level).collect::<Result<_>>()?)
}

/// [`Codebooks::encode_all`]. All ranks have the same codebooks and points.
pub fn encode_all(books: &Codebooks, points: &Matrix, beam: usize, comm: &Comm) -> Vec<Vec<Code>> {
    if comm.size() == 1 {
        return books.encode_all(points, beam);
    }
    let encode = |own| books.encode_all(&rows(points, own), beam);
    comm.gather_lists(points.rows(), books.levels().len(), encode)
}

/// Codes that differ between images as far as the quantiser allows, see [`unique_paths`]. All ranks have the
/// same codebooks and points.
pub fn encode_unique(books: &Codebooks, points: &Matrix, beam: usize, comm: &Comm) -> Vec<Vec<Code>> {
    unique_paths::choose(books, points, ranked_all(books, points, beam, comm), beam)
}

/// [`Codebooks::ranked_all`]. All ranks have the same codebooks and points.
fn ranked_all(books: &Codebooks, points: &Matrix, beam: usize, comm: &Comm) -> Vec<Vec<Vec<Code>>> {
    if comm.size() == 1 {
        return books.ranked_all(points, beam);
    }
    let levels = books.levels().len();
    let encode = |own| {
        let ranked = books.ranked_all(&rows(points, own), beam);
        ranked.into_iter().map(|paths| paths.concat()).collect()
    };
    // The greedy path may precede those of the beam.
    let flat = comm.gather_lists(points.rows(), (beam + 1) * levels, encode);
    flat.into_iter().map(|paths| paths.chunks_exact(levels).map(<[Code]>::to_vec).collect()).collect()
}

fn rows(points: &Matrix, range: Range<usize>) -> Matrix {
    points.select(&range.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distributed::thread_comm;
    use crate::rng::stream;
    use rand::Rng as _;

    #[test]
    fn ranks_find_together_what_one_finds_alone() {
        let mut rng = stream(7, "points", 0);
        let points = Matrix::new(3, (0..40 * 3).map(|_| rng.random_range(-1.0f32..1.0)).collect());
        let fit = || Codebooks::fit(&points, &[4; 3], 5, &mut stream(1, "rq", 0));
        let together = |comm: &Comm| {
            let books = broadcast_codebooks(&[4; 3], 3, comm, fit).unwrap();
            let codes = [encode_all, encode_unique].map(|encode| encode(&books, &points, 5, comm));
            // The greedy path may be repeated in front: its error then differs in the last bit, which depends
            // on the number of rows in a product.
            let mut ranked = ranked_all(&books, &points, 5, comm);
            ranked.iter_mut().for_each(Vec::dedup);
            (books, codes, ranked)
        };
        let alone = together(&Comm::single());
        assert_ne!(alone.1[0], alone.1[1], "some images share their best path");
        for size in [2, 3] {
            assert!(thread_comm::run(size, together).iter().all(|found| *found == alone), "{size} ranks");
        }
    }
}
