//! A TCP proxy in front of a port: it lets through, or it is a network that drops everything, or a port that nobody listens
//! on.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

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
    address: SocketAddr,
    mode: Arc<AtomicU8>,
    open: Arc<Open>,
}

impl TcpProxy {
    /// Listens on a free port of 127.0.0.1 and passes on to `upstream` (host:port), which need not be there yet.
    pub fn start(upstream: &str) -> Result<TcpProxy> {
        let listener = TcpListener::bind(("127.0.0.1", e2e::process::free_port()?)).context("listen on 127.0.0.1")?;
        let address = listener.local_addr().context("the address that it listens on")?;
        let (mode, open) = (Arc::new(AtomicU8::new(Mode::Pass as u8)), Open::new());
        let (shared_mode, shared_open, upstream) = (mode.clone(), open.clone(), upstream.to_string());
        std::thread::spawn(move || accept(&listener, &upstream, &shared_mode, &shared_open));
        Ok(TcpProxy { address, mode, open })
    }

    /// host:port.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Changes what becomes of bytes, on open connections too.
    pub fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
        if mode == Mode::Refuse {
            self.open.close_all();
        }
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.open.end(self.address);
    }
}

fn is(mode: &AtomicU8, which: Mode) -> bool {
    mode.load(Ordering::SeqCst) == which as u8
}

fn accept(listener: &TcpListener, upstream: &str, mode: &Arc<AtomicU8>, open: &Arc<Open>) {
    let running = Arc::new(());
    for stream in listener.incoming() {
        if open.is_ended() {
            break;
        }
        let (Ok(stream), true) = (stream, Arc::strong_count(&running) <= CONNECTIONS_MAX) else { continue };
        if is(mode, Mode::Refuse) {
            continue;
        }
        let (upstream, mode, open, ticket) = (upstream.to_string(), mode.clone(), open.clone(), running.clone());
        std::thread::spawn(move || {
            // A connection that breaks is noticed on both sides of it.
            connect(stream, &upstream, &mode, &open).ok();
            drop(ticket);
        });
    }
}

fn connect(stream: TcpStream, upstream: &str, mode: &Arc<AtomicU8>, open: &Arc<Open>) -> Result<()> {
    while is(mode, Mode::Stall) && !open.is_ended() {
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
        scope.spawn(|| copy(&other, &stream, mode, open));
        copy(&stream, &other, mode, open);
    });
    Ok(())
}

/// Until one side ends; then both do.
fn copy(mut from: &TcpStream, mut to: &TcpStream, mode: &AtomicU8, open: &Open) {
    let mut buffer = vec![0; 64 << 10];
    while !open.is_ended() {
        if is(mode, Mode::Stall) {
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
        while is(mode, Mode::Stall) && !open.is_ended() {
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
        let proxy = TcpProxy::start(&server.address()).unwrap();
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
}
