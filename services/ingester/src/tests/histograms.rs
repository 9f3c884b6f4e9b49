//! Native histograms from a remote-write request to a block.

use std::ops::ControlFlow;

use block::{Block, LocalBlock};
use remotewrite::WriteRequest;
use storage::{Chunk, ChunkEncoding};
use ulid::Ulid;

use super::*;
use crate::cut::Cut;

fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    varint(&mut out, content.len() as u64);
    out.extend_from_slice(content);
    out
}

fn number(number: u8, n: u64) -> Vec<u8> {
    let mut out = vec![number << 3];
    varint(&mut out, n);
    out
}

fn float(number: u8, v: f64) -> Vec<u8> {
    [&[number << 3 | 1][..], &v.to_le_bytes()].concat()
}

fn series(n: u32, histograms: &[Vec<u8>]) -> Vec<u8> {
    let label = |name: &str, value: &str| field(1, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat());
    let labels = [label("__name__", "m"), label("n", &n.to_string())].concat();
    let histograms: Vec<u8> = histograms.iter().flat_map(|h| field(4, h)).collect();
    field(1, &[labels, histograms].concat())
}

/// An integer histogram with two buckets, and a float one with custom buckets.
fn integer(t: i64, count: u64) -> Vec<u8> {
    let span = field(11, &[number(1, 1), number(2, 2)].concat());
    let deltas = [number(12, (count - 1) * 2), number(12, (count - 2) * 2 - 1)].concat();
    [number(1, count), float(3, 1.5), number(4, 2), span, deltas, number(15, t.cast_unsigned())].concat()
}

fn custom(t: i64, count: f64) -> Vec<u8> {
    let span = field(11, &number(2, 1));
    // Field 16 has a tag of two bytes.
    let bound = [&[0x81, 1][..], &2.5f64.to_le_bytes()].concat();
    [float(2, count), number(4, 105), span, float(13, count), bound, number(15, t.cast_unsigned())].concat()
}

fn request() -> SelectRequest {
    SelectRequest {
        tenant: TenantId::anonymous(),
        range: TimeRange::new(TimestampMs::MIN, TimestampMs::MAX),
        matchers: vec![Matcher::equal("__name__", "m")],
        shard: Shard::ALL,
        with_chunks: true,
        series_max: 10,
    }
}

async fn chunks(ingester: &Ingester) -> BTreeMap<String, Vec<Chunk>> {
    let batches: Vec<_> = ingester.select(request()).collect().await;
    batches.into_iter().flat_map(|b| b.unwrap()).map(|s| (s.labels.to_string(), s.chunks)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn histograms_of_a_request_are_in_the_block_as_in_the_head_before_a_restart() {
    let disk = SimDisk::new();
    let (ingester, writer) = open(&disk);
    let start = NOW.0 - NOW.0 % 7_200_000;
    for i in 0..40u64 {
        let t = start + i64::try_from(i).unwrap() * 15_000;
        let body = [series(1, &[integer(t, 3 + i)]), series(2, &[custom(t, 1.5 + i as f64)])].concat();
        let outcome = writer.write(&TenantId::anonymous(), &WriteRequest::new(&body), NOW).await.unwrap();
        assert_eq!((outcome.stored_samples, outcome.rejections), (2, vec![]));
        if i == 20 {
            ingester.write_snapshot().unwrap();
        }
    }
    let refused = series(1, &[[integer(start + 900_000, 9), number(1, 8)].concat()]);
    let outcome = writer.write(&TenantId::anonymous(), &WriteRequest::new(&refused), NOW).await.unwrap();
    assert_eq!((outcome.stored_samples, outcome.rejections[0].reason), (0, RejectReason::InvalidHistogram));

    let before = chunks(&ingester).await;
    let shape = |c: &Chunk| (c.encoding, c.data[..2].to_vec());
    let shapes: Vec<Vec<_>> = before.values().map(|c| c.iter().map(shape).collect()).collect();
    assert_eq!(
        shapes,
        [vec![(ChunkEncoding::Histogram, vec![0, 40])], vec![(ChunkEncoding::FloatHistogram, vec![0, 40])]]
    );
    let (after, _) = open(&disk.after_power_loss());
    assert_eq!(chunks(&after).await, before);

    let folder = tempfile::tempdir().unwrap();
    let range = TimeRange::new(TimestampMs(start), TimestampMs(start + 7_200_000));
    let (ulid, tenant) = (Ulid::from_parts(1, 2), TenantId::anonymous());
    let cut = Cut { head: after.head(), tenant: &tenant, range, extensions: serde_json::Value::Null };
    let meta = cut.write(folder.path(), ulid).unwrap().unwrap();
    assert_eq!((meta.stats.num_samples, meta.stats.num_histogram_samples), (80, 80));
    let block = Block::open(Arc::new(LocalBlock::new(folder.path().join(ulid.to_string())))).unwrap();
    let mut held = BTreeMap::new();
    let mut give = |batch: storage::SeriesBatch| {
        held.extend(batch.into_iter().map(|s| (s.labels.to_string(), s.chunks)));
        ControlFlow::Continue(())
    };
    block.select(&request(), &mut give).unwrap();
    assert_eq!(held, before);
}
