//! Files over HTTP, for the hub and for other hosts: retried where that helps, resumed where it was cut, checked
//! before it gets its name.
//!
//! A file grows beside its place, as `NAME.part`, and is renamed when it has its length and its checksum. What an
//! earlier attempt or an earlier process has left there is gone on from. A token goes to the server it is meant
//! for and to no other.

mod checksum;
mod partial_file;
mod request;
mod retry_delay;

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use indicatif::ProgressBar;
use ureq::http::Response;
use ureq::{Agent, Body};

pub use checksum::Checksum;
pub use partial_file::part_of;
pub use request::Told;
pub use retry_delay::Pace;

use self::partial_file::Part;
use self::request::{ask, text};
use crate::error::Error;
use crate::progress::Progress;

/// Bytes read at once.
const CHUNK: usize = 1 << 17;
/// An attempt that brings this many bytes was no failure, whatever ended it.
const PROGRESS: u64 = 1 << 20;

/// Why a file did not come.
#[derive(Debug)]
pub enum Fault {
    /// The server refused; `wait`: what it asks for before the next attempt (`Retry-After`, in seconds).
    Status {
        /// HTTP's status.
        code: u16,
        /// The wait it asks for.
        wait: Option<Duration>,
    },
    /// No connection, or one that ended or fell silent too early.
    Lost(String),
    /// The answer is not what such a server gives, or not the file that is wanted.
    Answer(String),
    /// This machine's disk.
    Local(Error),
}

impl Fault {
    /// Whether the same question may have another answer later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Status { code, .. } => matches!(code, 408 | 425 | 429 | 500 | 502 | 503 | 504),
            Self::Lost(_) => true,
            Self::Answer(_) | Self::Local(_) => false,
        }
    }

    /// The status the server refused with.
    pub fn status(&self) -> Option<u16> {
        if let Self::Status { code, .. } = self { Some(*code) } else { None }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { code, wait: None } => write!(f, "http status {code}"),
            Self::Status { code, wait: Some(wait) } => {
                write!(f, "http status {code}, come back in {} s", wait.as_secs())
            }
            Self::Lost(what) | Self::Answer(what) => f.write_str(what),
            Self::Local(error) => write!(f, "{error}"),
        }
    }
}

/// A file on a server, and where it is to lie.
pub struct Wanted<'a> {
    /// What to call it on the progress bar.
    pub name: &'a str,
    /// Its address.
    pub url: &'a str,
    /// What proves to that server, and to no other, that the user may have it.
    pub token: Option<&'a str>,
    /// Its place on this disk.
    pub path: &'a Path,
    /// Its length in bytes, if known.
    pub size: Option<u64>,
    /// Its checksum, if known.
    pub checksum: Option<&'a Checksum>,
}

/// A client with patience.
pub struct Http {
    agent: Agent,
    pace: Pace,
    /// Whether downloads draw a bar.
    pub progress: Progress,
}

impl Default for Http {
    fn default() -> Self {
        Self::new(Pace::default())
    }
}

impl Http {
    /// A client of this patience.
    pub fn new(pace: Pace) -> Self {
        let config = Agent::config_builder()
            .timeout_connect(Some(pace.connect))
            .timeout_resolve(Some(pace.connect))
            .timeout_recv_response(Some(pace.stall))
            .timeout_per_read(Some(pace.stall))
            .max_redirects(0)
            .http_status_as_error(false)
            .accept_encoding("identity") // a packed answer has another length, and cannot be resumed
            .user_agent(concat!("dsi/", env!("CARGO_PKG_VERSION")));
        Self { agent: config.build().into(), pace, progress: Progress::Hidden }
    }

    /// What the server tells about a file, without the file.
    ///
    /// # Errors
    /// When it refuses or cannot be reached.
    pub fn head(&self, url: &str, token: Option<&str>) -> Result<Told, Fault> {
        let mut failures = 0;
        loop {
            match ask(&self.agent, url, token, None) {
                Ok((_, told)) => return Ok(told),
                Err(fault) => self.pause(url, &mut failures, fault)?,
            }
        }
    }

