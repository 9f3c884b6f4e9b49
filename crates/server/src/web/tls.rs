//! `tls_server_config` for rustls.

use std::path::Path;
use std::sync::Arc;

use config::Secret;
use config::http_client::{Source, TlsVersion};
use config::web::{ClientAuth, Curve, ServerTls};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring::kx_group;
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme, SupportedProtocolVersion,
};

use super::{WebError, read};

/// What a connection is accepted with. `file` is named in errors.
pub(super) fn server_config(file: &Path, tls: &ServerTls, http2: bool) -> Result<ServerConfig, WebError> {
    let unusable = |what, e: rustls::Error| WebError::Tls { path: file.to_owned(), what, why: e.to_string() };
    let provider = Arc::new(provider(file, tls)?);
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions(file, tls)?)
        .map_err(|e| unusable("TLS versions and ciphers", e))?;
    let builder = match client_verifier(file, tls, &provider)? {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier),
    };
    let chain = certificates(file, "cert", &source(&tls.cert, |text: &String| text.clone())?)?;
    let key = source(&tls.key, |secret: &Secret| secret.reveal().to_owned())?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|e| WebError::Tls {
        path: file.to_owned(),
        what: "key",
        why: e.to_string(),
    })?;
    let mut config = builder.with_single_cert(chain, key).map_err(|e| unusable("cert and key", e))?;
    config.ignore_client_order = tls.prefer_server_cipher_suites;
    config.alpn_protocols = if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
    Ok(config)
}

fn unsupported<T>(file: &Path, what: impl Into<String>) -> Result<T, WebError> {
    Err(WebError::Unsupported { path: file.to_owned(), what: what.into() })
}

fn versions(file: &Path, tls: &ServerTls) -> Result<Vec<&'static SupportedProtocolVersion>, WebError> {
    let wanted =
        |v: TlsVersion| tls.min_version.is_none_or(|min| min <= v) && tls.max_version.is_none_or(|max| v <= max);
    let all = [(TlsVersion::Tls13, &rustls::version::TLS13), (TlsVersion::Tls12, &rustls::version::TLS12)];
    let versions: Vec<_> = all.into_iter().filter(|(v, _)| wanted(*v)).map(|(_, version)| version).collect();
    if versions.is_empty() { unsupported(file, "TLS before 1.2") } else { Ok(versions) }
}

/// Ciphers and groups. Names of ciphers choose among those of TLS 1.2 alone, as in Go.
fn provider(file: &Path, tls: &ServerTls) -> Result<CryptoProvider, WebError> {
    let mut provider = ring::default_provider();
    let is_tls13 = |name: &str| !name.contains("_WITH_");
    // rustls calls those of TLS 1.3 TLS13_AES_…
    let name = |suite: &rustls::SupportedCipherSuite| format!("{:?}", suite.suite()).replace("TLS13_", "TLS_");
    if !tls.cipher_suites.is_empty() {
        let known: Vec<String> = provider.cipher_suites.iter().map(name).collect();
        if let Some(unknown) = tls.cipher_suites.iter().find(|wanted| !known.contains(wanted)) {
            return unsupported(file, format!("cipher suite {unknown}"));
        }
        provider.cipher_suites.retain(|suite| is_tls13(&name(suite)) || tls.cipher_suites.contains(&name(suite)));
    }
    if !tls.curve_preferences.is_empty() {
        provider.kx_groups.clear();
        for curve in &tls.curve_preferences {
            provider.kx_groups.push(match curve {
                Curve::P256 => kx_group::SECP256R1,
                Curve::P384 => kx_group::SECP384R1,
                Curve::X25519 => kx_group::X25519,
                Curve::P521 => return unsupported(file, "CurveP521"),
            });
        }
    }
    Ok(provider)
}

fn client_verifier(
    file: &Path,
    tls: &ServerTls,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, WebError> {
    if tls.client_allowed_sans.is_some() {
        return unsupported(file, "client_allowed_sans");
    }
    let unverified =
        |mandatory| -> Arc<dyn ClientCertVerifier> { Arc::new(Anybody { mandatory, provider: provider.clone() }) };
    let verified_where_given = match tls.client_auth {
        ClientAuth::NoClientCert => return Ok(None),
        ClientAuth::RequestClientCert => return Ok(Some(unverified(false))),
        ClientAuth::RequireAnyClientCert => return Ok(Some(unverified(true))),
        ClientAuth::VerifyClientCertIfGiven => true,
        ClientAuth::RequireAndVerifyClientCert => false,
    };
    let Some(ca) = &tls.client_ca else {
        return unsupported(file, "checking clients' certificates without client_ca_file");
    };
    let unusable = |why: String| WebError::Tls { path: file.to_owned(), what: "client_ca", why };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file, "client_ca", &source(ca, |text: &String| text.clone())?)? {
        roots.add(certificate).map_err(|e| unusable(e.to_string()))?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    if verified_where_given {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map(|v| Some(v as Arc<dyn ClientCertVerifier>)).map_err(|e| unusable(e.to_string()))
}

fn source<T>(source: &Source<T>, inline: impl Fn(&T) -> String) -> Result<String, WebError> {
    match source {
        Source::Inline(text) => Ok(inline(text)),
        Source::File(file) | Source::Reference(file) => read(Path::new(file)),
    }
}

fn certificates(file: &Path, what: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, WebError> {
    let unusable = |why: String| WebError::Tls { path: file.to_owned(), what, why };
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let all = all.map_err(|e| unusable(e.to_string()))?;
    if all.is_empty() { Err(unusable("no certificate in it".to_owned())) } else { Ok(all) }
}

/// Takes every certificate whose key the client holds: `RequestClientCert` and `RequireAnyClientCert`.
#[derive(Debug)]
struct Anybody {
    mandatory: bool,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Anybody {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
