//! Numbers that a seed determines.

/// SplitMix64. Source: Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator for a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A whole number below `bound`, which is above zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound
    }

    /// A number in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// `NARTHEX_SEED`, or one of this run's own; printed, so that a failure can be had again.
pub fn seed(test: &str) -> u64 {
    let given = crate::variable("NARTHEX_SEED").and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| crate::now_ms().unsigned_abs() ^ u64::from(std::process::id()) << 44);
    eprintln!("{test}: NARTHEX_SEED={seed}");
    seed
}
