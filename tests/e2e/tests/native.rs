//! Native histograms that are scraped: from messages and from classic ones, through kills, out of the log and out of a block.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::api::{Answer, Range};
use e2e::compare::{self, Order};
use e2e::narthex::{Server, Setup};
use e2e::write::{put_bytes, put_varint};
use e2e::{now_ms, wait};

const BLOCK_MS: i64 = 2 * 3_600_000;
const PATIENCE: Duration = Duration::from_secs(120);
/// Between the samples of a series, whatever the time between scrapes.
const STEP_MS: i64 = 1000;
/// Pages after which a site says the same again, so that all of it lies within one block.
const PAGES_MAX: i64 = 3000;
/// Scrapes that are waited for.
const SCRAPES: f64 = 40.0;

const MESSAGES: &str = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// A site that answers each request with the next page, of the format that is asked for first.
struct Site {
    address: String,
    /// Whether somebody asked for text before messages.
    asked_for_text: Arc<AtomicBool>,
}

impl Site {
    fn start(base_ms: i64) -> Result<Site> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listen")?;
        let address = listener.local_addr()?.to_string();
        let asked_for_text = Arc::new(AtomicBool::new(false));
        let asked = asked_for_text.clone();
        let pages = Arc::new([AtomicI64::new(0), AtomicI64::new(0)]);
        // It ends with the test's process: whoever still connects then is a server that is being killed.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (asked, pages) = (asked.clone(), pages.clone());
                std::thread::spawn(move || answer(stream, base_ms, &pages, &asked));
            }
        });
        Ok(Site { address, asked_for_text })
    }
}

/// Answers one request and ends the connection. What goes wrong is the scraper's affair.
fn answer(mut stream: TcpStream, base_ms: i64, pages: &[AtomicI64; 2], asked_for_text: &AtomicBool) -> Option<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let n = stream.read(&mut buffer).ok().filter(|n| *n > 0)?;
        request.extend_from_slice(&buffer[..n]);
    }
    let request = String::from_utf8_lossy(&request).to_lowercase();
    let accept = request.lines().find_map(|line| line.strip_prefix("accept:")).unwrap_or("").trim().to_owned();
    let wants_messages = accept.starts_with("application/vnd.google.protobuf");
    let is_messages = request.starts_with("get /messages ");
    if is_messages && !wants_messages {
        asked_for_text.store(true, Ordering::SeqCst);
    }
    let n = pages[usize::from(is_messages)].fetch_add(1, Ordering::SeqCst).min(PAGES_MAX);
    let at_ms = base_ms + n * STEP_MS;
    let (content_type, page) =
        if is_messages { (MESSAGES, messages(n, at_ms)) } else { ("text/plain; version=0.0.4", text(n, at_ms)) };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        page.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&page).ok()
}

/// Of the `n`th scrape: `n + 1` observations above 1 up to the fourth root of 2, classic buckets for them, and as a float histogram
/// half as many between 2 and 4.
fn messages(n: i64, at_ms: i64) -> Vec<u8> {
    let count = (n + 1).cast_unsigned();
    let mut whole = Vec::new();
    put_whole(&mut whole, 1, count);
    put_double(&mut whole, 2, 1.1 * count as f64);
    let mut bucket = Vec::new();
    put_whole(&mut bucket, 1, count);
    put_double(&mut bucket, 2, 2.0);
    put_field(&mut whole, 3, &bucket);
    put_whole(&mut whole, 5, zigzag(2));
    put_field(&mut whole, 12, &span(1, 1));
    put_whole(&mut whole, 13, zigzag(n + 1));
    let half = count as f64 / 2.0;
    let mut floats = Vec::new();
    put_double(&mut floats, 4, half);
    put_double(&mut floats, 2, 3.0 * half);
    put_field(&mut floats, 12, &span(2, 1));
    put_double(&mut floats, 14, half);
    let mut page = Vec::new();
    for (name, kind, histogram) in [("whole_seconds", 4, whole), ("floats_seconds", 5, floats)] {
        let mut label = Vec::new();
        put_field(&mut label, 1, b"path");
        put_field(&mut label, 2, b"/");
        let mut metric = Vec::new();
        put_field(&mut metric, 1, &label);
        put_field(&mut metric, 7, &histogram);
        put_whole(&mut metric, 6, at_ms.cast_unsigned());
        let mut family = Vec::new();
        put_field(&mut family, 1, name.as_bytes());
        put_whole(&mut family, 3, kind);
        put_field(&mut family, 4, &metric);
        put_varint(&mut page, family.len() as u64);
        page.extend_from_slice(&family);
    }
    page
}

/// The same in classic buckets: all observations between 1 and 2.
fn text(n: i64, at_ms: i64) -> Vec<u8> {
    let count = n + 1;
    format!(
        "# TYPE classic_seconds histogram\nclassic_seconds_bucket{{le=\"1\"}} 0 {at_ms}\n\
         classic_seconds_bucket{{le=\"2\"}} {count} {at_ms}\nclassic_seconds_bucket{{le=\"+Inf\"}} {count} {at_ms}\n\
         classic_seconds_sum {count} {at_ms}\nclassic_seconds_count {count} {at_ms}\n"
    )
    .into_bytes()
}

fn put_whole(out: &mut Vec<u8>, number: u64, value: u64) {
    put_varint(out, number << 3);
    put_varint(out, value);
}

fn put_field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    put_bytes(out, number << 3 | 2, bytes);
}

fn put_double(out: &mut Vec<u8>, number: u64, value: f64) {
    put_varint(out, number << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)).cast_unsigned()
}

