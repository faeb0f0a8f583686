//! Archives as people's tools write them: names with dots, shards that are not whole, incomplete samples.

use std::io::Cursor;

use serde_json::{Value, json};

use crate::fixture::{Outcome, Space};

tests! {
    names_with_dots_and_leading_dots_are_read,
    shards_that_are_not_whole_are_named_and_the_corpus_is_not_complete,
    names_that_repeat_across_shards_get_the_shard_into_their_ids,
    incomplete_samples_are_refused_with_the_truth_or_left_out_on_demand,
    what_is_not_used_is_counted,
    the_files_of_a_sample_may_be_in_any_order,
}

/// One file of an archive.
type File<'a> = (String, &'a [u8]);

/// A photo that differs with `n`.
fn photo(n: usize) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let colour = [40 * (n % 6) as u8, 30 * (n % 7) as u8, (7 * n % 256) as u8];
    let photo = image::RgbImage::from_pixel(8, 8, image::Rgb(colour));
    photo.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// A tar archive with its end.
fn archive(files: &[File]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

/// An archive of `count` samples; `name` gives the name of the photo and of the captions of the n-th.
fn samples(first: usize, count: usize, name: impl Fn(usize) -> [String; 2]) -> Vec<u8> {
    let photos: Vec<Vec<u8>> = (first..first + count).map(photo).collect();
    let captions: Vec<String> = (first..first + count).map(|n| format!("a square of colour {n}")).collect();
    let files = photos.iter().zip(&captions).enumerate().flat_map(|(n, (photo, caption))| {
        let [photo_name, captions_name] = name(first + n);
        [(photo_name, photo.as_slice()), (captions_name, caption.as_bytes())]
    });
    archive(&files.collect::<Vec<_>>())
}

fn plain(n: usize) -> [String; 2] {
    [format!("p{n}.png"), format!("p{n}.txt")]
}

fn dsi(space: &Space, command: &str, more: &[&str]) -> Outcome {
    let config = space.write("shards.toml", "[data]\nkind = \"webdataset\"\n");
    space.run(command).config(config).sets(&space.folders()).args(more).output()
}

fn verify(space: &Space, more: &[&str]) -> Outcome {
    dsi(space, "data verify", more)
}

fn images(found: &Value) -> [&Value; 3] {
    ["train", "val", "test"].map(|split| &found["splits"][split]["images"])
}

fn names_with_dots_and_leading_dots_are_read() {
    let space = Space::new();
    space
        .write("corpus/train-0.tar", samples(0, 4, |n| [format!("./p{n}.v2.png"), format!("./p{n}.v2.txt")]));
    space.write(
        "corpus/val-0.tar",
        samples(4, 2, |n| [format!("s{n}.input.png"), format!("s{n}.outputs.txt")]),
    );
    space.write("corpus/test-0.tar", samples(6, 2, |n| [format!("./x//p{n}.png"), format!("x/./p{n}.txt")]));
    let found = verify(&space, &["--json"]).succeeded().json();
    assert_eq!(
        (images(&found), &found["unused"]),
        ([&json!(4), &json!(2), &json!(2)], &json!([])),
        "{found}"
    );

    let same = |n: usize| ["png", "txt"].map(|end| format!("IMG.2020.{n}.{end}"));
    space.write("corpus/train-1.tar", samples(8, 2, same));
    verify(&space, &[]).refused(&["train-1.tar", "`IMG` has several photos", "first dot", "rename"]);
}

fn shards_that_are_not_whole_are_named_and_the_corpus_is_not_complete() {
    let space = Space::new();
    space.write("corpus/train-0.tar", samples(0, 4, plain));
    space.write("corpus/test-0.tar", samples(4, 2, plain));
    verify(&space, &[]).succeeded();
    space.write("corpus/train-1.tar", "");
    let whole = samples(6, 2, plain);
    space.write("corpus/train-2.tar", &whole[..whole.len() - 1024]);
    space.write("corpus/train-3.tar", [samples(8, 1, plain), samples(9, 1, plain)].concat());
    space.write("corpus/train-4.tar.gz", "\x1f");
    let mut named = vec!["train-1.tar", "train-2.tar", "train-3.tar", "train-4.tar.gz"];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("nowhere", space.path("corpus/train-5.tar")).unwrap();
        named.push("train-5.tar");
    }
    let checked = verify(&space, &[]);
    assert_eq!(checked.code, Some(1), "{checked}");
    named.push("the corpus is not complete");
    for part in &named {
        assert!(checked.error().contains(part), "{part}: {checked}");
    }
    let found = verify(&space, &["--json"]).json();
    assert_eq!(found["whole"], false, "{found}");
    assert_eq!(found["unused"].as_array().unwrap().len(), named.len() - 1, "{found}");
    let shown = dsi(&space, "data show", &[]).succeeded();
    assert!(shown.stderr.contains("the corpus is not complete: "), "{shown}");
}

