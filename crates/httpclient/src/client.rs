//! Requests: credentials, headers, redirects, answers.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use config::HttpClientConfig;
use config::http_client::{Authentication, Source};
use http_body_util::{BodyExt, Full};
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tower::util::BoxCloneSyncService;

use crate::body::{BodyError, Inflate};
use crate::connect::{ConnectError, Connector, Stream, proxy_authorization};
use crate::proxy::{EnvironmentProxy, ProxyRule};
use crate::redirect;
use crate::tls::{Stamp, Tls, TlsError, is_too_old};

/// As Go: a client gives up behind the tenth redirect.
const REDIRECTS_MAX: usize = 10;
/// How long an unused connection stays open. Source: `prometheus/common`.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Unused connections to one host.
const IDLE_PER_HOST_MAX: usize = 64;

/// Something in `http_config` that is valid and not built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedOption {
    /// `oauth2`
    #[error("oauth2 is not supported")]
    OAuth2,
    /// A secret manager.
    #[error("secrets by reference ({0:?}) are not supported: there is no secret manager")]
    Reference(String),
    /// SOCKS, or no URL at all.
    #[error("only proxies with an http or https URL are supported")]
    Proxy,
    /// TLS 1.0 and 1.1.
    #[error("TLS before 1.2 is not supported")]
    OldTls,
    /// A header that HTTP does not allow.
    #[error("header {0:?} cannot be sent")]
    Header(String),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not a URL of http or https.
    #[error("unsupported URL {0:?}")]
    Url(String),
    /// A file with credentials or a header.
    #[error("unable to read {what} file {file}: {source}")]
    File {
        /// What it should hold.
        what: &'static str,
        /// Its name.
        file: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A credential or header value that HTTP does not allow.
    #[error("{0} holds characters that a header cannot")]
    Header(&'static str),
    /// The certificates cannot be used.
    #[error("{0}")]
    Tls(#[source] Box<dyn Error + Send + Sync>),
    /// No connection, or none that lasted.
    #[error("{method} {url:?}: {}", root_text(.source))]
    Send {
        /// `Get`, as Go writes it.
        method: String,
        /// What was asked for.
        url: String,
        /// Why not.
        source: legacy::Error,
    },
    /// More redirects than that.
    #[error("Get {url:?}: stopped after {REDIRECTS_MAX} redirects")]
    Redirects {
        /// Where the last one led.
        url: String,
    },
}

/// The text of the innermost error that says something.
fn root_text(error: &legacy::Error) -> String {
    let mut source = error.source();
    let mut text = error.to_string();
    while let Some(inner) = source {
        text = inner.to_string();
        if inner.is::<ConnectError>() {
            break;
        }
        source = inner.source();
    }
    text
}

type HyperClient = legacy::Client<BoxCloneSyncService<Uri, TokioIo<Stream>, ConnectError>, Full<Bytes>>;

/// A client with its connections; one per job.
pub struct Client {
    config: HttpClientConfig,
    proxy: ProxyRule,
    /// Without TLS, which needs no files.
    plain: HyperClient,
    /// With TLS, made when first needed and whenever files have changed. The lock guards the making, a few milliseconds, and is
    /// never held over an await.
    with_tls: Mutex<Option<(Stamp, HyperClient)>>,
    user_agent: HeaderValue,
}

/// An answer; its body is still to be read.
pub struct Response {
    inner: hyper::Response<hyper::body::Incoming>,
}

impl Client {
    /// A client that says it is `user_agent`. Nothing is connected to or read yet.
    pub fn new(
        config: &HttpClientConfig,
        environment: &EnvironmentProxy,
        user_agent: &str,
    ) -> Result<Client, UnsupportedOption> {
        refuse_unsupported(config)?;
        let proxy = ProxyRule::new(&config.proxy, environment)?;
        let plain = hyper_client(Connector { proxy: proxy.clone(), tls: None });
        let user_agent =
            HeaderValue::from_str(user_agent).map_err(|_| UnsupportedOption::Header("User-Agent".to_owned()))?;
        Ok(Client { config: config.clone(), proxy, plain, with_tls: Mutex::new(None), user_agent })
    }

    /// `GET url`. `headers` win over those of the configuration.
    pub async fn get(&self, url: &str, headers: &HeaderMap) -> Result<Response, FetchError> {
        self.send(Method::GET, url, headers, Bytes::new()).await
    }

    /// Sends a request and follows redirects, if the configuration says so. Credentials stay with the first host.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response, FetchError> {
        let mut head = self.headers(headers).await?;
        let mut url = url.to_owned();
        let origin = origin(&url).to_owned();
        for _ in 0..=REDIRECTS_MAX {
            let request = self.request(&method, &url, &head, &body)?;
            let client = self.client_for(request.uri())?;
            let sent = client.request(request).await;
            let inner =
                sent.map_err(|source| FetchError::Send { method: go_name(&method), url: url.clone(), source })?;
            let next = if self.config.follow_redirects { redirect_of(&inner, &url) } else { None };
            let Some(next) = next else { return Ok(Response { inner }) };
            if self::origin(&next) != origin {
                head.remove(AUTHORIZATION);
            }
            url = next;
        }
        Err(FetchError::Redirects { url })
    }

    fn request(
        &self,
        method: &Method,
        url: &str,
        head: &HeaderMap,
        body: &Bytes,
    ) -> Result<Request<Full<Bytes>>, FetchError> {
        let bad = || FetchError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| bad())?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
            return Err(bad());
        }
        let proxy = if uri.scheme_str() == Some("http") { self.proxy.proxy_of(&uri) } else { None };
        let for_proxy = proxy.and_then(proxy_authorization).and_then(|text| HeaderValue::from_str(&text).ok());
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = head.clone();
        if let Some(value) = for_proxy {
            request.headers_mut().insert(hyper::header::PROXY_AUTHORIZATION, value);
        }
        Ok(request)
    }

    fn client_for(&self, uri: &Uri) -> Result<HyperClient, FetchError> {
        let proxy_speaks_tls = self.proxy.proxy_of(uri).is_some_and(|p| p.scheme_str() == Some("https"));
        if uri.scheme_str() != Some("https") && !proxy_speaks_tls {
            return Ok(self.plain.clone());
        }
        let stamp = Stamp::of(&self.config.tls);
        let mut made = self.with_tls.lock();
        if let Some((made_of, client)) = made.as_ref()
            && *made_of == stamp
        {
            return Ok(client.clone());
        }
        let tls =
            Tls::new(&self.config.tls, self.config.enable_http2).map_err(|e: TlsError| FetchError::Tls(Box::new(e)))?;
        let client = hyper_client(Connector { proxy: self.proxy.clone(), tls: Some(tls) });
        *made = Some((stamp, client.clone()));
        Ok(client)
    }

    async fn headers(&self, headers: &HeaderMap) -> Result<HeaderMap, FetchError> {
        let mut out = HeaderMap::new();
        out.insert(hyper::header::USER_AGENT, self.user_agent.clone());
        for (name, values) in &self.config.headers {
            let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
            let mut all: Vec<String> = values.values.clone();
            all.extend(values.secrets.iter().map(|s| s.reveal().to_owned()));
            for file in &values.files {
                all.push(read_trimmed("http_headers", file).await?);
            }
            for value in all {
                let value = HeaderValue::from_str(&value).map_err(|_| FetchError::Header("http_headers"))?;
                out.append(name.clone(), value);
            }
        }
        for (name, value) in headers {
            out.insert(name.clone(), value.clone());
        }
        if let Some(value) = self.authorization().await? {
            let mut value = HeaderValue::from_str(&value).map_err(|_| FetchError::Header("authorization"))?;
            value.set_sensitive(true);
            out.entry(AUTHORIZATION).or_insert(value);
        }
        Ok(out)
    }

    async fn authorization(&self) -> Result<Option<String>, FetchError> {
        match &self.config.authentication {
            Some(Authentication::Basic(basic)) => {
                let user = secret("username", basic.username.as_ref(), |t| t.clone()).await?.unwrap_or_default();
                let password =
                    secret("password", basic.password.as_ref(), |s| s.reveal().to_owned()).await?.unwrap_or_default();
                Ok(Some(format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))))
            }
            Some(Authentication::Header(header)) => {
                let credentials = secret("credentials", header.credentials.as_ref(), |s| s.reveal().to_owned()).await?;
                Ok(credentials.map(|credentials| format!("{} {credentials}", header.scheme)))
            }
            // Refused in `new`.
            Some(Authentication::OAuth2(_)) | None => Ok(None),
        }
    }
}

