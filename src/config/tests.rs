//! Tests of the configuration as a whole: text in, a `Config` or a list of problems out.

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::config_schema::Allowed;
use crate::data::settings::DataKind;
use crate::encoder::trainable_layers::TrainableLayers;
use crate::error::Error;
use crate::model::settings::Loss;

fn parse(text: &str, overrides: &[&str]) -> Result<Config> {
    let overrides: Vec<_> = overrides.iter().map(|o| (*o).to_owned()).collect();
    Config::parse(text, Path::new("x.toml"), &overrides)
}

fn problems(text: &str, overrides: &[&str]) -> Vec<String> {
    match parse(text, overrides) {
        Err(Error::Config(problems)) => problems,
        other => panic!("{text}: {other:?}"),
    }
}

/// The one problem of this text.
fn problem(text: &str) -> String {
    let found = problems(text, &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    found.concat()
}

#[test]
fn every_default_is_allowed() {
    let defaults = Config::default().values(&Scope::All.keys());
    let known: BTreeSet<String> = keys::names().map(str::to_owned).collect();
    assert_eq!(known.len(), keys::all().len(), "a key is declared twice");
    assert_eq!(known, defaults.keys().cloned().collect());
    for key in keys::all() {
        let value = &defaults[&key.name];
        assert_eq!(key.allowed.admit(value).as_ref(), Some(value), "{}", key.name);
        assert!(!key.about.is_empty(), "{}", key.name);
    }
    assert_eq!(parse("", &[]).unwrap(), Config::default());
}

#[test]
fn both_ends_of_every_range_are_values_that_the_type_can_hold() {
    for key in keys::all() {
        let ends = match key.allowed {
            Allowed::Count(low, high) => vec![low.to_string(), high.to_string()],
            Allowed::Real(low, high) => vec![low.to_string(), high.to_string()],
            Allowed::Flag => vec!["true".into(), "false".into()],
            Allowed::OneOf { words, .. } => words.iter().map(|w| (*w).to_owned()).collect(),
            Allowed::Path { .. } | Allowed::Text { .. } => continue,
        };
        for end in ends {
            match parse("", &[&format!("{}={end}", key.name)]) {
                Ok(_) => {}
                Err(Error::Config(found)) => assert!(!found.concat().contains("not allowed"), "{found:?}"),
                Err(other) => panic!("{}={end}: {other}", key.name),
            }
        }
    }
}

#[test]
fn numbers_are_taken_for_weights_over_steps_and_for_blocks() {
    let config = parse("[train]\nmargin = 1000\nconsistency = 0.5\n[tune]\ntext = 1", &[]).unwrap();
    assert_eq!((config.train.terms.margin.at(0), config.train.terms.consistency.at(9)), (1000.0, 0.5));
    assert_eq!(config.tune.text, TrainableLayers::Last(1));
}

#[test]
fn every_shipped_file_loads_and_prints_back_equal() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_grid = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ablate-"));
        if is_grid {
            continue; // rows for `dsi ablate`: its own test reads it
        }
        let config = Config::load(&path, &[]).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(Config::parse(&config.to_toml(), &path, &[]).unwrap(), config);
        count += 1;
    }
    assert!(count >= 4);
}

#[test]
fn a_file_sets_what_it_names_and_leaves_the_rest() {
    let config =
        parse("seed = 7\ndevice = 'cuda:1'\n[train]\nbatch = 64\nlr = 1\nloss = 'cross_entropy'", &[])
            .unwrap();
    assert_eq!((config.seed, config.device), (7, Device::Cuda(1)));
    assert_eq!((config.train.batch, config.train.lr, config.train.loss), (64, 1.0, Loss::CrossEntropy));
    assert_eq!(config.train.steps, Config::default().train.steps);
}

