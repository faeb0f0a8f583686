//! Configuration: one TOML file is one experiment.
//!
//! ```text
//! file, --set section.key=value ─ resolve ─▶ Config: complete, every value within its range
//!                                   │ keys: names and ranges; conflicts: what excludes each other
//!                                   ▼
//!                     all problems at once: unknown keys, values out of range, conflicts
//! ```
//!
//! The sections, with every key's default, range and effects, are declared by the modules that use them
//! ([`crate::config_schema`]). Here they become one [`Config`]. A run folder keeps its resolved
//! configuration, from which the run can be repeated. [`Scope`] says in which keys two configurations must
//! agree for a given use, and [`mod@reference`] describes every key.

mod compare;
mod conflicts;
mod keys;
mod keys_that_must_agree;
pub mod reference;
mod resolve;
#[cfg(test)]
mod tests;

use std::path::Path;

use toml::{Table, Value};

pub use keys_that_must_agree::Scope;
pub use resolve::override_key;

use crate::config_schema::section;
use crate::config_schema::shared_limits::SEED;
use crate::data::settings::Data;
use crate::encoder::pretrain_settings::Pretrain;
use crate::encoder::settings::Encoder;
use crate::encoder::tune_settings::Tune;
use crate::error::Result;
use crate::eval::settings::Eval;
use crate::file_io;
use crate::index::settings::Index;
use crate::model::settings::Decoder;
use crate::nn::device_settings::{Device, Precision};
use crate::retriever::settings::Search;
use crate::train::settings::Train;

/// Bytes of the largest configuration file that is read; a complete one has about three thousand.
const LARGEST: u64 = 64 * 1024;

section! {
    /// Keys at the top of the file, before every section.
    Config affects() {
        /// The seed of every random stream except the scenes' own.
        seed: u64 = 0 in SEED, affects(index, weights, clip);
        /// Where tensors live. `auto` is the first GPU if there is one, else the CPU.
        device: Device = Auto;
        /// The numbers that transformer blocks compute with while they are trained. Parameters, norms,
        /// losses, the optimiser and finished runs use f32 in any case. `auto` is bf16 on GPUs that have it,
        /// else f32.
        precision: Precision = Auto, affects(training, settings, clip);
    }
    sections {
        /// The corpus.
        data: Data;
        /// What turns captions and photos into embeddings.
        encoder: Encoder;
        /// How docids are made, and when an index is refused.
        index: Index;
        /// The shape of the decoder.
        decoder: Decoder;
        /// How the decoder is trained.
        train: Train;
        /// How much of the encoder is trained with the decoder.
        tune: Tune;
        /// How an answer is searched for.
        search: Search;
        /// What is measured.
        eval: Eval;
        /// The small CLIP that `dsi pretrain` makes.
        pretrain: Pretrain;
    }
}

impl Config {
    /// Reads a configuration file and applies overrides (`section.key=value`), the last one winning.
    ///
    /// # Errors
    /// When the file cannot be read or is not TOML (with the line), and with [`crate::error::Error::Config`]
    /// listing every problem: its key, its value and what is allowed.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self> {
        Self::parse(&file_io::read_any_text(path, LARGEST)?, path, overrides)
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
        resolve::resolve(&file_io::read_any_text(path, LARGEST)?, path, overrides, Some((origin, keys)))
    }

    /// The resolved configuration as a TOML file that [`Config::load`] reads back to an equal one: every key
    /// that applies, sections and keys in alphabetical order.
    pub fn to_toml(&self) -> String {
        let text = toml::to_string(&self.table()).expect("invariant: tables of scalars serialise");
        let version = env!("CARGO_PKG_VERSION");
        format!("# A resolved configuration, written by dsi {version}: defaults included.\n{text}")
    }

    /// Whether the encoder is trained with the decoder.
    pub fn tunes(&self) -> bool {
        self.tune.is_on()
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
}

/// Reads a TOML file that is not a configuration, such as a grid of them, up to the same size.
///
/// # Errors
/// When the file cannot be read or is not TOML (with the line).
pub fn read_toml(path: &Path) -> Result<Table> {
    resolve::table(&file_io::read_any_text(path, LARGEST)?, path)
}
