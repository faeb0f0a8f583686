//! What the program prints: results on stdout, everything else on stderr.
//!
//! Nothing here panics. A line that stderr does not take (its reader has gone, the disk of the log is full) is
//! lost, and the work goes on. A result that stdout does not take is an error, unless its reader has gone:
//! that one has read enough.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal as _, Write};
use std::time::Duration;

use console::Term;

use crate::error::{Error, Result};
use crate::escape::escaped_lines;

/// The width of a terminal that does not tell its width.
const USUAL_WIDTH: usize = 80;

/// How long to wait for the reader of a pipe that does not block.
const PAUSE: Duration = Duration::from_millis(10);

/// Prints a result to stdout. A reader that closes the pipe early (`dsi … | head`) is no error.
///
/// # Errors
/// When stdout takes no more, because its disk is full for example.
pub fn result(text: impl Display) -> Result<()> {
    checked(write_patiently(&mut io::stdout().lock(), text.to_string().as_bytes()))
}

/// What became of a result that went to stdout: an error unless the reader has gone.
///
/// # Errors
/// See [`result`].
pub fn checked(written: io::Result<()>) -> Result<()> {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::input(format!("cannot write the results to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints a line to stderr; it is lost if stderr does not take it. Control characters are escaped.
pub fn message(text: impl Display) {
    let line = format!("{}\n", escaped_lines(&text.to_string()));
    // The write of the `Log` always succeeds.
    Log.write_all(line.as_bytes()).unwrap_or_default();
}

/// Writes everything, also to a pipe that another program has set not to block.
fn write_patiently(out: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    let mut flushed = false;
    while !(bytes.is_empty() && flushed) {
        let step = if bytes.is_empty() { out.flush().map(|()| 0) } else { out.write(bytes) };
        match step {
            Ok(0) if !bytes.is_empty() => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => (flushed, bytes) = (bytes.is_empty(), bytes.get(count..).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Stderr as a writer that always succeeds: what cannot be written is lost.
#[derive(Debug, Clone, Copy)]
pub struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(bytes).unwrap_or_default();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the log has colours: stderr is a terminal, and `NO_COLOR` is not set (<https://no-color.org>).
pub fn log_has_colours() -> bool {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !forbidden
}

/// How wide a line of a result may be: as the terminal is that shows it; elsewhere as `COLUMNS` says, if it is
/// set.
pub fn width() -> Option<usize> {
    let columns = std::env::var("COLUMNS").ok().and_then(|text| text.trim().parse().ok());
    let columns = columns.filter(|&columns| columns > 0);
    if !io::stdout().is_terminal() {
        return columns;
    }
    let size = Term::stdout().size_checked();
    size.map(|(_, width)| usize::from(width)).or(columns).or(Some(USUAL_WIDTH))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes two bytes at a time, and none every second time.
    #[derive(Default)]
    struct Slow {
        taken: Vec<u8>,
        calls: usize,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.calls += 1;
            if self.calls.is_multiple_of(2) {
                return Err(ErrorKind::WouldBlock.into());
            }
            let part = &bytes[..bytes.len().min(2)];
            self.taken.extend_from_slice(part);
            Ok(part.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            self.calls += 1;
            if self.calls.is_multiple_of(2) { Err(ErrorKind::Interrupted.into()) } else { Ok(()) }
        }
    }

    #[test]
    fn a_slow_reader_gets_everything_once() {
        let mut slow = Slow::default();
        write_patiently(&mut slow, b"a result").unwrap();
        assert_eq!(slow.taken, b"a result");
        assert_eq!(write_patiently(&mut &mut [0; 3][..], b"abcd").unwrap_err().kind(), ErrorKind::WriteZero);
    }

    #[test]
    fn a_full_disk_is_an_error_and_a_reader_that_has_gone_is_none() {
        assert!(checked(Err(ErrorKind::BrokenPipe.into())).is_ok() && checked(Ok(())).is_ok());
        let error = checked(Err(io::Error::from_raw_os_error(28))).unwrap_err().to_string();
        assert!(error.starts_with("cannot write the results to standard output: No space left"), "{error}");
    }
}
