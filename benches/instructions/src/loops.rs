//! The loops: each makes its input, then works on it for as many rounds as it is told. Input is the same in every process.

use std::hint::black_box;

use batch::{Batch, BatchBuilder, BatchHeader, Column};
use bytes::Bytes;
use chunkenc::{XorEncoder, decode_xor};
use exposition::{Format, Line, Outcome, Parser, ScrapeCache, Staleness};
use model::{DurationMs, Labels, PartitionId, SeriesId, TenantId, TimestampMs};
use promql::engine::{QueryParams, plan};
use promql::{ParseOptions, parse_expr};
use storage::{Chunk, ChunkEncoding, Series};

const INTERVAL_MS: i64 = 15_000;
/// Samples of each series: an hour.
const SAMPLES: u64 = 240;
/// Samples in one chunk.
const CHUNK_SAMPLES: u64 = 120;
/// Series pushed at once, as the querier gets them from a store.
const PUSHED_SERIES: usize = 256;

/// One loop.
pub(crate) struct Loop {
    pub(crate) name: &'static str,
    /// What a unit of work is: "per sample".
    pub(crate) unit: &'static str,
    /// Units in one round.
    pub(crate) units: u64,
    /// Works for so many rounds.
    pub(crate) run: fn(u64),
}

const CHUNKS: u64 = 1_000;
const RATE_SERIES: u64 = 1_000;
const SUM_SERIES: u64 = 10_000;
/// Histograms of sixteen buckets: ten thousand series.
const HISTOGRAMS: u64 = 625;
const BUCKETS: u64 = 16;
const JOIN_SERIES: u64 = 1_000;
const BATCH_SAMPLES: u64 = 5_000;
const PAGE_LINES: u64 = 2_000;
const QUERIES: [&str; 6] = [
    "sum by (job, instance) (rate(http_requests_total{code=~\"5..\", method!=\"GET\"}[5m]))",
    "histogram_quantile(0.99, sum by (le, route) (rate(http_request_duration_seconds_bucket{job=\"web\"}[5m])))",
    "node_filesystem_avail_bytes / on (instance, device) group_left (fstype) node_filesystem_size_bytes < bool 0.1",
    "max_over_time(deriv(queue_length{queue=~\"a|b|c\"}[10m] offset 1h)[1d:5m] @ end()) ^ 2 % 7 - -3.5e-3",
    "topk(5, a and b unless ignoring (x, y) c or label_replace(d, \"to\", \"$1\", \"from\", \"(.*)-[0-9]+\"))",
    "avg without (cpu) (irate(node_cpu_seconds_total{mode!=\"idle\", instance=\"10.0.0.1:9100\"}[2m30s])) * 100 > 90",
];

impl Loop {
    /// All of them, in the order of the table.
    pub(crate) const ALL: [Loop; 8] = [
        Loop { name: "decode-xor", unit: "per sample", units: CHUNKS * CHUNK_SAMPLES, run: decode },
        Loop { name: "rate", unit: "per series and step", units: RATE_SERIES * SAMPLES, run: rate },
        Loop { name: "sum-by", unit: "per series and step", units: SUM_SERIES * SAMPLES, run: sum_by },
        Loop {
            name: "histogram-quantile",
            unit: "per bucket and step",
            units: HISTOGRAMS * BUCKETS * SAMPLES,
            run: histogram_quantile,
        },
        Loop { name: "group-left", unit: "per series and step", units: JOIN_SERIES * SAMPLES, run: group_left },
        Loop { name: "parse-query", unit: "per query", units: QUERIES.len() as u64, run: parse_queries },
        Loop { name: "parse-batch", unit: "per sample", units: BATCH_SAMPLES, run: parse_batch },
        Loop { name: "cached-page", unit: "per line", units: PAGE_LINES, run: cached_page },
    ];

    pub(crate) fn find(name: &str) -> Option<&'static Loop> {
        const ALL: &[Loop] = &Loop::ALL;
        ALL.iter().find(|one| one.name == name)
    }
}

