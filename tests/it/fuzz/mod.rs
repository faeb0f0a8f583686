//! The inputs of the fuzz targets, run as ordinary tests: no reader panics on them.

use std::fs;

use libtest_mimic::Trial;

use crate::fixture::repository;

mod targets;

/// One test a target: its inputs below `tests/fixture/fuzz`.
pub fn tests() -> Vec<Trial> {
    let trial = |(name, run): &targets::Target| {
        let (name, run) = (*name, *run);
        Trial::test(format!("fuzz::{name}"), move || {
            replay(name, run);
            Ok(())
        })
    };
    targets::TARGETS.iter().map(trial).collect()
}

fn replay(name: &str, run: fn(&[u8])) {
    let folder = repository("tests/fixture/fuzz").join(name);
    let inputs: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!inputs.is_empty(), "{} has no inputs", folder.display());
    inputs.iter().for_each(|input| run(&fs::read(input).unwrap()));
}