#[test]
fn all_problems_are_reported_at_once() {
    let text =
        "sead = 1\n[train]\nbach = 3\nbatch = 0\nlr = 'fast'\n[decoder]\nheads = 5\n[index]\nfamily = 'rqq'";
    let found = problems(text, &["search.beam=513", "steps", "train.clip_norm=nan"]);
    let wanted = [
        "x.toml: sead is not a key; did you mean seed?",
        "x.toml: train.bach is not a key; did you mean train.batch?",
        "x.toml: train.batch = 0 is not allowed: it takes a whole number from 1 to 65536",
        "x.toml: train.lr = \"fast\" is not allowed: it takes a number from 0 to 1",
        "x.toml: index.family = \"rqq\" is not allowed: it takes \"atomic\", \"numeric\", \"tree\", \"rq\", \"learned\"; \
         did you mean \"rq\"?",
        "--set: search.beam = 513 is not allowed: it takes a whole number from 1 to 512",
        "--set steps: write it as section.key=value",
        "--set: train.clip_norm = nan is not allowed: it takes a number from 0.001 to 1000",
        "decoder.heads = 5 must divide decoder.width = 128",
    ];
    assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(wanted));
}

#[test]
fn names_that_are_wrong_get_a_remedy() {
    for (text, wanted) in [
        ("[trian]\nbatch = 1", "trian is not a key; did you mean train?"),
        ("[trian]", "did you mean train?"),
        ("[train]\nbeam = 1", "train.beam is not a key; did you mean search.beam?"),
        ("[search]\nzzzzzz = 1", "there are search.beam, search.geometry, search.lookahead, "),
        ("qqqqqq = 1", "there are data, encoder, index"),
        ("data = 3", "data is a section: write [data]"),
        ("[[data]]\nname = 'x'", "data is a section"),
        ("[data.name]\nx = 1", "data.name = { x = 1 } is not allowed"),
    ] {
        assert!(problem(text).contains(wanted), "{text}: {}", problem(text));
    }
}

#[test]
fn types_are_strict_but_for_whole_numbers_as_floats() {
    for text in
        ["[train]\nbatch = 4.0", "[train]\nbatch = '4'", "[train]\nbatch = [4]", "[decoder]\ngrounded = 1"]
    {
        assert!(problem(text).contains("is not allowed"), "{text}");
    }
    assert_eq!(parse("[decoder]\ndropout = 0", &[]).unwrap().decoder.dropout, 0.0);
}

#[test]
fn overrides_win_and_text_needs_no_quotes() {
    let text = "[data]\nroot = 'old'\n[train]\nbatch = 2";
    let set = |o: &[&str]| parse(text, o).unwrap();
    assert_eq!(set(&["train.batch=3", "train.batch = 4"]).train.batch, 4);
    assert!(!set(&["decoder.grounded=false"]).decoder.grounded);
    for (written, meant) in
        [("/a b", "/a b"), ("2024", "2024"), ("\"q\"", "q"), ("a=b", "a=b"), ("true", "true")]
    {
        assert_eq!(set(&[&format!("data.root={written}")]).data.root, meant);
    }
    assert_eq!(set(&["seed=3"]).seed, 3);
}

#[test]
fn an_override_cannot_smuggle_in_other_keys() {
    assert!(problems("", &["train.batch=1\nx=2"]).concat().contains("train.batch = "));
    assert!(problems("", &["=1"]).concat().contains("is not a key"));
    assert!(problems("", &["train.a.b=1"]).concat().contains("train.a.b is not a key"));
}

#[test]
fn broken_toml_is_named_by_line() {
    let error = parse("seed = 1\n[train\n", &[]).unwrap_err().to_string();
    assert!(error.starts_with("x.toml, line 2: is not TOML: "), "{error}");
    assert!(parse("seed = 1\nseed = 2", &[]).unwrap_err().to_string().contains("line 2"));
}

