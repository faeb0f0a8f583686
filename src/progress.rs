//! Progress bars on stderr; invisible where that is not a terminal, and of all ranks but the first.

use indicatif::{ProgressBar, ProgressStyle};

use crate::distributed::launched;

/// A bar over `length` units, called `what`.
pub fn bar(length: usize, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {msg} {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    if launched().is_some_and(|(rank, _)| rank > 0) {
        return ProgressBar::hidden();
    }
    ProgressBar::new(length as u64).with_style(style).with_prefix(what)
}

/// A bar over the bytes of a file called `what`, whose length may be unknown.
pub fn bytes(length: Option<u64>, what: String) -> ProgressBar {
    let template =
        "{prefix} {wide_bar} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta} left";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = length.map_or_else(ProgressBar::no_length, ProgressBar::new);
    bar.with_style(style).with_prefix(what)
}
