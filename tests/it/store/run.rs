//! A trained run stands alone.

use std::fs;

use dsi::searcher::{Query, Searcher};

use super::{hits, images};
use crate::fixture::{Space, VARIANTS, copy, trained};

tests! {
    the_store_of_every_variant_finds_what_its_retriever_finds,
    a_moved_run_is_searched_without_its_corpus,
    a_searcher_is_shared_by_threads_and_takes_many_queries,
    a_run_without_a_store_is_searched_as_before,
    many_queries_are_answered_line_by_line,
    an_untrained_store_with_equal_codes_finds_its_images,
    a_longer_list_begins_with_the_shorter_one,
    additions_are_not_undone_by_a_training,
}

const CAPTIONS: [&str; 3] = ["a red cube left of a ball", "two green cones", "a small blue thing"];

fn the_store_of_every_variant_finds_what_its_retriever_finds() {
    for (variant, _) in VARIANTS {
        let run = trained(variant);
        for caption in CAPTIONS {
            // Widest, so that the beam loses nothing.
            let args = [caption, "--json", "--set", "search.beam=512"];
            let store = hits(&run.run("search").of("run").args(args).output().succeeded());
            let args = [&args[..], &["--retriever", "rerank"]].concat();
            let retriever = hits(&run.run("search").of("run").args(args).output().succeeded());
            assert_eq!((store.len(), retriever.len()), (10, 10), "{variant}, {caption}");
            for ((name, ours), (_, theirs)) in store.iter().zip(&retriever) {
                // The store keeps embeddings with two bytes a number, so near ones may change places.
                let close = |a: f64, b: f64| (a - b).abs() < 1e-2 * (1.0 + b.abs());
                let same = |(other, score): &(String, f64)| other == name && close(*ours, *score);
                let is_last = close(*ours, retriever[9].1);
                let found = close(*ours, *theirs) && (is_last || retriever.iter().any(same));
                assert!(found, "{variant}, {caption}: {store:?} {retriever:?}");
            }
        }
    }
}

fn a_moved_run_is_searched_without_its_corpus() {
    for variant in ["rq", "tuned"] {
        let space = Space::new();
        copy(&trained(variant).path("run/search"), &space.path("moved/search"));
        if variant == "tuned" {
            copy(&trained(variant).path("run/tuned/encoder"), &space.path("moved/tuned/encoder"));
        }
        let found = space.run("search").of("moved").args([CAPTIONS[0], "--json"]).output().succeeded();
        let before =
            trained(variant).run("search").of("run").args([CAPTIONS[0], "--json"]).output().succeeded();
        assert_eq!(hits(&found), hits(&before), "{variant}");
        let entries: Vec<_> = fs::read_dir(space.path("moved")).unwrap().collect();
        assert_eq!(entries.len(), 1 + usize::from(variant == "tuned"), "a search writes nothing");
    }
}

fn a_searcher_is_shared_by_threads_and_takes_many_queries() {
    fn shared<T: Send + Sync>(_: &T) {}
    let searcher = Searcher::open(trained("rq").path("run")).unwrap();
    shared(&searcher);
    let queries: Vec<Query> = CAPTIONS.iter().map(|caption| Query::text(*caption)).collect();
    let together = searcher.search_all(&queries, 5).unwrap();
    std::thread::scope(|scope| {
        for (query, together) in queries.iter().zip(&together) {
            let searcher = &searcher;
            scope.spawn(move || {
                let alone = searcher.search(query, 5).unwrap();
                assert_eq!(alone.len(), 5);
                let names = |hits: &[dsi::searcher::Hit]| {
                    hits.iter().map(|hit| hit.image.clone()).collect::<Vec<_>>()
                };
                assert_eq!(names(&alone)[0], names(together)[0]);
            });
        }
    });
    let like = searcher.search(&Query::like("images/scene-000003.png"), 1).unwrap();
    assert_eq!(like[0].image, "images/scene-000003.png");
    let bytes = fs::read(super::photo(3)).unwrap();
    let by_bytes = searcher.search(&Query::image_bytes(bytes), 1).unwrap();
    let by_path = searcher.search(&Query::image_path(super::photo(3)), 1).unwrap();
    assert_eq!(by_bytes, by_path);
    let refused = |query: Query| searcher.search(&query, 3).unwrap_err().to_string();
    assert!(refused(Query::like("no such image")).contains("has no image no such image"));
    assert!(refused(Query::vector(vec![1.0; 3])).contains("the query vector has 3 numbers"));
    assert!(refused(Query::vector(vec![0.0; 64])).contains("has no direction"));
    assert!(refused(Query::text("a").not(Query::text("a"))).contains("cancel each other out"));
}