fn span(offset: i64, length: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_whole(&mut out, 1, zigzag(offset));
    put_whole(&mut out, 2, length);
    out
}

const QUERIES: [&str; 6] = [
    "histogram_quantile(0.9, rate(whole_seconds[10s]))",
    "histogram_quantile(0.5, floats_seconds)",
    "histogram_count(whole_seconds)",
    "histogram_sum(sum by (job) (floats_seconds))",
    "histogram_quantile(0.25, increase(classic_seconds[10s]))",
    "histogram_fraction(1, 1.5, classic_seconds)",
];

/// What is answered over the first half of what was waited for: nothing of it is still being written.
fn answers(server: &mut Server, base_ms: i64) -> Result<Vec<(String, Answer)>> {
    let end_ms = base_ms + SCRAPES as i64 * STEP_MS / 2;
    let range = Range { start_ms: base_ms, end_ms, step_ms: STEP_MS };
    let one = |expr: &str| {
        let answer = server.query_range(expr, &range)?;
        ensure!(!answer.is_empty(), "{expr}: nothing");
        Ok((expr.to_string(), answer))
    };
    QUERIES.into_iter().map(one).collect()
}

fn ensure_same(before: &[(String, Answer)], after: &[(String, Answer)], when: &str) -> Result<()> {
    for ((expr, a), (_, b)) in before.iter().zip(after) {
        if let Some(why) = compare::difference(a, b, Order::Free) {
            anyhow::bail!("{expr}: another answer {when}: {why}");
        }
    }
    Ok(())
}

/// Whether one block holds all of this time.
fn is_in_a_block(data: &Path, from_ms: i64, until_ms: i64) -> Result<bool> {
    let Ok(entries) = std::fs::read_dir(data.join("bucket")) else { return Ok(false) };
    for entry in entries {
        // What is being deleted or is no block has no such file.
        let Ok(text) = std::fs::read_to_string(entry?.path().join("meta.json")) else { continue };
        let meta: serde_json::Value = serde_json::from_str(&text)?;
        let time = |name: &str| meta[name].as_i64().with_context(|| format!("{name} in {text}"));
        if time("minTime")? <= from_ms && time("maxTime")? > until_ms {
            return Ok(true);
        }
    }
    Ok(false)
}

#[test]
fn scraped_native_histograms_are_answered_for_after_kills_and_out_of_a_block() -> Result<()> {
    let folder = tempfile::tempdir()?;
    // A day ago, well within the two hours of one block. Pages say their time.
    let base_ms = (now_ms() / BLOCK_MS - 12) * BLOCK_MS + 600_000;
    let site = Site::start(base_ms)?;
    let address = &site.address;
    let mut setup = Setup::narthex(folder.path())?.with_config(&format!(
        "global:\n  scrape_interval: 250ms\n  scrape_timeout: 250ms\n\
         storage:\n  tsdb:\n    out_of_order_time_window: 4y\n\
         scrape_configs:\n- job_name: messages\n  metrics_path: /messages\n  scrape_native_histograms: true\n  \
         static_configs:\n  - targets: ['{address}']\n\
         - job_name: text\n  metrics_path: /text\n  convert_classic_histograms_to_nhcb: true\n  static_configs:\n  \
         - targets: ['{address}']\n"
    ));
    let mut server = setup.start()?;
    let end_ms = base_ms + PAGES_MAX * STEP_MS;
    wait::until("scrapes of each histogram", PATIENCE, || {
        server.process.ensure_running()?;
        for name in ["whole", "floats", "classic"] {
            let count = server.query(&format!("count_over_time({name}_seconds[1h])"), end_ms)?.number();
            if count.is_none_or(|count| count < SCRAPES) {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .with_context(|| server.process.log_tail())?;
    ensure!(!site.asked_for_text.load(Ordering::SeqCst), "messages are to be asked for first");
    let before = answers(&mut server, base_ms)?;
    check_values(&mut server, base_ms)?;
    server.kill()?;

    setup.config = "global: {}\n".to_string();
    let mut server = setup.start()?;
    ensure_same(&before, &answers(&mut server, base_ms)?, "after kill -9")?;
    let until_ms = base_ms + SCRAPES as i64 * STEP_MS / 2;
    wait::until("a block", PATIENCE, || {
        server.process.ensure_running()?;
        Ok(is_in_a_block(&setup.data(), base_ms, until_ms)?.then_some(()))
    })
    .with_context(|| server.process.log_tail())?;
    ensure_same(&before, &answers(&mut server, base_ms)?, "out of a block")?;
    server.kill()?;
    let mut server = setup.start()?;
    ensure_same(&before, &answers(&mut server, base_ms)?, "out of a block after kill -9")?;
    check_values(&mut server, base_ms)?;
    server.stop()
}

/// Numbers that follow from what the site says.
fn check_values(server: &mut Server, base_ms: i64) -> Result<()> {
    let at_ms = base_ms + SCRAPES as i64 * STEP_MS / 2;
    for (expr, expected) in [
        // The middle of the only bucket, on the scale of its bounds.
        ("histogram_quantile(0.5, whole_seconds)", 2f64.powf(0.125)),
        ("histogram_quantile(0.5, floats_seconds)", 2f64.powf(1.5)),
        ("histogram_quantile(0.5, classic_seconds)", 1.5),
        ("histogram_avg(whole_seconds)", 1.1),
        ("count({__name__=~\".*_bucket|.*_sum|.*_count\"}) or vector(0)", 0.0),
    ] {
        let got = server.number(expr, at_ms)?;
        ensure!((got - expected).abs() < 1e-9, "{expr}: {got} instead of {expected}");
    }
    Ok(())
}
