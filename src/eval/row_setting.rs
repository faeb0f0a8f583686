//! The setting of a row: which retriever, which queries, which images.
//!
//! A number without its setting means nothing, so every row of [`super::report`] and every line of
//! [`super::report_table`] has these words.

use serde::{Deserialize, Serialize};

use crate::config_schema::choice;
use crate::modality::Modality;
use crate::retriever::ranking_stage::Stage;

choice! {
    /// What the queries of a row are, and what they should find.
    QueryKind {
        /// A caption, to find its image.
        Caption = "caption",
        /// A photo, to find itself.
        Image = "image",
        /// Another view of a photo (cropped, mirrored, recoloured, compressed), to find the photo: as IRGen
        /// measures.
        View = "view",
        /// A photo, to find any of its captions: the other direction of the literature.
        ImageToCaption = "image-to-caption",
    }
}

impl QueryKind {
    /// What the queries are made of.
    pub fn modality(self) -> Modality {
        match self {
            Self::Caption => Modality::Caption,
            Self::Image | Self::View | Self::ImageToCaption => Modality::Image,
        }
    }
}

choice! {
    /// Which images could be returned.
    Gallery {
        /// The images of the evaluated split.
        Split = "split",
        /// The images of the evaluated split in folds, each a gallery of its own: figures are means over the
        /// folds.
        Folds = "folds",
        /// All images of the corpus.
        Corpus = "corpus",
    }
}

pub use crate::data::settings::Regime;

/// The files with the ranked lists of a row and with what is right: names relative to the folder of the
/// report.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// The TREC run file.
    pub run: String,
    /// The qrels file of each fold; figures are means over them.
    pub qrels: Vec<String>,
}

/// What a row measures, and the figures that do not follow from ranks.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Name of the retriever.
    pub retriever: String,
    /// What its ranking is made with.
    pub stage: Stage,
    /// What the queries are.
    pub query: QueryKind,
    /// Which images can be returned.
    pub gallery: Gallery,
    /// Whether training saw them.
    pub regime: Regime,
    /// How many images can be returned; the number in the largest fold of a gallery with folds.
    pub images: usize,
    /// Image embeddings that were compared with a query, at most.
    pub embeddings_scored: f64,
    /// Mean time per query in milliseconds.
    pub ms_per_query: f64,
    /// The files from which others can measure the same.
    pub files: Files,
}