fn a_run_without_a_store_is_searched_as_before() {
    let space = Space::new();
    copy(&trained("rq").path("run"), &space.path("run"));
    let args = [CAPTIONS[0], "--json", "-k", "3"];
    let with_store = space.run("search").of("run").args(args).output().succeeded();
    fs::remove_dir_all(space.path("run/search")).unwrap();
    let without = space.run("search").of("run").args(args).output().succeeded();
    assert_eq!(images(&with_store)[0], images(&without)[0]);
    space.run("search").of("run").args(["--like", "x"]).output().refused(&["holds nothing to search"]);
}

fn many_queries_are_answered_line_by_line() {
    let space = Space::new();
    let photo = super::photo(4);
    let lines = format!(
        "{}\n\n{{\"id\": \"q2\", \"text\": \"{}\"}}\n{{\"image\": {photo:?}}}\n\"quoted\"\n",
        CAPTIONS[0], CAPTIONS[1]
    );
    let file = space.write("queries.jsonl", lines);
    let args = ["--queries", file.to_str().unwrap(), "-k", "2"];
    let found = trained("rq").run("search").of("run").args(args).output().succeeded();
    let lines: Vec<serde_json::Value> =
        found.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<String> = lines.iter().map(|line| line["query"].to_string()).collect();
    assert_eq!(ids, ["1", "\"q2\"", "4", "5"]);
    assert!(lines.iter().all(|line| line["hits"].as_array().unwrap().len() == 2));
    space.write("queries.jsonl", "{\"txt\": \"a dog\"}\n");
    let refused = trained("rq").run("search").of("run").args(args).output();
    refused.refused(&["queries.jsonl, line 1", "unknown field `txt`"]);
    space.write("queries.jsonl", "a cube\n\n{\"image\": \"none.png\"}\na ball\n");
    let half = trained("rq").run("search").of("run").args(args).output();
    assert!(half.error().contains("queries.jsonl, line 3") && half.error().contains("none.png"), "{half}");
    assert_eq!((half.code, half.stdout.lines().count()), (Some(1), 1), "{half}");
    space.write("queries.jsonl", "x".repeat((1 << 20) + 1));
    trained("rq").run("search").of("run").args(args).output().refused(&["line 1", "is longer than"]);
}

/// Images with equal codes have one level more, which has no codebook.
fn an_untrained_store_with_equal_codes_finds_its_images() {
    let space = Space::new();
    copy(&trained("rq").path("corpus"), &space.path("corpus"));
    let few_codes = ["index.levels=2", "index.codes=4", "index.views=0"];
    space.dsi("index", &few_codes).out("run").output().succeeded();
    let docids = fs::read_to_string(space.path("run/index/docids.jsonl")).unwrap();
    let first: serde_json::Value = serde_json::from_str(docids.lines().next().unwrap()).unwrap();
    assert_eq!(first["docid"].as_array().unwrap().len(), 3, "16 docids are too few for 80 images");
    let args = ["--set", "search.rerank=false", "-k", "80", "--json"];
    for scene in 0..20 {
        let name = format!("images/scene-{scene:06}.png");
        let found = space.run("search").of("run").args(["--like", &name]).args(args).output().succeeded();
        let own = hits(&found).into_iter().find(|(image, _)| *image == name).unwrap().1;
        let better = hits(&found).iter().filter(|(_, score)| *score > own + 1e-6).count();
        assert!(better < 30, "{better} of 80 images are nearer to {name} than its own codes");
        assert!(hits(&found).iter().all(|(_, score)| score.abs() <= 1.001), "cosines: {found}");
    }
}

fn a_longer_list_begins_with_the_shorter_one() {
    let list = |args: &[&str]| {
        let set = ["a red cube", "--json", "--set", "search.beam=7"];
        images(&trained("rq").run("search").of("run").args(set).args(args).output().succeeded())
    };
    let whole = list(&["-k", "80"]);
    assert_eq!(whole.len(), 80);
    for (k, skip) in [(1, 0), (7, 0), (10, 0), (5, 5), (20, 33)] {
        let page = list(&["-k", &k.to_string(), "--skip", &skip.to_string()]);
        assert_eq!(page, whole[skip..skip + k], "-k {k} --skip {skip}");
    }
}

fn additions_are_not_undone_by_a_training() {
    let space = Space::new();
    copy(&trained("rq").path("run"), &space.path("run"));
    space.run("remove").args(["run", "images/scene-000003.png"]).output().succeeded();
    copy(&trained("rq").path("corpus"), &space.path("corpus"));
    for (command, more) in [("train", "--resume"), ("train", "--force"), ("index", "--force")] {
        let again = space.dsi::<&str>(command, &[]).out("run").args([more]).output();
        again.refused(&["images were added to run or removed from it"]);
    }
}
