//! Float samples, staleness, and the order that decides between two values of one timestamp.

use crate::TimestampMs;

/// The bits of the NaN that marks a series as ended. Source: Prometheus `model/value`.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// One float sample.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When.
    pub timestamp: TimestampMs,
    /// What.
    pub value: f64,
}

impl PartialEq for Sample {
    /// By bits: NaNs with equal payloads are equal, 0 and -0 are not.
    fn eq(&self, other: &Sample) -> bool {
        self.timestamp == other.timestamp && self.value.to_bits() == other.value.to_bits()
    }
}

/// The staleness marker.
pub fn stale_nan() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// Whether `v` is the staleness marker (no other NaN is).
pub fn is_stale(v: f64) -> bool {
    v.to_bits() == STALE_NAN_BITS
}

/// The value that stays when `a` and `b` were written for one series and timestamp: a value before a staleness marker, then
/// the larger in IEEE total order. Commutative, associative and idempotent, so replicas agree in whatever order they hear.
pub fn join_values(a: f64, b: f64) -> f64 {
    match (is_stale(a), is_stale(b)) {
        (true, _) => b,
        (_, true) => a,
        (false, false) => {
            if a.total_cmp(&b).is_lt() {
                b
            } else {
                a
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_bits() -> impl Strategy<Value = f64> {
        prop_oneof![any::<u64>().prop_map(f64::from_bits), Just(stale_nan()), Just(0.0), Just(-0.0), Just(f64::NAN)]
    }

    proptest! {
        #[test]
        fn joining_is_commutative_associative_idempotent(a in any_bits(), b in any_bits(), c in any_bits()) {
            let bits = |x: f64| x.to_bits();
            prop_assert_eq!(bits(join_values(a, b)), bits(join_values(b, a)));
            prop_assert_eq!(bits(join_values(a, join_values(b, c))), bits(join_values(join_values(a, b), c)));
            prop_assert_eq!(bits(join_values(a, a)), bits(a));
        }
    }

    #[test]
    fn a_value_wins_over_a_marker_and_the_larger_over_the_smaller() {
        assert_eq!(join_values(stale_nan(), 1.0).to_bits(), 1f64.to_bits());
        assert_eq!(join_values(1.0, 2.0).to_bits(), 2f64.to_bits());
        assert_eq!(join_values(-0.0, 0.0).to_bits(), 0f64.to_bits());
        assert_eq!(join_values(f64::NAN, f64::INFINITY).to_bits(), f64::NAN.to_bits());
    }
}
