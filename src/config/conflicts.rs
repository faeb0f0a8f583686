//! Values that are allowed each by itself, but not together.

use std::collections::BTreeSet;

use super::Config;
use crate::data::settings::DataKind;
use crate::docid::families::family_choice::names_where;
use crate::encoder::trainable_layers::TrainableLayers;
use crate::index::settings::ExtraDocidSource;
use crate::model::settings::Loss;

/// The keys of `[data]` for the built-in corpus only.
const SCENES_ONLY: [&str; 5] = ["data.train", "data.val", "data.test", "data.scenes_seed", "data.side"];

/// The shape of a CLIP with random weights; one that is tuned has a shape already.
const FROM_NOTHING_ONLY: [&str; 9] = [
    "pretrain.width",
    "pretrain.vision_layers",
    "pretrain.text_layers",
    "pretrain.heads",
    "pretrain.image_size",
    "pretrain.patch",
    "pretrain.projection",
    "pretrain.vocabulary",
    "pretrain.context",
];

/// The keys that a conflict reads, and the function that describes it if there is one.
type Conflict = (&'static [&'static str], fn(&Config) -> Option<String>);

const CONFLICTS: [Conflict; 16] = [
    (&["data.kind", "encoder.kind"], features_come_together),
    (&["data.kind", "data.captions"], karpathy_needs_captions),
    (&["data.kind", "data.captions"], shards_have_their_captions),
    (&["encoder.kind", "index.views", "search.mirrored", "eval.views"], views_need_photos),
    (&["encoder.kind", "tune.text", "tune.image"], tuning_needs_an_encoder),
    (&["tune.image", "index.views"], adapters_need_a_fixed_tower),
    (
        &[
            "tune.text",
            "tune.image",
            "tune.contrastive",
            "tune.augment",
            "tune.patch_dropout",
            "tune.dropout",
            "tune.recompute",
            "train.batch",
            "train.caption_share",
        ],
        tuned_terms_need_a_tower,
    ),
    (&["tune.image", "tune.reassign_every", "index.family", "index.seconds"], reassignment_needs_paths),
    (&["index.family", "decoder.grounded"], grounding_needs_codebooks),
    (&["index.first_codes", "index.codes"], sizes_grow),
    (
        &[
            "index.family",
            "index.learned_steps",
            "index.learned_contrastive",
            "index.learned_ranking",
            "index.learned_reconstruction",
        ],
        codebooks_learn_something,
    ),
    (&["index.family", "index.seconds"], seconds_need_codebooks),
    (
        &["train.loss", "train.margin", "train.consistency", "train.label_smoothing", "train.teacher"],
        listwise_terms_need_it,
    ),
    (&["decoder.width", "decoder.heads"], |c| {
        divides("decoder", "heads", c.decoder.heads, "width", c.decoder.width)
    }),
    (&["pretrain.width", "pretrain.heads"], |c| {
        divides("pretrain", "heads", c.pretrain.heads, "width", c.pretrain.width)
    }),
    (&["pretrain.image_size", "pretrain.patch"], |c| {
        divides("pretrain", "patch", c.pretrain.patch, "image_size", c.pretrain.image_size)
    }),
];

/// The conflicts of a configuration. `given` are the keys that file and overrides set. Conflicts over keys in
/// `refused` are left out: those have their defaults, not the user's values.
pub fn find(config: &Config, given: &BTreeSet<&str>, refused: &BTreeSet<String>) -> Vec<String> {
    let known = |keys: &[&str]| !keys.iter().any(|key| refused.contains(*key));
    let mut found: Vec<_> = CONFLICTS
        .iter()
        .filter(|(keys, _)| known(keys))
        .filter_map(|(_, conflict)| conflict(config))
        .collect();
    for (keys, why) in idle(config) {
        let given = keys.iter().filter(|key| given.contains(*key));
        found.extend(given.map(|key| format!("{key} {why}: remove it")));
    }
    if !config.pretrain.init.is_empty() && !given.contains("pretrain.out") && known(&["pretrain.out"]) {
        found.push("pretrain.init needs pretrain.out, the folder that gets the tuned model".into());
    }
    found
}

