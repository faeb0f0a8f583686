//! Limits that several keys share.

use std::ops::RangeInclusive;

use super::Allowed;

/// A seed.
pub const SEED: RangeInclusive<i64> = 0..=i64::MAX;
/// Optimiser steps, at least one.
pub const STEPS: RangeInclusive<i64> = 1..=10_000_000;
/// Optimiser steps; 0: none.
pub const STEPS_OR_NONE: RangeInclusive<i64> = 0..=10_000_000;
/// Items that are worked on at once.
pub const BATCH: RangeInclusive<i64> = 1..=65_536;
/// Items of a batch in which each is compared with the others.
pub const PAIRED_BATCH: RangeInclusive<i64> = 2..=65_536;
/// Width of a layer.
pub const WIDTH: RangeInclusive<i64> = 8..=8192;
/// Transformer blocks.
pub const LAYERS: RangeInclusive<i64> = 1..=64;
/// Attention heads.
pub const HEADS: RangeInclusive<i64> = 1..=128;
/// Prefixes of a beam.
pub const BEAM: RangeInclusive<i64> = 1..=512;
/// A share of something.
pub const SHARE: RangeInclusive<f64> = 0.0..=1.0;
/// A learning rate.
pub const RATE: RangeInclusive<f64> = 0.0..=1.0;
/// The weight of a loss.
pub const WEIGHT: RangeInclusive<f64> = 0.0..=1000.0;
/// AdamW's weight decay.
pub const WEIGHT_DECAY: RangeInclusive<f64> = 0.0..=10.0;
/// A softmax temperature.
pub const TEMPERATURE: RangeInclusive<f64> = 0.001..=100.0;
/// The largest norm of a gradient.
pub const NORM: RangeInclusive<f64> = 0.001..=1000.0;
/// The probability of dropout.
pub const DROPOUT: RangeInclusive<f64> = 0.0..=0.9;
/// The decay of a moving average.
pub const DECAY: RangeInclusive<f64> = 0.0..=0.999_999;

/// A path, or an empty text.
pub const PATH: Allowed = Allowed::Path { may_be_empty: true };
/// A path.
pub const SOME_PATH: Allowed = Allowed::Path { may_be_empty: false };
/// A revision of a hub's repository.
pub const REVISION: Allowed = Allowed::Text {
    holds: is_plain_and_some,
    words: "text, not empty and without control characters",
    numbers: false,
};
/// A name that becomes part of file names.
pub const NAME: Allowed = Allowed::Text {
    holds: is_name,
    words: "1 to 64 letters, digits, '-', '_' and '.', not '.' first",
    numbers: false,
};

fn is_plain_and_some(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_control)
}

/// Names become parts of file names in reports, so they cannot leave a folder.
fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}
