//! The photos below a folder, by their content and not by their names.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::photos;
use crate::error::{Error, Result};
use crate::escape::shown;
use crate::file_io;

/// Bytes from the start of a file that tell a photo.
const HEAD: u64 = 64;
/// Kinds of other files that a message names.
const NAMED: usize = 5;

/// A photo file and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPhoto {
    /// Its path below the folder, with `/` between the parts.
    pub name: String,
    /// The file.
    pub file: PathBuf,
}

/// What lies below a folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PhotoList {
    /// The photos, by name.
    pub photos: Vec<NamedPhoto>,
    /// How many other files there are, by their ending.
    pub others: BTreeMap<String, usize>,
    /// How many folders and files could not be read, and why the first one could not.
    pub unreadable: (usize, Option<String>),
}

impl PhotoList {
    /// The photos below `folder`, in any depth; `skip` is a folder that is left out. Names that begin with a dot are
    /// passed over, as is what lies below them. Links are followed.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn below(folder: &Path, skip: &Path) -> Result<Self> {
        if !folder.is_dir() {
            return Err(Error::file(folder, "is no folder; give the folder of the photos"));
        }
        let mut list = Self::default();
        let same = |entry: &DirEntry| skip.is_dir() && same_folder(entry.path(), skip);
        let entered = |entry: &DirEntry| {
            entry.depth() == 0 || !(is_hidden(entry) || (entry.file_type().is_dir() && same(entry)))
        };
        for entry in
            WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter().filter_entry(entered)
        {
            match entry {
                Ok(entry) if entry.file_type().is_file() => list.add(folder, entry.into_path()),
                Ok(_) => {}
                Err(error) if error.depth() == 0 => {
                    return Err(Error::file(folder, format!("cannot be read: {error}")));
                }
                Err(error) => list.count_unreadable(&error.to_string()),
            }
        }
        list.photos.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(list)
    }

    fn add(&mut self, folder: &Path, file: PathBuf) {
        let mut head = Vec::new();
        let read = file_io::open_regular(&file).map(|opened| opened.take(HEAD).read_to_end(&mut head));
        if !matches!(read, Ok(Ok(_))) {
            self.count_unreadable(&format!("{} cannot be read", shown(&file)));
            return;
        }
        if !photos::is_photo(&head) {
            let ending =
                file.extension().map(|ending| format!(".{}", ending.to_string_lossy().to_lowercase()));
            *self.others.entry(ending.unwrap_or_else(|| "no ending".into())).or_default() += 1;
            return;
        }
        match name_below(folder, &file) {
            Some(name) => self.photos.push(NamedPhoto { name, file }),
            None => self.count_unreadable(&format!("the name of {} is not UTF-8", shown(&file))),
        }
    }

    fn count_unreadable(&mut self, why: &str) {
        self.unreadable.0 += 1;
        self.unreadable.1.get_or_insert_with(|| why.to_owned());
    }

    /// What was passed over, in words; `None` if nothing was.
    pub fn passed_over(&self) -> Option<String> {
        let mut kinds: Vec<(&String, &usize)> = self.others.iter().collect();
        kinds.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let mut words: Vec<String> =
            kinds.iter().take(NAMED).map(|(ending, count)| format!("{count} files ({ending})")).collect();
        let rest: usize = kinds.iter().skip(NAMED).map(|(_, count)| **count).sum();
        if rest > 0 {
            words.push(format!("{rest} other files"));
        }
        let mut parts = Vec::new();
        if !words.is_empty() {
            parts.push(format!("{} are no photos (JPEG, PNG, WebP, GIF, BMP)", words.join(", ")));
        }
        if let (count, Some(first)) = &self.unreadable {
            parts.push(format!("{count} could not be read, the first one: {first}"));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

fn is_hidden(entry: &DirEntry) -> bool {
    entry.file_name().to_string_lossy().starts_with('.')
}

fn same_folder(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// The path of a file below a folder; `None` if it is not UTF-8, or not below.
pub fn name_below(folder: &Path, file: &Path) -> Option<String> {
    let below = file.strip_prefix(folder).ok()?;
    let parts: Option<Vec<&str>> = below.iter().map(|part| part.to_str()).collect();
    parts.filter(|parts| !parts.is_empty()).map(|parts| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n rest";

    #[test]
    fn photos_are_found_by_their_content_in_any_depth() {
        let space = tempfile::tempdir().unwrap();
        let root = space.path();
        for folder in ["a/b", ".hidden", "run"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for (name, bytes) in [
            ("a/b/2.png", PNG),
            ("a/1", PNG),
            ("notes.txt", b"notes"),
            ("film.MP4", b"\0\0\0\x18ftypisom"),
            ("fake.jpg", b"text"),
            (".hidden/3.png", PNG),
            ("run/4.png", PNG),
        ] {
            fs::write(root.join(name), bytes).unwrap();
        }
        let list = PhotoList::below(root, &root.join("run")).unwrap();
        let names: Vec<&str> = list.photos.iter().map(|photo| photo.name.as_str()).collect();
        assert_eq!(names, ["a/1", "a/b/2.png"]);
        let others: Vec<(&str, usize)> =
            list.others.iter().map(|(ending, count)| (ending.as_str(), *count)).collect();
        assert_eq!(others, [(".jpg", 1), (".mp4", 1), (".txt", 1)]);
        assert!(list.passed_over().unwrap().contains("1 files (.txt)"));
        assert!(PhotoList::below(&root.join("a/1"), root).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_circle_of_links_ends() {
        let space = tempfile::tempdir().unwrap();
        fs::write(space.path().join("1.png"), PNG).unwrap();
        std::os::unix::fs::symlink(space.path(), space.path().join("loop")).unwrap();
        let list = PhotoList::below(space.path(), Path::new("/none")).unwrap();
        assert_eq!((list.photos.len(), list.unreadable.0), (1, 1));
    }
}
