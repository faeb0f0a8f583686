//! From text to a [`Config`]: the file, then the overrides, each key against what it allows, and all problems
//! together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use toml::{Table, Value};

use super::keys::{self, nearest, sections, shown, unknown};
use super::{Config, conflicts};
use crate::config_schema::Allowed;
use crate::error::{Error, Result};

/// Keys that do not come from the file: the start of each complaint about them, and a table like that of a
/// file.
pub type Layer<'a> = (&'a str, &'a Table);

/// Reads `text`, which came from `origin`, applies the overrides (`section.key=value`) and then the layer in
/// order, and checks.
///
/// # Errors
/// [`Error::Line`] for broken TOML; else [`Error::Config`] with everything that is wrong.
pub fn resolve(text: &str, origin: &Path, overrides: &[String], layer: Option<Layer>) -> Result<Config> {
    let mut given = Given::default();
    given.take(&origin.display().to_string(), table(text, origin)?);
    for each in overrides {
        match parse_override(each) {
            Ok(table) => given.take("--set", table),
            Err(problem) => given.problems.push(problem),
        }
    }
    if let Some((origin, keys)) = layer {
        given.take(origin, keys.clone());
    }
    given.finish()
}

/// A text, which came from `origin`, as TOML.
///
/// # Errors
/// [`Error::Line`] where it is none.
pub fn table(text: &str, origin: &Path) -> Result<Table> {
    text.parse().map_err(|e| syntax(text, origin, &e))
}

fn syntax(text: &str, origin: &Path, error: &toml::de::Error) -> Error {
    let start = error.span().map_or(0, |span| span.start);
    let line = 1 + text.bytes().take(start).filter(|b| *b == b'\n').count();
    Error::line(origin, line, format!("is not TOML: {}", error.message()))
}

/// The key of an override, `section.key=value`.
pub fn override_key(text: &str) -> &str {
    text.split('=').next().unwrap_or_default().trim()
}

/// `section.key=value` as a table. The value is TOML, else text; for a key that holds text it is text unless
/// it is quoted, so that a folder called `2024` needs no quotes.
fn parse_override(text: &str) -> Result<Table, String> {
    let (key, raw) = text
        .split_once('=')
        .ok_or_else(|| format!("--set {}: write it as section.key=value", shown(text)))?;
    let key = key.trim();
    let parsed = format!("value = {raw}").parse::<Table>().ok().filter(|table| table.len() == 1);
    let parsed = parsed.and_then(|mut table| table.remove("value"));
    let value = match parsed {
        Some(value) if value.is_str() || !keys::find(key).is_some_and(|key| key.allowed.is_text()) => value,
        _ => Value::String(raw.to_owned()),
    };
    Ok(match key.split_once('.') {
        Some((section, key)) => Table::from_iter([(section.to_owned(), table_of(key, value))]),
        None => Table::from_iter([(key.to_owned(), value)]),
    })
}

fn table_of(key: &str, value: Value) -> Value {
    Value::Table(Table::from_iter([(key.to_owned(), value)]))
}

/// What the user wrote: values that passed their rules, keys whose values did not, and the complaints.
#[derive(Default)]
struct Given {
    values: BTreeMap<&'static str, Value>,
    refused: BTreeSet<String>,
    problems: Vec<String>,
}

impl Given {
    /// Takes a whole table; `origin` opens each complaint about it.
    fn take(&mut self, origin: &str, table: Table) {
        for (name, value) in table {
            match value {
                Value::Table(section) if sections().contains(&name.as_str()) => {
                    section.iter().for_each(|(key, value)| self.put(origin, &format!("{name}.{key}"), value));
                }
                value => self.put(origin, &name, &value),
            }
        }
    }

    fn put(&mut self, origin: &str, key: &str, value: &Value) {
        let Some(known) = keys::find(key) else {
            self.problems.push(format!("{origin}: {}", unknown(key)));
            return;
        };
        match known.allowed.admit(value) {
            Some(value) => {
                self.values.insert(&known.name, value);
            }
            None => {
                self.problems.push(format!("{origin}: {}", not_allowed(key, value, &known.allowed)));
                self.refused.insert(key.to_owned());
            }
        }
    }

    /// The typed configuration, defaults filled in, or all complaints.
    fn finish(mut self) -> Result<Config> {
        let config = typed(&self.values)?;
        let given = self.values.keys().copied().collect();
        self.problems.extend(conflicts::find(&config, &given, &self.refused));
        if self.problems.is_empty() { Ok(config) } else { Err(Error::Config(self.problems)) }
    }
}

/// The values as a [`Config`], with defaults for the keys that are not there.
fn typed(values: &BTreeMap<&'static str, Value>) -> Result<Config> {
    let mut root = Table::new();
    for (key, value) in values {
        let (table, key) = match key.split_once('.') {
            None => (&mut root, *key),
            Some((section, key)) => {
                let section = root.entry(section).or_insert_with(|| Value::Table(Table::new()));
                (section.as_table_mut().expect("invariant: no key has a section's name"), key)
            }
        };
        table.insert(key.to_owned(), value.clone());
    }
    root.try_into().map_err(|e: toml::de::Error| Error::Config(vec![e.message().to_owned()]))
}

fn not_allowed(key: &str, value: &Value, allowed: &Allowed) -> String {
    let hint = match (allowed, value) {
        (Allowed::OneOf { words, .. }, Value::String(text)) => nearest(text, words.iter().copied()),
        _ => None,
    };
    let hint = hint.map(|word| format!("; did you mean \"{word}\"?")).unwrap_or_default();
    format!("{key} = {} is not allowed: it takes {allowed}{hint}", shown(&value.to_string()))
}
