//! How an HTTP client connects: who it says it is, whom it trusts, through which proxy.

use std::collections::BTreeMap;

use crate::raw::http_client::{RawAuthorization, RawBasicAuth, RawHttpClient, RawOAuth2, RawProxy, RawTls};
use crate::scrape_config::given;
use crate::secret::Secret;
use crate::url::Url;
use crate::yaml::Encode;

/// How to connect.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpClientConfig {
    /// Who the client says it is; at most one way.
    pub authentication: Option<Authentication>,
    /// Whom it trusts, and its certificate.
    pub tls: TlsConfig,
    /// Redirects are followed.
    pub follow_redirects: bool,
    /// HTTP/2 may be used.
    pub enable_http2: bool,
    /// Through what it connects.
    pub proxy: ProxyConfig,
    /// Headers of each request; none that the client sets itself.
    pub headers: BTreeMap<String, HeaderValues>,
}

/// Ways to say who a client is.
#[derive(Clone, Debug, PartialEq)]
pub enum Authentication {
    /// `basic_auth`
    Basic(BasicAuth),
    /// `authorization`, or the old `bearer_token` and `bearer_token_file`.
    Header(Authorization),
    /// `oauth2`
    OAuth2(Box<OAuth2>),
}

/// A text that may stand elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source<T> {
    /// Written into the configuration.
    Inline(T),
    /// The contents of this file, read anew as it changes.
    File(String),
    /// A name in a secret manager; Prometheus has none.
    Reference(String),
}

impl<T> Source<T> {
    fn of(inline: Option<T>, file: &str, reference: &str) -> Option<Source<T>> {
        match inline {
            Some(value) => Some(Source::Inline(value)),
            None if !file.is_empty() => Some(Source::File(file.to_owned())),
            None if !reference.is_empty() => Some(Source::Reference(reference.to_owned())),
            None => None,
        }
    }
}

/// Name and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicAuth {
    /// The name; none is an empty one.
    pub username: Option<Source<String>>,
    /// The password; none is an empty one.
    pub password: Option<Source<Secret>>,
}

/// The header `Authorization`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// What stands in front, usually `Bearer`; not `Basic`.
    pub scheme: String,
    /// What stands behind; none sends no header.
    pub credentials: Option<Source<Secret>>,
}

/// Tokens from an OAuth 2 server.
#[derive(Clone, Debug, PartialEq)]
pub struct OAuth2 {
    /// Not empty.
    pub client_id: String,
    /// The client's secret, for the grant of client credentials.
    pub client_secret: Option<Source<Secret>>,
    /// The key that signs, for JWTs.
    pub client_certificate_key: Option<Source<Secret>>,
    /// The name of that key.
    pub client_certificate_key_id: String,
    /// `client_credentials`, where empty, or `urn:ietf:params:oauth:grant-type:jwt-bearer`.
    pub grant_type: String,
    /// `RS256`, where empty, `RS384` or `RS512`.
    pub signature_algorithm: String,
    /// Issuer of the JWT; the client where empty.
    pub iss: String,
    /// Audience of the JWT; the token URL where empty.
    pub audience: String,
    /// Further claims of the JWT, each as YAML.
    pub claims: BTreeMap<String, String>,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// Where tokens come from; not empty.
    pub token_url: String,
    /// Further parameters of the request.
    pub endpoint_params: BTreeMap<String, String>,
    /// TLS of that server.
    pub tls: TlsConfig,
    /// Proxy to that server.
    pub proxy: ProxyConfig,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// `TLS10`
    Tls10,
    /// `TLS11`
    Tls11,
    /// `TLS12`
    Tls12,
    /// `TLS13`
    Tls13,
}

impl TlsVersion {
    /// The version of that name.
    pub fn parse(text: &str) -> Option<TlsVersion> {
        match text {
            "TLS10" => Some(TlsVersion::Tls10),
            "TLS11" => Some(TlsVersion::Tls11),
            "TLS12" => Some(TlsVersion::Tls12),
            "TLS13" => Some(TlsVersion::Tls13),
            _ => None,
        }
    }
}

/// TLS of a client. Certificate and key are there both or neither.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsConfig {
    /// Authorities, in PEM; the system's where none.
    pub ca: Option<Source<String>>,
    /// The client's certificate, in PEM.
    pub cert: Option<Source<String>>,
    /// The key of the certificate, in PEM.
    pub key: Option<Source<Secret>>,
    /// The name that the server's certificate must carry; the host's where none.
    pub server_name: Option<String>,
    /// The server's certificate is not checked.
    pub insecure_skip_verify: bool,
    /// Oldest version; TLS 1.2 where none.
    pub min_version: Option<TlsVersion>,
    /// Newest version; TLS 1.3 where none.
    pub max_version: Option<TlsVersion>,
}

