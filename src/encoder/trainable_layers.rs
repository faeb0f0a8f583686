//! How much of a tower is trained.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config_schema::{Allowed, Setting};

/// The part of a transformer that is trained, counted from its output: `"none"`, `"all"`, or a number of
/// blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TrainableLayers {
    /// Nothing.
    None,
    /// The last blocks, at least one, with the norm and the projection after them.
    Last(usize),
    /// Everything, the embeddings included.
    All,
}

impl TrainableLayers {
    /// What [`TrainableLayers::parse`] accepts, in words.
    pub const ALLOWED: &'static str = "\"none\", \"all\", or how many of the last blocks";

    /// Reads a value; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "none" => Some(Self::None),
            "all" => Some(Self::All),
            _ => text.parse().ok().filter(|&blocks| blocks > 0).map(Self::Last),
        }
    }
}

impl Setting for TrainableLayers {
    type Limits = ();

    fn allowed((): ()) -> Allowed {
        Allowed::Text { holds: |text| Self::parse(text).is_some(), words: Self::ALLOWED, numbers: true }
    }
}

impl fmt::Display for TrainableLayers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Last(blocks) => write!(f, "{blocks}"),
            Self::All => f.write_str("all"),
        }
    }
}

impl TryFrom<String> for TrainableLayers {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?}: allowed is {}", Self::ALLOWED))
    }
}

impl From<TrainableLayers> for String {
    fn from(depth: TrainableLayers) -> Self {
        depth.to_string()
    }
}