/// The keys that have no meaning in a configuration, and why. They may not be set, and are not printed.
pub fn idle(config: &Config) -> Vec<(&'static [&'static str], String)> {
    let mut idle: Vec<(&[&str], String)> = Vec::new();
    let (kind, init) = (config.data.kind, &config.pretrain.init);
    if kind != DataKind::Scenes {
        let why = format!("is for data.kind = \"scenes\" alone, and data.kind is \"{kind}\"");
        idle.push((&SCENES_ONLY, why));
    }
    if !init.is_empty() {
        let why = format!("is for a CLIP with random weights, and pretrain.init = \"{init}\" brings its own");
        idle.push((&FROM_NOTHING_ONLY, why));
    }
    idle
}

fn features_come_together(config: &Config) -> Option<String> {
    let (data, encoder) = (config.data.kind, config.encoder.kind);
    ((data == DataKind::Features) != uses_features(config)).then(|| {
        format!(
            "data.kind = \"{data}\" with encoder.kind = \"{encoder}\": ready-made embeddings take the \
             encoder's place, so both are \"features\" or neither is"
        )
    })
}

fn uses_features(config: &Config) -> bool {
    config.encoder.kind.name == "features"
}

fn karpathy_needs_captions(config: &Config) -> Option<String> {
    (config.data.kind == DataKind::Karpathy && config.data.captions.is_empty()).then(|| {
        "data.kind = \"karpathy\" needs data.captions, the name of its JSON file, such as \
         \"dataset_flickr8k.json\""
            .into()
    })
}

fn shards_have_their_captions(config: &Config) -> Option<String> {
    (config.data.kind == DataKind::Webdataset && !config.data.captions.is_empty()).then(|| {
        "data.kind = \"webdataset\" has its captions in the archives, next to the photos: remove data.captions".into()
    })
}

fn views_need_photos(config: &Config) -> Option<String> {
    let given = given(&[
        ("index.views", config.index.views > 0),
        ("search.mirrored", config.search.mirrored),
        ("eval.views", config.eval.views),
    ])?;
    uses_features(config).then(|| {
        format!("{given}: ready-made features have no photos to take other views of; remove it, or use encoder.kind = \"clip\"")
    })
}

fn tuning_needs_an_encoder(config: &Config) -> Option<String> {
    let given = given(&[
        ("tune.text", config.tune.text != TrainableLayers::None),
        ("tune.image", config.tune.image != TrainableLayers::None),
    ])?;
    uses_features(config).then(|| {
        format!(
            "{given}: ready-made features have no encoder to train; remove it, or use encoder.kind = \"clip\""
        )
    })
}

fn adapters_need_a_fixed_tower(config: &Config) -> Option<String> {
    (config.tune.image != TrainableLayers::None && config.index.views > 0).then(|| {
        "tune.image with index.views: the adapter of image queries is trained once, from embeddings that tune.image then \
         changes; remove one of them (tune.augment trains on views)"
            .into()
    })
}

fn tuned_terms_need_a_tower(config: &Config) -> Option<String> {
    let tune = &config.tune;
    let alone = |key: &str, tower: &str| format!("{key} without {tower}: there is nothing that it trains");
    if !tune.contrastive.is_zero() && !config.tunes() {
        return Some(alone("tune.contrastive", "tune.text or tune.image"));
    }
    let captions = config.train.captions_a_batch();
    if tune.contrastive.is_zero() && tune.text != TrainableLayers::None && captions == 0 {
        return Some(
            "tune.text with train.caption_share = 0: there is no caption query that would train it".into(),
        );
    }
    if tune.contrastive.is_zero() && tune.image != TrainableLayers::None && captions == config.train.batch {
        return Some(
            "tune.image with train.caption_share = 1: there is no photo query that would train it".into(),
        );
    }
    let blocks = given(&[("tune.recompute", tune.recompute), ("tune.dropout", tune.dropout > 0.0)]);
    if let Some(blocks) = blocks.filter(|_| !config.tunes()) {
        return Some(alone(&blocks, "tune.text or tune.image"));
    }
    let photos = given(&[("tune.augment", tune.augment), ("tune.patch_dropout", tune.patch_dropout > 0.0)])?;
    (tune.image == TrainableLayers::None).then(|| alone(&photos, "tune.image"))
}

