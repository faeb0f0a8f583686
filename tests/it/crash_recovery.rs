//! A killed training loses nothing, even inside a write: it resumes to the same bits.
//!
//! No test depends on a clock: killed trainings have no end of their own, and those that must die inside a
//! write run under a limit on the size of a file.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::fixture::{
    ENDLESS, INTERRUPTED, Outcome, Program, Space, assert_same, contents, copy, newest_step, wait_until,
};

tests! {
    fifty_kills_at_any_moment_lose_nothing,
    a_damaged_checkpoint_falls_back_to_the_one_before,
    a_disk_that_fills_up_leaves_the_checkpoints_before,
}

/// The number of kills; every third one is inside a write.
const KILLS: usize = 50;

/// A checkpoint after every second step.
const OFTEN: &[&str] = &[
    "train.checkpoint_every=2",
    "train.validate_every=10",
    "train.keep=2",
    "train.log_every=20",
    "index.views=0",
    "eval.views=false",
    "eval.gallery=split",
];

/// Signal numbers.
const KILLED: i32 = 9;
const FILE_TOO_LARGE: i32 = 25;

fn endless(space: &Space, run: &str, more: &[&str]) -> Program {
    space.dsi("train", &[OFTEN, ENDLESS, more].concat()).out(run)
}

fn fifty_kills_at_any_moment_lose_nothing() {
    let space = Space::new();
    let run = space.path("broken");
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for kill in 0..KILLS {
        let seen = newest_step(&run);
        let training = endless(&space, "broken", &[]).args(go_on(seen));
        let (status, signal) = if kill % 3 == 0 {
            let most = rng.random_range(SMALLEST_KIB..largest_kib(&space, seen));
            (dies_when_a_file_exceeds(most, &training), FILE_TOO_LARGE)
        } else {
            (killed_at(seen + rng.random_range(0..9), training, &run), KILLED)
        };
        assert_eq!(status.signal(), Some(signal), "kill {kill}: {status}");
        assert!(newest_step(&run) >= seen, "step {seen} was there and is gone");
    }
    assert_is_unbroken(&space);
}

/// The flag that continues a run whose newest checkpoint has this step.
fn go_on(step: usize) -> [&'static str; 1] {
    [if step > 0 { "--resume" } else { "--force" }]
}

/// Larger than the small files of a run, smaller than its weights.
const SMALLEST_KIB: u64 = 16;

/// The size of the largest file of a checkpoint: a limit below it ends each training in its first write.
fn largest_kib(space: &Space, step: usize) -> u64 {
    let file = space.path(&format!("broken/checkpoints/step-{step}/optimizer.safetensors"));
    fs::metadata(file).map_or(2 * SMALLEST_KIB, |file| file.len() / 1024)
}

/// Runs a training that the system kills when a file exceeds this size.
fn dies_when_a_file_exceeds(kib: u64, training: &Program) -> ExitStatus {
    let script = format!("ulimit -c 0; ulimit -f {kib}; exec \"$@\"");
    training.in_bash(&script).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap()
}

/// Starts a training and kills it once there is a checkpoint of this step or a later one.
fn killed_at(step: usize, mut training: Program, run: &Path) -> ExitStatus {
    let mut process = training.0.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until(&mut process, || newest_step(run) >= step);
    process.kill().unwrap();
    process.wait().unwrap()
}

/// Continues the run, then compares its last checkpoint with that of an unbroken run.
fn assert_is_unbroken(space: &Space) {
    let newest = |run: &str| newest_step(&space.path(run));
    let seen = newest("broken");
    let last = endless(space, "broken", &[]).args(go_on(seen)).interrupted(|| newest("broken") > seen);
    assert_eq!(last.code, Some(INTERRUPTED), "{last}");
    let step = newest("broken");
    let every = format!("train.checkpoint_every={step}");
    let whole = endless(space, "whole", &[&every, "train.keep=100"]).interrupted(|| newest("whole") >= step);
    assert_eq!(whole.code, Some(INTERRUPTED), "{whole}");
    let checkpoint = format!("checkpoints/step-{step}");
    assert_same(&space.path("whole").join(&checkpoint), &space.path("broken").join(&checkpoint));
}

/// Runs a training of 20 steps, which keeps checkpoints 18 and 20.
fn finished(space: &Space, run: &str, how: &[&str]) -> Outcome {
    training_that_ends(space, run).args(how).output().succeeded()
}

fn training_that_ends(space: &Space, run: &str) -> Program {
    space.dsi("train", &[OFTEN, &["train.steps=20"]].concat()).out(run)
}

/// Asserts that both runs ended with the same checkpoint, index and measurements.
fn assert_same_end(space: &Space) {
    for file in ["checkpoints/step-20", "index"] {
        assert_same(&space.path("whole").join(file), &space.path("broken").join(file));
    }
    for file in ["eval/tiny-test.run", "checkpoints/best"] {
        let read = |run: &str| fs::read(space.path(run).join(file)).unwrap();
        assert!(read("whole") == read("broken"), "{file}");
    }
}

fn a_damaged_checkpoint_falls_back_to_the_one_before() {
    let space = Space::new();
    finished(&space, "whole", &[]);
    type Damage = (&'static str, fn(&mut Vec<u8>));
    let damages: [Damage; 3] = [
        ("weights.safetensors", |bytes| bytes.truncate(bytes.len() / 2)),
        ("optimizer.safetensors", |bytes| *bytes.last_mut().unwrap() ^= 4),
        ("meta.json", |bytes| bytes.truncate(10)),
    ];
    for (file, damage) in damages {
        copy(&space.path("whole"), &space.path("broken"));
        let path = space.path("broken/checkpoints/step-20").join(file);
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let outcome = finished(&space, "broken", &["--resume"]);
        for part in ["passed over", "step-20", file, "resuming at step 18"] {
            assert!(outcome.stderr.contains(part), "{part}: {outcome}");
        }
        assert_same_end(&space);
        fs::remove_dir_all(space.path("broken")).unwrap();
    }
}

/// A limit on the size of a file stands in for a full disk.
fn a_disk_that_fills_up_leaves_the_checkpoints_before() {
    let space = Space::new();
    finished(&space, "whole", &[]);
    copy(&space.path("whole"), &space.path("broken"));
    fs::remove_dir_all(space.path("broken/checkpoints/step-20")).unwrap();
    let before = contents(&space.path("broken/checkpoints"));
    // Ignoring the signal makes the write itself fail.
    let script = format!("trap '' XFSZ; ulimit -f {SMALLEST_KIB}; exec \"$@\"");
    let mut limited = training_that_ends(&space, "broken").args(["--resume"]).in_bash(&script);
    let output = limited.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && stderr.contains("cannot write"), "{stderr}");
    for (file, bytes) in before.iter().filter(|(file, _)| file.to_string_lossy().starts_with("step-")) {
        let after = fs::read(space.path("broken/checkpoints").join(file)).unwrap();
        assert!(after == *bytes, "{}", file.display());
    }
    finished(&space, "broken", &["--resume"]);
    assert_same_end(&space);
}
