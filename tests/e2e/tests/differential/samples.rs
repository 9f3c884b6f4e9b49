//! Series whose seed determines them: what random expressions are asked of. All have `job` and `instance`, so that nearly any
//! two of them can be matched. Values are multiples of 1/8: what is added up does not depend on the order.

use e2e::histogram::{Buckets, CUSTOM, Hint, Histogram};
use e2e::random::Random;
use e2e::write::{STALE, Series};

use super::since::{self, Language};

/// 2026-02-28 22:30 UTC: the day and the month change within.
pub(crate) const BASE_MS: i64 = 1_772_317_800_000;
/// How long the samples last.
pub(crate) const LENGTH_MS: i64 = 90 * 60_000;
const INTERVAL_MS: i64 = 15_000;

const JOBS: [&str; 2] = ["api", "db"];
const INSTANCES: [&str; 3] = ["a:1", "b:1", "c:1"];

/// All series, sorted by their labels: a store that gives them in the order of their creation gives them in this one.
pub(crate) fn all(random: &mut Random, language: Language) -> Vec<Series> {
    let mut all = Vec::new();
    for job in JOBS {
        for instance in INSTANCES {
            let target = [("job", job), ("instance", instance)];
            counters(random, &mut all, target);
            gauges(random, &mut all, target);
            classic(random, &mut all, target);
            infos(random, &mut all, target);
            if language.is_newer() {
                natives(random, &mut all, target);
            }
        }
    }
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    // A marker of no effect creates them all, in this order.
    all.iter_mut().for_each(|one| one.samples.insert(0, (BASE_MS - 60_000, STALE)));
    if language == Language::Old {
        for one in &mut all {
            let name = one.labels.iter().find(|label| label.0 == "__name__").map_or("", |label| &label.1);
            let more = if since::is_counter(name) { since::COUNTER_MIN } else { 0.0 };
            for (at_ms, value) in &mut one.samples {
                *at_ms = since::off_the_edges(*at_ms);
                // A marker is one by its bits.
                *value = if value.is_nan() { *value } else { *value + more };
            }
        }
    }
    all
}

/// Times of the samples of one series: on the grid or beside it, with gaps, from the beginning or later, to the end or not.
struct Times {
    all: Vec<i64>,
    /// Where a gap begins with a stale marker.
    stale: Vec<i64>,
}

fn times(random: &mut Random) -> Times {
    let phase = if random.below(2) == 0 { 0 } else { random.below(15_000) as i64 };
    let jitter = if random.below(3) == 0 { 400 } else { 1 };
    let (mut from, mut until) = (0, LENGTH_MS);
    if random.below(5) == 0 {
        from = random.below(50) as i64 * 60_000;
    }
    if random.below(5) == 0 {
        until = from + 10 * 60_000 + random.below(60) as i64 * 60_000;
    }
    let (mut all, mut stale) = (Vec::new(), Vec::new());
    let mut at = from + phase;
    while at < until.min(LENGTH_MS) {
        all.push(BASE_MS + at + random.below(jitter) as i64);
        at += INTERVAL_MS;
        match random.below(160) {
            0 => at += INTERVAL_MS * random.below(40) as i64,
            1 => {
                stale.push(BASE_MS + at);
                at += INTERVAL_MS * (1 + random.below(40) as i64);
            }
            2..6 => at += INTERVAL_MS,
            _ => {}
        }
    }
    Times { all, stale }
}

fn fill(
    random: &mut Random,
    all: &mut Vec<Series>,
    name: &str,
    labels: &[(&str, &str)],
    mut value: impl FnMut(&mut Random) -> f64,
) {
    let mut series = Series::new(name, labels);
    let times = times(random);
    series.samples = times.all.into_iter().map(|at| (at, value(random))).collect();
    series.samples.extend(times.stale.into_iter().map(|at| (at, STALE)));
    series.samples.sort_by_key(|sample| sample.0);
    series.samples.dedup_by_key(|sample| sample.0);
    all.push(series);
}

fn counters(random: &mut Random, all: &mut Vec<Series>, target: [(&str, &str); 2]) {
    for code in ["200", "404", "500"] {
        let labels = [target[0], target[1], ("code", code)];
        let mut total = random.below(5000) as f64;
        fill(random, all, "requests_total", &labels, |random| {
            if random.below(60) == 0 {
                total = 0.0;
            }
            total += random.below(400) as f64 / 8.0;
            total
        });
    }
}

fn gauges(random: &mut Random, all: &mut Vec<Series>, target: [(&str, &str); 2]) {
    fill(random, all, "temperature", &target, |random| random.below(800) as f64 / 8.0 - 40.0);
    fill(random, all, "limit", &target, |random| 100.0 + random.below(50_000) as f64 / 8.0);
    fill(random, all, "small", &target, |random| random.below(1024) as f64 / 512.0 - 1.0);
    fill(random, all, "event_time", &target, |random| random.below(2_300_000_000) as f64);
    let mut state = 2;
    fill(random, all, "state", &target, |random| {
        if random.below(5) == 0 {
            state = random.below(4);
        }
        state as f64
    });
    fill(random, all, "flaky", &target, |random| match random.below(24) {
        0 => f64::NAN,
        1 => f64::INFINITY,
        2 => f64::NEG_INFINITY,
        3 => -0.0,
        _ => random.below(400) as f64 / 8.0 - 20.0,
    });
}

