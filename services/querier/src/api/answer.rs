//! Answers: the envelope around data, compression, headers.

use std::io::Write;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use futures::stream;
use regexp::Regexp;
use server::ComputePool;

use super::error::ApiError;
use super::json::{put_text, put_texts};
use super::result::ResultJson;

/// What an endpoint answers.
pub(crate) enum Answer {
    /// Data in their envelope.
    Data(Vec<u8>),
    /// The value of a query, to be written piece by piece.
    Result(Box<ResultJson>),
    /// 204.
    Nothing,
}

impl Answer {
    /// Data that `put` writes.
    pub(crate) fn data(put: impl FnOnce(&mut Vec<u8>)) -> Answer {
        Answer::with_warnings(Vec::new(), put)
    }

    /// Data that `put` writes, and warnings.
    pub(crate) fn with_warnings(warnings: Vec<String>, put: impl FnOnce(&mut Vec<u8>)) -> Answer {
        let mut json = b"{\"status\":\"success\",\"data\":".to_vec();
        put(&mut json);
        put_envelope_end(&mut json, &warnings, &[]);
        Answer::Data(json)
    }
}

/// What an endpoint gives.
pub(crate) type ApiResult = Result<Answer, ApiError>;

/// Closes an envelope behind the member `data`.
pub(crate) fn put_envelope_end(out: &mut Vec<u8>, warnings: &[String], infos: &[String]) {
    for (name, texts) in [("warnings", warnings), ("infos", infos)] {
        if !texts.is_empty() {
            out.extend_from_slice(format!(",\"{name}\":").as_bytes());
            put_texts(out, texts);
        }
    }
    out.push(b'}');
}

fn error_json(error: &ApiError) -> Vec<u8> {
    let mut out = b"{\"status\":\"error\",\"errorType\":".to_vec();
    put_text(&mut out, error.error_type.as_str());
    out.extend_from_slice(b",\"error\":");
    put_text(&mut out, &error.text);
    out.push(b'}');
    out
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    /// In fact zlib, as RFC 9110 means it.
    Deflate,
}

impl Encoding {
    /// The first of the two words in `Accept-Encoding`; a weight behind it hides it, as in Prometheus.
    pub(crate) fn of_request(headers: &HeaderMap) -> Encoding {
        let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).unwrap_or("");
        let known = accepted.split(',').find_map(|word| match word.trim() {
            "gzip" => Some(Encoding::Gzip),
            "deflate" => Some(Encoding::Deflate),
            _ => None,
        });
        known.unwrap_or(Encoding::Identity)
    }

    fn header(self) -> Option<HeaderValue> {
        match self {
            Encoding::Identity => None,
            Encoding::Gzip => Some(HeaderValue::from_static("gzip")),
            Encoding::Deflate => Some(HeaderValue::from_static("deflate")),
        }
    }
}

/// Compresses pieces of one body. Level 1: JSON of samples shrinks to a tenth even so, and time is what is short.
enum Compressor {
    Identity,
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
}

/// Whether more of a body follows.
#[derive(Clone, Copy, PartialEq)]
enum More {
    Follows,
    Ends,
}

impl Compressor {
    fn new(encoding: Encoding) -> Compressor {
        match encoding {
            Encoding::Identity => Compressor::Identity,
            Encoding::Gzip => Compressor::Gzip(GzEncoder::new(Vec::new(), Compression::fast())),
            Encoding::Deflate => Compressor::Deflate(ZlibEncoder::new(Vec::new(), Compression::fast())),
        }
    }

    fn push(&mut self, piece: Vec<u8>, more: More) -> std::io::Result<Vec<u8>> {
        match self {
            Compressor::Identity => return Ok(piece),
            Compressor::Gzip(gzip) => gzip.write_all(&piece)?,
            Compressor::Deflate(zlib) => zlib.write_all(&piece)?,
        }
        match (self, more) {
            (Compressor::Identity, _) => Ok(Vec::new()),
            (Compressor::Gzip(gzip), More::Follows) => Ok(std::mem::take(gzip.get_mut())),
            (Compressor::Gzip(gzip), More::Ends) => {
                gzip.try_finish()?;
                Ok(std::mem::take(gzip.get_mut()))
            }
            (Compressor::Deflate(zlib), More::Follows) => Ok(std::mem::take(zlib.get_mut())),
            (Compressor::Deflate(zlib), More::Ends) => {
                zlib.try_finish()?;
                Ok(std::mem::take(zlib.get_mut()))
            }
        }
    }
}

/// A query's value on its way out.
struct Outgoing {
    result: Box<ResultJson>,
    compressor: Compressor,
    more: More,
}

