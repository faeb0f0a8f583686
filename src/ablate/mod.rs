//! `dsi ablate`: variants of one experiment, and one table with the difference that each makes.
//!
//! ```text
//! grid file ─ grid ─▶ rows ─ run_plan ─▶ runs: a configuration, a folder, what is left to do
//!                                        │ run_experiment::{run, measure}
//!                                        ▼
//!                        reports and run files ─ results ─▶ results_table, ablation.json
//! ```
//!
//! Runs are trained and measured by the same code as in `dsi train` and `dsi eval`, and each has an ordinary
//! run folder.

pub mod check_runs;
pub mod choose_report_row;
pub mod grid;
pub mod results;
pub mod results_table;
pub mod run_plan;

use std::time::Instant;

use crate::context::Context;
use crate::encoder::embedded_corpus::EmbeddedCorpus;
use crate::error::{Error, Result};
use crate::escape::shown;
use crate::eval::Evaluation;
use crate::nn::device::compute_type;
use crate::{eval, run_experiment};
use check_runs::check_runs;
use choose_report_row::Choice;
use run_plan::{Run, RunPlan, Todo};

/// A run without a report: its place in the plan, and the error.
pub type Failure = (usize, String);

/// Logs what is left to do.
pub fn announce(plan: &RunPlan) {
    let parts = [
        (Todo::Nothing, "done"),
        (Todo::Resume, "to go on with"),
        (Todo::Train, "to train"),
        (Todo::Measure, "to measure only"),
    ];
    let parts = parts.map(|(todo, what)| format!("{} {what}", plan.count(todo))).join(", ");
    let seeds = plan.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    tracing::info!("{} runs ({} rows, seeds {seeds}): {parts}", plan.runs.len(), plan.rows.len());
    for run in plan.runs.iter().filter(|run| run.todo != Todo::Nothing) {
        let what = match (run.todo, run.borrows) {
            (Todo::Measure, Some(lender)) => format!("measure {}", plan.name(&plan.runs[lender])),
            (Todo::Measure, None) => "measure".into(),
            (Todo::Resume, _) => "go on".into(),
            _ => "train".into(),
        };
        tracing::info!("  {}: {what}, in {}", plan.name(run), shown(run.folder.path()));
    }
}

/// Checks the runs of a plan, and does what is left of it, run after run, and logs the recall of the chosen row of each. A run that
/// fails is returned at the end, and the others go on.
///
/// # Errors
/// [`Error::Stopped`] after a requested stop, and when a run cannot start ([`check_runs()`]) or the corpus of
/// the base cannot be read.
pub fn run(plan: &RunPlan, choice: Choice, ctx: &Context) -> Result<Vec<Failure>> {
    check_runs(plan, ctx)?;
    let mut corpus = Corpus { ctx, held: None };
    if plan.runs.iter().any(|run| run.todo != Todo::Nothing) {
        corpus.of(&plan.runs[0])?;
    }
    let mut failures: Vec<Failure> = Vec::new();
    for (place, run) in plan.runs.iter().enumerate() {
        let name = format!("{}/{}: {}", place + 1, plan.runs.len(), plan.name(run));
        if run.todo == Todo::Nothing {
            continue;
        }
        if let Some(lender) = run.borrows.filter(|lender| failures.iter().any(|(place, _)| place == lender)) {
            failures.push((place, format!("needs the weights of {}", plan.name(&plan.runs[lender]))));
            continue;
        }
        let began = Instant::now();
        let logged = |evaluation: Evaluation| {
            let (seconds, figures) = (began.elapsed().as_secs_f64(), choice.figures(&evaluation.report));
            tracing::info!("{name}: {figures}in {seconds:.0} s");
            evaluation.write()
        };
        match one(plan, run, &mut corpus, ctx).and_then(logged) {
            Ok(()) => {}
            Err(Error::Stopped(_)) => {
                let text = format!("{} is saved; the same command goes on with it", plan.name(run));
                return Err(Error::Stopped(text));
            }
            Err(error) => {
                tracing::error!("{name}: {error}");
                failures.push((place, error.to_string()));
            }
        }
    }
    Ok(failures)
}

/// Trains and measures one run, or only measures it.
fn one(plan: &RunPlan, run: &Run, corpus: &mut Corpus, ctx: &Context) -> Result<Evaluation> {
    let prepared = corpus.of(run)?;
    let _lock = run.begin()?;
    let Some(lender) = run.borrows.map(|lender| &plan.runs[lender]) else {
        let resume = run.todo != Todo::Train;
        let compute = compute_type(run.config.precision, &ctx.device)?;
        let ctx = Context { compute, ..ctx.clone() };
        return run_experiment::run(&run.config, prepared, &run.folder, resume, &ctx);
    };
    // The lender is written before the report, so that no report lies in the folder without it.
    run.keep_lender(lender)?;
    run_experiment::measure(&run.config, prepared, &lender.folder, &run.folder, ctx)
}

/// The corpus of the previous run, kept because most rows have the same one and embedding it takes long.
struct Corpus<'a> {
    ctx: &'a Context,
    held: Option<(String, EmbeddedCorpus)>,
}

impl Corpus<'_> {
    fn of(&mut self, run: &Run) -> Result<&EmbeddedCorpus> {
        let (config, key) = (&run.config, run.corpus_key());
        let held = self.held.take().filter(|(known, _)| *known == key);
        let held = match held {
            Some(held) => held,
            None => (key, run_experiment::prepare(config, self.ctx)?),
        };
        eval::require(&config.eval, &held.1.corpus)?;
        Ok(&self.held.insert(held).1)
    }
}