fn reassignment_needs_paths(config: &Config) -> Option<String> {
    let wanted = config.tune.reassign_every > 0;
    let unique = names_where(|family| family.codes_are_unique());
    let needs_unique = format!("index.family = {unique}, whose docids are unique whatever the codes");
    let why = if !config.index.family.codes_are_unique() {
        needs_unique.as_str()
    } else if config.tune.image == TrainableLayers::None {
        "tune.image: embeddings that stay keep their docids"
    } else if config.index.seconds != ExtraDocidSource::None {
        "index.seconds = \"none\": second docids are made once"
    } else {
        return None;
    };
    wanted.then(|| format!("tune.reassign_every needs {why}"))
}

/// The names of the keys that are set, if any are.
fn given<K: AsRef<str>>(keys: &[(K, bool)]) -> Option<String> {
    let given: Vec<&str> = keys.iter().filter(|(_, given)| *given).map(|(key, _)| key.as_ref()).collect();
    (!given.is_empty()).then(|| given.join(", "))
}

fn grounding_needs_codebooks(config: &Config) -> Option<String> {
    let family = config.index.family;
    (config.decoder.grounded && !family.has_codebooks()).then(|| {
        format!(
            "decoder.grounded = true needs the codebooks of index.family = {}, and the family is \"{family}\": set \
             decoder.grounded = false",
            names_where(|family| family.has_codebooks())
        )
    })
}

fn seconds_need_codebooks(config: &Config) -> Option<String> {
    let (family, seconds) = (config.index.family, config.index.seconds);
    (seconds != ExtraDocidSource::None && !family.has_codebooks()).then(|| {
        format!(
            "index.seconds = \"{seconds}\" needs the codebooks of index.family = {}, and the family is \"{family}\": \
             set index.seconds = \"none\"",
            names_where(|family| family.has_codebooks())
        )
    })
}

fn listwise_terms_need_it(config: &Config) -> Option<String> {
    let train = &config.train;
    let terms = train.terms.weighted();
    let terms = terms.iter().map(|(weight, term)| (format!("train.{}", term.name()), !weight.is_zero()));
    let others = [
        ("train.label_smoothing".to_owned(), train.label_smoothing > 0.0),
        ("train.teacher".to_owned(), !train.teacher.is_empty()),
    ];
    let given = given(&terms.chain(others).collect::<Vec<_>>())?;
    (train.loss == Loss::CrossEntropy).then(|| {
        format!("{given}: for train.loss = \"listwise\" alone, and the loss is \"cross_entropy\": remove it, or change the loss")
    })
}

fn sizes_grow(config: &Config) -> Option<String> {
    let (first, most) = (config.index.first_codes, config.index.codes);
    (first > most).then(|| {
        format!("index.first_codes = {first} is more than index.codes = {most}: levels grow up to it, so set it lower")
    })
}

fn codebooks_learn_something(config: &Config) -> Option<String> {
    let index = &config.index;
    let weights = index.learned_contrastive + index.learned_ranking + index.learned_reconstruction;
    (index.family.trains_codebooks() && index.learned_steps > 0 && weights == 0.0).then(|| {
        "index.learned_contrastive, index.learned_ranking and index.learned_reconstruction are all 0, so the \
         codebooks of index.family = \"learned\" have nothing to learn: set one, or index.learned_steps = 0"
            .into()
    })
}

fn divides(section: &str, part: &str, n: usize, whole: &str, of: usize) -> Option<String> {
    (!of.is_multiple_of(n)).then(|| format!("{section}.{part} = {n} must divide {section}.{whole} = {of}"))
}