/// A histogram of the old kind; all its series have the same times, but for one that is missing now and then.
fn classic(random: &mut Random, all: &mut Vec<Series>, target: [(&str, &str); 2]) {
    const BOUNDS: [&str; 6] = ["0.01", "0.1", "0.5", "1", "5", "+Inf"];
    let times = times(random);
    let mut totals = [0u64; BOUNDS.len()];
    let mut columns: [Vec<(i64, f64)>; BOUNDS.len()] = Default::default();
    for at in times.all {
        if random.below(90) == 0 {
            totals = [0; BOUNDS.len()];
        }
        for _ in 0..random.below(20) {
            let bucket = random.below(BOUNDS.len() as u64) as usize;
            totals[bucket..].iter_mut().for_each(|total| *total += 1);
        }
        for (column, total) in columns.iter_mut().zip(totals) {
            column.push((at, total as f64));
        }
    }
    let count = columns.last().cloned().unwrap_or_default();
    for (le, samples) in BOUNDS.into_iter().zip(columns) {
        let mut series = Series::new("latency_bucket", &[target[0], target[1], ("le", le)]);
        series.samples = samples;
        all.push(series);
    }
    let mut sums = Series::new("latency_sum", &target);
    sums.samples = count.iter().map(|(at, total)| (*at, total * 0.375)).collect();
    let mut counts = Series::new("latency_count", &target);
    counts.samples = count;
    all.extend([sums, counts]);
}

fn infos(random: &mut Random, all: &mut Vec<Series>, target: [(&str, &str); 2]) {
    let version = ["1.4", "1.5"][random.below(2) as usize];
    let labels = [target[0], target[1], ("version", version), ("zone", "z1")];
    fill(random, all, "target_info", &labels, |_| 1.0);
    let labels = [target[0], target[1], ("branch", "main")];
    fill(random, all, "build_info", &labels, |_| 1.0);
}

fn natives(random: &mut Random, all: &mut Vec<Series>, target: [(&str, &str); 2]) {
    fill(random, all, "dotted.name", &[target[0], target[1], ("the.label", "x")], |random| random.below(80) as f64);
    for (name, kind) in [
        ("native", Kind::Counter),
        ("native_gauge", Kind::Gauge),
        ("native_float", Kind::Floats),
        ("native_custom", Kind::Custom),
        ("mixed", Kind::Counter),
    ] {
        let mut series = Series::new(name, &target);
        let times = times(random);
        let mut walk = Walk::new(random, kind);
        for at in times.all {
            if name == "mixed" && random.below(12) < 5 {
                series.samples.push((at, random.below(400) as f64 / 8.0));
            } else {
                series.histograms.push(walk.next(random, at));
            }
        }
        // A marker among floats ends histograms, too.
        series.samples.extend(times.stale.into_iter().map(|at| (at, STALE)));
        let taken: Vec<i64> = series.histograms.iter().map(|h| h.at_ms).collect();
        series.samples.sort_by_key(|sample| sample.0);
        series.samples.dedup_by_key(|sample| sample.0);
        series.samples.retain(|sample| taken.binary_search(&sample.0).is_err());
        all.push(series);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Floats,
    Custom,
}

/// A histogram that grows, is reset, and changes its schema or its bounds.
struct Walk {
    kind: Kind,
    now: Histogram,
}

const BUCKETS: usize = 7;

impl Walk {
    fn new(random: &mut Random, kind: Kind) -> Walk {
        let buckets = Buckets { first: 0, counts: vec![0.0; BUCKETS] };
        let mut now = Histogram {
            at_ms: 0,
            schema: if kind == Kind::Custom { CUSTOM } else { random.below(4) as i32 - 1 },
            floats: matches!(kind, Kind::Floats),
            hint: if kind == Kind::Gauge { Hint::Gauge } else { Hint::Unknown },
            sum: 0.0,
            zero_threshold: if kind == Kind::Custom { 0.0 } else { 0.001 },
            zero_count: 0.0,
            positive: buckets.clone(),
            negative: if kind == Kind::Custom || random.below(2) == 0 { Buckets::default() } else { buckets },
            bounds: Vec::new(),
        };
        if kind == Kind::Custom {
            now.bounds = bounds(random);
        }
        Walk { kind, now }
    }

    fn next(&mut self, random: &mut Random, at_ms: i64) -> Histogram {
        let now = &mut self.now;
        now.at_ms = at_ms;
        let changes = random.below(100) == 0;
        if random.below(50) == 0 || changes {
            for side in [&mut now.positive, &mut now.negative] {
                side.counts.iter_mut().for_each(|count| *count = 0.0);
            }
            (now.zero_count, now.sum) = (0.0, 0.0);
        }
        if changes && self.kind == Kind::Custom {
            now.bounds = bounds(random);
        } else if changes {
            now.schema = random.below(4) as i32 - 1;
            now.zero_threshold = [0.001, 0.01][random.below(2) as usize];
        }
        let of_custom = now.bounds.len() + 1;
        if self.kind == Kind::Custom {
            now.positive.counts.resize(of_custom, 0.0);
        }
        let part = if now.floats { 4.0 } else { 1.0 };
        for side in [&mut now.positive, &mut now.negative] {
            for count in &mut side.counts {
                match self.kind {
                    Kind::Gauge => *count = random.below(6) as f64,
                    _ => *count += (random.below(8).saturating_sub(3)) as f64 / part,
                }
            }
        }
        if self.kind != Kind::Custom {
            now.zero_count += random.below(3) as f64;
        }
        now.sum += random.below(200) as f64 / 8.0;
        self.now.clone()
    }
}

fn bounds(random: &mut Random) -> Vec<f64> {
    let sets: [&[f64]; 3] = [&[0.5, 1.0, 2.0, 5.0], &[0.5, 1.0, 2.0, 5.0, 10.0], &[1.0, 2.0, 8.0]];
    sets[random.below(3) as usize].to_vec()
}
