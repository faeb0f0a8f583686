//! Damaged photos and captions files.

use std::fs;
use std::path::PathBuf;

use super::trained;
use crate::fixture::{IMAGES, Program, SMALL, Space, copy};

tests! {
    a_photo_that_cannot_be_read_is_named,
    photos_that_cannot_be_read_are_skipped_and_counted_on_demand,
    photos_beyond_the_limit_may_be_missing,
    missing_photos_may_be_left_out,
    a_captions_file_is_refused_with_the_line,
    captions_files_as_other_tools_write_them_are_read,
    captions_files_of_another_kind_are_named,
    images_without_captions_may_be_left_out,
    a_missing_evaluation_split_is_refused_before_training,
    a_foreign_corpus_is_not_overwritten,
}

/// A copy of the trained run's photos and captions, to be damaged.
fn with_photos() -> Space {
    let space = Space::new();
    copy(&trained().path("corpus/images"), &space.path("corpus/images"));
    fs::copy(trained().path("corpus/corpus.jsonl"), space.path("corpus/corpus.jsonl")).unwrap();
    space
}

/// `dsi COMMAND` on the photos and captions in the folder `corpus`.
fn own_photos(space: &Space, command: &str) -> Program {
    let config = space.write("photos.toml", "[data]\nkind = \"jsonl\"\n");
    space.run(command).config(config).sets(SMALL).sets(&space.folders())
}

