//! Configuration: one TOML file is one experiment.
//!
//! The file and the overrides of the command line (`--set section.key=value`) are resolved once into a
//! [`Config`]: complete, typed, every value within its range. Whatever is wrong (an unknown key, a value out
//! of range, two keys that cannot stand together) is reported in one go, for nobody likes to find five errors
//! one by one. The resolved configuration is kept in the run folder: the run can be repeated from it alone.
//!
//! `sections` has the keys and defaults, `rules` the allowed values, `conflicts` what cannot stand together,
//! `resolve` the way from text to [`Config`].

mod choices;
mod conflicts;
mod resolve;
mod rules;
mod sections;
#[cfg(test)]
mod tests;
mod trainable_layers;
mod weight_schedule;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use toml::{Table, Value};

pub use choices::{
    DataKind, Device, EncoderKind, ExtraDocidSource, Family, Gallery, Loss, LrSchedule, OnBadImage, OnLeak,
    Precision, Regime, Split,
};
pub use sections::{Config, Data, Decoder, Encoder, Eval, Index, Pretrain, Search, Train, Tune};
pub use trainable_layers::TrainableLayers;
pub use weight_schedule::WeightSchedule;

use crate::error::Result;
use crate::file_io;

/// Bytes of the largest configuration file that is read; a complete one has about three thousand.
const LARGEST: u64 = 64 * 1024;

impl Config {
    /// Reads a configuration file and applies overrides (`section.key=value`), the last one winning.
    ///
    /// # Errors
    /// When the file cannot be read or is not TOML (with the line), and with [`crate::error::Error::Config`]
    /// listing every problem: its key, its value and what is allowed.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self> {
        Self::parse(&file_io::read_text(path, LARGEST)?, path, overrides)
    }

    /// As [`Config::load`], from text; `origin` is the file to name in messages.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, origin: &Path, overrides: &[String]) -> Result<Self> {
        resolve::resolve(text, origin, overrides, None)
    }

    /// As [`Config::load`], with further keys on top, written as in a configuration file or dotted
    /// (`"train.batch" = 64`); `origin` opens each complaint about them.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_with(path: &Path, overrides: &[String], origin: &str, keys: &Table) -> Result<Self> {
        resolve::resolve(&file_io::read_text(path, LARGEST)?, path, overrides, Some((origin, keys)))
    }

    /// Every key but those under `names` (sections or keys): what [`Config::fingerprint`] and
    /// [`Config::differences`] then look at.
    pub fn keys_but(names: &[&str]) -> Vec<&'static str> {
        let keys = rules::RULES.iter().map(|(key, _)| *key);
        keys.filter(|key| !names.iter().any(|name| under(key, name))).collect()
    }

    /// The resolved configuration as a TOML file that [`Config::load`] reads back to an equal one: every key
    /// that applies, sections and keys in alphabetical order.
    pub fn to_toml(&self) -> String {
        let text = toml::to_string(&self.table()).expect("invariant: tables of scalars serialise");
        let version = env!("CARGO_PKG_VERSION");
        format!("# A resolved configuration, written by dsi {version}: defaults included.\n{text}")
    }

    /// A hash (BLAKE3, hexadecimal) of the keys under `names`, each a section (`"index"`) or a key (`"seed"`,
    /// `"data.limit"`): equal for equal values, wherever they came from.
    pub fn fingerprint(&self, names: &[&str]) -> String {
        let mut hasher = blake3::Hasher::new();
        for (key, value) in self.flat(names) {
            hasher.update(format!("{key} = {value}\n").as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Whether the search looks ahead: that is asked for, and there is something to foresee.
    pub fn looks_ahead(&self) -> bool {
        self.search.lookahead && (self.decoder.grounded || self.decoder.plan)
    }

    /// Whether the encoder is trained with the decoder.
    pub fn tunes(&self) -> bool {
        [self.tune.text, self.tune.image].iter().any(|&depth| depth != TrainableLayers::None)
    }

    /// What differs under `names` (as in [`Config::fingerprint`]), one line a key:
    /// `train.batch: 64 here, 32 there`.
    pub fn differences(&self, other: &Self, names: &[&str]) -> Vec<String> {
        let (here, there) = (self.flat(names), other.flat(names));
        let show = |value: Option<&Value>| value.map_or("not set".into(), Value::to_string);
        let keys: BTreeSet<_> = here.keys().chain(there.keys()).collect();
        keys.into_iter()
            .filter(|key| here.get(*key) != there.get(*key))
            .map(|key| format!("{key}: {} here, {} there", show(here.get(key)), show(there.get(key))))
            .collect()
    }

    /// Whether a step asks the same queries as one of `other`, in batches of whatever size. (The contrastive loss would have
    /// other pairs.)
    pub fn asks_as(&self, other: &Self) -> bool {
        let step =
            |train: &Train| [train.batch, train.captions_a_batch()].map(|count| count * train.accumulate);
        self.tune.contrastive.is_zero() && step(&self.train) == step(&other.train)
    }

    /// This in the batches of `other`, where a step then asks the same queries.
    pub fn batched_as(&self, other: &Self) -> Self {
        let mut config = self.clone();
        if self.asks_as(other) {
            (config.train.batch, config.train.accumulate) = (other.train.batch, other.train.accumulate);
        }
        config
    }

    /// All sections, without the keys that mean nothing here: reading those back would be a conflict.
    fn table(&self) -> Table {
        let mut table = Table::try_from(self).expect("invariant: a checked seed fits TOML's 64-bit integer");
        for key in conflicts::idle(self).iter().flat_map(|(keys, _)| keys.iter()) {
            if let Some((section, key)) = key.split_once('.')
                && let Some(Value::Table(section)) = table.get_mut(section)
            {
                section.remove(key);
            }
        }
        table
    }

    /// The keys under `names`, dotted, and their values.
    fn flat(&self, names: &[&str]) -> BTreeMap<String, Value> {
        let mut flat = BTreeMap::new();
        for (name, value) in self.table() {
            match value {
                Value::Table(section) => {
                    flat.extend(section.into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
                }
                value => _ = flat.insert(name, value),
            }
        }
        debug_assert!(names.iter().all(|name| rules::RULES.iter().any(|(key, _)| under(key, name))));
        flat.retain(|key, _| names.iter().any(|name| under(key, name)));
        flat
    }
}

/// Reads a TOML file that is no configuration, such as a grid of them, within the same bounds.
///
/// # Errors
/// When the file cannot be read or is not TOML (with the line).
pub fn read_toml(path: &Path) -> Result<Table> {
    resolve::table(&file_io::read_text(path, LARGEST)?, path)
}

/// Whether a dotted key is `name` or stands in the section of that name.
fn under(key: &str, name: &str) -> bool {
    key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
