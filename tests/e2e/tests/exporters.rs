//! Targets of other kinds: a Pushgateway, a blackbox exporter behind relabelling, a FastAPI application.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::narthex::{Server, Setup};
use e2e::process::{self, Process, free_port};
use e2e::{Client, now_ms, peer, wait};

const TIMEOUT: Duration = Duration::from_secs(60);
const GLOBAL: &str = "global:\n  scrape_interval: 250ms\n  scrape_timeout: 250ms\nscrape_configs:\n";

fn start(command: Command, folder: &Path, address: &str, ready: &str) -> Result<Process> {
    let mut process = Process::start(command, &folder.join("peer.log"))?;
    process.until_ready(address, ready, TIMEOUT)?;
    Ok(process)
}

/// Waits until an expression gives this one value.
fn until_value(server: &mut Server, expr: &str, expected: f64) -> Result<()> {
    let mut last = None;
    let came = wait::until(&format!("{expr} is {expected}"), TIMEOUT, || {
        server.process.ensure_running()?;
        let answer = server.query(expr, now_ms())?;
        last = Some(format!("{answer:?}"));
        Ok((answer.number() == Some(expected)).then_some(()))
    });
    came.with_context(|| format!("{last:?}\n{}", server.process.log_tail()))
}

#[test]
fn a_pushgateway_keeps_the_labels_that_were_pushed() -> Result<()> {
    let Some(program) = peer::find("PUSHGATEWAY")? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let address = format!("127.0.0.1:{}", free_port()?);
    let mut command = process::command(&program);
    command.arg(format!("--web.listen-address={address}"));
    let _gateway = start(command, folder.path(), &address, "/-/ready")?;
    let pushed = "# TYPE batch_rows_total counter\nbatch_rows_total{kind=\"new\"} 17\n";
    let mut client = Client::new(&address, TIMEOUT);
    let path = "/metrics/job/nightly/instance/worker-3";
    client.request("PUT", path, &[], pushed.as_bytes())?.success("push")?;

    let target = |job: &str, honor: bool| {
        format!("- job_name: {job}\n  honor_labels: {honor}\n  static_configs:\n  - targets: ['{address}']\n")
    };
    let config = format!("{GLOBAL}{}{}", target("gateway", true), target("plain", false));
    let mut server = Setup::narthex(&folder.path().join("narthex"))?.with_config(&config).start()?;
    until_value(&mut server, "batch_rows_total{job=\"nightly\",instance=\"worker-3\",kind=\"new\"}", 17.0)?;
    let plain = format!(
        "batch_rows_total{{job=\"plain\",instance=\"{address}\",exported_job=\"nightly\",exported_instance=\"worker-3\"}}"
    );
    until_value(&mut server, &plain, 17.0)?;
    until_value(&mut server, "count(batch_rows_total)", 2.0)?;
    // The next push replaces the first.
    client.request("PUT", path, &[], pushed.replace("17", "18").as_bytes())?.success("push")?;
    until_value(&mut server, "batch_rows_total{job=\"nightly\"}", 18.0)?;
    // A group that is deleted becomes stale at once, not after the lookback.
    client.request("DELETE", path, &[], &[])?.success("delete")?;
    until_value(&mut server, "absent(batch_rows_total{job=\"nightly\"})", 1.0)?;
    server.stop()
}

/// An HTTP server that answers 200 to every path but `/broken`. Its thread ends with the test's process.
fn site() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut head = [0; 4096];
            let read = stream.read(&mut head).unwrap_or_default();
            let status = if head[..read].starts_with(b"GET /broken") { "503 No" } else { "200 OK" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
            // A prober that went away has its answer elsewhere.
            stream.write_all(answer.as_bytes()).ok();
        }
    });
    Ok(address)
}

#[test]
fn a_blackbox_exporter_probes_what_relabelling_names() -> Result<()> {
    let Some(program) = peer::find("BLACKBOX_EXPORTER")? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let (site, address) = (site()?, format!("127.0.0.1:{}", free_port()?));
    let modules = folder.path().join("blackbox.yml");
    let module =
        "modules:\n  http_2xx:\n    prober: http\n    timeout: 200ms\n    http: {preferred_ip_protocol: ip4}\n";
    std::fs::write(&modules, module).context("write the modules")?;
    let mut command = process::command(&program);
    command.arg(format!("--config.file={}", modules.display())).arg(format!("--web.listen-address={address}"));
    let _exporter = start(command, folder.path(), &address, "/-/healthy")?;
    let config = format!(
        "{GLOBAL}- job_name: blackbox\n  metrics_path: /probe\n  params:\n    module: [http_2xx]\n  static_configs:\n\
         \x20 - targets: ['http://{site}/good', 'http://{site}/broken']\n  relabel_configs:\n\
         \x20 - source_labels: [__address__]\n    target_label: __param_target\n\
         \x20 - source_labels: [__param_target]\n    target_label: instance\n\
         \x20 - target_label: __address__\n    replacement: '{address}'\n"
    );
    let mut server = Setup::narthex(&folder.path().join("narthex"))?.with_config(&config).start()?;
    for (path, success, status) in [("good", 1.0, 200.0), ("broken", 0.0, 503.0)] {
        let labels = format!("{{job=\"blackbox\",instance=\"http://{site}/{path}\"}}");
        until_value(&mut server, &format!("probe_success{labels}"), success)?;
        until_value(&mut server, &format!("probe_http_status_code{labels}"), status)?;
        until_value(&mut server, &format!("up{labels}"), 1.0)?;
    }
    server.stop()
}

const APPLICATION: &str = "
from fastapi import FastAPI
from prometheus_fastapi_instrumentator import Instrumentator

app = FastAPI()

@app.get('/api/v1/health')
def health():
    return {'ok': True}

Instrumentator().instrument(app).expose(app)
";

#[test]
fn requests_to_a_fastapi_application_are_counted() -> Result<()> {
    let Some(python) = peer::find("FASTAPI_PYTHON")? else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("application.py"), APPLICATION).context("write the application")?;
    let port = free_port()?;
    let address = format!("127.0.0.1:{port}");
    let mut command = process::command(&python);
    command.args(["-m", "uvicorn", "application:app", "--host=127.0.0.1", &format!("--port={port}")]);
    command.current_dir(folder.path()).env("PYTHONDONTWRITEBYTECODE", "1");
    let _application = start(command, folder.path(), &address, "/metrics")?;

    let config = format!("{GLOBAL}- job_name: sample\n  static_configs:\n  - targets: ['{address}']\n");
    let mut server = Setup::narthex(&folder.path().join("narthex"))?.with_config(&config).start()?;
    until_value(&mut server, "up{job=\"sample\"}", 1.0)?;
    let counted = "http_requests_total{job=\"sample\",handler=\"/api/v1/health\"}";
    until_value(&mut server, &format!("absent({counted})"), 1.0)?;
    let mut client = Client::new(&address, TIMEOUT);
    for _ in 0..7 {
        client.get("/api/v1/health")?.success("a request")?;
    }
    until_value(&mut server, counted, 7.0)?;
    let labels = "{job=\"sample\",handler=\"/api/v1/health\",method=\"GET\",status=\"2xx\"}";
    until_value(&mut server, &format!("http_requests_total{labels}"), 7.0)?;
    let buckets = "sum(http_request_duration_seconds_bucket{job=\"sample\",handler=\"/api/v1/health\",le=\"+Inf\"})";
    until_value(&mut server, buckets, 7.0)?;
    ensure!(server.number("scrape_samples_scraped{job=\"sample\"}", now_ms())? > 10.0);
    server.stop()
}
