//! A small HTTP/1.1 client for loopback: one connection kept alive, bodies whole in memory. A library would bring a
//! runtime and compression that the measurement has to explain.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// Bound of one answer: ten million samples as JSON.
const BODY_BYTES_MAX: usize = 1 << 30;
/// Bound of a status or header line.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// A connection to one address, opened when first used and again after the server closed it.
#[derive(Debug)]
pub struct Client {
    address: String,
    timeout: Duration,
    stream: Option<BufReader<TcpStream>>,
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body, without the encoding of the transfer.
    pub body: Vec<u8>,
}

impl Response {
    /// The beginning of the body as text, for messages.
    pub fn excerpt(&self) -> String {
        String::from_utf8_lossy(&self.body[..self.body.len().min(400)]).trim().to_string()
    }

    /// Fails unless the status is 2xx.
    pub fn success(self, what: &str) -> Result<Response> {
        ensure!(self.status / 100 == 2, "{what}: status {}: {}", self.status, self.excerpt());
        Ok(self)
    }
}

impl Client {
    /// A client of `address` (host:port) that waits at most `timeout` for each read.
    pub fn new(address: &str, timeout: Duration) -> Client {
        Client { address: address.to_string(), timeout, stream: None }
    }

    /// GET.
    pub fn get(&mut self, path: &str) -> Result<Response> {
        self.request("GET", path, &[], &[])
    }

    /// POST of a form, as the query API takes it.
    pub fn post_form(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<Response> {
        let body =
            fields.iter().map(|(name, value)| format!("{name}={}", percent(value))).collect::<Vec<_>>().join("&");
        self.request("POST", path, &[("Content-Type", "application/x-www-form-urlencoded")], body.as_bytes())
    }

    /// One request and its answer. A connection that the server closed while idle is opened anew, once.
    pub fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Response> {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n", self.address, body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let reused = self.stream.is_some();
        let status = match self.exchange(head.as_bytes(), body) {
            Err(error) if reused && is_closed(&error) => {
                self.stream = None;
                self.exchange(head.as_bytes(), body)
            }
            other => other,
        };
        let response = status.and_then(|status| self.read_rest(status));
        if response.is_err() {
            self.stream = None;
        }
        response.with_context(|| format!("{method} http://{}{path}", self.address))
    }

    /// Sends, and reads the status line.
    fn exchange(&mut self, head: &[u8], body: &[u8]) -> Result<u16> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(&self.address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(self.timeout))?;
                stream.set_write_timeout(Some(self.timeout))?;
                self.stream.insert(BufReader::with_capacity(64 << 10, stream))
            }
        };
        stream.get_mut().write_all(head)?;
        stream.get_mut().write_all(body)?;
        let line = read_line(stream)?;
        let code = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|code| code.parse().ok());
        code.with_context(|| format!("not a status line: {line:?}"))
    }

    fn read_rest(&mut self, status: u16) -> Result<Response> {
        let stream = self.stream.as_mut().context("no connection")?;
        let (mut length, mut chunked, mut close) = (None, false, false);
        loop {
            let line = read_line(stream)?;
            let Some((name, value)) = line.split_once(':') else {
                ensure!(line.is_empty(), "not a header: {line:?}");
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = Some(value.trim().parse::<usize>().context("content-length")?),
                "transfer-encoding" => chunked = value.trim().eq_ignore_ascii_case("chunked"),
                "connection" => close = value.trim().eq_ignore_ascii_case("close"),
                _ => (),
            }
        }
        let mut body = Vec::new();
        if status == 204 || status == 304 {
            // No body by definition.
        } else if chunked {
            read_chunks(stream, &mut body)?;
        } else if let Some(length) = length {
            read_exactly(stream, length, &mut body)?;
        } else {
            stream.take(BODY_BYTES_MAX as u64).read_to_end(&mut body)?;
            close = true;
        }
        if close {
            self.stream = None;
        }
        Ok(Response { status, body })
    }
}

fn read_chunks(stream: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> Result<()> {
    loop {
        let line = read_line(stream)?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let length = usize::from_str_radix(digits, 16).with_context(|| format!("length of a chunk: {line:?}"))?;
        if length == 0 {
            while !read_line(stream)?.is_empty() {}
            return Ok(());
        }
        read_exactly(stream, length, body)?;
        ensure!(read_line(stream)?.is_empty(), "a chunk is longer than it says");
    }
}

fn read_exactly(stream: &mut BufReader<TcpStream>, length: usize, body: &mut Vec<u8>) -> Result<()> {
    let total = body.len().checked_add(length).filter(|total| *total <= BODY_BYTES_MAX);
    let total = total.with_context(|| format!("an answer of more than {BODY_BYTES_MAX} bytes"))?;
    stream.take(length as u64).read_to_end(body)?;
    ensure!(body.len() == total, "the answer ends early");
    Ok(())
}

fn read_line(stream: &mut BufReader<TcpStream>) -> Result<String> {
    let mut line = String::new();
    stream.take(LINE_BYTES_MAX).read_line(&mut line)?;
    if !line.ends_with('\n') {
        bail!(std::io::Error::from(ErrorKind::UnexpectedEof));
    }
    line.truncate(line.trim_end().len());
    Ok(line)
}

/// Whether the other side had closed the connection before it saw the request.
fn is_closed(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    matches!(kind, Some(ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset))
}

/// Percent-encodes all but the unreserved characters.
pub fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests;
