//! Downloads files over HTTP: retries transient failures, resumes broken transfers and checks the result.
//!
//! A file grows as `NAME.part` next to its final path and is renamed once its length and checksum are right.
//! A later attempt, or a later process, resumes from that part. A token is sent to its own server only.

mod checksum;
mod partial_file;
mod request;
mod retry_policy;

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use indicatif::ProgressBar;
use ureq::http::Response;
use ureq::{Agent, Body};

pub use checksum::Checksum;
pub use partial_file::partial_path;
pub use request::FileInfo;
pub use retry_policy::RetryPolicy;

use self::partial_file::PartialFile;
use self::request::{header_text, request};
use crate::error::Error;
use crate::progress::Progress;

/// Bytes per read.
const CHUNK: usize = 1 << 17;
/// An attempt that brings this many bytes does not count as a failure.
const MIN_PROGRESS: u64 = 1 << 20;

/// Why a download failed.
#[derive(Debug)]
pub enum Fault {
    /// The server refused.
    Status {
        /// The HTTP status.
        code: u16,
        /// The delay that the server requests (`Retry-After`).
        wait: Option<Duration>,
    },
    /// There was no connection, or it ended or stalled too early.
    Lost(String),
    /// The response is invalid, or not the expected file.
    Answer(String),
    /// Reading or writing on the local disk failed.
    Local(Error),
}

impl Fault {
    /// Whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Status { code, .. } => matches!(code, 408 | 425 | 429 | 500 | 502 | 503 | 504),
            Self::Lost(_) => true,
            Self::Answer(_) | Self::Local(_) => false,
        }
    }

    /// The HTTP status, if the server refused.
    pub fn status(&self) -> Option<u16> {
        if let Self::Status { code, .. } = self { Some(*code) } else { None }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { code, wait: None } => write!(f, "http status {code}"),
            Self::Status { code, wait: Some(wait) } => {
                write!(f, "http status {code}, retry after {} s", wait.as_secs())
            }
            Self::Lost(what) | Self::Answer(what) => f.write_str(what),
            Self::Local(error) => write!(f, "{error}"),
        }
    }
}

/// A file on a server and its path on the local disk.
pub struct Download<'a> {
    /// Its name on the progress bar.
    pub name: &'a str,
    /// Its URL.
    pub url: &'a str,
    /// The access token, sent to the URL's server only.
    pub token: Option<&'a str>,
    /// The final path on the local disk.
    pub path: &'a Path,
    /// Its length in bytes, if known.
    pub size: Option<u64>,
    /// Its checksum, if known.
    pub checksum: Option<&'a Checksum>,
}

/// An HTTP client that retries.
pub struct Http {
    agent: Agent,
    policy: RetryPolicy,
    /// Whether downloads draw a bar.
    pub progress: Progress,
}

impl Default for Http {
    fn default() -> Self {
        Self::new(RetryPolicy::default())
    }
}

impl Http {
    /// A client with this policy.
    pub fn new(policy: RetryPolicy) -> Self {
        let config = Agent::config_builder()
            .timeout_connect(Some(policy.connect))
            .timeout_resolve(Some(policy.connect))
            .timeout_recv_response(Some(policy.stall))
            .timeout_per_read(Some(policy.stall))
            .max_redirects(0)
            .http_status_as_error(false)
            .accept_encoding("identity") // a compressed response has another length and cannot be resumed
            .user_agent(concat!("dsi/", env!("CARGO_PKG_VERSION")));
        Self { agent: config.build().into(), policy, progress: Progress::Hidden }
    }

    /// The server's description of a file (a HEAD request).
    ///
    /// # Errors
    /// When the server refuses or cannot be reached.
    pub fn head(&self, url: &str, token: Option<&str>) -> Result<FileInfo, Fault> {
        let mut failures = 0;
        loop {
            match request(&self.agent, url, token, None) {
                Ok((_, info)) => return Ok(info),
                Err(fault) => self.wait_or_fail(url, &mut failures, fault)?,
            }
        }
    }

    /// Downloads a file to its path, resuming from `NAME.part`.
    ///
    /// # Errors
    /// When the server refuses, the connection fails too often, the content is not the expected one, another
    /// process downloads the same file, or the disk cannot be written.
    pub fn download(&self, download: &Download) -> Result<(), Fault> {
        let mut part = PartialFile::open(download.path)?;
        let bar = self.progress.bytes(download.size, download.name.to_owned());
        let (mut failures, mut resumed) = (0, part.length > 0);
        loop {
            let before = part.length;
            if let Err(fault) = self.attempt(download, &mut part, &bar) {
                failures = if part.length >= before + MIN_PROGRESS { 0 } else { failures };
                self.wait_or_fail(download.name, &mut failures, fault)?;
                continue;
            }
            match part.finish(download, self.progress) {
                // The resumed part may be the beginning of an older version: try once more from the start.
                Err(Fault::Answer(_)) if resumed => resumed = false,
                done => return done,
            }
        }
    }

    fn wait_or_fail(&self, what: &str, failures: &mut u32, fault: Fault) -> Result<(), Fault> {
        *failures += 1;
        let Some(delay) = self.policy.delay(*failures, &fault) else { return Err(fault) };
        tracing::warn!("{what}: {fault}; trying again in {:.0} s", delay.as_secs_f64());
        std::thread::sleep(delay);
        Ok(())
    }

    /// One attempt to download the rest of a file.
    fn attempt(&self, download: &Download, part: &mut PartialFile, bar: &ProgressBar) -> Result<(), Fault> {
        if download.size.is_some_and(|size| size == part.length) {
            return Ok(());
        }
        if download.size.is_some_and(|size| size < part.length) {
            part.clear()?;
        }
        let answer = match request(&self.agent, download.url, download.token, Some(part.length)) {
            Err(Fault::Status { code: 416, .. }) if part.length > 0 => {
                part.clear()?;
                return Err(Fault::Lost("the partial download does not match the server's file".into()));
            }
            answer => answer?.0,
        };
        let end = total_length(&answer, download, part)?;
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

fn receive(mut body: impl Read, part: &mut PartialFile, bar: &ProgressBar) -> Result<(), Fault> {
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

/// The total length of the file, if known. A response that cannot be the expected file is an error.
fn total_length(
    answer: &Response<Body>,
    download: &Download,
    part: &mut PartialFile,
) -> Result<Option<u64>, Fault> {
    if header_text(answer, "content-type").is_some_and(|kind| kind.starts_with("text/html")) {
        return Err(Fault::Answer(
            "a web page came instead of the file: does the network require a login?".into(),
        ));
    }
    let total = match answer.status().as_u16() {
        200 => {
            part.clear()?;
            header_text(answer, "content-length").and_then(|t| t.parse().ok())
        }
        206 => {
            let range = header_text(answer, "content-range").and_then(content_range);
            let Some((_, total)) = range.filter(|(start, _)| *start == part.length) else {
                return Err(Fault::Answer("another part of the file came than was requested".into()));
            };
            total
        }
        code => return Err(Fault::Answer(format!("http status {code}, which is not the status of a file"))),
    };
    match (download.size, total) {
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
