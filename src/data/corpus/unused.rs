//! What a reader of a corpus did not use: counted by reason, so that nothing is passed over in silence.

/// How much an unused item matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// The source is damaged or not whole: the corpus is not complete.
    Damage,
    /// An image was left out, as `data.on_bad_image = "skip"` demands.
    LeftOut,
    /// The corpus is complete without it.
    Harmless,
}

/// Why an item is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// An archive without a byte.
    EmptyArchive,
    /// An archive whose end is missing.
    NoEnd,
    /// Bytes behind the end of an archive.
    BytesAfterEnd,
    /// A symbolic link whose target does not exist.
    DeadLink,
    /// A pipe, socket or device in the place of an archive.
    NoRegularFile,
    /// A compressed archive.
    Compressed,
    /// An archive that is still being downloaded.
    Unfinished,
    /// Captions or a photo that cannot be read.
    Unreadable,
    /// A sample without a photo.
    NoPhoto,
    /// An image without captions.
    NoCaptions,
    /// A caption without text, beside others.
    BlankCaption,
    /// A file of a sample with an extension that is not read.
    OtherExtension,
    /// What macOS adds to archives and folders.
    Apple,
    /// A file of an archive with a name that begins with a dot.
    Hidden,
    /// A folder in an archive.
    Folder,
    /// A device or pipe in an archive.
    NotFile,
    /// An archive without an entry.
    NoEntries,
    /// Another file beside the archives.
    NoArchive,
    /// A folder in which no archive is looked for.
    DeepFolder,
    /// A photo beside the one that counts.
    FurtherPhoto,
    /// A captions file beside the one that counts.
    FurtherCaptions,
    /// A JSON file that states no captions.
    NoCaptionsInJson,
    /// `caption` beside `captions`.
    FurtherKey,
}

impl Reason {
    /// The unused items, as a noun phrase in the plural.
    pub fn text(self) -> &'static str {
        match self {
            Self::EmptyArchive => "archives of 0 bytes",
            Self::NoEnd => "archives without the two zero blocks at their end, which may be cut short",
            Self::BytesAfterEnd => {
                "archives that go on behind their end (join archives with tar -A, not with cat)"
            }
            Self::DeadLink => "links to nothing",
            Self::NoRegularFile => "archives that are no regular files",
            Self::Compressed => "compressed archives, which have to be unpacked to .tar",
            Self::Unfinished => "archives that are not downloaded completely",
            Self::Unreadable => "files in archives that cannot be read",
            Self::NoPhoto => "samples without a photo",
            Self::NoCaptions => "images without captions",
            Self::BlankCaption => "captions that are blank, null or NaN",
            Self::OtherExtension => "files in archives with other extensions",
            Self::Apple => "Apple's ._ files",
            Self::Hidden => "files in archives with names that begin with a dot",
            Self::Folder => "folders in archives",
            Self::NotFile => "entries of archives that are neither files nor folders",
            Self::NoEntries => "archives without entries",
            Self::NoArchive => "files that are no .tar archives",
            Self::DeepFolder => "folders in subfolders, in which no archive is looked for",
            Self::FurtherPhoto => "photos beside the photo of their sample",
            Self::FurtherCaptions => "captions files beside the one of their sample that counts",
            Self::NoCaptionsInJson => "JSON files without captions",
            Self::FurtherKey => "values of \"caption\" beside \"captions\"",
        }
    }

    /// How much it matters.
    pub fn weight(self) -> Weight {
        match self {
            Self::EmptyArchive | Self::NoEnd | Self::BytesAfterEnd | Self::DeadLink => Weight::Damage,
            Self::NoRegularFile | Self::Compressed | Self::Unfinished | Self::Unreadable => Weight::Damage,
            Self::NoPhoto | Self::NoCaptions | Self::BlankCaption => Weight::LeftOut,
            _ => Weight::Harmless,
        }
    }

    /// How many places are kept: each damage is named.
    fn kept(self) -> usize {
        if self.weight() == Weight::Damage { 100 } else { 1 }
    }
}

/// The unused items of one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unused {
    /// The reason.
    pub reason: Reason,
    /// Their number, at least one.
    pub count: usize,
    /// Where the first ones are; of damage up to a hundred.
    pub places: Vec<String>,
}

impl Unused {
    /// Where the first one is.
    pub fn first(&self) -> &str {
        self.places.first().map_or("", String::as_str)
    }

    /// `links to nothing: 2 (a.tar, b.tar)`, or with the first place alone.
    pub fn describe(&self) -> String {
        let Self { reason, count, places } = self;
        let text = reason.text();
        match places.as_slice() {
            [first] if *count > 1 => format!("{text}: {count} (the first is {first})"),
            places if places.len() < *count => {
                format!("{text}: {count} ({} and {} more)", places.join(", "), count - places.len())
            }
            places => format!("{text}: {count} ({})", places.join(", ")),
        }
    }
}

/// What a reader did not use, by reason, in the order in which the reasons came up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnusedList(Vec<Unused>);

impl UnusedList {
    /// Counts one item; `place` says where it is.
    pub fn add(&mut self, reason: Reason, place: impl Into<String>) {
        match self.0.iter_mut().find(|unused| unused.reason == reason) {
            None => self.0.push(Unused { reason, count: 1, places: vec![place.into()] }),
            Some(unused) => {
                unused.count += 1;
                if unused.places.len() < reason.kept() {
                    unused.places.push(place.into());
                }
            }
        }
    }

    /// All reasons that came up.
    pub fn all(&self) -> &[Unused] {
        &self.0
    }

    /// The reasons of one weight, each with number and places; `None` if there are none.
    pub fn describe(&self, weight: Weight) -> Option<String> {
        let of_weight = self.0.iter().filter(|unused| unused.reason.weight() == weight);
        let texts: Vec<String> = of_weight.map(Unused::describe).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }

    /// A clause with all reasons for an error; empty if there are none.
    pub fn clause(&self) -> String {
        let texts: Vec<String> = self.0.iter().map(Unused::describe).collect();
        if texts.is_empty() { String::new() } else { format!("; not used: {}", texts.join("; ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_counted_by_reason_and_damage_is_named() {
        let mut list = UnusedList::default();
        assert_eq!((list.clause(), list.describe(Weight::Damage)), (String::new(), None));
        for n in 0..3 {
            list.add(Reason::OtherExtension, format!("a.tar/{n}.cls"));
            list.add(Reason::DeadLink, format!("{n}.tar"));
        }
        list.add(Reason::EmptyArchive, "e.tar");
        let damage = "links to nothing: 3 (0.tar, 1.tar, 2.tar); archives of 0 bytes: 1 (e.tar)";
        assert_eq!(list.describe(Weight::Damage).unwrap(), damage);
        let harmless = "files in archives with other extensions: 3 (the first is a.tar/0.cls)";
        assert_eq!(list.describe(Weight::Harmless).unwrap(), harmless);
        assert_eq!(list.clause(), format!("; not used: {harmless}; {damage}"));
        assert_eq!((list.all()[1].count, list.all()[1].first()), (3, "0.tar"));
        (0..200).for_each(|n| list.add(Reason::DeadLink, format!("{n}")));
        assert!(list.describe(Weight::Damage).unwrap().contains(" and 103 more); archives"));
    }
}
