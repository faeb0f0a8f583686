//! Progress bars, drawn only when the caller of the library asks for them.

use indicatif::{ProgressBar, ProgressStyle};

/// Whether progress bars are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Progress {
    /// Not at all.
    #[default]
    Hidden,
    /// On stderr, if that is a terminal.
    Stderr,
}

impl Progress {
    /// A bar over `length` units, named `what`.
    pub fn bar(self, length: usize, what: &'static str) -> ProgressBar {
        let template = "{prefix} {wide_bar} {pos}/{len} {msg} {eta} left";
        self.draw(ProgressBar::new(length as u64), template).with_prefix(what)
    }

    /// A bar over the bytes of a file named `what`, whose length may be unknown.
    pub fn bytes(self, length: Option<u64>, what: String) -> ProgressBar {
        let template =
            "{prefix} {wide_bar} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta} left";
        let bar = length.map_or_else(ProgressBar::no_length, ProgressBar::new);
        self.draw(bar, template).with_prefix(what)
    }

    fn draw(self, bar: ProgressBar, template: &str) -> ProgressBar {
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        match self {
            Self::Hidden => ProgressBar::hidden(),
            Self::Stderr => bar.with_style(style),
        }
    }
}
