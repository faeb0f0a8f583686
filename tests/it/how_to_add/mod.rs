//! Parts of one's own, outside the library: what the documentation of a seam says is enough to add one.

mod encoder;
mod loss_term;
mod retriever;

use libtest_mimic::Trial;

/// The tests of each file.
pub fn tests() -> Vec<Trial> {
    let files = [encoder::tests, loss_term::tests, retriever::tests];
    files.iter().flat_map(|tests| tests()).collect()
}
