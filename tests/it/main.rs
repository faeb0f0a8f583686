//! The integration tests: the public library and the real program. They form one test program,
//! so that the small trained runs of [`fixture`] are made once for all of them.
//!
//! Run `cargo test --test it`, or a part: `cargo test --test it retriever_contract::`.

#![allow(clippy::print_stdout, reason = "tests print what they measure")]

#[macro_use]
mod harness;
mod fixture;

mod bad_input;
mod commands;
#[cfg(unix)]
mod crash_recovery;
mod docs;
mod encoder_training;
mod fetch;
mod fuzz;
mod gpu;
mod how_to_add;
mod model_gradients;
#[cfg(target_os = "linux")]
mod output;
mod parity;
#[cfg(unix)]
mod ranks;
mod real_data;
mod reproducibility;
mod retriever_contract;
mod sizes;
mod store;
mod structure;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// The tests of each file.
const TESTS: &[fn() -> Vec<Trial>] = &[
    bad_input::tests,
    commands::tests,
    #[cfg(unix)]
    crash_recovery::tests,
    docs::tests,
    encoder_training::tests,
    fetch::tests,
    fuzz::tests,
    gpu::tests,
    how_to_add::tests,
    model_gradients::tests,
    #[cfg(target_os = "linux")]
    output::tests,
    parity::tests,
    #[cfg(unix)]
    ranks::tests,
    real_data::tests,
    reproducibility::tests,
    retriever_contract::tests,
    sizes::tests,
    store::tests,
    structure::tests,
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    let threads = || std::env::var("RUST_TEST_THREADS").ok()?.parse().ok();
    arguments.test_threads = arguments.test_threads.or_else(threads);
    let trials = TESTS.iter().flat_map(|tests| tests()).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
