//! The generation that is searched: `current.json` names the files of the store, with their hashes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::file_io;

const CURRENT: &str = "current.json";
const VERSION: u32 = 2;
/// Bytes of the largest `current.json`.
const LARGEST: u64 = 1 << 26;
/// How the names of files begin and end that a store writes; numbers and dashes lie between.
const NAMES: [(&str, &str); 4] =
    [("model-", ".json"), ("vectors-", ".safetensors"), ("segment-", ".bin"), ("removed-", ".bin")];

/// A file of the store by its name and its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    name: String,
    /// BLAKE3, hexadecimal: of a whole file, or of a segment's checksums and table.
    blake3: String,
}

impl FileRef {
    /// The file of this name.
    pub fn new(name: String, hash: &[u8; 32]) -> Self {
        Self { name, blake3: blake3::Hash::from(*hash).to_hex().to_string() }
    }

    /// Where it lies.
    pub fn path(&self, folder: &Path) -> PathBuf {
        folder.join(&self.name)
    }

    /// Its hash.
    ///
    /// # Errors
    /// When it is not one.
    pub fn hash(&self, folder: &Path) -> Result<[u8; 32]> {
        let broken = |_| damaged(&folder.join(CURRENT));
        Ok(*blake3::Hash::from_hex(&self.blake3).map_err(broken)?.as_bytes())
    }

    /// Writes a new file.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(folder: &Path, name: String, bytes: &[u8]) -> Result<Self> {
        file_io::write_atomic(&folder.join(&name), |out| out.write_all(bytes))?;
        Ok(Self::new(name, blake3::hash(bytes).as_bytes()))
    }

    /// The bytes of the file, which are those that were written.
    ///
    /// # Errors
    /// When it cannot be read, has more than `most` bytes or was changed.
    pub fn read(&self, folder: &Path, most: u64) -> Result<Vec<u8>> {
        let path = self.path(folder);
        let bytes = file_io::read(&path, most)?;
        if *blake3::hash(&bytes).as_bytes() == self.hash(folder)? { Ok(bytes) } else { Err(damaged(&path)) }
    }
}

/// Whether a store writes files of this name. Other names could lead outside its folder, or to files of others.
fn is_own(name: &str) -> bool {
    let number = |(start, end): &(&str, &str)| name.strip_prefix(start)?.strip_suffix(end);
    let is_number = |number: &str| number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    NAMES.iter().filter_map(number).any(is_number)
}

/// A segment and what was removed from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRef {
    /// The file of its images.
    pub file: FileRef,
    /// A bit for each removed image.
    pub removed: Option<FileRef>,
}

/// All files that are searched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    version: u32,
    /// It grows by one with each change.
    pub number: u64,
    /// Whether images were added or removed since the store was made.
    pub edited: bool,
    /// How queries are embedded and scored.
    pub model: FileRef,
    /// Alignment, codebooks, decoder.
    pub vectors: FileRef,
    /// The images.
    pub segments: Vec<SegmentRef>,
}

/// `current.json`.
#[derive(Serialize, Deserialize)]
struct Current {
    /// BLAKE3 of the generation's JSON.
    blake3: String,
    generation: Generation,
}

impl Generation {
    /// A generation of these files.
    pub fn new(number: u64, model: FileRef, vectors: FileRef, segments: Vec<SegmentRef>) -> Self {
        Self { version: VERSION, number, edited: false, model, vectors, segments }
    }

    /// The generation after this one: other images, the same model.
    #[must_use]
    pub fn next(&self, segments: Vec<SegmentRef>) -> Self {
        let (model, vectors) = (self.model.clone(), self.vectors.clone());
        Self { edited: true, ..Self::new(self.number + 1, model, vectors, segments) }
    }

    /// Whether a store lies in the folder.
    pub fn exists(folder: &Path) -> bool {
        folder.join(CURRENT).exists()
    }

