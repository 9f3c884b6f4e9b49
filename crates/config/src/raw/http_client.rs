//! What configures an HTTP client: authentication, TLS, proxies, headers. Source: `config/http_config.go` and `headers.go`
//! of prometheus/common.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::text::checked_string;
use crate::secret::Secret;
use crate::url::Url;
use crate::yaml::emit::sorted_map;
use crate::yaml::record::{Paths, no_paths};
use crate::yaml::scalar::Scalar;
use crate::yaml::tree::Kind;
use crate::yaml::{Decode, Decoder, Encode, Fail, NodeId, Out, Refusal, record, refuse, refuse_at};

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

record! {
    /// The keys of an HTTP client, which stand among their owner's own.
    pub(crate) struct RawHttpClient as "config.HTTPClientConfig" in "config.HTTPClientConfig" [] {
        basic_auth: Option<RawBasicAuth> = "basic_auth" [omit];
        authorization: Option<RawAuthorization> = "authorization" [omit];
        oauth2: Option<RawOAuth2> = "oauth2" [omit];
        bearer_token: Secret = "bearer_token" [omit];
        bearer_token_file: String = "bearer_token_file" [omit, path];
        tls_config: RawTls = "tls_config" [omit];
        follow_redirects: bool = "follow_redirects" [];
        enable_http2: bool = "enable_http2" [];
        proxy: RawProxy = inline [];
        http_headers: Option<RawHeaders> = "http_headers" [omit];
    }
}

record! {
    /// `basic_auth`.
    pub(crate) struct RawBasicAuth as "config.BasicAuth" in "config.plain" [check = |_| Ok(())] {
        username: String = "username" [omit];
        username_file: String = "username_file" [omit, path];
        username_ref: String = "username_ref" [omit];
        password: Secret = "password" [omit];
        password_file: String = "password_file" [omit, path];
        password_ref: String = "password_ref" [omit];
    }
}

record! {
    /// `authorization`.
    pub(crate) struct RawAuthorization as "config.Authorization" in "config.Authorization" [] {
        kind: String = "type" [omit];
        credentials: Secret = "credentials" [omit];
        credentials_file: String = "credentials_file" [omit, path];
        credentials_ref: String = "credentials_ref" [omit];
    }
}

record! {
    /// `oauth2`.
    pub(crate) struct RawOAuth2 as "config.OAuth2" in "config.plain" [check = |oauth2| oauth2.proxy.check()] {
        client_id: String = "client_id" [omit];
        client_secret: Secret = "client_secret" [omit];
        client_secret_file: String = "client_secret_file" [omit, path];
        client_secret_ref: String = "client_secret_ref" [omit];
        client_certificate_key_id: String = "client_certificate_key_id" [omit];
        client_certificate_key: Secret = "client_certificate_key" [omit];
        client_certificate_key_file: String = "client_certificate_key_file" [omit];
        client_certificate_key_ref: String = "client_certificate_key_ref" [omit];
        grant_type: String = "grant_type" [omit];
        signature_algorithm: String = "signature_algorithm" [omit];
        iss: String = "iss" [omit];
        audience: String = "audience" [omit];
        claims: BTreeMap<String, Any> = "claims" [omit];
        scopes: Vec<String> = "scopes" [omit];
        token_url: String = "token_url" [omit];
        endpoint_params: BTreeMap<String, String> = "endpoint_params" [omit];
        tls_config: RawTls = "tls_config" [omit];
        proxy: RawProxy = inline [];
    }
}

record! {
    /// `tls_config`.
    pub(crate) struct RawTls as "config.TLSConfig" in "config.plain" [check = RawTls::check] {
        ca: String = "ca" [omit];
        cert: String = "cert" [omit];
        key: Secret = "key" [omit];
        ca_file: String = "ca_file" [omit, path];
        cert_file: String = "cert_file" [omit, path];
        key_file: String = "key_file" [omit, path];
        ca_ref: String = "ca_ref" [omit];
        cert_ref: String = "cert_ref" [omit];
        key_ref: String = "key_ref" [omit];
        server_name: String = "server_name" [omit];
        insecure_skip_verify: bool = "insecure_skip_verify" [];
        min_version: TlsVersionName = "min_version" [omit];
        max_version: TlsVersionName = "max_version" [omit];
    }
}

