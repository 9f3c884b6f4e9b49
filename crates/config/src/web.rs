//! The file of `--web.config.file`: TLS, passwords, headers and limits of the server. Files that it names are not read here.
//! Source: `web/tls_config.go` and `handler.go` of prometheus/exporter-toolkit.

use std::collections::BTreeMap;

use crate::error::Refused;
use crate::go;
use crate::http_client::{Source, TlsVersion};
use crate::raw::text::{MaybeList, checked_string};
use crate::read::read_into;
use crate::secret::Secret;
use crate::yaml::decode::Int64;
use crate::yaml::record::{Paths, no_paths};
use crate::yaml::scalar::Scalar;
use crate::yaml::{Decode, Decoder, Encode, Fail, NodeId, Out, Refusal, record, refuse, refuse_at};

/// How the server is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct WebConfig {
    /// TLS; without it the server speaks plain HTTP.
    pub tls: Option<ServerTls>,
    /// HTTP/2 is offered (over TLS).
    pub http2: bool,
    /// Headers of every response; of the five that may be set.
    pub headers: BTreeMap<String, String>,
    /// How many requests are taken.
    pub rate_limit: Option<RateLimit>,
    /// bcrypt hashes of passwords by user; empty where everyone may come in.
    pub users: BTreeMap<String, Secret>,
}

/// TLS of the server.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerTls {
    /// The certificate and those up to the authority, in PEM.
    pub cert: Source<String>,
    /// The key, in PEM.
    pub key: Source<Secret>,
    /// What is asked of clients.
    pub client_auth: ClientAuth,
    /// Authorities of clients' certificates, in PEM.
    pub client_ca: Option<Source<String>>,
    /// Names of which a client's certificate must have one; `None` asks for none.
    pub client_allowed_sans: Option<Vec<String>>,
    /// Oldest version.
    pub min_version: Option<TlsVersion>,
    /// Newest version.
    pub max_version: Option<TlsVersion>,
    /// Names of the ciphers up to TLS 1.2; empty where all are.
    pub cipher_suites: Vec<String>,
    /// The server's order of ciphers counts.
    pub prefer_server_cipher_suites: bool,
    /// Curves in order; empty where all are.
    pub curve_preferences: Vec<Curve>,
}

/// What is asked of clients, after Go's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// Nothing.
    NoClientCert,
    /// A certificate, which may be missing, and is not checked.
    RequestClientCert,
    /// A certificate, which is not checked.
    RequireAnyClientCert,
    /// A certificate, which may be missing, and is checked.
    VerifyClientCertIfGiven,
    /// A certificate, which is checked.
    RequireAndVerifyClientCert,
}

/// Groups for the exchange of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// `CurveP256`
    P256,
    /// `CurveP384`
    P384,
    /// `CurveP521`
    P521,
    /// `X25519`
    X25519,
}

/// How many requests are taken: one each `interval_ns`, and up to `burst` at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests at once.
    pub burst: i64,
    /// Nanoseconds between requests; not 0.
    pub interval_ns: i64,
}

record! {
    struct RawWeb as "web.Config" in "web.Config" [] {
        tls_server_config: RawServerTls = "tls_server_config" [];
        http_server_config: RawHttp = "http_server_config" [];
        rate_limit: RawRateLimit = "rate_limit" [];
        basic_auth_users: BTreeMap<String, Secret> = "basic_auth_users" [];
    }
}

record! {
    struct RawServerTls as "web.TLSConfig" in "web.TLSConfig" [] {
        cert: String = "cert" [];
        key: Secret = "key" [];
        client_ca: String = "client_ca" [];
        cert_file: String = "cert_file" [path];
        key_file: String = "key_file" [path];
        client_auth_type: String = "client_auth_type" [];
        client_ca_file: String = "client_ca_file" [path];
        cipher_suites: Vec<CipherName> = "cipher_suites" [];
        curve_preferences: Vec<CurveName> = "curve_preferences" [];
        min_version: VersionName = "min_version" [];
        max_version: VersionName = "max_version" [];
        prefer_server_cipher_suites: bool = "prefer_server_cipher_suites" [];
        client_allowed_sans: MaybeList<String> = "client_allowed_sans" [];
    }
}

record! {
    struct RawHttp as "web.HTTPConfig" in "web.HTTPConfig" [] {
        http2: bool = "http2" [];
        headers: BTreeMap<String, String> = "headers" [];
    }
}

