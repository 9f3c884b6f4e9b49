//! The numbers of a histogram from sample to sample. Source: `histogram.go`, `float_histogram.go` and `xor.go` in
//! `tsdb/chunkenc`.

use crate::bits::BitReader;
use crate::varbit::{BitWriter, take_int, take_uint};

/// A count, as the samples before it left it. The state after reading is the state after writing.
pub(crate) trait Field: Copy + std::fmt::Debug + Default + 'static {
    /// What it counts in. Integer counts of 64 bits without a sign are kept as the signed ones with the same bits.
    type Value: Copy + std::fmt::Debug + Default + PartialOrd + 'static;

    /// Whether it counts in integers.
    const INTEGER: bool;

    /// Least bits that the first value of a bucket takes.
    const FIRST_BITS_MIN: usize;

    /// Writes the count of all or of the zero bucket in the first sample.
    fn put_first_count(out: &mut BitWriter, value: Self::Value) -> Self;
    /// Writes a bucket in the first sample.
    fn put_first_bucket(out: &mut BitWriter, value: Self::Value) -> Self;
    /// Writes any of them in a later sample.
    fn put_next(&mut self, out: &mut BitWriter, value: Self::Value);
    /// Writes a count of a later sample that marks the end.
    fn put_stale(&mut self, out: &mut BitWriter);

    /// Reads what `put_first_count` wrote.
    fn take_first_count(bits: &mut BitReader<'_>) -> Self;
    /// Reads what `put_first_bucket` wrote.
    fn take_first_bucket(bits: &mut BitReader<'_>) -> Self;
    /// Reads what `put_next` wrote. `None`: not possible.
    fn take_next(&mut self, bits: &mut BitReader<'_>) -> Option<()>;

    /// The value now.
    fn value(&self) -> Self::Value;
    /// Whether one count of all observations is less than another.
    fn count_is_less(a: Self::Value, b: Self::Value) -> bool;
    /// The absolute count of a bucket, from the one before it and what is stored.
    fn absolute(before: Self::Value, stored: Self::Value) -> Self::Value;
    /// What is stored of a bucket, from the absolute counts of the one before and of itself.
    fn stored(before: Self::Value, absolute: Self::Value) -> Self::Value;
}

/// Counts and differences between buckets as changes of their change.
#[derive(Clone, Copy, Debug, Default)]
pub struct IntegerField {
    value: i64,
    delta: i64,
}

impl Field for IntegerField {
    type Value = i64;

    const INTEGER: bool = true;
    const FIRST_BITS_MIN: usize = 1;

    fn put_first_count(out: &mut BitWriter, value: i64) -> IntegerField {
        out.put_uint(value.cast_unsigned());
        IntegerField { value, delta: 0 }
    }

    fn put_first_bucket(out: &mut BitWriter, value: i64) -> IntegerField {
        out.put_int(value);
        IntegerField { value, delta: 0 }
    }

    fn put_next(&mut self, out: &mut BitWriter, value: i64) {
        let delta = value.wrapping_sub(self.value);
        out.put_int(delta.wrapping_sub(self.delta));
        *self = IntegerField { value, delta };
    }

    fn put_stale(&mut self, out: &mut BitWriter) {
        out.put_int(0);
    }

    fn take_first_count(bits: &mut BitReader<'_>) -> IntegerField {
        IntegerField { value: take_uint(bits).cast_signed(), delta: 0 }
    }

    fn take_first_bucket(bits: &mut BitReader<'_>) -> IntegerField {
        IntegerField { value: take_int(bits), delta: 0 }
    }

    fn take_next(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        self.delta = self.delta.wrapping_add(take_int(bits));
        self.value = self.value.wrapping_add(self.delta);
        Some(())
    }

    fn value(&self) -> i64 {
        self.value
    }

    fn count_is_less(a: i64, b: i64) -> bool {
        a.cast_unsigned() < b.cast_unsigned()
    }

    fn absolute(before: i64, stored: i64) -> i64 {
        before.wrapping_add(stored)
    }

    fn stored(before: i64, absolute: i64) -> i64 {
        absolute.wrapping_sub(before)
    }
}

/// A float as the bits in which it differs from the one before, within a window.
#[derive(Clone, Copy, Debug)]
pub struct FloatField {
    bits: u64,
    /// Zero bits before the window; [`NO_WINDOW`] while there is none.
    leading: u8,
    /// Zero bits behind it.
    trailing: u8,
}

const NO_WINDOW: u8 = 0xff;

impl Default for FloatField {
    fn default() -> FloatField {
        FloatField { bits: 0, leading: NO_WINDOW, trailing: 0 }
    }
}

impl FloatField {
    fn first(bits: u64) -> FloatField {
        FloatField { bits, ..FloatField::default() }
    }
}

impl Field for FloatField {
    type Value = f64;

    const INTEGER: bool = false;
    const FIRST_BITS_MIN: usize = 64;

    fn put_first_count(out: &mut BitWriter, value: f64) -> FloatField {
        out.put(value.to_bits(), 64);
        FloatField::first(value.to_bits())
    }

    fn put_first_bucket(out: &mut BitWriter, value: f64) -> FloatField {
        FloatField::put_first_count(out, value)
    }

    fn put_next(&mut self, out: &mut BitWriter, value: f64) {
        let differing = value.to_bits() ^ self.bits;
        self.bits = value.to_bits();
        if differing == 0 {
            out.put(0, 1);
            return;
        }
        // Five bits hold the leading zeros.
        let leading = differing.leading_zeros().min(31) as u8;
        let trailing = differing.trailing_zeros() as u8;
        if self.leading != NO_WINDOW && leading >= self.leading && trailing >= self.trailing {
            out.put(0b10, 2);
            out.put(differing >> self.trailing, 64 - u32::from(self.leading) - u32::from(self.trailing));
            return;
        }
        (self.leading, self.trailing) = (leading, trailing);
        let significant = 64 - u32::from(leading) - u32::from(trailing);
        // Six bits hold 1 to 64: 64 is written as 0.
        out.put(0b11 << 11 | u64::from(leading) << 6 | u64::from(significant & 63), 13);
        out.put(differing >> trailing, significant);
    }

    fn put_stale(&mut self, out: &mut BitWriter) {
        self.put_next(out, 0.0);
    }

    fn take_first_count(bits: &mut BitReader<'_>) -> FloatField {
        FloatField::first(bits.take(64))
    }

    fn take_first_bucket(bits: &mut BitReader<'_>) -> FloatField {
        FloatField::first(bits.take(64))
    }

    fn take_next(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        if bits.take(1) == 0 {
            return Some(());
        }
        if bits.take(1) == 1 {
            let header = bits.take(11) as u32;
            let leading = header >> 6;
            let significant = ((header & 63).wrapping_sub(1) & 63) + 1;
            if leading + significant > 64 {
                return None;
            }
            (self.leading, self.trailing) = (leading as u8, (64 - leading - significant) as u8);
        }
        // Prometheus goes on with a chunk that it read as if all 64 bits were a window.
        let (leading, trailing) = if self.leading == NO_WINDOW { (0, 0) } else { (self.leading, self.trailing) };
        let significant = 64 - u32::from(leading) - u32::from(trailing);
        self.bits ^= bits.take(significant) << trailing;
        Some(())
    }

    fn value(&self) -> f64 {
        f64::from_bits(self.bits)
    }

    fn count_is_less(a: f64, b: f64) -> bool {
        a < b
    }

    fn absolute(_: f64, stored: f64) -> f64 {
        stored
    }

    fn stored(_: f64, absolute: f64) -> f64 {
        absolute
    }
}
