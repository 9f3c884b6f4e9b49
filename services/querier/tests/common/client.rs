//! A client that sends what it is told, bytes and all, and shows the answer as it came.

use std::io::Read;
use std::net::SocketAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer. Header names are in lower case; the body is whole and unpacked.
#[derive(Clone, Debug, Default)]
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl HttpAnswer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends the request of a recorded case.
pub(crate) async fn send_case(address: SocketAddr, case: &Value) -> HttpAnswer {
    let mut target = case["path"].as_str().unwrap().to_owned();
    let query = match case["raw_query"].as_str() {
        Some(raw) => raw.to_owned(),
        None => encoded(&case["query"]),
    };
    if !query.is_empty() {
        target = format!("{target}?{query}");
    }
    let body = match (case["body"].as_str(), case["body_base64"].as_str()) {
        (Some(body), _) => body.as_bytes().to_vec(),
        (None, Some(body)) => BASE64_STANDARD.decode(body).unwrap(),
        (None, None) => encoded(&case["form"]).into_bytes(),
    };
    let headers: Vec<(&str, &str)> = case["headers"]
        .as_array()
        .map_or_else(Vec::new, |all| all.iter().map(|h| (h[0].as_str().unwrap(), h[1].as_str().unwrap())).collect());
    send(address, case["method"].as_str().unwrap(), &target, &headers, &body).await
}

/// Pairs as a form has them.
fn encoded(pairs: &Value) -> String {
    let text = |s: &str| -> String {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
        s.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
    };
    let Some(pairs) = pairs.as_array() else { return String::new() };
    let pairs: Vec<String> =
        pairs.iter().map(|p| format!("{}={}", text(p[0].as_str().unwrap()), text(p[1].as_str().unwrap()))).collect();
    pairs.join("&")
}

/// Sends a request.
pub(crate) async fn send(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> HttpAnswer {
    let mut request = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method == "POST" || method == "PUT" {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&[request.as_bytes(), body].concat()).await.unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).await.unwrap();
    parse(&received, method == "HEAD")
}

fn parse(received: &[u8], is_head: bool) -> HttpAnswer {
    let end = received.windows(4).position(|w| w == b"\r\n\r\n").expect("a whole head");
    let head = String::from_utf8_lossy(&received[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|l| l.split_once(':').unwrap());
    let headers = headers.map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned())).collect();
    let mut answer = HttpAnswer { status, headers, body: received[end + 4..].to_vec() };
    if answer.header("transfer-encoding") == Some("chunked") {
        answer.body = unchunk(&answer.body);
    } else if let (Some(length), false) = (answer.header("content-length"), is_head) {
        assert_eq!(answer.body.len(), length.parse::<usize>().unwrap(), "a whole body");
    }
    answer.body = match answer.header("content-encoding") {
        Some("gzip") => unpack(flate2::read::GzDecoder::new(answer.body.as_slice())),
        Some("deflate") => unpack(flate2::read::ZlibDecoder::new(answer.body.as_slice())),
        _ => answer.body,
    };
    answer
}

fn unpack(mut packed: impl Read) -> Vec<u8> {
    let mut out = Vec::new();
    packed.read_to_end(&mut out).unwrap();
    out
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let end = rest.windows(2).position(|w| w == b"\r\n").expect("the size of a chunk");
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        out.extend_from_slice(&rest[end + 2..][..size]);
        rest = &rest[end + 2 + size + 2..];
        if size == 0 {
            return out;
        }
    }
}
