//! Streams of bits, the most significant of each byte first.

/// Reads bits through a 64-bit window that is refilled by unaligned loads of eight bytes.
///
/// Reading past the end gives zeros; [`BitReader::overrun`] tells. So the hot loop checks once per sample, not once per read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    /// First byte that is not counted in `have`.
    next: usize,
    /// The next bits, left-aligned. Bits below `have` are zero or already those that a refill will bring.
    window: u64,
    /// Valid bits in `window`: at most 63; negative when more was consumed than there was.
    have: i32,
}

/// Bits that [`BitReader::refill`] makes available unless the bytes end.
pub(crate) const REFILL_BITS: i32 = 56;

impl<'a> BitReader<'a> {
    /// Starts at the first bit of `bytes[at..]`.
    pub(crate) fn new(bytes: &'a [u8], at: usize) -> BitReader<'a> {
        BitReader { bytes, next: at, window: 0, have: 0 }
    }

    /// Makes at least 56 bits available, or all that are left. Must not follow an overrun.
    #[inline(always)]
    pub(crate) fn refill(&mut self) {
        debug_assert!((0..64).contains(&self.have));
        match self.bytes.get(self.next..).and_then(|rest| rest.first_chunk::<8>()) {
            Some(eight) => {
                self.window |= u64::from_be_bytes(*eight) >> self.have;
                self.next += ((63 - self.have) >> 3) as usize;
                self.have |= REFILL_BITS;
            }
            None => self.refill_near_end(),
        }
    }

    #[cold]
    #[inline(never)]
    fn refill_near_end(&mut self) {
        while self.have < REFILL_BITS {
            let Some(byte) = self.bytes.get(self.next) else { return };
            self.window |= u64::from(*byte) << (56 - self.have);
            self.have += 8;
            self.next += 1;
        }
    }

    /// The next bits, left-aligned; those that were not refilled are unspecified.
    #[inline(always)]
    pub(crate) fn window(&self) -> u64 {
        self.window
    }

    /// Bits in the window; negative after an overrun.
    #[inline(always)]
    pub(crate) fn have(&self) -> i32 {
        self.have
    }

    /// Drops `n` bits, `n <= 63`.
    #[inline(always)]
    pub(crate) fn consume(&mut self, n: u32) {
        debug_assert!(n < 64);
        self.window <<= n;
        self.have -= n.cast_signed();
    }

    /// Takes `n` bits, `1 <= n <= 56`, that a refill made available.
    #[inline(always)]
    pub(crate) fn take(&mut self, n: u32) -> u64 {
        let bits = self.window >> (64 - n);
        self.consume(n);
        bits
    }

    /// Takes `n` bits, `1 <= n <= 64`, refilling as needed; `None` where the bytes end.
    pub(crate) fn take_long(&mut self, n: u32) -> Option<u64> {
        self.refill();
        if n <= REFILL_BITS.cast_unsigned() {
            let bits = self.take(n);
            return (!self.overrun()).then_some(bits);
        }
        let high = self.take(32);
        if self.overrun() {
            return None;
        }
        self.refill();
        let low = self.take(n - 32);
        (!self.overrun()).then_some(high << (n - 32) | low)
    }

    /// Whether more was consumed than there was.
    #[inline(always)]
    pub(crate) fn overrun(&self) -> bool {
        self.have < 0
    }

    /// Bits consumed, counted from the first of the bytes given; only where there was no overrun.
    pub(crate) fn position_bits(&self) -> usize {
        self.next * 8 - usize::try_from(self.have).expect("asked only where there was no overrun")
    }
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
