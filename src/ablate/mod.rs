//! `dsi ablate`: a grid of experiments, and one table of what each of them costs.
//!
//! ```text
//! grid file ─ grid ─▶ rows ─ plan ─▶ runs: a configuration, a folder, what is left to do
//!                                     │ experiment::run, eval::evaluate
//!                                     ▼
//!                     reports and run files ─ result ─▶ table, ablation.json
//! ```
//!
//! Nothing is measured or trained in another way than by `dsi train` and `dsi eval`; each run folder is an ordinary one.

pub mod grid;
pub mod reported_row;
pub mod results;
pub mod results_table;
pub mod run_plan;

use std::time::Instant;

use crate::config::Config;
use crate::context::Context;
use crate::encoder::embedded_corpus::EmbeddedCorpus;
use crate::error::{Error, Result};
use crate::eval::report::Report;
use crate::nn::device::compute_type;
use crate::{eval, experiment};
use reported_row::Choice;
use run_plan::{Run, RunPlan, Todo};

/// What a run's corpus and embeddings are decided by.
const OF_A_CORPUS: [&str; 2] = ["data", "encoder"];

/// Why a run has no report: its place in the plan, and the error.
pub type Failure = (usize, String);

/// Says what there is to do: to the log, as a training takes long.
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
        tracing::info!("  {}: {what}, in {}", plan.name(run), run.folder.path().display());
    }
}

/// Does what is left of a plan, run after run, and says what each has found in the chosen row. A run that fails is kept
/// for the end, and the others go on.
///
/// # Errors
/// [`Error::Stopped`] after a requested stop, and when the base's own corpus cannot be had.
pub fn run(plan: &RunPlan, choice: Choice, ctx: &Context) -> Result<Vec<Failure>> {
    let mut corpus = Corpus { ctx, held: None };
    if plan.runs.iter().any(|run| run.todo != Todo::Nothing) {
        corpus.of(&plan.runs[0].config)?;
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
        match one(plan, run, &mut corpus, ctx) {
            Ok(report) => {
                let (seconds, figures) = (began.elapsed().as_secs_f64(), choice.figures(&report));
                tracing::info!("{name}: {figures}in {seconds:.0} s");
            }
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
fn one(plan: &RunPlan, run: &Run, corpus: &mut Corpus, ctx: &Context) -> Result<Report> {
    let prepared = corpus.of(&run.config)?;
    run.begin()?;
    let Some(lender) = run.borrows.map(|lender| &plan.runs[lender]) else {
        let resume = run.todo != Todo::Train;
        let compute = compute_type(run.config.precision, &ctx.device)?;
        let ctx = Context { compute, ..ctx.clone() };
        return experiment::run(&run.config, prepared, &run.folder, resume, &ctx);
    };
    // First whose weights they are, then what they do: a report without that is not taken for one of theirs.
    run.keep_lender(lender)?;
    experiment::measure(&run.config, prepared, &lender.folder, &run.folder, ctx)
}

/// The corpus of the run before: most rows have the same one, and embedding it takes long.
struct Corpus<'a> {
    ctx: &'a Context,
    held: Option<(String, EmbeddedCorpus)>,
}

impl Corpus<'_> {
    fn of(&mut self, config: &Config) -> Result<&EmbeddedCorpus> {
        let key = config.fingerprint(&OF_A_CORPUS);
        let held = self.held.take().filter(|(known, _)| *known == key);
        let held = match held {
            Some(held) => held,
            None => (key, experiment::prepare(config, self.ctx)?),
        };
        eval::require(&config.eval, &held.1.corpus)?;
        Ok(&self.held.insert(held).1)
    }
}
