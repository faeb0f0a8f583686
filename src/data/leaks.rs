//! The leakage guard: reports, before training starts, what the val and test splits share with the train
//! split.
//!
//! A *photo* that is in two splits under two names was trained on with its train captions, so finding it
//! proves nothing: by default it stops the training. A *caption* that two photos share ("a dog runs") is
//! common in honest data, the more so the shorter captions are: by default it is only counted and shown.
//! `data.on_leak` changes both. Photos are equal when their bytes are; captions are equal when their words
//! are, regardless of case, spacing and punctuation. A corpus of features has no photos; only its captions
//! are compared.

use std::collections::HashMap;

use super::corpus::{Corpus, Split};
use super::photos::{self, Photo, PhotoHash};
use crate::data::settings::OnLeak;
use crate::error::{Error, Result};
use crate::escape::{escaped, shortened};
use crate::ids::ImageIdx;

/// A message names this many leaks and counts the rest.
const SHOWN: usize = 5;
/// An item of the val or test split with an equal item in the train split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leak<T> {
    /// The held-out caption (its position in the corpus) or image.
    pub held_out: T,
    /// The first equal item of the train split.
    pub train: T,
}

/// All leaks, in corpus order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leaks {
    /// Captions, by position.
    pub captions: Vec<Leak<usize>>,
    /// Photos.
    pub photos: Vec<Leak<ImageIdx>>,
}