record! {
    /// The keys of a proxy, which stand among their owner's own.
    pub(crate) struct RawProxy as "config.ProxyConfig" in "config.ProxyConfig" [] {
        proxy_url: Option<Url> = "proxy_url" [omit];
        no_proxy: String = "no_proxy" [omit];
        proxy_from_environment: bool = "proxy_from_environment" [omit];
        proxy_connect_header: BTreeMap<String, Vec<Secret>> = "proxy_connect_header" [omit];
    }
}

record! {
    /// One entry of `http_headers`.
    pub(crate) struct RawHeader as "config.Header" in "config.Header" [] {
        values: Vec<String> = "values" [omit];
        secrets: Vec<Secret> = "secrets" [omit];
        files: Vec<String> = "files" [omit, path];
    }
}

fn tls_version(text: &str) -> Result<(), String> {
    match text {
        "TLS10" | "TLS11" | "TLS12" | "TLS13" => Ok(()),
        other => Err(format!("unknown TLS version: {other}")),
    }
}

checked_string! {
    /// `TLS10` to `TLS13`.
    pub(crate) struct TlsVersionName as "config.TLSVersion", tls_version
}

impl RawHttpClient {
    pub(crate) fn defaults() -> RawHttpClient {
        RawHttpClient { follow_redirects: true, enable_http2: true, ..RawHttpClient::default() }
    }

    /// Checks the combination of keys, and turns the old `bearer_token` into an `authorization`.
    pub(crate) fn check(&mut self) -> Result<(), Refusal> {
        let bearer = !self.bearer_token.is_empty() || !self.bearer_token_file.is_empty();
        if !self.bearer_token.is_empty() && !self.bearer_token_file.is_empty() {
            return refuse_at("bearer_token", "at most one of bearer_token & bearer_token_file must be configured");
        }
        if (self.basic_auth.is_some() || self.oauth2.is_some()) && bearer {
            return refuse("at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured");
        }
        if let Some(basic) = &self.basic_auth {
            basic.check_sources()?;
        }
        self.check_authorization(bearer)?;
        if self.oauth2.is_some() && self.basic_auth.is_some() {
            return refuse_at("oauth2", "at most one of basic_auth, oauth2 & authorization must be configured");
        }
        if let Some(oauth2) = &self.oauth2 {
            oauth2.check_sources()?;
        }
        self.proxy.check()?;
        self.http_headers.as_ref().map_or(Ok(()), RawHeaders::check)
    }

    fn check_authorization(&mut self, bearer: bool) -> Result<(), Refusal> {
        let Some(authorization) = &mut self.authorization else {
            if bearer {
                self.authorization = Some(RawAuthorization {
                    kind: "Bearer".to_owned(),
                    credentials: std::mem::take(&mut self.bearer_token),
                    credentials_file: std::mem::take(&mut self.bearer_token_file),
                    ..RawAuthorization::default()
                });
            }
            return Ok(());
        };
        if bearer {
            return refuse_at("authorization", "authorization is not compatible with bearer_token & bearer_token_file");
        }
        let a = &authorization;
        if several([!a.credentials.is_empty(), !a.credentials_file.is_empty(), !a.credentials_ref.is_empty()]) {
            let text = "at most one of authorization credentials & credentials_file must be configured";
            return refuse_at("authorization", text);
        }
        authorization.kind = authorization.kind.trim().to_owned();
        if authorization.kind.is_empty() {
            "Bearer".clone_into(&mut authorization.kind);
        }
        if authorization.kind.to_lowercase() == "basic" {
            let text = r#"authorization type cannot be set to "basic", use "basic_auth" instead"#;
            return refuse_at("authorization", text);
        }
        if self.basic_auth.is_some() || self.oauth2.is_some() {
            return refuse_at("authorization", "at most one of basic_auth, oauth2 & authorization must be configured");
        }
        Ok(())
    }
}

fn several(given: [bool; 3]) -> bool {
    given.into_iter().filter(|g| *g).count() > 1
}

impl RawBasicAuth {
    fn check_sources(&self) -> Result<(), Refusal> {
        if several([!self.username.is_empty(), !self.username_file.is_empty(), !self.username_ref.is_empty()]) {
            let text = "at most one of basic_auth username, username_file & username_ref must be configured";
            return refuse_at("basic_auth", text);
        }
        if several([!self.password.is_empty(), !self.password_file.is_empty(), !self.password_ref.is_empty()]) {
            let text = "at most one of basic_auth password, password_file & password_ref must be configured";
            return refuse_at("basic_auth", text);
        }
        Ok(())
    }
}

