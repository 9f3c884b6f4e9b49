//! The file of `--objstore.config-file`, in the form of Thanos: `type:`, `config:` and `prefix:`, for `FILESYSTEM` and `S3`.
//! Source: `client/factory.go`, `providers/s3/s3.go` and `exthttp` of thanos-io/objstore.

use std::collections::BTreeMap;

use model::DurationMs;

use crate::error::{Position, Refused};
use crate::raw::text::checked_string;
use crate::secret::Secret;
use crate::yaml::decode::Uint64;
use crate::yaml::record::no_paths;
use crate::yaml::{Decode, Decoder, Document, Encode, Fail, NodeId, Out, Refusal, record, refuse};

/// Where blocks are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectStoreConfig {
    /// What keeps them.
    pub bucket: Bucket,
    /// What stands in front of every key, without `/` at its ends; may be empty.
    pub prefix: String,
}

/// The stores that Narthex knows.
#[derive(Clone, Debug, PartialEq)]
pub enum Bucket {
    /// A directory.
    Filesystem {
        /// Not empty.
        directory: String,
    },
    /// Amazon's S3, or what speaks its protocol.
    S3(Box<S3Config>),
}

/// How a bucket's name gets into URLs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BucketLookup {
    /// As the endpoint suggests: in the host at Amazon's, in the path elsewhere.
    #[default]
    Auto,
    /// In the host.
    VirtualHosted,
    /// In the path.
    Path,
}

/// Who encrypts.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerSideEncryption {
    /// S3 with its own keys.
    S3,
    /// S3 with a key of KMS.
    Kms {
        /// The key; not empty.
        key_id: String,
        /// What goes into the audit log.
        context: BTreeMap<String, String>,
    },
    /// S3 with the client's key.
    Customer {
        /// A file with the key; not empty.
        key_file: String,
    },
}

/// An S3 bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct S3Config {
    /// Its name.
    pub bucket: String,
    /// Host and port; not empty.
    pub endpoint: String,
    /// Where it lies; found out where empty.
    pub region: String,
    /// The key and its secret; without, the environment's and then the instance's count.
    pub credentials: Option<(String, Secret)>,
    /// The token that belongs to temporary credentials.
    pub session_token: Secret,
    /// Without TLS.
    pub insecure: bool,
    /// Where the bucket's name goes.
    pub lookup: BucketLookup,
    /// Who encrypts; nobody where `None`.
    pub encryption: Option<ServerSideEncryption>,
    /// Bytes of a part of a multipart upload.
    pub part_bytes: u64,
    /// How often a request is repeated; the client's own choice where 0.
    pub retries_max: u64,
    /// How to connect.
    pub http: StoreHttp,
    /// Keys that are set and that Narthex does not act on, to be warned of.
    pub ignored: Vec<&'static str>,
}

/// How a store is connected to.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreHttp {
    /// How long an idle connection is kept.
    pub idle_timeout: DurationMs,
    /// How long the headers of a response may take.
    pub response_header_timeout: DurationMs,
    /// Idle connections that are kept for the host.
    pub idle_per_host_max: u64,
    /// The server's certificate is not checked.
    pub insecure_skip_verify: bool,
    /// Authorities, in PEM; the system's where empty.
    pub ca_file: String,
    /// The client's certificate, in PEM.
    pub cert_file: String,
    /// The key of that, in PEM.
    pub key_file: String,
    /// The name that the server's certificate must carry.
    pub server_name: String,
}

record! {
    struct RawStore as "client.BucketConfig" in "client.BucketConfig" [] {
        kind: String = "type" [];
        config: Later = "config" [];
        prefix: String = "prefix" [];
    }
}

record! {
    struct RawFilesystem as "filesystem.Config" in "filesystem.Config" [] {
        directory: String = "directory" [];
    }
}

record! {
    struct RawS3 as "s3.Config" in "s3.Config" [] {
        bucket: String = "bucket" [];
        endpoint: String = "endpoint" [];
        region: String = "region" [];
        disable_dualstack: bool = "disable_dualstack" [];
        aws_sdk_auth: bool = "aws_sdk_auth" [];
        access_key: String = "access_key" [];
        insecure: bool = "insecure" [];
        signature_version2: bool = "signature_version2" [];
        secret_key: Secret = "secret_key" [];
        session_token: Secret = "session_token" [];
        put_user_metadata: BTreeMap<String, String> = "put_user_metadata" [];
        http_config: RawHttp = "http_config" [];
        trace: RawTrace = "trace" [];
        list_objects_version: String = "list_objects_version" [];
        bucket_lookup_type: LookupName = "bucket_lookup_type" [];
        send_content_md5: bool = "send_content_md5" [];
        disable_multipart: bool = "disable_multipart" [];
        part_size: Uint64 = "part_size" [];
        sse_config: RawEncryption = "sse_config" [];
        sts_endpoint: String = "sts_endpoint" [];
        max_retries: u64 = "max_retries" [];
    }
}

