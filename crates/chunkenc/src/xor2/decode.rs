//! Reading chunks.

use super::{FIRST_START_KNOWN, HEADER_BYTES, STALE_NAN, START_BYTE, StartSample, VARYING_BITS};
use crate::DecodeError;
use crate::bits::BitReader;

/// What is wrong with a sample.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Truncated,
    VarintOverflow,
    Window { leading: u8, significant: u8 },
}

/// Fewest bytes of a chunk with samples: header, a byte of timestamp, a value.
const LEAST_BYTES: usize = HEADER_BYTES + 9;

/// Reads a chunk sample by sample.
#[derive(Clone, Debug)]
pub struct Xor2Decoder<'a> {
    bits: BitReader<'a>,
    sample_count: u16,
    read_count: u16,
    failed: Option<DecodeError>,
    first_start_known: bool,
    first_change: u16,
    start_ms: i64,
    timestamp_ms: i64,
    delta: u64,
    value_bits: u64,
    /// Of the last sample that is no marker.
    base_bits: u64,
    start_distance: i64,
    leading: u32,
    significant: u32,
    window_known: bool,
}

/// Where a chunk ended, for [`super::Xor2Encoder::from_bytes`].
pub(super) struct End {
    pub(super) position_bits: usize,
    pub(super) sample_count: u16,
    pub(super) start_ms: i64,
    pub(super) timestamp_ms: i64,
    pub(super) delta: u64,
    pub(super) value_bits: u64,
    pub(super) last_bits: u64,
    pub(super) start_distance: i64,
    pub(super) first_change: u16,
    /// Leading and trailing zeros, where a window was written.
    pub(super) window: Option<(u8, u8)>,
}

impl<'a> Xor2Decoder<'a> {
    /// Fails where not even the header is there.
    pub fn new(bytes: &'a [u8]) -> Result<Xor2Decoder<'a>, DecodeError> {
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(DecodeError::NoHeader { bytes: bytes.len() });
        };
        let sample_count = u16::from_be_bytes([header[0], header[1]]);
        if sample_count > 0 && bytes.len() < LEAST_BYTES {
            return Err(DecodeError::Truncated { sample: 0, sample_count });
        }
        Ok(Xor2Decoder {
            bits: BitReader::new(bytes, HEADER_BYTES),
            sample_count,
            read_count: 0,
            failed: None,
            first_start_known: header[START_BYTE] & FIRST_START_KNOWN != 0,
            first_change: u16::from(header[START_BYTE] & !FIRST_START_KNOWN),
            start_ms: 0,
            timestamp_ms: 0,
            delta: 0,
            value_bits: 0,
            base_bits: 0,
            start_distance: 0,
            leading: 0,
            significant: 64,
            window_known: false,
        })
    }

    /// The count in the header.
    pub fn sample_count(&self) -> u16 {
        self.sample_count
    }

