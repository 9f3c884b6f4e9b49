//! `remote_write` and `remote_read`.

use std::collections::BTreeMap;

use model::DurationMs;

use super::http_client::RawHttpClient;
use super::text::{LabelSet, named_string};
use crate::relabel_config::RawRelabelConfig;
use crate::scheme::NameValidation;
use crate::secret::Secret;
use crate::url::Url;
use crate::yaml::decode::Uint64;
use crate::yaml::{Refusal, record, refuse, refuse_at};

mod azure_ad;

use azure_ad::RawAzureAd;

named_string! {
    pub(crate) struct MessageType as "remote.WriteMessageType"
}

record! {
    /// One entry of `remote_write`.
    pub(crate) struct RawRemoteWrite as "config.RemoteWriteConfig" in "config.plain" [reset = RawRemoteWrite::defaults, check = RawRemoteWrite::check] {
        url: Option<Url> = "url" [];
        remote_timeout: DurationMs = "remote_timeout" [omit];
        headers: BTreeMap<String, String> = "headers" [omit];
        write_relabel_configs: Vec<Option<RawRelabelConfig>> = "write_relabel_configs" [omit];
        name: String = "name" [omit];
        send_exemplars: bool = "send_exemplars" [omit];
        send_native_histograms: bool = "send_native_histograms" [omit];
        round_robin_dns: bool = "round_robin_dns" [omit];
        protobuf_message: MessageType = "protobuf_message" [omit];
        http_client: RawHttpClient = inline [];
        queue_config: RawQueue = "queue_config" [omit];
        metadata_config: RawMetadata = "metadata_config" [omit];
        sigv4: Option<RawSigV4> = "sigv4" [omit];
        azuread: Option<RawAzureAd> = "azuread" [omit];
        google_iam: Option<RawGoogleIam> = "google_iam" [omit];
    }
}

record! {
    /// `queue_config`.
    pub(crate) struct RawQueue as "config.QueueConfig" in "config.QueueConfig" [] {
        capacity: i64 = "capacity" [omit];
        max_shards: i64 = "max_shards" [omit];
        min_shards: i64 = "min_shards" [omit];
        max_samples_per_send: i64 = "max_samples_per_send" [omit];
        batch_send_deadline: DurationMs = "batch_send_deadline" [omit];
        min_backoff: DurationMs = "min_backoff" [omit];
        max_backoff: DurationMs = "max_backoff" [omit];
        retry_on_http_429: bool = "retry_on_http_429" [omit];
        sample_age_limit: DurationMs = "sample_age_limit" [omit];
    }
}

record! {
    /// `metadata_config`.
    pub(crate) struct RawMetadata as "config.MetadataConfig" in "config.MetadataConfig" [] {
        send: bool = "send" [];
        send_interval: DurationMs = "send_interval" [];
        max_samples_per_send: i64 = "max_samples_per_send" [omit];
    }
}

record! {
    /// `sigv4`.
    pub(crate) struct RawSigV4 as "sigv4.SigV4Config" in "sigv4.plain" [reset = RawSigV4::default, check = RawSigV4::check] {
        region: String = "region" [omit];
        access_key: String = "access_key" [omit];
        secret_key: Secret = "secret_key" [omit];
        profile: String = "profile" [omit];
        role_arn: String = "role_arn" [omit];
        external_id: String = "external_id" [omit];
        use_fips_sts_endpoint: bool = "use_fips_sts_endpoint" [omit];
        service_name: String = "service_name" [omit];
    }
}

record! {
    /// `google_iam`.
    pub(crate) struct RawGoogleIam as "googleiam.Config" in "googleiam.Config" [] {
        credentials_file: String = "credentials_file" [omit];
    }
}

record! {
    /// One entry of `remote_read`.
    pub(crate) struct RawRemoteRead as "config.RemoteReadConfig" in "config.plain" [reset = RawRemoteRead::defaults, check = RawRemoteRead::check] {
        url: Option<Url> = "url" [];
        remote_timeout: DurationMs = "remote_timeout" [omit];
        chunked_read_limit: Uint64 = "chunked_read_limit" [omit];
        headers: BTreeMap<String, String> = "headers" [omit];
        read_recent: bool = "read_recent" [omit];
        name: String = "name" [omit];
        http_client: RawHttpClient = inline [];
        required_matchers: LabelSet = "required_matchers" [omit];
        filter_external_labels: bool = "filter_external_labels" [omit];
    }
}