record! {
    struct RawTrace as "s3.TraceConfig" in "s3.TraceConfig" [] {
        enable: bool = "enable" [];
    }
}

record! {
    struct RawEncryption as "s3.SSEConfig" in "s3.SSEConfig" [] {
        kind: String = "type" [];
        kms_key_id: String = "kms_key_id" [];
        kms_encryption_context: BTreeMap<String, String> = "kms_encryption_context" [];
        encryption_key: String = "encryption_key" [];
    }
}

record! {
    struct RawHttp as "exthttp.HTTPConfig" in "exthttp.HTTPConfig" [] {
        idle_conn_timeout: DurationMs = "idle_conn_timeout" [];
        response_header_timeout: DurationMs = "response_header_timeout" [];
        insecure_skip_verify: bool = "insecure_skip_verify" [];
        tls_handshake_timeout: DurationMs = "tls_handshake_timeout" [];
        expect_continue_timeout: DurationMs = "expect_continue_timeout" [];
        max_idle_conns: u64 = "max_idle_conns" [];
        max_idle_conns_per_host: u64 = "max_idle_conns_per_host" [];
        max_conns_per_host: u64 = "max_conns_per_host" [];
        tls_config: RawTls = "tls_config" [];
        disable_compression: bool = "disable_compression" [];
    }
}

record! {
    struct RawTls as "exthttp.TLSConfig" in "exthttp.TLSConfig" [] {
        ca_file: String = "ca_file" [];
        cert_file: String = "cert_file" [];
        key_file: String = "key_file" [];
        server_name: String = "server_name" [];
        insecure_skip_verify: bool = "insecure_skip_verify" [];
    }
}

checked_string! {
    struct LookupName as "s3.BucketLookupType", |name| match name {
        "" | "auto" | "virtual-hosted" | "path" => Ok(()),
        other => Err(format!("unsupported bucket lookup type: {other}")),
    }
}

/// A node that is read once its type is known.
#[derive(Clone, Debug, Default, PartialEq)]
struct Later(Option<NodeId>);

impl Decode for Later {
    fn type_name() -> String {
        "interface {}".to_owned()
    }
    fn unmarshal(&mut self, _d: &mut Decoder<'_>, id: NodeId) -> Result<bool, Fail> {
        self.0 = Some(id);
        Ok(true)
    }
}

impl Encode for Later {
    fn is_zero(&self) -> bool {
        self.0.is_none()
    }
    fn encode(&self) -> Out {
        Out::null()
    }
}

no_paths!(Later);

/// Reads and checks the file's text.
pub fn parse_object_store(text: &str) -> Result<ObjectStoreConfig, Refused> {
    let doc = Document::parse(text).map_err(|e| Refused::Syntax { at: e.at, text: e.text })?;
    let mut decoder = Decoder::new(&doc);
    let refused = |fail: Fail| Refused::Value { at: fail.at, text: fail.text };
    let mut raw = RawStore::default();
    if let Some(root) = doc.root() {
        decoder.fill(root, &mut raw).map_err(refused)?;
    }
    let read = |decoder: &mut Decoder<'_>| read_bucket(decoder, &raw);
    let bucket = read(&mut decoder).map_err(refused)?;
    let errors = decoder.into_errors();
    if !errors.is_empty() {
        return Err(Refused::Types(errors));
    }
    let start = Position { line: 1, column: 1 };
    let at = raw.config.0.map_or(start, |id| doc.node(id).at);
    let bucket = bucket
        .validate(&raw.kind)
        .map_err(|refusal| Refused::Value { at: refusal.at().unwrap_or(at), text: refusal.into_text() })?;
    Ok(ObjectStoreConfig { bucket, prefix: raw.prefix.trim_matches('/').to_owned() })
}

enum RawBucket {
    Filesystem(RawFilesystem),
    S3(Box<RawS3>),
    Unknown,
}

fn read_bucket(decoder: &mut Decoder<'_>, raw: &RawStore) -> Result<RawBucket, Fail> {
    match raw.kind.to_uppercase().as_str() {
        "FILESYSTEM" => {
            let mut filesystem = RawFilesystem::default();
            if let Some(id) = raw.config.0 {
                decoder.fill(id, &mut filesystem)?;
            }
            Ok(RawBucket::Filesystem(filesystem))
        }
        "S3" => {
            let mut s3 = Box::new(RawS3::defaults());
            if let Some(id) = raw.config.0 {
                decoder.fill(id, &mut *s3)?;
            }
            Ok(RawBucket::S3(s3))
        }
        _ => Ok(RawBucket::Unknown),
    }
}

