//! How fast the engine is over generated counters: `engine_speed [series] [query] [jitter in ms]`. Prints time per sample and
//! per step. Without jitter samples stand at even times, as scrapers write them.
#![expect(clippy::print_stdout, reason = "a program that prints")]

use std::time::Instant;

use bytes::Bytes;
use chunkenc::XorEncoder;
use model::{DurationMs, Labels, SeriesId, TenantId, TimestampMs};
use promql::ast::{
    Aggregate, AggregateOp, Call, DurationExpr, Edges, Expr, ExprKind, Grouping, MatrixSelector, Pos, VectorSelector,
};
use promql::engine::{QueryParams, plan};
use storage::{Chunk, ChunkEncoding, Series};

const SAMPLES: usize = 480;
const INTERVAL_MS: i64 = 15_000;

fn series(n: usize, jitter_ms: i64) -> Series {
    let instance = format!("host-{n}:9100");
    let job = format!("job-{}", n % 17);
    let labels = Labels::from_pairs([
        ("__name__", "http_requests_total"),
        ("instance", instance.as_str()),
        ("job", job.as_str()),
        ("code", "200"),
    ])
    .expect("labels are good");
    let mut seed = n as u64 * 0x9e37_79b9_7f4a_7c15 + 1;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut value = (random() % 100_000) as f64;
    let mut chunks = Vec::new();
    let phase = (random() % 15_000) as i64;
    for part in 0..SAMPLES / 120 {
        let mut encoder = XorEncoder::new();
        let first = (part * 120) as i64;
        for i in first..first + 120 {
            let jitter = (random() % 1000) as i64 * jitter_ms / 1000;
            value += (random() % 50) as f64;
            if random() % 2000 == 0 {
                value = 0.0;
            }
            encoder.append(i * INTERVAL_MS + phase + jitter, value);
        }
        chunks.push(Chunk {
            encoding: ChunkEncoding::Xor,
            mint: TimestampMs(encoder.first_timestamp().unwrap_or(0)),
            maxt: TimestampMs(encoder.last().map_or(0, |(t, _)| t)),
            data: Bytes::copy_from_slice(encoder.bytes()),
        });
    }
    let id = SeriesId::compute(&TenantId::anonymous(), &labels, &mut Vec::new());
    Series { id, labels, chunks }
}

fn expr(kind: ExprKind) -> Expr {
    Expr { kind, pos: Pos::default() }
}

fn selector() -> VectorSelector {
    VectorSelector {
        name: "http_requests_total".into(),
        matchers: vec![model::Matcher::equal("__name__", "http_requests_total")],
        inexact: Vec::new(),
        offset: None,
        at: None,
        edges: Edges::Plain,
    }
}

fn over_time(function: &'static str) -> Expr {
    let matrix = MatrixSelector {
        selector: selector(),
        selector_pos: Pos::default(),
        range: DurationExpr::Literal(DurationMs::mins(5)),
    };
    expr(ExprKind::Call(Call { function, args: vec![expr(ExprKind::Matrix(matrix))] }))
}

fn aggregate(op: AggregateOp, by: &[&str], inner: Expr) -> Expr {
    let labels = by.iter().map(|l| (*l).to_owned()).collect();
    let grouping = Grouping { without: false, labels };
    expr(ExprKind::Aggregate(Aggregate { op, expr: Box::new(inner), param: None, grouping }))
}

/// Anonymous resident memory of the process.
fn anonymous_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn main() {
    let mut args = std::env::args().skip(1);
    let count: usize = args.next().and_then(|a| a.parse().ok()).unwrap_or(20_000);
    let wanted = args.next();
    let jitter_ms: i64 = args.next().and_then(|a| a.parse().ok()).unwrap_or(0);
    let all: Vec<Series> = (0..count).map(|n| series(n, jitter_ms)).collect();
    let queries: Vec<(&str, Expr)> = vec![
        ("sum(rate)", aggregate(AggregateOp::Sum, &[], over_time("rate"))),
        ("sum by (job) (rate)", aggregate(AggregateOp::Sum, &["job"], over_time("rate"))),
        ("sum(x)", aggregate(AggregateOp::Sum, &[], expr(ExprKind::Vector(selector())))),
        ("max(irate)", aggregate(AggregateOp::Max, &[], over_time("irate"))),
        ("sum(sum_over_time)", aggregate(AggregateOp::Sum, &[], over_time("sum_over_time"))),
        ("avg(avg_over_time)", aggregate(AggregateOp::Avg, &[], over_time("avg_over_time"))),
        ("max(max_over_time)", aggregate(AggregateOp::Max, &[], over_time("max_over_time"))),
        ("sum(stddev_over_time)", aggregate(AggregateOp::Sum, &[], over_time("stddev_over_time"))),
        ("sum(deriv)", aggregate(AggregateOp::Sum, &[], over_time("deriv"))),
        ("rate", over_time("rate")),
    ];
    for (name, query) in queries.iter().filter(|(name, _)| wanted.as_deref().is_none_or(|w| w == *name)) {
        let end = TimestampMs((SAMPLES as i64 - 1) * INTERVAL_MS);
        let params = QueryParams::range(TimestampMs(0), end, DurationMs(INTERVAL_MS));
        let before = anonymous_kib();
        let started = Instant::now();
        let planned = plan(query, params).expect("the query is good");
        let mut worker = planned.worker(0);
        for batch in all.chunks(256) {
            worker.push(batch).expect("the series are good");
        }
        let result = planned.finish([worker]).expect("the query has a value");
        let elapsed = started.elapsed();
        let decoded = result.stats.samples_decoded as f64;
        println!(
            "{name:24} {:8.1} ms   {:6.2} ns/sample   {:6.2} ns/step   held {} samples   anonymous memory +{} KiB",
            elapsed.as_secs_f64() * 1e3,
            elapsed.as_secs_f64() * 1e9 / decoded,
            elapsed.as_secs_f64() * 1e9 / (count * SAMPLES) as f64,
            result.stats.held_samples,
            anonymous_kib().saturating_sub(before),
        );
    }
}