impl RawRemoteWrite {
    fn defaults() -> RawRemoteWrite {
        RawRemoteWrite {
            remote_timeout: DurationMs::secs(30),
            protobuf_message: MessageType("prometheus.WriteRequest".to_owned()),
            http_client: RawHttpClient { enable_http2: false, ..RawHttpClient::defaults() },
            queue_config: RawQueue {
                max_shards: 50,
                min_shards: 1,
                max_samples_per_send: 2000,
                capacity: 10_000,
                batch_send_deadline: DurationMs::secs(5),
                min_backoff: DurationMs(30),
                max_backoff: DurationMs::secs(5),
                ..RawQueue::default()
            },
            metadata_config: RawMetadata {
                send: true,
                send_interval: DurationMs::mins(1),
                max_samples_per_send: 2000,
                ..RawMetadata::default()
            },
            ..RawRemoteWrite::default()
        }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        if self.url.is_none() {
            return refuse_at("url", "url for remote_write is empty");
        }
        if self.write_relabel_configs.contains(&None) {
            return refuse_at("write_relabel_configs", "empty or null relabeling rule in remote write config");
        }
        check_headers(&self.headers)?;
        if !matches!(self.protobuf_message.0.as_str(), "prometheus.WriteRequest" | "io.prometheus.write.v2.Request") {
            let text = format!(
                "invalid protobuf_message value: unknown type for remote write protobuf message {}, supported: \
                 prometheus.WriteRequest, io.prometheus.write.v2.Request",
                self.protobuf_message.0
            );
            return refuse_at("protobuf_message", text);
        }
        self.http_client.check()?;
        self.queue_config.check()?;
        self.check_authentication()
    }

    fn check_authentication(&self) -> Result<(), Refusal> {
        let given = [
            (self.http_client.basic_auth.is_some(), "basic_auth"),
            (self.http_client.authorization.is_some(), "authorization"),
            (self.http_client.oauth2.is_some(), "oauth2"),
            (self.sigv4.is_some(), "sigv4"),
            (self.azuread.is_some(), "azuread"),
            (self.google_iam.is_some(), "google_iam"),
        ];
        let given: Vec<&str> = given.into_iter().filter(|(is, _)| *is).map(|(_, name)| name).collect();
        if given.len() > 1 {
            return refuse(format!(
                "at most one of basic_auth, authorization, oauth2, sigv4, azuread or google_iam must be configured. \
                 Currently configured: [{}]",
                given.join(" ")
            ));
        }
        Ok(())
    }

    /// Checks the rules once it is known which names are labels.
    pub(crate) fn validate(&self, scheme: NameValidation) -> Result<(), Refusal> {
        self.write_relabel_configs.iter().flatten().try_for_each(|rule| rule.validate(scheme).map(|_| ()))
    }
}

impl RawRemoteRead {
    fn defaults() -> RawRemoteRead {
        RawRemoteRead {
            remote_timeout: DurationMs::mins(1),
            chunked_read_limit: Uint64(50_000_000),
            http_client: RawHttpClient::defaults(),
            filter_external_labels: true,
            ..RawRemoteRead::default()
        }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        if self.url.is_none() {
            return refuse_at("url", "url for remote_read is empty");
        }
        check_headers(&self.headers)?;
        self.http_client.check()
    }
}

impl RawQueue {
    fn check(&self) -> Result<(), Refusal> {
        let positive = [
            (self.max_shards, "max_shards"),
            (self.min_shards, "min_shards"),
            (i64::from(self.min_shards <= self.max_shards), ""),
            (self.max_samples_per_send, "max_samples_per_send"),
            (self.capacity, "capacity"),
        ];
        match positive.iter().find(|(value, _)| *value <= 0) {
            Some((_, "")) => {
                return refuse_at("queue_config", "remote write queue min_shards must not be greater than max_shards");
            }
            Some((_, name)) => {
                return refuse_at("queue_config", format!("remote write queue {name} must be positive"));
            }
            None => {}
        }
        if self.max_backoff < self.min_backoff {
            return refuse_at("queue_config", "remote write queue max_backoff must not be less than min_backoff");
        }
        Ok(())
    }
}

impl RawSigV4 {
    fn check(&mut self) -> Result<(), Refusal> {
        if self.access_key.is_empty() != self.secret_key.is_empty() {
            return refuse(
                "must provide a AWS SigV4 Access key and Secret Key if credentials are specified in the SigV4 config",
            );
        }
        if !self.external_id.is_empty() && self.role_arn.is_empty() {
            return refuse_at("external_id", "external_id can only be used with role_arn");
        }
        Ok(())
    }
}

const RESERVED_HEADERS: [&str; 16] = [
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "accept-encoding",
    "x-prometheus-remote-write-version",
    "x-prometheus-remote-read-version",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-content-sha256",
];

/// Refuses headers that the client sets itself; `authorization` is the text for that one.
pub(super) fn reserved_header(headers: &BTreeMap<String, String>, authorization: &str) -> Result<(), String> {
    for name in headers.keys() {
        let lower = name.to_lowercase();
        if lower == "authorization" {
            return Err(authorization.to_owned());
        }
        if RESERVED_HEADERS.contains(&lower.as_str()) {
            return Err(format!("{name} is a reserved header. It must not be changed"));
        }
    }
    Ok(())
}

fn check_headers(headers: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let authorization = "authorization header must be changed via the basic_auth, authorization, oauth2, sigv4, azuread \
                         or google_iam parameter";
    reserved_header(headers, authorization).or_else(|text| refuse_at("headers", text))
}
