//! One request, byte by byte, and what came back for it: an HTTP client would not send most of
//! what is sent here. `{host}` stands for the server's own name anywhere in it. It must not know what is
//! expected.

use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    time::Duration,
};

/// How long a server may be silent. It says nothing about speed: silence is an answer that lacks.
const SILENCE: Duration = Duration::from_secs(20);

/// How a body is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Frame {
    /// By its length, where there is one.
    Length,
    /// As the headers say that the probe brings.
    Own,
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    start: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    frame: Frame,
    raw: Option<Vec<u8>>,
    is_cut: bool,
}

impl Ask {
    /// A request with a key, to the root, as a well-behaved client sends it.
    pub(crate) fn new(method: &str, target: &str) -> Self {
        let ask = Self {
            start: format!("{method} {target} HTTP/1.1"),
            headers: Vec::new(),
            body: Vec::new(),
            frame: Frame::Length,
            raw: None,
            is_cut: false,
        };
        ask.with("Host", "{host}")
            .with("Authorization", "Bearer key-a")
            .with("Accept", "application/json, text/event-stream")
            .with("Connection", "close")
    }

    /// A message without a session.
    pub(crate) fn post(body: impl AsRef<[u8]>) -> Self {
        Self::new("POST", "/mcp").with("Content-Type", "application/json").body(body)
    }

    /// These bytes and nothing else, but for `{host}`.
    pub(crate) fn raw(bytes: impl AsRef<[u8]>) -> Self {
        Self { raw: Some(bytes.as_ref().to_vec()), ..Self::new("", "") }
    }

    /// The same with another first line.
    pub(crate) fn start(mut self, line: &str) -> Self {
        line.clone_into(&mut self.start);
        self
    }

    /// The same with another method.
    pub(crate) fn by(self, method: &str) -> Self {
        let rest = self.start.split_once(' ').map(|(_, rest)| rest.to_owned()).unwrap();
        self.start(&format!("{method} {rest}"))
    }

    /// The same to another target.
    pub(crate) fn to(self, target: &str) -> Self {
        let method = self.start.split(' ').next().unwrap().to_owned();
        self.start(&format!("{method} {target} HTTP/1.1"))
    }

    /// The same with one header more.
    pub(crate) fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// The same without a header.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// The same with another value of a header.
    pub(crate) fn set(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.without(name).with(name, value)
    }

    /// The same with another body.
    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// The same with more of a body.
    pub(crate) fn more(mut self, body: &str) -> Self {
        self.body.extend_from_slice(body.as_bytes());
        self
    }

    /// The same with a header that announces the body instead of its length.
    pub(crate) fn framed(mut self, name: &str, value: &str) -> Self {
        self.frame = Frame::Own;
        self.with(name, value)
    }

    /// The same by a client that says nothing more after it.
    pub(crate) fn cut(mut self) -> Self {
        self.is_cut = true;
        self
    }

    /// The id that it asks with, where it has one to be read.
    pub(crate) fn id(&self) -> Option<Value> {
        serde_json::from_slice::<Value>(&self.body).ok()?.get("id").cloned()
    }

    fn bytes(&self, host: &str) -> Vec<u8> {
        let named = |bytes: &[u8]| match std::str::from_utf8(bytes) {
            Ok(text) => text.replace("{host}", host).into_bytes(),
            Err(_) => bytes.to_vec(),
        };
        if let Some(raw) = &self.raw {
            return named(raw);
        }
        let mut bytes = named(self.start.as_bytes());
        for (name, value) in &self.headers {
            bytes.extend_from_slice(b"\r\n");
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend(named(value));
        }
        let body = named(&self.body);
        if self.frame == Frame::Length && (!body.is_empty() || self.start.starts_with("POST")) {
            bytes.extend(format!("\r\nContent-Length: {}", body.len()).into_bytes());
        }
        bytes.extend_from_slice(b"\r\n\r\n");
        bytes.extend(body);
        bytes
    }

    /// Sends it, and reads what comes back.
    pub(crate) fn send(&self, host: &str) -> Answer {
        self.begin(host).answer()
    }

