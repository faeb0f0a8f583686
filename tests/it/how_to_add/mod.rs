//! Examples of how to add a retriever, a loss term, an encoder and a docid family, written outside the library.

mod docid_family;
mod encoder;
mod loss_term;
mod retriever;

use libtest_mimic::Trial;

/// The tests of each file.
pub fn tests() -> Vec<Trial> {
    let files = [docid_family::tests, encoder::tests, loss_term::tests, retriever::tests];
    files.iter().flat_map(|tests| tests()).collect()
}
