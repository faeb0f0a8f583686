//! Only the command line, the configuration and the experiment use the whole configuration; other modules get
//! the sections they need.

use super::source::{Parts, every_path, sources};
use super::{assert_excepted, top};

tests! {
    few_modules_see_the_whole_configuration,
}

/// Modules that may.
const WHOLE: [&str; 4] = ["cli", "config", "run_experiment", "run_identity"];

/// Files that may too: the runs of an ablation are whole configurations, made from the rows of a grid.
const EXCEPTIONS: &[&str] = &["ablate/run_plan.rs"];

fn names_config(path: &Parts) -> bool {
    path.windows(2).any(|pair| pair == ["config", "Config"])
}

fn few_modules_see_the_whole_configuration() {
    let others = sources().into_iter().filter(|source| !WHOLE.contains(&top(&source.path)));
    let whole = others.filter(|source| every_path(&source.code).iter().any(names_config));
    let found: Vec<String> = whole.map(|source| source.path).collect();
    assert_excepted("these import config::Config; a section would do", &found, EXCEPTIONS);
}
