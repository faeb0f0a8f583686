//! The files that share one key, and which of them are the photo and the captions.
//!
//! Of several photos, the one without a second extension counts: `a.png` beside `a.seg.png`. Of several captions files,
//! the one with the photo's name counts, then the one without a second extension, and `.json` before `.txt`. A file alone
//! of its kind counts under any name. What is left undecided is refused.

use super::member::{Kind, Member, PHOTOS};
use super::shards::Shard;
use crate::data::corpus::unused::{Reason, UnusedList};
use crate::data::photos::Photo;

/// Files that a message names.
const NAMED: usize = 5;

/// The files that share one key.
#[derive(Debug)]
pub struct Sample {
    key: String,
    members: Vec<Member>,
}

/// A photo and its captions.
#[derive(Debug)]
pub struct Complete {
    /// The photo's name in the archive.
    pub name: String,
    /// The photo.
    pub photo: Photo,
    /// The captions, at least one with text.
    pub captions: Vec<String>,
}

/// Why a sample cannot be used.
#[derive(Debug)]
pub struct Fault {
    /// What is missing; `None` for what is refused in any case.
    pub reason: Option<Reason>,
    /// A clause.
    pub what: String,
}

impl Fault {
    fn refused(what: String) -> Self {
        Self { reason: None, what }
    }

    fn lacking(reason: Reason, what: String) -> Self {
        Self { reason: Some(reason), what }
    }
}

impl Sample {
    /// A sample without files.
    pub fn new(key: &str) -> Self {
        Self { key: key.to_owned(), members: Vec::new() }
    }

    /// The name that its files share.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Adds a file.
    pub fn add(&mut self, member: Member) {
        self.members.push(member);
    }

    /// The photo and its captions; `None` for files without either. Files that do not count go to `unused`.
    pub fn complete(self, shard: &Shard, unused: &mut UnusedList) -> Result<Option<Complete>, Fault> {
        let photo = self.photo()?;
        let captions = photo.map(|photo| self.captions(photo)).transpose()?;
        let counts = |member: &Member| {
            [photo, captions].into_iter().flatten().any(|other| std::ptr::eq(other, member))
        };
        for member in self.members.iter().filter(|member| !counts(member)) {
            unused.add(why_unused(member), format!("{}/{}", shard.label(), member.name));
        }
        let (Some(photo), Some(captions)) = (photo, captions) else { return Ok(None) };
        let chosen = captions.captions().expect("invariant: the chosen file has captions");
        if chosen.passed_over {
            unused.add(Reason::FurtherKey, format!("{}/{}", shard.label(), captions.name));
        }
        let photo_slice = photo.photo().expect("invariant: the chosen photo can be read").clone();
        Ok(Some(Complete { name: photo.name.clone(), photo: photo_slice, captions: chosen.captions.clone() }))
    }

    /// The photo; `None` if nothing in the sample asks for one.
    fn photo(&self) -> Result<Option<&Member>, Fault> {
        let photos = self.members.iter().filter(|member| member.kind == Kind::Photo).collect();
        let Some(photo) = self.only(photos, "photos").map_err(Fault::refused)? else {
            let has_captions = |member: &Member| member.captions().is_some() || member.content.is_err();
            let wants_photo = |member: &Member| {
                member.kind == Kind::Text || member.kind == Kind::Json && has_captions(member)
            };
            return if self.members.iter().any(wants_photo) { Err(self.no_photo()) } else { Ok(None) };
        };
        match &photo.content {
            Ok(_) => Ok(Some(photo)),
            Err(what) => Err(Fault::lacking(Reason::Unreadable, format!("`{}` {what}", photo.name))),
        }
    }

    fn no_photo(&self) -> Fault {
        let what = format!(
            "`{}` has no photo ({}): its files are {}",
            self.key,
            PHOTOS.join(", "),
            names(self.members.iter())
        );
        Fault::lacking(Reason::NoPhoto, what)
    }

