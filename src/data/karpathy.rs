//! Reads Karpathy's JSON: the splits on which Flickr8k, Flickr30k and COCO results are published
//! (Karpathy & Fei-Fei 2015, *Deep visual-semantic alignments*; files `dataset_flickr8k.json`, …).
//!
//! `{"images": [{"filepath": "val2014", "filename": "x.jpg", "split": "test", "sentences": [{"raw": "…"}]}]}`
//!
//! The id of an image is its `filename`; where a `filename` occurs in several folders, the folder is part of the id.
//! `filepath` (COCO) is a folder between the photo folder and the
//! filename; `restval` counts as train. Token lists and numbers in the file are skipped.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::corpus::captions::Caption;
use super::corpus::photo_path::{normal, slashed};
use super::corpus::{Builder, Corpus, Entry, Split};
use super::{json, published_splits};
use crate::data::settings::OnBadImage;
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
    filepath: Option<PathBuf>,
    filename: String,
    split: Split,
    sentences: Vec<Sentence>,
}

#[derive(Deserialize)]
struct Sentence {
    raw: Caption,
}

/// COCO's own annotation file.
#[derive(Deserialize)]
struct CocoFile {
    #[serde(rename = "annotations")]
    _annotations: Vec<IgnoredAny>,
    #[serde(rename = "images")]
    _images: Vec<CocoImage>,
}

#[derive(Deserialize)]
struct CocoImage {
    #[serde(rename = "file_name")]
    _file_name: String,
}

/// Reads the JSON `source`. `photos` is the folder of its photos, `name` the name of the corpus; `on_bad` says what to do
/// with an image without captions.
///
/// # Errors
/// When the file cannot be read, is not this JSON (the message has line and column), belongs to another
/// [published](published_splits) dataset than `name`, names an unknown split, or holds an image that
/// [`Builder::push`] refuses.
pub fn read(source: &Path, photos: &Path, name: &str, on_bad: OnBadImage) -> Result<Corpus> {
    let dataset = parse(&file_io::read(source, MAX_BYTES)?).map_err(|what| Error::file(source, what))?;
    check_name(source, &dataset.dataset, name)?;
    let mut corpus = Builder::new(source, "image", Some(photos)).on_bad(on_bad);
    let mut files = Vec::with_capacity(dataset.images.len());
    for (position, image) in (1..).zip(&dataset.images) {
        let file = image.filepath.clone().unwrap_or_default().join(&image.filename);
        files.push(corpus.photo_path(position, &file)?);
    }
    let ids = ids(&dataset.images, &files);
    for (position, ((image, file), id)) in (1..).zip(dataset.images.into_iter().zip(files).zip(ids)) {
        let captions = image.sentences.into_iter().map(|sentence| sentence.raw.0).collect();
        corpus.push(position, Entry { file, id, split: image.split, captions })?;
    }
    corpus.build()
}

fn parse(bytes: &[u8]) -> Result<Dataset, String> {
    json::read_file(bytes, "is not Karpathy's JSON of images and captions").map_err(|what| {
        if json::read::<CocoFile>(bytes).is_ok() {
            return "is an annotation file of COCO, which has no splits; data.captions needs Karpathy's dataset_coco.json \
                    (dsi data fetch coco gets it)"
                .into();
        }
        let is_lines = json::without_bom(bytes).trim_ascii_start().starts_with(b"{\"image\":");
        if is_lines { format!("{what}; a file of one image a line needs data.kind = \"jsonl\"") } else { what }
    })
}

/// Refuses the file of a published dataset for a corpus with the name of another.
fn check_name(source: &Path, stated: &str, name: &str) -> Result<()> {
    let is_published = |name: &str| published_splits::find(name).is_some();
    if !is_published(name) || !is_published(stated) || stated == name {
        return Ok(());
    }
    let what = format!(
        "is Karpathy's file of `{stated}`, and data.name is \"{name}\": give data.captions and data.root of `{name}`, \
         or call the corpus what it is"
    );
    Err(Error::file(source, what))
}

/// The id of each image: its filename, or with the folder where a filename occurs in several.
fn ids(images: &[Image], files: &[PathBuf]) -> Vec<String> {
    let names: Vec<String> =
        images.iter().zip(files).map(|(image, file)| name_in_folder(image, file)).collect();
    let mut first: HashMap<&str, &Path> = HashMap::new();
    let mut repeated = HashSet::new();
    for (name, file) in names.iter().zip(files) {
        if *first.entry(name.as_str()).or_insert(file.as_path()) != file.as_path() {
            repeated.insert(name.as_str());
        }
    }
    let id = |(name, file): (&String, &PathBuf)| {
        if repeated.contains(name.as_str()) { slashed(file) } else { name.clone() }
    };
    names.iter().zip(files).map(id).collect()
}

/// The filename in its one spelling, or the whole path if it leaves its folder.
fn name_in_folder(image: &Image, file: &Path) -> String {
    let inside = normal(Path::new(&image.filename)).filter(|name| !name.as_os_str().is_empty());
    slashed(&inside.unwrap_or_else(|| file.to_owned()))
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
        read(&path, Path::new("photos"), "flickr30k", OnBadImage::Error)
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
    fn a_filename_in_several_folders_has_its_folder_in_the_id() {
        let three = r#"{"images": [
            {"filepath": "./x", "filename": "a.jpg", "split": "train", "sentences": [{"raw": "A"}]},
            {"filepath": "y/z", "filename": "./a.jpg", "split": "val", "sentences": [{"raw": "B"}], "x": NaN},
            {"filepath": "y/z/", "filename": "b.jpg", "split": "test", "sentences": [{"raw": "C"}]}]}"#;
        let corpus = parse(format!("\u{feff}{three}").as_bytes()).unwrap();
        let ids: Vec<_> = corpus.images().map(|image| corpus.id(image)).collect();
        assert_eq!(ids, ["x/a.jpg", "y/z/a.jpg", "b.jpg"]);
        assert_eq!(corpus.file(ImageIdx(1)), Some(Path::new("photos/y/z/a.jpg")));
        let twice = parse(three.replace("y/z\"", "x//\"").as_bytes()).unwrap_err().to_string();
        assert!(twice.contains("image 2: image `a.jpg` is already on image 1"), "{twice}");
    }

    #[test]
    fn other_files_are_named() {
        let what = |text: &str| parse(text.as_bytes()).unwrap_err().to_string();
        let coco =
            r#"{"info": {}, "images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"caption": "A"}]}"#;
        assert!(what(coco).contains("annotation file of COCO") && what(coco).contains("dataset_coco.json"));
        assert!(what("{\"image\": \"a\"}\n{\"image\": \"b\"}").contains("data.kind = \"jsonl\""));
        assert!(what("<!DOCTYPE html>").contains("web page"));
        let none = what(&COCO.replace("\"B\"", "null"));
        assert!(none.contains("caption 1 of image `b.jpg` is blank, null or NaN"), "{none}");
    }

    #[test]
    fn mistakes_are_named() {
        let mistake = |from, to| parse(COCO.replace(from, to).as_bytes()).unwrap_err().to_string();
        let split = mistake("restval", "tset");
        assert!(split.contains("tset") && split.contains("`train`") && split.contains("line 2"), "{split}");
        assert!(mistake("}]}]}", "}]").contains("line 4"));
        assert!(mistake("val2014", "/etc").contains("leads out of the photo folder"));
        assert!(mistake("val2014", "..").contains("leads out of the photo folder"));
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
