//! Streams of bits, the most significant of each byte first.

/// Reads bits by unaligned loads of eight bytes at the position.
///
/// Only the position is carried from read to read, and it mostly depends on predicted branches, not on what was loaded: so the
/// processor decodes several samples at once. (A window that is shifted and refilled took 1.5 times as long.)
/// Reading past the end gives zeros; [`BitReader::overrun`] tells. So the hot loop checks once per sample, not once per read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    position_bits: usize,
}

/// Bits that [`BitReader::peek`] gives unless the bytes end.
pub(crate) const PEEK_BITS: u32 = 57;

impl<'a> BitReader<'a> {
    /// Starts at the first bit of `bytes[at..]`. There must be eight bytes in all.
    pub(crate) fn new(bytes: &'a [u8], at: usize) -> BitReader<'a> {
        BitReader { bytes, position_bits: at * 8 }
    }

    /// The next 57 to 64 bits, left-aligned, then zeros; zeros behind the end.
    #[inline(always)]
    pub(crate) fn peek(&self) -> u64 {
        let start = self.position_bits >> 3;
        match self.bytes.get(start..start + 8) {
            Some(eight) => u64::from_be_bytes(eight.try_into().expect("eight bytes")) << (self.position_bits & 7),
            None => peek_near_end(self.bytes, self.position_bits),
        }
    }

    /// Goes forward.
    #[inline(always)]
    pub(crate) fn consume(&mut self, n: u32) {
        self.position_bits += n as usize;
    }

    /// Takes `n` bits, `1 <= n <= 64`.
    #[inline(always)]
    pub(crate) fn take(&mut self, n: u32) -> u64 {
        if n > PEEK_BITS {
            let high = self.peek() >> 32;
            self.consume(32);
            let low = self.peek() >> (96 - n);
            self.consume(n - 32);
            return high << (n - 32) | low;
        }
        let bits = self.peek() >> (64 - n);
        self.consume(n);
        bits
    }

    /// Whether more was consumed than there is.
    #[inline(always)]
    pub(crate) fn overrun(&self) -> bool {
        self.position_bits > self.bytes.len() * 8
    }

    /// Bits that are left; none after an overrun.
    #[inline(always)]
    pub(crate) fn left_bits(&self) -> usize {
        (self.bytes.len() * 8).saturating_sub(self.position_bits)
    }

    /// Bits consumed, counted from the first of the bytes given.
    pub(crate) fn position_bits(&self) -> usize {
        self.position_bits
    }
}

/// [`BitReader::peek`] within the last eight bytes and behind them.
#[cold]
fn peek_near_end(bytes: &[u8], position_bits: usize) -> u64 {
    let last = bytes.last_chunk::<8>().expect("eight bytes are there");
    let skip = position_bits - (bytes.len() - 8) * 8;
    if skip < 64 { u64::from_be_bytes(*last) << skip } else { 0 }
}

/// Appends the low `n` bits of `bits`, `1 <= n <= 64`, to `out`, in whose last byte the lowest `free` bits (0 to 7) are free,
/// and returns how many are free then. Higher bits of `bits` must be zero.
pub(crate) fn put_bits(out: &mut Vec<u8>, free: u8, bits: u64, n: u32) -> u8 {
    debug_assert!((1..=64).contains(&n));
    debug_assert!(n == 64 || bits >> n == 0, "{bits:#x} has more than {n} bits");
    let free = u32::from(free);
    let mut rest = n;
    if free > 0 {
        let last = out.last_mut().expect("a byte with free bits exists");
        if n <= free {
            *last |= (bits << (free - n)) as u8;
            return (free - n) as u8;
        }
        rest -= free;
        *last |= (bits >> rest) as u8;
    }
    // `rest` is 1 to 64 here: the first byte to append begins with its highest bit.
    let aligned = (bits << (64 - rest)).to_be_bytes();
    let bytes = rest.div_ceil(8) as usize;
    grow(out, bytes);
    if out.capacity() - out.len() >= 8 {
        // A copy of constant size is one store.
        let len = out.len() + bytes;
        out.extend_from_slice(&aligned);
        out.truncate(len);
    } else {
        out.extend_from_slice(&aligned[..bytes]);
    }
    (bytes as u32 * 8 - rest) as u8
}

/// Makes room for `bytes` more in steps of jemalloc's size classes of 32 bytes and more, since millions of these are alive:
/// doubling would waste a quarter of the memory that samples take.
fn grow(out: &mut Vec<u8>, bytes: usize) {
    let needed = out.len() + bytes;
    if needed <= out.capacity() {
        return;
    }
    let target = match needed {
        0..=256 => needed.next_multiple_of(32),
        257..=512 => needed.next_multiple_of(64),
        _ => (needed + needed / 8).next_multiple_of(128),
    };
    out.reserve_exact(target - out.len());
}
