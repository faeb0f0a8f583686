//! Reads WebDatasets: tar archives in which a photo and its captions share a name up to the first dot
//! (github.com/webdataset/webdataset; `img2dataset` writes them).
//!
//! `train-000.tar`: `a.jpg`, `a.txt`, `b.jpg`, `b.json`, …
//!
//! Opening the corpus reads the archives' headers once; photos are later read from their place in the
//! archive. A `.txt` holds one caption a line; a `.json` holds `caption` or `captions`, a text or a list of
//! texts, and takes precedence. Other files are ignored. A word in the name of the archive or of its folder
//! gives the split: `train-0.tar`, `val/0.tar`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::corpus::{Builder, Corpus, Entry, Split};
use super::photos::Photo;
use crate::error::{Error, Result};

/// Bytes of the longest captions file.
const LONGEST: u64 = 1 << 20;
/// The file extensions of photos.
const PHOTOS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];
/// The file extensions of captions.
const CAPTIONS: [&str; 2] = ["txt", "json"];
/// The words that stand for a split.
const WORDS: [(&str, Split); 6] = [
    ("train", Split::Train),
    ("restval", Split::Train),
    ("val", Split::Val),
    ("valid", Split::Val),
    ("validation", Split::Val),
    ("test", Split::Test),
];

/// Reads the archives in a folder and in its direct subfolders, sorted by path.
///
/// # Errors
/// When there is no archive, an archive has no split, is truncated or no tar, a photo has no captions, or
/// captions have no photo: the message names the archive and the entry.
pub fn read(folder: &Path) -> Result<Corpus> {
    let shards = shards(folder)?;
    if shards.is_empty() {
        return Err(Error::file(folder, "holds no .tar archives, and data.kind = \"webdataset\" needs some"));
    }
    let mut corpus = Builder::new(folder, "image", None);
    let mut position = 0;
    for shard in shards {
        let split = split(&shard, folder)?;
        for sample in samples(&shard)? {
            position += 1;
            let (id, captions, photo) = sample.complete(&shard)?;
            corpus.push_with(
                position,
                Entry { file: id.clone().into(), id, split, captions },
                Some(photo),
            )?;
        }
    }
    corpus.build()
}

fn shards(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut paths = list(folder)?;
    for inner in paths.clone().iter().filter(|path| path.is_dir()) {
        paths.extend(list(inner)?);
    }
    let is_shard = |path: &PathBuf| path.extension().is_some_and(|end| end == "tar") && path.is_file();
    Ok(paths.into_iter().filter(is_shard).collect())
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(Error::io("list", folder))?;
    entries.map(|entry| entry.map(|e| e.path()).map_err(Error::io("list", folder))).collect()
}

/// The split given by the path of an archive below `root`.
fn split(shard: &Path, root: &Path) -> Result<Split> {
    let name = shard.strip_prefix(root).unwrap_or(shard).to_string_lossy().to_ascii_lowercase();
    let words: BTreeSet<&str> = name.split(|c: char| !c.is_alphabetic()).collect();
    let found: Vec<Split> =
        WORDS.iter().filter(|(word, _)| words.contains(word)).map(|(_, split)| *split).collect();
    match found.first() {
        Some(split) if found.iter().all(|other| other == split) => Ok(*split),
        _ => {
            let words = WORDS.map(|(word, _)| word).join(", ");
            let what =
                format!("its name says no split, or several: have one of {words} in it, as in train-000.tar");
            Err(Error::file(shard, what))
        }
    }
}

/// The files that share one name.
struct Sample {
    key: String,
    photo: Option<(String, Photo)>,
    text: Option<Vec<String>>,
    json: Option<Vec<String>>,
}

impl Sample {
    /// Adds the captions of a file with the extension `end`.
    fn captions(&mut self, end: &str, text: &str) -> Result<(), String> {
        match end {
            "json" => self.json = Some(captions(text).map_err(|e| format!("cannot be read: {e}"))?),
            _ => self.text = Some(lines(text)),
        }
        Ok(())
    }

    /// Name, captions and photo; an error if one is missing.
    fn complete(self, shard: &Path) -> Result<(String, Vec<String>, Photo)> {
        let Self { key, photo, text, json } = self;
        let captions = json.filter(|captions| !captions.is_empty()).or(text);
        match (photo, captions) {
            (Some((name, photo)), Some(captions)) => Ok((name, captions, photo)),
            (Some((name, _)), None) => Err(Error::file(
                shard,
                format!("`{name}` has no captions: `{key}.txt` or `{key}.json` is missing"),
            )),
            (None, _) => {
                Err(Error::file(shard, format!("`{key}` has captions and no photo ({})", PHOTOS.join(", "))))
            }
        }
    }
}

/// The samples of an archive, in the order of their first files.
fn samples(shard: &Path) -> Result<Vec<Sample>> {
    let broken =
        |e: std::io::Error| Error::file(shard, format!("is not a tar archive that can be read: {e}"));
    let file = File::open(shard).map_err(Error::io("read", shard))?;
    let length = file.metadata().map_err(Error::io("read", shard))?.len();
    let archive: Arc<Path> = shard.into();
    let mut tar = tar::Archive::new(BufReader::new(file));
    let mut samples: Vec<Sample> = Vec::new();
    for entry in tar.entries_with_seek().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let kind = entry.header().entry_type();
        if !kind.is_file() && !kind.is_contiguous() {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let (offset, size) = (entry.raw_file_position(), entry.size());
        if offset.checked_add(size).is_none_or(|end| end > length) {
            return Err(Error::file(shard, format!("is cut short in `{name}`")));
        }
        let Some((key, end)) = key(&name) else { continue };
        if samples.last().is_none_or(|sample| sample.key != key) {
            samples.push(Sample { key: key.into(), photo: None, text: None, json: None });
        }
        let sample = samples.last_mut().expect("invariant: one was pushed");
        if CAPTIONS.contains(&end.as_str()) {
            let refuse = |what| Error::file(shard, format!("`{name}` {what}"));
            sample.captions(&end, &text(&mut entry, size).map_err(refuse)?).map_err(refuse)?;
        } else {
            let photo = Photo::Slice { archive: archive.clone(), name: name.clone(), offset, length: size };
            sample.photo = Some((name, photo));
        }
    }
    Ok(samples)
}

/// The shared name of a sample and the lower-case extension, if the extension is one of photos or captions.
fn key(name: &str) -> Option<(&str, String)> {
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = file + name[file..].find('.').filter(|&dot| dot > 0)?;
    let end = name[dot + 1..].to_ascii_lowercase();
    (PHOTOS.contains(&end.as_str()) || CAPTIONS.contains(&end.as_str())).then(|| (&name[..dot], end))
}

fn text(entry: &mut dyn Read, size: u64) -> Result<String, String> {
    if size > LONGEST {
        return Err(format!("is larger than the {LONGEST} bytes captions may have"));
    }
    let mut text = String::new();
    entry.take(LONGEST).read_to_string(&mut text).map_err(|e| format!("cannot be read: {e}"))?;
    Ok(text)
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// The captions of a JSON file; empty if it has no such key.
fn captions(text: &str) -> Result<Vec<String>, serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Captions {
        One(String),
        Many(Vec<String>),
        None(()),
    }
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(default, alias = "caption")]
        captions: Option<Captions>,
    }
    Ok(match serde_json::from_str::<Metadata>(text)?.captions {
        Some(Captions::One(caption)) => vec![caption],
        Some(Captions::Many(captions)) => captions,
        Some(Captions::None(())) | None => Vec::new(),
    })
}

#[cfg(test)]
mod tests;
