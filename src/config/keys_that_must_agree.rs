//! In which keys two configurations must agree, for each use that is made of a run.

use super::keys;
use crate::config_schema::Effect::{
    self, Clip, Embeddings, Index, Report, Search, Settings, Training, Weights,
};

/// A set of keys, by what is done with a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every key.
    All,
    /// What decides the corpus and its embeddings.
    Embeddings,
    /// What decides an index that nothing is trained on yet.
    Index,
    /// What decides the weights of a finished run. Its corpus and encoder may have moved: the index knows
    /// them by their fingerprints.
    Run,
    /// What decides a training that goes on: also the precision, and the search that beam negatives and the
    /// best checkpoint come from. A finished run may be searched in any way.
    Resume,
    /// What decides a pretrained CLIP.
    Clip,
    /// What decides the figures of a report, except for the seed: the report keeps a hash of it.
    Settings,
    /// What rows of an ablation must agree in to share their weights. `[search]` is not in it although three
    /// of its keys decide a training: a row that differs there is trained only if it says `retrain = true`.
    SharedWeights,
    /// What an ablation's run folder must agree in with its row.
    RunFolder,
    /// What an ablation's report must agree in with its row.
    Report,
}

impl Scope {
    /// The names of its keys in the order of their declaration.
    pub fn keys(self) -> Vec<&'static str> {
        keys::all().iter().filter(|key| self.holds(key.affects)).map(|key| key.name.as_str()).collect()
    }

    fn holds(self, affects: &[Effect]) -> bool {
        let any = |effects: &[Effect]| effects.iter().any(|effect| affects.contains(effect));
        match self {
            Self::All => true,
            Self::Embeddings => any(&[Embeddings]),
            Self::Index => any(&[Index]),
            Self::Run => any(&[Index, Weights]),
            Self::Resume => any(&[Index, Weights, Training]),
            Self::Clip => any(&[Clip]),
            Self::Settings => any(&[Settings]),
            Self::SharedWeights => any(&[Embeddings, Index, Weights, Training]) && !any(&[Search]),
            Self::RunFolder => any(&[Embeddings, Index, Weights, Training, Search]),
            Self::Report => any(&[Embeddings, Index, Weights, Training, Search, Report]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys that are, or lie below, one of these names.
    fn under(names: &[&str]) -> Vec<&'static str> {
        let is_under = |key: &str, name: &str| {
            key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        for name in names {
            assert!(keys::names().any(|key| is_under(key, name)), "{name}");
        }
        keys::names().filter(|key| names.iter().any(|name| is_under(key, name))).collect()
    }

    fn all_but(names: &[&str]) -> Vec<&'static str> {
        let those = under(names);
        keys::names().filter(|key| !those.contains(key)).collect()
    }

    #[test]
    fn every_scope_has_the_keys_that_decide_its_use() {
        let trained = ["seed", "index", "decoder", "train", "tune"];
        let searched = ["precision", "search.beam", "search.lookahead", "search.wildcard"];
        let figures = [
            "data.name",
            "data.kind",
            "data.limit",
            "data.train",
            "data.val",
            "data.test",
            "data.scenes_seed",
            "encoder.path",
            "encoder.revision",
            "index",
            "decoder",
            "train",
            "tune",
            "precision",
            "search",
        ];
        for (scope, wanted) in [
            (Scope::All, all_but(&[])),
            (Scope::Embeddings, under(&["data", "encoder"])),
            (Scope::Index, under(&["seed", "index"])),
            (Scope::Run, under(&trained)),
            (Scope::Resume, under(&[&trained[..], &searched[..]].concat())),
            (Scope::Clip, under(&["seed", "precision", "data", "pretrain"])),
            (Scope::Settings, figures_of(&under(&figures))),
            (Scope::SharedWeights, all_but(&["device", "eval", "pretrain", "search"])),
            (Scope::RunFolder, all_but(&["device", "eval", "pretrain"])),
            (Scope::Report, all_but(&["device", "pretrain"])),
        ] {
            assert_eq!(scope.keys(), wanted, "{scope:?}");
        }
    }

    /// The keys of the search store change no figure of a report.
    fn figures_of<'a>(keys: &[&'a str]) -> Vec<&'a str> {
        keys.iter().copied().filter(|key| !["search.rows", "search.probes"].contains(key)).collect()
    }
}
