//! One file of an archive: its sample, its kind, its captions.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::data::corpus::captions::{Captions, Chosen};
use crate::data::json;
use crate::data::photos::Photo;
use crate::known_heads;

/// The extensions of photos.
pub const PHOTOS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// What a file may be, by its extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A photo.
    Photo,
    /// One caption a line.
    Text,
    /// Captions under `captions` or `caption`.
    Json,
    /// A file that is not read.
    Other,
}

/// What a file holds.
#[derive(Debug)]
pub enum Content {
    /// A photo.
    Photo(Photo),
    /// Captions, perhaps none.
    Captions(Chosen),
    /// Nothing that is read.
    Other,
}

/// One file of a sample.
#[derive(Debug)]
pub struct Member {
    /// Its name in the archive in its one spelling.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// What it holds, or why it cannot be read.
    pub content: Result<Content, String>,
}

impl Member {
    /// The name without its last extension.
    pub fn stem(&self) -> &str {
        self.name.rsplit_once('.').map_or(self.name.as_str(), |(stem, _)| stem)
    }

    /// Its captions, if it holds some with text.
    pub fn captions(&self) -> Option<&Chosen> {
        match &self.content {
            Ok(Content::Captions(chosen)) if chosen.has_text() => Some(chosen),
            _ => None,
        }
    }

    /// The photo, if it is one that can be read.
    pub fn photo(&self) -> Option<&Photo> {
        if let Ok(Content::Photo(photo)) = &self.content { Some(photo) } else { None }
    }

    /// Whether it may hold captions.
    pub fn is_captions(&self) -> bool {
        matches!(self.kind, Kind::Text | Kind::Json)
    }
}

/// The key of a sample and the extensions after it: the key ends at the first dot behind the last slash. `None` if the
/// name has no extension.
pub fn split_name(name: &str) -> Option<(&str, &str)> {
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = file + name[file..].find('.').filter(|&dot| dot > 0)?;
    Some((&name[..dot], &name[dot + 1..]))
}

/// The kind of a file by its last extension, regardless of case.
pub fn kind(name: &str) -> Kind {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
    match extension.as_str() {
        "txt" => Kind::Text,
        "json" => Kind::Json,
        photo if PHOTOS.contains(&photo) => Kind::Photo,
        _ => Kind::Other,
    }
}

impl Content {
    /// The captions in a file; the error completes a sentence that begins with its name.
    pub fn captions(kind: Kind, bytes: &[u8]) -> Result<Self, String> {
        let chosen = if kind == Kind::Json { of_json(bytes)? } else { Chosen::plain(lines(bytes)?) };
        Ok(Self::Captions(chosen))
    }
}

/// One caption a line; blank lines are skipped.
fn lines(bytes: &[u8]) -> Result<Vec<String>, &'static str> {
    if let Some(what) = known_heads::describe(bytes) {
        return Err(what);
    }
    let lines = json::text(bytes)?.lines().map(str::trim);
    Ok(lines.filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// The captions of a JSON file; none if it has no such key or is no object.
fn of_json(bytes: &[u8]) -> Result<Chosen, String> {
    #[derive(Deserialize)]
    struct Metadata {
        captions: Option<Captions>,
        caption: Option<Captions>,
    }
    let wrong = "cannot be read";
    if !json::without_bom(bytes).trim_ascii_start().starts_with(b"{") {
        return json::read_file::<IgnoredAny>(bytes, wrong).map(|_| Chosen::plain(Vec::new()));
    }
    let Metadata { captions, caption } = json::read_file(bytes, wrong)?;
    Ok(Captions::choose(captions, caption))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_dot_ends_the_key_and_the_last_one_begins_the_kind() {
        for (name, split, kind) in [
            ("a.jpg", Some(("a", "jpg")), Kind::Photo),
            ("x.y/a.v2.PNG", Some(("x.y/a", "v2.PNG")), Kind::Photo),
            ("a.input.json", Some(("a", "input.json")), Kind::Json),
            ("a.txt.gz", Some(("a", "txt.gz")), Kind::Other),
            ("x.y/a", None, Kind::Other),
        ] {
            assert_eq!(split_name(name), split, "{name}");
            if split.is_some() {
                assert_eq!(super::kind(name), kind, "{name}");
            }
        }
    }

    #[test]
    fn captions_are_read_as_people_write_them() {
        let captions = |kind, bytes: &[u8]| match Content::captions(kind, bytes) {
            Ok(Content::Captions(chosen)) => Ok(chosen.captions),
            Ok(_) => Err("no captions".into()),
            Err(what) => Err(what),
        };
        assert_eq!(captions(Kind::Text, b"\xef\xbb\xbfone\r\n\n two \n").unwrap(), ["one", "two"]);
        assert_eq!(captions(Kind::Json, b"\xef\xbb\xbf {\"caption\": \"a\", \"x\": NaN}").unwrap(), ["a"]);
        assert_eq!(captions(Kind::Json, b"[1, 2]").unwrap(), [""; 0]);
        assert!(captions(Kind::Text, b"\xff\xfea\0").unwrap_err().contains("UTF-16"));
        assert!(
            captions(Kind::Text, b"version https://git-lfs.github.com/spec/v1")
                .unwrap_err()
                .contains("git lfs")
        );
        assert!(
            captions(Kind::Json, b"{\"caption\": 7}").unwrap_err().contains("cannot be read: invalid type")
        );
        assert!(captions(Kind::Json, b"[1, ").unwrap_err().contains("cannot be read: EOF"));
    }
}
