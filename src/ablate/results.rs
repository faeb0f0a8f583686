//! The results of an ablation: for each row the mean over seeds, and the paired difference from the base.
//!
//! Differences are taken query by query between base and row with the same seed, over all seeds that both
//! have. The bootstrap redraws, and the test flips, the captions of an image under all seeds together. So the
//! interval covers other *images*; the standard deviations cover other seeds.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use toml::Table;

use super::Failure;
use super::choose_report_row::Choice;
use super::grid::{BASE, Row as GridRow};
use super::run_plan::{Run, RunPlan};
use crate::error::{Error, Result};
use crate::eval::compare_runs::{Spread, spread};
use crate::eval::query_outcomes::QueryOutcomes;
use crate::eval::read_run_files::{self, ReadBack};
use crate::eval::report::{CUTOFFS, Report, Row};
use crate::eval::row_setting::{Gallery, Regime};
use crate::eval::significance::{self, Difference};
use crate::retriever::ranking_stage::Stage;
use crate::{file_io, rng};

/// The version of `ablation.json`.
const VERSION: u32 = 1;

/// The result: the table in machine-readable form, written as `ablation.json`.
#[derive(Debug, Serialize)]
pub struct Ablation {
    version: u32,
    /// Name of the data set.
    pub dataset: String,
    /// Split whose captions are the queries.
    pub split: String,
    /// The images that may be returned.
    pub gallery: Gallery,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// The base, then the rows of the grid.
    pub rows: Vec<Line>,
    /// Exact search with the same encoder for the same captions, from the base's reports.
    #[serde(rename = "beside")]
    pub exact_search: Vec<Line>,
}

/// One row.
#[derive(Debug, Serialize)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// The keys that it sets.
    #[serde(skip_serializing_if = "Table::is_empty")]
    pub set: Table,
    /// Its runs, one for each seed.
    pub runs: Vec<Outcome>,
    /// The means over its runs; `None` if all failed or none has the wanted stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Found>,
    /// Cut-off → recall minus the base's; empty for the base, and if the two share no seed or have other
    /// queries.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub versus_base: BTreeMap<usize, Difference>,
}

/// Means over the runs of a row.
#[derive(Debug, Serialize)]
pub struct Found {
    /// The stage that made the ranking.
    pub stage: Stage,
    /// Whether training used the gallery.
    pub regime: Regime,
    /// Number of seeds.
    pub seeds: usize,
    /// Number of images that may be returned.
    pub images: usize,
    /// Number of queries of each run.
    pub queries: usize,
    /// Cut-off → recall over the seeds.
    pub recall: BTreeMap<usize, Spread>,
    /// Mean number of candidates scored per query.
    pub touched: f64,
    /// Mean time per query in milliseconds.
    pub ms_per_query: f64,
}

/// One seed of a row.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The run folder's name.
    pub folder: String,
    /// The run folder whose weights were measured, if not its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights_of: Option<String>,
    /// Why there is no report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A row of a report by seed, with the outcome of every query.
type Measured = BTreeMap<u64, (Row, ReadBack)>;

impl Ablation {
    /// Reads the reports of a plan whose runs are done, except those that failed.
    ///
    /// # Errors
    /// When a report or its run files cannot be read, or no report has the chosen row.
    pub fn read(plan: &RunPlan, failures: &[Failure], choice: Choice) -> Result<Self> {
        let base = &plan.runs[0].config;
        let mut reader =
            Reader { seed: base.seed, resamples: base.eval.bootstrap, choice, measured: Measured::new() };
        let (mut rows, mut exact) = (Vec::new(), Vec::new());
        for (number, row) in plan.rows.iter().enumerate() {
            let runs: Vec<(usize, &Run)> =
                plan.runs.iter().enumerate().filter(|(_, run)| run.row == number).collect();
            let reports = reports(&runs, failures)?;
            let outcomes = runs.iter().map(|(place, run)| outcome(plan, failures, *place, run)).collect();
            let (found, is_base) = (reader.chosen(&reports)?, number == 0);
            if is_base {
                exact = reader.exact(&reports)?;
            }
            rows.push(reader.line(row, outcomes, found, is_base));
        }
        if rows.iter().all(|row| row.found.is_none()) && rows.iter().any(Line::has_reports) {
            let stage = choice.stage.map_or("generative", Stage::word);
            return Err(Error::input(format!(
                "no row has a {stage} stage over the gallery {}",
                choice.gallery
            )));
        }
        let exact_search =
            exact.into_iter().map(|(row, m)| reader.line(&row, Vec::new(), m, false)).collect();
        let (dataset, split) = (base.data.name.clone(), base.eval.split.to_string());
        let (gallery, seeds) = (choice.gallery, plan.seeds.clone());
        Ok(Self { version: VERSION, dataset, split, gallery, seeds, rows, exact_search })
    }

    /// Writes it as JSON, all or nothing.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        file_io::write_json(path, self)
    }
}

