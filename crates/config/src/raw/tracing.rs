//! The `tracing` block.

use std::collections::BTreeMap;

use model::DurationMs;

use super::http_client::RawTls;
use super::remote::reserved_header;
use super::text::checked_string;
use crate::yaml::{Refusal, record, refuse, refuse_at};

checked_string! {
    pub(crate) struct ClientType as "config.TracingClientType", |kind| match kind {
        "http" | "grpc" => Ok(()),
        other => Err(format!("expected tracing client type to be to be http or grpc, but got {other}")),
    }
}

record! {
    /// The `tracing` block.
    pub(crate) struct RawTracing as "config.TracingConfig" in "config.plain" [reset = RawTracing::defaults, check = RawTracing::check] {
        client_type: ClientType = "client_type" [omit];
        endpoint: String = "endpoint" [omit];
        sampling_fraction: f64 = "sampling_fraction" [omit];
        insecure: bool = "insecure" [omit];
        tls_config: RawTls = "tls_config" [omit];
        headers: BTreeMap<String, String> = "headers" [omit];
        compression: String = "compression" [omit];
        timeout: DurationMs = "timeout" [omit];
    }
}

impl RawTracing {
    fn defaults() -> RawTracing {
        RawTracing { client_type: ClientType("grpc".to_owned()), ..RawTracing::default() }
    }

    fn check(&mut self) -> Result<(), Refusal> {
        let authorization = "custom authorization header configuration is not yet supported";
        reserved_header(&self.headers, authorization).or_else(|text| refuse_at("headers", text))?;
        if self.endpoint.is_empty() {
            return refuse("tracing endpoint must be set");
        }
        if !matches!(self.compression.as_str(), "" | "gzip") {
            let text = format!("invalid compression type {} provided, valid options: gzip", self.compression);
            return refuse_at("compression", text);
        }
        Ok(())
    }
}
