//! What is printed cannot end the work: stderr and stdout that take nothing, results before files, tables that fit
//! the terminal, and names that a terminal would obey.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::fixture::{Outcome, Program, Space, assert_same, copy, trained};

tests! {
    work_goes_on_without_a_log,
    errors_keep_their_exit_codes_without_a_log,
    a_full_stdout_is_named_and_the_files_are_written,
    results_come_before_files_that_cannot_be_written,
    nothing_needs_a_folder_for_temporary_files,
    tables_fit_the_width_and_columns_can_be_chosen,
    tables_are_written_for_papers_and_spreadsheets,
    names_are_escaped,
}

/// The ways in which a stream takes nothing: a full disk, a reader that has gone, a closed descriptor.
const LOST: [&str; 3] = ["full", "gone", "closed"];

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

fn gone() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// Runs a program whose stderr takes nothing.
fn without_log(mut program: Program, how: &str) -> Output {
    match how {
        "full" => program.0.stderr(full()).output().unwrap(),
        "gone" => program.0.stderr(gone()).output().unwrap(),
        _ => program.in_bash("exec \"$@\" 2>&-").output().unwrap(),
    }
}

/// A report without times.
fn figures(json: &[u8]) -> Value {
    let mut report: Value = serde_json::from_slice(json).unwrap();
    for row in report["rows"].as_array_mut().unwrap() {
        row.as_object_mut().unwrap().remove("ms_per_query").unwrap();
    }
    report
}

fn assert_same_files(left: &Path, right: &Path) {
    for file in ["tiny-test.run", "tiny-test.qrels"] {
        assert!(fs::read(left.join(file)).unwrap() == fs::read(right.join(file)).unwrap(), "{file}");
    }
    assert_same(&left.join("tiny-test"), &right.join("tiny-test"));
}

fn work_goes_on_without_a_log() {
    let (space, run) = (Space::new(), trained("rq").path("run"));
    for how in LOST {
        let training = trained("rq").dsi::<&str>("train", &[]).out(space.path(how));
        let output = without_log(training, how);
        assert_eq!(output.status.code(), Some(0), "train, stderr {how}");
        for folder in ["checkpoints", "index"] {
            assert_same(&run.join(folder), &space.path(how).join(folder));
        }
        assert_same_files(&run.join("eval"), &space.path(how).join("eval"));
        let table = String::from_utf8(output.stdout).unwrap();
        assert!(table.starts_with("| retriever") && table.contains("memorisation"), "{table}");

        let call = |command: &str| space.run(command).of(space.path(how)).args(["--json"]);
        let report = without_log(call("eval"), how);
        let before = fs::read(run.join("eval/tiny-test.json")).unwrap();
        assert_eq!((report.status.code(), figures(&report.stdout)), (Some(0), figures(&before)), "{how}");
        let hits = call("search").args(["a red cube"]).output().succeeded().stdout;
        let found = without_log(call("search").args(["a red cube"]), how);
        assert_eq!((found.status.code(), found.stdout), (Some(0), hits.into_bytes()), "{how}");
        let index = trained("rq").dsi::<&str>("index", &[]).out(space.path(&format!("index-{how}")));
        assert_eq!(without_log(index, how).status.code(), Some(0), "index, stderr {how}");
        assert_same(&run.join("index"), &space.path(&format!("index-{how}/index")));
    }
}

fn errors_keep_their_exit_codes_without_a_log() {
    let space = Space::new();
    for how in LOST {
        let code = |program: Program| without_log(program, how).status.code();
        assert_eq!(code(space.run("search").of("none").args(["a cube"])), Some(1), "{how}");
        assert_eq!(code(space.run("train").config("none.toml")), Some(1), "{how}");
        assert_eq!(code(space.run("train").args(["--stepz"])), Some(2), "{how}");
        assert_eq!(code(space.run("data").args(["fetch", "nothing"])), Some(1), "{how}");
        assert_eq!(code(space.program().args(["--help"])), Some(0), "{how}");
    }
}

fn with_stdout(mut program: Program, stdout: Stdio) -> Outcome {
    let call = format!("{:?}", program.0);
    let process = program.0.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
    Outcome::new(call, process.wait_with_output().unwrap())
}

