//! What an ablation is to do: each row with each seed as a configuration, a run folder, and what is left to do there.
//!
//! A row that differs from another in `[search]` and `[eval]` alone needs no training: it measures that one's weights,
//! and its own folder holds the configuration and the report only. Whatever is found on disk is looked at here, before
//! anything runs: what is done is left alone, what was stopped goes on, and what belongs to another configuration is
//! refused with the keys that differ.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::grid::{Grid, Row};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::eval::report::Report;
use crate::eval::report_files::report_path;
use crate::experiment;
use crate::file_io;
use crate::model::checkpoint::{self, Which};
use crate::run_folder::RunFolder;

/// What neither a training nor its result depends on.
const BESIDE_TRAINING: [&str; 3] = ["device", "eval", "pretrain"];
/// What rows may differ in and still share their weights.
const BESIDE_WEIGHTS: [&str; 4] = ["device", "eval", "pretrain", "search"];
/// What reports do not depend on.
const BESIDE_REPORTS: [&str; 2] = ["device", "pretrain"];
/// The version of `weights.json`.
const VERSION: u32 = 1;

/// Where the base of all rows comes from.
pub struct Base {
    /// The configuration file.
    pub path: PathBuf,
    /// Overrides of it, for all rows.
    pub overrides: Vec<String>,
}

/// Everything that an ablation consists of.
pub struct RunPlan {
    /// The rows; the first is the base.
    pub rows: Vec<Row>,
    /// The seeds of each.
    pub seeds: Vec<u64>,
    /// Every row with every seed, seed by seed, so that the first seed's table is whole before the second begins.
    pub runs: Vec<Run>,
}

/// One row with one seed.
pub struct Run {
    /// The row.
    pub row: usize,
    /// Its configuration, this seed included.
    pub config: Config,
    /// Its folder.
    pub folder: RunFolder,
    /// The run whose weights it measures, where they are not its own.
    pub borrows: Option<usize>,
    /// What is left to do.
    pub todo: Todo,
}

/// What is left to do for a run, by the work that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Todo {
    /// Nothing: its report is there.
    Nothing,
    /// Only to measure weights that are there, or will be once their own run is done.
    Measure,
    /// To train on from its last checkpoint.
    Resume,
    /// Everything.
    Train,
}

/// What is left of a run whose weights are another's, so that its report is known to be of those.
#[derive(Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Borrowed {
    version: u32,
    /// Name of the other run's folder.
    run: String,
    /// Hash of its weights.
    weights: String,
}

impl RunPlan {
    /// Resolves every row with every seed and looks at what their folders below `out` hold. `force`: what belongs to
    /// another configuration is to be thrown away instead of refused.
    ///
    /// # Errors
    /// With [`Error::Config`] listing everything that is wrong, row by row.
    pub fn new(base: &Base, grid: Grid, seeds: Vec<u64>, out: &Path, force: bool) -> Result<Self> {
        let rows: Vec<Row> = [Row::base()].into_iter().chain(grid.rows).collect();
        let configs = resolve(base, &rows)?;
        let mut runs: Vec<Run> = Vec::with_capacity(rows.len() * seeds.len());
        for &seed in &seeds {
            let first = runs.len();
            for (row, config) in configs.iter().enumerate() {
                let config = Config { seed, ..config.clone() };
                let folder = RunFolder::new(out.join(format!("{}-seed{seed}", rows[row].folder())));
                let borrows = (!rows[row].retrain).then(|| lender(&rows, &runs[first..], &config)).flatten();
                let borrows = borrows.map(|place| first + place);
                runs.push(Run { row, config, folder, borrows, todo: Todo::Train });
            }
        }
        let mut plan = Self { rows, seeds, runs };
        plan.look(force)?;
        Ok(plan)
    }

    /// What is left to do for each run, from what is on disk.
    fn look(&mut self, force: bool) -> Result<()> {
        let mut problems = Vec::new();
        for place in 0..self.runs.len() {
            let run = &self.runs[place];
            let todo = match foreign(run) {
                Some(_) if force => run.afresh(),
                Some(what) => {
                    problems.push(format!(
                        "row {:?}: {} {what}; choose another --out, or --force to do it anew",
                        self.rows[run.row].name,
                        run.folder.path().display()
                    ));
                    continue;
                }
                None => self.left(run),
            };
            self.runs[place].todo = todo;
        }
        if problems.is_empty() { Ok(()) } else { Err(Error::Config(problems)) }
    }

    /// What is left to do for a run whose folder holds nothing of another configuration.
    fn left(&self, run: &Run) -> Todo {
        let measured = run.is_measured();
        match run.borrows.map(|lender| &self.runs[lender]) {
            Some(lender) if measured && lender.todo < Todo::Resume && run.is_of(lender) => Todo::Nothing,
            Some(_) => Todo::Measure,
            None if measured => Todo::Nothing,
            None => match checkpoint::locate(&run.folder.checkpoints(), Which::Last) {
                Ok(last) if last.ends_with(format!("step-{}", run.config.train.steps)) => Todo::Measure,
                Ok(_) => Todo::Resume,
                Err(_) => Todo::Train,
            },
        }
    }

