//! Snapshots of the program's output: the help of every command, its tables, and typical errors.
//!
//! After an intended change, `INSTA_UPDATE=always cargo test --test it texts::` rewrites the snapshots.

use super::trained;
use crate::fixture::{Outcome, Space, copy, repository};

tests! {
    help_of_every_command,
    tables,
    typical_errors,
}

fn help_of_every_command() {
    let commands = subcommands("");
    assert!(commands.iter().any(|command| command == "data fetch") && commands.len() > 8, "{commands:?}");
    for command in commands.iter().map(String::as_str).chain([""]) {
        let name = if command.is_empty() { "dsi".to_owned() } else { command.replace(' ', "-") };
        insta::assert_snapshot!(format!("help-{name}"), help(command));
    }
}

fn help(command: &str) -> String {
    let arguments = command.split_whitespace().chain(["--help"]);
    Space::new().program().args(arguments).output().succeeded().stdout
}

/// All subcommands of a command, from its help.
fn subcommands(command: &str) -> Vec<String> {
    let help = help(command);
    let Some((_, list)) = help.split_once("\nCommands:\n") else { return Vec::new() };
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let full = names.filter(|name| !["", "help"].contains(name)).map(|name| format!("{command} {name}"));
    full.map(|name| name.trim().to_owned())
        .flat_map(|name| [vec![name.clone()], subcommands(&name)].concat())
        .collect()
}

fn tables() {
    let space = Space::new();
    copy(&trained().path("run"), &space.path("run"));
    let index = trained().dsi::<&str>("index", &[]).out(space.path("index"));
    let tables = [
        ("data-show", trained().dsi::<&str>("data show", &[])),
        ("data-verify", trained().dsi::<&str>("data verify", &[])),
        ("index", index),
        ("eval", space.run("eval").of("run")),
        ("compare", space.run("compare").args(["run"])),
        ("search", space.run("search").of("run").args(["a red cube left of a ball", "-k", "3"])),
        ("train-dry-run", trained().dsi::<&str>("train", &[]).out(space.path("dry")).args(["--dry-run"])),
    ];
    for (name, call) in tables {
        let table = call.output().succeeded().stdout;
        insta::assert_snapshot!(format!("table-{name}"), without_measures(&table));
    }
}

/// A text with `#` for decimal numbers, which depend on clock and processor, and without column padding.
fn without_measures(text: &str) -> String {
    let words = |line: &str| line.split_whitespace().map(measure).collect::<Vec<_>>().join(" ");
    text.lines().map(words).collect::<Vec<_>>().join("\n")
}

/// A word with `#` for each decimal number, and with short rules.
fn measure(word: &str) -> String {
    if word.len() > 2 && word.chars().all(|c| "-:|".contains(c)) {
        return word.chars().fold(String::new(), |rule, c| {
            if rule.ends_with('-') && c == '-' { rule } else { rule + &c.to_string() }
        });
    }
    let number = |c: char| c.is_ascii_digit() || c == '.';
    let (mut short, mut rest) = (String::new(), word);
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let end = rest[start..].find(|c| !number(c)).map_or(rest.len(), |end| start + end);
        let digits = &rest[start..end];
        short.push_str(rest[..start].trim_end_matches(['+', '-']));
        short.push_str(if digits.trim_end_matches('.').contains('.') { "#" } else { digits });
        rest = &rest[end..];
    }
    short + rest
}

fn typical_errors() {
    let space = Space::new();
    let set = |set: &str| trained().dsi("train", &[set]).out(space.path("run"));
    copy(&trained().path("run"), &space.path("trained"));
    let errors = [
        ("unknown-key", set("train.stepz=3")),
        ("value-out-of-range", set("train.batch=0")),
        ("unknown-word", set("index.family=trie")),
        ("contradicting-keys", set("index.family=tree")),
        ("no-configuration", space.run("train").config("none.toml")),
        ("no-run", space.run("eval").of("none")),
        ("run-exists", trained().dsi::<&str>("train", &[]).out(space.path("trained"))),
        (
            "other-configuration",
            trained().dsi("train", &["train.steps=13"]).out(space.path("trained")).args(["--resume"]),
        ),
        (
            "index-gates",
            trained().dsi("index", &["index.min_survival=1", "index.survival_beam=1"]).out(space.path("run")),
        ),
        ("unknown-argument", space.run("train").args(["--stepz", "3"])),
        ("missing-photo", space.run("search").of("trained").args(["--image", "none.png"])),
        ("unknown-data-set", space.run("data fetch").args(["flickr31k"])),
    ];
    for (name, call) in errors {
        let outcome = call.output();
        assert_ne!(outcome.code, Some(0), "{outcome}");
        insta::assert_snapshot!(format!("error-{name}"), without_folders(&space, &outcome));
    }
}

/// An error with names in place of this machine's folders.
fn without_folders(space: &Space, outcome: &Outcome) -> String {
    let folders =
        [(space.path(""), "SPACE/"), (trained().path(""), "TRAINED/"), (repository(""), "REPOSITORY/")];
    let shorter = |text: String, (folder, name): &(std::path::PathBuf, &str)| {
        text.replace(&folder.display().to_string(), name)
    };
    without_measures(&folders.iter().fold(outcome.error().to_owned(), shorter))
}