fn a_full_stdout_is_named_and_the_files_are_written() {
    let space = Space::new();
    copy(&trained("rq").path("run"), &space.path("run"));
    fs::remove_dir_all(space.path("run/eval")).unwrap();
    let said = ["cannot write the results to standard output: No space left on device"];
    with_stdout(space.run("eval").of("run"), full()).refused(&said);
    assert_same_files(&trained("rq").path("run/eval"), &space.path("run/eval"));
    let calls = || {
        [
            space.run("search").of("run").args(["a cube"]),
            space.run("search").of("run").args(["a cube", "--json"]),
            space.run("compare").args(["run"]),
            space.run("config"),
            space.program().args(["--help"]),
            space.program().args(["--version"]),
        ]
    };
    calls().into_iter().for_each(|call| drop(with_stdout(call, full()).refused(&said)));
    calls().into_iter().for_each(|call| drop(with_stdout(call, gone()).succeeded()));
}

/// Asserts that a command printed its table, ended with exit code 1, and named what it could not write.
#[track_caller]
fn printed_and_failed(outcome: &Outcome, parts: &[&str]) {
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stdout.starts_with("| "), "{outcome}");
    parts.iter().for_each(|part| assert!(outcome.error().contains(part), "{part}: {outcome}"));
}

/// A file in the place of a folder refuses to be written into, even by root.
fn results_come_before_files_that_cannot_be_written() {
    let space = Space::new();
    copy(&trained("rq").path("run"), &space.path("run"));
    fs::remove_dir_all(space.path("run/eval")).unwrap();
    space.write("run/eval", "");
    let eval = || space.run("eval").of("run");
    printed_and_failed(&eval().output(), &["cannot create run/eval", "--out FOLDER"]);
    let report = eval().args(["--json"]).output();
    assert_eq!((report.code, report.json()["dataset"].as_str()), (Some(1), Some("tiny")));
    eval().out("aside").output().succeeded();
    assert_same_files(&trained("rq").path("run/eval"), &space.path("aside/eval"));
    space.run("compare").args(["aside"]).output().succeeded();
    copy(&trained("rq").path("run"), &space.path("other"));
    eval().out("other").output().refused(&["other holds another run", "--out"]);
    eval().out("aside").output().succeeded();
    space.write("theirs/eval/tiny-test.json", "theirs");
    eval().out("theirs").output().refused(&["holds eval, which dsi did not write"]);

    space.write("new/eval", "");
    let training = trained("rq").dsi::<&str>("train", &[]).out(space.path("new")).output();
    training.refused(&["new/eval", "no file can be written there"]);

    space.write("no-index/index", "");
    let index = trained("rq").dsi::<&str>("index", &[]).out(space.path("no-index")).output();
    index.refused(&["no-index/index", "no file can be written there"]);
}

fn nothing_needs_a_folder_for_temporary_files() {
    let space = Space::new();
    let train = |more: &[&str]| {
        let mut training = trained("rq").dsi("train", &["train.steps=2"]).out(space.path("run")).args(more);
        training.0.env("TMPDIR", "/no/such/folder");
        training.output().succeeded()
    };
    assert!(train(&["--dry-run"]).stdout.contains("trained parameters") && !space.path("run").exists());
    train(&[]);
}

/// A call with `COLUMNS` set.
fn at(width: usize, mut program: Program) -> Outcome {
    program.0.env("COLUMNS", width.to_string());
    program.output().succeeded()
}

