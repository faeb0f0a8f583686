//! Several ranks started by `mpirun`: they compute the weights of a single rank and end together, and one
//! rank can resume their run.

use std::fs;
use std::process::{Child, Command, Stdio};

use candle_core::Device;

use crate::fixture::{
    ENDLESS, INTERRUPTED, Program, RENAMED, Space, TUNED, copy, json_lines, newest_step, wait_until,
};
use crate::harness::Need::Mpi;

tests! {
    two_and_three_ranks_give_the_weights_of_one if Mpi,
    several_ranks_assign_the_docids_of_one if Mpi,
    a_dying_rank_ends_the_others_and_one_rank_resumes if Mpi,
    a_batch_smaller_than_the_ranks_is_refused if Mpi,
}

/// Turns off what each rank draws from its own random stream: dropout, beam negatives, patch dropout.
const SHARED: &[&str] = &[
    "decoder.dropout=0",
    "train.beam_negatives=0",
    "tune.patch_dropout=0",
    "tune.dropout=0",
    // The effect of rounding on a step of AdamW is proportional to its learning rate.
    "tune.text_lr=1e-4",
    "tune.image_lr=1e-4",
    "train.steps=20",
    "train.batch=9",
    "train.checkpoint_every=1",
    "train.keep=100",
    "eval.gallery=split",
];

/// `dsi train` under `mpirun`.
fn over(ranks: usize, command: Program) -> Command {
    let mut launched = Command::new("mpirun");
    launched.args([
        "--oversubscribe",
        "--mca",
        "btl",
        "self,vader,tcp",
        "--mca",
        "btl_tcp_if_include",
        "lo",
        "-np",
    ]);
    launched.arg(ranks.to_string());
    // Two ranks run without the launcher's local size; three run as if each were alone on its machine, which
    // makes the gradient sums overlap with the backward pass.
    match ranks {
        3 => launched.args(["env", "OMPI_COMM_WORLD_LOCAL_SIZE=1"]),
        _ => launched.args(["env", "-u", "OMPI_COMM_WORLD_LOCAL_SIZE"]),
    };
    launched.arg(command.0.get_program()).args(command.0.get_args());
    launched.current_dir(command.0.get_current_dir().unwrap()).env_remove("DSI_LOG").stdin(Stdio::null());
    launched.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    launched
}

/// Each run has its own cache, so that several ranks embed the corpus in shares.
fn train(space: &Space, run: &str, more: &[&str]) -> Program {
    let cache = format!("encoder.cache={}", space.path(run).with_extension("cache").display());
    space.dsi("train", &[TUNED, SHARED, more, &[&cache]].concat()).out(run)
}

/// The largest difference between two runs' weights at a step. Key biases are left out: their gradient is
/// zero in theory, and AdamW amplifies its rounding.
fn apart(space: &Space, step: usize, runs: [&str; 2]) -> f32 {
    let file = format!("checkpoints/step-{step}/weights.safetensors");
    let [a, b] =
        runs.map(|run| candle_core::safetensors::load(space.path(run).join(&file), &Device::Cpu).unwrap());
    assert_eq!(a.len(), b.len());
    let compared = a.iter().filter(|(name, _)| !name.ends_with("k_proj.bias"));
    let far = |(name, x): (&String, &candle_core::Tensor)| {
        (x - &b[name]).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap()
    };
    compared.map(far).inspect(|far| assert!(far.is_finite())).fold(0.0, f32::max)
}

