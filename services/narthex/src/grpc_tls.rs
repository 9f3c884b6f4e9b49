//! TLS between nodes, from a file in the form of Prometheus' web configuration.
//!
//! The certificate serves both ways: a node shows it to whoever calls it, and as a client to whom it calls. Peers are
//! trusted if an authority in `client_ca_file` vouches for them; without one, if they show this very certificate. The files
//! are read at the start. What has no meaning between nodes (passwords, headers) is refused rather than passed over.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use config::Secret;
use config::http_client::{Source, TlsVersion};
use config::web::{ClientAuth, ServerTls};
use proto::ClientTls;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

/// What a node shows and whom it trusts, as a server and as a client.
pub(crate) fn load(file: &Path) -> anyhow::Result<(Arc<ServerConfig>, ClientTls)> {
    let said = || format!("read {}", file.display());
    let text = std::fs::read_to_string(file).with_context(said)?;
    let folder = file.parent().unwrap_or(Path::new("")).to_string_lossy().into_owned();
    let web = config::parse_web(&text, &folder).with_context(|| format!("parse {}", file.display()))?;
    if !web.users.is_empty() || !web.headers.is_empty() || web.rate_limit.is_some() {
        bail!("{}: passwords, headers and rate limits have no meaning between nodes", file.display());
    }
    let tls = web.tls.with_context(|| format!("{} has no tls_server_config", file.display()))?;
    build(&tls).with_context(said)
}

fn build(tls: &ServerTls) -> anyhow::Result<(Arc<ServerConfig>, ClientTls)> {
    if tls.client_allowed_sans.is_some() || !tls.cipher_suites.is_empty() || !tls.curve_preferences.is_empty() {
        bail!("client_allowed_sans, cipher_suites and curve_preferences are not supported between nodes");
    }
    let certificate = read(&tls.cert, Clone::clone)?;
    let key = read(&tls.key, |secret: &Secret| secret.reveal().to_owned())?;
    let authorities = match &tls.client_ca {
        Some(authorities) => read(authorities, Clone::clone)?,
        None => certificate.clone(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = || {
        let mut roots = RootCertStore::empty();
        for authority in certificates(&authorities)? {
            roots.add(authority)?;
        }
        anyhow::Ok(WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()))
    };
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&versions(tls))?;
    let builder = match tls.client_auth {
        ClientAuth::NoClientCert => builder.with_no_client_auth(),
        ClientAuth::VerifyClientCertIfGiven => {
            builder.with_client_cert_verifier(verifier()?.allow_unauthenticated().build()?)
        }
        ClientAuth::RequireAndVerifyClientCert => builder.with_client_cert_verifier(verifier()?.build()?),
        ClientAuth::RequestClientCert | ClientAuth::RequireAnyClientCert => {
            bail!("certificates of other nodes are checked or not asked for: use RequireAndVerifyClientCert")
        }
    };
    let private = PrivateKeyDer::from_pem_slice(key.as_bytes()).context("read the key")?;
    let mut server = builder.with_single_cert(certificates(&certificate)?, private)?;
    server.alpn_protocols = vec![b"h2".to_vec()];
    Ok((Arc::new(server), ClientTls { authorities, identity: Some((certificate, key)) }))
}

fn versions(tls: &ServerTls) -> Vec<&'static SupportedProtocolVersion> {
    let wanted =
        |v: TlsVersion| tls.min_version.is_none_or(|min| min <= v) && tls.max_version.is_none_or(|max| v <= max);
    let known = [(TlsVersion::Tls13, &rustls::version::TLS13), (TlsVersion::Tls12, &rustls::version::TLS12)];
    known.into_iter().filter(|(version, _)| wanted(*version)).map(|(_, version)| version).collect()
}

fn read<T>(source: &Source<T>, inline: impl Fn(&T) -> String) -> anyhow::Result<String> {
    match source {
        Source::Inline(text) => Ok(inline(text)),
        Source::File(file) | Source::Reference(file) => {
            std::fs::read_to_string(file).with_context(|| format!("read {file}"))
        }
    }
}

fn certificates(pem: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let all = all.context("read certificates")?;
    if all.is_empty() {
        bail!("there is no certificate in it")
    }
    Ok(all)
}
