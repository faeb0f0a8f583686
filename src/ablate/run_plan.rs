//! The runs of an ablation: for each row and seed a configuration, a run folder, and what is left to do
//! there.
//!
//! A row that differs from another in `[search]` and `[eval]` alone is not trained: it borrows the other's
//! weights, and its folder holds only a configuration and a report. All folders are read before anything
//! runs: finished runs are left alone, stopped ones go on, and folders of another configuration are refused
//! with the keys that differ.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::grid::{Grid, Row};
use crate::config::{Config, Scope};
use crate::error::{Error, Result};
use crate::escape::shown;
use crate::eval::report::Report;
use crate::eval::run_and_qrels_files::report_path;
use crate::file_io;
use crate::model::checkpoint::{self, Which};
use crate::run_experiment;
use crate::run_folder::RunFolder;
use crate::run_identity;
use crate::run_lock::RunLock;

/// The version of `weights.json`.
const VERSION: u32 = 1;

/// The configuration that all rows start from.
pub struct Base {
    /// The configuration file.
    pub path: PathBuf,
    /// Its overrides, for all rows.
    pub overrides: Vec<String>,
}

/// All rows, seeds and runs of an ablation.
pub struct RunPlan {
    /// The rows; the first is the base.
    pub rows: Vec<Row>,
    /// The seeds of each.
    pub seeds: Vec<u64>,
    /// Every row with every seed. All rows of a seed come before the next seed, so that its table is complete
    /// first.
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
    /// The run whose weights it measures, if not its own.
    pub borrows: Option<usize>,
    /// What is left to do.
    pub todo: Todo,
}

/// What is left to do for a run, in the order of the work it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Todo {
    /// Nothing: its report is there.
    Nothing,
    /// To measure weights that are there, or will be once their run is done.
    Measure,
    /// To train on from its last checkpoint.
    Resume,
    /// Everything.
    Train,
}

/// `weights.json`: the run whose weights a report was made with.
#[derive(Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Borrowed {
    version: u32,
    /// Name of that run's folder.
    run: String,
    /// Hash of its weights.
    weights: String,
}

impl RunPlan {
    /// Resolves every row with every seed and reads their folders below `out`. With `force`, runs of another
    /// configuration are deleted instead of refused.
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

    /// Finds what is left to do for each run from what is on disk.
    fn look(&mut self, force: bool) -> Result<()> {
        let mut problems = Vec::new();
        for place in 0..self.runs.len() {
            let run = &self.runs[place];
            if let Err(error) = run_identity::require_own(&run.folder) {
                problems.push(format!("row {:?}: {error}", self.rows[run.row].name));
                continue;
            }
            let todo = match foreign(run) {
                Some(_) if force => run.afresh(),
                Some(what) => {
                    problems.push(format!(
                        "row {:?}: {} {what}; choose another --out",
                        self.rows[run.row].name,
                        shown(run.folder.path())
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
    /// The path of its report.
    pub fn report(&self) -> PathBuf {
        let (name, split) = (&self.config.data.name, self.config.eval.split.word());
        report_path(&self.folder.eval(), name, split)
    }

    /// Equal for runs with the same corpus and embeddings.
    pub fn corpus_key(&self) -> String {
        self.config.fingerprint(&Scope::Embeddings.keys())
    }

    /// What is left to do once the folder is cleared.
    fn afresh(&self) -> Todo {
        if self.borrows.is_some() { Todo::Measure } else { Todo::Train }
    }

    /// Whether its report is there and belongs to this configuration.
    fn is_measured(&self) -> bool {
        let Ok(before) = Config::load(&self.folder.config(), &[]) else { return false };
        let Ok(report) = Report::read(&self.report()) else { return false };
        self.config.differences(&before, &Scope::Report.keys()).is_empty()
            && run_experiment::protocol(&self.config).describes(&report)
    }

    /// Whether its report was made with the weights that the lender has now.
    fn is_of(&self, lender: &Self) -> bool {
        let read = || file_io::read_text(&self.folder.borrowed(), 1 << 16);
        let before = read().ok().and_then(|text| serde_json::from_str::<Borrowed>(&text).ok());
        before.is_some() && before == lender.lent().ok()
    }

    /// What a borrower writes about this run's weights.
    fn lent(&self) -> Result<Borrowed> {
        let weights = checkpoint::weights_hash(&self.folder.checkpoints(), Which::Best)?;
        let run = self.folder.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Borrowed { version: VERSION, run, weights })
    }

    /// Locks and prepares the folder: deletes a run of another configuration and an old report, and writes this
    /// configuration. The caller keeps the lock until the run has ended.
    ///
    /// # Errors
    /// When another process writes there, or the disk refuses.
    pub fn begin(&self) -> Result<RunLock> {
        let lock = RunLock::acquire(self.folder.path(), "dsi ablate")?;
        if foreign(self).is_some() {
            self.folder.clear()?;
        }
        let report = self.report();
        if report.exists() {
            std::fs::remove_file(&report).map_err(Error::io("remove", &report))?;
        }
        run_identity::mark(&self.folder, &self.config, "dsi ablate")?;
        let text = self.config.to_toml();
        file_io::write_atomic(&self.folder.config(), |out| out.write_all(text.as_bytes()))?;
        Ok(lock)
    }

    /// Writes whose weights the report is made with.
    ///
    /// # Errors
    /// When the disk refuses, or the lender has no weights.
    pub fn keep_lender(&self, lender: &Self) -> Result<()> {
        let lent = lender.lent()?;
        file_io::write_json(&self.folder.borrowed(), &lent)
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
                if row.written && config.differences(&configs[0], &Scope::All.keys()).is_empty() {
                    problems
                        .push(format!("{origin} is the same as the base: what it sets is so there already"));
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

/// The first run of this seed whose weights a configuration would get too. Rows with `retrain` lend nothing:
/// they were trained with their own search.
fn lender(rows: &[Row], of_seed: &[Run], config: &Config) -> Option<usize> {
    let keys = Scope::SharedWeights.keys();
    of_seed.iter().position(|run| {
        run.borrows.is_none() && !rows[run.row].retrain && config.differences(&run.config, &keys).is_empty()
    })
}

/// Why the content of a run's folder belongs to another run; `None` if it is this run's, or the folder is
/// free.
fn foreign(run: &Run) -> Option<String> {
    if !run.folder.config().exists() {
        return None;
    }
    let before = match Config::load(&run.folder.config(), &[]) {
        Ok(before) => before,
        Err(error) => return Some(format!("holds a run that cannot be read ({error})")),
    };
    let differences = run.config.differences(&before, &Scope::RunFolder.keys());
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