    /// The captions file of a photo.
    fn captions(&self, photo: &Member) -> Result<&Member, Fault> {
        let stems = [photo.stem(), self.key.as_str()];
        let near = |member: &&Member| member.is_captions() && stems.contains(&member.stem());
        if let Some(broken) = self.unreadable(near) {
            return Err(broken);
        }
        for stem in stems {
            for kind in [Kind::Json, Kind::Text] {
                let found = self.with_text(kind, |member| member.stem() == stem);
                if let Some(found) = self.only(found, "captions files").map_err(Fault::refused)? {
                    return Ok(found);
                }
            }
        }
        for kind in [Kind::Json, Kind::Text] {
            let found = self.with_text(kind, |_| true);
            if let Some(found) = self.only(found, "captions files").map_err(Fault::refused)? {
                return Ok(found);
            }
        }
        Err(self.unreadable(|member| member.is_captions()).unwrap_or_else(|| self.no_captions(photo)))
    }

    fn with_text(&self, kind: Kind, which: impl Fn(&Member) -> bool) -> Vec<&Member> {
        let has_text = |member: &&Member| member.kind == kind && member.captions().is_some() && which(member);
        self.members.iter().filter(has_text).collect()
    }

    /// The first of these files that cannot be read.
    fn unreadable(&self, which: impl Fn(&&Member) -> bool) -> Option<Fault> {
        let broken = |member: &Member| Some(format!("`{}` {}", member.name, member.content.as_ref().err()?));
        let what = self.members.iter().filter(which).find_map(broken)?;
        Some(Fault::lacking(Reason::Unreadable, what))
    }

    fn no_captions(&self, photo: &Member) -> Fault {
        let blank: Vec<&Member> = self.members.iter().filter(|member| member.is_captions()).collect();
        let (name, stem) = (&photo.name, photo.stem());
        let what = if blank.is_empty() {
            format!("`{name}` has no captions: `{stem}.txt` or `{stem}.json` is missing")
        } else {
            let files = names(blank.into_iter());
            format!(
                "`{name}` has no captions: no text is in {files} (in JSON under \"captions\" or \"caption\")"
            )
        };
        Fault::lacking(Reason::NoCaptions, what)
    }

    /// The file that counts among several of one kind: the one without a second extension, or the only one.
    fn only<'a>(&self, found: Vec<&'a Member>, kind: &str) -> Result<Option<&'a Member>, String> {
        let plain: Vec<&Member> = found.iter().filter(|member| member.stem() == self.key).copied().collect();
        match (plain.as_slice(), found.as_slice()) {
            ([one], _) | ([], [one]) => Ok(Some(one)),
            ([], []) => Ok(None),
            ([], all) => Err(self.undecided(all, kind)),
            (several, _) => {
                let (key, files) = (&self.key, names(several.iter().copied()));
                Err(format!(
                    "the sample `{key}` has several {kind}: {files}; remove those that do not count, or give them a second \
                     extension, as in {key}.other.png"
                ))
            }
        }
    }

    fn undecided(&self, all: &[&Member], kind: &str) -> String {
        let (key, files) = (&self.key, names(all.iter().copied()));
        let example = all.first().map_or("", |member| &member.name);
        let dashed = example.rsplit_once('.').map(|(stem, end)| {
            let rest = stem.get(key.len()..).unwrap_or_default().replace('.', "-");
            format!("{key}{rest}.{end}")
        });
        format!(
            "the sample `{key}` has several {kind}: {files}; the name of a sample ends at the first dot, so files that belong \
             to different samples must not have another dot in their names (rename {example} to {}), and of several {kind} \
             of one sample the one that counts has no second extension",
            dashed.unwrap_or_default()
        )
    }
}

/// Why a file does not count.
fn why_unused(member: &Member) -> Reason {
    match member.kind {
        Kind::Photo => Reason::FurtherPhoto,
        Kind::Other => Reason::OtherExtension,
        Kind::Json if member.captions().is_none() && member.content.is_ok() => Reason::NoCaptionsInJson,
        Kind::Json | Kind::Text => Reason::FurtherCaptions,
    }
}

fn names<'a>(members: impl ExactSizeIterator<Item = &'a Member>) -> String {
    let more = members.len().saturating_sub(NAMED);
    let names: Vec<String> = members.take(NAMED).map(|member| format!("`{}`", member.name)).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.join(", "))
}
