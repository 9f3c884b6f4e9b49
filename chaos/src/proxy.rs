//! A TCP proxy in front of a port: it lets through, or it is a network that drops everything, or a port that nobody listens
//! on. Some processes can be cut off from it while others pass.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::owner::Owners;
use crate::serve::Open;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How soon a change is noticed.
const POLL: Duration = Duration::from_millis(20);
/// Connections at once; more are closed.
const CONNECTIONS_MAX: usize = 512;

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They go through.
    Pass,
    /// They wait, as they do when packets are dropped: both sides see silence, and all arrives when it passes.
    Stall,
    /// Connections are closed, and new ones too.
    Refuse,
}

/// A running proxy.
pub struct TcpProxy {
    line: Arc<Line>,
    open: Arc<Open>,
}

/// What becomes of whose bytes.
struct Line {
    address: SocketAddr,
    mode: AtomicU8,
    /// Processes whose bytes wait, whatever the mode. Guards the set alone; held for a look or a change.
    cut: Mutex<BTreeSet<String>>,
    owners: Arc<Owners>,
}

/// A connection from a client.
struct Connection {
    line: Arc<Line>,
    client: SocketAddr,
    /// The process of the client, once that was asked for and could be told.
    owner: OnceLock<String>,
}

impl Connection {
    fn is_stalled(&self) -> bool {
        if self.line.is(Mode::Stall) {
            return true;
        }
        let cut = self.line.cut().clone();
        if cut.is_empty() {
            return false;
        }
        if self.owner.get().is_none()
            && let Some(name) = self.line.owners.of(self.client, self.line.address)
        {
            // Another thread may have found the same.
            self.owner.get_or_init(|| name);
        }
        self.owner.get().is_some_and(|name| cut.contains(name))
    }
}

impl Line {
    fn is(&self, which: Mode) -> bool {
        self.mode.load(Ordering::SeqCst) == which as u8
    }

    fn cut(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.cut.lock().expect("nothing panics while it holds the set")
    }
}

impl TcpProxy {
    /// Listens on a free port of 127.0.0.1 and passes on to `upstream` (host:port), which need not be there yet. `owners` says
    /// whose connections are whose.
    pub fn start(upstream: &str, owners: Arc<Owners>) -> Result<TcpProxy> {
        let listener = TcpListener::bind(("127.0.0.1", e2e::process::free_port()?)).context("listen on 127.0.0.1")?;
        let address = listener.local_addr().context("the address that it listens on")?;
        let line = Arc::new(Line { address, mode: AtomicU8::new(Mode::Pass as u8), cut: Mutex::default(), owners });
        let (open, upstream) = (Open::new(), upstream.to_string());
        let (shared_line, shared_open) = (line.clone(), open.clone());
        std::thread::spawn(move || accept(&listener, &upstream, &shared_line, &shared_open));
        Ok(TcpProxy { line, open })
    }

    /// host:port.
    pub fn address(&self) -> String {
        self.line.address.to_string()
    }

    /// Lets the bytes of a process wait while those of others pass, on open connections too.
    pub fn cut_off(&self, name: &str) {
        self.line.cut().insert(name.to_string());
    }

    /// Lets them pass again.
    pub fn mend(&self, name: &str) {
        self.line.cut().remove(name);
    }

    /// Changes what becomes of bytes, on open connections too.
    pub fn set(&self, mode: Mode) {
        self.line.mode.store(mode as u8, Ordering::SeqCst);
        if mode == Mode::Refuse {
            self.open.close_all();
        }
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.open.end(self.line.address);
    }
}

fn accept(listener: &TcpListener, upstream: &str, line: &Arc<Line>, open: &Arc<Open>) {
    let running = Arc::new(());
    for stream in listener.incoming() {
        if open.is_ended() {
            break;
        }
        let (Ok(stream), true) = (stream, Arc::strong_count(&running) <= CONNECTIONS_MAX) else { continue };
        let (Ok(client), false) = (stream.peer_addr(), line.is(Mode::Refuse)) else { continue };
        let connection = Connection { line: line.clone(), client, owner: OnceLock::new() };
        let (upstream, open, ticket) = (upstream.to_string(), open.clone(), running.clone());
        std::thread::spawn(move || {
            // A connection that breaks is noticed on both sides of it.
            connect(stream, &upstream, &connection, &open).ok();
            drop(ticket);
        });
    }
}

