//! A damaged store is named, and never answers wrongly.

use std::fs;

use dsi::searcher::{Hit, Query, Searcher};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::fixture::{Space, contents, copy, trained};

tests! {
    a_flipped_bit_or_a_missing_end_is_refused_or_changes_nothing,
    a_store_of_another_version_or_encoder_is_refused,
}

const CHANGES: usize = 60;

fn answers(space: &Space) -> dsi::error::Result<Vec<Hit>> {
    let searcher = Searcher::open(space.path("run"))?;
    searcher.search(&Query::like("images/scene-000003.png"), 80)
}

fn a_flipped_bit_or_a_missing_end_is_refused_or_changes_nothing() {
    let space = Space::new();
    copy(&trained("everything").path("run/search"), &space.path("run/search"));
    let sound = answers(&space).unwrap();
    assert_eq!(sound.len(), 80);
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    for (file, bytes) in contents(&space.path("run/search")) {
        let path = space.path("run/search").join(&file);
        for change in 0..CHANGES {
            let mut changed = bytes.clone();
            if change % 3 == 0 {
                changed.truncate(rng.random_range(0..bytes.len()));
            } else {
                changed[rng.random_range(0..bytes.len())] ^= 1 << rng.random_range(0..8);
            }
            fs::write(&path, &changed).unwrap();
            match answers(&space) {
                Ok(found) => assert_eq!(found, sound, "{}", file.display()),
                Err(error) => {
                    let error = error.to_string();
                    let named =
                        [file.to_str().unwrap(), "current.json"].iter().any(|name| error.contains(name));
                    assert!(named, "{}: {error}", file.display());
                }
            }
        }
        fs::write(&path, &bytes).unwrap();
    }
    assert_eq!(answers(&space).unwrap(), sound);
}

fn a_store_of_another_version_or_encoder_is_refused() {
    let space = Space::new();
    copy(&trained("rq").path("run/search"), &space.path("run/search"));
    let search = || space.run("search").of("run").args(["a cube"]).output();
    let current = space.path("run/search/current.json");
    let text = fs::read_to_string(&current).unwrap();
    fs::write(&current, text.replacen("\"version\": 2", "\"version\": 9", 1)).unwrap();
    search().refused(&["current.json", "has format version 9; this program reads version 2"]);
    fs::write(&current, &text).unwrap();
    search().succeeded();
    for name in contents(&space.path("run/search")).into_keys().filter(|name| !name.ends_with("current.json"))
    {
        let file = space.path("run/search").join(&name);
        let bytes = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        search().refused(&[name.to_str().unwrap()]);
        fs::write(&file, bytes).unwrap();
    }
    let tuned = Space::new();
    copy(&trained("tuned").path("run/search"), &tuned.path("run/search"));
    tuned.run("search").of("run").args(["a cube"]).output().refused(&["tuned/encoder"]);
}
