//! Checks the entries of a corpus file one by one and builds the [`Corpus`].
//!
//! It refuses what would spoil a measurement and be hard to find later: two images with one name, an image
//! without captions, a path that leads outside the photo folder. With `data.on_bad_image = "skip"`, images without
//! captions are left out and counted.

use std::path::{Path, PathBuf};

use super::captions::has_text;
use super::photo_path::PhotoFolder;
use super::unused::{Reason, UnusedList};
use super::{Corpus, Image, Photo, Split};
use crate::data::settings::OnBadImage;
use crate::error::{Error, Result};
use crate::escape::{escaped, shown};

/// The remedy of messages about incomplete images.
pub const LEAVE_OUT: &str = "leave such images out with --allow-missing (data.on_bad_image = \"skip\")";

/// One image as a corpus file describes it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The image's name, unique in the corpus.
    pub id: String,
    /// Its photo: inside the photo folder, and relative to it unless absolute.
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
    photos: Option<PhotoFolder>,
    on_bad: OnBadImage,
    /// The position of each image in the source.
    positions: Vec<usize>,
    corpus: Corpus,
}

impl<'a> Builder<'a> {
    /// `source` is the file that is read and `unit` the word for its entries (`line`, `image`); messages name
    /// both. `photos` is the folder of the photos, if there are any.
    pub fn new(source: &'a Path, unit: &'static str, photos: Option<&'a Path>) -> Self {
        let photos = photos.map(PhotoFolder::new);
        Self {
            source,
            unit,
            photos,
            on_bad: OnBadImage::Error,
            positions: Vec::new(),
            corpus: Corpus::default(),
        }
    }

    /// What to do with an image without captions; without this call it is refused.
    pub fn on_bad(self, on_bad: OnBadImage) -> Self {
        Self { on_bad, ..self }
    }

    /// The path of an image's photo below the photo folder in its one spelling; as it is in a corpus without photos.
    ///
    /// # Errors
    /// When it leads out of the folder or names no file: the message names the position and the path.
    pub fn photo_path(&self, position: usize, file: &Path) -> Result<PathBuf> {
        let Some(folder) = &self.photos else { return Ok(file.to_owned()) };
        folder.relative(file).map_err(|what| self.place(position, None).refusal(&what))
    }

    /// Appends the entry found at `position` (one-based) of the source.
    ///
    /// # Errors
    /// When it has no id, the id of another image, a path that leaves the photo folder, no caption or a blank
    /// one: the message names the position and the value.
    pub fn push(&mut self, position: usize, mut entry: Entry) -> Result<()> {
        entry.file = self.photo_path(position, &entry.file)?;
        let photo = self.photos.as_ref().map(|folder| Photo::File(folder.join(&entry.file)));
        self.push_with(position, entry, photo)
    }

    /// As [`push`](Self::push), but with the photo's location given; the entry's path is not used.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn push_with(&mut self, position: usize, entry: Entry, photo: Option<Photo>) -> Result<()> {
        let Entry { id, split, captions, .. } = entry;
        let place = self.place(position, photo.as_ref());
        self.check_id(&id, photo.as_ref()).map_err(|what| place.refusal(&what))?;
        let checked = self.check_captions(&place, &id, captions);
        if let Some(captions) = checked.map_err(|what| place.refusal(&what))? {
            self.corpus.append(Image { id, photo, split, captions: 0..0 }, &captions);
            self.positions.push(position);
        }
        Ok(())
    }

    /// The list of what is not used.
    pub fn unused(&mut self) -> &mut UnusedList {
        &mut self.corpus.unused
    }

    /// Where an entry is: a photo in an archive, or a position in the source.
    fn place(&self, position: usize, photo: Option<&Photo>) -> Place {
        match photo {
            Some(slice @ Photo::Slice { .. }) => Place { file: slice.path(), at: None },
            _ => Place { file: self.source.to_owned(), at: Some(format!("{} {position}", self.unit)) },
        }
    }

    fn check_id(&self, id: &str, photo: Option<&Photo>) -> Result<(), String> {
        if id.trim().is_empty() {
            return Err("the image has no name; give every image one of its own".into());
        }
        let Some(first) = self.corpus.find(id) else { return Ok(()) };
        let id = escaped(id);
        let remedy = "every id must be unique: put all captions of an image into one entry, or rename one";
        match (photo, self.corpus.photo(first)) {
            (Some(second @ Photo::Slice { .. }), Some(first)) => {
                Err(format!("{second} and {first} are both called `{id}`; {remedy}"))
            }
            _ => {
                let position = self.positions[first.row()];
                Err(format!("image `{id}` is already on {} {position}; {remedy}", self.unit))
            }
        }
    }

    /// The captions that are used; `None` if the image is left out.
    fn check_captions(
        &mut self,
        place: &Place,
        id: &str,
        captions: Vec<String>,
    ) -> Result<Option<Vec<String>>, String> {
        let shown_id = escaped(id);
        let blank = captions.iter().position(|caption| caption.trim().is_empty());
        if self.on_bad == OnBadImage::Skip {
            return Ok(self.captions_with_text(place, id, captions));
        }
        let leave_out = if self.photos.is_some() || place.at.is_none() {
            format!(", or {LEAVE_OUT}")
        } else {
            String::new()
        };
        match blank {
            _ if captions.is_empty() => {
                Err(format!("image `{shown_id}` has no captions; give it one or remove it{leave_out}"))
            }
            Some(n) => {
                let n = n + 1;
                Err(format!(
                    "caption {n} of image `{shown_id}` is blank, null or NaN; write or remove it{leave_out}"
                ))
            }
            None => Ok(Some(captions)),
        }
    }

    fn captions_with_text(
        &mut self,
        place: &Place,
        id: &str,
        mut captions: Vec<String>,
    ) -> Option<Vec<String>> {
        let (all, place) = (captions.len(), place.of(id));
        if !has_text(&captions) {
            self.unused().add(Reason::NoCaptions, place);
            return None;
        }
        captions.retain(|caption| !caption.trim().is_empty());
        (captions.len()..all).for_each(|_| self.unused().add(Reason::BlankCaption, place.clone()));
        Some(captions)
    }

    /// The finished corpus.
    ///
    /// # Errors
    /// When no image is in it.
    pub fn build(self) -> Result<Corpus> {
        if self.corpus.images.is_empty() {
            let unused = self.corpus.unused.clause();
            let what = format!("holds no images that can be used; a corpus needs at least one{unused}");
            return Err(Error::file(self.source, what));
        }
        Ok(self.corpus)
    }
}

