//! The error type of the library: what failed, on which path or value, and what to do next.
//!
//! Messages are lower case and name the value. `main` prints the chain; the library never prints. Paths in them
//! are [escaped](crate::escape), for anyone can name a file.

use std::path::{Path, PathBuf};

use crate::escape::{escaped_lines, shown};

/// `std::result::Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong in the library.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused an operation on a file or folder.
    #[error("cannot {action} {path}: {reason}", path = shown(path), reason = escaped_lines(&reason.to_string()))]
    Io {
        /// The verb: `read`, `write`, `create`, `list`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error. Not called `source`, because the chain that `main` prints would repeat it.
        reason: std::io::Error,
    },
    /// A file was read but its content cannot be used.
    #[error("{path}: {what}", path = shown(path), what = escaped_lines(what))]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, what was expected, and the remedy.
        what: String,
    },
    /// One line of a text file cannot be used.
    #[error("{path}, line {line}: {what}", path = shown(path), what = escaped_lines(what))]
    Line {
        /// The file.
        path: PathBuf,
        /// One-based line number.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A configuration was refused; lists every problem.
    #[error("the configuration was refused:\n  {}", escaped_lines(&.0.join("\n  ")))]
    Config(Vec<String>),
    /// An argument, a query or a combination of them is not allowed.
    #[error("{}", escaped_lines(.0))]
    Input(String),
    /// A tensor operation failed.
    #[error("tensor operation failed: {0}")]
    Tensor(Box<dyn std::error::Error + Send + Sync>),
    /// The user requested a stop; the state is saved.
    #[error("stopped on request; {0}")]
    Stopped(String),
}

impl Error {
    /// For `map_err`: wraps an I/O error with the verb and the path.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |reason| Self::Io { action, path, reason }
    }

    /// A file whose content cannot be used.
    pub fn file(path: impl AsRef<Path>, what: impl Into<String>) -> Self {
        Self::File { path: path.as_ref().to_path_buf(), what: what.into() }
    }

    /// A line (one-based) that cannot be used.
    pub fn line(path: impl AsRef<Path>, line: usize, what: impl Into<String>) -> Self {
        Self::Line { path: path.as_ref().to_path_buf(), line, what: what.into() }
    }

    /// An argument or a combination of arguments that is not allowed.
    pub fn input(what: impl Into<String>) -> Self {
        Self::Input(what.into())
    }
}
