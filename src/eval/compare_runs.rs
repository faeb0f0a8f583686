//! Several runs in one table: the repetitions of an experiment with other seeds become one row, mean ±
//! standard deviation, followed by published results on the same images.
//!
//! Reports are repetitions of one experiment when they agree in data set, split, encoder and
//! [`Report::settings`], the hash of all of the configuration that decides a figure, except for the seed
//! (overrides of `dsi eval` included).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::published_results::Published;
use super::report::{CUTOFFS, Report, Row};
use super::row_setting::{Gallery, QueryKind, Regime};
use crate::error::{Error, Result};
use crate::escape::shown;
use crate::retriever::ranking_stage::Stage;
use crate::run_folder::RunFolder;

/// The name of a run, and a report of it.
pub type NamedReport = (String, Report);

/// The mean over seeds, and their standard deviation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Mean over the seeds, in 0..=1.
    pub mean: f64,
    /// Sample standard deviation (n − 1); none for one seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sd: Option<f64>,
}

/// One row: the figures of an experiment in one setting.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// The runs that it averages.
    pub runs: Vec<String>,
    /// Their seeds.
    pub seeds: Vec<u64>,
    /// Name of the data set.
    pub dataset: String,
    /// Split whose queries were measured.
    pub split: String,
    /// Name of the encoder.
    pub encoder: String,
    /// Name of the retriever.
    pub retriever: String,
    /// What its ranking is made with.
    pub stage: Stage,
    /// What the queries are.
    pub query: QueryKind,
    /// Which images can be returned.
    pub gallery: Gallery,
    /// How many images can be returned.
    pub images: usize,
    /// Galleries that the figures are means over.
    pub folds: usize,
    /// Whether training saw the images.
    pub regime: Regime,
    /// Cut-off → recall.
    pub recall: BTreeMap<usize, Spread>,
}

/// Rows that can be compared: the same queries over the same images.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Block {
    /// What was measured.
    pub measured: Vec<Line>,
    /// What was published.
    pub published: Vec<Published>,
}

/// Reads the reports of runs; only those of one data set if it is given.
///
/// # Errors
/// When a run has no report, or one that cannot be read, or no report is of that data set.
pub fn read(runs: &[PathBuf], dataset: Option<&str>) -> Result<Vec<NamedReport>> {
    let mut named = Vec::new();
    for path in runs {
        let before = named.len();
        for file in reports_in(&RunFolder::new(path).eval())? {
            named.push((path.display().to_string(), Report::read(&file)?));
        }
        if named.len() == before {
            let what = format!("holds no report; make one with dsi eval --run {}", shown(path));
            return Err(Error::file(path, what));
        }
    }
    let wanted = |report: &Report| dataset.is_none_or(|name| name == report.dataset);
    if let (Some(name), false) = (dataset, named.iter().any(|(_, report)| wanted(report))) {
        let known: BTreeSet<&str> = named.iter().map(|(_, report)| report.dataset.as_str()).collect();
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        return Err(Error::input(format!("no report of {name} in these runs; there are some of {known}")));
    }
    named.retain(|(_, report)| wanted(report));
    Ok(named)
}

/// The JSON files of a folder in the order of their names; none if there is no folder.
fn reports_in(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(folder).map_err(Error::io("list", folder))?;
    let paths: std::io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(Error::io("list", folder))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    Ok(paths)
}

/// Groups reports into experiments and their rows into blocks, in the order of their first appearance.
///
/// # Errors
/// When two reports of one experiment have the same seed.
pub fn compare(reports: &[NamedReport], published: &[Published]) -> Result<Vec<Block>> {
    let mut blocks: Vec<Block> = Vec::new();
    for group in groups(reports)? {
        for line in lines(&group) {
            match blocks.iter_mut().find(|block| comparable(&block.measured[0], &line)) {
                Some(block) => block.measured.push(line),
                None => {
                    blocks.push(Block { published: published_on(&line, published), measured: vec![line] })
                }
            }
        }
    }
    Ok(blocks)
}

/// The reports of each experiment.
fn groups(reports: &[NamedReport]) -> Result<Vec<Vec<&NamedReport>>> {
    let experiment = |r: &Report| (r.dataset.clone(), r.split.clone(), r.encoder.clone(), r.settings.clone());
    let mut groups: Vec<Vec<&NamedReport>> = Vec::new();
    for named in reports {
        let Some(group) = groups.iter_mut().find(|group| experiment(&group[0].1) == experiment(&named.1))
        else {
            groups.push(vec![named]);
            continue;
        };
        if let Some((other, _)) = group.iter().find(|(_, report)| report.seed == named.1.seed) {
            return Err(Error::input(format!(
                "{other} and {} repeat one experiment with the same seed, {}; leave out one of them, or train it with \
                 another --seed",
                named.0, named.1.seed
            )));
        }
        group.push(named);
    }
    Ok(groups)
}

/// The rows of an experiment, each averaged over the reports that have it.
fn lines(group: &[&NamedReport]) -> Vec<Line> {
    let mut rows: Vec<&Row> = Vec::new();
    for row in group.iter().flat_map(|(_, report)| &report.rows) {
        if !rows.iter().any(|known| same_setting(known, row)) {
            rows.push(row);
        }
    }
    rows.into_iter().map(|row| line(group, row)).collect()
}

