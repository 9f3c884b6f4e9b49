//! The value of a series at a time. Values are whole numbers or have two decimals, as most real ones, and counters and
//! histogram buckets never fall while samples are three seconds apart or more.

use super::mix;

/// How the values of a series run. Rates are per second, and are multiplied by a factor of the series' own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// A counter of whole numbers; one in three does not move, as in real life.
    Counter {
        /// Mean increase per second.
        rate: f64,
    },
    /// A counter with two decimals, as of seconds.
    CounterHundredths {
        /// Mean increase per second.
        rate: f64,
    },
    /// A cumulative histogram bucket or count: the part `share` of the histogram's observations. One histogram in four
    /// is idle.
    Bucket {
        /// Mean observations per second.
        rate: f64,
        /// Cumulative share of the observations, 1 for the count and `+Inf`.
        share: f64,
    },
    /// The sum of a histogram whose observations have this mean.
    Sum {
        /// Mean observations per second.
        rate: f64,
        /// Mean of an observation.
        mean: f64,
    },
    /// A gauge of bytes in pages of 4 KiB around a base.
    Bytes {
        /// The middle of its run.
        base: f64,
    },
    /// A gauge of whole numbers around a base.
    Level {
        /// The middle of its run.
        base: f64,
    },
    /// A gauge with two decimals around a base.
    LevelHundredths {
        /// The middle of its run.
        base: f64,
    },
    /// A gauge that hardly ever changes: sizes, limits, information.
    Constant {
        /// Its value, the same for all targets.
        value: f64,
    },
}

/// Seconds within which the random part of a counter moves; samples must be at least this far apart.
const JITTER_S: f64 = 3.0;

/// The value at `at_ms` of a series whose random numbers are `stream`'s and which began at `born_ms`.
pub(super) fn at(shape: Shape, stream: u64, born_ms: i64, at_ms: i64) -> f64 {
    let age_s = (at_ms - born_ms) as f64 / 1000.0;
    let noise = unit(mix(stream ^ (at_ms as u64)));
    // Observations so far: of a histogram the same for all its parts, for they share the stream.
    let counted = |rate: f64| (rate * factor(stream) * (age_s + JITTER_S * noise)).floor();
    let observed = |rate: f64| if stream.is_multiple_of(4) { (rate * 1000.0).floor() } else { counted(rate) };
    match shape {
        Shape::Counter { rate } if stream.is_multiple_of(3) => (rate * 1000.0).floor(),
        Shape::CounterHundredths { rate } if stream.is_multiple_of(3) => (rate * 100.0).floor() / 100.0,
        Shape::Counter { rate } => counted(rate),
        Shape::CounterHundredths { rate } => counted(rate * 100.0) / 100.0,
        Shape::Bucket { rate, share } => (share * observed(rate)).floor(),
        Shape::Sum { rate, mean } => (mean * observed(rate) * 1000.0).floor() / 1000.0,
        Shape::Bytes { base } => (base * run(stream, at_ms, noise) / 4096.0).floor() * 4096.0,
        Shape::Level { base } => (base * run(stream, at_ms, noise)).floor(),
        Shape::LevelHundredths { base } => (base * run(stream, at_ms, noise) * 100.0).floor() / 100.0,
        Shape::Constant { value } => value,
    }
}

/// A slow swing between 0.7 and 1.3 with a noise of 2 %, times the series' own factor.
fn run(stream: u64, at_ms: i64, noise: f64) -> f64 {
    let period_ms = 1_200_000 + (stream % 4_096) as i64 * 1_000;
    let position = ((at_ms + (stream >> 20 & 0xfff_ffff) as i64) % period_ms) as f64 / period_ms as f64;
    let swing = 1.0 - (2.0 * position - 1.0).abs();
    factor(stream) * (0.7 + 0.6 * swing + 0.02 * noise)
}

/// What makes one series larger than its neighbour: 0.2 to 4.2.
fn factor(stream: u64) -> f64 {
    0.2 + 4.0 * unit(mix(stream))
}

/// A number in [0, 1) from the upper 53 bits.
fn unit(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1u64 << 53) as f64
}
