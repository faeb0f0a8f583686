//! The answers of a row, read back from its run and qrels files: what comparing rows of different runs needs.
//!
//! A report has recalls; a paired difference needs to know which queries were answered. The run files beside the report
//! know it to the depth that recall is measured at.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use super::query_outcomes::QueryOutcomes;
use super::report::Row;
use super::trec_files;
use crate::error::{Error, Result};
use crate::ids::ImageIdx;

/// What a row's queries were, and what was answered.
pub struct ReadBack {
    /// Each query with the image it asks for, both as the files name them, in the order asked.
    pub asked: Vec<(String, String)>,
    /// Ranks as deep as the run file; images are numbered in the order asked.
    pub answers: QueryOutcomes,
}

/// Reads the files of a row whose queries have one right image each; `eval` is the folder of its report.
///
/// # Errors
/// When a file cannot be read, is not such a file, or the two do not belong together.
pub fn read(row: &Row, eval: &Path) -> Result<ReadBack> {
    let (mut asked, mut folds) = (Vec::new(), Vec::new());
    for name in &row.files.qrels {
        let before = asked.len();
        asked.extend(trec_files::read_qrels(&eval.join(name))?);
        folds.push(before..asked.len());
    }
    let path = eval.join(&row.files.run);
    let right: HashMap<&str, &str> = asked.iter().map(|(query, image)| (&**query, &**image)).collect();
    if right.len() != asked.len() || asked.len() != row.queries || folds.iter().any(Range::is_empty) {
        let what = format!("{} queries have one right image, the report has {}", right.len(), row.queries);
        return Err(Error::file(&path, format!("{what} queries; evaluate again")));
    }
    let ranks = trec_files::read_ranks(&path, &right)?;
    let ranks = asked.iter().map(|(query, _)| ranks.get(query).copied()).collect();
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut number = |image| {
        let next = numbers.len();
        ImageIdx::from(*numbers.entry(image).or_insert(next))
    };
    let clusters = asked.iter().map(|(_, image)| number(image.as_str())).collect();
    Ok(ReadBack { answers: QueryOutcomes::new(ranks, clusters, folds), asked })
}