/// Unreadable photos: their number, their new content (`None`: missing), the error.
const FAULTS: [(usize, Option<&[u8]>, &str); 5] = [
    (3, Some(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x40"), "cannot be decoded"),
    (11, Some(b"<html>404 not found</html>"), "is a web page"),
    (25, Some(b""), "is empty (0 bytes)"),
    (40, None, "1 of 80 photos are missing"),
    (77, Some(b"\xff\xd8\xff\xe0\x00\x10JFIF"), "cut short"),
];

fn photo(space: &Space, n: usize) -> PathBuf {
    space.path(&format!("corpus/images/scene-{n:06}.png"))
}

fn spoil(space: &Space, n: usize, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => fs::write(photo(space, n), bytes).unwrap(),
        None => fs::remove_file(photo(space, n)).unwrap(),
    }
}

fn a_photo_that_cannot_be_read_is_named() {
    let space = with_photos();
    for (n, bytes, complaint) in FAULTS {
        let good = fs::read(photo(&space, n)).unwrap();
        spoil(&space, n, bytes);
        let (name, remedy) = (format!("scene-{n:06}.png"), "data.on_bad_image = \"skip\"");
        own_photos(&space, "index").out("run").output().refused(&[&name, complaint, remedy]);
        fs::write(photo(&space, n), good).unwrap();
    }
    own_photos(&space, "index").out("run").output().succeeded();
}

fn photos_that_cannot_be_read_are_skipped_and_counted_on_demand() {
    let space = with_photos();
    for (n, bytes, _) in FAULTS {
        spoil(&space, n, bytes);
    }
    let skipping = |command: &str| own_photos(&space, command).sets(&["data.on_bad_image=skip"]);
    // The second time, the embeddings come from the cache.
    for (command, out) in [("train", "first"), ("index", "second")] {
        let outcome = skipping(command).out(out).output().succeeded();
        assert!(outcome.stderr.contains("5 images were left out"), "{outcome}");
    }
    space.run("eval").of("first").output().succeeded();
    own_photos(&space, "index").out("strict").output().refused(&["data.on_bad_image = \"skip\""]);
    let check = own_photos(&space, "data verify").output();
    assert_eq!(check.code, Some(1), "{check}");
    for (n, ..) in FAULTS {
        assert!(check.stderr.contains(&format!("scene-{n:06}.png")), "{check}");
    }
    assert!(check.stderr.contains("1 of 80 photos are missing"), "{check}");
    assert!(check.stderr.contains("4 of 80 photos cannot be decoded"), "{check}");
    let found = own_photos(&space, "data verify").args(["--json"]).output().json();
    assert_eq!(["missing", "broken"].map(|key| found[key].as_array().unwrap().len()), [1, 4], "{found}");
    assert_eq!(found["whole"], false);
    (0..IMAGES).for_each(|n| spoil(&space, n, Some(b"")));
    skipping("index").out("none").output().refused(&["no image", "is left"]);
}

/// `data.limit` keeps the first images of each split; the others are not read.
fn photos_beyond_the_limit_may_be_missing() {
    let space = with_photos();
    let limit = ["data.limit=16"]; // 12 of 60 for training, 2 of 10 for each of the others
    for n in (12..60).chain(62..70).chain(72..80) {
        spoil(&space, n, None);
    }
    own_photos(&space, "train").sets(&limit).out("run").output().succeeded();
    let out = format!("pretrain.out={}", space.path("clip").display());
    let tiny = ["pretrain.steps=1", "pretrain.width=8", "pretrain.heads=1", "pretrain.vision_layers=1"];
    own_photos(&space, "pretrain").sets(&limit).sets(&tiny).sets(&[out]).out("clip-run").output().succeeded();
}

fn missing_photos_may_be_left_out() {
    let space = with_photos();
    (3..9).for_each(|n| spoil(&space, n, None));
    let parts = ["6 of 80 photos are missing", "scene-000003.png", "--allow-missing"];
    own_photos(&space, "index").out("run").output().refused(&parts);
    let found = own_photos(&space, "data verify").output();
    assert_eq!(found.code, Some(1), "{found}");
    assert!(parts.iter().all(|part| found.stderr.contains(part)), "{found}");
    own_photos(&space, "data verify").args(["--allow-missing"]).output().succeeded();
    let outcome = own_photos(&space, "index").out("run").args(["--allow-missing"]).output().succeeded();
    assert!(outcome.stderr.contains("6 images were left out"), "{outcome}");
}

fn a_captions_file_is_refused_with_the_line() {
    let space = Space::new();
    let good = r#"{"image": "a.png", "split": "train", "captions": ["a cube"]}"#;
    let line = |line: &str| {
        space.write("corpus/corpus.jsonl", format!("{good}\n\n{line}\n"));
        own_photos(&space, "data show").output()
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
            &["line 3", "`../b.png` leads out of the photo folder", "data.images"],
        ),
    ] {
        line(text).about(what).refused(&[&["corpus.jsonl"], parts].concat());
    }
    space.write("corpus/corpus.jsonl", "");
    own_photos(&space, "data show").output().refused(&["corpus.jsonl", "no images"]);
    space.write("corpus/corpus.jsonl", b"\xff\xfe\x00");
    own_photos(&space, "data show").output().refused(&["corpus.jsonl", "UTF-16"]);
    fs::remove_file(space.path("corpus/corpus.jsonl")).unwrap();
    own_photos(&space, "data show").output().refused(&["corpus.jsonl", "cannot read"]);
    own_photos(&space, "data show").sets(&["data.train=5"]).output().refused(&["data.train", "scenes"]);

    let karpathy = |text: &str| {
        space.write("corpus/d.json", text);
        let config = space.write("k.toml", "[data]\nkind = \"karpathy\"\ncaptions = \"d.json\"\n");
        space.run("data show").config(config).sets(&space.folders()).output()
    };
    let whole = "{\"images\": [\n{\"filename\": \"a.jpg\", \"split\": \"train\", \"sentences\": [{\"raw\": \"x\"}]}\n]}";
    karpathy(whole).succeeded();
    karpathy(&whole[..whole.len() - 3]).refused(&["d.json", "line 2"]);
    karpathy(&whole.replace("train", "dev")).refused(&["d.json", "dev", "line 2", "train"]);
    karpathy(&whole.replace("x", " ")).refused(&["d.json", "a.jpg", "blank"]);
    karpathy("[]").refused(&["d.json", "Karpathy"]);
    let other = whole.replace("\n]}", "\n], \"dataset\": \"coco\"}");
    karpathy(&other).succeeded();
    let config =
        space.write("f.toml", "[data]\nkind = \"karpathy\"\ncaptions = \"d.json\"\nname = \"flickr30k\"\n");
    let named = space.run("data verify").config(config).sets(&space.folders()).output();
    named.refused(&["d.json", "Karpathy's file of `coco`", "flickr30k"]);
}