impl RawBucket {
    fn validate(self, kind: &str) -> Result<Bucket, Refusal> {
        match self {
            RawBucket::Filesystem(raw) if raw.directory.is_empty() => {
                refuse(format!("create {kind} client: missing directory for filesystem bucket"))
            }
            RawBucket::Filesystem(raw) => Ok(Bucket::Filesystem { directory: raw.directory }),
            RawBucket::S3(raw) => match raw.validate() {
                Ok(s3) => Ok(Bucket::S3(Box::new(s3))),
                Err(text) => refuse(format!("create {kind} client: {text}")),
            },
            RawBucket::Unknown => {
                refuse(format!("bucket with type {kind} is not supported; there are FILESYSTEM and S3"))
            }
        }
    }
}

const PART_BYTES: u64 = 64 << 20;

impl RawS3 {
    fn defaults() -> RawS3 {
        RawS3 {
            http_config: RawHttp {
                idle_conn_timeout: DurationMs::secs(90),
                response_header_timeout: DurationMs::mins(2),
                tls_handshake_timeout: DurationMs::secs(10),
                expect_continue_timeout: DurationMs::secs(1),
                max_idle_conns: 100,
                max_idle_conns_per_host: 100,
                ..RawHttp::default()
            },
            part_size: Uint64(PART_BYTES),
            send_content_md5: true,
            ..RawS3::default()
        }
    }

    fn validate(&self) -> Result<S3Config, String> {
        const EITHER: &str = "either both should be present in config or envvars/IAM should be used.";
        if self.endpoint.is_empty() {
            return Err("no s3 endpoint in config file".to_owned());
        }
        if self.bucket.is_empty() {
            return Err("no s3 bucket in config file".to_owned());
        }
        if self.aws_sdk_auth && !self.access_key.is_empty() {
            return Err("aws_sdk_auth and access_key are mutually exclusive configurations".to_owned());
        }
        if self.signature_version2 {
            return Err("signature_version2 is not supported".to_owned());
        }
        let credentials = match (self.access_key.is_empty(), self.secret_key.is_empty()) {
            (true, true) => None,
            (false, false) => Some((self.access_key.clone(), self.secret_key.clone())),
            (true, false) => {
                return Err(format!("no s3 access_key specified while secret_key is present in config file; {EITHER}"));
            }
            (false, true) => {
                return Err(format!("no s3 secret_key specified while access_key is present in config file; {EITHER}"));
            }
        };
        let http = &self.http_config;
        Ok(S3Config {
            bucket: self.bucket.clone(),
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            credentials,
            session_token: self.session_token.clone(),
            insecure: self.insecure,
            lookup: match self.bucket_lookup_type.0.as_str() {
                "virtual-hosted" => BucketLookup::VirtualHosted,
                "path" => BucketLookup::Path,
                _ => BucketLookup::Auto,
            },
            encryption: self.sse_config.validate()?,
            part_bytes: self.part_size.0,
            retries_max: self.max_retries,
            http: StoreHttp {
                idle_timeout: http.idle_conn_timeout,
                response_header_timeout: http.response_header_timeout,
                idle_per_host_max: http.max_idle_conns_per_host,
                insecure_skip_verify: http.insecure_skip_verify || http.tls_config.insecure_skip_verify,
                ca_file: http.tls_config.ca_file.clone(),
                cert_file: http.tls_config.cert_file.clone(),
                key_file: http.tls_config.key_file.clone(),
                server_name: http.tls_config.server_name.clone(),
            },
            ignored: self.ignored(),
        })
    }

    fn ignored(&self) -> Vec<&'static str> {
        let defaults = RawS3::defaults();
        let (http, http_defaults) = (&self.http_config, &defaults.http_config);
        let set = [
            ("disable_dualstack", self.disable_dualstack),
            ("aws_sdk_auth", self.aws_sdk_auth),
            ("put_user_metadata", !self.put_user_metadata.is_empty()),
            ("trace", self.trace.enable),
            ("list_objects_version", !self.list_objects_version.is_empty()),
            ("send_content_md5", !self.send_content_md5),
            ("disable_multipart", self.disable_multipart),
            ("sts_endpoint", !self.sts_endpoint.is_empty()),
            ("http_config.tls_handshake_timeout", http.tls_handshake_timeout != http_defaults.tls_handshake_timeout),
            (
                "http_config.expect_continue_timeout",
                http.expect_continue_timeout != http_defaults.expect_continue_timeout,
            ),
            ("http_config.max_idle_conns", http.max_idle_conns != http_defaults.max_idle_conns),
            ("http_config.max_conns_per_host", http.max_conns_per_host != 0),
            ("http_config.disable_compression", http.disable_compression),
        ];
        set.into_iter().filter(|(_, is)| *is).map(|(key, _)| key).collect()
    }
}

