//! Results that papers report, for comparison with measured ones: `data/published.toml`, which is part of the
//! program.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::report::CUTOFFS;
use crate::error::{Error, Result};

const TEXT: &str = include_str!("../../data/published.toml");

/// One published row: caption→image on the test split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// Name of the data set, as in `data.name`.
    pub dataset: String,
    /// The gallery as papers call it: `1k`, `5k`.
    pub gallery: String,
    /// Images that can be returned.
    pub images: usize,
    /// Galleries that the figures are means over.
    #[serde(default = "one")]
    pub folds: usize,
    /// The method.
    pub method: String,
    /// Cut-off → recall in percent.
    #[serde(deserialize_with = "cutoffs")]
    pub recall: BTreeMap<usize, f64>,
    /// Where it was published.
    pub source: Source,
    /// Whether the figures were compared with the table of the paper that measured them.
    pub verified: bool,
    /// That table; empty if they were not compared.
    #[serde(default)]
    pub verified_in: String,
}

/// The paper of a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its title.
    pub title: String,
    /// Conference or journal.
    pub venue: String,
    /// Year of publication.
    pub year: u16,
    /// Address of the paper.
    pub url: String,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, {}", self.venue, self.year, self.url)
    }
}

fn one() -> usize {
    1
}

/// Reads cut-offs from the keys of a TOML table, which are text.
fn cutoffs<'de, D: serde::Deserializer<'de>>(from: D) -> Result<BTreeMap<usize, f64>, D::Error> {
    let by_text = BTreeMap::<String, f64>::deserialize(from)?;
    let parsed = |(key, value): (String, f64)| {
        let key = key.parse().map_err(|_| serde::de::Error::custom(format!("cut-off {key} is no number")))?;
        Ok((key, value))
    };
    by_text.into_iter().map(parsed).collect()
}

/// All published rows.
pub fn rows() -> Vec<Published> {
    parse(TEXT).expect("invariant: a test parses the file that is part of the program")
}

/// Reads the rows of such a file.
///
/// # Errors
/// When a key is missing or unknown, or a figure is no recall in percent: the message names the method.
pub fn parse(text: &str) -> Result<Vec<Published>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        row: Vec<Published>,
    }
    let File { row: rows } =
        toml::from_str(text).map_err(|e| Error::input(format!("published results: {}", e.message())))?;
    match rows.iter().find(|row| !is_sound(row)) {
        None => Ok(rows),
        Some(row) => Err(Error::input(format!(
            "published results: {} on {}: each row has names, a gallery, an https address, one more of the table where it is \
             verified, and recall at 1, 5 and 10 from 0 to 100, ascending",
            row.method, row.dataset
        ))),
    }
}

fn is_sound(row: &Published) -> bool {
    let texts = [&row.dataset, &row.gallery, &row.method, &row.source.title, &row.source.venue];
    texts.iter().all(|text| !text.is_empty())
        && has_sound_recall(row)
        && row.images > 0
        && row.folds > 0
        && row.verified == row.verified_in.starts_with("https://")
        && row.source.url.starts_with("https://")
}

/// Whether a row has recall at exactly the usual cut-offs, in percent, ascending.
fn has_sound_recall(row: &Published) -> bool {
    let figures: Vec<f64> = CUTOFFS.iter().filter_map(|k| row.recall.get(k)).copied().collect();
    let complete = figures.len() == CUTOFFS.len() && row.recall.len() == CUTOFFS.len();
    complete && figures.iter().all(|x| (0.0..=100.0).contains(x)) && figures.is_sorted()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_in_the_program_is_sound_and_names_no_row_twice() {
        let rows = rows();
        let mut names: Vec<_> = rows.iter().map(|r| (&r.dataset, &r.gallery, &r.method)).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), rows.len()), (12, 12));
        let clip = rows.iter().find(|r| r.method.contains("B/32") && r.dataset == "flickr30k").unwrap();
        assert_eq!((clip.images, clip.folds, clip.recall[&5]), (1000, 1, 83.6));
    }

    #[test]
    fn files_that_are_not_exact_are_refused() {
        let row = r#"[[row]]
dataset = "coco"
gallery = "5k"
images = 5000
method = "X"
recall = { 1 = 1.0, 5 = 2.0, 10 = 3 }
source = { title = "T", venue = "V", year = 2020, url = "https://x.org" }
verified = true
verified_in = "https://x.org, table 1"
"#;
        assert_eq!(parse(row).unwrap()[0].recall[&10], 3.0);
        for (from, to, said) in [
            ("verified = true", "", "verified"),
            ("verified = true", "verified = false", "where it is verified"),
            ("verified = true", "verified = true\nmore = 1", "more"),
            ("10 = 3", "10 = 1.5", "ascending"),
            ("10 = 3", "10 = 300", "X on coco"),
            ("10 = 3", "20 = 3", "recall at"),
            ("10 = 3", "ten = 3", "ten"),
            ("url = \"https", "url = \"ftp", "https"),
            ("year = 2020, ", "", "year"),
            ("images = 5000", "images = -1", "published results"),
        ] {
            let error = parse(&row.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
