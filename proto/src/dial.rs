//! How to reach a peer: the settings of every connection between nodes, in one place.

use std::time::Duration;

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// Time for TCP and TLS to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that says nothing for the first is asked, and closed when it does not answer within the second: a peer that
/// was cut off is found to be back as soon as it is.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(3));
/// Bytes under way on a stream; HTTP/2's own 64 KiB throttle large messages.
const STREAM_WINDOW: u32 = 1 << 20;
/// Bytes under way on a connection. More than all its streams can use, so that streams that nobody reads at the moment hold
/// up no other: two queries that wait for each other's streams would else wait for ever.
const CONNECTION_WINDOW: u32 = 1 << 30;
/// Calls that wait for a place on a connection.
const WAITING_MAX: usize = 128;

/// Certificates of a node as a client of others, in PEM.
#[derive(Clone)]
pub struct ClientTls {
    /// Authorities that vouch for peers.
    pub authorities: String,
    /// Own certificate and key, for peers that ask for one.
    pub identity: Option<(String, String)>,
}

/// Opens connections to peers. Clones are alike.
#[derive(Clone, Default)]
pub struct Dialer {
    tls: Option<ClientTlsConfig>,
}

/// Why an address cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{address} is no address of a peer")]
pub struct DialError {
    /// What was given.
    pub address: String,
    #[source]
    source: tonic::transport::Error,
}

impl Dialer {
    /// Connections with TLS, or in the clear.
    pub fn new(tls: Option<ClientTls>) -> Dialer {
        let tls = tls.map(|tls| {
            let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(tls.authorities));
            match tls.identity {
                Some((certificate, key)) => config.identity(Identity::from_pem(certificate, key)),
                None => config,
            }
        });
        Dialer { tls }
    }

    /// A connection to `host:port` that comes about with the first call, and again after each loss. At once, for lack of a
    /// peer or after `call_timeout`, a call fails rather than waiting.
    pub fn dial(&self, address: &str, call_timeout: Duration) -> Result<Channel, DialError> {
        let fail = |source| DialError { address: address.to_owned(), source };
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).map_err(fail)?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(call_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE.0)
            .keep_alive_timeout(KEEP_ALIVE.1)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .buffer_size(WAITING_MAX);
        let endpoint = match &self.tls {
            Some(tls) => endpoint.tls_config(tls.clone()).map_err(fail)?,
            None => endpoint,
        };
        Ok(endpoint.connect_lazy())
    }
}