impl RawEncryption {
    fn validate(&self) -> Result<Option<ServerSideEncryption>, String> {
        match self.kind.as_str() {
            "" => Ok(None),
            "SSE-S3" => Ok(Some(ServerSideEncryption::S3)),
            "SSE-KMS" if self.kms_key_id.is_empty() => {
                Err("kms_key_id must be set if sse_config.type is set to 'SSE-KMS'".to_owned())
            }
            "SSE-KMS" => Ok(Some(ServerSideEncryption::Kms {
                key_id: self.kms_key_id.clone(),
                context: self.kms_encryption_context.clone(),
            })),
            "SSE-C" if self.encryption_key.is_empty() => {
                Err("encryption_key must be set if sse_config.type is set to 'SSE-C'".to_owned())
            }
            "SSE-C" => Ok(Some(ServerSideEncryption::Customer { key_file: self.encryption_key.clone() })),
            other => Err(format!(
                "initialize s3 client SSE config: Unsupported type {} was provided. Supported types are SSE-S3, \
                 SSE-KMS, SSE-C",
                crate::go::quote(other)
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_stores_are_read() {
        let store = parse_object_store("type: FILESYSTEM\nconfig:\n  directory: /data\nprefix: /a/b/\n").unwrap();
        assert_eq!(store.bucket, Bucket::Filesystem { directory: "/data".to_owned() });
        assert_eq!(store.prefix, "a/b");
        let text = "
type: s3
config:
  bucket: blocks
  endpoint: minio:9000
  access_key: key
  secret_key: hunter2
  insecure: true
  bucket_lookup_type: path
  sse_config: {type: SSE-KMS, kms_key_id: k}
  http_config: {response_header_timeout: 5m, max_idle_conns: 7, tls_config: {ca_file: /ca.pem}}
  trace: {enable: true}
";
        let Bucket::S3(s3) = parse_object_store(text).unwrap().bucket else { panic!("S3") };
        assert_eq!((s3.bucket.as_str(), s3.endpoint.as_str()), ("blocks", "minio:9000"));
        assert_eq!(s3.credentials.as_ref().unwrap().1.reveal(), "hunter2");
        assert!(s3.insecure && s3.lookup == BucketLookup::Path);
        assert_eq!(s3.http.response_header_timeout, DurationMs::mins(5));
        assert_eq!(s3.http.idle_timeout, DurationMs::secs(90));
        assert_eq!(s3.http.ca_file, "/ca.pem");
        assert_eq!(s3.ignored, ["trace", "http_config.max_idle_conns"]);
        assert!(!format!("{s3:?}").contains("hunter2"));
    }

    #[test]
    fn a_bad_store_is_refused_with_a_reason_and_a_place() {
        for (text, expected) in [
            ("type: GCS\nconfig: {bucket: a}", "bucket with type GCS is not supported; there are FILESYSTEM and S3"),
            ("", "bucket with type  is not supported; there are FILESYSTEM and S3"),
            ("type: FILESYSTEM", "create FILESYSTEM client: missing directory for filesystem bucket"),
            ("type: S3\nconfig: {bucket: a}", "create S3 client: no s3 endpoint in config file"),
            ("type: S3\nconfig: {endpoint: a}", "create S3 client: no s3 bucket in config file"),
            (
                "type: S3\nconfig: {bucket: a, endpoint: b, access_key: c}",
                "create S3 client: no s3 secret_key specified while access_key is present in config file; either both \
                 should be present in config or envvars/IAM should be used.",
            ),
            (
                "type: S3\nconfig: {bucket: a, endpoint: b, signature_version2: true}",
                "create S3 client: signature_version2 is not supported",
            ),
            (
                "type: S3\nconfig: {bucket: a, endpoint: b, sse_config: {type: SSE-C}}",
                "create S3 client: encryption_key must be set if sse_config.type is set to 'SSE-C'",
            ),
            (
                "type: S3\nconfig:\n  bukket: a",
                "yaml: unmarshal errors:\n  line 3: field bukket not found in type s3.Config",
            ),
            ("tipe: S3", "yaml: unmarshal errors:\n  line 1: field tipe not found in type client.BucketConfig"),
        ] {
            match parse_object_store(text) {
                Err(e) => {
                    assert_eq!(e.to_string(), expected, "{text}");
                    assert!(e.at().line > 0);
                }
                Ok(store) => panic!("{text}: {store:?}"),
            }
        }
    }
}
