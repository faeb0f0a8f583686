//! What a row of an evaluation measures: who was asked what, and over which images.
//!
//! A number without its setting means nothing, so each of these words stands in every row of
//! [`super::report`] and every line of [`super::report_table`].

use std::fmt;

use serde::{Deserialize, Serialize};

/// An enum whose values have one word each, in the JSON as in tables.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $value:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name { $($(#[$doc])* #[serde(rename = $word)] $value,)+ }

        impl $name {
            /// All values in order.
            pub const ALL: &'static [Self] = &[$(Self::$value),+];

            /// Its word.
            pub fn word(self) -> &'static str {
                match self { $(Self::$value => $word,)+ }
            }

            /// The value of this word.
            pub fn of(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.word() == word)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

words! {
    /// What a ranking was made with.
    Stage {
        /// The decoder's scores alone.
        Decoder = "decoder",
        /// The decoder's scores fused with the geometry of the codebook.
        Geometry = "geometry",
        /// Candidates ordered again by the exact cosine.
        Rerank = "rerank",
        /// Every image of the gallery scored: dense, sparse, BM25.
        Exact = "exact",
    }
}

words! {
    /// What was asked with.
    QueryKind {
        /// A sentence.
        Caption = "caption",
        /// A photo, for itself.
        Image = "image",
        /// Another view of a photo (cropped, mirrored, recoloured, compressed), for the photo: as IRGen asks.
        View = "view",
        /// A photo, for any of its captions: the other direction of the literature.
        ImageToCaption = "image-to-caption",
    }
}

words! {
    /// Which images could be returned.
    Gallery {
        /// Those of the evaluated split.
        Split = "split",
        /// Those of the evaluated split in folds, each a gallery of its own: figures are means over the folds.
        Folds = "folds",
        /// All images of the corpus.
        Corpus = "corpus",
    }
}

pub use crate::config::Regime;

/// Where the ranked lists of a row lie, and what was right: names relative to the folder of the report.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// The TREC run file.
    pub run: String,
    /// The qrels file of each fold; figures are means over them.
    pub qrels: Vec<String>,
}

/// What a row measures, and the figures that ranks do not tell.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Name of the retriever.
    pub retriever: String,
    /// What its ranking was made with.
    pub stage: Stage,
    /// What was asked with.
    pub query: QueryKind,
    /// Which images could be returned.
    pub gallery: Gallery,
    /// Whether training saw them.
    pub regime: Regime,
    /// How many images could be returned: those of the gallery, of the largest fold where there are folds.
    pub images: usize,
    /// Mean number of candidates scored per query.
    pub touched: f64,
    /// Mean time per query in milliseconds.
    pub ms_per_query: f64,
    /// The files that others can measure the same from.
    pub files: Files,
}