fn names_that_repeat_across_shards_get_the_shard_into_their_ids() {
    let space = Space::new();
    let numbered = |n: usize| ["png", "txt"].map(|end| format!("{:09}.{end}", n % 10));
    space.write("corpus/train/00000.tar", samples(0, 6, numbered));
    space.write("corpus/test/00000.tar", samples(10, 2, numbered));
    let found = verify(&space, &["--json"]).succeeded().json();
    assert_eq!(images(&found), [&json!(6), &json!(0), &json!(2)], "{found}");
    let both = archive(&[("a.png".into(), &photo(1)), ("a.txt".into(), b"x"), ("./a.png".into(), &photo(2))]);
    space.write("corpus/train/00001.tar", both);
    verify(&space, &[]).refused(&["00001.tar", "`a.png` occurs twice, as entry 1 and as entry 3"]);
}

fn incomplete_samples_are_refused_with_the_truth_or_left_out_on_demand() {
    let space = Space::new();
    space.write("corpus/train-0.tar", samples(0, 4, plain));
    space.write("corpus/test-0.tar", samples(4, 2, plain));
    let one = photo(9);
    for (what, files, part) in [
        ("no photo", [("q.txt", &b"x"[..]), ("r.cls", b"1")], "`q` has no photo"),
        ("no captions", [("q.png", &one[..]), ("q.cls", b"1")], "`q.txt` or `q.json` is missing"),
        ("null", [("q.png", &one), ("q.json", b"{\"caption\": null}")], "no text is in `q.json`"),
        ("NaN", [("q.png", &one), ("q.json", b"{\"caption\": NaN}")], "no text is in `q.json`"),
        ("an empty one", [("q.png", &one), ("q.json", b"{\"caption\": \"\"}")], "no text is in `q.json`"),
        ("an empty file", [("q.png", &one), ("q.txt", b" \n")], "no text is in `q.txt`"),
    ] {
        let files = files.map(|(name, content)| (name.to_owned(), content));
        space.write("corpus/train-1.tar", archive(&files));
        verify(&space, &[]).about(what).refused(&["train-1.tar", part, "--allow-missing"]);
        let checked = verify(&space, &["--allow-missing"]).about(what).succeeded();
        assert!(checked.stderr.contains("left out: "), "{checked}");
        assert!(checked.stderr.contains(": 1 (train-1.tar/q)"), "{checked}");
    }
    let shown = dsi(&space, "data show", &["--allow-missing"]).succeeded();
    assert!(shown.stderr.contains("left out: images without captions: 1"), "{shown}");
}

fn what_is_not_used_is_counted() {
    let space = Space::new();
    space.write("corpus/train-0.tar", samples(0, 4, plain));
    let (one, two) = (photo(8), photo(9));
    let files: [(&str, &[u8]); 7] = [
        ("a.png", &one),
        ("a.seg.png", &two),
        ("a.json", br#"{"caption": "one", "captions": ["two", "three"], "score": NaN}"#),
        ("a.txt", b"\xef\xbb\xbffour"),
        ("a.cls", b"1"),
        ("._a.png", b"apple"),
        ("b.cls", b"2"),
    ];
    space.write("corpus/test-0.tar", archive(&files.map(|(name, content)| (name.to_owned(), content))));
    space.write("corpus/notes.txt", "");
    let found = verify(&space, &["--json"]).succeeded().json();
    assert_eq!((&found["whole"], images(&found)[2]), (&json!(true), &json!(1)), "{found}");
    assert_eq!(found["splits"]["test"]["captions"], 2);
    let counts: Vec<_> =
        found["unused"].as_array().unwrap().iter().map(|u| [&u["count"], &u["first"]]).collect();
    let of = |count: usize, first: &str| [json!(count), json!(first)];
    let expected = [
        of(1, "notes.txt"),
        of(1, "test-0.tar/._a.png"),
        of(1, "test-0.tar/a.seg.png"),
        of(1, "test-0.tar/a.txt"),
        of(2, "test-0.tar/a.cls"),
        of(1, "test-0.tar/a.json"),
    ];
    assert_eq!(counts, expected.each_ref().map(|[count, first]| [count, first]), "{found}");
    let table = verify(&space, &[]).succeeded();
    assert!(table.stderr.contains("not used: files in archives with other extensions: 2"), "{table}");
    assert!(table.stderr.contains("the corpus is complete: 5 photos"), "{table}");
}

fn the_files_of_a_sample_may_be_in_any_order() {
    let space = Space::new();
    let photos: Vec<_> = (0..4).map(photo).collect();
    let photos = photos.iter().enumerate().map(|(n, photo)| (format!("p{n}.png"), photo.as_slice()));
    let captions = (0..4).map(|n| (format!("p{n}.txt"), &b"a square"[..]));
    space.write("corpus/train-0.tar", archive(&photos.chain(captions).collect::<Vec<_>>()));
    space.write("corpus/test-0.tar", samples(4, 2, plain));
    let found = verify(&space, &["--json"]).succeeded().json();
    assert_eq!(images(&found), [&json!(4), &json!(0), &json!(2)], "{found}");
}
