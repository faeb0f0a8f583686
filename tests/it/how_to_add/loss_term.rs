//! A new loss term, by the steps of `dsi::train::objective::terms`: a type with a name and a value, and its weight.

use dsi::config::Config;
use dsi::context::Context;
use dsi::encoder::embed_corpus::embed_corpus;
use dsi::error::Result;
use dsi::nn::weight_schedule::WeightSchedule;
use dsi::run_folder::RunFolder;
use dsi::train::joint::JointTraining;
use dsi::train::objective::terms::term::{Term, TermInputs};
use dsi::train::step_loss::{Averaging, TermValue};
use dsi::{index, run_experiment};

use crate::fixture::{Space, json_lines, repository};

tests! {
    a_new_loss_term_is_trained_and_logged,
}

/// The mean square of the step scores of all candidates: a weight decay on what the model puts out.
struct ScoreSize;

impl Term for ScoreSize {
    fn name(&self) -> &'static str {
        "score_size"
    }

    fn value(&self, inputs: &mut TermInputs) -> Result<Option<TermValue>> {
        let value = inputs.scores.sqr()?.mean_all()?;
        Ok(Some(TermValue { value, averaging: Averaging::MeanOfQueries }))
    }
}

/// The first and the last log line of a small training, with the term at this weight.
fn logged(space: &Space, name: &str, weight: f64) -> [serde_json::Value; 2] {
    let config =
        Config::load(&repository("configs/scenes.toml"), &space.overrides(&["train.steps=4"])).unwrap();
    let (run, ctx) = (RunFolder::new(space.path(name)), Context::default());
    let prepared = embed_corpus(&config.data, &config.encoder, &ctx).unwrap();
    let index = index::open(&run_experiment::index_settings(&config), &prepared, &run, &ctx).unwrap();
    let training =
        JointTraining::new(&run_experiment::joint_settings(&config), &prepared, &index, &ctx).unwrap();
    training.with_term(WeightSchedule::constant(weight), ScoreSize).train(&run, false).unwrap();
    let mut lines = json_lines(&run.metrics());
    lines.retain(|line| line["loss"].is_number());
    [lines[0].clone(), lines[lines.len() - 1].clone()]
}

fn a_new_loss_term_is_trained_and_logged() {
    let space = Space::new();
    let [first, last] = logged(&space, "with", 10.0);
    let [without, _] = logged(&space, "without", 0.0);
    let number = |line: &serde_json::Value, name: &str| line[name].as_f64().unwrap();
    let size = number(&first, "score_size");
    assert!(size > 0.0 && without["score_size"].is_null(), "{first} {without}");
    let added = number(&first, "loss") - number(&without, "loss");
    assert!((added - 10.0 * size).abs() < 1e-3 * size.max(1.0), "{added} {size}");
    assert!(number(&last, "score_size") != size, "{last}");
}
