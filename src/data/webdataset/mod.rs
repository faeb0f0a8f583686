//! Reads WebDatasets: tar archives in which a photo and its captions share a name up to the first dot
//! (github.com/webdataset/webdataset; `img2dataset` writes them).
//!
//! `train-000.tar`: `a.jpg`, `a.txt`, `b.jpg`, `b.json`, …
//!
//! Opening the corpus reads the archives' headers once (`archive`); photos are later read from their place in the
//! archive. What follows the last dot of a name is the kind of the file, so `a.v2.jpg` and `a.v2.txt` are the sample `a`
//! too (`sample`). A `.txt` holds one caption a line; a `.json` holds `caption` or `captions`, a text or a list of
//! texts, and takes precedence. Other files are not used but counted. A word in the name of the archive or of its folder
//! gives the split: `train-0.tar`, `val/0.tar` (`shards`).
//!
//! The files of a sample need not follow each other. A name that stands for one photo in each of several archives gets
//! the archive into its id: `train/00000/000000001.jpg`.

mod archive;
mod end;
mod member;
mod sample;
mod shards;

use std::collections::HashMap;
use std::path::Path;

use self::sample::{Complete, Fault};
use self::shards::Shard;
use super::corpus::unused::{Reason, UnusedList, Weight};
use super::corpus::{Builder, Corpus, Entry, LEAVE_OUT};
use crate::data::settings::OnBadImage;
use crate::error::{Error, Result};

/// Reads the archives in a folder and in its direct subfolders, sorted by path. `on_bad` says what to do with a sample
/// without a photo or captions.
///
/// # Errors
/// When there is no archive, an archive has no split, is truncated or no tar, a photo has no captions, or
/// captions have no photo: the message names the archive and the entry.
pub fn read(folder: &Path, on_bad: OnBadImage) -> Result<Corpus> {
    let mut corpus = Builder::new(folder, "image", None).on_bad(on_bad);
    let shards = shards::find(folder, corpus.unused())?;
    let mut samples = Vec::new();
    for (number, shard) in shards.iter().enumerate() {
        let complete = read_shard(shard, on_bad, corpus.unused())?;
        samples.extend(complete.into_iter().map(|sample| (number, sample)));
    }
    let ids = ids(&shards, &samples);
    for (position, ((number, sample), id)) in (1..).zip(samples.into_iter().zip(ids)) {
        let Complete { captions, photo, .. } = sample;
        let file = id.clone().into();
        corpus.push_with(position, Entry { file, id, split: shards[number].split, captions }, Some(photo))?;
    }
    corpus.build()
}

/// The complete samples of an archive; what is not used goes to `unused`.
fn read_shard(shard: &Shard, on_bad: OnBadImage, unused: &mut UnusedList) -> Result<Vec<Complete>> {
    let mut complete = Vec::new();
    for sample in archive::read(shard, unused)? {
        let key = sample.key().to_owned();
        match sample.complete(shard, unused) {
            Ok(sample) => complete.extend(sample),
            Err(Fault { reason: Some(reason), what }) if on_bad == OnBadImage::Skip => {
                let name = format!("{}/{key}", shard.label());
                let damaged = reason.weight() == Weight::Damage;
                unused.add(reason, if damaged { format!("{name}: {what}") } else { name });
            }
            Err(Fault { reason, what }) => return Err(refusal(shard, reason, &what)),
        }
    }
    Ok(complete)
}

fn refusal(shard: &Shard, reason: Option<Reason>, what: &str) -> Error {
    let remedy =
        if reason.is_some() { format!("; add what is missing, or {LEAVE_OUT}") } else { String::new() };
    Error::file(&shard.path, format!("{what}{remedy}"))
}

/// The id of each sample: the name of its photo, with the archive before it where several archives have that name.
fn ids(shards: &[Shard], samples: &[(usize, Complete)]) -> Vec<String> {
    let mut first: HashMap<&str, usize> = HashMap::new();
    let mut repeats: HashMap<&str, bool> = HashMap::new();
    for (number, sample) in samples {
        let of_another = *first.entry(&sample.name).or_insert(*number) != *number;
        *repeats.entry(&sample.name).or_default() |= of_another;
    }
    let id = |(number, sample): &(usize, Complete)| match repeats.get(sample.name.as_str()) {
        Some(true) => format!("{}/{}", shards[*number].stem(), sample.name),
        _ => sample.name.clone(),
    };
    samples.iter().map(id).collect()
}

#[cfg(test)]
mod tests;