impl Outgoing {
    /// The next bytes; none only at the end.
    fn next(&mut self) -> std::io::Result<Bytes> {
        loop {
            let mut piece = Vec::new();
            self.more = if self.result.write_piece(&mut piece) { More::Ends } else { More::Follows };
            let bytes = self.compressor.push(piece, self.more)?;
            if !bytes.is_empty() || self.more == More::Ends {
                return Ok(bytes.into());
            }
        }
    }
}

/// Bodies up to this size are compressed where they are.
const INLINE_BYTES_MAX: usize = 16 << 10;

/// The JSON answer, compressed as asked. Status and content type are set, other headers are the caller's.
pub(crate) async fn respond(result: ApiResult, encoding: Encoding, pool: &ComputePool) -> Response {
    let (status, json) = match result {
        Ok(Answer::Nothing) => return empty(StatusCode::NO_CONTENT),
        Ok(Answer::Result(result)) => {
            let outgoing = Outgoing { result, compressor: Compressor::new(encoding), more: More::Follows };
            let Some(body) = stream_result(outgoing, pool.clone()).await else { return failed() };
            return json_response(StatusCode::OK, encoding, body);
        }
        Ok(Answer::Data(json)) => (StatusCode::OK, json),
        Err(error) => {
            let status = StatusCode::from_u16(error.error_type.status());
            (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), error_json(&error))
        }
    };
    let inline = encoding == Encoding::Identity || json.len() <= INLINE_BYTES_MAX;
    let packed = move || compress(json, encoding);
    let body = if inline { Some(packed()) } else { pool.run(packed).await };
    match body {
        Some(Ok(body)) => json_response(status, encoding, Body::from(body)),
        Some(Err(_)) | None => failed(),
    }
}

/// A body of one piece has a length; more are streamed, each made when the one before it is on its way.
async fn stream_result(mut outgoing: Outgoing, pool: ComputePool) -> Option<Body> {
    let step = |mut outgoing: Outgoing| move || (outgoing.next(), outgoing);
    let (first, rest) = pool.run(step(outgoing)).await?;
    outgoing = rest;
    let first = first.ok()?;
    if outgoing.more == More::Ends {
        return Some(Body::from(first));
    }
    let rest = stream::unfold(Some(outgoing), move |outgoing| {
        let pool = pool.clone();
        async move {
            let outgoing = outgoing.filter(|o| o.more == More::Follows)?;
            match pool.run(step(outgoing)).await {
                Some((Ok(bytes), outgoing)) => Some((Ok(bytes), Some(outgoing))),
                Some((Err(e), _)) => Some((Err(e), None)),
                None => Some((Err(std::io::Error::other("writing the result failed inside")), None)),
            }
        }
    });
    let whole = futures::StreamExt::chain(stream::iter([Ok(first)]), rest);
    Some(Body::from_stream(whole))
}

fn json_response(status: StatusCode, encoding: Encoding, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(encoding) = encoding.header() {
        headers.insert(header::CONTENT_ENCODING, encoding);
    }
    response
}

/// A whole body, compressed.
pub(crate) fn compress(body: Vec<u8>, encoding: Encoding) -> std::io::Result<Vec<u8>> {
    Compressor::new(encoding).push(body, More::Ends)
}

/// A compressed page that depends on `Accept-Encoding`.
pub(crate) fn page(content_type: String, encoding: Encoding, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    if let Ok(content_type) = HeaderValue::try_from(content_type) {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    if let Some(encoding) = encoding.header() {
        headers.insert(header::CONTENT_ENCODING, encoding);
    }
    vary_by_encoding(headers);
    response
}

fn failed() -> Response {
    text(StatusCode::INTERNAL_SERVER_ERROR, "writing the answer failed inside\n")
}

/// Without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Plain text.
pub(crate) fn text(status: StatusCode, text: impl Into<Body>) -> Response {
    with_type(status, "text/plain; charset=utf-8", text)
}

/// A body of some type.
pub(crate) fn with_type(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Plain text as Go's `http.Error` sends it.
pub(crate) fn error_text(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = text(status, body);
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Says that the answer depends on `Accept-Encoding`.
pub(crate) fn vary_by_encoding(headers: &mut HeaderMap) {
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
}

/// Says who may read the answer in a browser: every origin that `allowed` matches.
pub(crate) fn set_cors(headers: &mut HeaderMap, allowed: &Regexp, origin: Option<&HeaderValue>) {
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = origin.filter(|o| !o.is_empty()) else { return };
    const FIXED: [(HeaderName, &str); 3] = [
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Accept, Authorization, Content-Type, Origin"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Date"),
    ];
    for (name, value) in FIXED {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if origin.to_str().is_ok_and(|o| allowed.is_match(o)) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
}
