//! What `stats=all` counts, in all and step by step: both count the same.

use anyhow::{Result, ensure};
use e2e::api;
use e2e::narthex::Server;
use serde_json::Value;

use super::answers::When;

/// None that weighs histograms: their weight hangs on the empty buckets that a chunk has given them.
const EXPRESSIONS: &[&str] = &[
    "small",
    "small offset 3m",
    "small @ end()",
    "timestamp(mixed)",
    "rate(requests_total[5m])",
    "rate(requests_total[5m] @ end())",
    "sum by (job) (rate(requests_total[20s])) + on (job) count by (job) (small)",
    "max_over_time(rate(requests_total[1m])[5m:30s])",
    "max_over_time(small[20s:5s])",
    "max_over_time(small[40s:15s] offset 1m)",
    "max_over_time(max_over_time(small[20s:5s])[40s:10s])",
    "max_over_time(small[5m:1m] @ start())",
    "quantile_over_time(scalar(sum(small)), limit[3m])",
    "topk(2, small) or limit",
    "1 + 2",
    "time()",
];

/// The counts of samples; what was held at most is no part of the answer.
fn counts(server: &mut Server, expr: &str, when: When) -> Result<Value> {
    let mut fields = vec![("query", expr.to_owned()), ("stats", "all".to_owned())];
    let path = match when {
        When::At(at) => {
            fields.push(("time", api::seconds(at)));
            "/api/v1/query"
        }
        When::Over(range) => {
            fields.push(("start", api::seconds(range.start_ms)));
            fields.push(("end", api::seconds(range.end_ms)));
            fields.push(("step", api::seconds(range.step_ms)));
            "/api/v1/query_range"
        }
    };
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let response = server.client.post_form(path, &fields)?.success(expr)?;
    let mut body: Value = serde_json::from_slice(&response.body)?;
    let mut samples = body["data"]["stats"]["samples"].take();
    ensure!(samples["totalQueryableSamplesPerStep"].is_array(), "{expr}: no counts per step: {samples}");
    samples["peakSamples"].take();
    Ok(samples)
}

/// Asks both; an error says what they count differently.
pub(crate) fn compare(ours: &mut Server, theirs: &mut Server, whens: &[When]) -> Result<()> {
    let mut different = Vec::new();
    for expr in EXPRESSIONS {
        for when in whens {
            let (a, b) = (counts(ours, expr, *when)?, counts(theirs, expr, *when)?);
            if a != b {
                different.push(format!("{expr} {}\n  ours:   {a}\n  theirs: {b}", when.text()));
            }
        }
    }
    ensure!(different.is_empty(), "counted otherwise:\n{}", different.join("\n"));
    Ok(())
}
