//! The sections of the configuration that joint training reads.

use crate::config::{self, Config, Train, Tune};

/// Borrowed sections, by their names in the configuration.
#[derive(Clone, Copy)]
pub struct Sections<'a> {
    /// All of them, for parts that do not take their own sections yet.
    pub config: &'a Config,
    /// `seed`
    pub seed: u64,
    /// `[index]`
    pub index: &'a config::Index,
    /// `[decoder]`
    pub decoder: &'a config::Decoder,
    /// `[train]`
    pub train: &'a Train,
    /// `[tune]`
    pub tune: &'a Tune,
    /// `[search]`
    pub search: &'a config::Search,
}

impl<'a> From<&'a Config> for Sections<'a> {
    fn from(config: &'a Config) -> Self {
        let Config { seed, index, decoder, train, tune, search, .. } = config;
        Self { config, seed: *seed, index, decoder, train, tune, search }
    }
}
