//! All keys there are, and the names that a wrong one may have meant.

use std::sync::LazyLock;

use super::Config;
use crate::config_schema::{Key, Section};

/// Characters of a key or a value that a message repeats.
const SHOWN: usize = 80;
/// How alike two names must be (1 is equal) for one to be offered for the other.
const ALIKE: f64 = 0.6;

/// Every key in the order of its declaration.
static KEYS: LazyLock<Vec<Key>> = LazyLock::new(Config::keys);

/// Every key in the order of its declaration.
pub fn all() -> &'static [Key] {
    &KEYS
}

/// The names of all keys.
pub fn names() -> impl Iterator<Item = &'static str> {
    all().iter().map(|key| key.name.as_str())
}

/// The key of this name.
pub fn find(name: &str) -> Option<&'static Key> {
    all().iter().find(|key| key.name == name)
}

/// The names of the sections, in order.
pub fn sections() -> Vec<&'static str> {
    let mut names: Vec<_> = names().filter_map(|name| name.split_once('.')).map(|(s, _)| s).collect();
    names.dedup();
    names
}

/// Says that a name is not a key, and which key may have been meant.
pub fn unknown(key: &str) -> String {
    if sections().contains(&key) {
        return format!("{key} is a section: write [{key}] on a line of its own, and its keys below");
    }
    // A key in the wrong section is right except for its place; that beats any likeness of letters.
    let leaf = key.rsplit('.').next();
    let misplaced = names().find(|known| known.rsplit('.').next() == leaf);
    let hint = match misplaced.or_else(|| nearest(key, names().chain(sections()))) {
        Some(name) => format!("did you mean {name}?"),
        None => format!("there are {}", siblings(key).join(", ")),
    };
    format!("{} is not a key; {hint}", shown(key))
}

/// The keys in the section of `key`; the names of the sections if `key` is in none.
fn siblings(key: &str) -> Vec<&'static str> {
    let Some((section, _)) = key.split_once('.') else { return sections() };
    let keys: Vec<_> = names().filter(|name| in_section(name, section)).collect();
    if keys.is_empty() { sections() } else { keys }
}

/// Whether a dotted name stands in a section; those without a dot stand in `""`.
pub fn in_section(name: &str, section: &str) -> bool {
    name.split_once('.').map_or("", |(of, _)| of) == section
}

/// The name most like `text`. Long texts are not typing errors, and comparing them takes time.
pub fn nearest<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if text.len() > SHOWN {
        return None;
    }
    // Texts of very different lengths are not alike.
    let may_be_alike = |name: &&str| {
        let (a, b) = (text.chars().count() as f64, name.len() as f64);
        (a - b).abs() <= (1.0 - ALIKE) * a.max(b)
    };
    let likeness = |name| (strsim::normalized_damerau_levenshtein(text, name), name);
    let best = names.filter(may_be_alike).map(likeness).max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(alike, _)| *alike >= ALIKE).map(|(_, name)| name)
}

/// Outside text fit for one line of a terminal.
pub fn shown(text: &str) -> String {
    let mut line: String = text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(SHOWN).is_some() {
        line.push('…');
    }
    line
}
