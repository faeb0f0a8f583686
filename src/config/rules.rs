//! What each key allows: one line a key. The table is also the list of all keys that exist.

use std::fmt;

use toml::Value;

use super::choices::{
    DataKind, Device, EncoderKind, ExtraDocidSource, Family, Gallery, Loss, LrSchedule, OnBadImage, OnLeak,
    Precision, Regime, Split,
};
use super::trainable_layers::TrainableLayers;
use super::weight_schedule::WeightSchedule;

/// What a key allows. All bounds are inclusive.
#[derive(Debug, Clone, Copy)]
pub enum Rule {
    /// A whole number.
    Count(i64, i64),
    /// A finite number; whole ones are taken too.
    Real(f64, f64),
    /// `true` or `false`.
    Flag,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A weight, or weights at steps; numbers are taken too.
    Weight,
    /// The part of a tower that is trained; numbers are taken too.
    Blocks,
    /// A text for which the function holds; the words say which.
    Text(fn(&str) -> bool, &'static str),
}

use Rule::{Blocks, Count, Flag, OneOf, Real, Text, Weight};

/// A path or an empty text.
const PATH: Rule = Text(is_plain, "text without control characters");
/// A path that must be there.
const SOME_PATH: Rule =
    Text(|t| !t.is_empty() && is_plain(t), "text, not empty and without control characters");
const NAME: Rule = Text(is_name, "1 to 64 letters, digits, '-', '_' and '.', not '.' first");
const DEVICE: Rule = Text(|t| Device::parse(t).is_some(), Device::ALLOWED);
const SEED: Rule = Count(0, i64::MAX);
const STEPS: Rule = Count(1, 10_000_000);
const STEPS_OR_NONE: Rule = Count(0, 10_000_000);
const BATCH: Rule = Count(1, 65_536);
const SHARE: Rule = Real(0.0, 1.0);
const RATE: Rule = Real(0.0, 1.0);
const WEIGHT: Rule = Real(0.0, 1000.0);
const TEMPERATURE: Rule = Real(0.001, 100.0);
const NORM: Rule = Real(0.001, 1000.0);
const WIDTH: Rule = Count(8, 8192);
const LAYERS: Rule = Count(1, 64);
const HEADS: Rule = Count(1, 128);

/// Every key, in the order of `sections`, and its rule.
#[rustfmt::skip]
pub const RULES: &[(&str, Rule)] = &[
    ("seed", SEED),
    ("device", DEVICE),
    ("precision", OneOf(Precision::WORDS)),

    ("data.name", NAME),
    ("data.kind", OneOf(DataKind::WORDS)),
    ("data.root", SOME_PATH),
    ("data.captions", PATH),
    ("data.images", PATH),
    ("data.limit", Count(0, 100_000_000)),
    ("data.on_bad_image", OneOf(OnBadImage::WORDS)),
    ("data.on_leak", OneOf(OnLeak::WORDS)),
    ("data.train", Count(1, 1_000_000)),
    ("data.val", Count(1, 1_000_000)),
    ("data.test", Count(1, 1_000_000)),
    ("data.scenes_seed", SEED),
    ("data.side", Count(32, 1024)),

    ("encoder.kind", OneOf(EncoderKind::WORDS)),
    ("encoder.path", SOME_PATH),
    ("encoder.revision", SOME_PATH),
    ("encoder.batch", BATCH),
    ("encoder.cache", SOME_PATH),

    ("index.family", OneOf(Family::WORDS)),
    ("index.levels", Count(1, 64)),
    ("index.codes", Count(2, 4096)),
    ("index.first_codes", Count(0, 4096)),
    ("index.iterations", Count(1, 1000)),
    ("index.encode_beam", Count(1, 512)),
    ("index.center", Flag),
    ("index.align_steps", STEPS_OR_NONE),
    ("index.align_batch", Count(2, 65_536)),
    ("index.align_lr", RATE),
    ("index.align_temperature", TEMPERATURE),
    ("index.align_captions", Real(0.0, 100.0)),
    ("index.align_weight_decay", Real(0.0, 10.0)),
    ("index.views", Count(0, 1000)),
    ("index.view_steps", STEPS),
    ("index.view_lr", RATE),
    ("index.view_width", WIDTH),
    ("index.learned_steps", STEPS_OR_NONE),
    ("index.learned_batch", BATCH),
    ("index.learned_gallery", Count(2, 65_536)),
    ("index.learned_lr", RATE),
    ("index.learned_contrastive", WEIGHT),
    ("index.learned_ranking", WEIGHT),
    ("index.learned_reconstruction", WEIGHT),
    ("index.learned_temperature", TEMPERATURE),
    ("index.learned_reassign", STEPS),
    ("index.seconds", OneOf(ExtraDocidSource::WORDS)),
    ("index.pseudo_captions", Count(1, 10_000)),
    ("index.min_perplexity", SHARE),
    ("index.max_collisions", SHARE),
    ("index.min_survival", SHARE),
    ("index.survival_beam", Count(1, 512)),

    ("decoder.width", WIDTH),
    ("decoder.layers", LAYERS),
    ("decoder.heads", HEADS),
    ("decoder.memory", Count(1, 256)),
    ("decoder.dropout", Real(0.0, 0.9)),
    ("decoder.grounded", Flag),
    ("decoder.plan", Flag),
    ("decoder.temperature", TEMPERATURE),

    ("train.steps", STEPS),
    ("train.batch", BATCH),
    ("train.caption_share", SHARE),
    ("train.regime", OneOf(Regime::WORDS)),
    ("train.loss", OneOf(Loss::WORDS)),
    ("train.candidates", Count(2, 4096)),
    ("train.beam_negatives", Count(0, 4096)),
    ("train.caption_noise", SHARE),
    ("train.target_gold", SHARE),
    ("train.teacher_temperature", TEMPERATURE),
    ("train.teacher", PATH),
    ("train.label_smoothing", SHARE),
    ("train.interpolation", SHARE),
    ("train.margin", Weight),
    ("train.margin_size", Real(0.0, 1000.0)),
    ("train.consistency", Weight),
    ("train.lr", RATE),
    ("train.grounding_lr", RATE),
    ("train.weight_decay", Real(0.0, 10.0)),
    ("train.warmup", STEPS_OR_NONE),
    ("train.schedule", OneOf(LrSchedule::WORDS)),
    ("train.accumulate", Count(1, 65_536)),
    ("train.clip_norm", NORM),
    ("train.ema", Real(0.0, 0.999_999)),
    ("train.max_skipped", Count(0, 1_000_000)),
    ("train.patience", Count(0, 1_000_000)),
    ("train.keep", Count(1, 1000)),
    ("train.validate_every", STEPS),
    ("train.checkpoint_every", STEPS),
    ("train.log_every", STEPS),

    ("tune.text", Blocks),
    ("tune.image", Blocks),
    ("tune.text_lr", RATE),
    ("tune.image_lr", RATE),
    ("tune.layer_decay", SHARE),
    ("tune.weight_decay", Real(0.0, 10.0)),
    ("tune.contrastive", Weight),
    ("tune.contrastive_pairs", Count(2, 65_536)),
    ("tune.contrastive_temperature", TEMPERATURE),
    ("tune.augment", Flag),
    ("tune.patch_dropout", Real(0.0, 0.9)),
    ("tune.dropout", Real(0.0, 0.9)),
    ("tune.recompute", Flag),
    ("tune.reassign_every", STEPS_OR_NONE),

    ("search.beam", Count(1, 512)),
    ("search.geometry", Real(0.0, 100.0)),
    ("search.lookahead", Flag),
    ("search.mirrored", Flag),
    ("search.wildcard", SHARE),
    ("search.prior", Real(0.0, 10.0)),
    ("search.prior_temperature", TEMPERATURE),
    ("search.rerank", Flag),
    ("search.rerank_weight", SHARE),
    ("search.fit_rerank", Flag),
    ("search.k", Count(1, 10_000)),

    ("eval.split", OneOf(Split::WORDS)),
    ("eval.gallery", OneOf(Gallery::WORDS)),
    ("eval.folds", Count(1, 100)),
    ("eval.depth", Count(10, 10_000)),
    ("eval.exhaustive", Flag),
    ("eval.views", Flag),
    ("eval.bootstrap", Count(1, 100_000)),
    ("eval.batch", BATCH),

    ("pretrain.init", PATH),
    ("pretrain.revision", SOME_PATH),
    ("pretrain.width", WIDTH),
    ("pretrain.vision_layers", LAYERS),
    ("pretrain.text_layers", LAYERS),
    ("pretrain.heads", HEADS),
    ("pretrain.image_size", Count(16, 1024)),
    ("pretrain.patch", Count(2, 128)),
    ("pretrain.projection", WIDTH),
    ("pretrain.vocabulary", Count(514, 1_000_000)),
    ("pretrain.context", Count(4, 1024)),
    ("pretrain.steps", STEPS),
    ("pretrain.batch", Count(2, 65_536)),
    ("pretrain.augment", Flag),
    ("pretrain.patch_dropout", Real(0.0, 0.9)),
    ("pretrain.dropout", Real(0.0, 0.9)),
    ("pretrain.recompute", Flag),
    ("pretrain.lr", RATE),
    ("pretrain.weight_decay", Real(0.0, 10.0)),
    ("pretrain.warmup", STEPS_OR_NONE),
    ("pretrain.schedule", OneOf(LrSchedule::WORDS)),
    ("pretrain.accumulate", Count(1, 65_536)),
    ("pretrain.clip_norm", NORM),
    ("pretrain.ema", Real(0.0, 0.999_999)),
    ("pretrain.max_skipped", Count(0, 1_000_000)),
    ("pretrain.patience", Count(0, 1_000_000)),
    ("pretrain.keep", Count(1, 1000)),
    ("pretrain.out", SOME_PATH),
    ("pretrain.log_every", STEPS),
    ("pretrain.validate_every", STEPS),
];

/// The line of a dotted key; `None` when there is no such key.
pub fn find(key: &str) -> Option<&'static (&'static str, Rule)> {
    RULES.iter().find(|(name, _)| *name == key)
}