impl Response {
    /// The status.
    pub fn status(&self) -> StatusCode {
        self.inner.status()
    }

    /// Code and reason, as the server wrote it: `404 Not Found`.
    pub fn status_text(&self) -> String {
        let code = self.inner.status();
        let said = self.inner.extensions().get::<hyper::ext::ReasonPhrase>();
        let reason = match said {
            Some(reason) => String::from_utf8_lossy(reason.as_bytes()).into_owned(),
            None => code.canonical_reason().unwrap_or("").to_owned(),
        };
        format!("{} {reason}", code.as_u16()).trim_end().to_owned()
    }

    /// A header's value; empty where it is absent or not ASCII.
    pub fn header(&self, name: &HeaderName) -> &str {
        self.inner.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("")
    }

    /// `Content-Type`, empty where absent.
    pub fn content_type(&self) -> &str {
        self.header(&CONTENT_TYPE)
    }

    /// The whole body, decompressed if it is gzip. One of `limit_bytes` or more, uncompressed, is too long.
    pub async fn read(mut self, limit_bytes: usize, expected_bytes: usize) -> Result<Vec<u8>, BodyError> {
        let encoding = self.header(&CONTENT_ENCODING).to_owned();
        let mut inflate = Inflate::new(&encoding, limit_bytes, expected_bytes);
        while let Some(frame) = self.inner.body_mut().frame().await {
            if let Ok(data) = frame.map_err(BodyError::Connection)?.into_data() {
                inflate.push(&data)?;
            }
        }
        inflate.finish()
    }
}

