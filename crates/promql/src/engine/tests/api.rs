//! The queries of the decided cases of the HTTP API, with immediate name removal, positions of annotations and statistics.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use model::{DurationMs, FloatHistogram, Labels};
use serde_json::Value as Json;

use super::{Double, evaluate};
use crate::engine::{
    Feature, Limits, QueryError, QueryParams, QueryResult, RangeSeries, Severity, Value, VectorSample,
};
use crate::numbers::{json_float, parse_float};
use crate::{ParseOptions, SequenceValue, histogram_json, parse_expr, parse_metric, parse_series_desc};

fn conformance() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "tests are told where the decided cases lie")]
    let root = std::env::var("NARTHEX_CONFORMANCE").ok()?;
    Some(PathBuf::from(root).join("api"))
}

/// The series of `data.om` and `data_extra.jsonl`.
fn load(folder: &std::path::Path) -> Double {
    let mut samples: BTreeMap<Labels, BTreeMap<i64, f64>> = BTreeMap::new();
    let text = std::fs::read_to_string(folder.join("data.om")).unwrap();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let line = line.split(" # ").next().unwrap();
        let mut parts = line.rsplitn(3, ' ');
        let (t, v, metric) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        let t = (parse_float(t).unwrap() * 1000.0).round() as i64;
        samples.entry(parse_metric(metric).unwrap().labels().unwrap()).or_default().insert(t, parse_float(v).unwrap());
    }
    let mut histograms: BTreeMap<Labels, Vec<(i64, FloatHistogram)>> = BTreeMap::new();
    for line in std::fs::read_to_string(folder.join("data_extra.jsonl")).unwrap().lines() {
        let series: Json = serde_json::from_str(line).unwrap();
        let pairs = series["labels"].as_object().unwrap().iter().map(|(n, v)| (n.as_str(), v.as_str().unwrap()));
        let labels = Labels::from_pairs(pairs).unwrap();
        for sample in series["samples"].as_array().unwrap() {
            let (t, v) = (sample[0].as_i64().unwrap(), sample[1].as_str().unwrap());
            match v {
                v if v.starts_with('{') => histograms.entry(labels.clone()).or_default().push((t, histogram(v))),
                "stale" | "StaleNaN" | "staleNaN" => {
                    samples.entry(labels.clone()).or_default().insert(t, model::stale_nan());
                }
                v => {
                    samples.entry(labels.clone()).or_default().insert(t, parse_float(v).unwrap());
                }
            }
        }
    }
    let series = samples.into_iter().map(|(labels, samples)| (labels, samples.into_iter().collect()));
    let mut double = Double::of(series);
    histograms.into_iter().for_each(|(labels, all)| double.add_histograms(labels, &all));
    double
}

fn histogram(text: &str) -> FloatHistogram {
    let combine = |_: &FloatHistogram, _: &FloatHistogram, _| Err("one histogram at a time".to_owned());
    match parse_series_desc(format!("x {text}"), &combine).unwrap().values.remove(0) {
        SequenceValue::Histogram { histogram, .. } => FloatHistogram::clone(&histogram),
        other => panic!("{other:?}"),
    }
}

/// The parameters of a request, where it is one that the engine alone answers.
fn params(case: &Json) -> Option<(String, QueryParams)> {
    let mut all: BTreeMap<&str, &str> = BTreeMap::new();
    for pair in case["query"].as_array()? {
        all.entry(pair[0].as_str()?).or_insert(pair[1].as_str()?);
    }
    let time = |name: &str| -> Option<model::TimestampMs> {
        Some(model::TimestampMs((parse_float(all.get(name)?).ok()? * 1000.0) as i64))
    };
    let duration = |name: &str| -> Option<DurationMs> {
        Some(DurationMs(crate::duration::parse_api_duration(all.get(name)?).ok()? / 1_000_000))
    };
    if all.contains_key("limit") || all.contains_key("timeout") {
        return None;
    }
    let mut params = match case["path"].as_str()? {
        "/api/v1/query" => QueryParams::instant(time("time")?),
        "/api/v1/query_range" => QueryParams::range(time("start")?, time("end")?, duration("step")?),
        _ => return None,
    };
    if all.contains_key("lookback_delta") {
        params.lookback = duration("lookback_delta")?;
    }
    params.limits = Limits { samples_max: 50_000, ..Limits::default() };
    params.subquery_step = DurationMs::mins(1);
    Some(((*all.get("query")?).to_owned(), params))
}

/// Rows of an answer: labels, and pairs of time and value.
type Rows = Vec<(Labels, Vec<(f64, String)>)>;

fn pair(json: &Json) -> (f64, String) {
    let text = json[1].as_str().map_or_else(|| json[1].to_string(), str::to_owned);
    (json[0].as_f64().unwrap(), text)
}

fn expected_rows(data: &Json) -> Rows {
    let one = |json: &Json| {
        let pairs = json["metric"].as_object().unwrap().iter().map(|(n, v)| (n.as_str(), v.as_str().unwrap()));
        let labels = Labels::from_pairs(pairs).unwrap();
        let mut points: Vec<(f64, String)> = Vec::new();
        for (one, many) in [("value", "values"), ("histogram", "histograms")] {
            points.extend(json.get(one).map(pair));
            points.extend(json.get(many).into_iter().flat_map(|all| all.as_array().unwrap()).map(pair));
        }
        (labels, points)
    };
    match data["resultType"].as_str().unwrap() {
        "scalar" | "string" => vec![(Labels::empty(), vec![pair(&data["result"])])],
        _ => data["result"].as_array().unwrap().iter().map(one).collect(),
    }
}