/// The rows of a run's report with their mean reciprocal rank. Weights that differ by rounding may swap two
/// images.
fn measured(space: &Space, run: &str) -> Vec<(String, f64)> {
    let report = fs::read(space.path(run).join("eval/tiny-test.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    let row = |row: &serde_json::Value| {
        let name =
            ["retriever", "stage", "query", "gallery", "queries"].map(|key| row[key].to_string()).join(" ");
        (name, row["mrr10"].as_f64().unwrap())
    };
    report["rows"].as_array().unwrap().iter().map(row).collect()
}

fn two_and_three_ranks_give_the_weights_of_one() {
    let space = Space::new();
    let plainly = ["train.accumulate=1", "tune.recompute=true"];
    let early = ["train.accumulate=2", "tune.recompute=false"];
    for (ranks, run, more) in [(2, "two", plainly), (3, "three", early)] {
        train(&space, "one", &more).args(["--force"]).output().succeeded();
        let mut launched = over(ranks, train(&space, run, &more));
        let output = launched.output().unwrap();
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{stderr}");
        assert_eq!(stdout.matches("| retriever").count(), 2, "one report: {stdout}");
        assert_eq!(stderr.contains("during the backward pass"), ranks == 3, "{stderr}");
        let far = apart(&space, 20, ["one", run]);
        assert!(far < 1e-5, "{ranks} ranks: {far}");
        let losses = |run: &str| -> Vec<f64> {
            json_lines(&space.path(run).join("metrics.jsonl"))
                .iter()
                .filter_map(|l| l["loss"].as_f64())
                .collect()
        };
        assert_eq!(losses(run).len(), 20, "one log");
        let measured = |run: &str| measured(&space, run);
        assert_eq!(measured("one").len(), measured(run).len());
        for ((row, one), (same, several)) in measured("one").into_iter().zip(measured(run)) {
            assert!(row == same && (one - several).abs() < 0.05, "{row}: {one} {several}");
        }
        assert!(losses("one").iter().zip(losses(run)).all(|(a, b)| (a - b).abs() < 1e-4));
    }
}

fn several_ranks_assign_the_docids_of_one() {
    let space = Space::new();
    // Codebooks trained with second views.
    let learned = |run: &str| {
        let cache = format!("encoder.cache={}", space.path(run).with_extension("cache").display());
        space.dsi("train", &["index.family=learned", "index.views=1", "train.steps=2", &cache]).out(run)
    };
    learned("one").output().succeeded();
    // The same embeddings bit by bit; the views are embedded again.
    copy(&space.path("one.cache"), &space.path("two.cache"));
    let of_cache = |entry: fs::DirEntry| entry.path();
    let kept = fs::read_dir(space.path("two.cache")).unwrap().map(Result::unwrap).map(of_cache);
    kept.filter(|path| path.is_dir()).for_each(|views| fs::remove_dir_all(views).unwrap());
    let mut launched = over(2, learned("two"));
    assert!(launched.status().unwrap().success());
    // Over an existing run: no rank may read the index that the first rank deletes.
    let mut again = over(2, learned("two").args(["--force"]));
    assert!(again.status().unwrap().success());
    let docids = |run: &str| fs::read_to_string(space.path(run).join("index/docids.jsonl")).unwrap();
    assert_eq!(docids("one"), docids("two"));
    let mut launched = over(2, space.dsi("train", &[RENAMED, &["train.batch=9"]].concat()).out("renamed"));
    assert!(launched.status().unwrap().success());
}

fn a_dying_rank_ends_the_others_and_one_rank_resumes() {
    let space = Space::new();
    let run = space.path("run");
    let mut launched = over(2, train(&space, "run", ENDLESS));
    let mut launched = launched.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    assert!(wait_until(&mut launched, || newest_step(&run) >= 5), "the training ended by itself");
    let second = child_of(&launched);
    assert!(Command::new("kill").args(["-KILL", &second]).status().unwrap().success());
    let output = launched.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("rank"), "{stderr}");
    let seen = newest_step(&run);
    let alone = train(&space, "run", ENDLESS).args(["--resume"]).interrupted(|| newest_step(&run) > seen);
    assert_eq!(alone.code, Some(INTERRUPTED), "{alone}");
}

/// The process of one rank that a launcher has started.
fn child_of(launched: &Child) -> String {
    let children = format!("/proc/{0}/task/{0}/children", launched.id());
    fs::read_to_string(children).unwrap().split_whitespace().last().unwrap().to_owned()
}

fn a_batch_smaller_than_the_ranks_is_refused() {
    let space = Space::new();
    for (few, named) in
        [("train.batch=4", "train.batch = 4"), ("tune.contrastive_pairs=2", "tune.contrastive_pairs = 2")]
    {
        let mut launched = over(3, train(&space, "run", &[few]));
        let output = launched.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{stderr}");
        for part in [named, "3 ranks", "of 3"] {
            assert!(stderr.contains(part), "{part}: {stderr}");
        }
    }
}
