//! Checks all runs of an ablation before the first one starts: a row that cannot run is found in seconds, not
//! after the rows before it.

use std::collections::BTreeMap;

use super::run_plan::{Run, RunPlan, Todo};
use crate::context::Context;
use crate::data::corpus::Corpus;
use crate::encoder::embed_corpus::open_kept;
use crate::error::{Error, Result};
use crate::run_experiment::early_checks;

/// Checks the folder of each run that has something left to do, and what it needs of its corpus. A corpus is
/// opened once for all runs that have it.
///
/// # Errors
/// When a run cannot go on: all such runs are listed, each with the reason.
pub fn check_runs(plan: &RunPlan, ctx: &Context) -> Result<()> {
    let mut by_corpus: BTreeMap<String, Vec<&Run>> = BTreeMap::new();
    for run in plan.runs.iter().filter(|run| run.todo != Todo::Nothing) {
        by_corpus.entry(run.corpus_key()).or_default().push(run);
    }
    let problems: Vec<String> = by_corpus.values().flat_map(|runs| problems(plan, runs, ctx)).collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::input(format!("nothing was started, because of these rows:\n  {}", problems.join("\n  "))))
}

/// What is wrong with runs of one corpus.
fn problems(plan: &RunPlan, runs: &[&Run], ctx: &Context) -> Vec<String> {
    let Some(first) = runs.first() else { return Vec::new() };
    let named = |run: &Run, error: &Error| format!("{}: {error}", plan.name(run));
    match open_kept(&first.config.data, ctx) {
        Ok(corpus) => {
            let wrong = |run: &&Run| Some(named(run, &check(run, &corpus).err()?));
            runs.iter().filter_map(wrong).collect()
        }
        Err(error) => runs.iter().map(|run| named(run, &error)).collect(),
    }
}

fn check(run: &Run, corpus: &Corpus) -> Result<()> {
    early_checks::run_folder(&run.folder)?;
    match run.borrows {
        Some(_) => early_checks::evaluation(&run.config, corpus),
        None => early_checks::training(&run.config, corpus),
    }
}
