//! Reads dsi's own corpus file: one JSON object a line for each image.
//!
//! `{"image": "images/a.jpg", "split": "train", "captions": ["a dog", "a brown dog"]}`
//!
//! `image` is both the id and the path of the photo, relative to the photo folder; `split` is `train`, `val`,
//! `test` or `restval`. Blank lines are skipped and other keys ignored. A single JSON list of such objects is read too,
//! and so is one caption, also under `caption`. In a folder of features the same file
//! names the rows of `images.npy` and `captions.npy`, in order ([`corpus_embeddings`](super::corpus_embeddings)).

use std::path::Path;

use serde::Deserialize;

use super::corpus::captions::{Captions, Chosen};
use super::corpus::photo_path::slashed;
use super::corpus::unused::Reason;
use super::corpus::{Builder, Corpus, Entry, Split};
use super::json;
use crate::data::settings::OnBadImage;
use crate::error::{Error, Result};
use crate::{file_io, known_heads};

/// Bytes of the largest file: room for two million images with five captions each.
const MAX_BYTES: u64 = 1 << 30;
const MAX_LINE_BYTES: usize = 1 << 20;
/// Bytes at the start of a file that say what it is.
const HEAD: usize = 4096;
const EXPECTED: &str = "expected {\"image\": …, \"split\": …, \"captions\": […]}";

#[derive(Deserialize)]
struct Image {
    image: String,
    split: Split,
    captions: Option<Captions>,
    caption: Option<Captions>,
}

/// Reads the file `source`. `photos` is the folder of its photos; `None` for a corpus of features. `on_bad` says what to
/// do with an image without captions; a corpus of features leaves none out, because its rows have an order.
///
/// # Errors
/// When the file cannot be read, a line is not such an object or longer than 1 MiB, or holds an image that
/// [`Builder::push`] refuses: the message names the line.
pub fn read(source: &Path, photos: Option<&Path>, on_bad: OnBadImage) -> Result<Corpus> {
    let bytes = file_io::read(source, MAX_BYTES)?;
    let text = json::without_bom(&bytes);
    let is_list = text.trim_ascii_start().starts_with(b"[");
    let on_bad = if photos.is_some() { on_bad } else { OnBadImage::Error };
    let mut corpus = Builder::new(source, if is_list { "image" } else { "line" }, photos).on_bad(on_bad);
    if is_list {
        for (position, image) in (1..).zip(list(source, text)?) {
            push(&mut corpus, position, image, photos.is_some())?;
        }
        return corpus.build();
    }
    for (line, text) in (1..).zip(text.split(|&byte| byte == b'\n')) {
        if !text.trim_ascii().is_empty() {
            let image = parse(text).map_err(|what| wrong_line(source, &bytes, line, what))?;
            push(&mut corpus, line, image, photos.is_some())?;
        }
    }
    corpus.build()
}

/// The images of a file that is one JSON list.
fn list(source: &Path, text: &[u8]) -> Result<Vec<Image>> {
    json::read(text).map_err(|fault| {
        let what = format!("{} (column {}); in a list of images, {EXPECTED}", fault.what, fault.column);
        Error::line(source, fault.line, what)
    })
}

fn push(corpus: &mut Builder, position: usize, image: Image, has_photos: bool) -> Result<()> {
    let Image { image, split, captions, caption } = image;
    let file = corpus.photo_path(position, Path::new(&image))?;
    let id = if has_photos { slashed(&file) } else { image };
    let Chosen { captions, passed_over } = Captions::choose(captions, caption);
    if passed_over {
        corpus.unused().add(Reason::FurtherKey, format!("`{id}`"));
    }
    corpus.push(position, Entry { id, file, split, captions })
}

fn parse(line: &[u8]) -> Result<Image, String> {
    if line.len() > MAX_LINE_BYTES {
        return Err(format!("is {} bytes long; {MAX_LINE_BYTES} are allowed, one image a line", line.len()));
    }
    json::read(line).map_err(|fault| {
        // The JSON reader gets one line, so its "line 1" would mislead.
        let place = format!("{} (column {})", fault.what, fault.column);
        let hint = "the object must end on its own line (jq -c writes one object a line)";
        if fault.ends_early { format!("{place}; {hint}; {EXPECTED}") } else { format!("{place}; {EXPECTED}") }
    })
}

