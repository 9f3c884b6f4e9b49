//! Connections: directly or through a proxy, plain or in TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::proxy::ProxyRule;
use crate::tls::Tls;

/// Longest answer to `CONNECT` that is read.
const CONNECT_ANSWER_BYTES_MAX: usize = 16 << 10;

/// Why there is no connection; the words are Go's where there are such.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("no host in the URL")]
    NoHost,
    #[error("dial tcp: lookup {host}: {source}")]
    Lookup { host: String, source: io::Error },
    #[error("dial tcp: lookup {host}: no such host")]
    NoAddress { host: String },
    #[error("dial tcp {address}: connect: {text}")]
    Dial { address: String, text: String },
    #[error("tls: {0}")]
    Handshake(#[source] io::Error),
    #[error("tls: {0}")]
    ServerName(#[from] InvalidDnsNameError),
    #[error("TLS is not set up")]
    NoTls,
    #[error("proxy: {0}")]
    Proxy(#[source] io::Error),
    #[error("proxy answered: {0}")]
    ProxyRefused(String),
    #[error("a header for the proxy cannot be")]
    ProxyHeader,
}

/// What connections of one client have in common.
pub(crate) struct Connector {
    pub(crate) proxy: ProxyRule,
    pub(crate) tls: Option<Tls>,
}

impl Connector {
    pub(crate) async fn connect(self: Arc<Self>, target: Uri) -> Result<TokioIo<Stream>, ConnectError> {
        let is_https = target.scheme_str() == Some("https");
        let proxy = self.proxy.proxy_of(&target);
        let tcp = dial(proxy.unwrap_or(&target)).await?;
        // A proxy that speaks TLS itself is met with the same configuration, as in Go.
        let mut stream = match proxy {
            Some(proxy) if proxy.scheme_str() == Some("https") => {
                Stream::Tls(Box::new(self.handshake(tcp, proxy).await?))
            }
            _ => Stream::Plain(tcp),
        };
        let is_forwarded = proxy.is_some() && !is_https;
        if is_https {
            if let Some(proxy) = proxy {
                self.tunnel(&mut stream, proxy, &target).await?;
            }
            stream = match stream {
                Stream::Plain(tcp) => Stream::Tls(Box::new(self.handshake(tcp, &target).await?)),
                Stream::Tls(outer) => Stream::Nested(Box::new(self.handshake(*outer, &target).await?)),
                nested @ (Stream::Nested(_) | Stream::Forwarded(_)) => nested,
            };
        }
        Ok(TokioIo::new(if is_forwarded { Stream::Forwarded(Box::new(stream)) } else { stream }))
    }

    async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        target: &Uri,
    ) -> Result<TlsStream<S>, ConnectError> {
        let tls = self.tls.as_ref().ok_or(ConnectError::NoTls)?;
        let host = target.host().ok_or(ConnectError::NoHost)?.trim_matches(['[', ']']);
        let name = match &tls.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned())?,
        };
        tls.connector.connect(name, stream).await.map_err(ConnectError::Handshake)
    }

    async fn tunnel(&self, stream: &mut Stream, proxy: &Uri, target: &Uri) -> Result<(), ConnectError> {
        let host = target.host().ok_or(ConnectError::NoHost)?;
        let authority = format!("{host}:{}", target.port_u16().unwrap_or(443));
        let mut head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
        if let Some(credentials) = proxy_authorization(proxy) {
            head += &format!("Proxy-Authorization: {credentials}\r\n");
        }
        for (name, value) in &self.proxy.connect_headers {
            if [name, value].iter().any(|text| text.contains(['\r', '\n'])) {
                return Err(ConnectError::ProxyHeader);
            }
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all((head + "\r\n").as_bytes()).await.map_err(ConnectError::Proxy)?;
        // Byte by byte, so as to take nothing of what the target says behind it; it comes once per connection.
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= CONNECT_ANSWER_BYTES_MAX {
                return Err(ConnectError::ProxyRefused("a head that is too long".to_owned()));
            }
            answer.push(stream.read_u8().await.map_err(ConnectError::Proxy)?);
        }
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.lines().next().unwrap_or("");
        match status.split_once(' ') {
            Some((_, code)) if code.starts_with("200") => Ok(()),
            _ => Err(ConnectError::ProxyRefused(status.to_owned())),
        }
    }
}

/// The header for a proxy with a user in its URL.
pub(crate) fn proxy_authorization(proxy: &Uri) -> Option<String> {
    let (user, _) = proxy.authority()?.as_str().rsplit_once('@')?;
    let decoded = percent_decoded(user);
    Some(format!("Basic {}", crate::client::base64(&decoded)))
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let hex = behind.get(..2).and_then(|h| u8::from_str_radix(str::from_utf8(h).ok()?, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                rest = &behind[2..];
            }
            _ => {
                out.push(*first);
                rest = behind;
            }
        }
    }
    out
}

async fn dial(uri: &Uri) -> Result<TcpStream, ConnectError> {
    let host = uri.host().ok_or(ConnectError::NoHost)?.trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    let addresses = tokio::net::lookup_host((host, port))
        .await
        .map_err(|source| ConnectError::Lookup { host: host.to_owned(), source })?;
    let mut last = ConnectError::NoAddress { host: host.to_owned() };
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Without it a request of two writes waits for an acknowledgement.
                stream.set_nodelay(true).map_err(|e| dial_error(address, &e))?;
                return Ok(stream);
            }
            Err(e) => last = dial_error(address, &e),
        }
    }
    Err(last)
}

fn dial_error(address: std::net::SocketAddr, error: &io::Error) -> ConnectError {
    // As Go prints it: in lower case, without the number.
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text).to_ascii_lowercase();
    ConnectError::Dial { address: address.to_string(), text }
}

/// A connection.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// TLS to the target within TLS to the proxy.
    Nested(Box<TlsStream<TlsStream<TcpStream>>>),
    /// To a proxy that forwards requests, which then carry whole URLs.
    Forwarded(Box<Stream>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let by_alpn = |alpn: Option<&[u8]>| {
            let connected = Connected::new();
            if alpn == Some(b"h2") { connected.negotiated_h2() } else { connected }
        };
        match self {
            Stream::Plain(_) => Connected::new(),
            Stream::Tls(tls) => by_alpn(tls.get_ref().1.alpn_protocol()),
            Stream::Nested(tls) => by_alpn(tls.get_ref().1.alpn_protocol()),
            Stream::Forwarded(_) => Connected::new().proxy(true),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Stream::Tls(s) => Pin::new(s).poll_read(cx, buf),
            Stream::Nested(s) => Pin::new(s).poll_read(cx, buf),
            Stream::Forwarded(s) => Pin::new(s.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_write(cx, bytes),
            Stream::Tls(s) => Pin::new(s).poll_write(cx, bytes),
            Stream::Nested(s) => Pin::new(s).poll_write(cx, bytes),
            Stream::Forwarded(s) => Pin::new(s.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_flush(cx),
            Stream::Tls(s) => Pin::new(s).poll_flush(cx),
            Stream::Nested(s) => Pin::new(s).poll_flush(cx),
            Stream::Forwarded(s) => Pin::new(s.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Stream::Tls(s) => Pin::new(s).poll_shutdown(cx),
            Stream::Nested(s) => Pin::new(s).poll_shutdown(cx),
            Stream::Forwarded(s) => Pin::new(s.as_mut()).poll_shutdown(cx),
        }
    }
}