/// The same corpus with a byte-order mark, with NaN, in other spellings and as one list.
fn captions_files_as_other_tools_write_them_are_read() {
    let space = with_photos();
    let lines = fs::read_to_string(space.path("corpus/corpus.jsonl")).unwrap();
    let folder = space.path("corpus").display().to_string();
    let image = "\"image\":\"";
    assert!(lines.contains(image), "{lines}");
    let list = lines.trim().replace('\n', ",\n");
    for (what, text) in [
        ("a byte-order mark", format!("\u{feff}{lines}")),
        ("NaN", lines.replace(image, "\"score\": -Infinity, \"x\": [NaN], \"image\":\"")),
        ("a dot at the start", lines.replace(image, "\"image\":\"./")),
        ("a folder and back", lines.replace(image, "\"image\":\"x/../")),
        ("absolute paths", lines.replace(image, &format!("\"image\":\"{folder}/"))),
        ("a list", format!("[{list}]")),
        (
            "caption, and captions that are null",
            lines.replace("\"captions\":", "\"captions\":null,\"caption\":"),
        ),
        ("caption beside captions", lines.replace("\"captions\":", "\"caption\":\"other\",\"captions\":")),
    ] {
        space.write("corpus/corpus.jsonl", text);
        own_photos(&space, "data verify").output().about(what).succeeded();
    }
}

fn captions_files_of_another_kind_are_named() {
    let space = Space::new();
    let coco = "{\"images\": [{\"file_name\": \"a.jpg\"}], \"annotations\": [{\"caption\": \"x\"}]}";
    let karpathy =
        "{\"images\": [{\"filename\": \"a.jpg\", \"split\": \"val\", \"sentences\": [{\"raw\": \"x\"}]}]}";
    let line = "{\"image\": \"a.jpg\", \"split\": \"val\", \"captions\": [\"x\"]}\n";
    for (kind, content, part) in [
        ("jsonl", &b"\xff\xfe{\0"[..], "UTF-16"),
        ("jsonl", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("jsonl", b"<!DOCTYPE html>", "web page"),
        ("jsonl", b"\x1f\x8b\x08", "gunzip"),
        ("jsonl", karpathy.as_bytes(), "data.kind = \"karpathy\""),
        ("jsonl", b"{\n\"image\": 1}", "one object a line"),
        (
            "jsonl",
            b"{\"image\": \"https://x.org/a.png\", \"split\": \"val\", \"captions\": [\"x\"]}",
            "web address",
        ),
        ("karpathy", coco.as_bytes(), "dataset_coco.json"),
        ("karpathy", line.repeat(2).as_bytes(), "data.kind = \"jsonl\""),
        ("karpathy", b"PK\x03\x04", "unzip"),
        ("karpathy", b"\xfe\xff\0{", "UTF-16"),
    ] {
        space.write("corpus/captions", content);
        let config = space.write("c.toml", format!("[data]\nkind = \"{kind}\"\ncaptions = \"captions\"\n"));
        let outcome = space.run("data verify").config(config).sets(&space.folders()).output();
        outcome.about(part).refused(&["captions", part]);
    }
}

fn images_without_captions_may_be_left_out() {
    let space = with_photos();
    let lines = fs::read_to_string(space.path("corpus/corpus.jsonl")).unwrap();
    let start = lines.find("\"captions\":").unwrap();
    let end = start + lines[start..].find(']').unwrap() + 1;
    for none in
        ["\"captions\":[]", "\"captions\":null", "\"caption\":\"\"", "\"x\":1", "\"captions\":[\" \",NaN]"]
    {
        space.write("corpus/corpus.jsonl", format!("{}{none}{}", &lines[..start], &lines[end..]));
        own_photos(&space, "data verify").output().refused(&["line 1", "--allow-missing"]);
        let checked = own_photos(&space, "data verify").args(["--allow-missing"]).output().succeeded();
        assert!(checked.stderr.contains("left out: images without captions: 1"), "{checked}");
    }
}

fn a_missing_evaluation_split_is_refused_before_training() {
    let space = with_photos();
    let lines = fs::read_to_string(space.path("corpus/corpus.jsonl")).unwrap();
    space.write("corpus/corpus.jsonl", lines.replace("\"split\":\"test\"", "\"split\":\"train\""));
    own_photos(&space, "train").out("run").output().refused(&["no images", "test split", "eval.split"]);
    assert!(!space.path("run/checkpoints").exists());
    own_photos(&space, "train").sets(&["eval.split=val"]).out("run").output().succeeded();
}

fn a_foreign_corpus_is_not_overwritten() {
    let space = Space::new();
    let mine = space.write("corpus/corpus.jsonl", "{\"image\": \"cat.jpg\"}\n");
    space.dsi::<&str>("data show", &[]).output().refused(&["corpus.jsonl", "choose another folder"]);
    assert_eq!(fs::read_to_string(mine).unwrap(), "{\"image\": \"cat.jpg\"}\n");
}
