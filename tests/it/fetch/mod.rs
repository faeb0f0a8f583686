//! Fetching encoders and data sets from local test servers.

mod command;
mod dataset;
mod encoder;
mod server;

use libtest_mimic::Trial;

pub fn tests() -> Vec<Trial> {
    [command::tests(), dataset::tests(), encoder::tests()].into_iter().flatten().collect()
}
