//! A local HTTP server that speaks the hub's protocol and can break it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use dsi::data::http::{Http, RetryPolicy};

#[derive(Clone)]
pub struct Request {
    pub text: String,
    /// The last part of the path.
    pub file: String,
    /// The first byte of a range request.
    pub start: Option<usize>,
    /// A HEAD request.
    pub head: bool,
    /// How many requests came before.
    pub count: usize,
}

pub struct Answer {
    pub head: Vec<String>,
    pub body: Vec<u8>,
    /// Sends nothing after the body and keeps the connection open.
    pub silent: bool,
}

impl Answer {
    /// Removes a header.
    pub fn without(mut self, header: &str) -> Self {
        self.head.retain(|line| !line.starts_with(header));
        self
    }

    pub fn with(mut self, header: &str) -> Self {
        self.head.push(header.into());
        self
    }

    /// Cuts the body to this length.
    pub fn cut(mut self, length: usize) -> Self {
        self.body.truncate(length);
        self
    }
}

pub fn status(code: u16) -> Answer {
    let head = vec![format!("HTTP/1.1 {code} -"), "Content-Length: 0".into()];
    Answer { head, body: Vec::new(), silent: false }
}

/// A file as ordinary servers send it: whole, or from a given byte.
pub fn plain(request: &Request, content: &[u8]) -> Answer {
    let start = request.start.unwrap_or(0);
    if start > 0 && start >= content.len() {
        return status(416);
    }
    let body = content[start..].to_vec();
    let head = match request.start {
        None => vec!["HTTP/1.1 200 -".into()],
        Some(start) => vec![
            "HTTP/1.1 206 -".into(),
            format!("Content-Range: bytes {start}-{}/{}", content.len() - 1, content.len()),
        ],
    };
    Answer { head, body, silent: false }.with(&format!("Content-Length: {}", content.len() - start))
}

/// A file of one commit of the hub.
pub fn file(request: &Request, content: &[u8], commit: &str) -> Answer {
    plain(request, content)
        .with(&format!("ETag: \"{}-{commit}\"", request.file.replace('.', "-")))
        .with(&format!("X-Repo-Commit: {commit}"))
}

/// A client that retries at once and times out quickly.
pub fn http() -> Http {
    let short = Duration::from_millis(300);
    let none = Duration::from_millis(1);
    Http::new(RetryPolicy {
        connect: short * 10,
        stall: short,
        attempts: 3,
        first_wait: none,
        longest_wait: short,
    })
}

/// A server on a free local port, stopped when dropped.
pub struct Server {
    pub address: String,
    pub requests: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(answer: impl Fn(&Request) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (requests, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (seen, stopped): (Arc<Mutex<Vec<String>>>, _) = (Arc::clone(&requests), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().take(1000) {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let count = seen.lock().unwrap().len();
                if let Some(text) = serve(stream.unwrap(), count, &answer) {
                    seen.lock().unwrap().push(text);
                }
            }
        });
        Self { address, requests, stop, thread: Some(thread) }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// The first lines of the requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.requests.lock().unwrap().iter().map(|text| text.lines().next().unwrap().to_owned()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(&self.address)); // wakes the thread
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Answers one request on one connection; returns its text if it was a request.
fn serve(mut stream: TcpStream, count: usize, answer: &impl Fn(&Request) -> Answer) -> Option<String> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") && text.len() < 8192 {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        text.push(byte[0]);
    }
    let text = String::from_utf8(text).unwrap();
    let range = text.lines().find_map(|line| line.strip_prefix("range: bytes="));
    let start = range.and_then(|range| range.split('-').next()?.parse().ok());
    let path = text.split(' ').nth(1)?;
    let file = path.rsplit('/').next()?.to_owned();
    let request = Request { head: text.starts_with("HEAD "), file, start, count, text };
    let Answer { head, body, silent } = answer(&request);
    let mut bytes = (head.join("\r\n") + "\r\nConnection: close\r\n\r\n").into_bytes();
    if !request.head {
        bytes.extend(body);
    }
    // The client may have closed the connection.
    stream.write_all(&bytes).and_then(|()| stream.flush()).ok();
    if silent {
        stream.read_exact(&mut [0]).ok();
    }
    stream.shutdown(Shutdown::Write).ok();
    Some(request.text)
}