impl RawOAuth2 {
    fn check_sources(&self) -> Result<(), Refusal> {
        if self.client_id.is_empty() {
            return refuse_at("oauth2", "oauth2 client_id must be configured");
        }
        if self.token_url.is_empty() {
            return refuse_at("oauth2", "oauth2 token_url must be configured");
        }
        if self.grant_type == JWT_BEARER {
            let keys = [
                !self.client_certificate_key.is_empty(),
                !self.client_certificate_key_file.is_empty(),
                !self.client_certificate_key_ref.is_empty(),
            ];
            if several(keys) {
                let text = format!(
                    "at most one of oauth2 client_certificate_key, client_certificate_key_file & \
                     client_certificate_key_ref must be configured using grant-type={JWT_BEARER}"
                );
                return refuse_at("oauth2", text);
            }
            if !matches!(self.signature_algorithm.as_str(), "" | "RS256" | "RS384" | "RS512") {
                return refuse_at("oauth2", "valid signature algorithms are RS256, RS384 and RS512");
            }
            return Ok(());
        }
        let secrets =
            [!self.client_secret.is_empty(), !self.client_secret_file.is_empty(), !self.client_secret_ref.is_empty()];
        if several(secrets) {
            let text = "at most one of oauth2 client_secret, client_secret_file & client_secret_ref must be configured \
                        using grant-type=client_credentials";
            return refuse_at("oauth2", text);
        }
        Ok(())
    }
}

impl RawTls {
    fn check(&mut self) -> Result<(), Refusal> {
        if several([!self.ca.is_empty(), !self.ca_file.is_empty(), !self.ca_ref.is_empty()]) {
            return refuse("at most one of ca, ca_file & ca_ref must be configured");
        }
        let cert = [!self.cert.is_empty(), !self.cert_file.is_empty(), !self.cert_ref.is_empty()];
        if several(cert) {
            return refuse("at most one of cert, cert_file & cert_ref must be configured");
        }
        let key = [!self.key.is_empty(), !self.key_file.is_empty(), !self.key_ref.is_empty()];
        if several(key) {
            return refuse("at most one of key and key_file must be configured");
        }
        match (cert.contains(&true), key.contains(&true)) {
            (true, false) => {
                refuse("exactly one of key or key_file must be configured when a client certificate is configured")
            }
            (false, true) => {
                refuse("exactly one of cert or cert_file must be configured when a client key is configured")
            }
            (true, true) | (false, false) => Ok(()),
        }
    }
}

impl RawProxy {
    pub(crate) fn check(&mut self) -> Result<(), Refusal> {
        let proxy_url = self.proxy_url.as_ref().is_some_and(|url| !url.to_string().is_empty());
        if !self.proxy_connect_header.is_empty() && !self.proxy_from_environment && !proxy_url {
            let text =
                "if proxy_connect_header is configured, proxy_url or proxy_from_environment must also be configured";
            return refuse_at("proxy_connect_header", text);
        }
        if self.proxy_from_environment && proxy_url {
            let text = "if proxy_from_environment is configured, proxy_url must not be configured";
            return refuse_at("proxy_from_environment", text);
        }
        if self.proxy_from_environment && !self.no_proxy.is_empty() {
            let text = "if proxy_from_environment is configured, no_proxy must not be configured";
            return refuse_at("proxy_from_environment", text);
        }
        if self.proxy_url.is_none() && !self.no_proxy.is_empty() {
            return refuse_at("no_proxy", "if no_proxy is configured, proxy_url must also be configured");
        }
        Ok(())
    }
}

/// `http_headers`: any header but those that the client itself sets.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RawHeaders(pub(crate) BTreeMap<String, RawHeader>);

const RESERVED_HEADERS: [&str; 18] = [
    "Authorization",
    "Host",
    "Content-Encoding",
    "Content-Length",
    "Content-Type",
    "User-Agent",
    "Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Www-Authenticate",
    "Accept-Encoding",
    "X-Prometheus-Remote-Write-Version",
    "X-Prometheus-Remote-Read-Version",
    "X-Prometheus-Scrape-Timeout-Seconds",
    "X-Amz-Date",
    "X-Amz-Security-Token",
    "X-Amz-Content-Sha256",
];

