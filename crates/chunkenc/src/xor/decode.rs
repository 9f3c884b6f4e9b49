//! Reading a chunk, sample by sample or as two columns.

use super::HEADER_BYTES;
use crate::DecodeError;
use crate::bits::{BitReader, PEEK_BITS};

/// What is wrong with a sample; [`DecodeError`] without its place, so that it stays in a register.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Truncated,
    VarintOverflow,
    Window { leading: u8, significant: u8 },
}

impl Fault {
    #[cold]
    fn at(self, sample: u16, sample_count: u16) -> DecodeError {
        match self {
            Fault::Truncated => DecodeError::Truncated { sample, sample_count },
            Fault::VarintOverflow => DecodeError::VarintOverflow { sample, sample_count },
            Fault::Window { leading, significant } => {
                DecodeError::Window { sample, sample_count, leading, significant }
            }
        }
    }
}

/// The last sample read and what the next depends on.
#[derive(Clone, Copy, Debug)]
struct State<'a> {
    bits: BitReader<'a>,
    timestamp_ms: i64,
    delta: u64,
    value_bits: u64,
    /// Length of the window of differing bits. 64 at the start, as in Prometheus' reader.
    significant: u32,
    /// Bits behind the window.
    trailing: u32,
    window_known: bool,
}

impl<'a> State<'a> {
    /// Before the first sample.
    fn start(bytes: &'a [u8]) -> State<'a> {
        State {
            bits: BitReader::new(bytes, HEADER_BYTES),
            timestamp_ms: 0,
            delta: 0,
            value_bits: 0,
            significant: 64,
            trailing: 0,
            window_known: false,
        }
    }

    /// Reads the first sample.
    #[inline(always)]
    fn first(&mut self, bytes: &'a [u8]) -> Result<(), Fault> {
        let (zigzag, at) = uvarint(bytes, HEADER_BYTES)?;
        let value = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()).ok_or(Fault::Truncated)?;
        self.bits = BitReader::new(bytes, at + 8);
        self.timestamp_ms = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
        self.value_bits = u64::from_be_bytes(*value);
        Ok(())
    }

    /// Reads the second sample.
    #[inline(always)]
    fn second(&mut self, bytes: &'a [u8]) -> Result<(), Fault> {
        let (delta, at) = uvarint(bytes, self.bits.position_bits() / 8)?;
        self.bits = BitReader::new(bytes, at);
        self.delta = delta;
        self.timestamp_ms = self.timestamp_ms.wrapping_add(delta.cast_signed());
        self.value(self.bits.peek())
    }

    /// Reads any later sample.
    #[inline(always)]
    fn later(&mut self) -> Result<(), Fault> {
        let mut window = self.bits.peek();
        if window >> 63 == 0 {
            self.bits.consume(1);
            window <<= 1;
        } else {
            self.delta_change(window);
            window = self.bits.peek();
        }
        self.timestamp_ms = self.timestamp_ms.wrapping_add(self.delta.cast_signed());
        self.value(window)
    }

    #[inline(always)]
    fn delta_change(&mut self, window: u64) {
        let (prefix, size) = match (!window).leading_zeros() {
            1 => (2, 14),
            2 => (3, 17),
            3 => (4, 20),
            _ => {
                self.bits.consume(4);
                self.delta = self.delta.wrapping_add(self.bits.take(64));
                return;
            }
        };
        self.bits.consume(prefix + size);
        let raw = (window << prefix >> (64 - size)).cast_signed();
        // Negative numbers come as high ones; the highest positive one is half the range.
        let change = if raw > 1 << (size - 1) { raw - (1 << size) } else { raw };
        self.delta = self.delta.wrapping_add(change.cast_unsigned());
    }

