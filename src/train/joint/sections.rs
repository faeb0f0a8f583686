//! The sections of the configuration that joint training reads.

use crate::config::{self, OnBadImage, Train, TrainableLayers, Tune};

/// Borrowed sections, by their names in the configuration.
#[derive(Clone, Copy)]
pub struct Sections<'a> {
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
    /// `data.on_bad_image`
    pub on_bad_image: OnBadImage,
}

impl Sections<'_> {
    /// Whether a tower of the encoder is trained.
    pub fn train_encoder(&self) -> bool {
        [self.tune.text, self.tune.image].iter().any(|&layers| layers != TrainableLayers::None)
    }
}
