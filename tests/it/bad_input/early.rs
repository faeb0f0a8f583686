//! What the corpus, the configuration and the file system can tell is said before any photo is embedded.

use std::fs;

use candle_core::Device;
use dsi::data::npy::{self, Precision};
use dsi::data::scenes;
use dsi::matrix::Matrix;
use dsi::nn::tensors;

use crate::fixture::{Program, SMALL, Space, copy, repository};

tests! {
    a_corpus_that_cannot_do_is_refused_before_it_is_embedded,
    leaks_are_refused_before_anything_is_embedded,
    an_encoder_that_cannot_be_trained_so_is_refused_before_it_embeds,
    every_row_of_a_grid_is_checked_before_the_first_runs,
    an_evaluation_is_refused_before_it_embeds,
    a_pretraining_is_refused_before_it_decodes_photos,
    #[cfg(target_os = "linux")]
    folders_that_take_no_file_are_refused_first,
    embeddings_survive_a_cache_that_cannot_be_written,
    a_training_and_a_dry_run_need_no_temporary_folder,
    an_encoder_of_no_use_is_named_with_the_photo_or_caption,
}

/// Four train scenes, two of val and two of test, with these words in place of their splits.
fn own_photos(splits: [&str; 3]) -> Space {
    let space = Space::new();
    let spec = scenes::Spec { seed: 5, train: 4, val: 2, test: 2, side: 32 };
    scenes::write(&space.path("drawn"), &spec, &|| ()).unwrap();
    copy(&space.path("drawn/images"), &space.path("corpus/images"));
    let mut lines = fs::read_to_string(space.path("drawn/corpus.jsonl")).unwrap();
    for (from, to) in ["train", "val", "test"].iter().zip(splits) {
        lines = lines.replace(&format!("\"split\":\"{from}\""), &format!("\"split\": \"{to}\""));
    }
    space.write("corpus/corpus.jsonl", lines);
    space
}

fn own(space: &Space, command: &str) -> Program {
    let config = space.write("photos.toml", "[data]\nkind = \"jsonl\"\n");
    space.run(command).config(config).sets(SMALL).sets(&space.folders())
}

#[track_caller]
fn nothing_was_embedded(space: &Space) {
    assert!(!space.path("cache").exists(), "embeddings were computed");
    assert!(!space.path("run").exists(), "a run was begun");
}

fn a_corpus_that_cannot_do_is_refused_before_it_is_embedded() {
    const WHOLE: [&str; 3] = ["train", "val", "test"];
    for (splits, sets, parts) in [
        (["train", "val", "train"], &[][..], &["no images in its test split", "eval.split"][..]),
        (WHOLE, &["eval.folds=3"], &["eval.folds = 3", "2 images"]),
        (WHOLE, &["data.limit=2"], &["test split", "data.limit = 2 keeps 2 images"]),
        (["val", "val", "test"], &[], &["no train split"]),
        (["train", "train", "test"], &["search.fit_rerank=true"], &["search.fit_rerank", "val"]),
        (["train", "train", "test"], &["train.patience=3"], &["train.patience = 3", "set it to 0"]),
        (WHOLE, &["train.teacher=none.npy"], &["cannot read none.npy"]),
    ] {
        let space = own_photos(splits);
        own(&space, "train").sets(sets).out("run").output().refused(parts);
        own(&space, "train").sets(sets).args(["--dry-run"]).output().refused(parts);
        nothing_was_embedded(&space);
    }
    let space = own_photos(["test", "test", "test"]);
    own(&space, "index").out("run").output().refused(&["index.family = \"rq\"", "train split"]);
    let (space, other) = (own_photos(WHOLE), Matrix::new(2, vec![0.5; 4]));
    npy::write(&space.path("teacher.npy"), &other, Precision::Single).unwrap();
    let teacher = ["train.teacher=teacher.npy"];
    own(&space, "train").sets(&teacher).out("run").output().refused(&["train.teacher", "2 × 2", "8 images"]);
    nothing_was_embedded(&space);
}

fn leaks_are_refused_before_anything_is_embedded() {
    let space = own_photos(["train", "val", "test"]);
    let photo = |n: usize| space.path(&format!("corpus/images/scene-{n:06}.png"));
    fs::copy(photo(0), photo(7)).unwrap();
    for command in ["train", "index"] {
        own(&space, command).out("run").output().refused(&["held-out data", "scene-000007", "data.on_leak"]);
        nothing_was_embedded(&space);
    }
}

fn an_encoder_that_cannot_be_trained_so_is_refused_before_it_embeds() {
    let space = own_photos(["train", "val", "test"]);
    let parts = ["tune.image = 60", "blocks", "\"all\""];
    own(&space, "train").sets(&["tune.image=60"]).out("run").output().refused(&parts);
    nothing_was_embedded(&space);
}

