//! Sends one request and follows its redirects.
//!
//! The hub redirects to other hosts and a token is for the hub only, so redirects are followed here, one by
//! one. A redirect from HTTPS to plain HTTP is refused.

use std::time::Duration;

use ureq::http::{Response, Uri, header};
use ureq::{Agent, Body};

use super::Fault;

/// Number of redirects that are followed; the hub needs two.
const MAX_REDIRECTS: usize = 8;

/// A file's description in the response headers. The hub's own headers take precedence over the general ones.
#[derive(Debug, Default)]
pub struct FileInfo {
    /// The commit (`x-repo-commit`).
    pub commit: Option<String>,
    /// The entity tag without quotes (`x-linked-etag`, else `etag`).
    pub tag: Option<String>,
    /// The length in bytes (`x-linked-size`, else `content-length`).
    pub size: Option<u64>,
    linked: (Option<String>, Option<u64>),
}

/// Requests a file from byte `start` on, or only its headers if `start` is `None`, and follows redirects.
pub fn request(
    agent: &Agent,
    url: &str,
    token: Option<&str>,
    start: Option<u64>,
) -> Result<(Response<Body>, FileInfo), Fault> {
    let home: Uri = url.parse().map_err(|e| Fault::Answer(format!("`{url}` is no address: {e}")))?;
    let (mut at, mut info) = (home.clone(), FileInfo::default());
    for _ in 0..MAX_REDIRECTS {
        let mut request = if start.is_some() { agent.get(&at) } else { agent.head(&at) };
        if let Some(token) = token.filter(|_| origin(&at) == origin(&home)) {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(start) = start.filter(|&start| start > 0) {
            request = request.header(header::RANGE, format!("bytes={start}-"));
        }
        let answer = request.call().map_err(transport_fault)?;
        let status = answer.status();
        info.update(&answer, origin(&at) == origin(&home));
        if status.is_client_error() || status.is_server_error() {
            let wait =
                header_text(&answer, "retry-after").and_then(|t| t.parse().ok()).map(Duration::from_secs);
            return Err(Fault::Status { code: status.as_u16(), wait });
        }
        if !status.is_redirection() {
            return Ok((answer, info));
        }
        // The hub's own headers describe a large file completely; the storage host may refuse a HEAD request.
        if start.is_none() && info.linked.0.is_some() && info.linked.1.is_some() {
            return Ok((answer, info));
        }
        at = redirected(&at, &answer)?;
    }
    Err(Fault::Answer(format!("more than {MAX_REDIRECTS} redirects")))
}

/// The target of a redirect.
fn redirected(from: &Uri, answer: &Response<Body>) -> Result<Uri, Fault> {
    let next = header_text(answer, "location").and_then(|location| join(from, location));
    let next = next.ok_or_else(|| Fault::Answer("a redirect leads nowhere".into()))?;
    if from.scheme_str() == Some("https") && next.scheme_str() != Some("https") {
        return Err(Fault::Answer("a redirect leads from https to an open connection".into()));
    }
    Ok(next)
}

impl FileInfo {
    /// Adds the response headers. `home`: the response comes from the first server, not from a redirect's
    /// target.
    fn update(&mut self, answer: &Response<Body>, home: bool) {
        let tag = |name| header_text(answer, name).map(|t| t.trim_start_matches("W/").replace('"', ""));
        let number = |name| header_text(answer, name).and_then(|t| t.parse::<u64>().ok());
        if home {
            self.commit =
                self.commit.take().or_else(|| header_text(answer, "x-repo-commit").map(str::to_owned));
            self.linked =
                (self.linked.0.take().or(tag("x-linked-etag")), self.linked.1.or(number("x-linked-size")));
            self.tag = self.linked.0.clone().or(tag("etag")).or(self.tag.take());
        }
        let length = number("content-length").filter(|_| answer.status().is_success());
        self.size = self.linked.1.or(length);
    }
}

/// The text of a header.
pub fn header_text<'a>(answer: &'a Response<Body>, name: &str) -> Option<&'a str> {
    answer.headers().get(name)?.to_str().ok().map(str::trim)
}

fn origin(uri: &Uri) -> (Option<&str>, Option<&str>, Option<u16>) {
    (uri.scheme_str(), uri.host(), uri.port_u16())
}

/// The absolute URL of a redirect at `base`.
fn join(base: &Uri, location: &str) -> Option<Uri> {
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let absolute = match location {
        rest if rest.starts_with("//") => format!("{scheme}:{rest}"),
        rest if rest.starts_with('/') => format!("{scheme}://{authority}{rest}"),
        whole => whole.to_owned(),
    };
    let uri: Uri = absolute.parse().ok()?;
    (matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()).then_some(uri)
}

fn transport_fault(error: ureq::Error) -> Fault {
    use ureq::Error::{ConnectionFailed, HostNotFound, Io, Protocol, Timeout};
    match error {
        Timeout(_) => Fault::Lost(format!("the server does not answer in time ({error})")),
        Io(_) | HostNotFound | ConnectionFailed | Protocol(_) => Fault::Lost(error.to_string()),
        error => Fault::Answer(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_joined_as_browsers_do() {
        let base: Uri = "https://hub.co:8443/a/b?c".parse().unwrap();
        let joined = |location| join(&base, location).map(|uri| uri.to_string());
        assert_eq!(joined("/x?y").as_deref(), Some("https://hub.co:8443/x?y"));
        assert_eq!(joined("//cdn.co/x").as_deref(), Some("https://cdn.co/x"));
        assert_eq!(joined("http://cdn.co/x").as_deref(), Some("http://cdn.co/x"));
        for nowhere in ["", "x/y", "file:///etc/passwd", "ftp://cdn.co/x", "http:///x", "a b"] {
            assert_eq!(joined(nowhere), None, "{nowhere}");
        }
    }
}