/// Where an entry is.
struct Place {
    file: PathBuf,
    /// The position in the file; `None` if the file says it.
    at: Option<String>,
}

impl Place {
    fn refusal(&self, what: &str) -> Error {
        match &self.at {
            Some(at) => Error::file(&self.file, format!("{at}: {what}")),
            None => Error::file(&self.file, what),
        }
    }

    /// The place of the image `id`.
    fn of(&self, id: &str) -> String {
        self.at.as_ref().map_or_else(|| shown(&self.file), |at| format!("`{}` on {at}", escaped(id)))
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
        let mut builder = Builder::new(Path::new("c.jsonl"), "line", Some(Path::new("photos")));
        let pushed = entries.iter().zip(1..).try_for_each(|(entry, n)| builder.push(n, entry.clone()));
        pushed.and_then(|()| builder.build().map(drop)).unwrap_err().to_string()
    }

    #[test]
    fn invalid_entries_are_refused_by_name() {
        let good = entry("a.png", Split::Train, &["a dog"]);
        let twice = refusal(&[good.clone(), entry("b.png", Split::Val, &["b"]), good.clone()]);
        assert!(
            twice.starts_with("c.jsonl: line 3: image `a.png` is already on line 1; every id must be unique")
        );
        assert!(refusal(&[entry("b.png", Split::Val, &[])]).contains("`b.png` has no captions"));
        assert!(refusal(&[entry("b.png", Split::Val, &["x", " \t"])]).contains("caption 2 of image `b.png`"));
        assert!(refusal(&[entry(" ", Split::Val, &["x"])]).contains("no name"));
        assert!(refusal(&[]).contains("at least one"));
        for outside in ["/etc/passwd", "../a.png", "a/../../b.png"] {
            assert!(refusal(&[entry(outside, Split::Train, &["x"])]).contains(outside));
        }
    }

    #[test]
    fn images_without_captions_are_left_out_and_counted_on_demand() {
        let source = Path::new("c.jsonl");
        let mut builder = Builder::new(source, "line", None).on_bad(OnBadImage::Skip);
        for (n, captions) in [&["", "a"][..], &[], &[" "], &["b"]].into_iter().enumerate() {
            builder.push(n + 1, entry(&format!("{n}.png"), Split::Train, captions)).unwrap();
        }
        let corpus = builder.build().unwrap();
        assert_eq!(corpus.captions(), ["a", "b"]);
        let counts: Vec<_> = corpus.unused().all().iter().map(|u| (u.reason, u.count, u.first())).collect();
        let (blank, none) = ("`0.png` on line 1", "`1.png` on line 2");
        assert_eq!(counts, [(Reason::BlankCaption, 1, blank), (Reason::NoCaptions, 2, none)]);
        let mut builder = Builder::new(source, "line", None).on_bad(OnBadImage::Skip);
        builder.push(1, entry("a", Split::Train, &[])).unwrap();
        let refusal = builder.build().unwrap_err().to_string();
        assert!(
            refusal.contains("no images") && refusal.contains("images without captions: 1 (`a` on line 1)")
        );
    }

    #[test]
    fn an_id_without_a_photo_is_no_path() {
        let mut builder = Builder::new(Path::new("c.jsonl"), "line", None);
        for id in ["https://example.org/a.png", "/data/a.png", "../a.png", "./a.png"] {
            builder.push(1, entry(id, Split::Train, &["x"])).unwrap();
            assert!(builder.corpus.find(id).is_some());
        }
    }
}