impl Line {
    fn has_reports(&self) -> bool {
        self.runs.iter().any(|run| run.error.is_none())
    }
}

fn outcome(plan: &RunPlan, failures: &[Failure], place: usize, run: &Run) -> Outcome {
    let folder = |run: &Run| run.folder.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    Outcome {
        seed: run.config.seed,
        folder: folder(run),
        weights_of: run.borrows.map(|lender| folder(&plan.runs[lender])),
        error: failures.iter().find(|(failed, _)| *failed == place).map(|(_, error)| error.clone()),
    }
}

/// The reports of a row's runs, except those that failed.
fn reports<'p>(runs: &[(usize, &'p Run)], failures: &[Failure]) -> Result<Vec<(&'p Run, Report)>> {
    let done = runs.iter().filter(|(place, _)| !failures.iter().any(|(failed, _)| failed == place));
    done.map(|(_, run)| Ok((*run, Report::read(&run.report())?))).collect()
}

/// Makes lines, each compared with the base.
struct Reader {
    /// The base's seed, for the resampling.
    seed: u64,
    /// Resamples of the bootstrap.
    resamples: usize,
    choice: Choice,
    /// The base's rows; empty until they are read.
    measured: Measured,
}

impl Reader {
    /// The chosen row of each report that has it.
    fn chosen(&self, reports: &[(&Run, Report)]) -> Result<Measured> {
        let mut found = Measured::new();
        for (run, report) in reports {
            if let Some(row) = self.choice.of(report) {
                found.insert(run.config.seed, (row.clone(), read_run_files::read(row, &run.folder.eval())?));
            }
        }
        Ok(found)
    }

    /// The rows of exact search, as if they were rows of the grid.
    fn exact(&self, reports: &[(&Run, Report)]) -> Result<Vec<(GridRow, Measured)>> {
        let mut found: Vec<(GridRow, Measured)> = Vec::new();
        for (run, report) in reports {
            for row in self.choice.exact_search(report) {
                let name = format!("{}, {}", row.retriever, row.stage);
                let measured = (row.clone(), read_run_files::read(row, &run.folder.eval())?);
                let place = found.iter().position(|(known, _)| known.name == name).unwrap_or_else(|| {
                    found.push((GridRow { name, ..GridRow::base() }, Measured::new()));
                    found.len() - 1
                });
                found[place].1.insert(run.config.seed, measured);
            }
        }
        Ok(found)
    }

    fn line(&mut self, row: &GridRow, runs: Vec<Outcome>, measured: Measured, is_base: bool) -> Line {
        let versus_base = if is_base { BTreeMap::new() } else { self.versus_base(row, &measured) };
        let line =
            Line { name: row.name.clone(), set: row.set.clone(), runs, found: found(&measured), versus_base };
        if is_base {
            self.measured = measured;
        }
        line
    }

    /// The paired differences; none if the two share no seed or have different queries.
    fn versus_base(&self, row: &GridRow, measured: &Measured) -> BTreeMap<usize, Difference> {
        let pairs: Vec<(&ReadBack, &ReadBack)> = measured
            .iter()
            .filter_map(|(seed, (_, ours))| Some((ours, &self.measured.get(seed)?.1)))
            .collect();
        let Some((first, _)) = pairs.first() else { return BTreeMap::new() };
        if pairs.iter().any(|(ours, theirs)| ours.queries != first.queries || theirs.queries != first.queries)
        {
            let name = &row.name;
            tracing::warn!("{name:?} has other queries than {BASE:?}: no difference can be shown");
            return BTreeMap::new();
        }
        let joined = |side: fn(&(&ReadBack, &ReadBack)) -> QueryOutcomes| {
            QueryOutcomes::joined(&pairs.iter().map(side).collect::<Vec<_>>())
        };
        let (ours, theirs) = (joined(|pair| pair.0.outcomes.clone()), joined(|pair| pair.1.outcomes.clone()));
        let mut rng = rng::stream(self.seed, "ablation", 0);
        CUTOFFS.map(|k| (k, significance::compare(&ours, &theirs, k, self.resamples, &mut rng))).into()
    }
}

fn found(measured: &Measured) -> Option<Found> {
    let rows: Vec<&Row> = measured.values().map(|(row, _)| row).collect();
    let first = rows.first()?;
    let mean = |value: fn(&Row) -> f64| rows.iter().map(|row| value(row)).sum::<f64>() / rows.len() as f64;
    let recall = |k: usize| {
        let values: Option<Vec<f64>> = rows.iter().map(|row| row.recall.get(&k).copied()).collect();
        Some((k, spread(&values?)))
    };
    Some(Found {
        stage: first.stage,
        regime: first.regime,
        seeds: rows.len(),
        images: first.images,
        queries: first.queries,
        recall: CUTOFFS.into_iter().filter_map(recall).collect(),
        touched: mean(|row| row.embeddings_scored),
        ms_per_query: mean(|row| row.ms_per_query),
    })
}
