//! What joint training reads of the configuration.

use crate::data::settings::OnBadImage;
use crate::encoder::tune_settings::Tune;
use crate::model::settings::Decoder;
use crate::retriever::settings::Search;
use crate::train::settings::Train;

/// Sections and keys, by their names in the configuration.
#[derive(Clone, Copy)]
pub struct JointSettings<'a> {
    /// `seed`
    pub seed: u64,
    /// `index.encode_beam`
    pub encode_beam: usize,
    /// `index.views`
    pub index_views: usize,
    /// `[decoder]`
    pub decoder: &'a Decoder,
    /// `[train]`
    pub train: &'a Train,
    /// `[tune]`
    pub tune: &'a Tune,
    /// `[search]`
    pub search: &'a Search,
    /// `data.on_bad_image`
    pub on_bad_image: OnBadImage,
}