fn connect(stream: TcpStream, upstream: &str, connection: &Connection, open: &Arc<Open>) -> Result<()> {
    while connection.is_stalled() && !open.is_ended() {
        std::thread::sleep(POLL);
    }
    let upstream: SocketAddr = upstream.parse().context("an address")?;
    let other = open.add(TcpStream::connect_timeout(&upstream, CONNECT_TIMEOUT)?);
    let stream = open.add(stream);
    for one in [&stream, &other] {
        one.set_nodelay(true)?;
        one.set_read_timeout(Some(POLL))?;
    }
    std::thread::scope(|scope| {
        scope.spawn(|| copy(&other, &stream, connection, open));
        copy(&stream, &other, connection, open);
    });
    Ok(())
}

/// Until one side ends; then both do.
fn copy(mut from: &TcpStream, mut to: &TcpStream, connection: &Connection, open: &Open) {
    let mut buffer = vec![0; 64 << 10];
    while !open.is_ended() {
        if connection.is_stalled() {
            std::thread::sleep(POLL);
            continue;
        }
        let length = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(_) => break,
        };
        // What was read while it began to stall waits too.
        while connection.is_stalled() && !open.is_ended() {
            std::thread::sleep(POLL);
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    for stream in [from, to] {
        // Fails where it is closed already.
        stream.shutdown(Shutdown::Both).ok();
    }
}

#[cfg(test)]
mod tests {
    use benches::http::Client;

    use super::*;
    use crate::serve::{Reply, Request, Server};

    #[test]
    fn bytes_pass_wait_or_find_nobody() {
        let server = Server::start(Arc::new(|_: &Request| Some(Reply::text(200, "here")))).unwrap();
        let proxy = TcpProxy::start(&server.address(), Arc::default()).unwrap();
        let mut kept = Client::new(&proxy.address(), Duration::from_secs(10));
        let fresh = || Client::new(&proxy.address(), Duration::from_millis(200));
        assert_eq!(kept.get("/").unwrap().body, b"here");

        proxy.set(Mode::Stall);
        assert!(fresh().get("/").is_err(), "a new connection gets an answer");
        let waiting = std::thread::spawn(move || (kept.get("/").map(|answer| answer.body), kept));
        proxy.set(Mode::Pass);
        let (answer, mut kept) = waiting.join().unwrap();
        assert_eq!(answer.unwrap(), b"here", "what waited arrives");

        proxy.set(Mode::Refuse);
        assert!(kept.get("/").is_err() && fresh().get("/").is_err());
        proxy.set(Mode::Pass);
        assert_eq!(kept.get("/").unwrap().status, 200);
    }

    #[test]
    fn the_bytes_of_one_process_wait_while_those_of_others_pass() {
        let server = Server::start(Arc::new(|_: &Request| Some(Reply::text(200, "here")))).unwrap();
        let owners = Arc::new(Owners::default());
        let proxy = TcpProxy::start(&server.address(), owners.clone()).unwrap();
        let mut kept = Client::new(&proxy.address(), Duration::from_secs(60));
        let fresh = |patience| Client::new(&proxy.address(), Duration::from_millis(patience));
        // Of a connection whose client is none of the processes known, nothing waits.
        proxy.cut_off("this");
        assert_eq!(kept.get("/").unwrap().body, b"here");
        owners.set("this", std::process::id());
        assert!(fresh(200).get("/").is_err(), "a new connection gets an answer");
        let waiting = std::thread::spawn(move || kept.get("/").map(|answer| answer.body));
        proxy.mend("this");
        assert_eq!(waiting.join().unwrap().unwrap(), b"here", "what waited arrives");
        proxy.cut_off("another");
        assert_eq!(fresh(60_000).get("/").unwrap().status, 200);
    }
}