fn every_row_of_a_grid_is_checked_before_the_first_runs() {
    let space = own_photos(["train", "train", "test"]);
    let rows =
        "[[row]]\nname = 'patient'\nset.train.patience = 2\n[[row]]\nname = 'folded'\nset.eval.folds = 9\n";
    let grid = space.write("grid.toml", rows);
    let outcome = own(&space, "ablate").args([std::path::Path::new("--grid"), &grid]).out("out").output();
    outcome.refused(&[
        "nothing was started",
        "\"patient\"",
        "train.patience = 2",
        "\"folded\"",
        "eval.folds = 9",
    ]);
    assert!(!space.path("out").exists());
    nothing_was_embedded(&space);
}

fn an_evaluation_is_refused_before_it_embeds() {
    let space = own_photos(["train", "train", "test"]);
    own(&space, "train").out("run").output().succeeded();
    fs::remove_dir_all(space.path("cache")).unwrap();
    for (sets, parts) in [
        ("eval.split=val", &["no images in its val split"][..]),
        ("eval.folds=3", &["eval.folds = 3", "2 images"]),
    ] {
        space.run("eval").of("run").sets(&[sets]).output().refused(parts);
        assert!(!space.path("cache").exists(), "{sets}");
    }
}

fn a_pretraining_is_refused_before_it_decodes_photos() {
    let space = own_photos(["train", "train", "test"]);
    // A photo that cannot be decoded would be found first if photos were looked at.
    fs::write(space.path("corpus/images/scene-000000.png"), b"none").unwrap();
    let out = format!("pretrain.out={}", space.path("clip").display());
    own(&space, "pretrain").sets(&[&out]).out("run").output().refused(&["no images in its val split"]);
    assert!(!space.path("run").exists());
    space.write("file", b"");
    let below = format!("pretrain.out={}", space.path("file/clip").display());
    let whole = own_photos(["train", "val", "test"]);
    let outcome = own(&whole, "pretrain").sets(&[&below]).out("run").output();
    outcome.refused(&["file/clip", "no file can be written there", "pretrain.out"]);
    assert!(!whole.path("run").exists());
}

/// `/proc` takes no file of anybody.
#[cfg(target_os = "linux")]
fn folders_that_take_no_file_are_refused_first() {
    let space = own_photos(["train", "val", "test"]);
    space.write("file", b"");
    for command in ["train", "index"] {
        for out in ["file", "file/run", "/proc/run"] {
            own(&space, command).out(out).output().refused(&[out, "no file can be written there", "--out"]);
        }
    }
    nothing_was_embedded(&space);
}

fn embeddings_survive_a_cache_that_cannot_be_written() {
    let space = own_photos(["train", "val", "test"]);
    let file = format!("encoder.cache={}", space.write("file", b"").join("cache").display());
    let outcome = own(&space, "train").sets(&[file, "index.views=1".into()]).out("run").output().succeeded();
    for part in ["embeddings are not kept", "second views are not kept", "file/cache", "encoder.cache"] {
        assert!(outcome.stderr.contains(part), "{part}: {outcome}");
    }
    assert!(outcome.stdout.contains("dense"), "{outcome}");
}

fn a_training_and_a_dry_run_need_no_temporary_folder() {
    let space = own_photos(["train", "val", "test"]);
    let without = |mut call: Program| {
        call.0.env("TMPDIR", space.path("gone"));
        call.output()
    };
    without(own(&space, "train").args(["--dry-run"])).succeeded();
    without(own(&space, "train").out("run")).succeeded();
}

fn an_encoder_of_no_use_is_named_with_the_photo_or_caption() {
    let space = own_photos(["train", "val", "test"]);
    for (projection, factor, parts) in [
        ("visual_projection.weight", 0.0, ["odd-clip", "the photo", "scene-000000.png"]),
        ("visual_projection.weight", 1e30, ["odd-clip", "the photo", "unit length"]),
        ("text_projection.weight", 0.0, ["odd-clip", "the caption", "unit length"]),
    ] {
        copy(&repository("data/scenes-clip"), &space.path("odd-clip"));
        let path = space.path("odd-clip/model.safetensors");
        let mut weights = tensors::read(&path).unwrap();
        let scaled = weights[projection].to_dtype(candle_core::DType::F32).unwrap();
        weights.insert(projection.into(), (scaled.to_device(&Device::Cpu).unwrap() * factor).unwrap());
        tensors::write(&path, &weights).unwrap();
        let encoder = format!("encoder.path={}", space.path("odd-clip").display());
        own(&space, "index").sets(&[encoder]).out("run").output().about(projection).refused(&parts);
        assert!(!space.path("run").exists(), "a run was begun");
    }
}