record! {
    struct RawRateLimit as "web.RateLimiterConfig" in "web.RateLimiterConfig" [] {
        burst: i64 = "burst" [];
        interval: GoDuration = "interval" [];
    }
}

/// Ciphers that Go 1.26 knows and thinks secure.
const CIPHERS: [&str; 13] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
];

checked_string! {
    struct CipherName as "web.Cipher", |name| match name {
        name if CIPHERS.contains(&name) => Ok(()),
        other => Err(format!("unknown cipher: {other}")),
    }
}

checked_string! {
    struct CurveName as "web.Curve", |name| match Curve::parse(name) {
        Some(_) => Ok(()),
        None => Err(format!("unknown curve: {name}")),
    }
}

checked_string! {
    struct VersionName as "web.TLSVersion", |name| match TlsVersion::parse(name) {
        Some(_) => Ok(()),
        None => Err(format!("unknown TLS version: {name}")),
    }
}

impl Curve {
    /// The curve of that name.
    pub fn parse(name: &str) -> Option<Curve> {
        match name {
            "CurveP256" => Some(Curve::P256),
            "CurveP384" => Some(Curve::P384),
            "CurveP521" => Some(Curve::P521),
            "X25519" => Some(Curve::X25519),
            _ => None,
        }
    }
}

/// Reads and checks the file's text; relative names in it are relative to `dir`.
pub fn parse_web(text: &str, dir: &str) -> Result<WebConfig, Refused> {
    let mut raw = RawWeb {
        tls_server_config: RawServerTls {
            min_version: VersionName("TLS12".to_owned()),
            max_version: VersionName("TLS13".to_owned()),
            prefer_server_cipher_suites: true,
            ..RawServerTls::default()
        },
        http_server_config: RawHttp { http2: true, ..RawHttp::default() },
        ..RawWeb::default()
    };
    read_into(text, &mut raw)?;
    raw.set_directory(dir);
    let at = |block: crate::Position| {
        if block == crate::Position::default() { crate::Position { line: 1, column: 1 } } else { block }
    };
    let refused = |block, refusal: Refusal| Refused::Value { at: at(block), text: refusal.into_text() };
    let http = &raw.http_server_config;
    check_headers(&http.headers).map_err(|e| refused(http.at, e))?;
    raw.basic_auth_users.values().try_for_each(|hash| check_bcrypt(hash.reveal())).map_err(|e| refused(raw.at, e))?;
    let tls = raw.tls_server_config.validate().map_err(|e| refused(raw.tls_server_config.at, e))?;
    let limit = &raw.rate_limit;
    Ok(WebConfig {
        tls,
        http2: http.http2,
        headers: http.headers.clone(),
        rate_limit: (limit.interval.0 != 0).then_some(RateLimit { burst: limit.burst, interval_ns: limit.interval.0 }),
        users: raw.basic_auth_users.clone(),
    })
}

fn check_headers(headers: &BTreeMap<String, String>) -> Result<(), Refusal> {
    for (name, value) in headers {
        let allowed: &[&str] = match name.as_str() {
            "X-Content-Type-Options" => &["nosniff"],
            "X-Frame-Options" => &["deny", "sameorigin"],
            "Strict-Transport-Security" | "X-XSS-Protection" | "Content-Security-Policy" => continue,
            other => {
                return refuse_at("headers", format!("HTTP header {} can not be configured", go::quote(other)));
            }
        };
        if !allowed.contains(&value.as_str()) {
            let allowed: Vec<String> = allowed.iter().map(|v| go::quote(v)).collect();
            let text = format!(
                "invalid value for {name}. Expected one of: [{}], but got: {}",
                allowed.join(" "),
                go::quote(value)
            );
            return refuse_at("headers", text);
        }
    }
    Ok(())
}

