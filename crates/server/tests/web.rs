//! `--web.config.file` over real sockets: TLS, clients' certificates, passwords, headers, files that change.
#![expect(clippy::unwrap_used, reason = "a test, though not all of it stands in test functions")]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use server::{Limits, Server, Web};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

/// The name in servers' certificates.
const NAME: &str = "narthex.test";

/// An authority.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
struct Identity {
    cert: String,
    key: String,
}

impl Authority {
    fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    fn sign(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        Identity { cert: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }
}

/// A folder with `web.yml`, and a server that follows it.
struct Running {
    folder: TempDir,
    address: SocketAddr,
    _stop: watch::Sender<bool>,
}

impl Running {
    /// Writes the files, then starts.
    async fn start(web: &str, files: &[(&str, &str)]) -> Running {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "web.yml", web);
        files.iter().for_each(|(name, text)| write(folder.path(), name, text));
        let web = Web::open(&folder.path().join("web.yml")).unwrap();
        let server = Server::bind("127.0.0.1:0", None, Limits::default()).await.unwrap().with_web(web);
        let address = server.address().unwrap();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(server.serve(Router::new().route("/", get(|| async { "hello" })), stopped));
        Running { folder, address, _stop: stop }
    }

    fn write(&self, name: &str, text: &str) {
        write(self.folder.path(), name, text);
    }

