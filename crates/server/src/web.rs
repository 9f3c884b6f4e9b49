//! What the file of `--web.config.file` asks of a listener: TLS, passwords, headers. The file and those that it names are read
//! again when they have changed, at a connection or a request, as in Prometheus; whether there is TLS at all is decided once.
//!
//! Not supported, and refused with a text: limits on the rate of requests, names of clients' certificates, clients'
//! certificates checked against the system's authorities, ciphers that rustls does not have.
//! Source of the behaviour: `web/handler.go` and `tls_config.go` of prometheus/exporter-toolkit.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use config::Secret;
use config::http_client::Source;
use parking_lot::Mutex;
use tokio_rustls::TlsAcceptor;
use tracing::error;

use auth::Passwords;

mod auth;
mod tls;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// It, or a file that it names, cannot be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not what it should be.
    #[error("parse {path}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why, and where.
        #[source]
        source: config::Refused,
    },
    /// It asks for what this version does not do.
    #[error("{path}: {what} is not supported by this version")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What.
        what: String,
    },
    /// A certificate or key cannot be used.
    #[error("{path}: use {what}: {why}")]
    Tls {
        /// The file.
        path: PathBuf,
        /// Which.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// It began with TLS and has none any more.
    #[error("{path}: TLS is gone from the file; that takes a restart")]
    NoTls {
        /// The file.
        path: PathBuf,
    },
}

/// The file, and what it said when it was read last.
pub struct Web {
    file: PathBuf,
    has_tls: bool,
    /// A lock, because connections and requests share it; held for a look at files, and while they are read after a change.
    current: Mutex<Arc<Current>>,
    passwords: Passwords,
}

/// The file's contents.
struct Current {
    stamp: Stamp,
    acceptor: Option<TlsAcceptor>,
    headers: HeaderMap,
    /// bcrypt hashes by user.
    users: BTreeMap<String, Secret>,
}

/// When the files were changed last, and how long they were.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp(Vec<(PathBuf, Option<(SystemTime, u64, u64)>)>);

impl Stamp {
    fn of(files: impl Iterator<Item = PathBuf>) -> Stamp {
        use std::os::unix::fs::MetadataExt;
        let of = |file: &PathBuf| fs::metadata(file).ok().and_then(|m| Some((m.modified().ok()?, m.len(), m.ino())));
        Stamp(
            files
                .map(|file| {
                    let stamp = of(&file);
                    (file, stamp)
                })
                .collect(),
        )
    }

    fn again(&self) -> Stamp {
        Stamp::of(self.0.iter().map(|(file, _)| file.clone()))
    }
}

impl Web {
    /// Reads `file` for the first time.
    pub fn open(file: &Path) -> Result<Web, WebError> {
        let current = Current::read(file)?;
        let has_tls = current.acceptor.is_some();
        Ok(Web {
            file: file.to_owned(),
            has_tls,
            current: Mutex::new(Arc::new(current)),
            passwords: Passwords::default(),
        })
    }

    /// Whether connections speak TLS.
    pub fn has_tls(&self) -> bool {
        self.has_tls
    }

    /// What the file says now.
    fn current(&self) -> Result<Arc<Current>, WebError> {
        let mut current = self.current.lock();
        if current.stamp.again() != current.stamp {
            *current = Arc::new(Current::read(&self.file)?);
        }
        Ok(current.clone())
    }

    /// What the next connection is to be accepted with; none where there is no TLS.
    pub(crate) fn acceptor(&self) -> Result<Option<TlsAcceptor>, WebError> {
        if !self.has_tls {
            return Ok(None);
        }
        match self.current()?.acceptor.clone() {
            Some(acceptor) => Ok(Some(acceptor)),
            None => Err(WebError::NoTls { path: self.file.clone() }),
        }
    }

    /// The headers that go with the answer to a request with `headers`, or the refusal that is the answer.
    pub(crate) async fn admit(&self, headers: &HeaderMap) -> Result<HeaderMap, Box<Response>> {
        let current = match self.current() {
            Ok(current) => current,
            Err(e) => {
                error!(error = storage::chain(&e), "web configuration cannot be used");
                return Err(Box::new(refusal(StatusCode::INTERNAL_SERVER_ERROR, HeaderMap::new())));
            }
        };
        if current.users.is_empty() || self.passwords.allow(&current.users, headers).await {
            return Ok(current.headers.clone());
        }
        let mut more = current.headers.clone();
        more.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
        Err(Box::new(refusal(StatusCode::UNAUTHORIZED, more)))
    }
}

/// Its status in words, as Go's `http.Error` writes it.
fn refusal(status: StatusCode, more: HeaderMap) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    let mut response = (status, headers, format!("{}\n", status.canonical_reason().unwrap_or(""))).into_response();
    response.headers_mut().extend(more);
    response
}

impl Current {
    fn read(file: &Path) -> Result<Current, WebError> {
        // The stamp first: what changes while we read is read again the next time.
        let own = Stamp::of([file.to_owned()].into_iter());
        let text = read(file)?;
        let folder = file.parent().unwrap_or(Path::new("")).to_string_lossy().into_owned();
        let parsed =
            config::parse_web(&text, &folder).map_err(|source| WebError::Parse { path: file.to_owned(), source })?;
        if parsed.rate_limit.is_some() {
            return Err(WebError::Unsupported { path: file.to_owned(), what: "rate_limit".to_owned() });
        }
        let named = parsed.tls.as_ref().map(named_files).unwrap_or_default();
        let stamp = Stamp([own.0, Stamp::of(named.into_iter()).0].concat());
        let acceptor = match &parsed.tls {
            Some(tls) => Some(TlsAcceptor::from(Arc::new(tls::server_config(file, tls, parsed.http2)?))),
            None => None,
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &parsed.headers {
            let pair = (HeaderName::from_bytes(name.as_bytes()).ok(), HeaderValue::from_str(value).ok());
            let (Some(name), Some(value)) = pair else {
                return Err(WebError::Unsupported {
                    path: file.to_owned(),
                    what: format!("the value of header {name}"),
                });
            };
            headers.insert(name, value);
        }
        Ok(Current { stamp, acceptor, headers, users: parsed.users })
    }
}

fn read(file: &Path) -> Result<String, WebError> {
    fs::read_to_string(file).map_err(|source| WebError::Read { path: file.to_owned(), source })
}

fn named_files(tls: &config::web::ServerTls) -> Vec<PathBuf> {
    fn file<T>(source: &Source<T>) -> Option<PathBuf> {
        match source {
            Source::File(file) => Some(PathBuf::from(file)),
            Source::Inline(_) | Source::Reference(_) => None,
        }
    }
    [file(&tls.cert), file(&tls.key), tls.client_ca.as_ref().and_then(file)].into_iter().flatten().collect()
}
