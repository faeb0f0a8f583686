//! The reference of all keys, for `dsi config` and for `src/guide/configuration.md`: what each is, its
//! default, the values it takes and what it affects.

use std::sync::LazyLock;

use serde::Serialize;
use toml::Value;

use super::keys::{self, nearest, shown, unknown};
use super::{Config, Scope};
use crate::config_schema::{Allowed, Effect, Key, Section as _};
use crate::error::{Error, Result};

/// Columns that the text is wrapped to.
const WIDTH: usize = 100;
/// What the keys without a section are headed with.
const TOP: &str = "Top of the file";

/// A part of the reference: the keys of one section.
#[derive(Debug, Clone, Serialize)]
pub struct SectionReference {
    /// Its name; empty for the keys before every section.
    pub section: String,
    /// What it is about.
    pub about: String,
    /// Its keys.
    pub keys: Vec<KeyReference>,
}

/// One key of the reference.
#[derive(Debug, Clone, Serialize)]
pub struct KeyReference {
    /// Its name with its section: `train.margin`.
    pub key: String,
    /// TOML's name for its type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The value it has when the file does not set it.
    pub default: Value,
    /// What it takes, in words.
    pub allowed: String,
    /// The least and the largest value, both allowed, of a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<[Value; 2]>,
    /// The words it takes, if it takes words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<Word>,
    /// What changes with it.
    pub affects: &'static [Effect],
    /// What it is.
    pub about: String,
}

/// One of the words that a key takes.
#[derive(Debug, Clone, Serialize)]
pub struct Word {
    /// The word.
    pub word: &'static str,
    /// What it means.
    pub about: String,
}

/// Everything, in the order of the declarations.
static REFERENCE: LazyLock<Vec<SectionReference>> = LazyLock::new(make);

/// Every section with its keys.
pub fn all() -> &'static [SectionReference] {
    &REFERENCE
}

/// The section of this name.
///
/// # Errors
/// When there is none, with the nearest name.
pub fn section(name: &str) -> Result<&'static SectionReference> {
    let found = all().iter().find(|section| section.section == name && !name.is_empty());
    found.ok_or_else(|| {
        let names = keys::sections();
        let hint = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("there are {}", names.join(", ")),
        };
        Error::input(format!("{} is not a section; {hint}", shown(name)))
    })
}

/// The key of this name.
///
/// # Errors
/// When there is none, with the nearest name; for the name of a section, with the way to it.
pub fn key(name: &str) -> Result<&'static KeyReference> {
    if keys::sections().contains(&name) {
        let what = format!("{name} is a section; dsi config --section {name} shows its keys");
        return Err(Error::input(what));
    }
    let mut entries = all().iter().flat_map(|section| &section.keys);
    entries.find(|entry| entry.key == name).ok_or_else(|| Error::input(unknown(name)))
}

fn make() -> Vec<SectionReference> {
    let defaults = Config::default().values(&Scope::All.keys());
    let entry = |key: &Key| KeyReference::new(key, defaults[&key.name].clone());
    let of_section = |(name, about): (&str, String)| SectionReference {
        section: name.to_owned(),
        about,
        keys: keys::all().iter().filter(|key| keys::in_section(&key.name, name)).map(entry).collect(),
    };
    let top = [("", Config::about())];
    top.into_iter().chain(Config::sections()).map(of_section).collect()
}

impl KeyReference {
    fn new(key: &Key, default: Value) -> Self {
        Self {
            key: key.name.clone(),
            kind: key.allowed.toml_type(),
            default,
            allowed: key.allowed.to_string(),
            range: range_of(&key.allowed),
            words: words_of(&key.allowed),
            affects: key.affects,
            about: key.about.clone(),
        }
    }

    /// The name without the section.
    fn leaf(&self) -> &str {
        self.key.rsplit('.').next().unwrap_or(&self.key)
    }

    /// `weights, settings`; `nothing` for a key that changes no result.
    fn effects(&self) -> String {
        let words: Vec<&str> = self.affects.iter().map(|effect| effect.word()).collect();
        if words.is_empty() { "nothing".into() } else { words.join(", ") }
    }

    /// The entry as text for a terminal, opened by `name`.
    fn text(&self, name: &str) -> String {
        let words =
            self.words.iter().map(|word| wrapped(&format!("{}: {}", word.word, word.about), "      "));
        [
            format!("{name} = {}\n", self.default),
            wrapped(&self.about, "    "),
            wrapped(&format!("{}: {}", self.kind, self.allowed), "    "),
            words.collect(),
            wrapped(&format!("affects: {}", self.effects()), "    "),
        ]
        .concat()
    }

    /// The allowed values, for a table of the guide.
    fn allowed_markdown(&self) -> String {
        let words = self.words.iter().map(|word| format!("`{}`: {}", word.word, word.about));
        let words = words.collect::<Vec<_>>().join("<br>");
        if words.is_empty() { self.allowed.clone() } else { words }
    }

    /// The entry as text for a terminal.
    pub fn explained(&self) -> String {
        self.text(&self.key)
    }
}