    /// Downloads a file to its place, going on from what lies there as `NAME.part`.
    ///
    /// # Errors
    /// When the server refuses, is lost too often, or sends something else than what is wanted; when another
    /// process downloads the same file; when the disk does not take it.
    pub fn download(&self, wanted: &Wanted) -> Result<(), Fault> {
        let mut part = Part::open(wanted.path)?;
        let bar = self.progress.bytes(wanted.size, wanted.name.to_owned());
        let (mut failures, mut resumed) = (0, part.length > 0);
        loop {
            let before = part.length;
            if let Err(fault) = self.go_on(wanted, &mut part, &bar) {
                failures = if part.length >= before + PROGRESS { 0 } else { failures };
                self.pause(wanted.name, &mut failures, fault)?;
                continue;
            }
            match part.finish(wanted, self.progress) {
                // What was resumed may have been the beginning of an older version.
                Err(Fault::Answer(_)) if resumed => resumed = false,
                done => return done,
            }
        }
    }

    fn pause(&self, what: &str, failures: &mut u32, fault: Fault) -> Result<(), Fault> {
        *failures += 1;
        let Some(wait) = self.pace.wait(*failures, &fault) else { return Err(fault) };
        tracing::warn!("{what}: {fault}; trying again in {:.0} s", wait.as_secs_f64());
        std::thread::sleep(wait);
        Ok(())
    }

    /// One attempt at the rest of a file.
    fn go_on(&self, wanted: &Wanted, part: &mut Part, bar: &ProgressBar) -> Result<(), Fault> {
        if wanted.size.is_some_and(|size| size == part.length) {
            return Ok(());
        }
        if wanted.size.is_some_and(|size| size < part.length) {
            part.clear()?;
        }
        let answer = match ask(&self.agent, wanted.url, wanted.token, Some(part.length)) {
            Err(Fault::Status { code: 416, .. }) if part.length > 0 => {
                part.clear()?;
                return Err(Fault::Lost("what is here of it does not fit what the server has".into()));
            }
            answer => answer?.0,
        };
        let end = end(&answer, wanted, part)?;
        bar.set_position(part.length);
        end.into_iter().for_each(|end| bar.set_length(end));
        let limit = end.map_or(u64::MAX, |end| (end - part.length).saturating_add(1));
        receive(answer.into_body().into_reader().take(limit), part, bar)?;
        match end {
            Some(end) if part.length < end => {
                Err(Fault::Lost(format!("the transfer ended early: {} of {end} bytes came", part.length)))
            }
            Some(end) if part.length > end => {
                part.clear()?;
                Err(Fault::Answer(format!("more than the announced {end} bytes came")))
            }
            _ => Ok(()),
        }
    }
}

fn receive(mut body: impl Read, part: &mut Part, bar: &ProgressBar) -> Result<(), Fault> {
    let mut chunk = vec![0; CHUNK];
    loop {
        match body.read(&mut chunk).map_err(|e| Fault::Lost(e.to_string()))? {
            0 => return Ok(()),
            n => {
                part.append(&chunk[..n])?;
                bar.inc(n as u64);
            }
        }
    }
}

/// Where the file ends, as far as it is known; what cannot be the wanted file is refused.
fn end(answer: &Response<Body>, wanted: &Wanted, part: &mut Part) -> Result<Option<u64>, Fault> {
    if text(answer, "content-type").is_some_and(|kind| kind.starts_with("text/html")) {
        return Err(Fault::Answer(
            "a web page came instead of the file: does the network ask for a login?".into(),
        ));
    }
    let total = match answer.status().as_u16() {
        200 => {
            part.clear()?;
            text(answer, "content-length").and_then(|t| t.parse().ok())
        }
        206 => {
            let range = text(answer, "content-range").and_then(content_range);
            let Some((_, total)) = range.filter(|(start, _)| *start == part.length) else {
                return Err(Fault::Answer("another part of the file came than was asked for".into()));
            };
            total
        }
        code => return Err(Fault::Answer(format!("http status {code}, which no file comes with"))),
    };
    match (wanted.size, total) {
        (Some(size), Some(total)) if size != total => {
            Err(Fault::Answer(format!("the server has a file of {total} bytes, and {size} are expected")))
        }
        (size, total) => Ok(size.or(total)),
    }
}

/// `bytes 5-9/10` → (5, 10); the total may be `*`.
fn content_range(range: &str) -> Option<(u64, Option<u64>)> {
    let (span, total) = range.strip_prefix("bytes ")?.split_once('/')?;
    let start = span.split_once('-')?.0.parse().ok()?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    total.is_none_or(|total| start < total).then_some((start, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_or_refused() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        for bad in ["", "bytes", "bytes */10", "bytes 5-9", "5-9/10", "bytes 10-11/10", "bytes x-9/10"] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
