//! Additions, removals, and what a crash in one of them leaves.

use std::fs;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{copy_photos, hits, images, index, photo, search, with_photos};
use crate::fixture::{Outcome, Space, contents, copy, trained};

tests! {
    photos_are_added_replaced_removed_and_put_together,
    odd_changes_are_refused_and_change_nothing,
    a_photo_is_added_to_a_trained_run,
    a_killed_addition_leaves_the_one_before_or_after,
    names_are_names_before_they_are_patterns,
    photos_are_known_by_whatever_path,
}

fn add(space: &Space, paths: &[&str]) -> Outcome {
    space.run("add").args(["run"]).args(paths).output()
}

fn photos_are_added_replaced_removed_and_put_together() {
    let space = with_photos(0, 20);
    index(&space, &[]).succeeded();
    copy_photos(&space, 20, 30);
    let added = add(&space, &["photos"]).succeeded();
    assert!(
        added.stdout.contains("10 images added, 0 replaced") && added.stdout.contains("20 were there"),
        "{added}"
    );
    let again = add(&space, &["photos"]).succeeded();
    assert!(again.stdout.contains("0 images added") && again.stdout.contains("30 were there"), "{again}");
    assert_eq!(images(&search(&space, &["--like", "odd/deep/25.png", "-k", "1"])), ["odd/deep/25.png"]);

    fs::copy(photo(40), space.path("photos/even/4.png")).unwrap();
    let replaced = add(&space, &["photos/even"]).succeeded();
    assert!(replaced.stdout.contains("0 images added, 1 replaced"), "{replaced}");
    let by_photo = search(&space, &["--image", photo(40).to_str().unwrap(), "-k", "1"]);
    assert_eq!(images(&by_photo), ["even/4.png"]);

    let removed = space.run("remove").args(["run", "even/2?.png", "odd/deep/1.png"]).output().succeeded();
    assert!(removed.stdout.contains("6 images removed"), "{removed}");
    let all = search(&space, &["a cube", "-k", "100"]);
    assert_eq!(images(&all).len(), 24);
    assert!(!images(&all).contains(&"even/20.png".to_owned()));
    let compacted = space.run("compact").args(["run"]).output().succeeded();
    assert!(compacted.stdout.contains("3 parts became one"), "{compacted}");
    assert_eq!(hits(&search(&space, &["a cube", "-k", "100"])), hits(&all));
    let segments = fs::read_dir(space.path("run/search")).unwrap().count();
    assert_eq!(segments, 4, "current, model, vectors, one segment");
}

fn odd_changes_are_refused_and_change_nothing() {
    let space = with_photos(0, 6);
    space.run("add").args(["run", "photos"]).output().refused(&["run", "holds nothing to search"]);
    assert!(!space.path("run").exists());
    index(&space, &[]).succeeded();
    let before = contents(&space.path("run/search"));
    let remove = |names: &[&str]| space.run("remove").args(["run"]).args(names).output();
    remove(&["even/0.png", "none.png", "x*"]).refused(&["has no image none.png, x*; nothing was removed"]);
    add(&space, &["none.jpg"]).refused(&["none.jpg"]);
    add(&space, &["photos/notes.txt"]).refused(&["notes.txt"]);
    fs::create_dir_all(space.path("other/even")).unwrap();
    fs::copy(photo(9), space.path("other/even/0.png")).unwrap();
    add(&space, &["other"]).refused(&["two photos would be called even/0.png"]);
    assert_eq!(contents(&space.path("run/search")), before);
    let tree = trained("tree").path("run/search");
    copy(&tree, &space.path("tree/search"));
    let args = ["tree", "photos"];
    space.run("add").args(args).output().refused(&["docids of this run are not made from embeddings"]);
}

fn a_photo_is_added_to_a_trained_run() {
    let space = with_photos(0, 1);
    copy(&trained("rq").path("run/search"), &space.path("run/search"));
    fs::create_dir_all(space.path("new")).unwrap();
    let mirrored = image::open(photo(5)).unwrap().fliph();
    mirrored.save(space.path("new/mirrored.png")).unwrap();
    let added = add(&space, &["new"]).succeeded();
    assert!(added.stdout.contains("1 images added"), "{added}");
    let found = search(&space, &["--image", space.path("new/mirrored.png").to_str().unwrap(), "-k", "2"]);
    assert!(images(&found).contains(&"mirrored.png".to_owned()), "{found}");
}

/// The store is the one before or the one after, whenever the process dies.
fn a_killed_addition_leaves_the_one_before_or_after() {
    let space = with_photos(0, 8);
    index(&space, &[]).succeeded();
    copy_photos(&space, 8, 24);
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let count = || images(&search(&space, &["a cube", "-k", "100"])).len();
    for _ in 0..12 {
        let mut process = space.run("add").args(["run", "photos"]);
        // Inside a write: no file may have more than some KiB.
        let script = format!("ulimit -f {}; \"$@\"", rng.random_range(1..40));
        process = crate::fixture::Program(process.in_bash(&script));
        process.0.output().unwrap();
        assert!([8, 24].contains(&count()));
    }
    let added = add(&space, &["photos"]).succeeded();
    assert!(added.stdout.contains("24 were there") || added.stdout.contains("16 images added"), "{added}");
    assert_eq!(count(), 24);
}

fn names_are_names_before_they_are_patterns() {
    let space = with_photos(0, 1);
    for (scene, name) in [(1, "a[1].png"), (2, "a1.png"), (3, "b?.png"), (4, "bc.png")] {
        fs::copy(photo(scene), space.path("photos").join(name)).unwrap();
    }
    index(&space, &[]).succeeded();
    let remove = |name: &str| space.run("remove").args(["run", name]).output().succeeded().stdout;
    assert!(remove("a[1].png").contains("1 images removed"));
    assert!(remove("b?.png").contains("1 images removed"));
    let left = images(&search(&space, &["a cube", "-k", "9"]));
    assert!(["a1.png", "bc.png"].iter().all(|name| left.contains(&(*name).to_owned())), "{left:?}");
    assert!(remove("b?.png").contains("1 images removed"), "now a pattern");
}

#[cfg(unix)]
fn photos_are_known_by_whatever_path() {
    let space = with_photos(0, 4);
    std::os::unix::fs::symlink(space.path("photos"), space.path("link")).unwrap();
    index(&space, &[]).succeeded();
    for path in ["link", "./photos/../photos", "link/even", "photos/../link/even/0.png"] {
        let added = add(&space, &[path]).succeeded();
        assert!(added.stdout.contains("0 images added, 0 replaced"), "{path}: {added}");
    }
    fs::copy(photo(9), space.path("photos/even/0.png")).unwrap();
    assert!(add(&space, &["link/even"]).succeeded().stdout.contains("0 images added, 1 replaced"));
}

#[cfg(not(unix))]
fn photos_are_known_by_whatever_path() {}
