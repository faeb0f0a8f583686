//! A folder of photos becomes searchable.

use std::fs;

use super::{hits, images, index, search, with_photos};
use crate::fixture::{Space, repository, trained};

tests! {
    a_folder_is_searched_at_once_and_without_its_photos,
    an_interrupted_index_takes_up_its_cache,
    a_folder_is_not_indexed_over_something_else,
    lists_are_filtered_paged_and_explained,
    near_duplicates_are_listed,
}

fn a_folder_is_searched_at_once_and_without_its_photos() {
    let space = with_photos(0, 30);
    let made = index(&space, &[]).succeeded();
    assert!(made.stdout.contains("30 photos indexed"), "{made}");
    assert!(made.stderr.contains("1 files (.txt) are no photos"), "{made}");
    let like = search(&space, &["--like", "odd/deep/7.png", "-k", "4"]);
    assert_eq!(images(&like)[0], "odd/deep/7.png");
    let photo = space.path("photos/even/8.png");
    let by_photo = search(&space, &["--image", photo.to_str().unwrap(), "-k", "1"]);
    assert_eq!(
        (images(&by_photo)[0].as_str(), by_photo.json()[0]["file"].as_str()),
        ("even/8.png", photo.to_str())
    );
    let caption = search(&space, &["a red cube"]);
    assert_eq!(hits(&caption).len(), 10);
    fs::remove_dir_all(space.path("photos")).unwrap();
    fs::create_dir(space.path("elsewhere")).unwrap();
    fs::rename(space.path("run"), space.path("elsewhere/run")).unwrap();
    let moved = space.run("search").of("elsewhere/run").args(["a red cube", "--json"]).output().succeeded();
    assert_eq!(hits(&moved), hits(&caption));
    let many = space
        .run("search")
        .of("elsewhere/run")
        .args(["a red cube", "--json", "-k", "90"])
        .output()
        .succeeded();
    assert_eq!(hits(&many).len(), 30);
    assert!(many.stderr.contains("the list has 30 images, not 90: there are no more"), "{many}");
}

fn an_interrupted_index_takes_up_its_cache() {
    let space = with_photos(0, 12);
    index(&space, &[]).succeeded();
    let first = hits(&search(&space, &["a cube"]));
    fs::remove_dir_all(space.path("run/search")).unwrap();
    let cached = crate::fixture::contents(&space.path("run/cache"));
    index(&space, &[]).succeeded();
    assert_eq!(crate::fixture::contents(&space.path("run/cache")), cached, "nothing is embedded twice");
    assert_eq!(hits(&search(&space, &["a cube"])), first);
    index(&space, &[]).refused(&["holds an index already", "dsi add", "another --out"]);
    index(&space, &["--force"]).succeeded();
    assert_eq!(hits(&search(&space, &["a cube"])), first);
}

fn a_folder_is_not_indexed_over_something_else() {
    let space = with_photos(0, 2);
    space.write("run/notes.txt", "mine");
    index(&space, &["--force"]).refused(&["holds files that are no index of photos"]);
    assert_eq!(fs::read_to_string(space.path("run/notes.txt")).unwrap(), "mine");
    let trained = trained("rq").path("run");
    let before = crate::fixture::contents(&trained);
    let encoder = repository("data/scenes-clip");
    let args =
        ["photos", "--out", trained.to_str().unwrap(), "--force", "--encoder", encoder.to_str().unwrap()];
    space.run("index").args(args).output().refused(&["choose another --out"]);
    assert_eq!(crate::fixture::contents(&trained), before);
    let indexed = with_photos(0, 2);
    index(&indexed, &[]).succeeded();
    let before = crate::fixture::contents(&indexed.path("run"));
    for more in [&[][..], &["--force"], &["--resume"]] {
        let training = indexed.dsi::<&str>("train", &[]).out("run").args(more).output();
        training.refused(&["run holds an index of photos; choose another --out"]);
    }
    assert_eq!(crate::fixture::contents(&indexed.path("run")), before);
    let empty = Space::new();
    empty.write("photos/notes.txt", "no photo");
    index(&empty, &[]).refused(&["holds no photos"]);
    index(&Space::new(), &[]).refused(&["photos", "there is no folder"]);
    index(&with_photos(0, 2), &["--set", "train.steps=3"])
        .refused(&["train.steps says nothing about a folder of photos"]);
}

fn lists_are_filtered_paged_and_explained() {
    let space = with_photos(0, 20);
    index(&space, &[]).succeeded();
    let whole = images(&search(&space, &["a cube", "-k", "20"]));
    let page = images(&search(&space, &["a cube", "-k", "5", "--skip", "10"]));
    assert_eq!(page, whole[10..15]);
    let even = images(&search(&space, &["a cube", "-k", "20", "--only", "even/*"]));
    let expected: Vec<&String> = whole.iter().filter(|name| name.starts_with("even/")).collect();
    assert_eq!(even.iter().collect::<Vec<_>>(), expected);
    let explained = search(&space, &["a cube", "--explain", &whole[3]]).json();
    assert_eq!((&explained["image"], &explained["rank"]), (&whole[3].as_str().into(), &4.into()));
    assert_eq!(explained["levels"].as_array().unwrap().len(), 12);
    let table = space.run("search").of("run").args(["a cube", "--explain", &whole[0]]).output().succeeded();
    assert!(table.stdout.contains("| exact cosine") && table.stdout.contains("of 20"), "{table}");
    let none = space.run("search").of("run").args(["a cube", "--explain", "none.png"]).output();
    none.refused(&["the store has no image none.png"]);
    let fewer = space.run("search").of("run").args(["a cube", "--only", "x*"]).output().succeeded();
    assert!(fewer.stderr.contains("the list has 0 images, not 10: no others have such a name"), "{fewer}");
}

fn near_duplicates_are_listed() {
    let space = with_photos(0, 12);
    fs::copy(space.path("photos/even/4.png"), space.path("photos/copy.png")).unwrap();
    index(&space, &[]).succeeded();
    let found = search(&space, &["--duplicates", "0.99999"]).json();
    let pairs = found.as_array().unwrap();
    assert_eq!(pairs.len(), 1, "{found}");
    let names = [&pairs[0]["image"], &pairs[0]["other"]].map(|name| name.as_str().unwrap());
    assert!(names.contains(&"copy.png") && names.contains(&"even/4.png"), "{found}");
    let table = space.run("search").of("run").args(["--duplicates"]).output().succeeded();
    assert!(table.stdout.contains("copy.png"), "{table}");
}
