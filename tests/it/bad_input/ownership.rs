//! Folders of somebody else, two commands in one folder, and runs whose surroundings changed: nothing is lost, and
//! nothing is answered wrongly without a word.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use super::{edit, own_run};
use crate::fixture::{Outcome, SMALL, Space, assert_same, contents, copy, repository, wait_until};

tests! {
    folders_of_somebody_else_are_neither_cleared_nor_pruned,
    a_clip_of_somebody_else_is_not_replaced,
    weights_outlive_an_index_that_is_made_again,
    of_two_trainings_in_one_folder_one_is_refused,
    a_killed_owner_is_taken_over,
    a_run_is_searched_from_another_folder_and_nothing_is_made_there,
    lost_and_replaced_photos_are_reported,
    an_edited_configuration_is_refused,
    a_corrected_caption_costs_one_row,
    a_tilde_is_the_home_folder,
}

fn folders_of_somebody_else_are_neither_cleared_nor_pruned() {
    let space = Space::new();
    let theirs = ["config.toml", "eval/x.json", "index/index.bin", "checkpoints/step-1/model.pt"];
    theirs.iter().for_each(|name| _ = space.write(&format!("their/{name}"), "theirs"));
    let before = contents(&space.path("their"));
    for command in ["train", "index"] {
        for force in [&[][..], &["--force"]] {
            let call = space.dsi::<&str>(command, &[]).out("their").args(force);
            call.output().about(command).refused(&[
                "holds config.toml",
                "dsi did not write",
                "another folder",
            ]);
        }
    }
    assert!(before == contents(&space.path("their")));

    space.write("beside/notes.txt", "mine");
    space.write("other/checkpoints/step-1/model.pt", "theirs");
    space
        .dsi::<&str>("train", &[])
        .out("other")
        .output()
        .refused(&["holds checkpoints", "dsi did not write"]);
    space.dsi::<&str>("train", &[]).out("beside").output().succeeded();
    space.write("beside/checkpoints/step-1/model.pt", "mine");
    space.write("beside/eval/notes.md", "mine");
    space.dsi("train", &["seed=3"]).out("beside").args(["--force"]).output().succeeded();
    for kept in ["notes.txt", "checkpoints/step-1/model.pt", "eval/notes.md"] {
        assert_eq!(fs::read_to_string(space.path("beside").join(kept)).unwrap(), "mine");
    }
}

fn a_clip_of_somebody_else_is_not_replaced() {
    let space = Space::new();
    copy(&repository("data/scenes-clip"), &space.path("clip"));
    let pretrain = |out: &str, run: &str, more: &[&str]| {
        let sets = [
            "pretrain.steps=1",
            "pretrain.batch=8",
            "pretrain.width=16",
            "pretrain.heads=2",
            "pretrain.vision_layers=1",
        ];
        let sets: Vec<String> = sets.iter().chain(more).map(|&set| set.to_owned()).collect();
        let sets =
            space.overrides(&[sets, vec![format!("pretrain.out={}", space.path(out).display())]].concat());
        space.run("pretrain").config("configs/scenes.toml").sets(&sets).out(run)
    };
    for force in [&[][..], &["--force"]] {
        let call = pretrain("clip", "first", &[]).args(force);
        call.output().refused(&["pretrain.out", "files that dsi pretrain did not write"]);
    }
    assert_same(&repository("data/scenes-clip"), &space.path("clip"));
    pretrain("new", "one", &[]).output().succeeded();
    let other = || pretrain("new", "two", &["pretrain.lr=1e-4"]);
    other().output().refused(&["pretrain.out", "the CLIP of another configuration"]);
    other().args(["--force"]).output().succeeded();
}

fn weights_outlive_an_index_that_is_made_again() {
    let space = own_run();
    let weights = contents(&space.path("run/checkpoints"));
    space.dsi::<&str>("index", &[]).out("run").args(["--force"]).output().succeeded();
    assert!(weights == contents(&space.path("run/checkpoints")));
    space.run("eval").of("run").output().succeeded();
    let other = || space.dsi("index", &["seed=9"]).out("run").args(["--force"]);
    other().output().refused(&["weights", "another --out", "--discard-weights"]);
    assert!(weights == contents(&space.path("run/checkpoints")));
    other().args(["--discard-weights"]).output().succeeded();
    assert!(!space.path("run/checkpoints").exists());
}