    /// `window` are the next bits, at least 56 unless the chunk ends.
    #[inline(always)]
    fn value(&mut self, mut window: u64) -> Result<(), Fault> {
        if window >> 63 == 0 {
            self.bits.consume(1);
            return self.check_overrun();
        }
        if window >> 62 == 0b10 {
            self.bits.consume(2);
            window <<= 2;
        } else {
            self.bits.consume(13);
            let header = (window >> 51) as u32;
            let leading = header >> 6 & 31;
            // 64 is written as 0.
            let significant = ((header & 63).wrapping_sub(1) & 63) + 1;
            if leading + significant > 64 {
                self.check_overrun()?;
                return Err(Fault::Window { leading: leading as u8, significant: significant as u8 });
            }
            self.significant = significant;
            self.trailing = 64 - leading - significant;
            self.window_known = true;
            window <<= 13;
        }
        // What is left of the bits that were given.
        let differing = if self.significant <= PEEK_BITS - 1 - 13 {
            self.bits.consume(self.significant);
            window >> (64 - self.significant)
        } else {
            self.bits.take(self.significant)
        };
        self.value_bits ^= differing << self.trailing;
        self.check_overrun()
    }

    #[inline(always)]
    fn check_overrun(&self) -> Result<(), Fault> {
        if self.bits.overrun() { Err(Fault::Truncated) } else { Ok(()) }
    }
}

/// Reads an unsigned LEB128 varint at `at`; returns it and the place behind it.
fn uvarint(bytes: &[u8], at: usize) -> Result<(u64, usize), Fault> {
    let mut n = 0;
    for i in 0..10 {
        let byte = *bytes.get(at + i).ok_or(Fault::Truncated)?;
        if i == 9 && byte > 1 {
            break;
        }
        n |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Ok((n, at + i + 1));
        }
    }
    Err(Fault::VarintOverflow)
}

fn header(bytes: &[u8]) -> Result<u16, DecodeError> {
    let header = bytes.first_chunk().ok_or(DecodeError::NoHeader { bytes: bytes.len() })?;
    Ok(u16::from_be_bytes(*header))
}

/// Where a chunk ended, for [`super::XorEncoder::from_bytes`].
pub(super) struct End {
    pub(super) position_bits: usize,
    pub(super) timestamp_ms: i64,
    pub(super) delta: u64,
    pub(super) value_bits: u64,
    /// Leading and trailing zeros, where a window was written.
    pub(super) window: Option<(u8, u8)>,
}

/// Reads a chunk sample by sample.
#[derive(Clone, Debug)]
pub struct XorDecoder<'a> {
    bytes: &'a [u8],
    sample_count: u16,
    read_count: u16,
    state: State<'a>,
    failed: Option<DecodeError>,
}

