//! A cluster of all six roles that speaks TLS with certificates of both sides, over HTTP and gRPC.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::cluster::{Cluster, PATIENCE};
use e2e::narthex::binary;
use e2e::write::{self, Series};
use e2e::{Response, now_ms, percent, wait};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
const ROLES: [&str; 6] = ["ruler", "ingester", "store", "distributor", "querier", "scraper"];
/// What an HTTP/2 client says first, and settings without a setting (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Bytes of the head of a frame, and where in it its type lies; that of settings.
const FRAME_HEAD_BYTES: usize = 9;
const FRAME_TYPE: usize = 3;
const SETTINGS: u8 = 4;

type Tls = Arc<ClientConfig>;

/// An authority that vouches for nodes and clients.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Result<Authority> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(Authority(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// A certificate for this machine, and its key.
    fn certificate(&self) -> Result<(String, String)> {
        let key = KeyPair::generate()?;
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        Ok((params.signed_by(&key, &self.0)?.pem(), key.serialize_pem()))
    }

    /// A client that trusts this authority and shows this certificate, if any.
    fn client(&self, shown: Option<&(String, String)>, protocol: &[u8]) -> Result<Tls> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.0.pem().as_bytes())?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = builder.with_root_certificates(roots);
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder.with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes())?],
                PrivateKeyDer::from_pem_slice(key.as_bytes())?,
            )?,
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(Arc::new(config))
    }
}

fn connect(address: &str, tls: &Tls) -> Result<StreamOwned<ClientConnection, TcpStream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    let connection = ClientConnection::new(tls.clone(), ServerName::try_from("127.0.0.1")?)?;
    Ok(StreamOwned::new(connection, stream))
}

/// One request, in HTTP/1.0: the answer ends with the connection.
fn http(address: &str, tls: &Tls, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<Response> {
    let mut stream = connect(address, tls)?;
    let head = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {}\r\n{kind}\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        // The end was not announced; whether all came, the length says.
        Err(e) if e.kind() == ErrorKind::UnexpectedEof && !answer.is_empty() => {}
        Err(e) => return Err(e.into()),
    }
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").context("no end of the head")?;
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).context("no status")?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let body = answer.split_off(end + 4);
    ensure!(length.is_none_or(|length| length.parse() == Ok(body.len())), "{} bytes, not {length:?}", body.len());
    Ok(Response { status, body })
}

fn get(address: &str, tls: &Tls, path: &str) -> Result<Response> {
    http(address, tls, "GET", path, "", &[])
}

/// Whether a server takes part in HTTP/2, which gRPC is: it answers with its settings.
fn http2(address: &str, tls: &Tls) -> Result<()> {
    let mut stream = connect(address, tls)?;
    stream.write_all(PREFACE)?;
    stream.flush()?;
    let mut frame = [0; FRAME_HEAD_BYTES];
    stream.read_exact(&mut frame)?;
    ensure!(frame[FRAME_TYPE] == SETTINGS, "{frame:?}");
    Ok(())
}

/// The answer to a query, and its warnings.
fn query(address: &str, tls: &Tls, expr: &str) -> Result<Value> {
    let path = format!("/api/v1/query?query={}&time={}", percent(expr), now_ms() / 1000);
    let response = get(address, tls, &path)?;
    ensure!(response.status == 200, "{}", response.excerpt());
    Ok(serde_json::from_slice(&response.body)?)
}

fn until_number(address: &str, tls: &Tls, expr: &str, expected: &str) -> Result<()> {
    wait::until_ok(expr, PATIENCE, || {
        let answer = query(address, tls, expr)?;
        ensure!(answer.get("warnings").is_none(), "{answer}");
        ensure!(answer["data"]["result"][0]["value"][1] == expected, "{answer}");
        Ok(())
    })
}

/// Writes the files of a node: certificates, and what both listeners are to do with them.
fn write_files(folder: &Path, authority: &Authority) -> Result<()> {
    let (certificate, key) = authority.certificate()?;
    let web = "tls_server_config:\n  cert_file: node.crt\n  key_file: node.key\n  client_ca_file: ca.crt\n  client_auth_type: \
               RequireAndVerifyClientCert\n";
    for (file, text) in [
        ("ca.crt", authority.0.pem().as_str()),
        ("node.crt", &certificate),
        ("node.key", &key),
        ("web.yml", web),
        ("grpc.yml", web),
    ] {
        std::fs::write(folder.join(file), text).with_context(|| format!("write {file}"))?;
    }
    Ok(())
}

