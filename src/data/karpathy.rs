//! Reads Karpathy's JSON: the splits on which Flickr8k, Flickr30k and COCO results are published
//! (Karpathy & Fei-Fei 2015, *Deep visual-semantic alignments*; files `dataset_flickr8k.json`, …).
//!
//! `{"images": [{"filepath": "val2014", "filename": "x.jpg", "split": "test", "sentences": [{"raw": "…"}]}]}`
//!
//! The id of an image is its `filename`; `filepath` (COCO) is a folder between the photo folder and the
//! filename; `restval` counts as train. Token lists and numbers in the file are skipped.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::corpus::{Builder, Corpus, Entry, Split};
use super::published_splits;
use crate::error::{Error, Result};
use crate::file_io;

/// Bytes of the largest file; COCO's, the largest known one, has 150 MB.
const MAX_BYTES: u64 = 1 << 30;

#[derive(Deserialize)]
struct Dataset {
    images: Vec<Image>,
    #[serde(default)]
    dataset: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(default)]
    filepath: PathBuf,
    filename: String,
    split: Split,
    sentences: Vec<Sentence>,
}

#[derive(Deserialize)]
struct Sentence {
    raw: String,
}

/// Reads the JSON `source`. `photos` is the folder of its photos, `name` the name of the corpus.
///
/// # Errors
/// When the file cannot be read, is not this JSON (the message has line and column), belongs to another
/// [published](published_splits) dataset than `name`, names an unknown split, or holds an image that
/// [`Builder::push`] refuses.
pub fn read(source: &Path, photos: &Path, name: &str) -> Result<Corpus> {
    let bytes = file_io::read(source, MAX_BYTES)?;
    let dataset: Dataset = serde_json::from_slice(&bytes)
        .map_err(|e| Error::file(source, format!("is not Karpathy's JSON of images and captions: {e}")))?;
    drop(bytes);
    if published_splits::find(name).is_some()
        && published_splits::find(&dataset.dataset).is_some()
        && dataset.dataset != name
    {
        let what = format!(
            "is Karpathy's file of `{}`, and data.name is \"{name}\": give data.captions and data.root of `{name}`, \
             or call the corpus what it is",
            dataset.dataset
        );
        return Err(Error::file(source, what));
    }
    let mut corpus = Builder::new(source, "image", Some(photos));
    for (i, image) in dataset.images.into_iter().enumerate() {
        let Image { filepath, filename: id, split, sentences } = image;
        let captions = sentences.into_iter().map(|sentence| sentence.raw).collect();
        corpus.push(i + 1, Entry { file: filepath.join(&id), id, split, captions })?;
    }
    corpus.build()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::damaged;
    use super::*;
    use crate::ids::ImageIdx;

    const COCO: &str = r#"{"dataset": "mine", "images": [
        {"filepath": "val2014", "filename": "a.jpg", "split": "restval", "cocoid": 7, "sentids": [0, 1],
         "sentences": [{"tokens": ["a", "dog"], "raw": "A dog.", "sentid": 0}, {"raw": "Dog é"}]},
        {"filename": "b.jpg", "split": "test", "sentences": [{"raw": "B"}]}]}"#;

    fn parse(text: &[u8]) -> Result<Corpus> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dataset.json");
        std::fs::write(&path, text).unwrap();
        read(&path, Path::new("photos"), "flickr30k")
    }

    #[test]
    fn filepath_lies_between_folder_and_name_and_restval_is_train() {
        let corpus = parse(COCO.as_bytes()).unwrap();
        assert_eq!(corpus.file(ImageIdx(0)), Some(Path::new("photos/val2014/a.jpg")));
        assert_eq!(corpus.file(ImageIdx(1)), Some(Path::new("photos/b.jpg")));
        assert_eq!((corpus.id(ImageIdx(0)), corpus.split(ImageIdx(0))), ("a.jpg", Split::Train));
        assert_eq!(corpus.captions(), ["A dog.", "Dog é", "B"]);
    }

    #[test]
    fn mistakes_are_named() {
        let mistake = |from, to| parse(COCO.replace(from, to).as_bytes()).unwrap_err().to_string();
        let split = mistake("restval", "tset");
        assert!(split.contains("tset") && split.contains("`train`") && split.contains("line 2"), "{split}");
        assert!(mistake("}]}]}", "}]").contains("line 4"));
        assert!(mistake("b.jpg", "a.jpg").contains("image 2: image `a.jpg` is already on image 1"));
        assert!(mistake("val2014", "/etc").contains("leaves the photo folder"));
        assert!(mistake("val2014", "..").contains("leaves the photo folder"));
        assert!(mistake("images", "pictures").contains("missing field `images`"));
        let other = mistake("mine", "coco");
        assert!(other.contains("Karpathy's file of `coco`") && other.contains("flickr30k"), "{other}");
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(flips: Vec<(usize, u8)>, cut: usize) {
            let _ = parse(&damaged(COCO.as_bytes(), &flips, cut));
        }
    }
}
