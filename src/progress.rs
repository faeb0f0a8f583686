//! Progress bars on stderr; invisible where that is not a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over `length` units, called `what`.
pub fn bar(length: usize, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {msg} {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length as u64).with_style(style).with_prefix(what)
}
