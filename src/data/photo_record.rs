//! The photos that an index was made of: `photos.jsonl`, one line an image with the hash of its photo, and the size and
//! time of its file.
//!
//! A run is opened with the photos of this record. A file whose size and time are as they were is not read again; a
//! photo that is gone or was replaced keeps the embedding that the index was made of, and is reported.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::corpus::Corpus;
use super::photos::{self, Photo, PhotoHash};
use super::verify;
use crate::error::{Error, Result};
use crate::file_io;
use crate::ids::ImageIdx;

/// The name of the file in the index folder.
pub const PHOTOS: &str = "photos.jsonl";
/// Bytes of the largest record.
const LARGEST: u64 = 1 << 32;

#[derive(Serialize, Deserialize)]
struct Line {
    image: String,
    /// BLAKE3 of the photo's bytes, hexadecimal.
    blake3: String,
    /// Bytes and time of change (nanoseconds since 1970) of the file or archive.
    file: Option<(u64, u64)>,
}

/// The photos of an index by the name of their image.
pub struct PhotoRecord(HashMap<String, Known>);

struct Known {
    hash: PhotoHash,
    file: Option<(u64, u64)>,
}

/// How the photos of a corpus compare with a record.
pub struct ComparedPhotos {
    /// The images that the record knows.
    pub images: Vec<ImageIdx>,
    /// The recorded hash of each of them.
    pub hashes: Vec<Option<PhotoHash>>,
    /// Those whose photo is gone.
    pub missing: Vec<ImageIdx>,
    /// Those whose photo was replaced.
    pub replaced: Vec<ImageIdx>,
}

impl PhotoRecord {
    /// Writes the record of a corpus into an index folder. `hashes`: one an image.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(folder: &Path, corpus: &Corpus, hashes: &[Option<PhotoHash>]) -> Result<()> {
        file_io::write_atomic(&folder.join(PHOTOS), |out| {
            for (image, hash) in corpus.images().zip(hashes) {
                let (Some(hash), Some(photo)) = (hash, corpus.photo(image)) else { continue };
                let blake3 = blake3::Hash::from(*hash).to_hex().to_string();
                let line = Line { image: corpus.id(image).to_owned(), blake3, file: state(photo) };
                writeln!(out, "{}", serde_json::to_string(&line)?)?;
            }
            Ok(())
        })
    }

    /// The record of an index folder; `None` if there is none, as in corpora of features and runs of earlier versions.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(PHOTOS);
        if !path.exists() {
            return Ok(None);
        }
        let text = file_io::read_text(&path, LARGEST)?;
        let mut known = HashMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line: Line =
                serde_json::from_str(line).map_err(|e| Error::line(&path, number, e.to_string()))?;
            let hash = blake3::Hash::from_hex(&line.blake3)
                .map_err(|e| Error::line(&path, number, e.to_string()))?;
            known.insert(line.image, Known { hash: *hash.as_bytes(), file: line.file });
        }
        Ok(Some(Self(known)))
    }

    /// Logs which photos of a corpus, with these hashes, are other pictures than those of the record.
    pub fn report_replaced(&self, corpus: &Corpus, hashes: &[Option<PhotoHash>]) {
        let is_replaced = |(image, hash): (ImageIdx, &Option<PhotoHash>)| {
            let known = self.0.get(corpus.id(image))?;
            (hash.is_some_and(|hash| hash != known.hash)).then_some(image)
        };
        let replaced: Vec<ImageIdx> = corpus.images().zip(hashes).filter_map(is_replaced).collect();
        if !replaced.is_empty() {
            tracing::warn!(
                "{} photos are replaced by other pictures since the index was made; their docids are those of the old ones: {}",
                replaced.len(),
                verify::named(corpus, &replaced)
            );
        }
    }

    /// Compares the photos of a corpus with the record. Only files of another size or time are read.
    pub fn compare(&self, corpus: &Corpus) -> ComparedPhotos {
        let known = |image| Some((image, self.0.get(corpus.id(image))?));
        let known: Vec<(ImageIdx, &Known)> = corpus.images().filter_map(known).collect();
        let faults: Vec<Fault> = known
            .par_iter()
            .map(|(image, known)| corpus.photo(*image).map_or(Fault::Missing, |photo| known.fault(photo)))
            .collect();
        let with = |wanted: Fault| {
            let both = known.iter().zip(&faults);
            both.filter(|(_, fault)| **fault == wanted).map(|((image, _), _)| *image).collect()
        };
        ComparedPhotos {
            missing: with(Fault::Missing),
            replaced: with(Fault::Replaced),
            images: known.iter().map(|(image, _)| *image).collect(),
            hashes: known.iter().map(|(_, known)| Some(known.hash)).collect(),
        }
    }
}

