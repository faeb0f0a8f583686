//! Reads dsi's own corpus file: one JSON object a line for each image.
//!
//! `{"image": "images/a.jpg", "split": "train", "captions": ["a dog", "a brown dog"]}`
//!
//! `image` is both the id and the path of the photo, relative to the photo folder; `split` is `train`, `val`,
//! `test` or `restval`. Blank lines are skipped and other keys ignored. In a folder of features the same file
//! names the rows of `images.npy` and `captions.npy`, in order ([`corpus_embeddings`](super::corpus_embeddings)).

use std::path::Path;

use serde::Deserialize;

use super::corpus::{Builder, Corpus, Entry, Split};
use crate::error::{Error, Result};
use crate::file_io;

/// Bytes of the largest file: room for two million images with five captions each.
const MAX_BYTES: u64 = 1 << 30;
const MAX_LINE_BYTES: usize = 1 << 20;

#[derive(Deserialize)]
struct Image {
    image: String,
    split: Split,
    captions: Vec<String>,
}

/// Reads the file `source`. `photos` is the folder of its photos; `None` for a corpus of features.
///
/// # Errors
/// When the file cannot be read, a line is not such an object or longer than 1 MiB, or holds an image that
/// [`Builder::push`] refuses: the message names the line.
pub fn read(source: &Path, photos: Option<&Path>) -> Result<Corpus> {
    let bytes = file_io::read(source, MAX_BYTES)?;
    let mut corpus = Builder::new(source, "line", photos);
    for (line, text) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
        if !text.trim_ascii().is_empty() {
            corpus.push(line, parse(text).map_err(|what| Error::line(source, line, what))?)?;
        }
    }
    corpus.build()
}

fn parse(line: &[u8]) -> Result<Entry, String> {
    if line.len() > MAX_LINE_BYTES {
        return Err(format!("is {} bytes long; {MAX_LINE_BYTES} are allowed, one image a line", line.len()));
    }
    let Image { image, split, captions } = serde_json::from_slice(line).map_err(|e| {
        let text = e.to_string();
        // The JSON reader gets one line, so its "line 1" would mislead.
        let what = text.split(" at line ").next().unwrap_or_default();
        format!("{what} (column {}); expected {{\"image\": …, \"split\": …, \"captions\": […]}}", e.column())
    })?;
    Ok(Entry { file: image.clone().into(), id: image, split, captions })
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
        read(&path, None)
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
        assert!(mistake("[\"c\"]", "\"c\"").contains("line 4: invalid type"));
        assert!(
            mistake("\"captions\": [\"c\"]", "\"caption\": [\"c\"]").contains("missing field `captions`")
        );
        assert!(mistake("b.png", "x/a.png").contains("line 4: image `x/a.png` is already on line 2"));
        assert!(mistake("x/a.png", "x/../../a.png").contains("line 2: the path"));
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
