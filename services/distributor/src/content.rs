//! Which message and compression a write request says that it has. The words are Prometheus'.

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};

const APPLICATION: &str = "application/x-protobuf";
const V1: &str = "prometheus.WriteRequest";
const V2: &str = "io.prometheus.write.v2.Request";

/// What a request is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// Remote write 1.0.
    V1,
    /// Remote write 2.0.
    V2,
}

/// Which message the request is, in snappy; otherwise why it is none (for status 415). Prometheus takes 2.0 only with a flag.
pub(crate) fn check(headers: &HeaderMap) -> Result<Message, String> {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("");
    let message = message(text(CONTENT_TYPE))?;
    match text(CONTENT_ENCODING) {
        "" | "snappy" => Ok(message),
        other => {
            Err(format!("{other} encoding (compression) is not accepted by this server; only snappy is acceptable"))
        }
    }
}

/// The protobuf message that a content type names; 1.0 where it names none. As in Prometheus, `application/json` is let through,
/// to fail at decompression.
fn message(content_type: &str) -> Result<Message, String> {
    if content_type.is_empty() || content_type == "application/json" {
        return Ok(Message::V1);
    }
    let mut parts = content_type.split(';');
    let media = parts.next().unwrap_or("").trim();
    if media != APPLICATION {
        return Err(format!("expected {APPLICATION} as the first (media) part, got {content_type} content-type"));
    }
    for parameter in parts {
        let mut pair = parameter.splitn(2, '=');
        let (name, value) = (pair.next().unwrap_or("").trim(), pair.next());
        let Some(value) = value else {
            return Err(format!(
                "as per https://www.rfc-editor.org/rfc/rfc9110#parameter expected parameters to be key-values, got {parameter} in {content_type} content-type"
            ));
        };
        if name == "proto" {
            return match value.trim() {
                V1 => Ok(Message::V1),
                V2 => Ok(Message::V2),
                other => Err(format!(
                    "got {content_type} content type; unknown type for remote write protobuf message {other}, supported: {V1}, {V2}"
                )),
            };
        }
    }
    Ok(Message::V1)
}
