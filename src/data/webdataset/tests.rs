//! Sound and broken archives.

use proptest::prelude::*;

use super::*;
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
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in shards {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    (read(folder.path()), folder)
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
    assert!(refusal("train.tar", &good[1..]).contains("`a` has captions and no photo"));
    assert!(refusal("train.tar", &[good[0], ("a.txt", b"\n")]).contains("no captions"));
    assert!(refusal("train.tar", &[good[0], ("a.json", b"{")]).contains("`a.json` cannot be read: EOF"));
    assert!(refusal("train.tar", &[good[0], ("a.txt", b"\xff")]).contains("`a.txt` cannot be read"));
    assert!(
        refusal("train.tar", &[good[0], good[1], ("b.txt", b"y"), ("b.jpg", b"B"), good[0], good[1]])
            .contains("image 3: image `a.jpg` is already on image 1")
    );
    let text = vec![b'x'; LONGEST as usize + 1];
    assert!(refusal("train.tar", &[good[0], ("a.txt", &text)]).contains("is larger than"));
    let whole = tarred(&[good[1], ("a.jpg", &[7; 5000])]);
    let cut = opened(&[("train.tar", whole[..4000].to_vec())]).0.unwrap_err().to_string();
    assert!(cut.contains("train.tar: is cut short in `a.jpg`"), "{cut}");
    assert!(opened(&[("train.tar", vec![7; 2000])]).0.unwrap_err().to_string().contains("not a tar archive"));
    assert!(opened(&[("a.txt", Vec::new())]).0.unwrap_err().to_string().contains("no .tar archives"));
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