impl RawHeaders {
    fn check(&self) -> Result<(), Refusal> {
        let taken = |name: &String| RESERVED_HEADERS.iter().find(|r| r.eq_ignore_ascii_case(name));
        match self.0.keys().find_map(taken) {
            Some(reserved) => refuse_at("http_headers", format!("setting header \"{reserved}\" is not allowed")),
            None => Ok(()),
        }
    }
}

impl Decode for RawHeaders {
    fn type_name() -> String {
        "config.Headers".to_owned()
    }
    fn mapping(&mut self, d: &mut Decoder<'_>, _id: NodeId, pairs: &[(NodeId, NodeId)]) -> Result<bool, Fail> {
        self.0.clear();
        d.entries(pairs, self, |d, this, name, _, value| {
            let mut header = RawHeader::default();
            d.fill(value, &mut header)?;
            match this.0.entry(name) {
                Entry::Occupied(entry) => {
                    d.note(value, format!("key {} already set in map", crate::go::quote(entry.key())));
                }
                Entry::Vacant(entry) => {
                    entry.insert(header);
                }
            }
            Ok(())
        })?;
        Ok(true)
    }
}

impl Encode for RawHeaders {
    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }
    fn encode(&self) -> Out {
        self.0.encode()
    }
}

impl Paths for RawHeaders {
    fn set_directory(&mut self, dir: &str) {
        self.0.set_directory(dir);
    }
}

/// A value of any shape.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Any(pub(crate) Out);

impl Default for Any {
    fn default() -> Any {
        Any(Out::null())
    }
}

impl Decode for Any {
    fn type_name() -> String {
        "interface {}".to_owned()
    }
    fn unmarshal(&mut self, d: &mut Decoder<'_>, id: NodeId) -> Result<bool, Fail> {
        const DEPTH_MAX: usize = 100;
        if depth_exceeds(d, id, DEPTH_MAX) {
            return Err(d.refused(id, Refusal::from(format!("yaml: exceeded max depth of {DEPTH_MAX}"))));
        }
        d.fill_plain(id, self)
    }
    fn scalar(&mut self, d: &mut Decoder<'_>, id: NodeId, scalar: &Scalar) -> Result<bool, Fail> {
        let mut text = String::new();
        text.scalar(d, id, scalar)?;
        self.0 = match scalar {
            Scalar::Null => Out::null(),
            Scalar::Bool(b) => b.encode(),
            Scalar::Int(i) => i.encode(),
            Scalar::Uint(u) => u.encode(),
            Scalar::Float(f) => f.encode(),
            Scalar::Timestamp | Scalar::Str | Scalar::Custom(_) => Out::Str(text),
            Scalar::Binary(bytes) => crate::yaml::decode::Bytes(bytes.clone()).encode(),
        };
        Ok(true)
    }
    fn sequence(&mut self, d: &mut Decoder<'_>, _id: NodeId, items: &[NodeId]) -> Result<bool, Fail> {
        let mut out = Vec::new();
        for item in items {
            let mut value = Any::default();
            d.fill(*item, &mut value)?;
            out.push(value.0);
        }
        self.0 = Out::Seq(out);
        Ok(true)
    }
    fn mapping(&mut self, d: &mut Decoder<'_>, id: NodeId, pairs: &[(NodeId, NodeId)]) -> Result<bool, Fail> {
        let mut entries: BTreeMap<String, Any> = BTreeMap::new();
        entries.mapping(d, id, pairs)?;
        self.0 = sorted_map(entries.into_iter().map(|(k, v)| (k, v.0)).collect());
        Ok(true)
    }
}

/// Whether the value nests deeper than `limit`, aliases followed.
fn depth_exceeds(d: &Decoder<'_>, id: NodeId, limit: usize) -> bool {
    let mut level = vec![id];
    for _ in 0..=limit {
        level = level
            .into_iter()
            .flat_map(|id| match &d.doc().node(d.doc().resolve(id)).kind {
                Kind::Sequence(items) => items.clone(),
                Kind::Mapping(pairs) => pairs.iter().flat_map(|(k, v)| [*k, *v]).collect(),
                Kind::Scalar { .. } | Kind::Alias(_) => Vec::new(),
            })
            .collect();
        level.sort_unstable();
        level.dedup();
        if level.is_empty() {
            return false;
        }
    }
    true
}

impl Encode for Any {
    fn is_zero(&self) -> bool {
        self.0 == Out::null()
    }
    fn encode(&self) -> Out {
        self.0.clone()
    }
}

no_paths!(Any);
