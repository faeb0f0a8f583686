//! The outcomes of a row's queries, read back from its run and qrels files.
//!
//! Comparing rows of different runs pairs their queries, and a report has recalls alone. The run files have
//! the rank of every query, to the depth at which recall is measured.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use super::query_outcomes::QueryOutcomes;
use super::report::Row;
use super::trec_files;
use crate::error::{Error, Result};
use crate::ids::ImageIdx;

/// The queries of a row and their outcomes.
pub struct ReadBack {
    /// The id of each query with that of its right image, in the order of the file.
    pub queries: Vec<(String, String)>,
    /// Ranks down to the depth of the run file; images are numbered in the order of the queries.
    pub outcomes: QueryOutcomes,
}

/// Reads the files of a row whose queries have one right image each; `eval` is the folder of its report.
///
/// # Errors
/// When a file cannot be read or is malformed, or the files do not belong together.
pub fn read(row: &Row, eval: &Path) -> Result<ReadBack> {
    let (mut queries, mut folds) = (Vec::new(), Vec::new());
    for name in &row.files.qrels {
        let before = queries.len();
        queries.extend(trec_files::read_qrels(&eval.join(name))?);
        folds.push(before..queries.len());
    }
    let path = eval.join(&row.files.run);
    let right: HashMap<&str, &str> = queries.iter().map(|(query, image)| (&**query, &**image)).collect();
    if right.len() != queries.len() || queries.len() != row.queries || folds.iter().any(Range::is_empty) {
        let what = format!("{} queries have one right image, the report has {}", right.len(), row.queries);
        return Err(Error::file(&path, format!("{what} queries; evaluate again")));
    }
    let ranks = trec_files::read_ranks(&path, &right)?;
    let ranks = queries.iter().map(|(query, _)| ranks.get(query).copied()).collect();
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut number = |image| {
        let next = numbers.len();
        ImageIdx::from(*numbers.entry(image).or_insert(next))
    };
    let clusters = queries.iter().map(|(_, image)| number(image.as_str())).collect();
    Ok(ReadBack { outcomes: QueryOutcomes::new(ranks, clusters, folds), queries })
}
