//! The grid file: the experiments of an ablation, as differences from one configuration.
//!
//! ```toml
//! seeds = [0, 1, 2]              # every row runs with each of them; without this line, with the configuration's seed
//!
//! [[row]]                        # one experiment: keys that differ from the base, as in a configuration file
//! name = "without beam negatives"
//! set = { train.beam_negatives = 0 }
//!
//! [[row]]
//! name = "without lookahead, in training too"
//! set = { search.lookahead = false }
//! retrain = true                 # without it, rows that differ in [search] and [eval] alone are only measured again
//!
//! [grid]                         # every combination of these values; write [[grid]] for several grids
//! index.levels = [8, 12]
//! search.beam = [20, 50]
//! ```
//!
//! The base is the first row of every ablation and is not written down. This module turns text into [`Row`]s
//! and reports all problems at once; it runs nothing.

#[cfg(test)]
mod tests;

use std::path::Path;

use toml::{Table, Value};

use crate::config;
use crate::error::{Error, Result};

/// The name of the row that all others are compared with.
pub const BASE: &str = "base";
/// The start of complaints about the keys of a combination, which belong to no single row.
const OF_GRIDS: &str = "[grid]";
/// Most rows of an ablation: more would not fit into a readable table, and would take weeks.
const MOST_ROWS: usize = 1000;
/// Most characters of a name, which names a folder too.
const LONGEST_NAME: usize = 100;
/// The keys of a grid file, and those of a row in it.
const KEYS: [&str; 3] = ["seeds", "row", "grid"];
const KEYS_OF_A_ROW: [&str; 3] = ["name", "set", "retrain"];

/// Keys that a row may not set, and why.
const RESERVED: [(&str, &str); 3] = [
    ("seed", "every row has the same seeds: write seeds = [0, 1, 2] at the top of the grid, or --seeds"),
    ("device", "all rows run on one device: use --device"),
    ("pretrain", "is for dsi pretrain alone and changes nothing here"),
];

/// A checked grid file.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// Its seeds; empty if it has none.
    pub seeds: Vec<u64>,
    /// Its rows without the base.
    pub rows: Vec<Row>,
}

/// One experiment of a grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its name in the table; its [`Row::folder`] is unique among the rows.
    pub name: String,
    /// The keys that it sets, dotted.
    pub set: Table,
    /// Whether it is trained even if only its search differs.
    pub retrain: bool,
    /// Whether it is a `[[row]]` of the file, not a combination of values.
    pub written: bool,
}

impl Row {
    /// The row that changes nothing.
    pub fn base() -> Self {
        Self { name: BASE.into(), set: Table::new(), retrain: false, written: false }
    }

    /// The start of a complaint about one of its keys.
    pub fn origin(&self) -> String {
        if self.written { format!("row {:?}", self.name) } else { OF_GRIDS.into() }
    }

    /// The start of its run folders' names: letters, digits and `-_.=`; never starts with a dot.
    pub fn folder(&self) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.=".contains(c);
        let words = self.name.split(|c| !plain(c)).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join("-").trim_start_matches(['.', '-']).to_owned()
    }
}

/// Reads a grid file.
///
/// # Errors
/// When it cannot be read or is not TOML, and with [`Error::Config`] listing every problem. The keys that
/// rows set are checked later, by [`config::Config::load_with`].
pub fn read(path: &Path) -> Result<Grid> {
    let mut problems = Vec::new();
    let grid = parse(config::read_toml(path)?, &mut problems);
    let origin = path.display();
    problems.iter_mut().for_each(|problem| *problem = format!("{origin}: {problem}"));
    if problems.is_empty() { Ok(grid) } else { Err(Error::Config(problems)) }
}

fn parse(mut table: Table, problems: &mut Vec<String>) -> Grid {
    refuse_others(&table, &KEYS, "a grid", problems);
    let seeds = table.remove("seeds").map_or(Vec::new(), |value| seeds(&value, problems));
    let mut rows = Vec::new();
    for (number, row) in (1..).zip(tables(table.remove("row"), "row", problems)) {
        rows.extend(row_of(row, number, problems));
    }
    for grid in tables(table.remove("grid"), "grid", problems) {
        rows.extend(combinations(&grid, problems));
    }
    if rows.is_empty() && problems.is_empty() {
        problems
            .push("has no rows: write [[row]] with a name and what it sets, or a [grid] of values".into());
    }
    refuse_clashes(&rows, problems);
    rows.iter().for_each(|row| refuse_reserved(row, problems));
    problems.dedup();
    Grid { seeds, rows }
}

fn refuse_others(table: &Table, known: &[&str], of: &str, problems: &mut Vec<String>) {
    let others = table.keys().filter(|key| !known.contains(&key.as_str()));
    problems
        .extend(others.map(|key| format!("{key:?} is not a key of {of}; there are {}", known.join(", "))));
}

/// The value of `seeds`: whole numbers, each once.
fn seeds(value: &Value, problems: &mut Vec<String>) -> Vec<u64> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let seeds: Vec<u64> =
        list.iter().filter_map(|seed| seed.as_integer()?.try_into().ok()).collect::<Vec<_>>();
    if seeds.is_empty() || seeds.len() < list.len() || repeats(&seeds) {
        problems.push(format!("seeds = {value} is not allowed: it takes a list of whole numbers, each once"));
    }
    seeds
}

/// Whether a list has a value twice.
pub fn repeats<T: PartialEq>(values: &[T]) -> bool {
    values.iter().enumerate().any(|(place, value)| values[..place].contains(value))
}

