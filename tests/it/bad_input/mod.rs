//! Bad input gets a clear error and loses nothing: the real program against files and arguments that are wrong.
//!
//! Each test is a table: what is wrong, how, and what the message must say. That exit code, stream and shape of an
//! error are right, and that nothing panics, is looked at by [`fixture::Outcome`] every time.

mod arguments;
mod corpus;
mod damaged_run;
mod embeddings;
mod encoder;
mod full_disk;

use std::fs;
use std::path::Path;

use libtest_mimic::Trial;

use crate::fixture::{self, Program, Space};

pub fn tests() -> Vec<Trial> {
    [
        arguments::tests(),
        corpus::tests(),
        damaged_run::tests(),
        embeddings::tests(),
        encoder::tests(),
        full_disk::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A trained run with its corpus, shared by the tests that break copies of it.
fn trained() -> &'static Space {
    fixture::trained("rq")
}

/// Runs the calls of a table, each to be refused with the parts that follow it.
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
