//! A training that is killed at any moment, inside a write too, loses nothing: it goes on to the same bits.
#![cfg(unix)]

mod fixture;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fixture::{Space, contents};
use rand::{Rng as _, SeedableRng as _};

/// Kills; each at another moment.
const KILLS: usize = 50;

/// Many short steps with a checkpoint after each other one.
const OFTEN: &[&str] = &[
    "train.steps=120",
    "train.checkpoint_every=2",
    "train.validate_every=20",
    "train.keep=2",
    "train.log_every=20",
    "index.views=0",
    "eval.views=false",
    "eval.gallery=split",
];

fn start(space: &Space, run: &str, how: &[&str]) -> Child {
    let mut command = space.dsi("train", OFTEN).out(run).args(how).0;
    command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn().unwrap()
}

/// How a run goes on of which checkpoints up to `seen` were there once; it may not have lost them.
fn go_on(space: &Space, seen: &mut usize) -> &'static [&'static str] {
    let newest = newest(space);
    assert!(newest >= *seen, "step {seen} was there and the newest is {newest}");
    *seen = newest;
    if newest > 0 { &["--resume"] } else { &["--force"] }
}

/// The newest step that there is a checkpoint of; 0: none.
fn newest(space: &Space) -> usize {
    let Ok(all) = fs::read_dir(space.path("broken/checkpoints")) else { return 0 };
    let step = |name: String| name.strip_prefix("step-")?.parse().ok();
    all.filter_map(|entry| step(entry.ok()?.file_name().into_string().ok()?)).max().unwrap_or(0)
}

/// What a run ends with: the weights, and what was measured with them.
fn assert_same_end(space: &Space) {
    for file in [
        "checkpoints/step-120/weights.safetensors",
        "checkpoints/step-120/optimizer.safetensors",
        "eval/tiny-test.run",
    ] {
        let read = |run: &str| fs::read(space.path(run).join(file)).unwrap();
        assert!(read("whole") == read("broken"), "{file}");
    }
    let best = |run: &str| fs::read_to_string(space.path(run).join("checkpoints/best")).unwrap();
    assert_eq!(best("whole"), best("broken"));
}

fn finished(space: &Space, run: &str, how: &[&str]) {
    space.dsi("train", OFTEN).out(run).args(how).output().succeeded();
}

#[test]
fn fifty_kills_at_any_moment_lose_nothing() {
    let space = Space::new();
    let began = Instant::now();
    finished(&space, "whole", &[]);
    let longest = began.elapsed();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(4);
    let (mut inside, mut killed, mut seen) = (0, 0, 0);
    let checkpoints = space.path("broken/checkpoints");
    while killed < KILLS {
        let how = go_on(&space, &mut seen);
        let debris = half_written(&checkpoints);
        let writes = || half_written(&checkpoints).difference(&debris).next().is_some();
        let mut child = start(&space, "broken", how);
        let end = Instant::now() + longest.mul_f64(rng.random_range(0.0..0.6));
        // Every third one waits for a write to begin.
        while Instant::now() < end || (killed % 3 == 0 && !writes()) {
            if child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        let writing = writes();
        child.kill().unwrap();
        match child.wait().unwrap() {
            status if status.signal() == Some(9) => {
                killed += 1;
                inside += usize::from(writing);
            }
            status => {
                // It had ended: what it left must be right, and the next begins anew.
                assert!(status.success(), "{status}");
                assert_same_end(&space);
                fs::remove_dir_all(space.path("broken")).unwrap();
                seen = 0;
            }
        }
    }
    println!("{killed} kills, {inside} of them inside a write");
    assert!(inside > 0);
    finished(&space, "broken", go_on(&space, &mut seen));
    assert_same_end(&space);
}

/// What of checkpoints is half-written now, or was when something was killed.
fn half_written(checkpoints: &Path) -> BTreeSet<OsString> {
    let Ok(all) = fs::read_dir(checkpoints) else { return BTreeSet::new() };
    let names = all.filter_map(|entry| Some(entry.ok()?.file_name()));
    names.filter(|name| name.to_string_lossy().starts_with(".tmp")).collect()
}

#[test]
fn a_damaged_checkpoint_is_passed_over_for_the_one_before() {
    let space = Space::new();
    finished(&space, "whole", &[]);
    type Damage = (&'static str, fn(&mut Vec<u8>));
    let damages: [Damage; 3] = [
        ("weights.safetensors", |bytes| bytes.truncate(bytes.len() / 2)),
        ("optimizer.safetensors", |bytes| *bytes.last_mut().unwrap() ^= 4),
        ("meta.json", |bytes| bytes.truncate(10)),
    ];
    for (file, damage) in damages {
        fixture::copy(&space.path("whole"), &space.path("broken"));
        let path = space.path("broken/checkpoints/step-120").join(file);
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let outcome = space.dsi("train", OFTEN).out("broken").args(["--resume"]).output().succeeded();
        for part in ["passed over", "step-120", file, "resuming at step 118"] {
            assert!(outcome.stderr.contains(part), "{part}: {outcome}");
        }
        assert_same_end(&space);
        fs::remove_dir_all(space.path("broken")).unwrap();
    }
}

/// A file may become no larger than this: the disk is as good as full.
#[test]
fn a_disk_that_fills_up_leaves_the_checkpoints_before() {
    let space = Space::new();
    finished(&space, "whole", &[]);
    let mut child = start(&space, "broken", &[]);
    while !space.path("broken/checkpoints/step-4").exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before = contents(&space.path("broken/checkpoints"));
    let resume = space.dsi("train", OFTEN).out("broken").args(["--resume"]).0;
    // 32 blocks of 512 or 1,024 bytes: less than the weights. The signal that comes with it is ignored.
    let script = "trap '' XFSZ; ulimit -f 32; exec \"$@\"";
    let mut limited = Command::new("bash");
    limited.args(["-c", script, "bash"]).arg(resume.get_program()).args(resume.get_args());
    let output = limited.current_dir(space.path("")).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && stderr.contains("cannot write"), "{stderr}");
    for (file, bytes) in before.iter().filter(|(file, _)| file.to_string_lossy().starts_with("step-")) {
        assert!(
            fs::read(space.path("broken/checkpoints").join(file)).unwrap() == *bytes,
            "{}",
            file.display()
        );
    }
    finished(&space, "broken", &["--resume"]);
    assert_same_end(&space);
}
