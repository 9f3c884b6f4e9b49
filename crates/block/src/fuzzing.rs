//! Entry points for fuzzing: any bytes are read or refused, also behind checksums, which are not compared here.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use model::{MatchOp, Matcher, TenantId, TimeRange, TimestampMs};
use storage::{SelectRequest, Shard};

use crate::read::Block;
use crate::source::{Checksums, MemoryBlock, MemoryFile};
use crate::{BlockFile, IndexHeader, ReadError};

const META: &str = r#"{"ulid":"01ARZ3NDEKTSV4RRFFQ69G5FAV","minTime":0,"maxTime":1,"version":1}"#;

/// `bytes` as the index, with and without checksums, and as a chunk file.
pub fn fuzz_index_and_chunks(index: &[u8], segment: &[u8], tombstones: &[u8]) {
    for checksums in [Checksums::Compared, Checksums::Ignored] {
        let files = [
            (BlockFile::Meta, Bytes::from_static(META.as_bytes())),
            (BlockFile::Index, Bytes::copy_from_slice(index)),
            (BlockFile::Segment(1), Bytes::copy_from_slice(segment)),
            (BlockFile::Tombstones, Bytes::copy_from_slice(tombstones)),
        ];
        let source = Arc::new(MemoryBlock(HashMap::from(files)));
        if let Ok(block) = Block::open_with(source, checksums) {
            ask_everything(&block);
        }
    }
}

/// Two lengths (four bytes each, little-endian), then an index, a chunk file and tombstones.
pub fn fuzz_files(bytes: &[u8]) {
    let Some((lengths, rest)) = bytes.split_first_chunk::<8>() else { return };
    let [a, b, c, d, e, f, g, h] = *lengths;
    let cut = |len: [u8; 4], rest: usize| (u32::from_le_bytes(len) as usize).min(rest);
    let (index, rest) = rest.split_at(cut([a, b, c, d], rest.len()));
    let (segment, tombstones) = rest.split_at(cut([e, f, g, h], rest.len()));
    fuzz_index_and_chunks(index, segment, tombstones);
}

/// `bytes` as an index header, of a block of which nothing else can be read.
pub fn fuzz_header(bytes: &[u8]) {
    for checksums in [Checksums::Compared, Checksums::Ignored] {
        let file = Arc::new(MemoryFile(Bytes::copy_from_slice(bytes)));
        let far = Arc::new(MemoryBlock::default());
        if let Ok(header) = IndexHeader::read(file, Path::new("header"), far, checksums)
            && let Ok(block) = Block::open_with(Arc::new(header), checksums)
        {
            ask_everything(&block);
        }
    }
}

/// `bytes` as `meta.json`: what is read is read again from what is written of it.
pub fn fuzz_meta(bytes: &[u8]) {
    let source = |bytes: Vec<u8>| MemoryBlock(HashMap::from([(BlockFile::Meta, Bytes::from(bytes))]));
    let Ok(meta) = Block::read_meta(&source(bytes.to_vec())) else { return };
    let written = serde_json::to_vec(&meta).expect("it has only texts and numbers");
    let again = Block::read_meta(&source(written)).expect("we wrote it");
    assert_eq!(meta, again);
}

/// Every question; answers and errors are both fine.
fn ask_everything(block: &Block) {
    let regex = |name: &str, op, value: &str| Matcher::new(name, op, value).expect("a valid expression");
    let matcher_sets = [
        vec![],
        vec![Matcher::equal("__name__", "up")],
        vec![regex("job", MatchOp::Regex, "a.*"), regex("instance", MatchOp::NotEqual, "")],
        vec![regex("job", MatchOp::NotRegex, "a|b")],
    ];
    let mut errors: Vec<ReadError> = Vec::new();
    errors.extend(block.label_names(&[]).err());
    errors.extend(block.label_values("job", &[]).err());
    for matchers in matcher_sets {
        let request = SelectRequest {
            tenant: TenantId::anonymous(),
            range: TimeRange::new(TimestampMs::MIN, TimestampMs::MAX),
            matchers: matchers.clone(),
            shard: Shard::ALL,
            with_chunks: true,
            series_max: 10_000,
        };
        errors.extend(block.select(&request, &mut |_| ControlFlow::Continue(())).err());
        let sets = [matchers];
        errors.extend(block.label_names(&sets).err());
        errors.extend(block.label_values("instance", &sets).err());
    }
    // Every error can be told.
    assert!(errors.iter().all(|error| !error.to_string().is_empty()));
}
