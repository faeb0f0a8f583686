//! Sound and broken archives.

use std::fs;

use proptest::prelude::*;

use super::archive::LONGEST;
use super::*;
use crate::data::corpus::Split;
use crate::data::photos;
use crate::data::tests::damaged;
use crate::ids::ImageIdx;

fn png(grey: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_pixel(3, 2, image::Rgb([grey; 3]))
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

fn tarred(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

fn opened(shards: &[(&str, Vec<u8>)]) -> (Result<Corpus>, tempfile::TempDir) {
    opened_with(shards, OnBadImage::Error)
}

fn opened_with(shards: &[(&str, Vec<u8>)], on_bad: OnBadImage) -> (Result<Corpus>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in shards {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    (read(folder.path(), on_bad), folder)
}

/// The ids of a corpus of one archive.
fn ids(entries: &[(&str, &[u8])]) -> Vec<String> {
    names(&opened(&[("train.tar", tarred(entries))]).0.unwrap())
}

fn names(corpus: &Corpus) -> Vec<String> {
    corpus.images().map(|image| corpus.id(image).to_owned()).collect()
}

/// Reason, number and first place of what was not used.
fn unused(corpus: &Corpus) -> Vec<(Reason, usize, &str)> {
    corpus.unused().all().iter().map(|unused| (unused.reason, unused.count, unused.first())).collect()
}

fn refusal(name: &str, entries: &[(&str, &[u8])]) -> String {
    opened(&[(name, tarred(entries))]).0.unwrap_err().to_string()
}

#[test]
fn photos_are_read_in_place_with_their_captions() {
    let (a, b, c) = (png(10), png(20), png(30));
    let long = format!("{}/c.png", "deep".repeat(40)); // more than a tar header has room for
    let train: [(&str, &[u8]); 5] = [
        ("x/a.png", &a),
        ("x/a.txt", b"one\n\n two \n"),
        ("x/a.cls", b"7"),
        ("x/b.json", br#"{"caption": "three", "url": "u"}"#),
        ("x/b.PNG", &b),
    ];
    let text = long.replace("png", "txt");
    let val: [(&str, &[u8]); 3] =
        [(&long, &c), (&long.replace("png", "json"), br#"{"captions": []}"#), (&text, b"four")];
    let (corpus, folder) =
        opened(&[("train-000.tar", tarred(&train)), ("val/000.tar", tarred(&val)), ("notes.txt", vec![1])]);
    let corpus = corpus.unwrap();
    let ids: Vec<_> = corpus.images().map(|image| corpus.id(image)).collect();
    assert_eq!(ids, ["x/a.png", "x/b.PNG", long.as_str()]);
    assert_eq!(corpus.captions(), ["one", "two", "three", "four"]);
    assert_eq!(corpus.images_in(Split::Val), [ImageIdx(2)]);
    for (image, grey) in corpus.images().zip([10, 20, 30]) {
        let photo = photos::read(corpus.photo(image).unwrap()).unwrap();
        assert_eq!((photo.dimensions(), photo.get_pixel(0, 0).0), ((3, 2), [grey; 3]));
    }
    assert_eq!(corpus.file(ImageIdx(0)), None);
    let reasons = unused(&corpus).into_iter().map(|(reason, count, _)| (reason, count)).collect::<Vec<_>>();
    assert_eq!(reasons, [(Reason::NoArchive, 1), (Reason::OtherExtension, 1), (Reason::NoCaptionsInJson, 1)]);
    let shown = corpus.photo(ImageIdx(0)).unwrap().to_string();
    assert!(shown.ends_with("train-000.tar/x/a.png"), "{shown}");
    fs::write(folder.path().join("train-000.tar"), b"short").unwrap();
    let gone = photos::read(corpus.photo(ImageIdx(0)).unwrap()).unwrap_err().to_string();
    assert!(gone.contains("x/a.png: is cut short"), "{gone}");
}

#[test]
fn mistakes_are_named() {
    let good: [(&str, &[u8]); 2] = [("a.jpg", b"A"), ("a.txt", b"x")];
    for name in ["0000.tar", "training.tar", "train-val.tar"] {
        assert!(refusal(name, &good).contains("says no split, or several: have one of train"), "{name}");
    }
    assert!(refusal("train.tar", &good[..1]).contains("`a.jpg` has no captions: `a.txt` or `a.json`"));
    let no_photo = refusal("train.tar", &[good[1], ("a.gif", b"G")]);
    assert!(
        no_photo.contains("`a` has no photo (jpg, jpeg, png, webp): its files are `a.txt`, `a.gif`; add")
    );
    assert!(no_photo.contains("--allow-missing"), "{no_photo}");
    assert!(refusal("train.tar", &[good[0], ("a.txt", b"\n")]).contains("no captions"));
    assert!(refusal("train.tar", &[good[0], ("a.json", b"{")]).contains("`a.json` cannot be read: EOF"));
    assert!(refusal("train.tar", &[good[0], ("a.txt", b"\xff")]).contains("`a.txt` is not UTF-8 text"));
    let null = refusal("train.tar", &[good[0], ("a.json", b"{\"caption\": null}")]);
    assert!(
        null.contains("`a.jpg` has no captions: no text is in `a.json`") && null.contains("--allow-missing")
    );
    let blank = refusal("train.tar", &[good[0], ("a.json", b"{\"captions\": [\"x\", NaN]}")]);
    assert!(blank.contains("train.tar/a.jpg: caption 2 of image `a.jpg` is blank, null or NaN"), "{blank}");
    let twice =
        refusal("train.tar", &[good[0], good[1], ("b.txt", b"y"), ("b.jpg", b"B"), ("./a.jpg", b"A")]);
    assert!(twice.contains("`a.jpg` occurs twice, as entry 1 and as entry 5"), "{twice}");
    let html = opened(&[("train.tar", b"<!doctype html>\n".to_vec())]).0.unwrap_err().to_string();
    assert!(html.contains("train.tar: is a web page"), "{html}");
    let text = vec![b'x'; LONGEST as usize + 1];
    assert!(refusal("train.tar", &[good[0], ("a.txt", &text)]).contains("is larger than"));
    let whole = tarred(&[good[1], ("a.jpg", &[7; 5000])]);
    let cut = opened(&[("train.tar", whole[..4000].to_vec())]).0.unwrap_err().to_string();
    assert!(cut.contains("train.tar: is cut short in `a.jpg`"), "{cut}");
    assert!(opened(&[("train.tar", vec![7; 2000])]).0.unwrap_err().to_string().contains("not a tar archive"));
    assert!(opened(&[("a.txt", Vec::new())]).0.unwrap_err().to_string().contains("no .tar archives"));
}

#[test]
fn names_with_dots_belong_to_their_sample() {
    for names in [["p.v2.png", "p.v2.txt"], ["p.input.jpg", "p.outputs.txt"], ["p.input.jpg", "p.json"]] {
        let caption: &[u8] = if names[1].ends_with("txt") { b"x" } else { b"{\"caption\": \"x\"}" };
        assert_eq!(ids(&[(names[0], b"A"), (names[1], caption)]), [names[0]]);
    }
    let shard = tarred(&[
        ("a.png", b"A"),
        ("a.seg.png", b"S"),
        ("a.en.txt", b"other"),
        ("a.txt", b"mine"),
        ("a.meta.json", b"{\"caption\": \"other\"}"),
        ("a.boxes.json", b"[1]"),
        ("a.cls", b"1"),
    ]);
    let (corpus, _folder) = opened(&[("train.tar", shard)]);
    let corpus = corpus.unwrap();
    assert_eq!((names(&corpus), corpus.captions()), (vec!["a.png".to_owned()], &["mine".to_owned()][..]));
    assert_eq!(
        unused(&corpus),
        [
            (Reason::FurtherPhoto, 1, "train.tar/a.seg.png"),
            (Reason::FurtherCaptions, 2, "train.tar/a.en.txt"),
            (Reason::NoCaptionsInJson, 1, "train.tar/a.boxes.json"),
            (Reason::OtherExtension, 1, "train.tar/a.cls"),
        ]
    );
}

#[test]
fn what_is_left_undecided_is_refused_with_the_rule() {
    let two =
        refusal("train.tar", &[("IMG.2020.01.png", b"A"), ("IMG.2020.02.png", b"B"), ("IMG.txt", b"x")]);
    assert!(
        two.contains("the sample `IMG` has several photos: `IMG.2020.01.png`, `IMG.2020.02.png`"),
        "{two}"
    );
    assert!(
        two.contains("ends at the first dot") && two.contains("rename IMG.2020.01.png to IMG-2020-01.png")
    );
    let plain = refusal("train.tar", &[("a.jpg", b"A"), ("a.png", b"B"), ("a.txt", b"x")]);
    assert!(plain.contains("several photos: `a.jpg`, `a.png`; remove those that do not count"), "{plain}");
    let texts = refusal("train.tar", &[("a.jpg", b"A"), ("a.en.txt", b"x"), ("a.de.txt", b"y")]);
    assert!(texts.contains("several captions files: `a.en.txt`, `a.de.txt`"), "{texts}");
}

#[test]
fn spellings_of_names_are_equal_and_files_may_be_in_any_order() {
    let (a, b): (&[u8], &[u8]) = (b"x", b"y");
    let entries = [("./a.png", b"A" as &[u8]), (".//x/./b.png", b"B"), ("x/c/../b.txt", b), ("a.txt", a)];
    let (corpus, _folder) = opened(&[("train.tar", renamed(&entries))]);
    let corpus = corpus.unwrap();
    assert_eq!(
        (names(&corpus), corpus.captions()),
        (vec!["a.png".into(), "x/b.png".into()], &["x".into(), "y".into()][..])
    );
    let outside =
        opened(&[("train.tar", renamed(&[("../a.png", a), ("../a.txt", a)]))]).0.unwrap_err().to_string();
    assert!(outside.contains("the name `../a.png` leads out of the archive"), "{outside}");
    let absolute = opened(&[("train.tar", renamed(&[("/d/a.png", a), ("/d/a.txt", a)]))]).0.unwrap();
    assert_eq!(names(&absolute), ["d/a.png"]);
}

/// As [`tarred`], with names that the builder of the crate would refuse.
fn renamed(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn the_archive_is_part_of_the_id_where_a_name_repeats() {
    let pair = |name: &str| tarred(&[(&format!("{name}.png"), b"A"), (&format!("{name}.txt"), b"x")]);
    let (corpus, folder) =
        opened(&[("train/0.tar", pair("000")), ("test-0.tar", pair("000")), ("train/1.tar", pair("001"))]);
    assert_eq!(names(&corpus.unwrap()), ["test-0/000.png", "train/0/000.png", "001.png"]);
    std::fs::hard_link(folder.path().join("train/1.tar"), folder.path().join("train/2.tar")).unwrap();
    let corpus = read(folder.path(), OnBadImage::Error).unwrap();
    assert_eq!(names(&corpus)[2..], ["train/1/001.png", "train/2/001.png"]);
}

#[test]
fn incomplete_samples_are_left_out_and_counted_on_demand() {
    let shard = tarred(&[
        ("a.png", b"A"),
        ("a.txt", b"x"),
        ("b.txt", b"y"),
        ("c.png", b"C"),
        ("d.png", b"D"),
        ("d.json", b"{\"caption\": NaN}"),
        ("e.png", b"E"),
        ("e.json", b"{"),
    ]);
    let (corpus, _folder) = opened_with(&[("train.tar", shard)], OnBadImage::Skip);
    let corpus = corpus.unwrap();
    assert_eq!(names(&corpus), ["a.png"]);
    let broken = "train.tar/e: `e.json` cannot be read: EOF while parsing an object at line 1 column 1";
    assert_eq!(
        unused(&corpus),
        [
            (Reason::NoPhoto, 1, "train.tar/b"),
            (Reason::NoCaptions, 2, "train.tar/c"),
            (Reason::Unreadable, 1, broken),
        ]
    );
}

#[test]
fn what_is_no_sample_is_counted() {
    let (a, x): (&[u8], &[u8]) = (b"A", b"x");
    let good =
        tarred(&[("a.png", a), ("a.txt", x), ("._a.png", a), (".b.png", a), ("README", x), ("l.cls", x)]);
    let mut folder_entry = tar::Builder::new(Vec::new());
    folder_entry.append_dir("x", ".").unwrap();
    let (corpus, _folder) = opened(&[
        ("train.tar", good.clone()),
        ("test-empty.tar", folder_entry.into_inner().unwrap()),
        ("val-zeros.tar", vec![0; 10_240]),
        ("._train.tar", vec![1]),
        ("train.tar.gz", vec![1]),
        ("notes.txt", vec![1]),
        ("x/deep/train.tar", good),
    ]);
    let corpus = corpus.unwrap();
    assert_eq!(
        unused(&corpus),
        [
            (Reason::DeepFolder, 1, "x/deep"),
            (Reason::Apple, 2, "._train.tar"),
            (Reason::NoArchive, 2, "notes.txt"),
            (Reason::Folder, 1, "test-empty.tar/x"),
            (Reason::Hidden, 1, "train.tar/.b.png"),
            (Reason::OtherExtension, 2, "train.tar/README"),
            (Reason::NoEntries, 1, "val-zeros.tar"),
        ]
    );
    assert_eq!(corpus.unused().describe(Weight::Damage), None);
}

#[test]
fn what_is_not_whole_is_named() {
    let whole = tarred(&[("a.png", b"A"), ("a.txt", b"x")]);
    let files = whole.len() - 1024; // without the two zero blocks
    let (corpus, folder) = opened(&[
        ("train-0.tar", whole.clone()),
        ("train-1.tar", Vec::new()),
        ("train-2.tar", whole[..files].to_vec()),
        ("train-3.tar", whole[..files + 512].to_vec()),
        ("train-4.tar", [&whole[..], &whole[..]].concat()),
        ("train-5.tar.gz", vec![1]),
        ("train-6.tar.part", vec![1]),
    ]);
    assert_eq!(corpus.unwrap().len(), 4);
    #[cfg(unix)]
    std::os::unix::fs::symlink("nowhere.tar", folder.path().join("train-7.tar")).unwrap();
    let corpus = read(folder.path(), OnBadImage::Error).unwrap();
    let damage = corpus.unused().describe(Weight::Damage).unwrap();
    for part in [
        "links to nothing: 1 (train-7.tar)",
        "have to be unpacked to .tar: 1 (train-5.tar.gz)",
        "not downloaded completely: 1 (train-6.tar.part)",
        "0 bytes: 1 (train-1.tar)",
        "cut short: 2 (train-2.tar, train-3.tar)",
        "not with cat): 1 (train-4.tar)",
    ] {
        assert!(damage.contains(part), "{part}: {damage}");
    }
}

#[cfg(unix)]
#[test]
fn links_in_archives_are_said_to_be_links() {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, "a.png", "/data/a.png").unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    tar.append_data(&mut header, "a.txt", &b"x"[..]).unwrap();
    let shard = tar.into_inner().unwrap();
    let refused = opened(&[("train.tar", shard)]).0.unwrap_err().to_string();
    assert!(refused.contains("`a.png` is a link, which is not followed in archives"), "{refused}");
}

proptest! {
    #[test]
    fn damaged_archives_never_panic(flips: Vec<(usize, u8)>, cut: usize) {
        let whole = tarred(&[("a.jpg", b"A"), ("a.txt", b"x"), ("b.json", br#"{"caption": "y"}"#), ("b.png", b"B")]);
        if let (Ok(corpus), _folder) = opened(&[("test.tar", damaged(&whole, &flips, cut))]) {
            corpus.images().for_each(|image| _ = photos::read(corpus.photo(image).unwrap()));
        }
    }
}