    /// Sends it, and leaves what comes back for later.
    pub(crate) fn begin(&self, host: &str) -> Sent {
        let mut stream = TcpStream::connect(host).expect("the server accepts");
        stream.set_read_timeout(Some(SILENCE)).unwrap();
        stream.set_write_timeout(Some(SILENCE)).unwrap();
        // The answer may come, and the connection go, before everything is written.
        let _ = stream.write_all(&self.bytes(host));
        if self.is_cut {
            let _ = stream.shutdown(Shutdown::Write);
        }
        Sent { stream, is_head: self.start.starts_with("HEAD ") }
    }
}

/// A request that was sent.
#[derive(Debug)]
pub(crate) struct Sent {
    stream: TcpStream,
    is_head: bool,
}

impl Sent {
    /// Reads what comes back.
    pub(crate) fn answer(self) -> Answer {
        read(&mut BufReader::new(self.stream), self.is_head).unwrap_or_default()
    }

    /// The same of a stream that ends: all of it.
    pub(crate) fn whole(self) -> Answer {
        let mut stream = BufReader::new(self.stream);
        let mut answer = read(&mut stream, self.is_head).unwrap_or_default();
        if answer.header("content-type") == Some("text/event-stream") {
            let body = chunks(&mut stream).unwrap_or_default();
            answer.body = String::from_utf8_lossy(&body).into_owned();
        }
        answer
    }
}

/// What came back. Nothing at all where the connection was closed without a word.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// HTTP status.
    pub(crate) status: Option<u16>,
    headers: Vec<(String, String)>,
    /// The body; of a stream nothing is read.
    pub(crate) body: String,
}

impl Answer {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Where a browser goes from here by itself, and whether a page is shown on the way.
    pub(crate) fn leads(&self) -> Option<(&str, bool)> {
        let refresh = self.header("refresh").and_then(|said| said.strip_prefix("0; url="));
        let location = self.header("location").map(|location| (location, false));
        location.or(refresh.map(|location| (location, true)))
    }

    /// The values of a header that may be there several times.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.headers.iter().filter(move |(known, _)| known == name);
        named.map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null where it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

/// Reads a response. `None` where there is none, or none that ends.
fn read(stream: &mut BufReader<TcpStream>, is_head: bool) -> Option<Answer> {
    let mut answer = head(stream)?;
    if answer.status == Some(100) {
        // The client may go on, and the answer follows.
        answer = head(stream)?;
    }
    let status = answer.status?;
    let is_stream = answer.header("content-type") == Some("text/event-stream");
    if is_head || is_stream || matches!(status, 204 | 304 | 101) {
        return Some(answer);
    }
    let body = match answer.header("content-length").map(str::parse) {
        Some(length) => sized(stream, length.ok()?)?,
        None if answer.header("transfer-encoding").is_some() => chunks(stream)?,
        None => {
            let mut body = Vec::new();
            stream.read_to_end(&mut body).ok()?;
            body
        }
    };
    answer.body = String::from_utf8_lossy(&body).into_owned();
    Some(answer)
}

/// Reads a response up to its body.
fn head(stream: &mut BufReader<TcpStream>) -> Option<Answer> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let (version, rest) = line.split_once(' ')?;
    let status = rest.get(..3)?.parse().ok().filter(|_| version.starts_with("HTTP/1."))?;
    let mut answer = Answer { status: Some(status), ..Answer::default() };
    loop {
        let mut line = Vec::new();
        stream.read_until(b'\n', &mut line).ok()?;
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if line.is_empty() {
            return Some(answer);
        }
        let (name, value) = line.split_once(':')?;
        answer.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn sized(stream: &mut BufReader<TcpStream>, length: usize) -> Option<Vec<u8>> {
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

fn chunks(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let length = usize::from_str_radix(line.trim(), 16).ok()?;
        body.extend(sized(stream, length)?);
        sized(stream, 2)?;
        if length == 0 {
            return Some(body);
        }
    }
}