#[test]
fn values_that_cannot_stand_together_are_refused() {
    for (text, wanted) in [
        ("[data]\nkind = 'features'", "both are \"features\" or neither is"),
        ("[encoder]\nkind = 'features'", "both are \"features\" or neither is"),
        ("[data]\nkind = 'karpathy'", "needs data.captions"),
        ("[index]\nfamily = 'tree'", "set decoder.grounded = false"),
        ("[index]\nfirst_codes = 512", "index.first_codes = 512 is more than index.codes = 256"),
        (
            "[index]\nfamily = 'learned'\nlearned_ranking = 0\nlearned_reconstruction = 0",
            "index.learned_contrastive, index.learned_ranking and index.learned_reconstruction are all 0",
        ),
        (
            "[index]\nfamily = 'tree'\nseconds = 'own'\n[decoder]\ngrounded = false",
            "index.seconds = \"own\" needs the codebooks",
        ),
        (
            "[train]\nloss = 'cross_entropy'\nmargin = 0.5\nlabel_smoothing = 0.1",
            "train.margin, train.label_smoothing: for train.loss = \"listwise\" alone",
        ),
        ("[train]\nmargin = '5:1 3:0'", "train.margin = \"5:1 3:0\" is not allowed"),
        ("[pretrain]\nheads = 3", "pretrain.heads = 3 must divide pretrain.width = 128"),
        ("[pretrain]\npatch = 7", "pretrain.patch = 7 must divide pretrain.image_size = 64"),
        ("[data]\nkind = 'jsonl'\nside = 128", "data.side is for data.kind = \"scenes\" alone"),
        (
            "[data]\nkind = 'features'\n[encoder]\nkind = 'features'\n[index]\nviews = 4",
            "index.views: ready-made features have no photos",
        ),
        ("[pretrain]\ninit = 'x/y'", "pretrain.init needs pretrain.out"),
        (
            "[pretrain]\ninit = 'x/y'\nout = 'z'\nwidth = 64",
            "pretrain.width is for a CLIP with random weights, and pretrain.init = \"x/y\" brings its own: remove it",
        ),
    ] {
        assert!(problem(text).contains(wanted), "{text}: {}", problem(text));
    }
}

#[test]
fn codebooks_are_of_one_size_or_double_up_to_it() {
    let sizes = |text: &str| parse(text, &[]).unwrap().index.sizes();
    assert_eq!(sizes("[index]\nlevels = 3\ncodes = 100"), [100; 3]);
    assert_eq!(sizes("[index]\nlevels = 4\ncodes = 100\nfirst_codes = 32"), [32, 64, 100, 100]);
}

#[test]
fn a_refused_value_makes_no_further_conflict() {
    assert!(problem("[index]\nfamily = 'x'\n[decoder]\ngrounded = true").contains("index.family"));
    assert!(problem("[decoder]\nwidth = 0\nheads = 5").contains("decoder.width = 0"));
}

#[test]
fn keys_that_mean_nothing_are_not_printed() {
    let config = parse("[data]\nkind = 'jsonl'", &[]).unwrap();
    assert!(!config.to_toml().contains("scenes_seed"));
    assert_eq!(parse(&config.to_toml(), &[]).unwrap(), config);
    assert!(Config::default().to_toml().contains("scenes_seed = 0"));
    let tuned = parse("[pretrain]\ninit = 'x/y'\nout = 'z'", &[]).unwrap();
    assert!(!tuned.to_toml().contains("vision_layers"));
    assert_eq!(parse(&tuned.to_toml(), &[]).unwrap(), tuned);
}

#[test]
fn paths_of_the_corpus_follow_its_root() {
    let config = parse("[data]\nkind = 'jsonl'\nroot = 'r'", &[]).unwrap();
    assert_eq!(config.data.captions_file(), Path::new("r/corpus.jsonl"));
    assert_eq!(config.data.images_folder(), Path::new("r/"));
    let config = parse("[data]\nroot = 'r'\ncaptions = '/abs.json'\nimages = 'i'", &[]).unwrap();
    assert_eq!(config.data.captions_file(), Path::new("/abs.json"));
    assert_eq!(config.data.images_folder(), Path::new("r/i"));
}

