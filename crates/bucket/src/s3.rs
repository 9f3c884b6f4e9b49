//! The client of an S3 bucket, from `--objstore.config-file`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use config::object_store::{BucketLookup, S3Config, ServerSideEncryption};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, Certificate, ClientOptions, ObjectStore, RetryConfig};

/// How often a request is repeated where the file does not say.
const RETRIES: usize = 5;
/// The most that the file may ask for.
const RETRIES_MAX: u64 = 20;
/// No repetition begins later than this after the first attempt. What failed is tried again by whoever wanted it.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);
/// The same for queries, which somebody waits for.
const READ_RETRY_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait between two attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Whole requests, bodies included, whatever the file says about headers: the least.
const REQUEST_TIMEOUT_MIN: Duration = Duration::from_secs(30);
/// Bytes of a part of an upload: the least that S3 takes, and the most that we hold in memory.
const PART_BYTES: std::ops::RangeInclusive<u64> = 5 << 20..=64 << 20;
/// Where a bucket lies if nobody says; what speaks S3's protocol elsewhere takes any.
const REGION: &str = "us-east-1";
/// Variables of AWS' own tools that count where the file has no credentials.
const VARIABLES: [&str; 8] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// Why there is no client of an S3 bucket.
#[derive(Debug, thiserror::Error)]
pub enum S3Error {
    /// A file that the configuration names cannot be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The configuration asks for what this version does not do.
    #[error("{0} of an S3 bucket is not supported by this version")]
    Unsupported(&'static str),
    /// The client refuses the configuration.
    #[error("create S3 client")]
    Client(#[from] object_store::Error),
}

/// The stores of a bucket: they differ in their patience.
pub(crate) struct Stores {
    /// For closing, listing and deleting.
    pub(crate) store: Arc<dyn ObjectStore>,
    /// For queries.
    pub(crate) reads: Arc<dyn ObjectStore>,
    pub(crate) part_bytes: usize,
}

/// `variable` gives variables of the environment.
pub(crate) fn stores(
    s3: &S3Config,
    prefix: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Stores, S3Error> {
    let client = |retry_timeout| -> Result<Arc<dyn ObjectStore>, S3Error> {
        let client = client(s3, variable, retry_timeout)?;
        Ok(if prefix.is_empty() { Arc::new(client) } else { Arc::new(PrefixStore::new(client, prefix)) })
    };
    let part_bytes = s3.part_bytes.clamp(*PART_BYTES.start(), *PART_BYTES.end());
    Ok(Stores {
        store: client(RETRY_TIMEOUT)?,
        reads: client(READ_RETRY_TIMEOUT)?,
        part_bytes: usize::try_from(part_bytes).expect("64 MiB fit"),
    })
}

fn client(
    s3: &S3Config,
    variable: &dyn Fn(&str) -> Option<String>,
    retry_timeout: Duration,
) -> Result<AmazonS3, S3Error> {
    let virtual_hosted = is_virtual_hosted(s3);
    let scheme = if s3.insecure { "http" } else { "https" };
    let host = if virtual_hosted { format!("{}.{}", s3.bucket, s3.endpoint) } else { s3.endpoint.clone() };
    let retries = if s3.retries_max == 0 { RETRIES } else { s3.retries_max.min(RETRIES_MAX) as usize };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&s3.bucket)
        .with_region(region(s3))
        .with_endpoint(format!("{scheme}://{host}"))
        .with_allow_http(s3.insecure)
        .with_virtual_hosted_style_request(virtual_hosted)
        .with_client_options(client_options(s3)?)
        .with_retry(RetryConfig {
            backoff: BackoffConfig { max_backoff: BACKOFF_MAX, ..BackoffConfig::default() },
            max_retries: retries,
            retry_timeout,
        });
    match &s3.credentials {
        Some((key, secret)) => {
            builder = builder.with_access_key_id(key).with_secret_access_key(secret.reveal());
            if !s3.session_token.is_empty() {
                builder = builder.with_token(s3.session_token.reveal());
            }
        }
        None => {
            for name in VARIABLES {
                if let Some(value) = variable(name).filter(|v| !v.is_empty()) {
                    builder = builder.with_config(name.to_lowercase().parse::<AmazonS3ConfigKey>()?, value);
                }
            }
        }
    }
    Ok(encrypted(builder, s3)?.build()?)
}

/// As Thanos' client chooses: in the host at Amazon's, where certificates have no second dot, in the path elsewhere.
fn is_virtual_hosted(s3: &S3Config) -> bool {
    match s3.lookup {
        BucketLookup::VirtualHosted => true,
        BucketLookup::Path => false,
        BucketLookup::Auto => is_amazon(s3) && (s3.insecure || !s3.bucket.contains('.')),
    }
}

fn is_amazon(s3: &S3Config) -> bool {
    let host = s3.endpoint.split(':').next().unwrap_or("");
    host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn")
}

/// The file's region, else the one in Amazon's name for the endpoint (`s3.eu-west-1.amazonaws.com`).
fn region(s3: &S3Config) -> String {
    if !s3.region.is_empty() {
        return s3.region.clone();
    }
    let in_name =
        s3.endpoint.strip_prefix("s3.").filter(|_| is_amazon(s3)).and_then(|rest| rest.split_once(".amazonaws.com"));
    in_name.map_or(REGION, |(region, _)| region.trim_start_matches("dualstack.")).to_owned()
}

fn client_options(s3: &S3Config) -> Result<ClientOptions, S3Error> {
    let http = &s3.http;
    for (set, what) in [
        (!http.cert_file.is_empty() || !http.key_file.is_empty(), "http_config.tls_config.cert_file"),
        (!http.server_name.is_empty(), "http_config.tls_config.server_name"),
    ] {
        if set {
            return Err(S3Error::Unsupported(what));
        }
    }
    let mut options = ClientOptions::new()
        .with_allow_http(s3.insecure)
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_timeout(http.response_header_timeout.to_std().max(REQUEST_TIMEOUT_MIN))
        .with_pool_idle_timeout(http.idle_timeout.to_std())
        .with_pool_max_idle_per_host(usize::try_from(http.idle_per_host_max).unwrap_or(usize::MAX))
        .with_allow_invalid_certificates(http.insecure_skip_verify);
    if !http.ca_file.is_empty() {
        for certificate in Certificate::from_pem_bundle(&read(&http.ca_file)?)? {
            options = options.with_root_certificate(certificate);
        }
        options = options.with_no_system_certificates(true);
    }
    Ok(options)
}

fn encrypted(builder: AmazonS3Builder, s3: &S3Config) -> Result<AmazonS3Builder, S3Error> {
    match &s3.encryption {
        None => Ok(builder),
        Some(ServerSideEncryption::S3) => {
            let key: AmazonS3ConfigKey = "aws_server_side_encryption".parse()?;
            Ok(builder.with_config(key, "AES256"))
        }
        Some(ServerSideEncryption::Kms { context, .. }) if !context.is_empty() => {
            Err(S3Error::Unsupported("sse_config.kms_encryption_context"))
        }
        Some(ServerSideEncryption::Kms { key_id, .. }) => Ok(builder.with_sse_kms_encryption(key_id)),
        Some(ServerSideEncryption::Customer { key_file }) => {
            Ok(builder.with_ssec_encryption(BASE64_STANDARD.encode(read(key_file)?)))
        }
    }
}

fn read(file: &str) -> Result<Vec<u8>, S3Error> {
    std::fs::read(file).map_err(|source| S3Error::Read { path: PathBuf::from(file), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(text: &str) -> S3Config {
        let text = format!("type: S3\nconfig: {{bucket: b, {text}}}");
        match config::parse_object_store(&text).unwrap().bucket {
            config::object_store::Bucket::S3(s3) => *s3,
            config::object_store::Bucket::Filesystem { .. } => panic!("S3"),
        }
    }

    #[test]
    fn host_and_region_are_found_as_thanos_finds_them() {
        for (text, virtual_hosted, expected) in [
            ("endpoint: s3.eu-west-1.amazonaws.com", true, "eu-west-1"),
            ("endpoint: s3.dualstack.eu-west-1.amazonaws.com", true, "eu-west-1"),
            ("endpoint: s3.amazonaws.com", true, "us-east-1"),
            ("endpoint: s3.amazonaws.com, region: x, bucket_lookup_type: path", false, "x"),
            ("endpoint: 'minio:9000'", false, "us-east-1"),
            ("endpoint: 'minio:9000', bucket_lookup_type: virtual-hosted", true, "us-east-1"),
        ] {
            let s3 = s3(text);
            assert_eq!((is_virtual_hosted(&s3), region(&s3).as_str()), (virtual_hosted, expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_supported_is_refused() {
        let refused =
            |text: &str| stores(&s3(text), "", &|_| None).err().map(|e| storage::chain(&e)).unwrap_or_default();
        for (text, expected) in [
            ("http_config: {tls_config: {server_name: x}}", "http_config.tls_config.server_name"),
            ("http_config: {tls_config: {cert_file: x, key_file: y}}", "http_config.tls_config.cert_file"),
            ("http_config: {tls_config: {ca_file: /nowhere}}", "read /nowhere: No such file"),
            ("sse_config: {type: SSE-KMS, kms_key_id: k, kms_encryption_context: {a: b}}", "kms_encryption_context"),
            ("sse_config: {type: SSE-C, encryption_key: /nowhere}", "read /nowhere: No such file"),
        ] {
            let error = refused(&format!("endpoint: e, {text}"));
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