fn tables_fit_the_width_and_columns_can_be_chosen() {
    let space = Space::new();
    for run in ["run", "with-a-very-long-name-that-says-what-the-run-was-trained-for"] {
        copy(&trained("rq").path("run"), &space.path(run));
    }
    let long = "with-a-very-long-name-that-says-what-the-run-was-trained-for";
    let path = space.path(long).join("eval/tiny-test.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"seed\": 0", "\"seed\": 1", 1)).unwrap();
    let calls = || {
        [
            (space.run("eval").of("run"), &["| retriever", "| stage", "| query", " R@10 |"][..]),
            (space.run("compare").args(["run", long]), &["| query", "| method", "| stage", " R@10 |"]),
            (space.run("search").of("run").args(["a cube"]), &["| rank |", "| image", "| docid"]),
            (
                trained("rq").dsi::<&str>("index", &[]).out(space.path("index")).args(["--force"]),
                &["perplexity"],
            ),
        ]
    };
    for (call, titles) in calls() {
        let outcome = at(80, call);
        let widest = outcome.stdout.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{outcome}");
        titles.iter().for_each(|title| assert!(outcome.stdout.contains(title), "{title}: {outcome}"));
    }
    let narrow = at(80, space.run("eval").of("run"));
    assert!(narrow.stderr.contains("80 characters wide") && narrow.stderr.contains("regime"), "{narrow}");
    let wide = at(80, space.run("eval").of("run").args(["--wide"]));
    assert!(wide.stdout.contains("| regime") && !wide.stderr.contains("left out"), "{wide}");

    let chosen = at(80, space.run("eval").of("run").args(["--columns", "gallery,r@1,Median-Rank,delta-R@1"]));
    let head = chosen.stdout.lines().next().unwrap();
    let titles: Vec<&str> = head.split('|').map(str::trim).collect();
    assert_eq!(
        titles[1..5],
        ["gallery", "R@1 [95% CI]", "median rank", "Δ R@1 vs dense [95% CI]"],
        "{chosen}"
    );
    assert!(!chosen.stdout.contains("\n\n"), "one table: {chosen}");
    let wrong = ["--columns", "gallery,recall"];
    for call in [space.run("eval").of("run"), trained("rq").dsi::<&str>("train", &[]).out(space.path("no"))] {
        call.args(wrong).output().refused(&["no column \"recall\"", "retriever, stage, query", "ms/query"]);
    }
    assert!(!space.path("no").exists(), "refused before the work");
    space
        .run("search")
        .of("run")
        .args(["x", "--json", "--wide"])
        .output()
        .refused_with(2, &["--json", "--wide"]);
}

fn tables_are_written_for_papers_and_spreadsheets() {
    let space = Space::new();
    copy(&trained("rq").path("run"), &space.path("run"));
    let eval = |format: &str| at(40, space.run("eval").of("run").args(["--format", format])).stdout;
    let csv = eval("csv");
    let head = csv.lines().next().unwrap();
    assert!(head.starts_with("retriever,stage,query,gallery,regime,R@1 [95% CI],R@5,"), "{csv}");
    assert!(csv.contains("\"") && csv.lines().all(|line| !line.is_empty() && !line.contains('|')), "{csv}");
    let latex = eval("latex");
    assert!(latex.starts_with("\\begin{tabular}{lllllrrrrrrrrr}\n\\toprule\n"), "{latex}");
    assert!(latex.contains("95\\% CI") && latex.contains("\n% image→docid memorisation"), "{latex}");
    let search = ["a cube", "-k", "1", "--format", "csv", "--columns", "rank,image"];
    let found = space.run("search").of("run").args(search).output().succeeded().stdout;
    assert!(found.starts_with("rank,image\n1,images/") && found.lines().count() == 2, "{found}");
    let other = space.run("search").of("run").args(["a cube", "--format", "html"]).output();
    other.refused_with(2, &["md, csv, latex"]);
}

/// Escape sequences and line breaks in names are shown, not obeyed.
fn names_are_escaped() {
    let space = Space::new();
    copy(&trained("rq").path("run"), &space.path("run"));
    let name = "bad\u{1b}[31m\u{202e}.jpg";
    space.write(name, "x");
    let refused = [
        (space.run("search").of("run").args(["--image", name]), 1, "bad\\u{1b}[31m\\u{202e}.jpg"),
        (space.run("search").of("no\u{1b}[31m").args(["x"]), 1, "no\\u{1b}[31m"),
        (space.run("train").config("a\nerror: b.toml"), 1, "a\\nerror: b.toml"),
        (space.run("train").args(["--a\u{1b}[31m"]), 2, "unexpected argument"),
    ];
    for (call, code, shown) in refused {
        let outcome = call.output().refused_with(code, &[shown]);
        assert!(!outcome.stderr.contains(['\u{1b}', '\u{202e}']), "{outcome}");
    }
    space.write("runs/a\u{1b}[31m\n/eval/x.json", fs::read(space.path("run/eval/tiny-test.json")).unwrap());
    let table = space.run("compare").args(["runs/a\u{1b}[31m\n"]).output().succeeded();
    assert!(table.stdout.contains("| runs/a\\u{1b}[31m\\n") && !table.stdout.contains('\u{1b}'), "{table}");
}
