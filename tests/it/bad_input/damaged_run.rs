//! Checkpoints and indexes that are damaged or belong to another run.

use std::fs;
use std::path::Path;

use candle_core::Tensor;
use dsi::nn::tensors;
use serde_json::{Value, json};

use super::{edit, own_run, trained};
use crate::fixture::{Space, contents, copy, repository};

tests! {
    a_damaged_checkpoint_is_refused,
    damaged_pointers_are_refused_until_training_resumes,
    a_damaged_index_is_refused,
    an_index_of_another_corpus_or_encoder_is_refused,
    a_run_outlives_a_start_that_fails,
    an_index_failing_its_gates_is_not_written,
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// A description, the damage to a part of a run, and parts of the error.
type Damage<'a> = (&'a str, &'a dyn Fn(&Path), &'a [&'a str]);

/// Damages a copy of a run in each way; `eval` and `--resume` refuse it and change nothing.
fn broken(part: &str, table: &[Damage]) {
    let space = own_run();
    let run = space.path("run");
    let whole = trained().path("run").join(part);
    for (what, change, parts) in table {
        change(&run.join(part));
        let before = contents(&run);
        space.run("eval").of(&run).output().about(what).refused(parts);
        let resume = space.dsi::<&str>("train", &[]).out(&run).args(["--resume"]);
        resume.output().about(what).refused(parts);
        assert!(before == contents(&run), "{what}: a refused run is left as it is");
        fs::remove_dir_all(run.join(part)).unwrap_or_default();
        copy(&whole, &run.join(part));
    }
    space.run("eval").of(&run).output().succeeded();
}

fn a_damaged_checkpoint_is_refused() {
    let other = Space::new();
    other.dsi("train", &["decoder.width=16", "train.steps=12"]).out("run").output().succeeded();
    let (weights, meta) = ("weights.safetensors", "meta.json");
    let altered: &[&str] = &[weights, "truncated or altered"];
    broken(
        "checkpoints",
        &[
            (
                "truncated weights",
                &|f| in_each(f, weights, |file| edit(file, |bytes| bytes.truncate(bytes.len() / 2))),
                altered,
            ),
            (
                "a flipped bit",
                &|f| in_each(f, weights, |file| edit(file, |bytes| *bytes.last_mut().unwrap() ^= 1)),
                altered,
            ),
            (
                "no weights",
                &|f| in_each(f, weights, |file| fs::remove_file(file).unwrap()),
                &[weights, "cannot read"],
            ),
            (
                "another version",
                &|f| in_each(f, meta, |file| replace(file, "\"version\": 1", "\"version\": 9")),
                &[meta, "version 9", "version 1"],
            ),
            (
                "no version",
                &|f| in_each(f, meta, |file| replace(file, "\"version\": 1,", "")),
                &[meta, "version"],
            ),
            (
                "half a description",
                &|f| in_each(f, meta, |file| edit(file, |bytes| bytes.truncate(20))),
                &[meta, "checkpoint's state"],
            ),
            ("no checkpoints", &|f| fs::remove_dir_all(f).unwrap(), &["holds no checkpoint", "train"]),
            (
                "weights of another shape",
                &|f| {
                    fs::remove_dir_all(f).unwrap();
                    copy(&other.path("run/checkpoints"), f);
                },
                &["decoder.", "[16", "[32", "expected"],
            ),
        ],
    );
}

/// Changes the file of this name in each checkpoint; the last and the best may differ.
fn in_each(checkpoints: &Path, name: &str, change: impl Fn(&Path)) {
    let steps = fs::read_dir(checkpoints).unwrap().map(|entry| entry.unwrap().path());
    steps.filter(|path| path.is_dir()).for_each(|step| change(&step.join(name)));
}

/// `--resume` needs no pointers, only the checkpoints themselves; `eval` follows a pointer and refuses a
/// broken one.
fn damaged_pointers_are_refused_until_training_resumes() {
    let space = own_run();
    let run = space.path("run");
    for (name, parts) in [("../../../etc", &["does not name"][..]), ("step-99", &["step-99", "cannot read"])]
    {
        both(&run.join("checkpoints"), name);
        space.run("eval").of(&run).output().refused(parts);
        space.dsi::<&str>("train", &[]).out(&run).args(["--resume"]).output().succeeded();
        let pointer = |name: &str| fs::read_to_string(run.join("checkpoints").join(name)).unwrap();
        assert_eq!(pointer("last"), "step-12\n");
        space.run("eval").of(&run).output().succeeded();
    }
}

/// Writes both pointers, because commands follow either.
fn both(checkpoints: &Path, name: &str) {
    ["last", "best"].iter().for_each(|pointer| fs::write(checkpoints.join(pointer), name).unwrap());
}

fn a_damaged_index_is_refused() {
    let other = Space::new();
    other.dsi("index", &["index.levels=2", "index.codes=4"]).out("run").output().succeeded();
    let (meta, docids, vectors) = ("index.json", "docids.jsonl", "vectors.safetensors");
    broken(
        "index",
        &[
            (
                "another version",
                &|f| replace(&f.join(meta), "\"version\": 1", "\"version\": 7"),
                &[meta, "version 7", "version 1"],
            ),
            ("half a description", &|f| edit(&f.join(meta), |bytes| bytes.truncate(40)), &[meta]),
            ("no levels", &|f| drop_levels(&f.join(meta)), &["index"]),
            ("an image too few", &|f| edit(&f.join(docids), drop_last_line), &[docids, "79", "80"]),
            (
                "an image of another name",
                &|f| replace(&f.join(docids), "scene-000007", "scene-777777"),
                &[docids, "line 8", "scene-777777"],
            ),
            (
                "a code beyond its level",
                &|f| replace(&f.join(docids), "\"docid\":[", "\"docid\":[99999,"),
                &[docids],
            ),
            (
                "broken JSON",
                &|f| edit(&f.join(docids), |bytes| bytes.truncate(bytes.len() - 5)),
                &[docids, "line 80"],
            ),
            (
                "truncated vectors",
                &|f| edit(&f.join(vectors), |bytes| bytes.truncate(bytes.len() - 5)),
                &[vectors, "safetensors"],
            ),
            (
                "vectors of another index",
                &|f| _ = fs::copy(other.path("run/index").join(vectors), f.join(vectors)).unwrap(),
                &[vectors],
            ),
            (
                "no adapter",
                &|f| retensor(&f.join(vectors), "adapter.in.weight", |_| None),
                &[vectors, "in.weight"],
            ),
            (
                "an adapter of another width",
                &|f| retensor(&f.join(vectors), "adapter.in.weight", |x| x.repeat((1, 2)).ok()),
                &[vectors, "in.weight", "[16, 128]", "[16, 64]"],
            ),
            (
                "an alignment of another width",
                &|f| retensor(&f.join(vectors), "align.image.map", |x| x.repeat((1, 2)).ok()),
                &[vectors, "align.image.map is 64 × 128", "64 wide"],
            ),
        ],
    );
}

/// Changes one tensor of a file, or removes it.
fn retensor(file: &Path, name: &str, change: impl Fn(Tensor) -> Option<Tensor>) {
    let mut tensors = tensors::read(file).unwrap();
    let tensor = tensors.remove(name).unwrap();
    tensors.extend(change(tensor).map(|tensor| (name.to_owned(), tensor)));
    tensors::write(file, &tensors).unwrap();
}

fn drop_last_line(text: &mut Vec<u8>) {
    let end = text[..text.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
    text.truncate(end + 1);
}

fn drop_levels(meta: &Path) {
    let mut value: Value = serde_json::from_slice(&fs::read(meta).unwrap()).unwrap();
    value["codes_per_level"] = json!([]);
    value["gates"]["suffix"] = true.into();
    fs::write(meta, value.to_string()).unwrap();
}

fn an_index_of_another_corpus_or_encoder_is_refused() {
    let space = own_run();
    let run = space.path("run");
    let corpus = space.path("corpus/corpus.jsonl");
    let text = fs::read_to_string(&corpus).unwrap();
    space.write("corpus/corpus.jsonl", text.replacen("\"captions\":[\"", "\"captions\":[\"truly ", 1));
    space.run("eval").of(&run).output().refused(&["is the index of another corpus", "another run (--out)"]);
    space
        .dsi::<&str>("train", &[])
        .out(&run)
        .args(["--resume"])
        .output()
        .refused(&["is the index of another corpus"]);
    fs::write(&corpus, text).unwrap();
    space.run("eval").of(&run).output().succeeded();

    copy(&repository("data/scenes-clip"), &space.path("clip"));
    edit(&space.path("clip/model.safetensors"), |bytes| {
        let low = bytes.len() - 2; // the low byte of the last half-precision number
        bytes[low] ^= 1;
    });
    let config = fs::read_to_string(space.path("run/config.toml")).unwrap();
    let [ours, theirs] =
        [repository("data/scenes-clip"), space.path("clip")].map(|path| path.display().to_string());
    space.write("run/config.toml", config.replace(&ours, &theirs));
    space.run("eval").of(&run).output().refused(&["is the index of another encoder", "another run (--out)"]);

    let changed = space.dsi("index", &["index.codes=4"]).out(&run).output();
    changed.refused(&["holds a run already"]);
}

/// `--force` with an unreadable corpus deletes nothing; `--resume` refuses another `search.beam`.
fn a_run_outlives_a_start_that_fails() {
    let space = own_run();
    let run = space.path("run");
    let again = |more: &[&str], how: &str| space.dsi("train", more).out(&run).args([how]).output();
    again(&["search.beam=15"], "--resume").refused(&["search.beam: 15 here, 16 there"]);
    let corpus = space.path("corpus/corpus.jsonl");
    let text = fs::read_to_string(&corpus).unwrap();
    fs::write(&corpus, &text[..text.len() / 2]).unwrap();
    let before = contents(&run);
    again(&[], "--force").refused(&["corpus.jsonl"]);
    assert!(before == contents(&run));
    fs::write(&corpus, text).unwrap();
    again(&[], "--force").succeeded();
}

fn an_index_failing_its_gates_is_not_written() {
    let space = Space::new();
    let strict =
        ["index.min_perplexity=1", "index.max_collisions=0", "index.min_survival=1", "index.survival_beam=1"];
    for command in ["index", "train"] {
        let outcome = space.dsi(command, &strict).out("run").output();
        let outcome = outcome.refused(&[
            "this index cannot work",
            "perplexity",
            "share their codes",
            "survives a beam of 1",
        ]);
        assert!(outcome.error().lines().count() > 3, "{outcome}");
        assert!(!space.path("run/index").exists() && !space.path("run/checkpoints").exists());
    }
    // Nothing was written, so the corrected command needs no `--force`.
    space.dsi::<&str>("train", &[]).out("run").output().succeeded();
}
