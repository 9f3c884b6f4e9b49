//! A block over its header answers as the block itself does, and reads little of it.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::WriterLimits;
use crate::source::MemoryBlock;
use crate::testing::{Random, answer, in_memory, open, random_series, request, select};
use model::Matcher;

/// Counts what is read of series and chunks, and of all else.
struct Counted {
    inner: MemoryBlock,
    reads: Arc<AtomicUsize>,
}

struct CountedFile(Arc<dyn RangeRead>, Arc<AtomicUsize>);

impl BlockSource for Counted {
    fn open(&self, file: BlockFile) -> io::Result<Arc<dyn RangeRead>> {
        Ok(Arc::new(CountedFile(self.inner.open(file)?, self.reads.clone())))
    }
}

impl RangeRead for CountedFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.read(offset, len)
    }
}

#[test]
fn a_block_over_its_header_is_the_block() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 1..20 {
        let memory = in_memory(&random_series(&mut Random(seed), 200), WriterLimits::default());
        let near = open(&memory).unwrap();
        let reads = Arc::new(AtomicUsize::new(0));
        let far = Arc::new(Counted { inner: memory.clone(), reads: reads.clone() });
        let path = folder.path().join(seed.to_string());
        IndexHeader::write(&*far, &path).unwrap();
        reads.store(0, Ordering::SeqCst);
        let block = IndexHeader::open(&path, far).unwrap().into_block().unwrap();
        assert_eq!(block.label_names(&[]).unwrap(), near.label_names(&[]).unwrap());
        assert_eq!(reads.load(Ordering::SeqCst), 0, "opening reads the header alone");
        for matchers in [vec![], vec![Matcher::equal("__name__", "up")], vec![Matcher::equal("__name__", "none")]] {
            reads.store(0, Ordering::SeqCst);
            let found = select(&block, &request(matchers.clone())).unwrap();
            // A read of series and one of chunks; the head of the chunk file, once.
            assert!(reads.load(Ordering::SeqCst) <= 3, "{} reads", reads.load(Ordering::SeqCst));
            assert_eq!(answer(&found), answer(&select(&near, &request(matchers)).unwrap()));
        }
    }
}

#[test]
fn a_damaged_header_is_noticed_wherever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let memory = in_memory(&random_series(&mut Random(7), 20), WriterLimits::default());
    let path = folder.path().join("header");
    IndexHeader::write(&memory, &path).unwrap();
    let whole = fs::read(&path).unwrap();
    let check = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        IndexHeader::open(&path, Arc::new(memory.clone())).map(drop)
    };
    check(&whole).unwrap();
    for at in (0..whole.len()).step_by(37) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        assert!(matches!(check(&bytes), Err(HeaderError::Damaged { .. })), "flipped at {at}");
        assert!(matches!(check(&whole[..at]), Err(HeaderError::Damaged { .. })), "cut at {at}");
    }
    // Numbers that do not belong together, under a checksum that holds.
    let footer = whole.len() - FOOTER_BYTES as usize;
    for number in 0..5 {
        for value in [0, 1, u64::MAX, u64::MAX / 2, 1 << 40] {
            let mut bytes = whole.clone();
            bytes[footer + number * 8..][..8].copy_from_slice(&u64::to_le_bytes(value));
            let end = bytes.len() - 4;
            let crc = crc32c::crc32c(&bytes[..end]);
            bytes[end..].copy_from_slice(&crc.to_le_bytes());
            if bytes != whole {
                assert!(matches!(check(&bytes), Err(HeaderError::Damaged { .. })), "number {number} is {value}");
            }
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing unfinished is left");
}

#[test]
fn any_bytes_are_a_header_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(11);
    for seed in 1..5 {
        let memory = in_memory(&random_series(&mut Random(seed), 30), WriterLimits::default());
        let path = folder.path().join("header");
        IndexHeader::write(&memory, &path).unwrap();
        let whole = fs::read(&path).unwrap();
        crate::fuzzing::fuzz_header(&whole);
        for _ in 0..1000 {
            let mut bytes = whole.clone();
            for _ in 0..1 + random.below(4) {
                // As often in the footer as anywhere else.
                let len = bytes.len() as u64;
                let from = if random.below(2) == 0 { len - FOOTER_BYTES } else { 0 };
                let at = from + random.below(len - from);
                bytes[at as usize] = random.below(256) as u8;
            }
            if random.below(4) == 0 {
                bytes.truncate(random.below(whole.len() as u64) as usize);
            }
            crate::fuzzing::fuzz_header(&bytes);
        }
    }
}
