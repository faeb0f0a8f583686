//! The search store: a run that is searched by itself, a folder of photos, additions and removals, damage.

mod changes;
mod damage;
mod photos;
mod run;

use std::fs;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::fixture::{Outcome, Space, repository, trained};

pub fn tests() -> Vec<Trial> {
    [changes::tests, damage::tests, photos::tests, run::tests].iter().flat_map(|tests| tests()).collect()
}

/// The images that a search with `--json` printed, best first, and their scores.
fn hits(outcome: &Outcome) -> Vec<(String, f64)> {
    let hit = |hit: &Value| (hit["image"].as_str().unwrap().to_owned(), hit["score"].as_f64().unwrap());
    outcome.json().as_array().unwrap().iter().map(hit).collect()
}

fn images(outcome: &Outcome) -> Vec<String> {
    hits(outcome).into_iter().map(|(image, _)| image).collect()
}

/// A space whose folder `photos` holds scenes `first..last` in two folders, and a file that is no photo.
fn with_photos(first: usize, last: usize) -> Space {
    let space = Space::new();
    space.write("photos/notes.txt", "no photo");
    copy_photos(&space, first, last);
    space
}

/// Copies scenes into the folders `photos/even` and `photos/odd/deep`.
fn copy_photos(space: &Space, first: usize, last: usize) {
    for scene in first..last {
        let folder = if scene % 2 == 0 { "photos/even" } else { "photos/odd/deep" };
        fs::create_dir_all(space.path(folder)).unwrap();
        fs::copy(photo(scene), space.path(folder).join(format!("{scene}.png"))).unwrap();
    }
}

/// The photo of a scene of the trained runs' corpus.
fn photo(scene: usize) -> std::path::PathBuf {
    trained("rq").path(&format!("corpus/images/scene-{scene:06}.png"))
}

/// `dsi index photos --out run` with the encoder of the repository.
fn index(space: &Space, more: &[&str]) -> Outcome {
    let encoder = repository("data/scenes-clip");
    let args = ["photos", "--out", "run", "--encoder", encoder.to_str().unwrap()];
    space.run("index").args(args).args(more).output()
}

/// `dsi search --run run --json`
fn search(space: &Space, args: &[&str]) -> Outcome {
    space.run("search").of("run").args(args).args(["--json"]).output().succeeded()
}