    /// The whole answer over TLS; the error says where it failed.
    async fn get_tls(&self, roots: &str, identity: Option<&Identity>, headers: &str) -> Result<String, String> {
        let mut store = RootCertStore::empty();
        store.add(CertificateDer::from_pem_slice(roots.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(store);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = vec![CertificateDer::from_pem_slice(identity.cert.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        let stream = TcpStream::connect(self.address).await.unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from(NAME).unwrap();
        let stream = connector.connect(name, stream).await.map_err(|e| format!("handshake: {e}"))?;
        get_over(stream, headers).await
    }

    async fn get_plain(&self, headers: &str) -> String {
        get_over(TcpStream::connect(self.address).await.unwrap(), headers).await.unwrap()
    }
}

/// Replaces a file whole, as whoever renews certificates does.
fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join("new"), text).unwrap();
    fs::rename(folder.join("new"), folder.join(name)).unwrap();
}

async fn get_over(mut stream: impl AsyncRead + AsyncWrite + Unpin, headers: &str) -> Result<String, String> {
    let request = format!("GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n{headers}\r\n");
    let mut answer = Vec::new();
    let told = async {
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_end(&mut answer).await
    };
    told.await.map_err(|e| format!("request: {e}"))?;
    Ok(String::from_utf8(answer).unwrap())
}

fn ok(answer: Result<String, String>) {
    let answer = answer.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"), "{answer}");
}

const TLS: &str = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n";

#[tokio::test]
async fn tls_is_spoken_and_headers_are_set() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = authority.sign(NAME);
    let web = format!("{TLS}http_server_config: {{headers: {{X-Frame-Options: deny}}}}\n");
    let running = Running::start(&web, &[("server.crt", &server.cert), ("server.key", &server.key)]).await;
    let answer = running.get_tls(&authority.pem, None, "").await;
    assert!(answer.clone().unwrap().contains("\r\nx-frame-options: deny\r\n"), "{answer:?}");
    ok(answer);
    let distrusted = running.get_tls(&other.pem, None, "").await.unwrap_err();
    assert!(distrusted.starts_with("handshake: "), "{distrusted}");
    // Plain HTTP gets no answer.
    let plain = get_over(TcpStream::connect(running.address).await.unwrap(), "").await;
    assert!(plain.as_ref().map_or(true, |answer| !answer.starts_with("HTTP/")), "{plain:?}");
}

#[tokio::test]
async fn clients_without_the_right_certificate_are_refused() {
    let (authority, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let server = authority.sign(NAME);
    let (client, stranger) = (clients.sign("client"), strangers.sign("client"));
    // What is asked for; whether nobody, a stranger and a client get in.
    for (client_auth, ca, nobody, by_stranger) in [
        ("NoClientCert", false, true, true),
        ("RequestClientCert", false, true, true),
        ("RequireAnyClientCert", false, false, true),
        ("VerifyClientCertIfGiven", true, true, false),
        ("RequireAndVerifyClientCert", true, false, false),
    ] {
        let ca = if ca { ", client_ca_file: ca.crt" } else { "" };
        let web = format!(
            "tls_server_config: {{cert_file: server.crt, key_file: server.key, client_auth_type: {client_auth}{ca}}}\n"
        );
        let files = [("server.crt", server.cert.as_str()), ("server.key", &server.key), ("ca.crt", &clients.pem)];
        let running = Running::start(&web, &files).await;
        for (identity, expected) in [(None, nobody), (Some(&stranger), by_stranger), (Some(&client), true)] {
            let answer = running.get_tls(&authority.pem, identity, "").await;
            assert_eq!(answer.is_ok(), expected, "{client_auth}: {answer:?}");
            if expected {
                ok(answer);
            }
        }
    }
}

#[tokio::test]
async fn users_come_in_with_their_password() {
    let users = |password: &str| format!("basic_auth_users: {{alice: {}}}\n", bcrypt::hash(password, 4).unwrap());
    let running = Running::start(&users("secret"), &[]).await;
    let (secret, wrong) = ("Authorization: Basic YWxpY2U6c2VjcmV0\r\n", "Authorization: Basic YWxpY2U6d3Jvbmc=\r\n");
    let stranger = "Authorization: Basic Ym9iOnNlY3JldA==\r\n";
    for refused in ["", wrong, stranger, "Authorization: Bearer secret\r\n"] {
        let answer = running.get_plain(refused).await;
        assert!(answer.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{refused}: {answer}");
        assert!(answer.contains("\r\nwww-authenticate: Basic\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nUnauthorized\n"), "{answer}");
    }
    ok(Ok(running.get_plain(secret).await));
    // The file counts as it is now.
    running.write("web.yml", &users("wrong"));
    assert!(running.get_plain(secret).await.starts_with("HTTP/1.1 401 "));
    ok(Ok(running.get_plain(wrong).await));
    running.write("web.yml", "basic_auth_users: [\n");
    let answer = running.get_plain(wrong).await;
    assert!(answer.starts_with("HTTP/1.1 500 ") && answer.ends_with("\r\n\r\nInternal Server Error\n"), "{answer}");
    running.write("web.yml", "");
    ok(Ok(running.get_plain("").await));
}

#[tokio::test]
async fn renewed_certificates_are_used_by_the_next_connection() {
    let (before, after) = (Authority::new(), Authority::new());
    let (old, new) = (before.sign(NAME), after.sign(NAME));
    let running = Running::start(TLS, &[("server.crt", &old.cert), ("server.key", &old.key)]).await;
    ok(running.get_tls(&before.pem, None, "").await);
    running.write("server.crt", &new.cert);
    // A certificate without its key is nobody's.
    assert!(running.get_tls(&after.pem, None, "").await.is_err());
    running.write("server.key", &new.key);
    ok(running.get_tls(&after.pem, None, "").await);
    assert!(running.get_tls(&before.pem, None, "").await.is_err());
    // TLS does not go away by an edit.
    running.write("web.yml", "");
    assert!(running.get_tls(&after.pem, None, "").await.is_err());
    running.write("web.yml", TLS);
    ok(running.get_tls(&after.pem, None, "").await);
}

#[test]
fn what_cannot_be_done_is_refused_with_a_reason() {
    let server = Authority::new().sign(NAME);
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "server.crt", &server.cert);
    write(folder.path(), "server.key", &server.key);
    write(folder.path(), "empty", "");
    let tls = |more: &str| format!("tls_server_config: {{cert_file: server.crt, key_file: server.key, {more}}}");
    for (web, expected) in [
        ("rate_limit: {burst: 1, interval: 1s}".to_owned(), "rate_limit is not supported by this version"),
        (
            tls("client_allowed_sans: [a], client_auth_type: RequireAnyClientCert"),
            "client_allowed_sans is not supported",
        ),
        (tls("client_auth_type: RequireAndVerifyClientCert"), "certificates without client_ca_file is not supported"),
        (tls("max_version: TLS11, min_version: TLS10"), "TLS before 1.2 is not supported"),
        (tls("curve_preferences: [CurveP521]"), "CurveP521 is not supported"),
        (
            tls("cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]"),
            "cipher suite TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA is not supported",
        ),
        ("tls_server_config: {cert_file: empty, key_file: server.key}".to_owned(), "use cert: no certificate in it"),
        ("tls_server_config: {cert_file: server.crt, key_file: empty}".to_owned(), "use key: "),
        ("tls_server_config: {cert_file: gone, key_file: server.key}".to_owned(), "gone: No such file"),
        ("tls_server_config: {cert_file: server.crt}".to_owned(), "missing one of key or key_file"),
        ("basic_auth_users: {a: b}".to_owned(), "hashedSecret too short to be a bcrypted password"),
    ] {
        write(folder.path(), "web.yml", &web);
        let error = Web::open(&folder.path().join("web.yml")).err().map(|e| storage::chain(&e)).unwrap_or_default();
        assert!(error.contains("web.yml") || error.contains("gone"), "{web}: {error}");
        assert!(error.contains(expected), "{web}: {error}");
    }
    let good = "cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256], curve_preferences: [X25519, CurveP256], max_version: TLS12";
    write(folder.path(), "web.yml", &tls(good));
    assert!(Web::open(&folder.path().join("web.yml")).unwrap().has_tls());
}
