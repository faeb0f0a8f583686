//! Bad input gets a clear error and loses nothing: the real program against files and arguments that are wrong.
//!
//! Each test is a table: what is wrong, how, and what the message must say. That exit code, stream and shape of an
//! error are right, and that nothing panics, is looked at by [`fixture::Outcome`] every time.

mod fixture;

use std::fs;
use std::path::Path;
use std::process::Command;

use candle_core::Device;
use dsi::config::Config;
use dsi::data::npy::{self, Precision};
use dsi::matrix::Matrix;
use dsi::model::features;
use dsi::run::RunFolder;
use dsi::train::stop::Stop;
use dsi::{index, train};
use fixture::{Dsi, Outcome, SMALL, Space, assert_same, contents, copy, repository};

/// A trained run with its corpus, shared by the tests that break copies of it.
fn trained() -> &'static Space {
    fixture::trained("bad_input")
}

/// Runs the calls of a table, each to be refused with the parts that follow it.
fn refused<const N: usize>(table: [(&str, Dsi, &[&str]); N]) {
    for (what, call, parts) in table {
        println!("{what}");
        call.output().refused(parts);
    }
}

#[test]
fn a_configuration_is_refused_with_key_value_and_what_is_allowed() {
    let space = Space::new();
    let number = std::cell::Cell::new(0); // every text gets a file of its own
    let file = |text: &str| {
        number.set(number.get() + 1);
        space.run("data").config(space.write(&format!("{}/x.toml", number.get()), text))
    };
    let set = |set: &str| space.run("data").config("configs/scenes.toml").sets(&[set]);
    refused([
        (
            "a key with a typo",
            file("[train]\nstepz = 3\n"),
            &["x.toml", "train.stepz", "did you mean train.steps?"],
        ),
        ("a section with a typo", file("[trian]\nsteps = 3\n"), &["trian"]),
        (
            "a key in the wrong section",
            file("[data]\nlevels = 3\n"),
            &["data.levels", "did you mean index.levels?"],
        ),
        ("broken TOML", file("seed = 1\n[train\n"), &["x.toml, line 2", "is not TOML"]),
        (
            "a value of another type",
            file("[train]\nsteps = \"many\"\n"),
            &["train.steps = \"many\"", "a whole number from 1"],
        ),
        ("not a text file", file("\u{0}\u{1}"), &["x.toml"]),
        (
            "several at once",
            file(
                "[train]\nstepz = 3\nlr = -1.0\n[decoder]\nheads = 5\nwidth = 64\n[index]\nfamily = \"rk\"\n",
            ),
            &["train.stepz", "train.lr = -1.0", "from 0 to 1", "decoder.heads = 5", "did you mean \"rq\"?"],
        ),
        ("an unknown override", set("search.beem=3"), &["--set", "search.beem", "search.beam"]),
        ("an override without a value", set("search.beam"), &["section.key=value"]),
        ("a value out of range", set("search.beam=100000"), &["search.beam = 100000", "from 1 to 512"]),
        ("a number that is none", set("train.lr=nan"), &["train.lr = nan", "from 0 to 1"]),
        ("an integer beyond all bounds", set("seed=99999999999999999999999"), &["seed"]),
        ("a docid level with one code", set("index.codes=1"), &["index.codes = 1", "from 2 to 4096"]),
        ("a bootstrap of nothing", set("eval.bootstrap=0"), &["eval.bootstrap = 0", "from 1"]),
        (
            "a conflict",
            set("index.family=tree"),
            &["decoder.grounded = true", "\"rq\"", "decoder.grounded = false"],
        ),
        ("a device that is none", set("device=gpu"), &["device = \"gpu\"", "cuda:N"]),
        (
            "no configuration file",
            space.run("data").config("configs/none.toml"),
            &["none.toml", "cannot read"],
        ),
        ("a folder for a file", space.run("data").config("configs"), &["configs", "cannot read"]),
    ]);
    let call = file("[train]\nstepz = 3\n[search]\nbeam = 0\n").sets(&["eval.split=tst"]).output();
    assert_eq!(call.error().lines().count(), 1 + 3, "a head and each problem once: {call}");
}

