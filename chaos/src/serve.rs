//! A small HTTP/1.1 server for loopback, a thread per connection: what the proxy and the twin listen with.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use anyhow::{Context, Result, ensure};

const HEAD_LINE_BYTES_MAX: u64 = 64 << 10;
const HEADERS_MAX: usize = 100;
const BODY_BYTES_MAX: usize = 64 << 20;
/// More are closed at once.
const CONNECTIONS_MAX: usize = 256;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET` and the like.
    pub method: String,
    /// With the query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// A status and a text.
    pub fn text(status: u16, text: &str) -> Reply {
        Reply { status, body: text.as_bytes().to_vec() }
    }
}

/// What answers requests; none closes the connection without an answer.
pub type Handler = dyn Fn(&Request) -> Option<Reply> + Send + Sync;

/// What connections share with whoever ends them.
pub(crate) struct Open {
    ended: AtomicBool,
    /// Those that somebody still serves. Guards the list alone; held for a push or a shutdown.
    streams: Mutex<Vec<Weak<TcpStream>>>,
}

impl Open {
    pub(crate) fn new() -> Arc<Open> {
        Arc::new(Open { ended: AtomicBool::new(false), streams: Mutex::default() })
    }

    /// Remembers a connection for as long as it is served.
    pub(crate) fn add(&self, stream: TcpStream) -> Arc<TcpStream> {
        let stream = Arc::new(stream);
        let mut streams = self.streams.lock().expect("nothing panics while it holds the list");
        streams.retain(|stream| stream.strong_count() > 0);
        streams.push(Arc::downgrade(&stream));
        stream
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Closes all connections.
    pub(crate) fn close_all(&self) {
        let streams = self.streams.lock().expect("nothing panics while it holds the list");
        for stream in streams.iter().filter_map(Weak::upgrade) {
            // Fails where the other side has closed it already.
            stream.shutdown(Shutdown::Both).ok();
        }
    }

    /// Ends whoever accepts at `address`, and all connections.
    pub(crate) fn end(&self, address: SocketAddr) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the accepting thread. Fails where it is gone already.
        TcpStream::connect(address).ok();
        self.close_all();
    }
}

/// A server that runs until it is dropped.
pub struct Server {
    address: SocketAddr,
    open: Arc<Open>,
}

impl Server {
    /// Listens on a free port of 127.0.0.1.
    pub fn start(handler: Arc<Handler>) -> Result<Server> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("listen on 127.0.0.1")?;
        let address = listener.local_addr().context("the address that it listens on")?;
        let open = Open::new();
        let shared = open.clone();
        std::thread::spawn(move || accept(&listener, &shared, &handler));
        Ok(Server { address, open })
    }

    /// host:port.
    pub fn address(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.open.end(self.address);
    }
}

fn accept(listener: &TcpListener, open: &Arc<Open>, handler: &Arc<Handler>) {
    let running = Arc::new(());
    for stream in listener.incoming() {
        if open.is_ended() {
            break;
        }
        let (Ok(stream), true) = (stream, Arc::strong_count(&running) <= CONNECTIONS_MAX) else { continue };
        let (stream, handler, ticket) = (open.add(stream), handler.clone(), running.clone());
        std::thread::spawn(move || {
            // A connection that breaks is its client's to notice.
            serve(&stream, &*handler).ok();
            drop(ticket);
        });
    }
}

fn serve(stream: &TcpStream, handler: &Handler) -> Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    while let Some(request) = read_request(&mut reader)? {
        let Some(reply) = handler(&request) else { break };
        // No status of ours that has a body is 204; a 204 has no length either.
        let length =
            if reply.status == 204 { String::new() } else { format!("Content-Length: {}\r\n", reply.body.len()) };
        write!(writer, "HTTP/1.1 {} .\r\n{length}\r\n", reply.status)?;
        if reply.status != 204 {
            writer.write_all(&reply.body)?;
        }
    }
    writer.shutdown(Shutdown::Both).context("close a connection")
}

/// The next request; none where the client is done.
fn read_request(reader: &mut impl BufRead) -> Result<Option<Request>> {
    let first = read_line(reader)?;
    if first.is_empty() {
        return Ok(None);
    }
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().context("a request without a path")?);
    let (mut headers, mut length) = (Vec::new(), 0);
    loop {
        let line = read_line(reader)?;
        let Some((name, value)) = line.split_once(':') else {
            ensure!(line.is_empty(), "not a header: {line:?}");
            break;
        };
        ensure!(headers.len() < HEADERS_MAX, "more than {HEADERS_MAX} headers");
        let (name, value) = (name.to_ascii_lowercase(), value.trim().to_string());
        if name == "content-length" {
            length = value.parse::<usize>().context("content-length")?;
        }
        headers.push((name, value));
    }
    ensure!(length <= BODY_BYTES_MAX, "a body of {length} bytes");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).context("read a body")?;
    Ok(Some(Request { method: method.to_string(), path: path.to_string(), headers, body }))
}

/// Empty for an empty line and at the end.
fn read_line(reader: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    reader.take(HEAD_LINE_BYTES_MAX).read_line(&mut line).context("read a line")?;
    line.truncate(line.trim_end().len());
    Ok(line)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use benches::http::Client;

    use super::*;

    #[test]
    fn requests_of_one_connection_are_answered_in_turn() {
        let handler = |request: &Request| match request.path.as_str() {
            "/none" => Some(Reply { status: 204, body: Vec::new() }),
            "/close" => None,
            _ => Some(Reply { status: 200, body: request.body.clone() }),
        };
        let server = Server::start(Arc::new(handler)).unwrap();
        let mut client = Client::new(&server.address(), Duration::from_secs(10));
        for text in ["one", "", "three"] {
            let reply = client.request("POST", "/echo", &[], text.as_bytes()).unwrap();
            assert_eq!((reply.status, reply.body), (200, text.as_bytes().to_vec()));
            assert_eq!(client.get("/none").unwrap().status, 204);
        }
        assert!(client.get("/close").is_err());
        assert_eq!(client.get("/").unwrap().status, 200);
        let address = server.address();
        drop(server);
        assert!(client.get("/").is_err(), "{address} still answers");
    }
}
