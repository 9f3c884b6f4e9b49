//! Which message and compression a write request says that it has. The words are Prometheus'.

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};

const APPLICATION: &str = "application/x-protobuf";
const V1: &str = "prometheus.WriteRequest";
const V2: &str = "io.prometheus.write.v2.Request";

/// Whether the request is one of remote write 1.0 in snappy; otherwise why not (for status 415).
pub(crate) fn check(headers: &HeaderMap) -> Result<(), String> {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("");
    let message = message(text(CONTENT_TYPE))?;
    if message == V2 {
        return Err(format!("{V2} protobuf message is not accepted by this server; only accepts {V1}"));
    }
    match text(CONTENT_ENCODING) {
        "" | "snappy" => Ok(()),
        other => {
            Err(format!("{other} encoding (compression) is not accepted by this server; only snappy is acceptable"))
        }
    }
}

/// The protobuf message that a content type names; 1.0 where it names none. As in Prometheus, `application/json` is let through,
/// to fail at decompression.
fn message(content_type: &str) -> Result<&'static str, String> {
    if content_type.is_empty() || content_type == "application/json" {
        return Ok(V1);
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
                V1 => Ok(V1),
                V2 => Ok(V2),
                other => Err(format!(
                    "got {content_type} content type; unknown type for remote write protobuf message {other}, supported: {V1}, {V2}"
                )),
            };
        }
    }
    Ok(V1)
}
