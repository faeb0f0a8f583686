//! The main job through the real program: one command from nothing to a table, then questions to what it made.

mod fixture;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Stdio;

use fixture::{IMAGES, Outcome, Space, VARIANTS, json_lines, repository};
use serde_json::{Value, json};

/// Captions a scene has.
const CAPTIONS: usize = 5;

fn trained() -> &'static Space {
    fixture::trained("main_job")
}

fn report(split: &str) -> Value {
    let path = trained().path(&format!("run/eval/tiny-{split}.json"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn keys(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

/// The rows of a report, each as (retriever, stage, query, gallery).
fn settings(report: &Value) -> Vec<[&str; 4]> {
    let rows = report["rows"].as_array().unwrap().iter();
    rows.map(|row| ["retriever", "stage", "query", "gallery"].map(|name| row[name].as_str().unwrap()))
        .collect()
}

/// A report without what a clock decides.
fn timeless(mut report: Value) -> Value {
    for row in report["rows"].as_array_mut().unwrap() {
        row.as_object_mut().unwrap().remove("ms_per_query").unwrap();
    }
    report
}

#[test]
fn one_command_goes_from_nothing_to_a_table() {
    let space = Space::new();
    let outcome = space.dsi("train", &["eval.gallery=split"]).out("run").output().succeeded();
    let rows: Vec<&str> = outcome.stdout.lines().filter(|line| line.starts_with("| ")).collect();
    for (stage, row) in ["R@1", "decoder", "geometry", "rerank", "exact"]
        .iter()
        .zip([rows[0]].into_iter().chain(rows.iter().copied().filter(|row| row.contains("| caption |"))))
    {
        assert!(row.contains(stage), "{outcome}");
    }
    assert!(outcome.stdout.contains("memorisation"), "{outcome}");
    for file in ["config.toml", "metrics.jsonl", "checkpoints/last", "checkpoints/best", "index/index.json"] {
        assert!(space.path("run").join(file).is_file(), "{file}");
    }
    let steps: Vec<u64> =
        json_lines(&space.path("run/metrics.jsonl")).iter().map(|l| l["step"].as_u64().unwrap()).collect();
    assert!(steps.is_sorted() && steps.last() == Some(&(fixture::STEPS as u64)), "{steps:?}");
}

#[test]
fn the_report_has_the_promised_names_and_sane_figures() {
    let report = report_of_test();
    let top = ["version", "dataset", "split", "seed", "encoder", "settings", "rows", "memorisation"];
    assert_eq!(keys(&report), top.into());
    assert_eq!(
        (&report["dataset"], &report["split"], &report["seed"]),
        (&json!("tiny"), &json!("test"), &json!(0))
    );
    assert!((0.0..=1.0).contains(&number(&report["memorisation"])));
    let expected: BTreeSet<[&str; 4]> = ["caption", "image", "view"]
        .into_iter()
        .flat_map(|query| ["split", "corpus"].map(|gallery| (query, gallery)))
        .flat_map(|(query, gallery)| {
            let of = |retriever, stage| [retriever, stage, query, gallery];
            let generative = ["decoder", "geometry", "rerank"].map(|stage| of("generative", stage));
            generative.into_iter().chain([of("adapted", "exact"), of("dense", "exact")])
        })
        .chain(["split", "corpus"].map(|gallery| ["dense", "exact", "image-to-caption", gallery]))
        .collect();
    assert_eq!(settings(&report).into_iter().collect::<BTreeSet<_>>(), expected);
    report["rows"].as_array().unwrap().iter().for_each(assert_sane);
}

fn report_of_test() -> Value {
    report("test")
}

fn assert_sane(row: &Value) {
    let versus = (row["retriever"] != "dense").then_some("versus_dense");
    let names = [
        "retriever",
        "stage",
        "query",
        "gallery",
        "regime",
        "queries",
        "images",
        "folds",
        "recall",
        "recall_ci95",
        "mrr10",
        "ndcg10",
        "median_rank",
        "touched",
        "ms_per_query",
        "files",
    ];
    assert_eq!(keys(row), names.into_iter().chain(versus).collect());
    versus.iter().for_each(|_| assert_sane_difference(row));
    assert_eq!(row["regime"], "transductive");
    let (captions, split) = (row["query"] == "caption", row["gallery"] == "split");
    assert_eq!(row["queries"], if captions { 10 * CAPTIONS } else { 10 }, "{row}");
    let images = if split { 10 } else { IMAGES };
    assert_eq!(row["images"], images, "{row}");
    assert_eq!(
        (keys(&row["recall"]), keys(&row["recall_ci95"])),
        (["1", "5", "10"].into(), ["1", "5", "10"].into())
    );
    let recall = ["1", "5", "10"].map(|k| number(&row["recall"][k]));
    assert!(recall.is_sorted() && recall[0] >= 0.0 && recall[2] <= 1.0, "{row}");
    for (k, recall) in ["1", "5", "10"].iter().zip(recall) {
        let [low, high] = [0, 1].map(|end| number(&row["recall_ci95"][k][end]));
        assert!(0.0 <= low && low <= recall && recall <= high && high <= 1.0, "{row}");
    }
    let [mrr, ndcg] = ["mrr10", "ndcg10"].map(|name| number(&row[name]));
    // A photo has several right captions, and no list of ten is sure to hold them all.
    let described = row["query"] == "image-to-caption";
    assert!(recall[0] <= mrr && (described || mrr <= ndcg) && ndcg <= recall[2], "{row}");
    assert!((1.0..=images as f64).contains(&number(&row["median_rank"])), "{row}");
    let touched = match row["stage"].as_str().unwrap() {
        "decoder" | "geometry" => 0,
        "rerank" => images.min(16),
        _ if described => images * CAPTIONS,
        _ => images,
    };
    assert_eq!(number(&row["touched"]), touched as f64, "{row}");
    assert!(number(&row["ms_per_query"]) >= 0.0);
}

fn assert_sane_difference(row: &Value) {
    let versus = &row["versus_dense"];
    assert_eq!(keys(versus), ["1", "10"].into());
    for k in ["1", "10"] {
        let [delta, p] = ["delta", "p"].map(|name| number(&versus[k][name]));
        let [low, high] = [0, 1].map(|end| number(&versus[k]["ci95"][end]));
        assert!(-1.0 <= low && low <= delta + 1e-12 && delta <= high + 1e-12 && high <= 1.0, "{row}");
        assert!(0.0 < p && p <= 1.0, "{row}");
    }
}

/// Run and qrels, read as `trec_eval` does (score descending, ties by document), say what the report says.
#[test]
fn run_and_qrels_of_every_row_agree_with_the_report() {
    for row in report_of_test()["rows"].as_array().unwrap() {
        assert_files_agree(row, &trained().path("run/eval"));
    }
}

/// Recall by the files of a row, of one fold.
fn assert_files_agree(row: &Value, eval: &std::path::Path) {
    let lines = |name: &Value| -> Vec<Vec<String>> {
        let text = fs::read_to_string(eval.join(name.as_str().unwrap())).unwrap();
        text.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
    };
    let mut lists: BTreeMap<String, Vec<(f64, String)>> = BTreeMap::new();
    for line in lines(&row["files"]["run"]) {
        let [query, _, document, _, score, tag] = <[String; 6]>::try_from(line).unwrap();
        assert_eq!(tag, format!("{}-{}", row["retriever"].as_str().unwrap(), row["stage"].as_str().unwrap()));
        lists.entry(query).or_default().push((score.parse().unwrap(), document));
    }
    let mut right: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for qrel in lines(&row["files"]["qrels"][0]) {
        right.entry(qrel[0].clone()).or_default().insert(qrel[2].clone());
    }
    assert_eq!(right.len(), row["queries"], "{row}");
    for k in [1, 5, 10] {
        let hit = |(query, right): &(&String, &BTreeSet<String>)| {
            let mut list = lists[*query].clone();
            list.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            list.iter().take(k).any(|(_, document)| right.contains(document))
        };
        let recall = right.iter().filter(hit).count() as f64 / right.len() as f64;
        assert!((recall - number(&row["recall"][k.to_string()])).abs() < 1e-12, "R@{k} {recall} {row}");
    }
}

#[test]
fn folds_stand_beside_the_split_and_more_of_them_than_images_are_refused() {
    let space = Space::new();
    fixture::copy(&trained().path("run"), &space.path("run"));
    let eval =
        |set: &str| space.run("eval").of("run").sets(&["eval.gallery=split", set]).args(["--json"]).output();
    let report = eval("eval.folds=5").succeeded().json();
    let rows: Vec<&Value> =
        report["rows"].as_array().unwrap().iter().filter(|r| r["gallery"] == "folds").collect();
    assert_eq!(rows.len(), 5 + 5 + 5 + 1);
    for row in rows {
        assert_eq!((&row["folds"], &row["images"]), (&json!(5), &json!(2)), "{row}");
        assert_eq!(row["files"]["qrels"].as_array().unwrap().len(), 5, "{row}");
        assert_eq!(number(&row["recall"]["10"]), 1.0, "two images, or their ten captions: {row}");
    }
    eval("eval.folds=11").refused(&["eval.folds = 11", "10 images"]);
}

/// Runs that differ in their seed alone become one row; a run without a report is named.
#[test]
fn runs_are_compared() {
    let space = Space::new();
    for run in ["a", "b"] {
        fixture::copy(&trained().path("run/eval"), &space.path(run).join("eval"));
    }
    let path = space.path("b/eval/tiny-test.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"seed\": 0", "\"seed\": 1", 1)).unwrap();
    let table = space.run("compare").args(["a", "b"]).output().succeeded();
    assert_eq!(table.stdout.lines().count(), 2 + 32, "{table}");
    assert!(table.stdout.contains("± 0.0") && table.stdout.contains("| a, b"), "{table}");
    let blocks =
        space.run("compare").args(["a", "b", "--dataset", "tiny", "--json"]).output().succeeded().json();
    let blocks = blocks.as_array().unwrap();
    assert_eq!(blocks.len(), 2 * 4, "galleries × queries");
    for line in blocks.iter().flat_map(|block| block["measured"].as_array().unwrap()) {
        assert_eq!((&line["seeds"], &line["runs"]), (&json!([0, 1]), &json!(["a", "b"])), "{line}");
        assert_eq!(line["recall"]["1"]["sd"], 0.0, "{line}");
    }
    space.run("compare").args(["a", "a"]).output().refused(&["same seed, 0", "--seed"]);
    space.run("compare").args(["a", "none"]).output().refused(&["none", "holds no report"]);
    space.run("compare").args(["a", "--dataset", "coco"]).output().refused(&["coco", "tiny"]);
    space.run("compare").output().refused_with(2, &["RUN"]);
}

/// A photo under two names in two splits stops a training before it starts, in words; a caption only warns.
#[test]
fn leaks_between_splits_are_told_by_name() {
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

/// The same run is measured by its folder and by its data set's name, to the same figures as at its training.
#[test]
fn eval_repeats_the_report_of_training() {
    let space = Space::new();
    fixture::copy(&trained().path("run"), &space.path("runs/tiny"));
    let before = fs::read(space.path("runs/tiny/eval/tiny-test.json")).unwrap();
    let before: Value = serde_json::from_slice(&before).unwrap();
    let by_name = space.run("eval").args(["--dataset", "tiny", "--json"]).output().succeeded();
    assert_eq!(timeless(by_name.json()), timeless(before));
    let file = fs::read(space.path("runs/tiny/eval/tiny-test.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&file).unwrap(), by_name.json());

    let val =
        space.run("eval").of("runs/tiny").args(["--split", "val", "--json"]).output().succeeded().json();
    assert_eq!(val["split"], "val");
    for file in ["tiny-val.json", "tiny-val.run", "tiny-val.qrels"] {
        assert!(space.path("runs/tiny/eval").join(file).is_file(), "{file}");
    }
    let more = ["search.beam=80", "search.rerank=false", "eval.exhaustive=true", "eval.gallery=corpus"];
    let wide = space.run("eval").of("runs/tiny").sets(&more).args(["--json"]).output().succeeded().json();
    let caption = |stage: &'static str| ["generative", stage, "caption", "corpus"];
    assert!(settings(&wide).contains(&caption("exact")) && !settings(&wide).contains(&caption("rerank")));
    let all = |row: &Value| {
        let shares = row["survival"].as_array().unwrap();
        !shares.is_empty() && shares.iter().all(|share| number(share) == 1.0)
    };
    let decoders = wide["rows"].as_array().unwrap().iter().filter(|row| row["stage"] == "decoder");
    assert!(
        decoders.clone().count() == 3 && decoders.clone().all(all),
        "a beam of 80 images loses none: {wide}"
    );
    space.run("eval").of("runs/tiny").args(["--dataset", "flickr8k"]).output().refused(&["tiny", "flickr8k"]);
}

/// What a search returned: (rank, image, score) a hit.
fn hits(outcome: &Outcome) -> Vec<(u64, String, f64)> {
    let hit = |hit: &Value| {
        assert_eq!(keys(hit), ["rank", "image", "file", "score", "docid"].into());
        let docid = hit["docid"].as_array().unwrap();
        assert!(!docid.is_empty() && docid.iter().all(Value::is_u64), "{hit}");
        (hit["rank"].as_u64().unwrap(), hit["image"].as_str().unwrap().to_owned(), number(&hit["score"]))
    };
    outcome.json().as_array().unwrap().iter().map(hit).collect()
}

fn search(args: &[&str]) -> Outcome {
    trained().run("search").of("run").args(args).output()
}

#[test]
fn search_answers_captions_and_photos() {
    let caption = search(&["a red cube left of a ball", "--json"]).succeeded();
    let found = hits(&caption);
    assert_eq!(found.iter().map(|hit| hit.0).collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
    assert!(found.is_sorted_by(|a, b| a.2 >= b.2), "{caption}");
    let images: BTreeSet<&String> = found.iter().map(|hit| &hit.1).collect();
    assert_eq!(images.len(), 10, "no image comes twice");
    for image in images {
        assert!(trained().path("corpus").join(image).is_file(), "{image}");
    }

    let photo = trained().path("corpus/images/scene-000003.png");
    let by_photo = search(&["--image", photo.to_str().unwrap(), "-k", "3", "--json"]).succeeded();
    assert_eq!(hits(&by_photo).len(), 3);

    let table = search(&["a red cube left of a ball", "-k", "4"]).succeeded();
    let lines: Vec<&str> = table.stdout.lines().collect();
    assert_eq!(lines.len(), 2 + 4, "a head and the hits: {table}");
    found.iter().zip(&lines[2..]).for_each(|(hit, line)| assert!(line.contains(&hit.1), "{table}"));
}

/// Asked together with its mirror image, a photo and its mirror image are the same query.
#[test]
fn a_photo_may_ask_with_its_mirror_image() {
    let photo = image::open(trained().path("corpus/images/scene-000003.png")).unwrap();
    let space = Space::new();
    let found = |name: &str, photo: &image::DynamicImage, mirrored: &str| {
        photo.save(space.path(name)).unwrap();
        let path = space.path(name);
        let set = format!("search.mirrored={mirrored}");
        hits(&search(&["--image", path.to_str().unwrap(), "--json", "--set", &set]).succeeded())
    };
    let (ahead, back) = (found("a.png", &photo, "true"), found("b.png", &photo.fliph(), "true"));
    assert_eq!(
        ahead.iter().map(|hit| &hit.1).collect::<Vec<_>>(),
        back.iter().map(|hit| &hit.1).collect::<Vec<_>>()
    );
    assert!(ahead.iter().zip(&back).all(|(a, b)| (a.2 - b.2).abs() < 1e-3), "{ahead:?} {back:?}");
    assert_ne!(ahead, found("a.png", &photo, "false"));
}

#[test]
fn a_list_is_at_most_as_long_as_gallery_and_beam_allow() {
    let wide = search(&["a cube", "-k", "1000", "--set", "search.beam=512", "--json"]).succeeded();
    assert_eq!(hits(&wide).len(), IMAGES);
    assert_eq!(hits(&search(&["a cube", "-k", "1000", "--json"]).succeeded()).len(), 16);
    search(&["a cube", "-k", "0"]).refused(&["search.k = 0", "from 1 to"]);
}

#[test]
fn odd_queries_are_answered_or_refused_in_words() {
    for blank in ["", "  \t\n "] {
        search(&[blank]).refused(&["blank", "at least one word"]);
    }
    let long = "a red cube left of a ball ".repeat(10_000 / 7 + 1);
    assert_eq!(hits(&search(&[&long, "--json"]).succeeded()).len(), 10);
    for other in [
        "一个红色的立方体在球的左边",
        "красный куб слева от шара",
        "🟥🧊",
        "<|endoftext|>",
        &"x".repeat(100_000),
    ] {
        assert_eq!(hits(&search(&[other, "--json"]).succeeded()).len(), 10, "{other:.20}");
    }
    search(&["--", "--starts-with-dashes"]).succeeded();
    search(&["--image", "no-such.png"]).refused(&["no-such.png"]);
    let text = repository("Cargo.toml");
    search(&["--image", text.to_str().unwrap()]).refused(&["Cargo.toml", "is not a JPEG"]);
    search(&[]).refused_with(2, &["CAPTION"]);
    search(&["a cube", "--image", "no-such.png"]).refused_with(2, &["cannot be used with"]);
}

#[test]
fn corpus_and_index_describe_themselves() {
    let counts = trained().dsi::<&str>("data show", &[]).args(["--json"]).output().succeeded().json();
    let short = trained().dsi::<&str>("data", &[]).args(["--json"]).output().succeeded().json();
    assert_eq!(short, counts);
    let of = |images: usize| json!({"images": images, "captions": CAPTIONS * images});
    assert_eq!(counts, json!({"train": of(60), "val": of(10), "test": of(10)}));
    let table = trained().dsi::<&str>("data verify", &[]).output().succeeded();
    assert_eq!(table.stdout.lines().count(), 2 + 3, "{table}");

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

#[test]
fn every_docid_family_and_loss_does_the_whole_job() {
    let space = Space::new();
    for (name, overrides) in VARIANTS {
        let few = [overrides, &["train.steps=3", "eval.gallery=split"]].concat();
        space.dsi("train", &few).out(name).output().succeeded();
        let outcome = space.run("eval").of(name).args(["--json"]).output().succeeded();
        let report = outcome.json();
        let stages: Vec<&str> =
            settings(&report).iter().filter(|s| s[2] == "caption").map(|s| s[1]).collect();
        let grounded =
            name.starts_with("rq") || ["learned", "everything", "tuned", "renamed"].contains(&name);
        let expected: &[_] = match grounded {
            true => &["decoder", "geometry", "rerank", "exact", "exact"],
            false => &["decoder", "rerank", "exact", "exact"],
        };
        assert_eq!(stages, expected, "{name}");
        let rows = report["rows"].as_array().unwrap().iter();
        rows.filter(|row| row["query"] != "image-to-caption").for_each(|row| {
            // All ten images of the split fit into the beam, so each is found at some rank.
            assert_eq!(number(&row["recall"]["10"]), 1.0, "{name} {row}");
        });
    }
}

/// The same photos and captions in tar archives, which nothing unpacks.
#[test]
fn a_corpus_may_lie_in_archives() {
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

/// Nothing to choose a checkpoint by: the last one is taken.
#[test]
fn a_corpus_without_a_val_split_ends_with_its_last_weights() {
    let space = Space::new();
    fixture::copy(&trained().path("corpus"), &space.path("corpus"));
    let lines = fs::read_to_string(space.path("corpus/corpus.jsonl")).unwrap();
    space.write("corpus/corpus.jsonl", lines.replace("\"split\":\"val\"", "\"split\":\"train\""));
    let config = space.write("own.toml", "[data]\nkind = \"jsonl\"\n");
    let train = space.run("train").config(config).sets(fixture::SMALL).sets(&space.folders());
    train.out("run").output().succeeded();
    let [best, last] =
        ["best", "last"].map(|name| fs::read_to_string(space.path("run/checkpoints").join(name)).unwrap());
    assert_eq!(best, last);
}

/// `dsi … | head`: a reader that goes away is no reason to panic.
#[test]
fn a_closed_pipe_is_no_panic() {
    let commands = [
        trained().dsi::<&str>("data show", &[]).args(["--json"]),
        trained().run("search").of("run").args(["a cube"]),
        trained().run("search").of("run").args(["a cube", "--json"]),
    ];
    for mut command in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let process = command.0.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        Outcome::new(format!("{:?}", command.0), process.wait_with_output().unwrap());
    }
}
