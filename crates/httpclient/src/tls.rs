//! TLS of a client, from `tls_config`.

use std::fs;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use config::Secret;
use config::http_client::{Source, TlsConfig, TlsVersion};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion};
use tokio_rustls::TlsConnector;

/// Why a client has no TLS at the moment; the files may be there the next time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("unable to load specified {what} {file}: {source}")]
    Read { what: &'static str, file: String, source: io::Error },
    #[error("unable to use specified {what}: {source}")]
    Pem { what: &'static str, source: pem::Error },
    #[error("unable to use specified {what}: no certificate in it")]
    Empty { what: &'static str },
    #[error("unable to use TLS configuration: {0}")]
    Rustls(#[from] rustls::Error),
    #[error("unable to use server_name: {0}")]
    ServerName(#[from] InvalidDnsNameError),
    #[error("unable to load system's root certificates")]
    NoSystemRoots,
}

/// TLS made of files as they were.
pub(crate) struct Tls {
    pub(crate) connector: TlsConnector,
    /// What the server is called, where not by its host.
    pub(crate) server_name: Option<ServerName<'static>>,
}

/// When the files of a TLS configuration were changed last, and how long they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(Vec<Option<(SystemTime, u64)>>);

impl Stamp {
    pub(crate) fn of(config: &TlsConfig) -> Stamp {
        fn file<T>(source: &Option<Source<T>>) -> Option<&str> {
            match source {
                Some(Source::File(file)) => Some(file),
                _ => None,
            }
        }
        let files = [file(&config.ca), file(&config.cert), file(&config.key)];
        let stamp = |file: &str| fs::metadata(file).ok().and_then(|m| Some((m.modified().ok()?, m.len())));
        Stamp(files.into_iter().flatten().map(stamp).collect())
    }
}

/// Whether every version that is allowed is older than what rustls speaks.
pub(crate) fn is_too_old(config: &TlsConfig) -> bool {
    config.max_version.is_some_and(|max| max < TlsVersion::Tls12)
}

impl Tls {
    pub(crate) fn new(config: &TlsConfig, http2: bool) -> Result<Tls, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let wanted = |v: TlsVersion| {
            config.min_version.is_none_or(|min| min <= v) && config.max_version.is_none_or(|max| v <= max)
        };
        let mut versions: Vec<&'static SupportedProtocolVersion> = Vec::new();
        if wanted(TlsVersion::Tls13) {
            versions.push(&rustls::version::TLS13);
        }
        if wanted(TlsVersion::Tls12) {
            versions.push(&rustls::version::TLS12);
        }
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(&versions)?;
        let builder = if config.insecure_skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        } else {
            builder.with_root_certificates(roots(config)?)
        };
        let mut client = match (&config.cert, &config.key) {
            (Some(cert), Some(key)) => {
                let chain = certificates("client cert", &text("client cert", cert, |t| t.clone())?)?;
                let key = text("client key", key, |secret: &Secret| secret.reveal().to_owned())?;
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
                    .map_err(|source| TlsError::Pem { what: "client key", source })?;
                builder.with_client_auth_cert(chain, key)?
            }
            _ => builder.with_no_client_auth(),
        };
        client.alpn_protocols = if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { Vec::new() };
        let server_name = config.server_name.clone().map(ServerName::try_from).transpose()?;
        Ok(Tls { connector: TlsConnector::from(Arc::new(client)), server_name })
    }
}

fn text<T>(what: &'static str, source: &Source<T>, inline: impl Fn(&T) -> String) -> Result<String, TlsError> {
    match source {
        Source::Inline(text) => Ok(inline(text)),
        Source::File(file) | Source::Reference(file) => {
            fs::read_to_string(file).map_err(|source| TlsError::Read { what, file: file.clone(), source })
        }
    }
}

fn certificates(what: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let all = all.map_err(|source| TlsError::Pem { what, source })?;
    if all.is_empty() { Err(TlsError::Empty { what }) } else { Ok(all) }
}

fn roots(config: &TlsConfig) -> Result<Arc<RootCertStore>, TlsError> {
    let Some(ca) = &config.ca else { return system_roots() };
    let mut store = RootCertStore::empty();
    for certificate in certificates("CA cert", &text("CA cert", ca, |t| t.clone())?)? {
        store.add(certificate)?;
    }
    Ok(Arc::new(store))
}

/// The system's authorities, read once: some hundred certificates, several milliseconds.
fn system_roots() -> Result<Arc<RootCertStore>, TlsError> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(store)
    });
    if roots.is_empty() { Err(TlsError::NoSystemRoots) } else { Ok(roots.clone()) }
}

/// `insecure_skip_verify`: whoever answers is believed.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