/// The names of the sections, in order.
pub fn sections() -> Vec<&'static str> {
    let mut names: Vec<_> = RULES.iter().filter_map(|(key, _)| key.split_once('.')).map(|(s, _)| s).collect();
    names.dedup();
    names
}

impl Rule {
    /// The value as the key's type holds it (a whole number becomes a float where one is due); `None` when it
    /// is of another type or not allowed. The ranges refuse NaN and infinities too.
    pub fn admit(&self, value: &Value) -> Option<Value> {
        let value = match (self, value) {
            (Real(..), Value::Integer(whole)) => Value::Float(*whole as f64),
            (Weight, Value::Integer(_) | Value::Float(_)) | (Blocks, Value::Integer(_)) => {
                Value::String(value.to_string())
            }
            _ => value.clone(),
        };
        let allowed = match (self, &value) {
            (Count(low, high), Value::Integer(x)) => (low..=high).contains(&x),
            (Real(low, high), Value::Float(x)) => (low..=high).contains(&x),
            (Flag, Value::Boolean(_)) => true,
            (OneOf(words), Value::String(x)) => words.contains(&x.as_str()),
            (Text(holds, _), Value::String(x)) => holds(x),
            (Weight, Value::String(x)) => WeightSchedule::parse(x).is_some(),
            (Blocks, Value::String(x)) => TrainableLayers::parse(x).is_some(),
            _ => false,
        };
        allowed.then_some(value)
    }

    /// Whether the key holds text: then `--set` needs no quotes, whatever the text looks like.
    pub fn is_text(&self) -> bool {
        matches!(self, OneOf(_) | Text(..) | Weight | Blocks)
    }
}

impl fmt::Display for Rule {
    /// What is allowed, in words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Count(low, high) => write!(f, "a whole number from {low} to {high}"),
            Real(low, high) => write!(f, "a number from {low} to {high}"),
            Flag => write!(f, "true or false"),
            OneOf(words) => write!(f, "\"{}\"", words.join("\", \"")),
            Text(_, allowed) => write!(f, "{allowed}"),
            Weight => f.write_str(WeightSchedule::ALLOWED),
            Blocks => f.write_str(TrainableLayers::ALLOWED),
        }
    }
}

fn is_plain(text: &str) -> bool {
    !text.contains(char::is_control)
}

/// Names become parts of file names in reports, so they cannot leave a folder.
fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}