fn hyper_client(connector: Connector) -> HyperClient {
    let connector = Arc::new(connector);
    let service = tower::service_fn(move |uri: Uri| connector.clone().connect(uri));
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
        .build(BoxCloneSyncService::new(service))
}

fn refuse_unsupported(config: &HttpClientConfig) -> Result<(), UnsupportedOption> {
    fn reference<T>(source: &Option<Source<T>>) -> Result<(), UnsupportedOption> {
        match source {
            Some(Source::Reference(name)) => Err(UnsupportedOption::Reference(name.clone())),
            _ => Ok(()),
        }
    }
    match &config.authentication {
        Some(Authentication::OAuth2(_)) => return Err(UnsupportedOption::OAuth2),
        Some(Authentication::Basic(basic)) => {
            reference(&basic.username)?;
            reference(&basic.password)?;
        }
        Some(Authentication::Header(header)) => reference(&header.credentials)?,
        None => {}
    }
    reference(&config.tls.ca)?;
    reference(&config.tls.cert)?;
    reference(&config.tls.key)?;
    if is_too_old(&config.tls) {
        return Err(UnsupportedOption::OldTls);
    }
    match config.headers.keys().find(|name| HeaderName::from_bytes(name.as_bytes()).is_err()) {
        Some(name) => Err(UnsupportedOption::Header(name.clone())),
        None => Ok(()),
    }
}

async fn secret<T>(
    what: &'static str,
    source: Option<&Source<T>>,
    inline: impl Fn(&T) -> String,
) -> Result<Option<String>, FetchError> {
    match source {
        None => Ok(None),
        Some(Source::Inline(value)) => Ok(Some(inline(value))),
        Some(Source::File(file) | Source::Reference(file)) => read_trimmed(what, file).await.map(Some),
    }
}

async fn read_trimmed(what: &'static str, file: &str) -> Result<String, FetchError> {
    let text = tokio::fs::read_to_string(file).await;
    let text = text.map_err(|source| FetchError::File { what, file: file.to_owned(), source })?;
    Ok(text.trim().to_owned())
}

fn redirect_of<B>(response: &hyper::Response<B>, url: &str) -> Option<String> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    redirect::resolve(url, response.headers().get(LOCATION)?.to_str().ok()?)
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    &url[..end]
}

/// `Get`, `Post`: how Go writes a method into errors.
fn go_name(method: &Method) -> String {
    let text = method.as_str().to_ascii_lowercase();
    text[..1].to_ascii_uppercase() + &text[1..]
}

/// Standard base64 with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4u32 {
            let digit = DIGITS[(word >> (18 - 6 * i) & 63) as usize];
            out.push(if i as usize <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_padded() {
        for (text, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("user:pa\u{df}", "dXNlcjpwYcOf")]
        {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }

    #[test]
    fn origins_are_compared_with_their_port() {
        assert_eq!(origin("http://a:1/b?c"), "http://a:1");
        assert_eq!(origin("http://a"), "http://a");
    }
}
