//! Encoding a gallery of any size: every rank finds the codes of a share of its images, and all get all of them.

use super::Code;
use super::rq::Codebooks;
use crate::distributed::Comm;
use crate::error::Result;
use crate::matrix::Matrix;

/// The codebooks that the first rank makes, of these `sizes` and this `width`.
///
/// # Errors
/// What `make` reports.
pub fn of_first(
    sizes: &[usize],
    width: usize,
    comm: &Comm,
    make: impl FnOnce() -> Result<Codebooks>,
) -> Result<Codebooks> {
    let mut made = if comm.is_first() { make()?.levels().to_vec() } else { Vec::new() }.into_iter();
    let book = |&size: &usize| {
        comm.broadcast_matrix(size, width, || Ok(made.next().expect("invariant: a codebook of each size")))
    };
    Codebooks::new(sizes.iter().map(book).collect::<Result<_>>()?)
}

/// [`Codebooks::encode_all`]; all ranks have the same codebooks and points.
pub fn encode_all(books: &Codebooks, points: &Matrix, beam: usize, comm: &Comm) -> Vec<Vec<Code>> {
    if comm.size() == 1 {
        return books.encode_all(points, beam);
    }
    gathered(points, books.levels().len(), comm, |own| books.encode_all(own, beam))
}

/// [`Codebooks::ranked_all`]; all ranks have the same codebooks and points.
pub fn ranked_all(books: &Codebooks, points: &Matrix, beam: usize, comm: &Comm) -> Vec<Vec<Vec<Code>>> {
    if comm.size() == 1 {
        return books.ranked_all(points, beam);
    }
    let levels = books.levels().len();
    // The greedy path may stand before those of the beam.
    let flat = gathered(points, (beam + 1) * levels, comm, |own| {
        books.ranked_all(own, beam).into_iter().map(|paths| paths.concat()).collect()
    });
    flat.into_iter().map(|paths| paths.chunks_exact(levels).map(<[Code]>::to_vec).collect()).collect()
}

/// At most `width` codes of each point, of which each rank finds those of its share. Codes are sent as numbers from one: they are
/// exact in f32 (below [`super::MAX_CODES`]), and nought is none.
fn gathered(
    points: &Matrix,
    width: usize,
    comm: &Comm,
    find: impl FnOnce(&Matrix) -> Vec<Vec<Code>>,
) -> Vec<Vec<Code>> {
    let own = comm.share(points.rows());
    let sent = |codes: Vec<Code>| {
        let mut row: Vec<f32> = codes.into_iter().map(|code| (code + 1) as f32).collect();
        row.resize(width, 0.0);
        row
    };
    let found = find(&points.select(&own.clone().collect::<Vec<_>>()));
    let all = comm.all_gather_rows(own.zip(found.into_iter().map(sent)), points.rows(), width);
    let received = |row: &[f32]| row.iter().take_while(|&&x| x > 0.0).map(|&x| x as Code - 1).collect();
    all.chunks_exact(width).map(received).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docid::kmeans::noise;
    use crate::rng::stream;

    #[test]
    fn what_is_sent_is_what_comes() {
        let points = noise(40, 3);
        let books = Codebooks::fit(&points, &[4; 3], 5, &mut stream(1, "rq", 0)).unwrap();
        let found = books.ranked_all(&points, 5);
        let flat = |paths: &Vec<Vec<Code>>| paths.concat();
        let sent = gathered(&points, 18, &Comm::single(), |own| {
            assert_eq!(own, &points);
            found.iter().map(flat).collect()
        });
        assert_eq!(sent, found.iter().map(flat).collect::<Vec<_>>());
    }
}