/// Through what a client connects.
#[derive(Clone, Debug, PartialEq)]
pub struct ProxyConfig {
    /// The proxy.
    pub url: Option<Url>,
    /// Hosts, domains and networks that are reached directly, as curl's `NO_PROXY` lists them.
    pub no_proxy: String,
    /// `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` of the environment decide.
    pub from_environment: bool,
    /// Headers of `CONNECT`.
    pub connect_header: BTreeMap<String, Vec<Secret>>,
}

/// Values of one header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderValues {
    /// As they are.
    pub values: Vec<String>,
    /// As they are, never printed.
    pub secrets: Vec<Secret>,
    /// Contents of files, trimmed.
    pub files: Vec<String>,
}

impl HttpClientConfig {
    pub(crate) fn from_raw(raw: &RawHttpClient) -> HttpClientConfig {
        let authentication = match (&raw.basic_auth, &raw.authorization, &raw.oauth2) {
            (Some(basic), _, _) => Some(Authentication::Basic(BasicAuth::from_raw(basic))),
            (None, Some(header), _) => Some(Authentication::Header(Authorization::from_raw(header))),
            (None, None, Some(oauth2)) => Some(Authentication::OAuth2(Box::new(OAuth2::from_raw(oauth2)))),
            (None, None, None) => None,
        };
        let headers = raw.http_headers.iter().flat_map(|h| &h.0).map(|(name, header)| {
            let values = HeaderValues {
                values: header.values.clone(),
                secrets: header.secrets.clone(),
                files: header.files.clone(),
            };
            (name.clone(), values)
        });
        HttpClientConfig {
            authentication,
            tls: TlsConfig::from_raw(&raw.tls_config),
            follow_redirects: raw.follow_redirects,
            enable_http2: raw.enable_http2,
            proxy: ProxyConfig::from_raw(&raw.proxy),
            headers: headers.collect(),
        }
    }
}

fn given_secret(secret: &Secret) -> Option<Secret> {
    (!secret.is_empty()).then(|| secret.clone())
}

impl BasicAuth {
    fn from_raw(raw: &RawBasicAuth) -> BasicAuth {
        BasicAuth {
            username: Source::of(given(&raw.username), &raw.username_file, &raw.username_ref),
            password: Source::of(given_secret(&raw.password), &raw.password_file, &raw.password_ref),
        }
    }
}

impl Authorization {
    fn from_raw(raw: &RawAuthorization) -> Authorization {
        Authorization {
            scheme: raw.kind.clone(),
            credentials: Source::of(given_secret(&raw.credentials), &raw.credentials_file, &raw.credentials_ref),
        }
    }
}

impl OAuth2 {
    fn from_raw(raw: &RawOAuth2) -> OAuth2 {
        OAuth2 {
            client_id: raw.client_id.clone(),
            client_secret: Source::of(
                given_secret(&raw.client_secret),
                &raw.client_secret_file,
                &raw.client_secret_ref,
            ),
            client_certificate_key: Source::of(
                given_secret(&raw.client_certificate_key),
                &raw.client_certificate_key_file,
                &raw.client_certificate_key_ref,
            ),
            client_certificate_key_id: raw.client_certificate_key_id.clone(),
            grant_type: raw.grant_type.clone(),
            signature_algorithm: raw.signature_algorithm.clone(),
            iss: raw.iss.clone(),
            audience: raw.audience.clone(),
            claims: raw.claims.iter().map(|(name, value)| (name.clone(), value.encode().print())).collect(),
            scopes: raw.scopes.clone(),
            token_url: raw.token_url.clone(),
            endpoint_params: raw.endpoint_params.clone(),
            tls: TlsConfig::from_raw(&raw.tls_config),
            proxy: ProxyConfig::from_raw(&raw.proxy),
        }
    }
}

impl TlsConfig {
    pub(crate) fn from_raw(raw: &RawTls) -> TlsConfig {
        TlsConfig {
            ca: Source::of(given(&raw.ca), &raw.ca_file, &raw.ca_ref),
            cert: Source::of(given(&raw.cert), &raw.cert_file, &raw.cert_ref),
            key: Source::of(given_secret(&raw.key), &raw.key_file, &raw.key_ref),
            server_name: given(&raw.server_name),
            insecure_skip_verify: raw.insecure_skip_verify,
            min_version: TlsVersion::parse(&raw.min_version.0),
            max_version: TlsVersion::parse(&raw.max_version.0),
        }
    }
}

impl ProxyConfig {
    fn from_raw(raw: &RawProxy) -> ProxyConfig {
        ProxyConfig {
            url: raw.proxy_url.clone().filter(|url| !url.reveal().is_empty()),
            no_proxy: raw.no_proxy.clone(),
            from_environment: raw.proxy_from_environment,
            connect_header: raw.proxy_connect_header.clone(),
        }
    }
}