fn line(group: &[&NamedReport], row: &Row) -> Line {
    let measured: Vec<(&NamedReport, &Row)> = group
        .iter()
        .filter_map(|named| Some((*named, named.1.rows.iter().find(|other| same_setting(other, row))?)))
        .collect();
    let spread = |k: usize| {
        let values: Option<Vec<f64>> = measured.iter().map(|(_, row)| row.recall.get(&k).copied()).collect();
        Some((k, spread(&values?)))
    };
    let report = &group[0].1;
    Line {
        runs: measured.iter().map(|(named, _)| named.0.clone()).collect(),
        seeds: measured.iter().map(|(named, _)| named.1.seed).collect(),
        dataset: report.dataset.clone(),
        split: report.split.clone(),
        encoder: report.encoder.clone(),
        retriever: row.retriever.clone(),
        stage: row.stage,
        query: row.query,
        gallery: row.gallery,
        images: row.images,
        folds: row.folds,
        regime: row.regime,
        recall: CUTOFFS.into_iter().filter_map(spread).collect(),
    }
}

fn same_setting(a: &Row, b: &Row) -> bool {
    let key = |r: &Row| (r.stage, r.query, r.gallery, r.regime, r.images, r.folds, r.queries);
    a.retriever == b.retriever && key(a) == key(b)
}

/// Whether two lines measure the same queries over the same images.
fn comparable(a: &Line, b: &Line) -> bool {
    let key = |line: &Line| (line.query, line.gallery, line.images, line.folds);
    (&a.dataset, &a.split) == (&b.dataset, &b.split) && key(a) == key(b)
}

/// The published results on the test captions of this data set with a gallery of the same size.
fn published_on(line: &Line, published: &[Published]) -> Vec<Published> {
    let same = |p: &&Published| {
        (p.dataset.as_str(), p.images, p.folds) == (line.dataset.as_str(), line.images, line.folds)
            && line.split == "test"
            && line.query == QueryKind::Caption
            && line.gallery != Gallery::Corpus
    };
    published.iter().filter(same).cloned().collect()
}

/// Mean and standard deviation of values, one a seed.
pub fn spread(values: &[f64]) -> Spread {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    Spread { mean, sd: (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::report::tests::sample;

    /// A report of one row, with this recall at 1.
    fn named(run: &str, seed: u64, settings: &str, r1: f64) -> NamedReport {
        let mut report = sample();
        (report.seed, report.settings) = (seed, settings.into());
        report.rows[0].recall.insert(1, r1);
        (run.into(), report)
    }

    #[test]
    fn the_spread_is_that_of_a_sample() {
        // >>> numpy.std([0.47, 0.48, 0.46], ddof=1)  ->  0.01
        let three = spread(&[0.47, 0.48, 0.46]);
        assert!((three.mean - 0.47).abs() < 1e-12 && (three.sd.unwrap() - 0.01).abs() < 1e-12);
        assert_eq!(spread(&[0.5]), Spread { mean: 0.5, sd: None });
    }

    #[test]
    fn runs_that_differ_in_the_seed_alone_become_one_row() {
        let reports = [
            named("a", 0, "x", 0.5),
            named("other", 0, "y", 0.75),
            named("b", 1, "x", 0.25),
            named("c", 2, "x", 0.0),
        ];
        let blocks = compare(&reports, &[]).unwrap();
        assert_eq!(blocks.len(), 1);
        let [ours, other] = &blocks[0].measured[..] else { panic!("{blocks:?}") };
        assert_eq!((ours.runs.join(" "), &ours.seeds[..]), ("a b c".into(), &[0, 1, 2][..]));
        assert_eq!(ours.recall[&1], Spread { mean: 0.25, sd: Some(0.25) });
        assert_eq!(ours.recall[&5], Spread { mean: 0.75, sd: Some(0.0) });
        assert_eq!((&other.seeds[..], other.recall[&1].sd), (&[0][..], None));
    }

    #[test]
    fn two_reports_of_one_seed_are_refused() {
        let error =
            compare(&[named("a", 3, "x", 0.5), named("b", 3, "x", 0.5)], &[]).unwrap_err().to_string();
        assert!(error.contains("a and b") && error.contains("the same seed, 3"), "{error}");
    }

    #[test]
    fn published_rows_need_the_same_test_captions_and_gallery() {
        let published = super::super::published_results::rows();
        let count = |change: fn(&mut Report)| {
            let (run, mut report) = named("a", 0, "x", 0.5);
            (report.dataset, report.split) = ("flickr30k".into(), "test".into());
            change(&mut report);
            compare(&[(run, report)], &published).unwrap()[0].published.len()
        };
        assert_eq!(count(|_| ()), 6);
        assert_eq!(count(|report| report.dataset = "coco".into()), 0, "1,000 images are not COCO's 5,000");
        assert_eq!(count(|report| report.split = "val".into()), 0);
        assert_eq!(count(|report| report.rows[0].images = 31_014), 0);
        assert_eq!(count(|report| report.rows[0].folds = 5), 0);
        assert_eq!(count(|report| report.rows[0].query = QueryKind::ImageToCaption), 0);
        assert_eq!(count(|report| report.rows[0].gallery = Gallery::Corpus), 0);
    }

    #[test]
    fn runs_without_reports_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("mine");
        let error = |dataset| read(std::slice::from_ref(&run), dataset).unwrap_err().to_string();
        assert!(error(None).contains("mine: holds no report; make one with dsi eval --run"));
        sample().write(&run.join("eval/scenes-test.json")).unwrap();
        std::fs::write(run.join("eval/notes.txt"), "not a report").unwrap();
        assert_eq!(read(std::slice::from_ref(&run), Some("scenes")).unwrap().len(), 1);
        assert!(error(Some("coco")).contains("no report of coco in these runs; there are some of scenes"));
        std::fs::write(run.join("eval/zz.json"), "{}").unwrap();
        assert!(error(None).contains("zz.json"));
    }
}
