//! The settings of an encoder that is trained with the decoder.

use crate::data::settings::OnBadImage;
use crate::encoder::tune_settings::Tune;

/// What decides how an encoder is trained.
#[derive(Clone, Copy)]
pub struct EncoderTraining<'a> {
    /// `[tune]`.
    pub tune: &'a Tune,
    /// `seed`.
    pub seed: u64,
    /// `train.accumulate`.
    pub accumulate: usize,
    /// `data.on_bad_image`.
    pub on_bad: OnBadImage,
}