fn found_rows(value: &Value) -> (&'static str, Rows) {
    let secs = |t: model::TimestampMs| t.0 as f64 / 1000.0;
    let text = |v: f64| json_float(v).trim_matches('"').to_owned();
    let as_json = |h: &FloatHistogram| serde_json::from_str::<Json>(&histogram_json(h)).unwrap().to_string();
    match value {
        Value::Scalar { at, value } => {
            ("scalar", vec![(Labels::empty(), vec![(secs(*at), crate::numbers::format_f(*value))])])
        }
        Value::String { at, text } => ("string", vec![(Labels::empty(), vec![(secs(*at), text.clone())])]),
        Value::Vector { at, samples } => {
            let value = |s: &VectorSample| s.histogram.as_ref().map_or_else(|| text(s.value), |h| as_json(h));
            let rows = samples.iter().map(|s| (s.labels.clone(), vec![(secs(*at), value(s))]));
            ("vector", rows.collect())
        }
        Value::Matrix(series) => {
            let points = |s: &RangeSeries| {
                let floats = s.points.iter().map(|(t, v)| (secs(t), text(v)));
                floats.chain(s.points.histograms().map(|(t, h)| (secs(t), as_json(h)))).collect()
            };
            let rows = series.iter().map(|s| (s.labels.clone(), points(s)));
            ("matrix", rows.collect())
        }
    }
}

fn same_rows(mut found: Rows, mut expected: Rows, ordered: bool) -> bool {
    if !ordered {
        found.sort_by(|a, b| a.0.cmp(&b.0));
        expected.sort_by(|a, b| a.0.cmp(&b.0));
    }
    let same_value = |a: &str, b: &str| {
        a == b
            || match (parse_float(a), parse_float(b)) {
                (Ok(a), Ok(b)) => (a - b).abs() <= 1e-12 * a.abs().max(b.abs()),
                _ => false,
            }
    };
    found.len() == expected.len()
        && found.iter().zip(&expected).all(|((labels, points), (expected_labels, expected_points))| {
            labels == expected_labels
                && points.len() == expected_points.len()
                && points.iter().zip(expected_points).all(|((t, v), (et, ev))| t == et && same_value(v, ev))
        })
}

/// What differs between an answer and what was decided.
fn difference(case: &Json, query: &str, result: Result<QueryResult, QueryError>) -> Option<String> {
    let json = &case["response"]["json"];
    let result = match result {
        Err(e) if json["status"] == "error" && json["error"] == e.to_string() => return None,
        Err(e) => return Some(format!("error {e}, expected {json}")),
        Ok(_) if json["status"] != "success" => return Some(format!("no error, expected {json}")),
        Ok(result) => result,
    };
    let (kind, rows) = found_rows(&result.value);
    let expected = expected_rows(&json["data"]);
    let ordered = case["compare"]["unordered"].as_array().is_none_or(|all| !all.contains(&"data.result".into()));
    if kind != json["data"]["resultType"] || !same_rows(rows.clone(), expected.clone(), ordered) {
        return Some(format!("{kind} {rows:?}, expected {expected:?}"));
    }
    for (name, severity) in [("warnings", Severity::Warning), ("infos", Severity::Info)] {
        let texts = json[name].as_array().cloned().unwrap_or_default();
        let deprecated = |text: &&str| !text.contains("is deprecated and will be rejected");
        let expected: BTreeSet<&str> = texts.iter().filter_map(Json::as_str).filter(deprecated).collect();
        let found = result.annotations.render(severity, query, 10);
        if found.iter().map(String::as_str).collect::<BTreeSet<_>>() != expected {
            return Some(format!("{name} {found:?}, expected {expected:?}"));
        }
    }
    let samples = &json["data"]["stats"]["samples"];
    if samples.is_object() {
        let stats = result.stats;
        let found = [stats.total_queryable_samples, stats.samples_read, stats.peak_samples];
        let names = ["totalQueryableSamples", "samplesRead", "peakSamples"];
        let expected = names.map(|name| samples[name].as_u64().unwrap());
        if found != expected {
            return Some(format!("statistics {found:?}, expected {expected:?}"));
        }
    }
    None
}

#[test]
fn queries_of_the_api_are_answered_as_decided() {
    let Some(folder) = conformance() else {
        println!("skipped: NARTHEX_CONFORMANCE is not set");
        return;
    };
    let double = load(&folder);
    let (mut answered, mut left_out, mut wrong) = (0, BTreeMap::<&str, usize>::new(), Vec::new());
    for line in std::fs::read_to_string(folder.join("requests.jsonl")).unwrap().lines() {
        let case: Json = serde_json::from_str(line).unwrap();
        let status = case["response"]["status"].as_u64();
        let is_engine = case["data"] == "data" && matches!(status, Some(200 | 422)) && case["method"] == "GET";
        if !is_engine
            || case["response"]["json"].is_null()
            || case["compare"]["status"] != "exact"
            || !case["writes"].is_null()
        {
            continue;
        }
        let Some((query, params)) = params(&case) else { continue };
        let Ok(expr) = parse_expr(&query, &ParseOptions::STABLE) else { continue };
        match evaluate(&expr, params, &double) {
            Err(QueryError::Unsupported(feature)) => *left_out.entry(Feature::as_str(feature)).or_default() += 1,
            result => {
                answered += 1;
                if let Some(difference) = difference(&case, &query, result) {
                    wrong.push(format!("{} {query}\n    {difference}", case["id"]));
                }
            }
        }
    }
    println!("{answered} answered, left out {left_out:?}");
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!((answered, left_out), (212, BTreeMap::new()));
}