impl ComparedPhotos {
    /// The images whose photo is gone or was replaced, numbered as in `images`.
    pub fn changed(&self) -> Vec<ImageIdx> {
        let changed: HashSet<ImageIdx> = self.missing.iter().chain(&self.replaced).copied().collect();
        let places = self.images.iter().enumerate().filter(|(_, image)| changed.contains(image));
        places.map(|(place, _)| ImageIdx::from(place)).collect()
    }

    /// Logs what is gone or replaced.
    pub fn report(&self, corpus: &Corpus) {
        for (images, what) in [(&self.missing, "gone"), (&self.replaced, "replaced by other pictures")] {
            if !images.is_empty() {
                tracing::warn!(
                    "{} of {} photos are {what} since the index was made; the run keeps their embeddings: {}",
                    images.len(),
                    self.images.len(),
                    verify::named(corpus, images)
                );
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Missing,
    Replaced,
}

impl Known {
    fn fault(&self, photo: &Photo) -> Fault {
        let state = state(photo);
        if state.is_some() && state == self.file {
            return Fault::None;
        }
        match photos::hashes(&[photo])[..] {
            [Some(hash)] if hash == self.hash => Fault::None,
            [Some(_)] => Fault::Replaced,
            _ => Fault::Missing,
        }
    }
}

/// Bytes and time of change of a photo's file or archive; `None` when it is gone or the time is not known.
fn state(photo: &Photo) -> Option<(u64, u64)> {
    let found = match photo {
        Photo::File(path) | Photo::Given(path) => fs::metadata(path),
        Photo::Slice { archive, .. } => fs::metadata(archive),
    }
    .ok()?;
    let changed = found.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some((found.len(), u64::try_from(changed.as_nanos()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::corpus::{Builder, Entry, Split};
    use super::*;

    #[test]
    fn photos_that_are_gone_or_replaced_are_found() {
        let space = tempfile::tempdir().unwrap();
        let folder = space.path();
        let mut builder = Builder::new(Path::new("c"), "line", Some(folder));
        for (n, id) in ["same", "touched", "gone", "replaced", "new"].into_iter().enumerate() {
            fs::write(folder.join(id), id).unwrap();
            let entry =
                Entry { id: id.into(), file: id.into(), split: Split::Train, captions: vec!["x".into()] };
            builder.push(n + 1, entry).unwrap();
        }
        let corpus = builder.build().unwrap();
        let photos: Vec<&Photo> = corpus.images().filter_map(|image| corpus.photo(image)).collect();
        let mut hashes = photos::hashes(&photos);
        hashes[4] = None;
        PhotoRecord::write(folder, &corpus, &hashes).unwrap();
        fs::remove_file(folder.join("gone")).unwrap();
        fs::write(folder.join("replaced"), "other picture").unwrap();
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(9);
        fs::File::options().write(true).open(folder.join("touched")).unwrap().set_modified(later).unwrap();
        let compared = PhotoRecord::read(folder).unwrap().unwrap().compare(&corpus);
        assert_eq!(compared.images, [0, 1, 2, 3].map(ImageIdx));
        assert_eq!(compared.hashes, hashes[..4]);
        assert_eq!(compared.changed(), [2, 3].map(ImageIdx));
        assert_eq!((compared.missing, compared.replaced), (vec![ImageIdx(2)], vec![ImageIdx(3)]));
    }
}