fn start(folder: &Path) -> Result<Cluster> {
    let mut cluster = Cluster::new(folder, 3)?;
    for zone in ["z1", "z2", "z3"] {
        cluster.add("ingester", zone)?;
    }
    for role in &ROLES[2..] {
        cluster.add(role, "z1")?;
    }
    for (flag, file) in [("web", "web.yml"), ("grpc", "grpc.yml")] {
        cluster.flags.push(format!("--{flag}.config.file={}", folder.join(file).display()));
    }
    let file = |name: &str| folder.join(name).display().to_string();
    cluster.config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n- job_name: narthex\n  scheme: https\n  \
         tls_config: {{ca_file: '{}', cert_file: '{}', key_file: '{}'}}\n  static_configs:\n  - targets: ['{}', '{}']\n",
        file("ca.crt"),
        file("node.crt"),
        file("node.key"),
        cluster.http("ruler-1"),
        cluster.http("distributor-1"),
    );
    cluster.launch_all()?;
    Ok(cluster)
}

/// `narthex admin voters` with these flags besides.
fn voters(cluster: &Cluster, flags: &[String]) -> Result<std::process::Output> {
    let mut command = Command::new(binary()?);
    command.args(["admin", "voters", "--cluster.name=c"]).args(flags);
    command.arg(format!("--cluster.control-plane={}", cluster.grpc("ruler-2")));
    command.output().context("run narthex admin")
}

#[test]
fn all_six_roles_speak_tls_with_certificates_of_both_sides_and_refuse_whoever_has_none() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (authority, other) = (Authority::new()?, Authority::new()?);
    write_files(folder.path(), &authority)?;
    let (known, strange) = (authority.certificate()?, other.certificate()?);
    let web = authority.client(Some(&known), b"http/1.1")?;
    let mut cluster = start(folder.path())?;
    for name in cluster.names() {
        wait::until_ok(&format!("{name} is ready"), PATIENCE, || {
            // What has ended will not be ready.
            let ended = cluster.has_ended(&name);
            let answer = get(cluster.http(&name), &web, "/-/ready");
            let answer = answer.with_context(|| format!("ended: {ended}\n{}", cluster.log(&name)))?;
            ensure!(answer.status == 200, "{}", answer.excerpt());
            Ok(())
        })?;
    }

    // Written through both front doors, scraped, and answered.
    let querier = cluster.http("querier-1").to_owned();
    for (door, value) in [("querier-1", 1.0), ("distributor-1", 2.0)] {
        let sample = Series { samples: vec![(now_ms() - 1000, value)], ..Series::new("written", &[("by", door)]) };
        let body = write::compress(&write::encode(&[sample]))?;
        let kind = "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n";
        wait::until_ok(&format!("{door} acknowledges"), PATIENCE, || {
            match http(cluster.http(door), &web, "POST", "/api/v1/write", kind, &body)? {
                Response { status: 204, .. } => Ok(()),
                answer => bail!("status {}: {}", answer.status, answer.excerpt()),
            }
        })?;
    }
    until_number(&querier, &web, "sum(sum_over_time(written[1h]))", "3")?;
    until_number(&querier, &web, "count(max_over_time(up{job=\"narthex\"}[1h]) == 1)", "2")?;

    // Who shows no certificate, that of another authority, or does not speak TLS at all, is refused by every node on both ports.
    for name in cluster.names() {
        let (page, nodes) = (cluster.http(&name), cluster.grpc(&name));
        for (who, shown, is_welcome) in
            [("a peer", Some(&known), true), ("nobody", None, false), ("a stranger", Some(&strange), false)]
        {
            let page = get(page, &authority.client(shown, b"http/1.1")?, "/-/healthy");
            ensure!(page.is_ok_and(|answer| answer.status == 200) == is_welcome, "{name} over HTTP: {who}");
            let nodes = http2(nodes, &authority.client(shown, b"h2")?);
            ensure!(nodes.is_ok() == is_welcome, "{name} over gRPC: {who}: {nodes:?}");
        }
        for address in [page, nodes] {
            let clear = e2e::Client::new(address, ANSWER_TIMEOUT).get("/-/healthy");
            ensure!(clear.is_err(), "{name}: in the clear: {clear:?}");
        }
    }

    // An operator shows a certificate, too.
    let shown = voters(&cluster, &[format!("--grpc.config.file={}", folder.path().join("grpc.yml").display())])?;
    let said = String::from_utf8_lossy(&shown.stdout).into_owned();
    ensure!(shown.status.success() && said.lines().count() == 3 && said.contains(" ruler-3 "), "{shown:?}");
    let hidden = voters(&cluster, &["--timeout=1s".to_owned()])?;
    ensure!(hidden.status.code() == Some(1) && hidden.stdout.is_empty(), "{hidden:?}");
    Ok(())
}