impl SectionReference {
    /// The section as text for a terminal.
    pub fn text(&self) -> String {
        let name = if self.section.is_empty() { TOP.into() } else { format!("[{}]", self.section) };
        let entries = self.keys.iter().map(|key| format!("\n{}", key.text(key.leaf())));
        format!("{name}\n{}{}", wrapped(&self.about, ""), entries.collect::<String>())
    }

    fn markdown(&self) -> String {
        let name = if self.section.is_empty() { TOP.into() } else { format!("`[{}]`", self.section) };
        let mut text = format!("## {name}\n\n{}\n\n", self.about);
        text += "| key | default | allowed | affects | what it is |\n|---|---|---|---|---|\n";
        for key in &self.keys {
            let cells = [
                format!("`{}`", key.leaf()),
                format!("`{}`", key.default),
                key.allowed_markdown(),
                key.effects(),
                key.about.clone(),
            ];
            text += &format!("| {} |\n", cells.join(" | "));
        }
        text
    }
}

/// Sections as text for a terminal.
pub fn text(sections: &[SectionReference]) -> String {
    sections.iter().map(SectionReference::text).collect::<Vec<_>>().join("\n\n")
}

/// The whole reference as a chapter of the guide.
pub fn markdown() -> String {
    let effects = Effect::ALL.map(|effect| format!("| {effect} | {} |\n", effect.about())).concat();
    let sections: Vec<String> = all().iter().map(SectionReference::markdown).collect();
    format!("{HEAD}{effects}\n{}", sections.join("\n"))
}

const HEAD: &str = "\
<!-- Made from the declarations in the source by `dsi config --markdown`; do not edit. -->

# Configuration

One TOML file describes one experiment. Every key has a default, so a file names only what differs; `--set
section.key=value` overrides a key on the command line. The same reference is printed by

```text
dsi config                          # all keys
dsi config --section train          # the keys of a section
dsi config --explain train.margin   # one key
dsi config --json                   # for programs
```

A key that is unknown, out of range or in conflict with another is refused before anything starts, with all other
problems and the nearest name. There are no optional keys: an empty text or a zero stands for \"none\" where the key
says so. The column *affects* says what changes directly with a key; what is made from that changes with it.

| affects | meaning |
|---|---|
";

fn range_of(allowed: &Allowed) -> Option<[Value; 2]> {
    match *allowed {
        Allowed::Count(low, high) => Some([Value::Integer(low), Value::Integer(high)]),
        Allowed::Real(low, high) => Some([Value::Float(low), Value::Float(high)]),
        _ => None,
    }
}

fn words_of(allowed: &Allowed) -> Vec<Word> {
    let Allowed::OneOf { words, about } = allowed else { return Vec::new() };
    words.iter().zip(about()).map(|(&word, about)| Word { word, about }).collect()
}

/// The text in lines of at most [`WIDTH`] columns, each opened by `indent`.
fn wrapped(text: &str, indent: &str) -> String {
    let mut lines = vec![indent.to_owned()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("invariant: there is always a line");
        if line.trim().is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= WIDTH {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(format!("{indent}{word}"));
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_chapter_of_the_guide_is_what_the_source_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guide/configuration.md");
        let there = std::fs::read_to_string(path).unwrap_or_default();
        let remedy = "run `dsi config --markdown > src/guide/configuration.md`";
        assert!(there == markdown(), "src/guide/configuration.md is out of date: {remedy}");
    }

    #[test]
    fn the_reference_has_every_key_once_with_its_default() {
        let entries: Vec<&KeyReference> = all().iter().flat_map(|section| &section.keys).collect();
        assert_eq!(entries.len(), keys::all().len());
        let width = key("decoder.width").unwrap();
        assert_eq!((width.kind, &width.default), ("integer", &Value::Integer(128)));
        assert_eq!(width.range, Some([Value::Integer(8), Value::Integer(8192)]));
        let precision = key("precision").unwrap();
        assert_eq!(precision.words.iter().map(|word| word.word).collect::<Vec<_>>(), ["auto", "f32", "bf16"]);
        assert_eq!(precision.words[1].about, "32 bits.");
        assert_eq!(key("device").unwrap().effects(), "nothing");
        assert!(entries.iter().all(|entry| !entry.about.contains('|')), "a table would break");
    }

    #[test]
    fn wrong_names_get_a_hint() {
        let error = |name: &str| key(name).unwrap_err().to_string();
        assert_eq!(error("train.margn"), "train.margn is not a key; did you mean train.margin?");
        assert_eq!(error("margin"), "margin is not a key; did you mean train.margin?");
        assert_eq!(error("train"), "train is a section; dsi config --section train shows its keys");
        let error = |name: &str| section(name).unwrap_err().to_string();
        assert_eq!(error("trian"), "trian is not a section; did you mean train?");
        assert!(error("").starts_with(" is not a section; there are data, encoder, index"));
    }

    #[test]
    fn text_is_wrapped() {
        let text = wrapped(&"word ".repeat(50), "  ");
        assert!(text.lines().all(|line| line.len() <= WIDTH && line.starts_with("  word")), "{text}");
        assert_eq!(text.split_whitespace().count(), 50);
    }
}
