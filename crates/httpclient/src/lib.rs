//! The HTTP client of everything that Prometheus' `http_config` describes: scrapes, http discovery, later Alertmanager.
//!
//! Over hyper, with a connector of ours, because Prometheus' options go deeper than usual: a server name of its own for TLS,
//! certificates and credentials that are read anew when their files change, headers for the proxy, reason phrases in error
//! texts, and bodies that are decompressed against a limit. The clock and the environment are the caller's: whoever wants a
//! timeout wraps the call.
//!
//! Missing, and refused with a text that says so: OAuth 2, SOCKS proxies, secrets by reference, TLS before 1.2.

mod body;
mod client;
mod connect;
#[doc(hidden)]
pub mod fuzzing;
mod proxy;
mod redirect;
mod tls;

pub use body::{BodyError, Inflate};
pub use client::{Client, FetchError, Response, UnsupportedOption};
pub use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
pub use proxy::EnvironmentProxy;
