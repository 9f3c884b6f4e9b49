//! Accepting HTTP connections, with or without TLS, until told to stop.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;
use tracing::{debug, error, warn};

use crate::Web;

/// Bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections open at once; more wait in the kernel's queue.
    pub connections_max: usize,
    /// How long a client may take for its request's head, and for the TLS handshake.
    pub head_timeout: Duration,
    /// How long open requests may go on after the stop signal.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { connections_max: 512, head_timeout: Duration::from_secs(30), drain_timeout: Duration::from_secs(10) }
    }
}

/// Why a listener cannot start.
#[derive(Debug, thiserror::Error)]
#[error("listen on {address}")]
pub struct ListenError {
    /// The address asked for.
    pub address: String,
    #[source]
    source: io::Error,
}

/// A bound listener.
pub struct Server {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    web: Option<Arc<Web>>,
    limits: Limits,
}

impl Server {
    /// Binds `address` (`host:port`, `:port` for all interfaces; port 0 for any free one).
    pub async fn bind(
        address: &str,
        tls: Option<Arc<rustls::ServerConfig>>,
        limits: Limits,
    ) -> Result<Server, ListenError> {
        let full = if address.starts_with(':') { format!("0.0.0.0{address}") } else { address.to_owned() };
        let listener =
            TcpListener::bind(&full).await.map_err(|source| ListenError { address: address.to_owned(), source })?;
        Ok(Server { listener, tls: tls.map(TlsAcceptor::from), web: None, limits })
    }

    /// The same, but with the TLS, passwords and headers of a web configuration.
    pub fn with_web(self, web: Web) -> Server {
        Server { web: Some(Arc::new(web)), ..self }
    }

    /// The address bound.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` is true, then lets open requests finish within the drain timeout.
    pub async fn serve(self, router: Router, mut stop: watch::Receiver<bool>) {
        let permits = Arc::new(Semaphore::new(self.limits.connections_max));
        let graceful = GracefulShutdown::new();
        loop {
            let permit = tokio::select! {
                // Cancel-safe because a permit not taken and a connection not accepted stay where they are.
                permit = permits.clone().acquire_owned() => permit.expect("the semaphore is never closed"),
                () = stopped(&mut stop) => break,
            };
            let (stream, peer) = tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(e) => {
                        // Out of file descriptors, usually: going on at once would spin.
                        warn!(error = %e, "accept connection failed");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
                () = stopped(&mut stop) => break,
            };
            let (router, limits, watcher) = (router.clone(), self.limits, graceful.watcher());
            let (tls, web) = (self.tls.clone(), self.web.clone());
            tokio::spawn(async move {
                connection(stream, peer, router, Around { tls, web }, limits, watcher).await;
                drop(permit);
            });
        }
        drop(self.listener);
        if tokio::time::timeout(self.limits.drain_timeout, graceful.shutdown()).await.is_err() {
            warn!("some requests did not end within the drain timeout");
        }
    }
}

/// Resolves when told to stop, or when nobody is left to tell.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|s| *s).await);
}

/// What stands around the routes.
struct Around {
    tls: Option<TlsAcceptor>,
    web: Option<Arc<Web>>,
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    around: Around,
    limits: Limits,
    watcher: Watcher,
) {
    if let Err(e) = stream.set_nodelay(true) {
        debug!(error = %e, "set nodelay failed");
    }
    let Around { tls, web } = around;
    let tls = match web.as_deref().map(Web::acceptor).transpose() {
        Ok(of_web) => of_web.unwrap_or(tls),
        Err(e) => return error!(%peer, error = storage::chain(&e), "web configuration cannot be used"),
    };
    let Some(tls) = tls else { return serve_stream(stream, peer, router, web, limits, watcher).await };
    match tokio::time::timeout(limits.head_timeout, tls.accept(stream)).await {
        Ok(Ok(stream)) => serve_stream(stream, peer, router, web, limits, watcher).await,
        Ok(Err(e)) => debug!(%peer, error = %e, "TLS handshake failed"),
        Err(_) => debug!(%peer, "TLS handshake timed out"),
    }
}

async fn serve_stream(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: Router,
    web: Option<Arc<Web>>,
    limits: Limits,
    watcher: Watcher,
) {
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        answer(router.clone(), web.clone(), request)
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.head_timeout);
    builder.http2().timer(TokioTimer::new());
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    if let Err(e) = watcher.watch(connection).await {
        debug!(%peer, error = %e, "connection ended");
    }
}

async fn answer(
    router: Router,
    web: Option<Arc<Web>>,
    request: hyper::Request<Incoming>,
) -> Result<Response, Infallible> {
    let Some(web) = web else { return router.oneshot(request).await };
    let headers = match web.admit(request.headers()).await {
        Ok(headers) => headers,
        Err(refusal) => return Ok(*refusal),
    };
    let mut response = router.oneshot(request).await?;
    for (name, value) in &headers {
        // What the answer says itself is more exact.
        response.headers_mut().entry(name).or_insert_with(|| value.clone());
    }
    Ok(response)
}
