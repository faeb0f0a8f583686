//! `[eval]`: what is measured.

use crate::config_schema::shared_limits::BATCH;
use crate::config_schema::{choice, section};
use crate::data::settings::Split;

choice! {
    /// The images that an evaluation may return.
    Gallery {
        /// The images of the evaluated split.
        Split = "split",
        /// All images of the corpus.
        Corpus = "corpus",
        /// Both galleries, one table row for each.
        Both = "both",
    }
}

section! {
    /// What is measured.
    Eval affects(report) {
        /// The split whose captions and images are the queries. Choose on val, report on test.
        split: Split = Test;
        /// The images that may be returned.
        gallery: Gallery = Both;
        /// Number of folds of consecutive images that the split is also cut into. Each fold is a gallery of
        /// its own, and its rows are means over the folds. 1: none. COCO's "1k" is 5 folds of its 5,000 test
        /// images (Karpathy & Fei-Fei 2015).
        folds: usize = 1 in 1..=100;
        /// Number of hits of a query in a run file. The metrics need ten; fusing several runs needs more.
        depth: usize = 10 in 10..=10_000;
        /// Whether every docid of the trie is scored too, and the right prefix is followed through the
        /// search. Both separate errors of the decoder from errors of the search.
        exhaustive: bool = false;
        /// Whether second views of the split's photos (cropped, mirrored, recoloured, compressed) are queries
        /// too.
        views: bool = false;
        /// Number of resamples of the bootstrap interval.
        bootstrap: usize = 1000 in 1..=100_000;
        /// Number of queries that are answered at once.
        batch: usize = 64 in BATCH;
    }
}
