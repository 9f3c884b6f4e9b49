//! Samples whose seed determines them: counters with resets, gauges, a classic histogram, series that come and go.

use e2e::random::Random;
use e2e::write::{STALE, Series};

/// 2026-02-28 22:30 UTC: within the two hours that follow, the day, the month and the hour change.
pub(crate) const BASE_MS: i64 = 1_772_317_800_000;
/// How long the samples last.
pub(crate) const LENGTH_MS: i64 = 2 * 3_600_000;
/// Between the samples of a series.
pub(crate) const INTERVAL_MS: i64 = 15_000;
/// Series differ in phase by less than this.
const PHASES_MS: i64 = 300;

/// All series, with their samples. `phase_ms` into each interval lie the samples of every other series; the others have
/// phases of their own after it.
pub(crate) fn all(random: &mut Random, phase_ms: i64) -> Vec<Series> {
    let mut all = Filling { phase_ms, series: Vec::new() };
    counters(random, &mut all);
    gauges(random, &mut all);
    histograms(random, &mut all);
    flaky(random, &mut all);
    all.series
}

struct Filling {
    phase_ms: i64,
    series: Vec<Series>,
}

const JOBS: [&str; 2] = ["api", "db"];
const INSTANCES: [&str; 3] = ["a:1", "b:1", "c:1"];

/// Fills a series by `value`, which is given the index of the sample.
fn fill(all: &mut Filling, mut series: Series, mut value: impl FnMut(i64) -> Option<f64>) {
    let count = all.series.len();
    let phase = all.phase_ms + if count.is_multiple_of(2) { 0 } else { count as i64 * 37 % PHASES_MS };
    for index in 0..LENGTH_MS / INTERVAL_MS {
        if let Some(value) = value(index) {
            series.samples.push((BASE_MS + phase + index * INTERVAL_MS, value));
        }
    }
    all.series.push(series);
}

fn counters(random: &mut Random, all: &mut Filling) {
    for job in JOBS {
        for instance in INSTANCES {
            for code in ["200", "404", "500"] {
                for handler in ["/", "/query"] {
                    let labels = [("job", job), ("instance", instance), ("code", code), ("handler", handler)];
                    let mut total = 50_000 + random.below(1000);
                    fill(all, Series::new("http_requests_total", &labels), |_| {
                        if random.below(150) == 0 {
                            total = 0;
                        }
                        total += random.below(40);
                        Some(total as f64)
                    });
                }
            }
        }
    }
}

fn gauges(random: &mut Random, all: &mut Filling) {
    for floor in ["0", "1"] {
        for room in ["bath", "hall", "kitchen", "study"] {
            let mean = if floor == "0" { -4.0 } else { 21.0 };
            let series = Series::new("temperature_celsius", &[("floor", floor), ("room", room)]);
            fill(all, series, |index| Some(mean + 9.0 * (index as f64 / 70.0).sin() + random.unit()));
        }
    }
    for n in ["1", "2", "3"] {
        fill(all, Series::new("small_ratio", &[("n", n)]), |_| Some(random.unit() * 1.98 - 0.99));
        // Between 1970 and 2043.
        fill(all, Series::new("event_time_seconds", &[("n", n)]), |_| Some(random.below(2_300_000_000) as f64));
        let mut code = 3;
        fill(all, Series::new("status_code", &[("n", n)]), |_| {
            if random.below(6) == 0 {
                code = random.below(5);
            }
            Some(code as f64)
        });
    }
    for (index, job) in JOBS.into_iter().enumerate() {
        for instance in INSTANCES {
            let labels = [("job", job), ("instance", instance)];
            let limit = (4 + random.below(4)) << 30;
            fill(all, Series::new("memory_limit_bytes", &labels), |_| Some(limit as f64));
            let used = limit as f64 * (0.3 + 0.4 * random.unit());
            fill(all, Series::new("memory_bytes", &labels), |_| Some((used * (0.8 + 0.3 * random.unit())).floor()));
            let version = ["1.4.2", "1.5.0-rc1"][index];
            let build = [("job", job), ("instance", instance), ("version", version)];
            fill(all, Series::new("build_info", &build), |_| Some(1.0));
        }
    }
}

fn histograms(random: &mut Random, all: &mut Filling) {
    const BOUNDS: [&str; 8] = ["0.005", "0.01", "0.05", "0.1", "0.5", "1", "5", "+Inf"];
    for job in JOBS {
        for instance in INSTANCES {
            let mut totals = [20_000u64; BOUNDS.len()];
            let mut rows: Vec<[u64; BOUNDS.len()]> = Vec::new();
            for _ in 0..LENGTH_MS / INTERVAL_MS {
                for _ in 0..random.below(30) {
                    let bucket = random.below(BOUNDS.len() as u64) as usize;
                    totals[bucket..].iter_mut().for_each(|total| *total += 1);
                }
                rows.push(totals);
            }
            let labels = [("job", job), ("instance", instance)];
            for (bound, le) in BOUNDS.into_iter().enumerate() {
                let series = Series::new("request_duration_seconds_bucket", &[labels[0], labels[1], ("le", le)]);
                fill(all, series, |index| Some(rows[index as usize][bound] as f64));
            }
            let last = BOUNDS.len() - 1;
            fill(all, Series::new("request_duration_seconds_count", &labels), |i| Some(rows[i as usize][last] as f64));
            let sum = |i: i64| Some(rows[i as usize][last] as f64 * 0.37);
            fill(all, Series::new("request_duration_seconds_sum", &labels), sum);
        }
    }
}

/// Samples missing here and there, gaps of eight minutes with and without a stale marker, and values that are no numbers.
fn flaky(random: &mut Random, all: &mut Filling) {
    for n in 0..6u64 {
        let name = n.to_string();
        fill(all, Series::new("flaky", &[("n", &name)]), |index| match index % 120 {
            80 if n % 2 == 0 => Some(STALE),
            80..112 => None,
            _ if random.below(5) == 0 => None,
            _ if n == 4 && random.below(6) == 0 => Some(f64::NAN),
            _ if n == 5 && random.below(12) == 0 => Some(f64::INFINITY),
            _ => Some((n + 1) as f64 * (1.0 + random.unit())),
        });
    }
}
