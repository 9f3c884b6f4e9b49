//! A twin of a system in memory, as small as it can be: it takes remote write and answers range selectors. The ledger is
//! tested on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::serve::{Reply, Request, Server};
use crate::wire;

/// What it says instead of samples that it has hidden.
pub const WARNING: &str = "what lay here cannot be reached";

type Labels = BTreeMap<String, String>;

#[derive(Default)]
struct State {
    series: BTreeMap<Labels, BTreeMap<i64, f64>>,
    /// Samples of `(start, end]` are not given, and answers about it say so.
    hidden: Option<(i64, i64)>,
    /// So many write requests are answered by 503 before the next is taken.
    failures: u64,
}

/// A running twin.
pub struct Twin {
    state: Arc<Mutex<State>>,
    server: Server,
}

impl Twin {
    /// An empty one.
    pub fn start() -> Result<Twin> {
        let state = Arc::new(Mutex::<State>::default());
        let shared = state.clone();
        let server = Server::start(Arc::new(move |request: &Request| Some(answer(&mut lock(&shared), request))))?;
        Ok(Twin { state, server })
    }

    /// host:port.
    pub fn address(&self) -> String {
        self.server.address()
    }

    /// From now on samples of `(start, end]` are missing, with a warning.
    pub fn hide(&self, start_ms: i64, end_ms: i64) {
        lock(&self.state).hidden = Some((start_ms, end_ms));
    }

    /// The next write requests are answered by 503.
    pub fn fail(&self, requests: u64) {
        lock(&self.state).failures = requests;
    }

    /// Samples that are there.
    pub fn sample_count(&self) -> usize {
        lock(&self.state).series.values().map(BTreeMap::len).sum()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("nothing panics while it holds the state")
}

fn answer(state: &mut State, request: &Request) -> Reply {
    let result = match request.path.as_str() {
        "/api/v1/write" if state.failures > 0 => {
            state.failures -= 1;
            return Reply::text(503, "later");
        }
        "/api/v1/write" => write(state, &request.body),
        "/api/v1/query" => query(state, &request.body),
        _ => return Reply::text(404, "no such path"),
    };
    result.unwrap_or_else(|error| Reply::text(400, &format!("{error:#}")))
}

fn write(state: &mut State, body: &[u8]) -> Result<Reply> {
    for series in wire::decode(body)? {
        let samples = state.series.entry(series.labels.into_iter().collect()).or_default();
        samples.extend(series.samples);
    }
    Ok(Reply { status: 204, body: Vec::new() })
}

fn query(state: &State, form: &[u8]) -> Result<Reply> {
    let form = std::str::from_utf8(form).context("a form")?;
    let field = |name: &str| form.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(unescape);
    let (query, time) = (field("query").context("no query")?, field("time").context("no time")?);
    let end_ms = (time.parse::<f64>().context("time")? * 1000.0).round() as i64;
    let (matchers, range_ms) = parse(&query).with_context(|| query.clone())?;
    let start_ms = end_ms - range_ms;
    let visible = |at: i64| state.hidden.is_none_or(|(start, end)| at <= start || at > end);
    let mut result = Vec::new();
    for (labels, samples) in &state.series {
        if matchers.iter().any(|(name, value)| labels.get(name) != Some(value)) {
            continue;
        }
        let within = samples.range(start_ms + 1..=end_ms).filter(|(at, _)| visible(**at));
        let values: Vec<_> = within.map(|(at, value)| json!([*at as f64 / 1000.0, value.to_string()])).collect();
        if !values.is_empty() {
            result.push(json!({ "metric": labels, "values": values }));
        }
    }
    let mut answer = json!({ "status": "success", "data": { "resultType": "matrix", "result": result } });
    if state.hidden.is_some_and(|(start, end)| start < end_ms && start_ms < end) {
        answer["warnings"] = json!([WARNING]);
    }
    Ok(Reply::text(200, &answer.to_string()))
}

/// `name{label="value",…}[range]`, which is all it knows of PromQL.
fn parse(query: &str) -> Result<(Vec<(String, String)>, i64)> {
    let (name, rest) = query.split_once('{').context("no {")?;
    let (inner, rest) = rest.split_once('}').context("no }")?;
    let mut matchers = vec![("__name__".to_string(), name.to_string())];
    for matcher in inner.split(',') {
        let (name, value) = matcher.split_once('=').context("no =")?;
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).context("no quotes")?;
        matchers.push((name.to_string(), value.to_string()));
    }
    let range = rest.strip_prefix('[').and_then(|range| range.strip_suffix(']')).context("no range")?;
    let (digits, unit) = match range.strip_suffix("ms") {
        Some(digits) => (digits, 1),
        None => (range.strip_suffix('s').context("unit")?, 1000),
    };
    let range: i64 = digits.parse().context("a range")?;
    ensure!(range > 0, "an empty range");
    Ok((matchers, range * unit))
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).unwrap_or_default() as u8;
        bytes.push(if byte == b'%' { digit(rest.next()) << 4 | digit(rest.next()) } else { byte });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