impl<'a> XorDecoder<'a> {
    /// Fails where not even the count is there.
    pub fn new(bytes: &'a [u8]) -> Result<XorDecoder<'a>, DecodeError> {
        Ok(XorDecoder { bytes, sample_count: header(bytes)?, read_count: 0, state: State::start(bytes), failed: None })
    }

    /// The count in the header.
    pub fn sample_count(&self) -> u16 {
        self.sample_count
    }

    /// The next sample; `None` after the last. After an error it fails again.
    #[expect(clippy::should_implement_trait, reason = "an error ends the samples, which `Iterator` cannot say")]
    #[inline]
    pub fn next(&mut self) -> Result<Option<(i64, f64)>, DecodeError> {
        if self.read_count == self.sample_count {
            return Ok(None);
        }
        let read = match self.read_count {
            _ if self.failed.is_some() => Err(Fault::Truncated),
            0 => self.state.first(self.bytes),
            1 => self.state.second(self.bytes),
            _ => self.state.later(),
        };
        if let Err(fault) = read {
            let fault = fault.at(self.read_count, self.sample_count);
            return Err(*self.failed.get_or_insert(fault));
        }
        self.read_count += 1;
        Ok(Some((self.state.timestamp_ms, f64::from_bits(self.state.value_bits))))
    }

    /// Where the last sample read ends; `None` before the first.
    pub(super) fn end(&self) -> Option<End> {
        if self.read_count == 0 {
            return None;
        }
        let state = &self.state;
        let leading = 64 - state.significant - state.trailing;
        Some(End {
            position_bits: state.bits.position_bits(),
            timestamp_ms: state.timestamp_ms,
            delta: state.delta,
            value_bits: state.value_bits,
            window: state.window_known.then_some((leading as u8, state.trailing as u8)),
        })
    }
}

/// Appends all samples of a chunk to two columns and returns their number. On an error nothing is appended.
pub fn decode_xor(bytes: &[u8], timestamps: &mut Vec<i64>, values: &mut Vec<f64>) -> Result<usize, DecodeError> {
    let sample_count = header(bytes)?;
    // A sample takes two bits at least: a wrong count must not cost memory.
    if usize::from(sample_count) > bytes.len() * 4 {
        let sample = u16::try_from(bytes.len() * 4).expect("less than a u16");
        return Err(DecodeError::Truncated { sample, sample_count });
    }
    let count = usize::from(sample_count);
    let (timestamps_before, values_before) = (timestamps.len(), values.len());
    timestamps.resize(timestamps_before + count, 0);
    values.resize(values_before + count, 0.0);
    let read = fill(bytes, &mut timestamps[timestamps_before..], &mut values[values_before..]);
    read.map(|()| count).map_err(|(sample, fault)| {
        timestamps.truncate(timestamps_before);
        values.truncate(values_before);
        fault.at(u16::try_from(sample).expect("less than the count"), sample_count)
    })
}

/// Reads as many samples as the columns, which are equally long, have room for.
fn fill(bytes: &[u8], timestamps: &mut [i64], values: &mut [f64]) -> Result<(), (usize, Fault)> {
    let count = timestamps.len();
    let values = &mut values[..count];
    if count == 0 {
        return Ok(());
    }
    let mut state = State::start(bytes);
    state.first(bytes).map_err(|fault| (0, fault))?;
    (timestamps[0], values[0]) = (state.timestamp_ms, f64::from_bits(state.value_bits));
    if count == 1 {
        return Ok(());
    }
    state.second(bytes).map_err(|fault| (1, fault))?;
    (timestamps[1], values[1]) = (state.timestamp_ms, f64::from_bits(state.value_bits));
    let mut i = 2;
    while i < count {
        // Two zero bits are a sample at the same distance with the same value; constant series are runs of them.
        let window = state.bits.peek();
        if window >> 60 == 0 {
            let zeros = (window.leading_zeros().min(PEEK_BITS) as usize).min(state.bits.left_bits());
            let run = (zeros / 2).min(count - i);
            if run == 0 {
                return Err((i, Fault::Truncated));
            }
            let columns = (&mut timestamps[i..i + run], &mut values[i..i + run]);
            state.timestamp_ms = fill_run(columns, state.timestamp_ms, state.delta.cast_signed(), state.value_bits);
            state.bits.consume(run as u32 * 2);
            i += run;
            continue;
        }
        state.later().map_err(|fault| (i, fault))?;
        (timestamps[i], values[i]) = (state.timestamp_ms, f64::from_bits(state.value_bits));
        i += 1;
    }
    Ok(())
}

/// Writes samples at the same distance with the same value and returns the last timestamp. Not inlined: the compiler would
/// prepare its vector registers for every sample of the caller's loop, which doubled the time of changing values.
#[inline(never)]
fn fill_run(columns: (&mut [i64], &mut [f64]), mut timestamp_ms: i64, delta: i64, value_bits: u64) -> i64 {
    for timestamp in columns.0 {
        timestamp_ms = timestamp_ms.wrapping_add(delta);
        *timestamp = timestamp_ms;
    }
    columns.1.fill(f64::from_bits(value_bits));
    timestamp_ms
}
