//! Checks the entries of a corpus file one by one and builds the [`Corpus`].
//!
//! It refuses what would spoil a measurement and be hard to find later: two images with one name, an image
//! without captions, a path that leads outside the photo folder.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::path::{Component, Path, PathBuf};

use super::{Corpus, Image, Photo, Split};
use crate::error::{Error, Result};

/// One image as a corpus file describes it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The image's name, unique in the corpus.
    pub id: String,
    /// Its photo, relative to the photo folder and inside it.
    pub file: PathBuf,
    /// Its split.
    pub split: Split,
    /// Its captions, at least one, none blank.
    pub captions: Vec<String>,
}

/// Makes a [`Corpus`] out of [`Entry`]s; the first invalid one is an error that names it.
#[derive(Debug)]
pub struct Builder<'a> {
    source: &'a Path,
    unit: &'static str,
    photos: Option<&'a Path>,
    positions: HashMap<String, usize>,
    corpus: Corpus,
}

impl<'a> Builder<'a> {
    /// `source` is the file that is read and `unit` the word for its entries (`line`, `image`); messages name
    /// both. `photos` is the folder of the photos, if there are any.
    pub fn new(source: &'a Path, unit: &'static str, photos: Option<&'a Path>) -> Self {
        let corpus = Corpus { images: Vec::new(), captions: Vec::new(), rows: HashMap::new() };
        Self { source, unit, photos, positions: HashMap::new(), corpus }
    }

    /// Appends the entry found at `position` (one-based) of the source.
    ///
    /// # Errors
    /// When it has no id, the id of another image, a path that leaves the photo folder, no caption or a blank
    /// one: the message names the position and the value.
    pub fn push(&mut self, position: usize, entry: Entry) -> Result<()> {
        let photo = self.photos.map(|folder| Photo::File(folder.join(&entry.file)));
        self.push_with(position, entry, photo)
    }

    /// As [`push`](Self::push), but with the photo's location given; the entry's path is only checked.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn push_with(&mut self, position: usize, entry: Entry, photo: Option<Photo>) -> Result<()> {
        self.check(position, &entry)
            .map_err(|what| Error::file(self.source, format!("{} {position}: {what}", self.unit)))?;
        let Entry { id, split, captions, .. } = entry;
        self.corpus.append(Image { id, photo, split, captions: 0..0 }, &captions);
        Ok(())
    }

    fn check(&mut self, position: usize, entry: &Entry) -> Result<(), String> {
        let Entry { id, file, captions, .. } = entry;
        if id.trim().is_empty() {
            return Err("the image has no name; give every image one of its own".into());
        }
        if !file.components().all(|part| matches!(part, Component::Normal(_))) {
            let file = file.display();
            return Err(format!(
                "the path `{file}` leaves the photo folder; only paths inside it are allowed"
            ));
        }
        if captions.is_empty() {
            return Err(format!("image `{id}` has no captions; give it one or remove it"));
        }
        if let Some(blank) = captions.iter().position(|caption| caption.trim().is_empty()) {
            return Err(format!("caption {} of image `{id}` is blank; write or remove it", blank + 1));
        }
        match self.positions.entry(id.clone()) {
            Slot::Occupied(first) => Err(format!(
                "image `{id}` is already on {} {}; every id must be unique",
                self.unit,
                first.get()
            )),
            Slot::Vacant(slot) => {
                slot.insert(position);
                Ok(())
            }
        }
    }

    /// The finished corpus.
    ///
    /// # Errors
    /// When nothing was pushed.
    pub fn build(self) -> Result<Corpus> {
        if self.corpus.images.is_empty() {
            return Err(Error::file(self.source, "holds no images; a corpus needs at least one"));
        }
        Ok(self.corpus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, split: Split, captions: &[&str]) -> Entry {
        Entry {
            id: id.into(),
            file: id.into(),
            split,
            captions: captions.iter().map(|&c| c.into()).collect(),
        }
    }

    fn refusal(entries: &[Entry]) -> String {
        let mut builder = Builder::new(Path::new("c.jsonl"), "line", None);
        let pushed = entries.iter().zip(1..).try_for_each(|(entry, n)| builder.push(n, entry.clone()));
        pushed.and_then(|()| builder.build().map(drop)).unwrap_err().to_string()
    }

    #[test]
    fn invalid_entries_are_refused_by_name() {
        let good = entry("a.png", Split::Train, &["a dog"]);
        let twice = refusal(&[good.clone(), entry("b.png", Split::Val, &["b"]), good.clone()]);
        assert_eq!(twice, "c.jsonl: line 3: image `a.png` is already on line 1; every id must be unique");
        assert!(refusal(&[entry("b.png", Split::Val, &[])]).contains("`b.png` has no captions"));
        assert!(refusal(&[entry("b.png", Split::Val, &["x", " \t"])]).contains("caption 2 of image `b.png`"));
        assert!(refusal(&[entry(" ", Split::Val, &["x"])]).contains("no name"));
        assert!(refusal(&[]).contains("at least one"));
        for outside in ["/etc/passwd", "../a.png", "a/../../b.png"] {
            assert!(refusal(&[entry(outside, Split::Train, &["x"])]).contains(outside));
        }
    }
}
