//! A full disk: a small file system that the test mounts in its own namespace.

use std::fs;
use std::process::{Command, Output};

use dsi::config::Config;
use dsi::context::Context;
use dsi::encoder::embed_corpus::embed_corpus;
use dsi::error::Result;
use dsi::run_folder::RunFolder;
use dsi::stop_flag::Stop;
use dsi::{index, run_experiment, train};

use crate::fixture::{Outcome, Space, assert_same, repository};
use crate::harness::Need::Mount;

tests! {
    a_full_disk_is_named_and_the_run_resumes_with_room if Mount,
}

/// A checkpoint at every step, so that the first step on the full disk fails.
const EVERY_STEP: [&str; 1] = ["train.checkpoint_every=1"];

/// Puts the run `run` of the folder `$1` on a disk of 4 MiB, of which all but 64 KiB (room for a log, not for
/// a checkpoint) are filled, and runs the other arguments; then copies what the run became to `after`.
const SCRIPT: &str = r#"
    cd "$1" && shift && mount -t tmpfs -o size=4m none small || exit 77
    cp -r run small/run && head -c 64k /dev/zero > small/spare
    head -c 8m /dev/zero > small/fill 2>/dev/null
    rm small/spare
    "$@"; code=$?
    cp -r small/run after
    exit $code"#;

fn a_full_disk_is_named_and_the_run_resumes_with_room() {
    let space = Space::new();
    let config = Config::load(&repository("configs/scenes.toml"), &space.overrides(&EVERY_STEP)).unwrap();
    let run = RunFolder::new(space.path("run"));
    let stop = Stop::default();
    stop.request();
    learn(&config, &run, &stop).unwrap_err();
    fs::write(run.config(), config.to_toml()).unwrap();
    learn(&config, &RunFolder::new(space.path("whole")), &Stop::default()).unwrap();

    let outcome = Outcome::new("training on a full disk".into(), resume_on_a_full_disk(&space));
    outcome.refused(&["cannot write", "small/run/checkpoints", "No space left on device"]);
    assert_same(&run.checkpoints(), &space.path("after/checkpoints"));

    let resumed = space.dsi("train", &EVERY_STEP).out("after").args(["--resume"]);
    resumed.output().succeeded();
    assert_same(&space.path("whole/checkpoints"), &space.path("after/checkpoints"));
}

fn learn(config: &Config, run: &RunFolder, stop: &Stop) -> Result<()> {
    let prepared = embed_corpus(&config.data, &config.encoder, &Context::default())?;
    let index = index::open(&run_experiment::index_settings(config), &prepared, run, &Context::default())?;
    train::joint::train(
        &run_experiment::joint_settings(config),
        &prepared,
        &index,
        run,
        false,
        &Context { stop: stop.clone(), ..Context::default() },
    )
}

fn resume_on_a_full_disk(space: &Space) -> Output {
    fs::create_dir(space.path("small")).unwrap();
    let resume = space.dsi("train", &EVERY_STEP).out("small/run").args(["--resume"]);
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh"]).arg(space.path(""));
    command.arg(resume.0.get_program()).args(resume.0.get_args());
    command.output().unwrap()
}