#[test]
fn wrong_arguments_are_refused_with_the_usage() {
    let space = Space::new();
    for args in [
        &["nonsense"][..],
        &["train"],
        &["eval"],
        &["search", "a cube"],
        &["train", "--config"],
        &["data", "--bogus"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_dsi")).args(args).output().unwrap();
        Outcome::new(format!("{args:?}"), output).refused_with(2, &["--help"]);
    }
    let run = trained().path("run");
    let eval = |set: &str| space.run("eval").of(&run).sets(&[set]);
    refused([
        ("no run", space.run("eval").of("nowhere"), &["nowhere", "holds no run", "dsi train"]),
        (
            "no run of that data set",
            space.run("eval").args(["--dataset", "cats"]),
            &["runs/cats", "holds no run"],
        ),
        (
            "no such split",
            space.run("eval").of(&run).args(["--split", "tst"]),
            &["eval.split", "\"tst\"", "test"],
        ),
        (
            "what a trained run cannot change",
            eval("decoder.width=64"),
            &["cannot be changed", "decoder.width"],
        ),
        ("another seed", eval("seed=3"), &["cannot be changed", "seed"]),
    ]);
    let file = space.write("file", "mine");
    trained().dsi::<&str>("train", &[]).out(&file).output().refused(&["file"]);
    assert_eq!(fs::read(file).unwrap(), b"mine");
}

/// `dsi COMMAND` on photos and captions of one's own: those of the trained run, to be broken.
fn own_photos(space: &Space, command: &str) -> Dsi {
    let config = space.write("photos.toml", "[data]\nkind = \"jsonl\"\n");
    space.run(command).config(config).sets(SMALL).sets(&space.folders())
}

#[test]
fn a_photo_that_cannot_be_read_is_named_or_skipped_and_counted() {
    let space = Space::new();
    copy(&trained().path("corpus/images"), &space.path("corpus/images"));
    fs::copy(trained().path("corpus/corpus.jsonl"), space.path("corpus/corpus.jsonl")).unwrap();
    let photo = |n: usize| space.path(&format!("corpus/images/scene-{n:06}.png"));
    let png = fs::read(photo(0)).unwrap();
    let faults: [(usize, Option<&[u8]>, &str); 5] = [
        (3, Some(&png[..png.len() / 2]), "cannot be decoded"),
        (11, Some(b"<html>404 not found</html>"), "is not a JPEG"),
        (25, Some(b""), "is empty (0 bytes)"),
        (40, None, "cannot read"),
        (77, Some(b"\xff\xd8\xff\xe0\x00\x10JFIF"), "cut short"),
    ];
    for (n, bytes, message) in faults {
        let good = fs::read(photo(n)).unwrap();
        match bytes {
            Some(bytes) => fs::write(photo(n), bytes).unwrap(),
            None => fs::remove_file(photo(n)).unwrap(),
        }
        let name = format!("scene-{n:06}.png");
        own_photos(&space, "index").out("run").output().refused(&[
            &name,
            message,
            "data.on_bad_image = \"skip\"",
        ]);
        fs::write(photo(n), good).unwrap();
    }
    for (n, bytes, _) in faults {
        match bytes {
            Some(bytes) => fs::write(photo(n), bytes).unwrap(),
            None => fs::remove_file(photo(n)).unwrap(),
        }
    }
    let skip = ["data.on_bad_image=skip"];
    let skipped = own_photos(&space, "train").sets(&skip).out("skip").output().succeeded();
    assert!(skipped.stderr.contains("5 images were left out"), "{skipped}");
    assert!(skipped.stderr.contains("scene-000011.png"), "{skipped}");
    let cached = own_photos(&space, "index").sets(&skip).out("again").output().succeeded();
    assert!(cached.stderr.contains("5 images were left out"), "counted from the cache too: {cached}");
    own_photos(&space, "index").out("strict").output().refused(&["data.on_bad_image = \"skip\""]);
    let check = own_photos(&space, "data").args(["--check"]).output();
    assert_eq!(check.code, Some(1), "{check}");
    for (n, ..) in faults {
        assert!(check.stderr.contains(&format!("scene-{n:06}.png")), "{check}");
    }
    for n in 0..fixture::IMAGES {
        fs::write(photo(n), "").unwrap();
    }
    own_photos(&space, "index").sets(&skip).out("none").output().refused(&["no image", "is left"]);
}

#[test]
fn a_captions_file_is_refused_with_the_line() {
    let space = Space::new();
    let good = r#"{"image": "a.png", "split": "train", "captions": ["a cube"]}"#;
    let line = |line: &str| {
        space.write("corpus/corpus.jsonl", format!("{good}\n\n{line}\n"));
        own_photos(&space, "data").output()
    };
    for (what, text, parts) in [
        ("broken JSON", r#"{"image": "b.png", "split": "#, &["line 3", "EOF"][..]),
        ("not JSON at all", "a.png\ttrain\ta cube", &["line 3", "expected"]),
        (
            "no captions",
            r#"{"image": "b.png", "split": "val", "captions": []}"#,
            &["line 3", "b.png", "no captions"],
        ),
        (
            "a blank caption",
            r#"{"image": "b.png", "split": "val", "captions": ["x", " "]}"#,
            &["line 3", "caption 2", "blank"],
        ),
        (
            "a caption that is none",
            r#"{"image": "b.png", "split": "val", "captions": [7]}"#,
            &["line 3", "invalid type"],
        ),
        ("captions left out", r#"{"image": "b.png", "split": "val"}"#, &["line 3", "captions"]),
        ("an image twice", good, &["line 3", "a.png", "already on line 1"]),
        (
            "an unknown split",
            r#"{"image": "b.png", "split": "dev", "captions": ["x"]}"#,
            &["line 3", "dev", "val", "restval"],
        ),
        (
            "a path that leaves the folder",
            r#"{"image": "../b.png", "split": "val", "captions": ["x"]}"#,
            &["line 3", "../b.png"],
        ),
    ] {
        println!("{what}");
        line(text).refused(&[&["corpus.jsonl"], parts].concat());
    }
    space.write("corpus/corpus.jsonl", "");
    own_photos(&space, "data").output().refused(&["corpus.jsonl", "no images"]);
    space.write("corpus/corpus.jsonl", b"\xff\xfe\x00");
    own_photos(&space, "data").output().refused(&["corpus.jsonl", "line 1"]);
    fs::remove_file(space.path("corpus/corpus.jsonl")).unwrap();
    own_photos(&space, "data").output().refused(&["corpus.jsonl", "cannot read"]);
    own_photos(&space, "data").sets(&["data.train=5"]).output().refused(&["data.train", "scenes"]);

    let karpathy = |text: &str| {
        space.write("corpus/d.json", text);
        let config = space.write("k.toml", "[data]\nkind = \"karpathy\"\ncaptions = \"d.json\"\n");
        space.run("data").config(config).sets(&space.folders()).output()
    };
    let whole = "{\"images\": [\n{\"filename\": \"a.jpg\", \"split\": \"train\", \"sentences\": [{\"raw\": \"x\"}]}\n]}";
    karpathy(whole).succeeded();
    karpathy(&whole[..whole.len() - 3]).refused(&["d.json", "line 2"]);
    karpathy(&whole.replace("train", "dev")).refused(&["d.json", "dev", "line 2", "train"]);
    karpathy(&whole.replace("x", " ")).refused(&["d.json", "a.jpg", "blank"]);
    karpathy("[]").refused(&["d.json", "Karpathy"]);
}

#[test]
fn a_corpus_that_is_somebody_elses_stays() {
    let space = Space::new();
    let mine = space.write("corpus/corpus.jsonl", "{\"image\": \"cat.jpg\"}\n");
    space.dsi::<&str>("data", &[]).output().refused(&["corpus.jsonl", "choose another folder"]);
    assert_eq!(fs::read_to_string(mine).unwrap(), "{\"image\": \"cat.jpg\"}\n");
}

/// Images of the features corpus; each has two captions.
const FEATURES: usize = 24;

fn numbers(rows: usize, width: usize) -> Matrix {
    let number = |n: usize| ((n * 37 % 101) as f32 - 50.0) / 50.0;
    Matrix::new(width, (0..rows * width).map(number).collect())
}

/// A folder of ready-made embeddings that is right.
fn write_features(space: &Space, width: usize) {
    let split = |n: usize| ["train", "train", "val", "test"][n % 4];
    let line = |n| {
        format!(
            "{{\"image\": \"{n}\", \"split\": \"{}\", \"captions\": [\"one {n}\", \"two {n}\"]}}\n",
            split(n)
        )
    };
    space.write("corpus/corpus.jsonl", (0..FEATURES).map(line).collect::<String>());
    for (name, rows) in [("images.npy", FEATURES), ("captions.npy", 2 * FEATURES)] {
        npy::write(&space.path("corpus").join(name), &numbers(rows, width), Precision::Single).unwrap();
    }
}

fn own_features(space: &Space, command: &str) -> Dsi {
    space.run(command).config("configs/features.toml").sets(SMALL).sets(&space.folders()[..2])
}

#[test]
fn embeddings_of_the_wrong_shape_or_type_are_refused() {
    let space = Space::new();
    write_features(&space, 8);
    own_features(&space, "index").out("fine").output().succeeded();
    let images = space.path("corpus/images.npy");
    let good = fs::read(&images).unwrap();
    let header = |from: &str, to: &str| {
        let at = good.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        [&good[..at], to.as_bytes(), &good[at + from.len()..]].concat()
    };
    let nan = [&good[..good.len() - 4], &f32::NAN.to_le_bytes()].concat();
    let zero = [&good[..good.len() - 32], &[0; 32]].concat();
    for (what, bytes, parts) in [
        ("another type", header("<f4", "<f8"), &["descr", "<f8", "<f2", "<f4"][..]),
        ("column-major", header("False", "True "), &["fortran_order", "ascontiguousarray"]),
        ("three dimensions", header("(24, 8)", "(2,12,8)"), &["shape", "two dimensions"]),
        ("more rows than there are", header("(24, 8)", "(99, 8)"), &["bytes", "header"]),
        ("truncated", good[..good.len() - 1].to_vec(), &["bytes", "header"]),
        ("cut in the header", good[..20].to_vec(), &["header"]),
        ("empty", Vec::new(), &["header"]),
        ("not an array", b"PK\x03\x04 a zip archive".to_vec(), &["is not a .npy file"]),
        ("NaN", nan, &["row 23", "NaN"]),
        ("a row of zeros", zero, &["row 23", "all zeros"]),
    ] {
        println!("{what}");
        fs::write(&images, bytes).unwrap();
        own_features(&space, "index").out("run").output().refused(&[&["images.npy"], parts].concat());
    }
    for (rows, width, parts) in [
        (FEATURES - 1, 8, ["images.npy", "has 23 rows", "24 images"]),
        (FEATURES, 5, ["captions.npy", "8 wide", "images.npy 5"]),
    ] {
        npy::write(&images, &numbers(rows, width), Precision::Half).unwrap();
        own_features(&space, "index").out("run").output().refused(&parts);
    }
    fs::remove_file(&images).unwrap();
    own_features(&space, "index").out("run").output().refused(&["images.npy", "cannot read"]);
}

#[test]
fn embeddings_that_changed_under_a_run_are_noticed() {
    let space = Space::new();
    write_features(&space, 8);
    own_features(&space, "train").out("run").output().succeeded();
    write_features(&space, 16);
    space.run("eval").of("run").output().refused(&["index", "another encoder"]);
    own_features(&space, "train")
        .out("run")
        .args(["--resume"])
        .output()
        .refused(&["index", "another encoder"]);
    write_features(&space, 8);
    let images = space.path("corpus/images.npy");
    let mut bytes = fs::read(&images).unwrap();
    let last = bytes.len() - 2;
    bytes[last] ^= 0x20;
    fs::write(&images, bytes).unwrap();
    space.run("eval").of("run").output().refused(&["index", "another encoder"]);
}

/// The trained run with its corpus in a folder of its own, to be broken.
fn own_run() -> Space {
    let space = Space::new();
    for part in ["run", "corpus", "cache"] {
        copy(&trained().path(part), &space.path(part));
    }
    let config = fs::read_to_string(space.path("run/config.toml")).unwrap();
    let [from, to] = [trained(), &space].map(|space| space.path("").display().to_string());
    space.write("run/config.toml", config.replace(&from, &to));
    space
}

fn edit(path: &Path, change: impl Fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// Breaks a trained run in one way after the other; neither `eval` nor `--resume` takes it, and neither changes it.
fn broken(part: &str, table: &[(&str, &dyn Fn(&Path), &[&str])]) {
    let space = own_run();
    let run = space.path("run");
    let whole = trained().path("run").join(part);
    for (what, change, parts) in table {
        println!("{what}");
        change(&run.join(part));
        let before = contents(&run);
        space.run("eval").of(&run).output().refused(parts);
        space.dsi::<&str>("train", &[]).out(&run).args(["--resume"]).output().refused(parts);
        assert!(before == contents(&run), "{what}: a refused run is left as it is");
        fs::remove_dir_all(run.join(part)).unwrap_or_default();
        copy(&whole, &run.join(part));
    }
    space.run("eval").of(&run).output().succeeded();
}

#[test]
fn a_damaged_checkpoint_is_refused() {
    let other = Space::new();
    other.dsi("train", &["decoder.width=16", "train.steps=12"]).out("run").output().succeeded();
    let step =
        |file: &'static str| move |folder: &Path| folder.join(format!("step-{}", fixture::STEPS)).join(file);
    let (weights, meta) = (step("weights.safetensors"), step("meta.json"));
    let altered: &[&str] = &["weights.safetensors", "truncated or altered"];
    broken(
        "checkpoints",
        &[
            ("truncated weights", &|f| edit(&weights(f), |bytes| bytes.truncate(bytes.len() / 2)), altered),
            ("a flipped bit", &|f| edit(&weights(f), |bytes| *bytes.last_mut().unwrap() ^= 1), altered),
            (
                "no weights",
                &|f| fs::remove_file(weights(f)).unwrap(),
                &["weights.safetensors", "cannot read"],
            ),
            (
                "another version",
                &|f| replace(&meta(f), "\"version\": 1", "\"version\": 9"),
                &["meta.json", "version 9", "version 1"],
            ),
            ("no version", &|f| replace(&meta(f), "\"version\": 1,", ""), &["meta.json", "version"]),
            (
                "half a description",
                &|f| edit(&meta(f), |bytes| bytes.truncate(20)),
                &["meta.json", "checkpoint's state"],
            ),
            ("pointers that lead away", &|f| both(f, "../../../etc"), &["does not name a checkpoint"]),
            ("pointers to nothing", &|f| both(f, "step-99"), &["step-99", "cannot read"]),
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

/// Both pointers, so that it does not matter which one a command follows.
fn both(checkpoints: &Path, name: &str) {
    ["last", "best"].iter().for_each(|pointer| fs::write(checkpoints.join(pointer), name).unwrap());
}

#[test]
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
            (
                "an image too few",
                &|f| edit(&f.join(docids), |bytes| drop_last_line(bytes)),
                &[docids, "79", "80"],
            ),
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
        ],
    );
}

fn drop_last_line(text: &mut Vec<u8>) {
    let end = text[..text.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
    text.truncate(end + 1);
}

fn drop_levels(meta: &Path) {
    let mut value: serde_json::Value = serde_json::from_slice(&fs::read(meta).unwrap()).unwrap();
    value["codes_per_level"] = serde_json::json!([]);
    value["gates"]["suffix"] = true.into();
    fs::write(meta, value.to_string()).unwrap();
}

#[test]
fn an_index_of_another_corpus_or_encoder_is_refused() {
    let space = own_run();
    let run = space.path("run");
    let corpus = space.path("corpus/corpus.jsonl");
    let text = fs::read_to_string(&corpus).unwrap();
    space.write("corpus/corpus.jsonl", text.replacen("\"captions\":[\"", "\"captions\":[\"truly ", 1));
    space.run("eval").of(&run).output().refused(&["is the index of another corpus", "dsi index"]);
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
    space.run("eval").of(&run).output().refused(&["is the index of another encoder", "dsi index"]);

    let changed = space.dsi("index", &["index.codes=4"]).out(&run).output();
    changed.refused(&["holds a run already"]);
}

#[test]
fn an_index_that_cannot_work_is_refused_and_not_written() {
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
    space.dsi::<&str>("train", &["train.steps=1"]).out("run").output().refused(&["another configuration"]);
}

#[test]
fn an_encoder_that_is_none_is_refused() {
    let space = Space::new();
    copy(&repository("data/scenes-clip"), &space.path("good"));
    let html = b"<!DOCTYPE html><html><body>Sign in to download</body></html>";
    let with = |file: &str, content: Option<&[u8]>| {
        let folder = space.path("clip");
        copy(&space.path("good"), &folder);
        match content {
            Some(bytes) => fs::write(folder.join(file), bytes).unwrap(),
            None => fs::remove_file(folder.join(file)).unwrap(),
        }
        trained().dsi("index", &[format!("encoder.path={}", folder.display())]).out(space.path("run"))
    };
    let weights = fs::read(space.path("good/model.safetensors")).unwrap();
    for (what, file, content, parts) in [
        (
            "HTML for weights",
            "model.safetensors",
            Some(&html[..]),
            &["model.safetensors", "safetensors file"][..],
        ),
        (
            "truncated weights",
            "model.safetensors",
            Some(&weights[..weights.len() - 9]),
            &["model.safetensors"],
        ),
        ("no weights", "model.safetensors", None, &["model.safetensors", "cannot read"]),
        ("HTML for the shape", "config.json", Some(html), &["config.json"]),
        ("no shape", "config.json", None, &["config.json", "cannot read"]),
        ("HTML for the tokenizer", "tokenizer.json", Some(html), &["tokenizer.json", "tokenizer"]),
        ("no tokenizer", "tokenizer.json", None, &["vocab.json"]),
        ("no preprocessing", "preprocessor_config.json", None, &["preprocessor_config.json", "cannot read"]),
        ("HTML for the preprocessing", "preprocessor_config.json", Some(html), &["preprocessor_config.json"]),
    ] {
        println!("{what}");
        with(file, content).output().refused(parts);
    }
    let nowhere = trained().dsi("index", &["encoder.path=no/such/clip"]).out(space.path("run")).output();
    nowhere.refused(&["`no/such/clip`", "neither a local folder nor a hub id"]);
}

/// A disk that fills up in the middle of a run, on a small file system of the test's own.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named_and_the_run_goes_on_when_there_is_room() {
    let space = Space::new();
    let overrides = space.overrides::<&str>(&["train.checkpoint_every=1"]);
    let config = Config::load(&repository("configs/scenes.toml"), &overrides).unwrap();
    let run = RunFolder::new(space.path("run"));
    let train = |config: &Config, run: &RunFolder, stop: Stop| {
        let prepared = features::prepare(&config.data, &config.encoder, &Device::Cpu).unwrap();
        let index = index::open(config, &prepared, run, &Device::Cpu).unwrap();
        train::joint::train(config, &prepared, &index, run, false, &Device::Cpu, &stop)
    };
    let stop = Stop::default();
    stop.request();
    train(&config, &run, stop).unwrap_err();
    fs::write(run.config(), config.to_toml()).unwrap();
    train(&config, &RunFolder::new(space.path("whole")), Stop::default()).unwrap();

    // In a mount namespace of its own, so nothing is left mounted; what the run became is copied out.
    let script = r#"
        mount -t tmpfs -o size=4m none "$1/small" 2>/dev/null || exit 77
        cp -r "$1/run" "$1/small/run" && head -c 8m /dev/zero > "$1/small/fill" 2>/dev/null
        shift 1; "$@"; code=$?
        cp -r small/run after; exit $code"#;
    fs::create_dir(space.path("small")).unwrap();
    let train =
        space.dsi("train", &["train.checkpoint_every=1"]).out(space.path("small/run")).args(["--resume"]);
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(space.path(""));
    command.arg(train.0.get_program()).args(train.0.get_args()).current_dir(space.path(""));
    let Ok(output) = command.output() else { return println!("skipped: there is no unshare") };
    if output.status.code() == Some(77) || !space.path("after").exists() {
        return println!(
            "skipped: no file system may be mounted ({})",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Outcome::new("training on a full disk".into(), output).refused(&[
        "cannot",
        "small/run",
        "No space left on device",
    ]);
    assert_same(&run.checkpoints(), &space.path("after/checkpoints"));

    space
        .dsi("train", &["train.checkpoint_every=1"])
        .out(space.path("after"))
        .args(["--resume"])
        .output()
        .succeeded();
    assert_same(&space.path("whole/checkpoints"), &space.path("after/checkpoints"));
}