/// Logs the leaks. `photos` holds one hash per image, or is empty for a corpus of features.
///
/// # Errors
/// When `on_leak` forbids a leak that was found: the message has counts, names and the remedy.
pub fn guard(on_leak: OnLeak, corpus: &Corpus, photos: &[Option<PhotoHash>]) -> Result<()> {
    let leaks = find(corpus, photos);
    let found = [
        (leaks.describe_captions(corpus), on_leak == OnLeak::Any),
        (leaks.describe_photos(corpus), on_leak != OnLeak::Warn),
    ];
    let mut refused = Vec::new();
    for (text, stops) in found {
        match text {
            Some(text) if stops => refused.push(text),
            Some(text) => tracing::warn!("{text}"),
            None => {}
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    Err(Error::input(format!(
        "held-out data is in the train split:\n  {}\nremove one of each pair or put both into one split; to train \
         anyway, set data.on_leak = \"warn\"",
        refused.join("\n  ")
    )))
}

/// The hashes of all photos of a corpus, read in parallel; empty for a corpus of features.
pub fn photo_hashes(corpus: &Corpus) -> Vec<Option<PhotoHash>> {
    let photos: Option<Vec<&Photo>> = corpus.images().map(|image| corpus.photo(image)).collect();
    photos::hashes(&photos.unwrap_or_default())
}

/// Finds the captions and photos of val and test that are also in train.
pub fn find(corpus: &Corpus, photos: &[Option<PhotoHash>]) -> Leaks {
    let words = |caption: usize| Some(words(corpus.caption(caption))).filter(|words| !words.is_empty());
    let captions = |split| corpus.captions_in(split);
    // Hashes instead of the texts keep the memory small for half a million captions.
    let key = |caption: usize| words(caption).map(|words| *blake3::hash(words.as_bytes()).as_bytes());
    let photo = |image: ImageIdx| photos.get(image.row()).copied().flatten();
    let images = |split| corpus.images_in(split);
    Leaks { captions: shared(captions, key), photos: shared(images, photo) }
}

/// The items of val and test that share their key with an item of train.
fn shared<T: Copy, K: Eq + std::hash::Hash>(
    items: impl Fn(Split) -> Vec<T>,
    key: impl Fn(T) -> Option<K>,
) -> Vec<Leak<T>> {
    let mut trained = HashMap::new();
    for item in items(Split::Train) {
        if let Some(key) = key(item) {
            trained.entry(key).or_insert(item);
        }
    }
    let held_out = [Split::Val, Split::Test].into_iter().flat_map(items);
    held_out.filter_map(|held_out| Some(Leak { held_out, train: *trained.get(&key(held_out)?)? })).collect()
}

/// The words of a caption in lower case, without punctuation.
fn words(caption: &str) -> String {
    let words = caption.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

impl Leaks {
    fn describe_captions(&self, corpus: &Corpus) -> Option<String> {
        let split = |leak: &Leak<usize>| corpus.split(corpus.owner(leak.held_out));
        let name = |leak: &Leak<usize>| {
            let [held_out, train] = [leak.held_out, leak.train].map(|n| escaped(corpus.id(corpus.owner(n))));
            let caption = shortened(corpus.caption(leak.held_out));
            format!("\"{caption}\" of {} {held_out} and of train {train}", split(leak))
        };
        let counts = counts(&self.captions, split, |split| corpus.captions_in(split).len());
        describe(&self.captions, format!("captions of training pairs occur in {counts} captions"), name)
    }

    fn describe_photos(&self, corpus: &Corpus) -> Option<String> {
        let split = |leak: &Leak<ImageIdx>| corpus.split(leak.held_out);
        let name = |leak: &Leak<ImageIdx>| {
            let [held_out, train] = [leak.held_out, leak.train].map(|image| escaped(corpus.id(image)));
            format!("{} {held_out} is train {train}", split(leak))
        };
        let counts = counts(&self.photos, split, |split| corpus.images_in(split).len());
        describe(
            &self.photos,
            format!("photos of the train split are {counts} photos too, byte for byte"),
            name,
        )
    }
}

/// `3 of 1000 val, 1 of 500 test`
fn counts<T>(leaks: &[T], split: impl Fn(&T) -> Split, of: impl Fn(Split) -> usize) -> String {
    let count = |held_out: Split| leaks.iter().filter(|leak| split(leak) == held_out).count();
    let counted = [Split::Val, Split::Test].map(|split| (split, count(split), of(split)));
    let parts = counted.iter().filter(|(_, _, all)| *all > 0);
    parts.map(|(split, n, all)| format!("{n} of {all} {split}")).collect::<Vec<_>>().join(", ")
}

/// One line with the first few names; `None` if there are no leaks.
fn describe<T>(leaks: &[T], what: String, name: impl Fn(&T) -> String) -> Option<String> {
    let names: Vec<String> = leaks.iter().take(SHOWN).map(name).collect();
    let more = leaks.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    (!leaks.is_empty()).then(|| format!("{what}: {}{more}", names.join("; ")))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::corpus::{Builder, Entry};
    use super::*;

    fn corpus(images: &[(&str, Split, &[&str])]) -> Corpus {
        let mut builder = Builder::new(Path::new("c"), "line", None);
        for (n, (id, split, captions)) in images.iter().enumerate() {
            let captions = captions.iter().map(|&c| c.into()).collect();
            builder
                .push(n + 1, Entry { id: (*id).into(), file: (*id).into(), split: *split, captions })
                .unwrap();
        }
        builder.build().unwrap()
    }

    fn three() -> Corpus {
        corpus(&[
            ("a", Split::Train, &["A dog runs.", "two cats", "!"]),
            ("b", Split::Test, &["a  DOG, runs", "a dog", "?"]),
            ("c", Split::Val, &["Two cats!", "Zwei Hunde"]),
            ("d", Split::Train, &["two cats", "zwei hunde."]),
        ])
    }

    #[test]
    fn captions_are_compared_by_their_words() {
        let found = find(&three(), &[]);
        let pairs: Vec<_> = found.captions.iter().map(|leak| (leak.held_out, leak.train)).collect();
        assert_eq!(pairs, [(6, 1), (7, 9), (3, 0)]);
        assert_eq!(found.photos, []);
        assert_eq!(words("  It's 5\tO'Clock—ÉTÉ! "), "it s 5 o clock été");
    }

    #[test]
    fn photos_are_compared_by_their_bytes_and_unreadable_ones_never_match() {
        let photos = [Some([1; 32]), Some([1; 32]), None, None];
        let found = find(&three(), &photos);
        assert_eq!(found.photos, [Leak { held_out: ImageIdx(1), train: ImageIdx(0) }]);
    }

    #[test]
    fn the_user_chooses_what_stops_and_messages_have_names() {
        let corpus = three();
        let photos = [Some([1; 32]), Some([1; 32]), None, None];
        let refusal = |on_leak, photos| guard(on_leak, &corpus, photos).unwrap_err().to_string();
        let text = refusal(OnLeak::Photo, &photos);
        assert!(
            text.contains("0 of 1 val, 1 of 1 test photos too") && text.contains("test b is train a"),
            "{text}"
        );
        assert!(!text.contains("captions of"), "{text}");
        let text = refusal(OnLeak::Any, &[]);
        assert!(text.contains("2 of 2 val, 1 of 3 test captions") && text.contains("data.on_leak"), "{text}");
        assert!(text.contains("\"Two cats!\" of val c and of train a"), "{text}");
        guard(OnLeak::Warn, &corpus, &photos).unwrap();
        guard(OnLeak::Photo, &corpus, &[]).unwrap();
    }

    #[test]
    fn long_lists_are_cut() {
        let leaks: Vec<usize> = (0..7).collect();
        assert_eq!(describe(&leaks, "x".into(), usize::to_string).unwrap(), "x: 0; 1; 2; 3; 4; and 2 more");
        assert_eq!(describe(&leaks[..0], "x".into(), usize::to_string), None);
    }
}