    /// How many runs have this left to do.
    pub fn count(&self, todo: Todo) -> usize {
        self.runs.iter().filter(|run| run.todo == todo).count()
    }

    /// `"without beam negatives", seed 1`
    pub fn name(&self, run: &Run) -> String {
        format!("{:?}, seed {}", self.rows[run.row].name, run.config.seed)
    }
}

impl Run {
    /// The report it is about.
    pub fn report(&self) -> PathBuf {
        let (name, split) = (&self.config.data.name, self.config.eval.split.word());
        report_path(&self.folder.eval(), name, split)
    }

    fn afresh(&self) -> Todo {
        if self.borrows.is_some() { Todo::Measure } else { Todo::Train }
    }

    /// Whether its report is there, and of this configuration.
    fn is_measured(&self) -> bool {
        let here = |before: &Config| {
            self.config.differences(before, &Config::keys_but(&BESIDE_REPORTS)).is_empty()
                && Report::read(&self.report())
                    .is_ok_and(|report| experiment::protocol(&self.config).describes(&report))
        };
        Config::load(&self.folder.config(), &[]).is_ok_and(|before| here(&before))
    }

    /// Whether its report was made with the weights that the lender has now.
    fn is_of(&self, lender: &Self) -> bool {
        let read = || file_io::read_text(&self.folder.borrowed(), 1 << 16);
        let before = read().ok().and_then(|text| serde_json::from_str::<Borrowed>(&text).ok());
        before.is_some() && before == lender.lent().ok()
    }

    /// What a borrower keeps about this run's weights.
    fn lent(&self) -> Result<Borrowed> {
        let weights = checkpoint::weights_hash(&self.folder.checkpoints(), Which::Best)?;
        let run = self.folder.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Borrowed { version: VERSION, run, weights })
    }

    /// Makes the folder ready for what is to be done: another configuration's remains are removed, this one is kept.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn begin(&self) -> Result<()> {
        if foreign(self).is_some() {
            self.folder.clear()?;
        }
        let report = self.report();
        if report.exists() {
            std::fs::remove_file(&report).map_err(Error::io("remove", &report))?;
        }
        let text = self.config.to_toml();
        file_io::write_atomic(&self.folder.config(), |out| out.write_all(text.as_bytes()))
    }

    /// Keeps with a report which weights it was made with.
    ///
    /// # Errors
    /// When the disk refuses, or the lender has no weights.
    pub fn keep_lender(&self, lender: &Self) -> Result<()> {
        let lent = lender.lent()?;
        file_io::write_atomic(&self.folder.borrowed(), |out| {
            serde_json::to_writer_pretty(&mut *out, &lent).map_err(std::io::Error::from)?;
            writeln!(out)
        })
    }
}

/// The base's configuration, then each row's.
fn resolve(base: &Base, rows: &[Row]) -> Result<Vec<Config>> {
    let mut configs = vec![Config::load(&base.path, &base.overrides)?];
    let mut problems: Vec<String> = Vec::new();
    for row in &rows[1..] {
        let origin = row.origin();
        match Config::load_with(&base.path, &base.overrides, &origin, &row.set) {
            Ok(config) => {
                if row.written && config.differences(&configs[0], &Config::keys_but(&[])).is_empty() {
                    problems.push(format!("{origin} is the base again: what it sets is so there already"));
                }
                configs.push(config);
            }
            Err(Error::Config(found)) => problems.extend(found.into_iter().map(|problem| {
                let named = problem.starts_with(&origin);
                if named { problem } else { format!("row {:?}: {problem}", row.name) }
            })),
            Err(other) => return Err(other),
        }
    }
    // The combinations of a grid repeat each other's faults.
    let mut seen = BTreeSet::new();
    problems.retain(|problem| seen.insert(problem.clone()));
    if problems.is_empty() { Ok(configs) } else { Err(Error::Config(problems)) }
}

/// The first run of this seed whose weights a configuration would get too. Rows that ask for a training of their own
/// lend nothing: it was their search that it was to learn with.
fn lender(rows: &[Row], of_seed: &[Run], config: &Config) -> Option<usize> {
    let keys = Config::keys_but(&BESIDE_WEIGHTS);
    of_seed.iter().position(|run| {
        run.borrows.is_none() && !rows[run.row].retrain && config.differences(&run.config, &keys).is_empty()
    })
}

/// Why what is in a run's folder is not this run's; none where it is, or the folder is free.
fn foreign(run: &Run) -> Option<String> {
    if !run.folder.config().exists() {
        return None;
    }
    let before = match Config::load(&run.folder.config(), &[]) {
        Ok(before) => before,
        Err(error) => return Some(format!("holds a run that cannot be read ({error})")),
    };
    let differences = run.config.differences(&before, &Config::keys_but(&BESIDE_TRAINING));
    if !differences.is_empty() {
        return Some(format!("holds a run of another configuration ({})", differences.join("; ")));
    }
    match run.borrows {
        Some(_) if run.folder.checkpoints().exists() => {
            Some("holds weights of its own, and is now to measure those of another row".into())
        }
        None if run.folder.borrowed().exists() => {
            Some("was measured with the weights of another row, and is now to be trained on its own".into())
        }
        _ => None,
    }
}
