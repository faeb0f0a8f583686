//! Two configurations side by side: hashes of some keys, and the keys that differ.

use std::collections::{BTreeMap, BTreeSet};

use toml::Value;

use super::{Config, Scope};
use crate::train::settings::Train;

impl Config {
    /// A hash (BLAKE3, hexadecimal) of these keys and their values ([`super::Scope::keys`]): equal for equal
    /// values, wherever they came from.
    pub fn fingerprint(&self, keys: &[&str]) -> String {
        let mut hasher = blake3::Hasher::new();
        for (key, value) in self.values(keys) {
            hasher.update(format!("{key} = {value}\n").as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// The values of the keys of a scope, as a configuration file has them, by dotted name.
    pub fn record(&self, scope: Scope) -> BTreeMap<String, String> {
        self.values(&scope.keys()).into_iter().map(|(key, value)| (key, value.to_string())).collect()
    }

    /// Which of these keys differ, one line a key: `train.batch: 64 here, 32 there`.
    pub fn differences(&self, other: &Self, keys: &[&str]) -> Vec<String> {
        let (here, there) = (self.values(keys), other.values(keys));
        let show = |value: Option<&Value>| value.map_or("not set".into(), Value::to_string);
        let names: BTreeSet<_> = here.keys().chain(there.keys()).collect();
        names
            .into_iter()
            .filter(|key| here.get(*key) != there.get(*key))
            .map(|key| format!("{key}: {} here, {} there", show(here.get(key)), show(there.get(key))))
            .collect()
    }

    /// `key = value` of the keys whose value is not the default, in alphabetical order.
    pub fn set_keys(&self) -> Vec<String> {
        let keys = Scope::All.keys();
        let (here, defaults) = (self.values(&keys), Self::default().values(&keys));
        let set = here.iter().filter(|(key, value)| defaults.get(*key) != Some(*value));
        set.map(|(key, value)| format!("{key} = {value}")).collect()
    }

    /// Whether a training step takes the same queries as one of `other`, in batches of whatever size. (The
    /// contrastive loss would have other pairs.)
    pub fn takes_the_same_queries_as(&self, other: &Self) -> bool {
        let step =
            |train: &Train| [train.batch, train.captions_a_batch()].map(|count| count * train.accumulate);
        self.tune.contrastive.is_zero() && step(&self.train) == step(&other.train)
    }

    /// This configuration in the batches of `other`, if a step then takes the same queries.
    pub fn batched_as(&self, other: &Self) -> Self {
        let mut config = self.clone();
        if self.takes_the_same_queries_as(other) {
            (config.train.batch, config.train.accumulate) = (other.train.batch, other.train.accumulate);
        }
        config
    }

    /// The values of these keys that mean something here, by dotted name.
    pub(super) fn values(&self, keys: &[&str]) -> BTreeMap<String, Value> {
        let mut values = BTreeMap::new();
        for (name, value) in self.table() {
            match value {
                Value::Table(section) => {
                    values.extend(section.into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
                }
                value => _ = values.insert(name, value),
            }
        }
        values.retain(|key, _| keys.contains(&key.as_str()));
        values
    }
}
