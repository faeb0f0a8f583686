//! One question to a server, and the redirects that lead to its answer.
//!
//! The hub redirects to other hosts, and a token is for the hub alone: so redirects are followed here, one by one.
//! None leads from HTTPS to plain HTTP.

use std::time::Duration;

use ureq::http::{Response, Uri, header};
use ureq::{Agent, Body};

use super::Fault;

/// Redirects that are followed; the hub needs two.
const HOPS: usize = 8;

/// What a server tells about a file before it sends it. The hub's own headers go before the general ones.
#[derive(Debug, Default)]
pub struct Told {
    /// The commit it belongs to (`x-repo-commit`).
    pub commit: Option<String>,
    /// Its entity tag, without quotes (`x-linked-etag`, else `etag`).
    pub tag: Option<String>,
    /// Its length in bytes (`x-linked-size`, else `content-length`).
    pub size: Option<u64>,
    linked: (Option<String>, Option<u64>),
}

/// Asks for a file from byte `start` on, or for its headers alone, and follows redirects.
pub fn ask(
    agent: &Agent,
    url: &str,
    token: Option<&str>,
    start: Option<u64>,
) -> Result<(Response<Body>, Told), Fault> {
    let home: Uri = url.parse().map_err(|e| Fault::Answer(format!("`{url}` is no address: {e}")))?;
    let (mut at, mut told) = (home.clone(), Told::default());
    for _ in 0..HOPS {
        let mut request = if start.is_some() { agent.get(&at) } else { agent.head(&at) };
        if let Some(token) = token.filter(|_| origin(&at) == origin(&home)) {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(start) = start.filter(|&start| start > 0) {
            request = request.header(header::RANGE, format!("bytes={start}-"));
        }
        let answer = request.call().map_err(lost)?;
        let status = answer.status();
        told.hear(&answer, origin(&at) == origin(&home));
        if status.is_client_error() || status.is_server_error() {
            let wait = text(&answer, "retry-after").and_then(|t| t.parse().ok()).map(Duration::from_secs);
            return Err(Fault::Status { code: status.as_u16(), wait });
        }
        if !status.is_redirection() {
            return Ok((answer, told));
        }
        // Of a large file the hub has told everything; where it is kept, a question without it may be refused.
        if start.is_none() && told.linked.0.is_some() && told.linked.1.is_some() {
            return Ok((answer, told));
        }
        at = redirected(&at, &answer)?;
    }
    Err(Fault::Answer(format!("more than {HOPS} redirects")))
}

/// Where a redirect leads to.
fn redirected(from: &Uri, answer: &Response<Body>) -> Result<Uri, Fault> {
    let next = text(answer, "location").and_then(|location| join(from, location));
    let next = next.ok_or_else(|| Fault::Answer("a redirect leads nowhere".into()))?;
    if from.scheme_str() == Some("https") && next.scheme_str() != Some("https") {
        return Err(Fault::Answer("a redirect leads from https to an open connection".into()));
    }
    Ok(next)
}

impl Told {
    /// Takes what the headers say. `home`: they are of the server that was asked, not of one it pointed to.
    fn hear(&mut self, answer: &Response<Body>, home: bool) {
        let tag = |name| text(answer, name).map(|t| t.trim_start_matches("W/").replace('"', ""));
        let number = |name| text(answer, name).and_then(|t| t.parse::<u64>().ok());
        if home {
            self.commit = self.commit.take().or_else(|| text(answer, "x-repo-commit").map(str::to_owned));
            self.linked =
                (self.linked.0.take().or(tag("x-linked-etag")), self.linked.1.or(number("x-linked-size")));
            self.tag = self.linked.0.clone().or(tag("etag")).or(self.tag.take());
        }
        let length = number("content-length").filter(|_| answer.status().is_success());
        self.size = self.linked.1.or(length);
    }
}

/// A header as text.
pub fn text<'a>(answer: &'a Response<Body>, name: &str) -> Option<&'a str> {
    answer.headers().get(name)?.to_str().ok().map(str::trim)
}

fn origin(uri: &Uri) -> (Option<&str>, Option<&str>, Option<u16>) {
    (uri.scheme_str(), uri.host(), uri.port_u16())
}

/// The address that a redirect at `base` means.
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

fn lost(error: ureq::Error) -> Fault {
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