/// The tables under a key: one, or an array of them.
fn tables(value: Option<Value>, key: &str, problems: &mut Vec<String>) -> Vec<Table> {
    let values = match value {
        None => Vec::new(),
        Some(Value::Array(values)) => values,
        Some(value) => vec![value],
    };
    let mut found = Vec::new();
    for value in values {
        match value {
            Value::Table(table) => found.push(table),
            value => problems.push(format!("{key} = {value}: write [[{key}]] on a line of its own")),
        }
    }
    found
}

/// A `[[row]]`, the `number`-th of the file.
fn row_of(mut table: Table, number: usize, problems: &mut Vec<String>) -> Option<Row> {
    let name = match table.get("name") {
        Some(Value::String(name)) => name.clone(),
        _ => {
            problems.push(format!("row {number} has no name: write name = \"without …\""));
            return None;
        }
    };
    refuse_others(&table, &KEYS_OF_A_ROW, &format!("row {name:?}"), problems);
    let retrain = table.remove("retrain").unwrap_or(Value::Boolean(false));
    let Some(retrain) = retrain.as_bool() else {
        problems.push(format!("row {name:?}: retrain = {retrain} is not allowed: it takes true or false"));
        return None;
    };
    let set: Table =
        table.get("set").and_then(Value::as_table).map_or(Vec::new(), dotted).into_iter().collect();
    if set.is_empty() {
        let problem = format!("row {name:?} sets nothing: write set = {{ train.beam_negatives = 0 }}");
        problems.push(problem);
        return None;
    }
    Some(Row { name, set, retrain, written: true })
}

/// One row for each combination of the values of a `[grid]`; keys in alphabetical order, the last one's
/// values changing fastest.
fn combinations(grid: &Table, problems: &mut Vec<String>) -> Vec<Row> {
    let axes: Vec<(String, Vec<Value>)> = axes(grid, problems);
    let count = axes.iter().try_fold(1_usize, |count, (_, values)| count.checked_mul(values.len()));
    if count.is_none_or(|count| count > MOST_ROWS) {
        problems.push(format!("{OF_GRIDS} has too many combinations; {MOST_ROWS} are allowed"));
        return Vec::new();
    }
    let mut sets = vec![Table::new()];
    for (key, values) in &axes {
        let with = |set: &Table, value: &Value| {
            let mut set = set.clone();
            set.insert(key.clone(), value.clone());
            set
        };
        sets = sets.iter().flat_map(|set| values.iter().map(move |value| with(set, value))).collect();
    }
    sets.retain(|set| !set.is_empty());
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let name = |set: &Table| {
        let parts = axes.iter().filter_map(|(key, _)| Some(format!("{key}={}", shown(set.get(key)?))));
        parts.collect::<Vec<_>>().join(", ")
    };
    sets.into_iter().map(|set| Row { name: name(&set), set, retrain: false, written: false }).collect()
}

/// The keys of a `[grid]`, dotted and in order, with their values.
fn axes(grid: &Table, problems: &mut Vec<String>) -> Vec<(String, Vec<Value>)> {
    let mut axes: Vec<(String, Vec<Value>)> = Vec::new();
    for (key, value) in dotted(grid) {
        match value.as_array() {
            Some(values) if !values.is_empty() && !repeats(values) => axes.push((key, values.clone())),
            _ => problems.push(format!(
                "{OF_GRIDS}: {key} = {value} is not allowed: it takes a list of values, each once"
            )),
        }
    }
    axes.sort_by(|a, b| a.0.cmp(&b.0));
    let twice = axes.windows(2).filter(|pair| pair[0].0 == pair[1].0);
    problems.extend(twice.map(|pair| format!("{OF_GRIDS}: {} stands there twice", pair[0].0)));
    axes
}

/// The keys of a table whose sections may be tables in it.
fn dotted(table: &Table) -> Vec<(String, Value)> {
    let keys = table.iter().flat_map(|(name, value)| match value {
        Value::Table(section) => {
            section.iter().map(|(key, value)| (format!("{name}.{key}"), value.clone())).collect()
        }
        value => vec![(name.clone(), value.clone())],
    });
    keys.collect()
}

/// Names become folders: each must have one, and no two the same, also where capitals do not count.
fn refuse_clashes(rows: &[Row], problems: &mut Vec<String>) {
    if rows.len() > MOST_ROWS {
        problems.push(format!("has {} rows; {MOST_ROWS} are allowed", rows.len()));
        return;
    }
    let mut seen = vec![(BASE.to_owned(), BASE)];
    for row in rows {
        let (name, folder) = (row.name.as_str(), row.folder().to_lowercase());
        if folder.is_empty() || name.chars().count() > LONGEST_NAME || name.contains(char::is_control) {
            let allowed = format!("1 to {LONGEST_NAME} characters, some of them letters or digits of ASCII");
            problems.push(format!("row {name:?}: the name names a folder too, so it takes {allowed}"));
        }
        if let Some((_, other)) = seen.iter().find(|(taken, _)| *taken == folder) {
            problems.push(format!("row {name:?} and row {other:?} would share a folder; rename one of them"));
        }
        seen.push((folder, name));
    }
}

fn refuse_reserved(row: &Row, problems: &mut Vec<String>) {
    for key in row.set.keys() {
        let section = key.split('.').next();
        if let Some((_, why)) = RESERVED.iter().find(|(reserved, _)| section == Some(reserved)) {
            problems.push(format!("{}: {key} cannot be set: {why}", row.origin()));
        }
    }
}
