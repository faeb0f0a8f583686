//! The search store: what a search needs of a run, in files that can be moved, mapped and searched by themselves.
//!
//! ```text
//! RUN/search/
//!   current.json        the generation that is searched: names the files below, with their hashes
//!   model-N.json        how queries are embedded and scored; the encoder
//!   vectors-N.safetensors   alignment, codebooks, decoder
//!   segment-N-I.bin     images: names, docids in the order of the trie, constants, rows for re-ranking
//!   removed-N-I.bin     which images of a segment were removed, a bit each
//! ```
//!
//! N is the number of the generation that wrote a file, I that of its segment.
//!
//! Files other than `current.json` never change: an addition or a removal writes new ones and then replaces
//! `current.json` by one rename. Readers see the generation before or the one after, and a crash leaves one of the
//! two. Numbers are little-endian.
//!
//! | idea | module |
//! |---|---|
//! | which files are searched now | [`generation`] |
//! | bytes of a mapped file, verified when they are first read | [`section`] |
//! | one file of images | [`segment`], written by [`write_segment`] |
//! | rows for re-ranking, as f16 or int8 | [`rows`] |
//! | the score of every docid by look-ups, and the best of them | [`scan`] |

pub mod generation;
pub mod rows;
pub mod scan;
pub mod section;
pub mod segment;
pub mod write_segment;
