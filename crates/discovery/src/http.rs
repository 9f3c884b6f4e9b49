//! `http_sd_configs`: a server is asked for target groups every refresh interval.

use std::time::Duration;

use config::{HttpDiscovery, Refused, TargetFormat, parse_target_groups};
use httpclient::header::ACCEPT;
use httpclient::{BodyError, Client, FetchError, HeaderMap, HeaderName, HeaderValue};
use tokio::sync::mpsc;
use tracing::error;

use crate::group::{Group, Update, groups_of};

/// The label with a group's URL.
const URL_LABEL: &str = "__meta_url";

/// Longest answer that is taken: protects memory.
const BODY_BYTES_MAX: usize = 256 << 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("server returned HTTP status {0}")]
    Status(String),
    #[error("unsupported content type {0:?}")]
    ContentType(String),
    #[error("body is not UTF-8")]
    NotUtf8,
    #[error("no answer within the refresh interval")]
    Timeout,
}

/// Runs until the job's task is gone. What was said last stays while the server does not answer well.
pub(crate) async fn run(config: HttpDiscovery, client: Client, mechanism: usize, updates: mpsc::Sender<Update>) {
    let interval = config.refresh_interval.to_std().max(Duration::from_millis(1));
    let mut refresh = tokio::time::interval(interval);
    refresh.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let headers = headers(config.refresh_interval.as_secs_f64());
    loop {
        refresh.tick().await;
        let answer = tokio::time::timeout(interval, ask(&config.url, &client, &headers)).await;
        match answer.unwrap_or(Err(AskError::Timeout)) {
            Ok(groups) => {
                let update = Update::Groups { mechanism, origin: config.url.clone(), groups };
                if updates.send(update).await.is_err() {
                    return;
                }
            }
            Err(e) => error!(url = %config.url, error = %e, "refresh target groups failed; the last good ones stay"),
        }
        if updates.send(Update::Looked { mechanism }).await.is_err() {
            return;
        }
    }
}

fn headers(interval_seconds: f64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Ok(value) = HeaderValue::from_str(&interval_seconds.to_string()) {
        headers.insert(HeaderName::from_static("x-prometheus-refresh-interval-seconds"), value);
    }
    headers
}

async fn ask(url: &str, client: &Client, headers: &HeaderMap) -> Result<Vec<Group>, AskError> {
    let response = client.get(url, headers).await?;
    if response.status().as_u16() != 200 {
        return Err(AskError::Status(response.status_text()));
    }
    if !is_json(response.content_type()) {
        return Err(AskError::ContentType(response.content_type().to_owned()));
    }
    groups_in(url, response.read(BODY_BYTES_MAX, 0).await?)
}

/// The groups that an answer lists.
pub(crate) fn groups_in(url: &str, body: Vec<u8>) -> Result<Vec<Group>, AskError> {
    let body = String::from_utf8(body).map_err(|_| AskError::NotUtf8)?;
    Ok(groups_of(url, parse_target_groups(&body, TargetFormat::Json)?, Some((URL_LABEL, url))))
}

/// `^(?i:application\/json(;\s*charset=("utf-8"|utf-8))?)$`
pub(crate) fn is_json(content_type: &str) -> bool {
    let text = content_type.trim().to_ascii_lowercase();
    let Some(rest) = text.strip_prefix("application/json") else { return false };
    match rest.strip_prefix(';') {
        Some(charset) => matches!(charset.trim_start(), "charset=utf-8" | "charset=\"utf-8\""),
        None => rest.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_is_taken() {
        for (text, expected) in [
            ("application/json", true),
            (" Application/JSON; charset=UTF-8", true),
            ("application/json;charset=\"utf-8\"", true),
            ("application/json; charset=latin1", false),
            ("application/jsonl", false),
            ("text/plain", false),
            ("", false),
        ] {
            assert_eq!(is_json(text), expected, "{text}");
        }
    }
}