/// The error about a line, or about the whole file if its start says that it is another kind of file.
fn wrong_line(source: &Path, bytes: &[u8], line: usize, what: String) -> Error {
    let head = &bytes[..bytes.len().min(HEAD)];
    if let Some(what) = known_heads::describe(head) {
        return Error::file(source, what);
    }
    let holds = |key: &[u8]| head.windows(key.len()).any(|bytes| bytes == key);
    if holds(b"\"images\"") && !holds(b"\"image\"") {
        let what = "looks like Karpathy's JSON, one object for all images; it needs data.kind = \"karpathy\"";
        return Error::file(source, what);
    }
    Error::line(source, line, what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::damaged;
    use super::*;
    use crate::ids::ImageIdx;

    const TWO: &str = concat!(
        "\n{\"image\": \"x/a.png\", \"split\": \"train\", \"captions\": [\"a\", \"b\"], \"more\": 1}\r\n",
        " \n{\"image\": \"b.png\", \"split\": \"val\", \"captions\": [\"c\"]}",
    );

    fn parse_all(text: &[u8]) -> Result<Corpus> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("corpus.jsonl");
        std::fs::write(&path, text).unwrap();
        read(&path, None, OnBadImage::Error)
    }

    fn in_photos(text: &str, on_bad: OnBadImage) -> Result<Corpus> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("corpus.jsonl");
        std::fs::write(&path, text).unwrap();
        read(&path, Some(folder.path()), on_bad)
    }

    #[test]
    fn other_spellings_of_the_same_corpus_are_read() {
        let plain = parse_all(TWO.as_bytes()).unwrap();
        let list = format!("[{}]", TWO.trim().replace("}\r\n \n", "}, "));
        for text in [
            format!("\u{feff}{}", TWO.trim_start()),
            TWO.replace("\"more\": 1", "\"more\": NaN"),
            TWO.replace("[\"c\"]", "\"c\""),
            TWO.replace("\"captions\": [\"c\"]", "\"captions\": null, \"caption\": \"c\""),
            format!("\u{feff}\n {list}"),
        ] {
            assert_eq!(parse_all(text.as_bytes()).unwrap().fingerprint(), plain.fingerprint(), "{text}");
        }
        let text = TWO.replace("x/a.png", "./x//y/../a.png");
        let corpus = in_photos(&text, OnBadImage::Error).unwrap();
        assert_eq!(corpus.fingerprint(), plain.fingerprint());
        assert!(corpus.file(ImageIdx(0)).unwrap().ends_with("x/a.png"));
    }

    #[test]
    fn other_files_are_named() {
        let what = |bytes: &[u8]| parse_all(bytes).unwrap_err().to_string();
        assert!(what(b"\xff\xfe{\0").contains("corpus.jsonl: is UTF-16 text"));
        assert!(what(b"version https://git-lfs.github.com/spec/v1\noid").contains("git lfs pull"));
        assert!(what(b"{\"images\": [{\"filename\": \"a.png\"}]}").contains("data.kind = \"karpathy\""));
        assert!(what(b"{\n\"image\": \"a.png\"\n}").contains("line 1: EOF while parsing an object"));
        assert!(what(b"[{\"image\": \"a\",\n\"split\": 1}]").contains("line 2: "));
        assert!(what(b"{\"image\": \"caf\xe9\"}").contains("line 1: is not UTF-8 text"));
        let nan = what(b"{\"image\": \"a\", \"split\": \"val\", \"captions\": [\"a\", NaN]}");
        assert!(nan.contains("line 1: caption 2 of image `a` is blank, null or NaN"), "{nan}");
    }

    #[test]
    fn images_without_captions_are_left_out_on_demand_where_there_are_photos() {
        let text = TWO.replace("[\"c\"]", "null").replace("\"b\"", "\"\"");
        let refused = in_photos(&text, OnBadImage::Error).unwrap_err().to_string();
        assert!(refused.contains("line 2: caption 2") && refused.contains("--allow-missing"), "{refused}");
        let corpus = in_photos(&text, OnBadImage::Skip).unwrap();
        assert_eq!((corpus.captions(), corpus.unused().all().len()), (&["a".to_owned()][..], 2));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("corpus.jsonl");
        std::fs::write(&path, &text).unwrap();
        let refused = read(&path, None, OnBadImage::Skip).unwrap_err().to_string();
        assert!(!refused.contains("--allow-missing"), "{refused}");
    }

    #[test]
    fn blank_lines_and_other_keys_are_skipped() {
        let corpus = parse_all(TWO.as_bytes()).unwrap();
        assert_eq!((corpus.len(), corpus.captions().len()), (2, 3));
        assert_eq!((corpus.id(ImageIdx(0)), corpus.file(ImageIdx(0))), ("x/a.png", None));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let mistake = |from, to: &str| parse_all(TWO.replace(from, to).as_bytes()).unwrap_err().to_string();
        let split = mistake("val", "valid");
        assert!(split.contains("line 4: unknown variant `valid`") && split.contains("`test`"), "{split}");
        assert!(mistake("[\"c\"]", "{\"c\": 1}").contains("line 4: invalid type"));
        let none = mistake("\"captions\": [\"c\"]", "\"text\": [\"c\"]");
        assert!(none.contains("line 4: image `b.png` has no captions"), "{none}");
        assert!(mistake("b.png", "x/a.png").contains("line 4: image `x/a.png` is already on line 2"));
        let outside = in_photos(&TWO.replace("x/a.png", "x/../../a.png"), OnBadImage::Error).unwrap_err();
        assert!(outside.to_string().contains("line 2: the path `x/../../a.png` leads out"), "{outside}");
        assert!(mistake("[\"c\"]}", "[\"c\"").contains("line 4: EOF"));
        assert!(mistake("[\"c\"]", &format!("[\"{}\"]", "c".repeat(MAX_LINE_BYTES))).contains("bytes long"));
        assert!(parse_all(b"\n\n").unwrap_err().to_string().contains("no images"));
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(flips: Vec<(usize, u8)>, cut: usize) {
            let _ = parse_all(&damaged(TWO.as_bytes(), &flips, cut));
        }
    }
}
