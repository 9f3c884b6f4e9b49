//! Reading a chunk, sample by sample or as two columns.

use super::HEADER_BYTES;
use crate::DecodeError;
use crate::bits::BitReader;

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
    /// Reads the first sample.
    fn first(bytes: &'a [u8]) -> Result<State<'a>, Fault> {
        let (zigzag, at) = uvarint(bytes, HEADER_BYTES)?;
        let value = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()).ok_or(Fault::Truncated)?;
        Ok(State {
            bits: BitReader::new(bytes, at + 8),
            timestamp_ms: (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed(),
            delta: 0,
            value_bits: u64::from_be_bytes(*value),
            significant: 64,
            trailing: 0,
            window_known: false,
        })
    }

    /// Reads the second sample.
    fn second(&mut self, bytes: &'a [u8]) -> Result<(), Fault> {
        let (delta, at) = uvarint(bytes, self.bits.position_bits() / 8)?;
        self.bits = BitReader::new(bytes, at);
        self.delta = delta;
        self.timestamp_ms = self.timestamp_ms.wrapping_add(delta.cast_signed());
        self.bits.refill();
        self.value()
    }

    /// Reads any later sample; the bits are refilled.
    #[inline(always)]
    fn later(&mut self) -> Result<(), Fault> {
        if self.bits.window() >> 63 == 0 {
            self.bits.consume(1);
        } else {
            self.delta_change()?;
        }
        self.timestamp_ms = self.timestamp_ms.wrapping_add(self.delta.cast_signed());
        self.value()
    }

    /// At most 24 bits are consumed unless the change takes 64, after which there is a refill.
    #[inline(always)]
    fn delta_change(&mut self) -> Result<(), Fault> {
        let size = match (!self.bits.window()).leading_zeros() {
            1 => 14,
            2 => 17,
            3 => 20,
            _ => return self.long_delta_change(),
        };
        let shifted = self.bits.window()
            << (if size == 14 {
                2
            } else if size == 17 {
                3
            } else {
                4
            });
        let raw = (shifted >> (64 - size)).cast_signed();
        self.bits.consume(if size == 14 {
            16
        } else if size == 17 {
            20
        } else {
            24
        });
        // Negative numbers come as high ones; the highest positive one is half the range.
        let change = if raw > 1 << (size - 1) { raw - (1 << size) } else { raw };
        self.delta = self.delta.wrapping_add(change.cast_unsigned());
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn long_delta_change(&mut self) -> Result<(), Fault> {
        self.bits.consume(4);
        if self.bits.overrun() {
            return Err(Fault::Truncated);
        }
        let change = self.bits.take_long(64).ok_or(Fault::Truncated)?;
        self.delta = self.delta.wrapping_add(change);
        self.bits.refill();
        Ok(())
    }

    /// At least 32 bits are there unless the chunk ends.
    #[inline(always)]
    fn value(&mut self) -> Result<(), Fault> {
        if self.bits.window() >> 63 == 0 {
            self.bits.consume(1);
            return if self.bits.overrun() { Err(Fault::Truncated) } else { Ok(()) };
        }
        if self.bits.window() >> 62 == 0b10 {
            self.bits.consume(2);
        } else {
            let header = (self.bits.window() >> 51) as u32;
            self.bits.consume(13);
            let leading = header >> 6 & 31;
            // 64 is written as 0.
            let significant = ((header & 63).wrapping_sub(1) & 63) + 1;
            if leading + significant > 64 {
                return Err(self.bad_window(leading, significant));
            }
            self.significant = significant;
            self.trailing = 64 - leading - significant;
            self.window_known = true;
        }
        if self.bits.have() < self.significant.cast_signed() {
            return self.long_difference();
        }
        let differing = self.bits.take(self.significant) << self.trailing;
        self.value_bits ^= differing;
        Ok(())
    }

    /// The bits that differ where they are not all in the window.
    #[inline(always)]
    fn long_difference(&mut self) -> Result<(), Fault> {
        if self.bits.overrun() {
            return Err(Fault::Truncated);
        }
        self.bits.refill();
        if self.bits.have() >= self.significant.cast_signed() {
            self.value_bits ^= self.bits.take(self.significant) << self.trailing;
            return Ok(());
        }
        self.longest_difference()
    }

    #[cold]
    #[inline(never)]
    fn longest_difference(&mut self) -> Result<(), Fault> {
        let differing = self.bits.take_long(self.significant).ok_or(Fault::Truncated)?;
        self.value_bits ^= differing << self.trailing;
        Ok(())
    }

    #[cold]
    fn bad_window(&self, leading: u32, significant: u32) -> Fault {
        if self.bits.overrun() {
            return Fault::Truncated;
        }
        Fault::Window { leading: leading as u8, significant: significant as u8 }
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
    /// From the first sample on.
    state: Option<State<'a>>,
}

impl<'a> XorDecoder<'a> {
    /// Fails where not even the count is there.
    pub fn new(bytes: &'a [u8]) -> Result<XorDecoder<'a>, DecodeError> {
        Ok(XorDecoder { bytes, sample_count: header(bytes)?, read_count: 0, state: None })
    }

    /// The count in the header.
    pub fn sample_count(&self) -> u16 {
        self.sample_count
    }

    /// The next sample; `None` after the last. After an error it fails again.
    #[expect(clippy::should_implement_trait, reason = "an error ends the samples, which `Iterator` cannot say")]
    pub fn next(&mut self) -> Result<Option<(i64, f64)>, DecodeError> {
        if self.read_count == self.sample_count {
            return Ok(None);
        }
        let state = match self.state {
            None => State::first(self.bytes),
            Some(mut state) => {
                let read = if self.read_count == 1 {
                    state.second(self.bytes)
                } else {
                    state.bits.refill();
                    state.later()
                };
                read.map(|()| state)
            }
        };
        let state = state.map_err(|fault| fault.at(self.read_count, self.sample_count))?;
        self.state = Some(state);
        self.read_count += 1;
        Ok(Some((state.timestamp_ms, f64::from_bits(state.value_bits))))
    }

    /// Where the last sample read ends; `None` before the first.
    pub(super) fn end(&self) -> Option<End> {
        let state = self.state?;
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
    let mut state = State::first(bytes).map_err(|fault| (0, fault))?;
    (timestamps[0], values[0]) = (state.timestamp_ms, f64::from_bits(state.value_bits));
    if count == 1 {
        return Ok(());
    }
    state.second(bytes).map_err(|fault| (1, fault))?;
    (timestamps[1], values[1]) = (state.timestamp_ms, f64::from_bits(state.value_bits));
    let mut i = 2;
    while i < count {
        state.bits.refill();
        // Two zero bits are a sample at the same distance with the same value; constant series are runs of them.
        let zeros = state.bits.window().leading_zeros().min(state.bits.have().cast_unsigned());
        let run = (zeros / 2) as usize;
        if run > 1 {
            let run = run.min(count - i);
            for (timestamp, value) in timestamps[i..i + run].iter_mut().zip(&mut values[i..i + run]) {
                state.timestamp_ms = state.timestamp_ms.wrapping_add(state.delta.cast_signed());
                (*timestamp, *value) = (state.timestamp_ms, f64::from_bits(state.value_bits));
            }
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
