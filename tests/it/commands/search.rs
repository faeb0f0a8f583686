//! `dsi search`: captions, photos, odd queries, and a closed pipe.

use std::collections::BTreeSet;
use std::process::Stdio;

use serde_json::Value;

use super::{TABLE_HEAD, keys, number, trained};
use crate::fixture::{IMAGES, Outcome, Space, repository};

tests! {
    search_answers_captions_and_photos,
    a_photo_and_its_mirror_image_are_one_query,
    a_list_is_at_most_as_long_as_gallery_and_beam_allow,
    odd_queries_are_answered_or_refused_in_words,
    a_closed_pipe_is_no_panic,
}

/// The hits of a search: rank, image and score each.
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
    assert_eq!(lines.len(), TABLE_HEAD + 4, "{table}");
    found.iter().zip(&lines[TABLE_HEAD..]).for_each(|(hit, line)| assert!(line.contains(&hit.1), "{table}"));
}

/// With `search.mirrored`, a photo and its mirror image are the same query.
fn a_photo_and_its_mirror_image_are_one_query() {
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

fn a_list_is_at_most_as_long_as_gallery_and_beam_allow() {
    let wide = search(&["a cube", "-k", "1000", "--set", "search.beam=512", "--json"]).succeeded();
    assert_eq!(hits(&wide).len(), IMAGES);
    assert!(wide.stderr.contains("the list has 80 images, not 1000: there are no more"), "{wide}");
    assert_eq!(hits(&search(&["a cube", "-k", "30", "--json"]).succeeded()).len(), 30);
    let beam = search(&["a cube", "-k", "30", "--json", "--retriever", "rerank"]).succeeded();
    assert_eq!(hits(&beam).len(), 16);
    assert!(
        beam.stderr.contains("16 images, not 30: that is all a beam of 16 gives; set search.beam higher"),
        "{beam}"
    );
    assert!(!search(&["a cube", "-k", "16", "--json"]).succeeded().stderr.contains("the list has"));
    let dense = search(&["a cube", "-k", "30", "--json", "--retriever", "dense"]).succeeded();
    assert!(hits(&dense).len() == 30 && !dense.stderr.contains("the list has"), "{dense}");
    search(&["a cube", "-k", "0"]).refused(&["search.k = 0", "from 1 to"]);
}

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

/// `dsi … | head`: the program does not panic when the reader closes the pipe.
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