/// Whether `hash` has the shape of a bcrypt hash: `$2b$10$` and 53 characters. Source: `bcrypt.Cost` of x/crypto.
fn check_bcrypt(hash: &str) -> Result<(), Refusal> {
    const BYTES_MIN: usize = 59;
    let bytes = hash.as_bytes();
    if bytes.len() < BYTES_MIN {
        return refuse("crypto/bcrypt: hashedSecret too short to be a bcrypted password");
    }
    if bytes[0] != b'$' {
        let first = char::from(bytes[0]);
        return refuse(format!(
            "crypto/bcrypt: bcrypt hashes must start with '$', but hashedSecret started with '{first}'"
        ));
    }
    if bytes[1] > b'2' {
        let version = char::from(bytes[1]);
        return refuse(format!(
            "crypto/bcrypt: bcrypt algorithm version '{version}' requested is newer than current version '2'"
        ));
    }
    let cost_at = if bytes[2] == b'$' { 3 } else { 4 };
    let cost_text = String::from_utf8_lossy(&bytes[cost_at..cost_at + 2]).into_owned();
    match cost_text.parse::<i64>() {
        Ok(4..=31) => Ok(()),
        Ok(cost) => refuse(format!("crypto/bcrypt: cost {cost} is outside allowed inclusive range 4..31")),
        Err(_) => refuse(format!("strconv.Atoi: parsing {}: invalid syntax", go::quote(&cost_text))),
    }
}

fn source<T>(file: &str, inline: Option<T>) -> Option<Source<T>> {
    if file.is_empty() { inline.map(Source::Inline) } else { Some(Source::File(file.to_owned())) }
}

impl RawServerTls {
    fn validate(&self) -> Result<Option<ServerTls>, Refusal> {
        let text = |text: &String| (!text.is_empty()).then(|| text.clone());
        let cert = source(&self.cert_file, text(&self.cert));
        let key = source(&self.key_file, (!self.key.is_empty()).then(|| self.key.clone()));
        let client_ca = source(&self.client_ca_file, text(&self.client_ca));
        if cert.is_none() && key.is_none() && client_ca.is_none() && self.client_auth_type.is_empty() {
            return Ok(None);
        }
        let Some(cert) = cert else { return refuse("missing one of cert or cert_file") };
        let Some(key) = key else { return refuse("missing one of key or key_file") };
        let client_auth = match self.client_auth_type.as_str() {
            "" | "NoClientCert" => ClientAuth::NoClientCert,
            "RequestClientCert" => ClientAuth::RequestClientCert,
            // The second is an old name.
            "RequireAnyClientCert" | "RequireClientCert" => ClientAuth::RequireAnyClientCert,
            "VerifyClientCertIfGiven" => ClientAuth::VerifyClientCertIfGiven,
            "RequireAndVerifyClientCert" => ClientAuth::RequireAndVerifyClientCert,
            other => return refuse_at("client_auth_type", format!("invalid ClientAuth: {other}")),
        };
        if client_ca.is_some() && client_auth == ClientAuth::NoClientCert {
            return refuse("client CA's have been configured without a Client Auth Policy");
        }
        Ok(Some(ServerTls {
            cert,
            key,
            client_auth,
            client_ca,
            client_allowed_sans: self.client_allowed_sans.0.clone(),
            min_version: TlsVersion::parse(&self.min_version.0),
            max_version: TlsVersion::parse(&self.max_version.0),
            cipher_suites: self.cipher_suites.iter().map(|c| c.0.clone()).collect(),
            prefer_server_cipher_suites: self.prefer_server_cipher_suites,
            curve_preferences: self.curve_preferences.iter().filter_map(|c| Curve::parse(&c.0)).collect(),
        }))
    }
}

/// Go's own durations: `1.5s`, `2h45m`, or a number of nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct GoDuration(i64);

impl GoDuration {
    fn parse(text: &str) -> Option<i64> {
        let negative = text.starts_with('-');
        let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
        if rest == "0" {
            return Some(0);
        }
        if rest.is_empty() {
            return None;
        }
        let mut total: i128 = 0;
        while !rest.is_empty() {
            let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let (digits, behind) = rest.split_at(number);
            let unit = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
            let (unit, behind) = behind.split_at(unit);
            let scale: i128 = match unit {
                "ns" => 1,
                "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
                "ms" => 1_000_000,
                "s" => 1_000_000_000,
                "m" => 60_000_000_000,
                "h" => 3_600_000_000_000,
                _ => return None,
            };
            let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
            if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || digits.len() > 18 {
                return None;
            }
            let places = u32::try_from(fraction.len()).ok()?;
            let value = |s: &str| if s.is_empty() { Some(0) } else { s.parse::<i128>().ok() };
            total += value(whole)? * scale + value(fraction)? * scale / 10i128.pow(places);
            rest = behind;
        }
        i64::try_from(if negative { -total } else { total }).ok()
    }
}