/// Numbers that look random and are the same each time (xorshift, Marsaglia 2003).
struct Numbers(u64);

impl Numbers {
    fn of(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// A series of an hour, a counter of whole numbers that is reset now and then.
fn counter(labels: &[(&str, &str)], seed: u64) -> Series {
    let labels = Labels::from_pairs(labels.iter().copied()).expect("names are unique");
    let (mut numbers, mut value) = (Numbers::of(seed), 0u64);
    let phase = numbers.below(15_000) as i64;
    let mut chunks = Vec::new();
    for first in (0..SAMPLES).step_by(CHUNK_SAMPLES as usize) {
        let mut encoder = XorEncoder::new();
        for at in first..first + CHUNK_SAMPLES {
            value = if numbers.below(2_000) == 0 { 0 } else { value + numbers.below(50) };
            encoder.append(at as i64 * INTERVAL_MS + phase, value as f64);
        }
        chunks.push(Chunk {
            encoding: ChunkEncoding::Xor,
            mint: TimestampMs(encoder.first_timestamp().expect("it has samples")),
            maxt: TimestampMs(encoder.last().expect("it has samples").0),
            data: Bytes::copy_from_slice(encoder.bytes()),
        });
    }
    let id = SeriesId::compute(&TenantId::anonymous(), &labels, &mut Vec::new());
    Series { id, labels, chunks }
}

/// Counters of one metric, of instances in jobs.
fn counters(metric: &str, count: u64) -> Vec<Series> {
    let labels = |n: u64| (format!("host-{n}:9100"), format!("job-{}", n % 17));
    let series = |n: u64| {
        let (instance, job) = labels(n);
        counter(&[("__name__", metric), ("instance", &instance), ("job", &job), ("code", "200")], n + 1)
    };
    (0..count).map(series).collect()
}

/// Evaluates a query over the hour in so many steps, round after round.
fn evaluate(text: &str, series: &[Series], steps: u64, rounds: u64) {
    let query = parse_expr(text, &ParseOptions::ALL).expect("the query parses");
    let step = DurationMs(SAMPLES as i64 * INTERVAL_MS / steps as i64);
    let end = TimestampMs(SAMPLES as i64 * INTERVAL_MS - 1);
    // As many steps as were asked for, the last at the end.
    let start = TimestampMs(end.0 - (steps as i64 - 1) * step.0);
    for _ in 0..rounds {
        let planned = plan(&query, QueryParams::range(start, end, step)).expect("the query is good");
        let mut workers = Vec::new();
        for (at, leaf) in planned.leaves().iter().enumerate() {
            let mut worker = planned.worker(at);
            let matching: Vec<Series> = series
                .iter()
                .filter(|one| leaf.matchers.iter().all(|m| m.matches_labels(&one.labels)))
                .cloned()
                .collect();
            for batch in matching.chunks(PUSHED_SERIES) {
                worker.push(batch).expect("the series are good");
            }
            workers.push(worker);
        }
        black_box(planned.finish(workers).expect("the query has a value"));
    }
}

fn decode(rounds: u64) {
    let series: Vec<Series> = counters("x_total", CHUNKS / 2);
    let (mut timestamps, mut values) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        for chunk in series.iter().flat_map(|one| &one.chunks) {
            timestamps.clear();
            values.clear();
            let decoded = decode_xor(&chunk.data, &mut timestamps, &mut values).expect("the chunk is good");
            assert_eq!(decoded as u64, CHUNK_SAMPLES);
            black_box((&timestamps, &values));
        }
    }
}

fn rate(rounds: u64) {
    evaluate("max(rate(x_total[5m]))", &counters("x_total", RATE_SERIES), SAMPLES, rounds);
}

fn sum_by(rounds: u64) {
    evaluate("sum by (job) (x_total)", &counters("x_total", SUM_SERIES), SAMPLES, rounds);
}

fn histogram_quantile(rounds: u64) {
    let mut series = Vec::new();
    for histogram in 0..HISTOGRAMS {
        let instance = format!("host-{histogram}:9100");
        for bucket in 0..BUCKETS {
            let le = if bucket + 1 == BUCKETS { "+Inf".to_string() } else { format!("{}", 1 << bucket) };
            series.push(counter(&[("__name__", "x_bucket"), ("instance", &instance), ("le", &le)], bucket + 1));
        }
    }
    evaluate("max(histogram_quantile(0.9, x_bucket))", &series, SAMPLES, rounds);
}

fn group_left(rounds: u64) {
    let mut series = counters("x_total", JOIN_SERIES);
    for n in 0..JOIN_SERIES {
        let instance = format!("host-{n}:9100");
        series.push(counter(&[("__name__", "x_info"), ("instance", &instance), ("release", "6.1.0")], n + 1));
    }
    evaluate("count(x_total * on (instance) group_left (release) x_info)", &series, SAMPLES, rounds);
}

fn parse_queries(rounds: u64) {
    for _ in 0..rounds {
        for text in QUERIES {
            black_box(parse_expr(black_box(text), &ParseOptions::ALL).expect("the query parses"));
        }
    }
}

fn parse_batch(rounds: u64) {
    let (mut builder, tenant, mut numbers) = (BatchBuilder::new(), TenantId::anonymous(), Numbers::of(1));
    for n in 0..BATCH_SAMPLES {
        let at_ms = 1_700_000_000_000 + numbers.below(15_000) as i64;
        let id = SeriesId(u128::from(n + 1) << 64 | u128::from(numbers.below(1 << 60)));
        let partition = PartitionId(u32::try_from(n % 64).expect("it is below 64"));
        builder.push(partition, id, at_ms, n as f64);
    }
    let mut bytes = Vec::new();
    builder.finish(BatchHeader { group: 1, generation: 2, writer: 3, seq: 4 }, &tenant, &mut bytes);
    let bytes = Bytes::from(bytes);
    for _ in 0..rounds {
        let batch = Batch::parse(black_box(bytes.clone())).expect("the batch is good");
        let mut sum = 0.0;
        for column in batch.sections().flat_map(|section| section.columns()) {
            if let Column::Floats(floats) = column {
                floats.for_each_run(|_, samples| sum += samples.map(|(_, value)| value).sum::<f64>());
            }
        }
        assert_eq!(sum, (0..BATCH_SAMPLES).sum::<u64>() as f64);
    }
}

fn cached_page(rounds: u64) {
    // Values change from page to page, as they do: a quarter of them.
    let page = |round: u64| -> String {
        let line = |n: u64| {
            let value = if n.is_multiple_of(4) { n + round } else { n };
            format!("http_requests_total{{code=\"200\",method=\"GET\",route=\"/api/v1/items/{n:04}\"}} {value}\n")
        };
        (0..PAGE_LINES).map(line).collect()
    };
    let pages: [String; 2] = [page(0), page(10_000)];
    let mut cache = ScrapeCache::new(Staleness::WithoutTimestamp);
    scrape(&mut cache, &pages[0]);
    for round in 0..rounds {
        assert_eq!(scrape(&mut cache, &pages[usize::from(round.is_multiple_of(2))]), 0, "lines that are new");
    }
}

/// Reads a page as the scraper does; returns how many lines were new.
fn scrape(cache: &mut ScrapeCache<u64>, page: &str) -> u64 {
    let mut parser = Parser::new(Format::Text, page.as_bytes());
    let (mut sum, mut new) = (0.0, 0);
    loop {
        cache.take_unchanged(&mut parser, |_, sample| sum += sample.value);
        match cache.next(&mut parser).expect("the page is good") {
            Some(Line::Known { sample, .. }) => sum += sample.value,
            Some(Line::New(series)) => {
                new += 1;
                cache.remember(&series, new).expect("there is room");
            }
            Some(Line::Metadata(_)) => {}
            None => break,
        }
    }
    cache.finish(Outcome::Good, |_| panic!("no line vanishes"));
    black_box(sum);
    new
}