    /// The generation in a folder; `None` if there is no store.
    ///
    /// # Errors
    /// When it cannot be read, was changed, or is of another version.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(CURRENT);
        if !path.exists() {
            return Ok(None);
        }
        let value: serde_json::Value =
            serde_json::from_slice(&file_io::read(&path, LARGEST)?).map_err(|_| damaged(&path))?;
        let version = value.pointer("/generation/version").and_then(serde_json::Value::as_u64);
        if let Some(version) = version.filter(|version| *version != u64::from(VERSION)) {
            let what = format!("has format version {version}; this program reads version {VERSION}");
            return Err(Error::file(path, what));
        }
        let current: Current = serde_json::from_value(value).map_err(|_| damaged(&path))?;
        let generation = current.generation;
        let sound =
            generation.check()? == current.blake3 && generation.files().all(|file| is_own(&file.name));
        if sound { Ok(Some(generation)) } else { Err(damaged(&path)) }
    }

    /// Makes this the generation that is searched, and removes files that it does not name.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn publish(&self, folder: &Path) -> Result<()> {
        let current = Current { blake3: self.check()?, generation: self.clone() };
        file_io::write_json(&folder.join(CURRENT), &current)?;
        let named: BTreeSet<&str> = self.files().map(|file| file.name.as_str()).collect();
        for name in own_files(folder) {
            if !named.contains(name.as_str()) {
                // A file that stays costs room and nothing else.
                fs::remove_file(folder.join(name)).ok();
            }
        }
        Ok(())
    }

    /// All files that it names.
    fn files(&self) -> impl Iterator<Item = &FileRef> {
        let segments = self.segments.iter().flat_map(|s| [Some(&s.file), s.removed.as_ref()]);
        [&self.model, &self.vectors].into_iter().chain(segments.flatten())
    }

    fn check(&self) -> Result<String> {
        let json = serde_json::to_vec(self).map_err(|error| Error::input(error.to_string()))?;
        Ok(blake3::hash(&json).to_hex().to_string())
    }
}

/// The names of the files in a folder that a store writes, `current.json` apart.
fn own_files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| is_own(name)).collect()
}

fn damaged(path: &Path) -> Error {
    Error::file(path, "is damaged or was changed; make the search store again, or copy it again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_replaces_the_one_before_and_no_changed_byte_is_taken() {
        let space = tempfile::tempdir().unwrap();
        let folder = space.path();
        let file = |name: &str| FileRef::write(folder, name.to_owned(), name.as_bytes()).unwrap();
        let make = |number| {
            let segment = SegmentRef { file: file(&format!("segment-{number}.bin")), removed: None };
            Generation::new(number, file("model-1.json"), file("vectors-1.safetensors"), vec![segment])
        };
        assert_eq!(Generation::read(folder).unwrap(), None);
        make(1).publish(folder).unwrap();
        make(2).publish(folder).unwrap();
        assert_eq!(Generation::read(folder).unwrap(), Some(make(2)));
        assert!(!folder.join("segment-1.bin").exists() && folder.join("segment-2.bin").exists());
        let text = fs::read(folder.join(CURRENT)).unwrap();
        for byte in 0..text.len() {
            let mut flipped = text.clone();
            flipped[byte] ^= 2;
            fs::write(folder.join(CURRENT), &flipped).unwrap();
            if let Ok(found) = Generation::read(folder) {
                assert_eq!(found, Some(make(2)), "byte {byte}");
            }
        }
        let outside = Generation::new(
            1,
            FileRef { name: "model-/../x.json".into(), ..file("model-1.json") },
            file("vectors-1.x"),
            vec![],
        );
        outside.publish(folder).unwrap();
        assert!(Generation::read(folder).is_err());
    }

    #[test]
    fn a_file_that_was_changed_is_named() {
        let space = tempfile::tempdir().unwrap();
        let file = FileRef::write(space.path(), "model-1.json".into(), b"one").unwrap();
        assert_eq!(file.read(space.path(), 9).unwrap(), b"one");
        fs::write(file.path(space.path()), b"two").unwrap();
        let refused = file.read(space.path(), 9).unwrap_err().to_string();
        assert!(refused.contains("model-1.json: is damaged"), "{refused}");
    }
}