impl Decode for GoDuration {
    fn type_name() -> String {
        "time.Duration".to_owned()
    }
    fn scalar(&mut self, d: &mut Decoder<'_>, id: NodeId, scalar: &Scalar) -> Result<bool, Fail> {
        if *scalar == Scalar::Str {
            let Some(ns) = GoDuration::parse(d.source_text(id)) else {
                d.mismatch(id, "!!str", "time.Duration");
                return Ok(false);
            };
            self.0 = ns;
            return Ok(true);
        }
        let mut ns = Int64::default();
        let good = ns.scalar(d, id, scalar)?;
        self.0 = ns.0;
        Ok(good)
    }
}

impl Encode for GoDuration {
    fn is_zero(&self) -> bool {
        self.0 == 0
    }
    fn encode(&self) -> Out {
        self.0.encode()
    }
}

no_paths!(GoDuration);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_read() {
        let text = "
tls_server_config:
  cert_file: server.crt
  key_file: /keys/server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
  client_allowed_sans: [a.example]
  min_version: TLS13
  cipher_suites: [TLS_AES_128_GCM_SHA256]
  curve_preferences: [X25519]
http_server_config:
  http2: false
  headers:
    X-Frame-Options: deny
rate_limit:
  burst: 10
  interval: 1.5s
basic_auth_users:
  alice: $2y$10$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze
";
        let web = parse_web(text, "/etc/narthex").unwrap();
        let tls = web.tls.unwrap();
        assert_eq!(tls.cert, Source::File("/etc/narthex/server.crt".to_owned()));
        assert_eq!(tls.key, Source::File("/keys/server.key".to_owned()));
        assert_eq!(tls.client_auth, ClientAuth::RequireAndVerifyClientCert);
        assert_eq!((tls.min_version, tls.max_version), (Some(TlsVersion::Tls13), Some(TlsVersion::Tls13)));
        assert_eq!(tls.client_allowed_sans, Some(vec!["a.example".to_owned()]));
        assert_eq!(web.rate_limit, Some(RateLimit { burst: 10, interval_ns: 1_500_000_000 }));
        assert!(!web.http2);
        assert_eq!(web.users.len(), 1);
        assert_eq!(parse_web("", "/").unwrap().tls, None);
    }

    #[test]
    fn a_bad_file_is_refused_in_the_toolkits_words() {
        for (text, expected) in [
            ("tls_server_config: {cert_file: a}", "missing one of key or key_file"),
            ("tls_server_config: {key_file: a}", "missing one of cert or cert_file"),
            ("tls_server_config: {client_auth_type: x}", "missing one of cert or cert_file"),
            ("tls_server_config: {cert: a, key: b, client_auth_type: x}", "invalid ClientAuth: x"),
            (
                "tls_server_config: {cert: a, key: b, client_ca: c}",
                "client CA's have been configured without a Client Auth Policy",
            ),
            ("tls_server_config: {min_version: TLS14}", "unknown TLS version: TLS14"),
            ("tls_server_config: {cipher_suites: [x]}", "unknown cipher: x"),
            ("tls_server_config: {curve_preferences: [x]}", "unknown curve: x"),
            (
                "http_server_config: {headers: {X-Frame-Options: x}}",
                r#"invalid value for X-Frame-Options. Expected one of: ["deny" "sameorigin"], but got: "x""#,
            ),
            ("http_server_config: {headers: {X: x}}", r#"HTTP header "X" can not be configured"#),
            ("basic_auth_users: {a: b}", "crypto/bcrypt: hashedSecret too short to be a bcrypted password"),
            ("x: 1", "yaml: unmarshal errors:\n  line 1: field x not found in type web.Config"),
        ] {
            assert_eq!(parse_web(text, "/").unwrap_err().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn gos_durations_are_read() {
        for (text, ns) in [
            ("1s", Some(1_000_000_000)),
            ("1h2m3.5s", Some(3_723_500_000_000)),
            ("100us", Some(100_000)),
            ("-.5s", Some(-500_000_000)),
            ("0", Some(0)),
            ("1", None),
            (".s", None),
            ("", None),
            ("1.2.3s", None),
        ] {
            assert_eq!(GoDuration::parse(text), ns, "{text}");
        }
    }
}
