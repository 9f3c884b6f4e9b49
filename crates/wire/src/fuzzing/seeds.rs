//! Messages of every kind, to begin fuzzing with.

use std::sync::Arc;

use batch::{Batch, BatchBuilder, BatchHeader};
use bytes::Bytes;
use cluster::{Address, Zone};
use cluster::{ClusterId, GenerationNumber, GroupId, Incarnation, NodeId, Replica, SingleNode, next_step};
use futures::{FutureExt, Stream, StreamExt};
use model::{
    Exemplar, Labels, MatchOp, Matcher, Metadata, MetricType, PartitionId, SeriesId, TenantId, TimeRange, TimestampMs,
};
use peer::{Exemplars, Fetch, IndexEntry, LabelQuestion, ManifestAnswer};
use replication::quorum::Flags;
use replication::replica::{ListReply, NotNow, PushReply, ReadReply, SealReply};
use replication::{BatchKey, Entry, Listed};
use storage::{Chunk, ChunkEncoding, LabelQuery, SelectError, SelectRequest, Series, Shard};

use crate::page::{messages, series_messages};
use crate::record::{PushSaid, encode};

/// A message by name.
type Seed = (&'static str, Bytes);

fn replica(name: &str, incarnation: u64) -> Replica {
    Replica { node: NodeId::new(name).expect("a short name"), incarnation: Incarnation(incarnation) }
}

/// A group of one that was replaced once.
fn entry() -> Entry {
    let mut state = cluster::State::default();
    for incarnation in 1..=2 {
        let node = SingleNode {
            cluster: ClusterId(1),
            partition_count: 4,
            node: NodeId::new("a").expect("a short name"),
            zone: Zone::new("z").expect("a short name"),
            address: Address::new("h:1").expect("an address"),
            incarnation: Incarnation(incarnation),
        };
        while let Some(command) = next_step(state.map(), &node) {
            state.apply(state.applied() + 1, &command);
        }
    }
    Arc::new(state.map().groups()[0].clone())
}

fn labels(name: &str) -> Labels {
    Labels::from_pairs([("__name__", name), ("job", "é")]).expect("names are unique")
}

fn tenant() -> TenantId {
    TenantId::new("some-tenant").expect("a short name")
}

fn range() -> TimeRange {
    TimeRange::new(TimestampMs(-5), TimestampMs(1 << 40))
}

fn matchers() -> Vec<Matcher> {
    let all = [(MatchOp::Equal, "a"), (MatchOp::NotEqual, ""), (MatchOp::Regex, "c.*|d"), (MatchOp::NotRegex, "e+")];
    all.iter().map(|(op, value)| Matcher::new("job", *op, value).expect("valid expressions")).collect()
}

fn select() -> SelectRequest {
    SelectRequest {
        tenant: tenant(),
        range: range(),
        matchers: matchers(),
        shard: Shard { index: 3, count: 8 },
        with_chunks: true,
        series_max: 1_000_000,
    }
}

fn held() -> ReadReply {
    ReadReply::Held {
        flags: Flags { generation: GenerationNumber(4), filled: true },
        dropped: vec![(TimestampMs(7_200_000), "closed/c/0/7200000.json".into())],
        watermark: TimestampMs(3_600_000),
    }
}

fn batch(seq: u64, samples: i64) -> Batch {
    let (tenant, labels) = (tenant(), labels("m"));
    let id = SeriesId::compute(&tenant, &labels, &mut Vec::new());
    let mut builder = BatchBuilder::new();
    builder.define(PartitionId(0), id, labels.as_packed());
    (0..samples).for_each(|t| builder.push(PartitionId(0), id, t * 1000, 0.5));
    let mut bytes = Vec::new();
    builder.finish(BatchHeader { group: 0, generation: 1, writer: 7, seq }, &tenant, &mut bytes);
    Batch::parse(Bytes::from(bytes)).expect("we built it")
}

/// Every question.
pub fn questions() -> Vec<Seed> {
    let entry = entry();
    let query = LabelQuery { tenant: tenant(), range: range(), matcher_sets: vec![matchers(), Vec::new()] };
    let label = |name: Option<&str>| LabelQuestion { name: name.map(str::to_owned), query: query.clone() };
    vec![
        ("list", encode(&(replica("a", 1), entry.clone(), 7u64))),
        ("seal", encode(&(entry.clone(), TimestampMs(7_200_000)))),
        ("fetch", encode(&Fetch { group: entry.id(), positions: vec![1, 2, u64::MAX], define: vec![SeriesId(1)] })),
        ("select", encode(&(entry.clone(), select()))),
        ("label_names", encode(&(entry.clone(), label(None)))),
        ("label_values", encode(&(entry.clone(), label(Some("job"))))),
        ("exemplars", encode(&(tenant(), range(), vec![matchers(), Vec::new()]))),
        ("metadata", encode(&tenant())),
        ("store_select", encode(&(vec![1u128, u128::MAX], select()))),
        ("manifest", encode(&(tenant(), "closed/c/0/7200000.json".to_owned()))),
        ("group", Bytes::from(entry.encode())),
    ]
}

/// Every answer of one message.
pub fn answers() -> Vec<Seed> {
    let push = |reply| encode(&PushSaid::Replied(reply));
    let flags = Flags { generation: GenerationNumber(4), filled: false };
    let key = BatchKey { writer: 1, seq: 2 };
    let items = vec![
        (1, Listed::Batch { key, bounds: Some((TimestampMs(1), TimestampMs(2))) }),
        (2, Listed::Batch { key, bounds: None }),
        (9, Listed::Merged { of: replica("b", 1), position: 3 }),
    ];
    let unreadable = SelectError::Unreadable { what: "block".into(), reason: "é".into() };
    vec![
        ("push_send_entry", encode(&PushSaid::SendEntry)),
        ("push_ok", push(PushReply::Ok(GenerationNumber(3)))),
        ("push_stale", push(PushReply::Stale(entry()))),
        ("push_not_now", push(PushReply::NotNow(NotNow::Unfilled))),
        ("push_sealed", push(PushReply::Sealed(TimestampMs(-1)))),
        ("push_need", push(PushReply::Need(vec![SeriesId(1), SeriesId(u128::MAX)]))),
        ("push_full", push(PushReply::Full { limit_bytes: 64 << 20 })),
        ("push_refused", push(PushReply::Refused("why".into()))),
        ("listed", encode(&ListReply::Listed { to: 9, items })),
        ("list_truncated", encode(&ListReply::Truncated)),
        ("sealed", encode(&SealReply::Sealed { flags, position: 5 })),
        ("seal_stale", encode(&SealReply::Stale(entry()))),
        ("read_held", encode(&held())),
        ("read_stale", encode(&ReadReply::Stale(entry()))),
        ("manifest", encode(&ManifestAnswer { start: TimestampMs(1), blocks: vec![1, 2], hole: true })),
        ("select_too_many", encode(&SelectError::TooManySeries { limit: 7 })),
        ("select_unreadable", encode(&unreadable)),
    ]
}

/// Messages of answers of many, each kind by its place in its answer.
pub fn pages() -> Vec<Vec<Bytes>> {
    let exemplar = |t: Option<i64>| Exemplar { labels: labels("trace"), value: 0.5, timestamp: t.map(TimestampMs) };
    let exemplars = Exemplars { labels: labels("m"), exemplars: vec![exemplar(None), exemplar(Some(-1))] };
    let metadata = Metadata { metric_type: MetricType::GaugeHistogram, help: "é".into(), unit: "s".into() };
    let of_group = (GroupId(1), TimestampMs(5));
    let entries = vec![
        IndexEntry { block: 1, origin: Some(of_group), range: range(), set_aside: None },
        IndexEntry { block: 2, origin: None, range: range(), set_aside: Some("why".into()) },
    ];
    let chunk = |(n, encoding): (i64, &ChunkEncoding)| Chunk {
        encoding: *encoding,
        mint: TimestampMs(n * 100),
        maxt: TimestampMs(n * 100 + 99),
        data: Bytes::from(vec![7; 20]),
    };
    let encodings = [ChunkEncoding::Xor, ChunkEncoding::Histogram, ChunkEncoding::FloatHistogram, ChunkEncoding::Xor2];
    let chunks: Vec<Chunk> = (0..).zip(&encodings).map(chunk).collect();
    let one = |id, chunks: &[Chunk]| Series { id: SeriesId(id), labels: labels("m"), chunks: chunks.to_vec() };
    let series = vec![one(1, &chunks), one(2, &[]), one(u128::MAX, &chunks[..1])];
    let large = Chunk { data: Bytes::from(vec![9; 300 << 10]), ..chunks[0].clone() };
    // Larger than a page: it goes on in the next.
    let split = vec![one(1, &[large.clone(), chunks[1].clone(), large])];
    let failure = SelectError::Unavailable("gone".into());
    vec![
        all_of(messages(&held(), vec![batch(1, 20), batch(2, 3)])),
        all_of(messages(&true, vec![exemplars])),
        all_of(messages(&true, vec![("up".to_owned(), metadata)])),
        all_of(messages(&vec![1u128], vec!["job".to_owned(), String::new()])),
        all_of(messages(&true, entries)),
        all_of(series_messages(&held(), futures::stream::iter([Ok(series), Err(failure)]).boxed())),
        all_of(series_messages(&true, futures::stream::iter([Ok(split)]).boxed())),
    ]
}

/// Messages that are all there.
fn all_of(messages: impl Stream<Item = Bytes>) -> Vec<Bytes> {
    messages.collect().now_or_never().expect("nothing is waited for")
}
