//! `dsi data` and kinds of corpora: descriptions, leaks between splits, tar archives.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use super::{CAPTIONS, TABLE_HEAD, number, trained};
use crate::fixture::{self, IMAGES, Space, json_lines};

tests! {
    corpus_and_index_describe_themselves,
    leaks_between_splits_are_reported_by_name,
    a_corpus_in_tar_archives_does_the_whole_job,
}

/// Train, val and test.
const SPLITS: usize = 3;

fn corpus_and_index_describe_themselves() {
    let counts = trained().dsi::<&str>("data show", &[]).args(["--json"]).output().succeeded().json();
    let short = trained().dsi::<&str>("data", &[]).args(["--json"]).output().succeeded().json();
    assert_eq!(short, counts);
    let of = |images: usize| json!({"images": images, "captions": CAPTIONS * images});
    assert_eq!(counts, json!({"train": of(60), "val": of(10), "test": of(10)}));
    let table = trained().dsi::<&str>("data verify", &[]).output().succeeded();
    assert_eq!(table.stdout.lines().count(), TABLE_HEAD + SPLITS, "{table}");

    let space = Space::new();
    let index = space.dsi::<&str>("index", &[]).out("run").args(["--json"]).output().succeeded().json();
    assert_eq!(index["images"], IMAGES);
    let levels = index["levels"].as_array().unwrap();
    assert_eq!(levels.len(), 3 + usize::from(index["suffix"].as_bool().unwrap()));
    for level in levels {
        let [codes, used, perplexity] = ["codes", "used", "perplexity"].map(|name| number(&level[name]));
        assert!(1.0 <= used && used <= codes && (1.0 - 1e-9..=used + 1e-9).contains(&perplexity), "{level}");
    }
    space.dsi::<&str>("train", &[]).out("run").output().succeeded();
}

/// A photo in two splits stops a training before it starts; a caption in two splits only warns.
fn leaks_between_splits_are_reported_by_name() {
    let space = Space::new();
    fixture::copy(&trained().path("corpus"), &space.path("corpus"));
    let lines = json_lines(&space.path("corpus/corpus.jsonl"));
    let of = |split: &str| lines.iter().find(|line| line["split"] == split).unwrap();
    let (seen, held) = (of("train"), of("test"));
    let photo = |line: &Value| space.path("corpus").join(line["image"].as_str().unwrap());
    fs::copy(photo(seen), photo(held)).unwrap();
    let config = space.write("own.toml", "[data]\nkind = \"jsonl\"\n");
    let dsi = |command: &str, set: &str| {
        space
            .run(command)
            .config(&config)
            .sets(fixture::SMALL)
            .sets(&space.folders())
            .sets(&[set, "train.steps=1"])
    };
    let names = [seen, held].map(|line| line["image"].as_str().unwrap());
    let parts = ["1 of 10 test photos", names[0], names[1], "data.on_leak"];
    for command in ["train", "index", "pretrain"] {
        dsi(command, "data.limit=0").out(command).output().refused(&parts);
    }
    let warned = dsi("index", "data.on_leak=warn").out("warned").output().succeeded();
    assert!(warned.stderr.contains("1 of 10 test photos"), "{warned}");
    assert!(!space.path("train/checkpoints").exists() && !space.path("train/index").exists());
}

/// The same photos and captions in tar archives, read without unpacking.
fn a_corpus_in_tar_archives_does_the_whole_job() {
    let (space, corpus) = (Space::new(), trained().path("corpus"));
    let mut shards: BTreeMap<String, tar::Builder<Vec<u8>>> = BTreeMap::new();
    for line in json_lines(&corpus.join("corpus.jsonl")) {
        let [image, split] = ["image", "split"].map(|key| line[key].as_str().unwrap().to_owned());
        let shard = shards.entry(split).or_insert_with(|| tar::Builder::new(Vec::new()));
        let photo = [corpus.join("images"), corpus.clone()].map(|folder| folder.join(&image));
        let photo = fs::read(photo.iter().find(|path| path.exists()).unwrap()).unwrap();
        let about = json!({"captions": line["captions"]}).to_string();
        for (name, bytes) in [(image.clone(), photo), (image.replace(".png", ".json"), about.into_bytes())] {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            shard.append_data(&mut header, name, bytes.as_slice()).unwrap();
        }
    }
    for (split, shard) in shards {
        space.write(&format!("corpus/{split}-000.tar"), shard.into_inner().unwrap());
    }
    let config = space.write("shards.toml", "[data]\nkind = \"webdataset\"\n");
    let run = |command: &str| space.run(command).config(&config).sets(fixture::SMALL).sets(&space.folders());
    let found = run("data verify").args(["--json"]).output().succeeded().json();
    assert_eq!(found["splits"]["train"], json!({"images": 60, "captions": 60 * CAPTIONS}));
    let index = run("index").out("run").args(["--json"]).output().succeeded().json();
    assert_eq!(index["images"], IMAGES);
    run("train").out("run").output().succeeded();
    let hits = space.run("search").of("run").args(["a cube", "--json"]).output().succeeded().json();
    assert!(hits[0]["file"].as_str().unwrap().contains("-000.tar"), "{hits}");
}
