//! Bad files and arguments: the program refuses them with a clear error and loses no data.
//!
//! Each test is a table: a description, the bad input, and parts of the expected error. [`fixture::Outcome`]
//! checks the exit code, the stream and the shape of each error, and that the program does not panic.

mod archives;
mod arguments;
mod corpus;
mod damaged_run;
mod early;
mod embeddings;
mod encoder;
mod full_disk;
mod ownership;
mod photos;

use std::fs;
use std::path::Path;

use libtest_mimic::Trial;

use crate::fixture::{self, Program, Space, copy};

pub fn tests() -> Vec<Trial> {
    [
        archives::tests(),
        arguments::tests(),
        corpus::tests(),
        damaged_run::tests(),
        early::tests(),
        embeddings::tests(),
        encoder::tests(),
        full_disk::tests(),
        ownership::tests(),
        photos::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The trained run whose copies these tests damage.
fn trained() -> &'static Space {
    fixture::trained("rq")
}

/// A copy of the trained run, its corpus and its cache, to be damaged.
fn own_run() -> Space {
    let space = Space::new();
    for part in ["run", "corpus", "cache"] {
        copy(&trained().path(part), &space.path(part));
    }
    let config = fs::read_to_string(space.path("run/config.toml")).unwrap();
    let [from, to] = [trained(), &space].map(|space| space.path("").display().to_string());
    space.write("run/config.toml", config.replace(&from, &to));
    space
}

/// Asserts that each call of a table is refused with these parts of an error.
fn refused<const N: usize>(table: [(&str, Program, &[&str]); N]) {
    for (what, call, parts) in table {
        call.output().about(what).refused(parts);
    }
}

fn edit(path: &Path, change: impl Fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}