    /// The next sample; `None` after the last. After an error it fails again.
    #[expect(clippy::should_implement_trait, reason = "an error ends the samples, which `Iterator` cannot say")]
    #[inline]
    pub fn next(&mut self) -> Result<Option<StartSample>, DecodeError> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        if self.read_count == self.sample_count {
            return Ok(None);
        }
        if let Err(fault) = self.read() {
            let (sample, sample_count) = (self.read_count, self.sample_count);
            let failed = match fault {
                Fault::Truncated => DecodeError::Truncated { sample, sample_count },
                Fault::VarintOverflow => DecodeError::VarintOverflow { sample, sample_count },
                Fault::Window { leading, significant } => {
                    DecodeError::Window { sample, sample_count, leading, significant }
                }
            };
            self.failed = Some(failed);
            return Err(failed);
        }
        self.read_count += 1;
        Ok(Some((self.start_ms, self.timestamp_ms, f64::from_bits(self.value_bits))))
    }

    #[inline]
    fn read(&mut self) -> Result<(), Fault> {
        let before = self.timestamp_ms;
        match self.read_count {
            0 => return self.first(),
            1 => {
                self.delta = self.uvarint()?;
                self.advance();
                self.value()?;
            }
            _ => self.joint()?,
        }
        if self.first_change > 0 && self.read_count >= self.first_change {
            let change = self.varying();
            let same = self.read_count == self.first_change;
            self.start_distance = if same { change } else { self.start_distance.wrapping_add(change) };
            self.start_ms = before.wrapping_sub(self.start_distance);
        }
        if self.bits.overrun() { Err(Fault::Truncated) } else { Ok(()) }
    }

    fn first(&mut self) -> Result<(), Fault> {
        self.timestamp_ms = self.varint()?;
        self.value_bits = self.bits.take(64);
        if self.value_bits != STALE_NAN {
            self.base_bits = self.value_bits;
        }
        if self.first_start_known {
            self.start_ms = self.timestamp_ms.wrapping_sub(self.varint()?);
        }
        if self.bits.overrun() { Err(Fault::Truncated) } else { Ok(()) }
    }

    fn advance(&mut self) {
        self.timestamp_ms = self.timestamp_ms.wrapping_add(self.delta.cast_signed());
    }

    #[inline]
    fn joint(&mut self) -> Result<(), Fault> {
        match (!self.bits.peek()).leading_zeros() {
            0 => {
                self.bits.consume(1);
                self.advance();
                self.value_bits = self.base_bits;
                Ok(())
            }
            1 => {
                self.bits.consume(2);
                self.advance();
                if self.bits.take(1) == 1 { self.new_window() } else { self.same_window() }
            }
            ones @ (2 | 3) => {
                self.bits.consume(ones + 1);
                let size = if ones == 2 { 13 } else { 20 };
                let change = (self.bits.take(size) << (64 - size)).cast_signed() >> (64 - size);
                self.change(change.cast_unsigned())
            }
            4 => {
                self.bits.consume(5);
                let change = self.bits.take(64);
                self.change(change)
            }
            _ => {
                self.bits.consume(5);
                self.advance();
                self.value_bits = STALE_NAN;
                Ok(())
            }
        }
    }

    fn change(&mut self, change: u64) -> Result<(), Fault> {
        self.delta = self.delta.wrapping_add(change);
        self.advance();
        self.value()
    }

    fn value(&mut self) -> Result<(), Fault> {
        match (!self.bits.peek()).leading_zeros() {
            0 => {
                self.bits.consume(1);
                self.value_bits = self.base_bits;
                Ok(())
            }
            1 => {
                self.bits.consume(2);
                self.same_window()
            }
            2 => {
                self.bits.consume(3);
                self.new_window()
            }
            _ => {
                self.bits.consume(3);
                self.value_bits = STALE_NAN;
                Ok(())
            }
        }
    }

    fn new_window(&mut self) -> Result<(), Fault> {
        let header = self.bits.take(11) as u32;
        let leading = header >> 6;
        // 64 is written as 0.
        let significant = ((header & 63).wrapping_sub(1) & 63) + 1;
        if leading + significant > 64 {
            let fault = Fault::Window { leading: leading as u8, significant: significant as u8 };
            return Err(if self.bits.overrun() { Fault::Truncated } else { fault });
        }
        (self.leading, self.significant, self.window_known) = (leading, significant, true);
        self.same_window()
    }

    fn same_window(&mut self) -> Result<(), Fault> {
        let differing = self.bits.take(self.significant);
        self.base_bits ^= differing << (64 - self.leading - self.significant);
        self.value_bits = self.base_bits;
        Ok(())
    }

    fn varying(&mut self) -> i64 {
        let ones = (!self.bits.peek()).leading_zeros().min(8);
        self.bits.consume(if ones < 8 { ones + 1 } else { 8 });
        let size = VARYING_BITS[ones as usize];
        if size == 0 {
            return 0;
        }
        let raw = self.bits.take(size);
        // Negative numbers come as high ones; the highest positive one is half the range.
        if size < 64 && raw > 1 << (size - 1) { raw.wrapping_sub(1 << size).cast_signed() } else { raw.cast_signed() }
    }

    /// An unsigned LEB128 varint.
    fn uvarint(&mut self) -> Result<u64, Fault> {
        let mut n = 0;
        for i in 0..10 {
            let byte = self.bits.take(8);
            if self.bits.overrun() {
                return Err(Fault::Truncated);
            }
            if i == 9 && byte > 1 {
                break;
            }
            n |= (byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(Fault::VarintOverflow)
    }

    fn varint(&mut self) -> Result<i64, Fault> {
        let zigzag = self.uvarint()?;
        Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    }

    /// Where the last sample read ends; `None` before the first.
    pub(super) fn end(&self) -> Option<End> {
        if self.read_count == 0 {
            return None;
        }
        let trailing = 64 - self.leading - self.significant;
        Some(End {
            position_bits: self.bits.position_bits(),
            sample_count: self.sample_count,
            start_ms: self.start_ms,
            timestamp_ms: self.timestamp_ms,
            delta: self.delta,
            value_bits: self.base_bits,
            last_bits: self.value_bits,
            start_distance: self.start_distance,
            first_change: self.first_change,
            window: self.window_known.then_some((self.leading as u8, trailing as u8)),
        })
    }
}

/// Appends all samples of a chunk to three columns and returns their number. On an error nothing is appended.
pub fn decode_xor2(
    bytes: &[u8],
    starts: &mut Vec<i64>,
    timestamps: &mut Vec<i64>,
    values: &mut Vec<f64>,
) -> Result<usize, DecodeError> {
    let mut decoder = Xor2Decoder::new(bytes)?;
    // A sample takes a bit at least: a wrong count must not cost memory.
    let count = usize::from(decoder.sample_count).min(bytes.len() * 8);
    let before = (starts.len(), timestamps.len(), values.len());
    starts.reserve(count);
    timestamps.reserve(count);
    values.reserve(count);
    loop {
        match decoder.next() {
            Ok(Some((start, t, v))) => {
                starts.push(start);
                timestamps.push(t);
                values.push(v);
            }
            Ok(None) => return Ok(usize::from(decoder.sample_count)),
            Err(e) => {
                starts.truncate(before.0);
                timestamps.truncate(before.1);
                values.truncate(before.2);
                return Err(e);
            }
        }
    }
}
