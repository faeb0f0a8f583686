//! What changes when a key changes: the effects, and the list of them that a declaration writes after `affects`.

use super::choice;

choice! {
    /// What a key decides directly. What is made from that changes with it: embeddings make the index, the
    /// index and the training make the weights, and weights are searched and measured.
    Effect {
        /// The corpus, and the embeddings of its captions and photos.
        Embeddings = "embeddings",
        /// The docids. A resumed or finished run keeps its value.
        Index = "index",
        /// The weights that a training ends with. A resumed or finished run keeps its value.
        Weights = "weights",
        /// The steps of a training. A resumed run keeps its value; a finished run may change it.
        Training = "training",
        /// The search for an answer. `dsi eval` and `dsi search` may change it.
        Search = "search",
        /// The `settings` hash of a report. `dsi compare` never averages runs that differ here.
        Settings = "settings",
        /// What is measured and written to the report. `dsi eval` may change it.
        Report = "report",
        /// The CLIP that `dsi pretrain` makes. A resumed one keeps its value.
        Clip = "clip",
    }
}

/// `(weights, settings)` as a list of [`Effect`]s. Of two lists the first counts: a key's own, then its
/// section's.
macro_rules! effects {
    ($own:tt $of_section:tt) => { $crate::config_schema::effects!($own) };
    (($($effect:ident),*)) => { &[$($crate::config_schema::effects!(@one $effect)),*] };
    (@one embeddings) => { $crate::config_schema::Effect::Embeddings };
    (@one index) => { $crate::config_schema::Effect::Index };
    (@one weights) => { $crate::config_schema::Effect::Weights };
    (@one training) => { $crate::config_schema::Effect::Training };
    (@one search) => { $crate::config_schema::Effect::Search };
    (@one settings) => { $crate::config_schema::Effect::Settings };
    (@one report) => { $crate::config_schema::Effect::Report };
    (@one clip) => { $crate::config_schema::Effect::Clip };
}

pub(crate) use effects;
