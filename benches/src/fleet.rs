//! The seeded fleet: which series exist at a time, with which labels and values. Everything is a pure function of the
//! seed, so that the program that checks what was stored needs no memory of what was sent.

mod series;
mod value;

pub use series::{Family, Template};

/// Series of one target at any moment.
pub const SERIES_PER_TARGET: usize = 1_000;
/// Pods of one target; a pod is what churn replaces, with a tenth of the target's series.
pub const PODS_PER_TARGET: usize = 10;
/// Bytes of the part of the `pod` label that changes with each generation, always the same number so that an encoded
/// request can be patched in place.
pub const POD_SUFFIX_BYTES: usize = 8;
/// Generations begin at multiples of this, so that ten samples at 15 s, sent together, belong to one generation.
pub const GENERATION_GRID_MS: i64 = 150_000;

const HOUR_MS: f64 = 3_600_000.0;
const TEAMS: [&str; 8] = ["checkout", "catalog", "payment", "search", "gateway", "orders", "billing", "session"];
const REGIONS: [&str; 4] = ["eu1", "eu2", "us1", "ap1"];

/// What is the same for every sample of a run.
#[derive(Debug)]
pub struct Fleet {
    seed: u64,
    targets: usize,
    generation_ms: i64,
    templates: Vec<Template>,
}

/// One life of one series: all samples between two churns of its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Counts up with each churn of the pod.
    pub number: i64,
    /// When it began, in milliseconds since the epoch; counters count from here.
    pub born_ms: i64,
}

impl Fleet {
    /// A fleet of `targets` targets of which the share `churn_per_hour` of all series is replaced every hour.
    pub fn new(seed: u64, targets: usize, churn_per_hour: f64) -> Fleet {
        assert!(churn_per_hour > 0.0, "churn must be positive");
        let grid = GENERATION_GRID_MS as f64;
        // 1 % per hour: each pod lives for 100 hours, and their births are spread evenly.
        let generation_ms = ((HOUR_MS / churn_per_hour / grid).round() as i64).max(1) * GENERATION_GRID_MS;
        Fleet { seed, targets, generation_ms, templates: series::templates() }
    }

    /// The number of targets.
    pub fn targets(&self) -> usize {
        self.targets
    }

    /// The series of every target, in the order of an exposition page: families are contiguous.
    pub fn templates(&self) -> &[Template] {
        &self.templates
    }

    /// The generation of a pod at a time.
    pub fn generation(&self, target: usize, pod: usize, at_ms: i64) -> Generation {
        let grids = (self.generation_ms / GENERATION_GRID_MS) as u64;
        let hash = mix(self.seed ^ mix((target * PODS_PER_TARGET + pod) as u64));
        let phase_ms = (hash % grids) as i64 * GENERATION_GRID_MS;
        let number = (at_ms + phase_ms).div_euclid(self.generation_ms);
        Generation { number, born_ms: number * self.generation_ms - phase_ms }
    }

    /// The changing part of the `pod` label: lower-case hex digits.
    pub fn pod_suffix(&self, target: usize, pod: usize, generation: Generation) -> [u8; POD_SUFFIX_BYTES] {
        let key = ((target * PODS_PER_TARGET + pod) as u64) << 32 ^ generation.number as u64;
        let mut hash = mix(self.seed.wrapping_add(1) ^ mix(key));
        std::array::from_fn(|_| {
            let digit = b"0123456789abcdef"[(hash & 15) as usize];
            hash >>= 4;
            digit
        })
    }

    /// The labels that the target adds to each of its series: those a scrape configuration would hold. Sorted.
    pub fn target_labels(&self, target: usize) -> [(&'static str, String); 6] {
        [
            ("cluster", format!("c{}", target % 3)),
            ("instance", self.instance(target)),
            ("job", "web".to_string()),
            ("region", REGIONS[target / 5 % REGIONS.len()].to_string()),
            ("team", TEAMS[target % TEAMS.len()].to_string()),
            ("zone", ["a", "b", "c"][target % 3].to_string()),
        ]
    }

    /// The `instance` label of a target.
    pub fn instance(&self, target: usize) -> String {
        format!("10.{}.{}.{}:9100", 16 + target / 4096, target / 64 % 64, 1 + target % 64)
    }

    /// The value of the `pod` label: the service, and the suffix that a churn changes.
    pub fn pod_label(&self, target: usize, pod: usize, generation: Generation) -> String {
        let suffix = self.pod_suffix(target, pod, generation);
        let suffix = suffix.iter().map(|&digit| char::from(digit)).collect::<String>();
        format!("web-{pod}-{suffix}")
    }

    /// All labels of one series, the metric name among them, sorted by name.
    pub fn labels(&self, target: usize, template: &Template, generation: Generation) -> Vec<(&'static str, String)> {
        let mut labels = vec![("__name__", template.name.clone())];
        labels.extend(self.target_labels(target));
        labels.push(("pod", self.pod_label(target, template.pod, generation)));
        labels.extend(template.own.iter().cloned());
        labels.sort_unstable();
        labels
    }

    /// The seed of a series' random numbers; the parts of one histogram share it, so that they fit each other.
    pub fn stream(&self, target: usize, template: &Template) -> u64 {
        mix(self.seed.wrapping_add(2) ^ mix((target * SERIES_PER_TARGET + template.stream) as u64))
    }

    /// The value of a series at a time. `stream` and `generation` are the series' own, passed so that a loop over times
    /// works them out once.
    pub fn value(&self, template: &Template, stream: u64, generation: Generation, at_ms: i64) -> f64 {
        value::at(template.shape, stream ^ generation.number as u64, generation.born_ms, at_ms)
    }
}

/// A permutation of 64 bits that looks random (the finaliser of SplitMix64, Steele and others 2014).
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
