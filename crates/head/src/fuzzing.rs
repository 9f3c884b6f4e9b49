//! Entry points for fuzzing: snapshots and chunk files, also behind their checksums.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use batch::{Batch, BatchBuilder, BatchHeader};
use disk::{Disk, SimDisk};
use model::{PartitionId, SeriesId, TenantId, TimeRange, TimestampMs};
use storage::{ChunkEncoding, LabelQuery, SelectRequest, Shard};

use crate::chunk_files::{ChunkFiles, SealedChunk};
use crate::head::{Head, Limits};
use crate::select::Order;
use crate::snapshot;

const LIMITS: Limits = Limits { partition_count: 4, exemplars_max: 8, metadata_families_max: 8 };
const ALL: TimeRange = TimeRange { mint: TimestampMs::MIN, maxt: TimestampMs::MAX };

/// A snapshot, as it is and with the checksums that its frames should have. What loads answers, takes samples, and is the same
/// after another snapshot.
pub fn fuzz_snapshot(bytes: &[u8]) {
    load(bytes);
    load(&snapshot::sealed(bytes.to_vec()));
}

fn load(bytes: &[u8]) {
    let (disk, folder) = (SimDisk::new(), Path::new("/head"));
    put(&disk, "/head/snapshots/00000000000000000007", bytes);
    put(&disk, "/head/chunks/00000001", &chunk_file());
    let (head, recovered) = open(&disk, folder);
    if recovered.damaged.is_empty() {
        assert_eq!(head.applied(), 7, "a snapshot is of the position that it is called by");
    }
    let said = everything(&head);
    append_everywhere(&head);
    let appended = everything(&head);
    assert_eq!(appended.len(), said.len());
    head.write_snapshot(Vec::new).expect("the disk works");
    let (again, recovered) = open(&disk, folder);
    assert_eq!(recovered.damaged.iter().filter(|d| !d.contains("00000007")).count(), 0, "{:?}", recovered.damaged);
    assert_eq!(everything(&again), appended, "a snapshot holds what the head held");
    again.collect_garbage(TimestampMs(1));
    everything(&again);
}

fn put(disk: &SimDisk, path: &str, bytes: &[u8]) {
    let file = disk.create(Path::new(path)).expect("a new disk has room");
    file.write_at(bytes, 0).expect("a new disk has room");
}

fn open(disk: &SimDisk, folder: &Path) -> (Arc<Head>, crate::Recovered) {
    let (head, recovered) = Head::open(Arc::new(disk.clone()), folder, LIMITS).expect("the disk works");
    (Arc::new(head), recovered)
}

/// Two chunks, of which the second is no chunk: what snapshots of this module refer to.
pub fn chunk_file() -> Vec<u8> {
    let disk = SimDisk::new();
    let files = ChunkFiles::open(Arc::new(disk.clone()), Path::new("/c"), &BTreeMap::new()).expect("the disk works");
    let mut encoder = chunkenc::XorEncoder::new();
    (0..3).for_each(|i| encoder.append(i * 1000, 0.5));
    files.append(0, 2000, ChunkEncoding::Xor, encoder.bytes()).expect("the disk works");
    files.append(0, 2000, ChunkEncoding::Xor, &[9]).expect("the disk works");
    files.sync().expect("the disk works");
    let file = disk.open(Path::new("/c/00000001")).expect("it was written");
    let len = usize::try_from(file.len().expect("the disk works")).expect("it is short");
    file.bytes(0, len).expect("the disk works").to_vec()
}

/// A series as told: its partition, id, labels and chunks.
type Told = (String, SeriesId, String, Vec<(i64, i64, Vec<u8>)>);

/// Every question. What is told of series whose chunks cannot be read is an error.
fn everything(head: &Arc<Head>) -> Vec<Result<Vec<Told>, String>> {
    let mut said = Vec::new();
    for tenant in head.tenants() {
        let request = SelectRequest {
            tenant: tenant.clone(),
            range: ALL,
            matchers: Vec::new(),
            shard: Shard::ALL,
            with_chunks: true,
            series_max: 10_000,
        };
        said.push(select(head, &request));
        let query = LabelQuery { tenant: tenant.clone(), range: ALL, matcher_sets: Vec::new() };
        for name in head.label_names(&query) {
            assert!(head.label_values(&name, &query).is_sorted());
        }
        head.metadata(&tenant);
        head.exemplars(&tenant, ALL, &[Vec::new()]);
        head.has_samples(&tenant, ALL);
    }
    head.first_time_from(TimestampMs(0));
    said
}

fn select(head: &Arc<Head>, request: &SelectRequest) -> Result<Vec<Told>, String> {
    let mut told = Vec::new();
    let mut selection = head.select(request, Order::Id).map_err(|e| e.to_string())?;
    while let Some(batch) = selection.next_batch().map_err(|e| e.to_string())? {
        for s in batch {
            let chunks = s.chunks.iter().map(|c| (c.mint.0, c.maxt.0, c.data.to_vec())).collect();
            told.push((request.tenant.to_string(), s.id, s.labels.to_string(), chunks));
        }
    }
    Ok(told)
}

/// Two more samples for each series that is there: one at once, one after a while, so that chunks are sealed.
fn append_everywhere(head: &Arc<Head>) {
    for series in head.all_series().chunk_by(|a, b| a.0 == b.0) {
        let mut builder = BatchBuilder::new();
        for (_, partition, id) in series {
            for t in [5_000, 1_700_000_000_000] {
                builder.push(*partition, *id, t, 2.0);
            }
        }
        let (header, mut bytes) = (BatchHeader { group: 0, generation: 1, writer: 1, seq: 1 }, Vec::new());
        builder.finish(header, &series[0].0, &mut bytes);
        let batch = Batch::parse(bytes.into()).expect("we built it");
        let refs = head.check(&batch).unwrap_or_default();
        head.apply(head.applied() + 1, &batch, &refs).expect("the disk works");
    }
}

impl Head {
    fn all_series(&self) -> Vec<(TenantId, PartitionId, SeriesId)> {
        let mut all = Vec::new();
        for (id, tenant) in self.tenants.read().iter() {
            for (p, partition) in tenant.partitions.iter().enumerate() {
                let p = PartitionId(u32::try_from(p).expect("four partitions"));
                all.extend(partition.lock().ids().iter().map(|s| (id.clone(), p, *s)));
            }
        }
        all
    }
}

/// Four bytes of an offset, then a chunk file: read as it is and with the right checksum for the record there.
pub fn fuzz_chunk_file(bytes: &[u8]) {
    let Some((offset, file)) = bytes.split_first_chunk::<4>() else { return };
    let offset = u32::from_le_bytes(*offset);
    read_chunk(offset, file);
    read_chunk(offset, &crate::chunk_files::sealed(file.to_vec(), offset));
}

fn read_chunk(offset: u32, bytes: &[u8]) {
    let disk = SimDisk::new();
    put(&disk, "/c/00000001", bytes);
    let referred = BTreeMap::from([(1, 2000)]);
    let files = ChunkFiles::open(Arc::new(disk), Path::new("/c"), &referred).expect("the disk works");
    let chunk = SealedChunk::from_bytes((1u128 << 32 | u128::from(offset)).to_le_bytes());
    if let Ok((_, data)) = files.read(chunk) {
        assert!(data.len() < bytes.len());
    }
}
