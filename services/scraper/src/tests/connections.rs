//! How targets are connected to: compression, credentials, TLS, redirects, proxies.

use std::io::Write;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use super::support::{Reply, Rig, Site, job, until};

fn gzipped(body: &[u8]) -> Reply {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    let mut reply = Reply::text("").with("Content-Encoding", "gzip");
    reply.body = encoder.finish().unwrap();
    reply
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gzip_is_asked_for_and_read() {
    let site = Site::start(|request| {
        if request.headers["accept-encoding"] == "gzip" { gzipped(b"a 1\n") } else { Reply::text("a 2\n") }
    })
    .await;
    let rig = Rig::start(&job("", &[&site.address])).await;
    until("a", || rig.twin.last("a") == Some(1.0)).await;
    rig.apply(&job("    enable_compression: false\n", &[&site.address])).await;
    until("a, not compressed", || rig.twin.last("a") == Some(2.0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gzip_bomb_fails_at_the_limit() {
    let bomb = gzipped(&vec![b'#'; 64 << 20]);
    assert!(bomb.body.len() < 128 << 10);
    let site = Site::start(move |_| bomb.clone()).await;
    let rig = Rig::start(&job("    body_size_limit: 1MiB\n    extra_scrape_metrics: true\n", &[&site.address])).await;
    assert_eq!(rig.failure().await, "body size limit exceeded");
    until("-1", || rig.twin.last("scrape_body_size_bytes") == Some(-1.0)).await;
}

/// A page for those who send this `Authorization`.
async fn guarded(expected: &'static str) -> Site {
    Site::start(move |request| match request.headers.get("authorization") {
        Some(got) if got == expected => Reply::text("a 1\n"),
        _ => Reply::status("401 Unauthorized"),
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_are_sent_and_their_files_read_anew() {
    let site = guarded("Basic dXNlcjpwYXNz").await;
    let rig = Rig::start(&job("    basic_auth: {username: user, password: pass}\n", &[&site.address])).await;
    rig.until_up().await;

    let site = guarded("Bearer token").await;
    let rig = Rig::start(&job("    authorization: {credentials: token}\n", &[&site.address])).await;
    rig.until_up().await;

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "old\n").unwrap();
    let lines = format!("    bearer_token_file: {}\n", file.display());
    let rig = Rig::start(&job(&lines, &[&site.address])).await;
    assert_eq!(rig.failure().await, "server returned HTTP status 401 Unauthorized");
    std::fs::write(&file, "token\n").unwrap();
    rig.until_up().await;
    std::fs::remove_file(&file).unwrap();
    until("a failure", || rig.pool().active[0].last_error.starts_with("unable to read credentials file")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_built_is_refused_and_the_old_configuration_stays() {
    let site = Site::start(|_| Reply::text("a 1\n")).await;
    let rig = Rig::start(&job("", &[&site.address])).await;
    rig.until_up().await;
    for (lines, expected) in [
        (
            "    oauth2: {client_id: x, client_secret: y, token_url: 'http://z'}\n",
            "scrape config \"j\": oauth2 is not supported",
        ),
        ("    proxy_url: socks5://x:1\n", "scrape config \"j\": only proxies with an http or https URL are supported"),
        ("    tls_config: {max_version: TLS11}\n", "scrape config \"j\": TLS before 1.2 is not supported"),
    ] {
        let refused = rig.scraper.apply_config(&super::support::parse(&job(lines, &["other:1"]))).await;
        assert_eq!(refused.unwrap_err().to_string(), expected);
    }
    let hits = site.hits();
    until("more scrapes", || site.hits() > hits + 1).await;
    assert_eq!(rig.pool().active[0].scrape_url, format!("http://{}/metrics", site.address));
}

/// A server with a certificate for `narthex.test`, and its authority in PEM.
async fn tls_site() -> (Site, String) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["narthex.test".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (Site::start_tls(TlsAcceptor::from(Arc::new(config)), |_| Reply::text("a 1\n")).await, ca_pem)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_checked_as_configured() {
    let (site, ca) = tls_site().await;
    let of = |tls: &str| {
        job(&format!("    scheme: https\n    tls_config: {tls}\n"), &[&site.address]).replace("100ms", "300ms")
    };
    let rig = Rig::start(&of("{insecure_skip_verify: true}")).await;
    rig.until_up().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    let with_ca = format!("{{ca_file: {}, server_name: narthex.test}}", file.display());
    let rig = Rig::start(&of(&with_ca)).await;
    assert!(rig.failure().await.starts_with("unable to load specified CA cert"), "{}", rig.failure().await);
    // The file comes later; nobody reloads.
    std::fs::write(&file, &ca).unwrap();
    rig.until_up().await;
    let wrong_name = format!("{{ca_file: {}}}", file.display());
    let rig = Rig::start(&of(&wrong_name)).await;
    assert!(rig.failure().await.contains("certificate not valid for name"), "{}", rig.failure().await);
    let rig = Rig::start(&of("{server_name: narthex.test}")).await;
    assert!(!rig.failure().await.is_empty());
    assert_eq!(rig.twin.last("up").unwrap_or(0.0), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_is_spoken_where_tls_agrees_on_it() {
    let key = rcgen::generate_simple_self_signed(vec!["narthex.test".to_owned()]).unwrap();
    let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.signing_key.serialize_der()));
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], der)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let router = axum::Router::new().route(
        "/metrics",
        axum::routing::get(|request: axum::extract::Request| async move {
            let is_h2 = request.version() == axum::http::Version::HTTP_2;
            ([("content-type", "text/plain; version=0.0.4")], format!("is_h2 {}\n", u8::from(is_h2)))
        }),
    );
    let server = server::Server::bind("127.0.0.1:0", Some(Arc::new(config)), server::Limits::default()).await.unwrap();
    let address = server.address().unwrap().to_string();
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let serving = tokio::spawn(server.serve(router, stopped));
    let tls = "    scheme: https\n    tls_config: {insecure_skip_verify: true}\n";
    for (http2, expected) in [("true", 1.0), ("false", 0.0)] {
        let yaml = job(&format!("{tls}    enable_http2: {http2}\n"), &[&address]).replace("100ms", "300ms");
        let rig = Rig::start(&yaml).await;
        until("a scrape", || rig.twin.last("is_h2") == Some(expected)).await;
    }
    serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_are_followed_unless_told_otherwise() {
    let site = Site::start(|request| match request.target.as_str() {
        "/metrics" => Reply::status("302 Found").with("Location", "/a?b=c"),
        "/a?b=c" => Reply::text("a 1\n"),
        other => Reply::status("302 Found").with("Location", other),
    })
    .await;
    let rig = Rig::start(&job("", &[&site.address])).await;
    rig.until_up().await;
    rig.apply(&job("    follow_redirects: false\n", &[&site.address])).await;
    assert_eq!(rig.failure().await, "server returned HTTP status 302 Found");
    rig.apply(&job("    metrics_path: /around\n", &[&site.address])).await;
    until("a circle", || rig.pool().active[0].last_error.ends_with("stopped after 10 redirects")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_gets_whole_urls() {
    let proxy = Site::start(|request| {
        assert_eq!(request.target, "http://narthex.test:1/metrics");
        assert_eq!(request.headers["proxy-authorization"], "Basic dXNlcjpwYXNz");
        assert_eq!(request.headers["x-custom"], "1");
        Reply::text("a 1\n")
    })
    .await;
    let lines = format!(
        "    proxy_url: http://user:pass@{}\n    http_headers: {{X-Custom: {{values: ['1']}}}}\n",
        proxy.address
    );
    let rig = Rig::start(&job(&lines, &["narthex.test:1"])).await;
    rig.until_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_say_what_prometheus_says() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let rig = Rig::start(&job("", &[&address])).await;
    let expected = format!("Get \"http://{address}/metrics\": dial tcp {address}: connect: connection refused");
    assert_eq!(rig.failure().await, expected);
    let site = Site::start(|_| Reply::hang()).await;
    let rig = Rig::start(&job("", &[&site.address])).await;
    assert_eq!(rig.failure().await, format!("Get \"http://{}/metrics\": context deadline exceeded", site.address));
}
