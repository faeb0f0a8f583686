//! Configuration files, overrides and arguments.

use std::cell::Cell;
use std::fs;
use std::process::Command;

use super::{refused, trained};
use crate::fixture::{Outcome, Space};

tests! {
    a_configuration_is_refused_with_key_value_and_what_is_allowed,
    wrong_arguments_are_refused_with_the_usage,
}

fn a_configuration_is_refused_with_key_value_and_what_is_allowed() {
    let space = Space::new();
    let number = Cell::new(0); // every text gets a file of its own
    let file = |text: &str| {
        number.set(number.get() + 1);
        space.run("data show").config(space.write(&format!("{}/x.toml", number.get()), text))
    };
    let set = |set: &str| space.run("data show").config("configs/scenes.toml").sets(&[set]);
    refused([
        (
            "a key with a typo",
            file("[train]\nstepz = 3\n"),
            &["x.toml", "train.stepz", "did you mean train.steps?"],
        ),
        ("a section with a typo", file("[trian]\nsteps = 3\n"), &["trian"]),
        (
            "a key in the wrong section",
            file("[data]\nlevels = 3\n"),
            &["data.levels", "did you mean index.levels?"],
        ),
        ("broken TOML", file("seed = 1\n[train\n"), &["x.toml, line 2", "is not TOML"]),
        (
            "a value of another type",
            file("[train]\nsteps = \"many\"\n"),
            &["train.steps = \"many\"", "a whole number from 1"],
        ),
        ("not a text file", file("\u{0}\u{1}"), &["x.toml"]),
        (
            "several at once",
            file(
                "[train]\nstepz = 3\nlr = -1.0\n[decoder]\nheads = 5\nwidth = 64\n[index]\nfamily = \"trees\"\n",
            ),
            &["train.stepz", "train.lr = -1.0", "from 0 to 1", "decoder.heads = 5", "did you mean \"tree\"?"],
        ),
        ("an unknown override", set("search.beem=3"), &["--set", "search.beem", "search.beam"]),
        ("an override without a value", set("search.beam"), &["section.key=value"]),
        ("a value out of range", set("search.beam=100000"), &["search.beam = 100000", "from 1 to 512"]),
        ("a number that is none", set("train.lr=nan"), &["train.lr = nan", "from 0 to 1"]),
        ("an integer beyond all bounds", set("seed=99999999999999999999999"), &["seed"]),
        ("a docid level with one code", set("index.codes=1"), &["index.codes = 1", "from 2 to 4096"]),
        ("a bootstrap of nothing", set("eval.bootstrap=0"), &["eval.bootstrap = 0", "from 1"]),
        (
            "a conflict",
            set("index.family=tree"),
            &["decoder.grounded = true", "\"rq\"", "decoder.grounded = false"],
        ),
        (
            "a first codebook larger than all others",
            set("index.first_codes=1000"),
            &["index.first_codes = 1000", "index.codes = 256", "set it lower"],
        ),
        (
            "codebooks that learn nothing",
            space.run("data show").config("configs/scenes.toml").sets(&[
                "index.family=learned",
                "index.learned_ranking=0",
                "index.learned_reconstruction=0",
            ]),
            &["index.learned_ranking", "nothing to learn", "index.learned_steps = 0"],
        ),
        (
            "a negative weight",
            set("index.learned_ranking=-1"),
            &["index.learned_ranking = -1", "a number from 0 to 1000"],
        ),
        ("a device that is none", set("device=gpu"), &["device = \"gpu\"", "cuda:N"]),
        (
            "no configuration file",
            space.run("data show").config("configs/none.toml"),
            &["none.toml", "cannot read"],
        ),
        ("a folder for a file", space.run("data show").config("configs"), &["configs", "cannot read"]),
    ]);
    let missing = space.run("data show").config("configs/none.toml").output();
    assert_eq!(missing.stderr.matches("No such file").count(), 1, "the reason is given once: {missing}");
    let call = file("[train]\nstepz = 3\n[search]\nbeam = 0\n").sets(&["eval.split=tst"]).output();
    assert_eq!(call.error().lines().count(), 1 + 3, "a head and each problem once: {call}");
}

fn wrong_arguments_are_refused_with_the_usage() {
    let space = Space::new();
    for args in [
        &["nonsense"][..],
        &["train"],
        &["eval"],
        &["search", "a cube"],
        &["train", "--config"],
        &["data", "show", "--bogus"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_dsi")).args(args).output().unwrap();
        Outcome::new(format!("{args:?}"), output).refused_with(2, &["--help"]);
    }
    let run = trained().path("run");
    let eval = |set: &str| space.run("eval").of(&run).sets(&[set]);
    refused([
        ("no run", space.run("eval").of("nowhere"), &["nowhere", "holds no run", "dsi train"]),
        (
            "no run of that data set",
            space.run("eval").args(["--dataset", "cats"]),
            &["runs/cats", "holds no run"],
        ),
        (
            "no such split",
            space.run("eval").of(&run).args(["--split", "tst"]),
            &["eval.split", "\"tst\"", "test"],
        ),
        (
            "what a trained run cannot change",
            eval("decoder.width=64"),
            &["cannot be changed", "decoder.width"],
        ),
        ("another seed", eval("seed=3"), &["cannot be changed", "seed"]),
    ]);
    let file = space.write("file", "mine");
    trained().dsi::<&str>("train", &[]).out(&file).output().refused(&["file"]);
    assert_eq!(fs::read(file).unwrap(), b"mine");
}