#[test]
fn fingerprints_and_differences_see_the_named_keys_only() {
    let here = parse("", &["train.batch=64"]).unwrap();
    let there = parse("", &["train.batch=32", "seed=1", "device=cpu"]).unwrap();
    assert_eq!(here.differences(&there, &["train.batch", "train.lr"]), ["train.batch: 64 here, 32 there"]);
    assert_eq!(here.differences(&there, &Scope::Index.keys()), ["seed: 0 here, 1 there"]);
    assert_eq!(here.differences(&there, &Scope::Embeddings.keys()), Vec::<String>::new());
    let embeddings = Scope::Embeddings.keys();
    assert_eq!(here.fingerprint(&embeddings), there.fingerprint(&embeddings));
    assert_ne!(here.fingerprint(&["seed"]), there.fingerprint(&["seed"]));
    let other = parse("[data]\nkind = 'jsonl'", &[]).unwrap();
    assert_eq!(here.differences(&other, &["data.side"]), ["data.side: 128 here, not set there"]);
}

/// Reports keep this hash, and runs are compared by it.
#[test]
fn the_settings_hash_of_a_shipped_file_stays() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/scenes.toml");
    let hash = Config::load(&path, &[]).unwrap().fingerprint(&Scope::Settings.keys());
    assert_eq!(hash, "a99c50adde54224c078d83ce7deb93c7c2b9598eca0490aee620a3861f476a4d");
}

#[test]
fn hostile_input_is_refused_quietly() {
    let deep = format!("seed = {}1{}", "[".repeat(20_000), "]".repeat(20_000));
    let long_key = format!("{} = 1", "k".repeat(60_000));
    let dotted = format!("{}x = 1", "a.".repeat(20_000));
    for text in [
        &deep,
        &long_key,
        &dotted,
        "seed = -1",
        "seed = 99999999999999999999",
        "[train]\nsteps = -9223372036854775808",
    ] {
        assert!(parse(text, &[]).unwrap_err().to_string().len() < 1000, "{:.40}", text);
        assert!(parse("", &[text]).is_err(), "{:.40}", text);
    }
    for number in ["nan", "inf", "-inf", "-0.1", "1e400"] {
        assert!(parse(&format!("[decoder]\ndropout = {number}"), &[]).is_err(), "{number}");
    }
    for name in ["", "..", "a/b", "a b", "é", "\\u001b[31m"] {
        let shown = problem(&format!("[data]\nname = \"{name}\""));
        assert!(shown.contains("data.name = ") && !shown.contains(char::is_control), "{shown}");
    }
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    std::fs::write(&path, "#".repeat(LARGEST as usize + 1)).unwrap();
    assert!(Config::load(&path, &[]).unwrap_err().to_string().contains("larger than"));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(
        text in "(\\[[a-z]{0,5}\\]|(train|seed|lr|[a-z.\"]{0,4}) ?= ?[-0-9a-z.'\"\\[{]{0,5}|.{0,8}\n){0,8}",
        set in ".{0,20}",
    ) {
        let _ = parse(&text, &[&set]);
    }

    #[test]
    fn printing_and_reading_is_the_identity(
        seed in 0..=i64::MAX,
        lr in 0.0..=1.0f64,
        beam in 1..=512usize,
        root in "[^\\p{C}~][^\\p{C}]{0,19}",
        kind in 0..2usize,
    ) {
        let mut config = Config { seed: seed as u64, ..Config::default() };
        config.train.lr = lr;
        config.search.beam = beam;
        config.data.root = root;
        config.data.kind = [DataKind::Scenes, DataKind::Jsonl][kind];
        prop_assert_eq!(parse(&config.to_toml(), &[]).unwrap(), config);
    }
}
