//! The first pass: everything that a ledger wrote is asked for by PromQL, as raw samples, window by window.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use benches::answer::seconds;
use benches::http::Client;
use serde::Deserialize;

use crate::classes::{Scope, Sorter, Summary};
use crate::plan::{METRIC, Plan, SeriesKey};
use crate::record::Account;

/// Samples of one answer, at most about.
const ANSWER_SAMPLES: u64 = 100_000;
/// A system that says 503 is asked again for so long.
const RETRY_FOR: Duration = Duration::from_secs(60);
/// An answer may take so long.
const TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Answer<'a> {
    status: &'a str,
    #[serde(borrow)]
    data: Option<Matrix<'a>>,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
    /// VictoriaMetrics' way of saying so.
    #[serde(default, rename = "isPartial")]
    is_partial: bool,
}

#[derive(Deserialize)]
struct Matrix<'a> {
    #[serde(borrow)]
    result: Vec<Series<'a>>,
}

#[derive(Deserialize)]
struct Series<'a> {
    metric: BTreeMap<String, String>,
    #[serde(borrow, default)]
    values: Vec<(f64, &'a str)>,
}

/// A window `(start, end]` about which an answer came with a warning.
struct Warned {
    connection: u64,
    start_ms: i64,
    end_ms: i64,
    warning: String,
}

/// Asks `address` for everything that the ledger in `folder` may have written.
pub fn by_query(folder: &Path, address: &str) -> Result<Summary> {
    let plan = Plan::load(folder)?;
    let accounts = Sorter::accounts(&plan, folder)?;
    let mut sorter = Sorter::new(&plan, &accounts, "promql");
    let mut client = Client::new(address, TIMEOUT);
    let mut warned = Vec::new();
    for (connection, account) in accounts.iter().enumerate() {
        ask_for_connection(&plan, connection as u64, account, &mut client, &mut sorter, &mut warned)?;
    }
    let scope = |key: SeriesKey, at_ms: i64| {
        let covers = |one: &&Warned| one.connection == key.connection && one.start_ms < at_ms && at_ms <= one.end_ms;
        warned.iter().find(covers).map_or(Scope::Complete, |one| Scope::Warned(one.warning.clone()))
    };
    Ok(sorter.finish(&scope))
}

fn ask_for_connection(
    plan: &Plan,
    connection: u64,
    account: &Account,
    client: &mut Client,
    sorter: &mut Sorter<'_>,
    warned: &mut Vec<Warned>,
) -> Result<()> {
    let numbers = account.requests_sent() * plan.samples;
    let per_window = (ANSWER_SAMPLES / plan.series).max(1);
    let window_ms = plan.step_ms * i64::try_from(per_window).expect("few");
    // One window more on either side, for what nobody sent. No sample lies on the edge of a window.
    let mut start_ms = plan.base_ms - window_ms;
    let last_ms = plan.base_ms + plan.step_ms * i64::try_from(numbers).expect("24 bits") + window_ms;
    while start_ms < last_ms {
        let end_ms = start_ms + window_ms;
        let query = format!("{METRIC}{{connection=\"{connection}\",run=\"{}\"}}[{}]", plan.run, duration(window_ms));
        let body = ask(client, &query, end_ms).with_context(|| format!("ask {query} at {end_ms}"))?;
        let answer: Answer<'_> = serde_json::from_slice(&body).context("not an answer of the query API")?;
        let (Some(matrix), "success") = (answer.data, answer.status) else {
            bail!("{query} at {end_ms}: {}", answer.error);
        };
        for series in matrix.result {
            see(plan, &series, start_ms, end_ms, sorter)?;
        }
        let partial = answer.is_partial.then(|| "the answer is partial".to_string());
        if let Some(warning) = answer.warnings.into_iter().next().or(partial) {
            warned.push(Warned { connection, start_ms, end_ms, warning });
        }
        start_ms = end_ms;
    }
    Ok(())
}

fn see(plan: &Plan, series: &Series<'_>, start_ms: i64, end_ms: i64, sorter: &mut Sorter<'_>) -> Result<()> {
    let key = plan.find(series.metric.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    for (seconds, text) in &series.values {
        let at_ms = (seconds * 1000.0).round() as i64;
        // Prometheus 2 has windows that are closed on both sides.
        if at_ms <= start_ms || at_ms > end_ms {
            continue;
        }
        let value = text.parse::<f64>().with_context(|| format!("not a value: {text}"))?;
        match key {
            Some(key) => sorter.see(key, at_ms, value),
            None => sorter.see_unknown(&format!("{:?}", series.metric), at_ms, value),
        }
    }
    Ok(())
}

/// The body of an answer to an instant query.
fn ask(client: &mut Client, query: &str, at_ms: i64) -> Result<Vec<u8>> {
    let began = Instant::now();
    // VictoriaMetrics alone knows `nocache`; the others ignore it.
    let form = [("query", query), ("time", &seconds(at_ms)), ("nocache", "1")];
    loop {
        let answer = client.post_form("/api/v1/query", &form);
        let failure = match answer {
            Ok(response) if response.status / 100 == 2 => return Ok(response.body),
            Ok(response) if response.status == 503 || response.status == 429 => {
                anyhow::anyhow!("status {}: {}", response.status, response.excerpt())
            }
            Ok(response) => bail!("status {}: {}", response.status, response.excerpt()),
            Err(error) => error,
        };
        if began.elapsed() >= RETRY_FOR {
            return Err(failure);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// As PromQL writes it.
fn duration(ms: i64) -> String {
    if ms % 1000 == 0 { format!("{}s", ms / 1000) } else { format!("{ms}ms") }
}