/// Two trainings that start at the same time, with different seeds: the run is whole and of one of them.
fn of_two_trainings_in_one_folder_one_is_refused() {
    let space = Space::new();
    space.dsi::<&str>("data show", &[]).output().succeeded();
    for round in 0..3 {
        let run = format!("run{round}");
        let start = |seed: u64| {
            let mut call = space.dsi("train", &[format!("seed={seed}")]).out(&run).0;
            call.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let outcomes =
            [start(1), start(2)].map(|call| Outcome::new(run.clone(), call.wait_with_output().unwrap()));
        let done: Vec<bool> = outcomes.iter().map(|outcome| outcome.code == Some(0)).collect();
        assert_eq!(done.iter().filter(|done| **done).count(), 1, "{} {}", outcomes[0], outcomes[1]);
        let [first, second] = outcomes;
        let (loser, seed) = if done[0] { (second, 1) } else { (first, 2) };
        assert!(
            ["is in use by dsi train", "holds a run"].iter().any(|part| loser.error().contains(part)),
            "{loser}"
        );
        let config = fs::read_to_string(space.path(&run).join("config.toml")).unwrap();
        assert!(config.contains(&format!("seed = {seed}\n")), "{config}");
        space.run("eval").of(&run).output().succeeded();
    }
}

fn a_killed_owner_is_taken_over() {
    let space = Space::new();
    let mut call = space.dsi("train", &["train.steps=100000"]).out("run").0;
    let mut training = call.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert!(wait_until(&mut training, || space.path("run/checkpoints/last").exists()));
    let refused = space.dsi("train", &["train.steps=100000"]).out("run").args(["--resume"]).output();
    refused.refused(&["run: is in use by dsi train (process", "wait until it ends"]);
    training.kill().unwrap();
    training.wait().unwrap();
    assert!(space.path("run/.lock").exists());
    let resumed = space.dsi("index", &["train.steps=100000"]).out("run").output();
    resumed.refused(&["holds a run already"]);
    assert!(!space.path("run/.lock").exists(), "a dead owner's lock is taken over and given back");
}

fn a_run_is_searched_from_another_folder_and_nothing_is_made_there() {
    let space = Space::new();
    copy(&repository("data/scenes-clip"), &space.path("home/my/clip"));
    let sets = space.overrides(&["data.root=corpus", "encoder.cache=cache", "encoder.path=my/clip"]);
    let within = |command: &str, folder: &str| {
        let mut call = space.run(command);
        call.0.current_dir(space.path(folder));
        call
    };
    fs::create_dir(space.path("away")).unwrap();
    within("train", "home").config("configs/scenes.toml").sets(&sets).out("run").output().succeeded();
    let run = space.path("home/run");
    let search = || within("search", "away").of(&run).args(["a red cube", "-k", "3", "--json"]);
    let there =
        within("search", "home").of(&run).args(["a red cube", "-k", "3", "--json"]).output().succeeded();
    assert_eq!(docids(&search().output().succeeded()), docids(&there));
    assert_eq!(fs::read_dir(space.path("away")).unwrap().count(), 0);
    fs::rename(space.path("home/my"), space.path("home/moved")).unwrap();
    search().output().refused(&["my/clip", "was a local folder", "--set encoder.path=FOLDER"]);
    let clip = format!("encoder.path={}", space.path("home/moved/clip").display());
    assert_eq!(docids(&search().sets(&[clip]).output().succeeded()), docids(&there));
    fs::rename(space.path("home/moved"), space.path("home/my")).unwrap();
    fs::remove_dir_all(space.path("home/corpus")).unwrap();
    assert_eq!(docids(&search().output().succeeded()), docids(&there), "a search needs no corpus");
    let by_retriever = search().args(["--retriever", "rerank"]).output();
    by_retriever.refused(&["does not hold the scenes", "dsi data show"]);
    assert!(!space.path("home/corpus").exists());
}

/// The docids of a search's hits.
fn docids(search: &Outcome) -> Vec<Value> {
    search.json().as_array().unwrap().iter().map(|hit| hit["docid"].clone()).collect()
}

fn lost_and_replaced_photos_are_reported() {
    let space = own_run();
    let search =
        || space.run("search").of("run").args(["a red cube", "--json", "--retriever", "rerank"]).output();
    let before = search().succeeded();
    assert!(!before.stderr.contains("since the index was made"), "{before}");
    let photo = |number: usize| space.path(&format!("corpus/images/scene-{number:06}.png"));
    fs::remove_file(photo(4)).unwrap();
    fs::copy(photo(6), photo(5)).unwrap();
    fs::remove_dir_all(space.path("run/cache")).ok();
    let after = search().succeeded();
    assert_eq!(after.stdout, before.stdout, "the run knows the photos it was made of");
    for part in [
        "1 of 80 photos are gone since",
        "scene-000004.png",
        "1 of 80 photos are replaced",
        "scene-000005.png",
    ] {
        assert!(after.stderr.contains(part), "{part}: {after}");
    }
    let cache = std::path::Path::new(&space.folders()[1]["encoder.cache=".len()..]).to_owned();
    fs::rename(&cache, space.path("kept")).unwrap();
    fs::remove_dir_all(space.path("run/cache")).ok();
    search().refused(&["scene-00000", "its embedding is in no cache"]);
    fs::remove_dir_all(space.path("run/cache")).ok();
    fs::rename(space.path("kept"), &cache).unwrap();
    assert_eq!(search().succeeded().stdout, before.stdout);
}

fn an_edited_configuration_is_refused() {
    let space = own_run();
    let config = space.path("run/config.toml");
    edit(&config, |bytes| {
        let text = String::from_utf8_lossy(bytes).replace("levels = 3", "levels = 2");
        *bytes = text.into_bytes();
    });
    let parts = ["was edited after the run was made", "index.levels: 2 now, 3 when the run was made"];
    for more in [&[][..], &["--retriever", "rerank"]] {
        space.run("search").of("run").args(["a cube"]).args(more).output().refused(&parts);
    }
    fs::write(&config, "").unwrap();
    space.run("eval").of("run").output().refused(&["was edited after the run was made", "train.steps"]);
}

fn a_corrected_caption_costs_one_row() {
    let space = Space::new();
    space.dsi::<&str>("data show", &[]).output().succeeded();
    let config = space.write("jsonl.toml", "[data]\nkind = \"jsonl\"\non_leak = \"warn\"\n");
    let index = || space.run("index").config(&config).sets(SMALL).sets(&space.folders());
    index().out("one").output().succeeded();
    let (before, corpus) = (row_bytes(&space.path("cache")), space.path("corpus/corpus.jsonl"));
    index().out("two").output().succeeded();
    assert_eq!(row_bytes(&space.path("cache")), before, "nothing is embedded twice");
    let text = fs::read_to_string(&corpus).unwrap();
    fs::write(&corpus, text.replacen("\"captions\":[\"", "\"captions\":[\"corrected: ", 1)).unwrap();
    index().out("three").output().succeeded();
    let header_and_record = 12 + 32 + 8 + 4 * 64 + 8;
    assert_eq!(row_bytes(&space.path("cache")) - before, header_and_record);
}

/// Bytes of all cached rows.
fn row_bytes(cache: &Path) -> usize {
    let rows = |path: &Path| path.extension().is_some_and(|end| end == "rows");
    contents(cache).into_iter().filter(|(path, _)| rows(path)).map(|(_, bytes)| bytes.len()).sum()
}

fn a_tilde_is_the_home_folder() {
    let space = Space::new();
    fs::create_dir(space.path("home")).unwrap();
    let within = |mut call: crate::fixture::Program| {
        call.0.env("HOME", space.path("home"));
        call
    };
    within(space.dsi("data show", &["data.root=~/scenes"])).output().succeeded();
    assert!(space.path("home/scenes/corpus.jsonl").exists());
    within(space.dsi("index", &["data.root=~/scenes", "encoder.cache=~/cache"]).args(["--out=~/run"]))
        .output()
        .succeeded();
    assert!(space.path("home/run/index/index.json").exists() && space.path("home/cache").exists());
    assert!(!space.path("~").exists());
    let other = within(space.dsi("data show", &["data.root=~nobody/x"])).output();
    other.refused(&["data.root", "~nobody/x"]);
}
