//! Writes the seeds that are not text into `fuzz/corpus`: each made by our own encoders, or torn from one that is.
//!
//! To be run when a format changes: `cargo run -p corpus --example seeds`. The other seeds there are written by hand.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use batch::{Batch, BatchBuilder, BatchHeader};
use block::{IndexHeader, LocalBlock, LocalDirectory, Origin, SymbolsBuilder, Writer, WriterLimits};
use chunkenc::{Builder, ChunkHistogram, CounterReset, Xor2Encoder, XorEncoder};
use cluster::{
    Address, ClusterId, Command, GenerationNumber, GroupId, Hole, Incarnation, NodeId, NodeState, Replica, Role, Roles,
    SingleNode, State, Zone, next_growth, next_step,
};
use disk::{Disk, SimDisk};
use head::Head;
use model::{
    CounterResetHint, Histogram, Labels, Metadata, MetricType, PartitionId, SampleValue, SeriesId, Span, TenantId,
    TimeRange, TimestampMs, stale_nan,
};
use storage::{Chunk, ChunkEncoding};

fn main() -> anyhow::Result<()> {
    batches()?;
    blocks()?;
    chunks()?;
    control_plane()?;
    group_of_three()?;
    messages()?;
    heads()?;
    bodies()?;
    ingester()?;
    labels()?;
    remote_write()?;
    remote_write_2()?;
    scraped_messages()?;
    segments()
}

fn put(target: &str, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    fs::create_dir_all(&folder)?;
    Ok(fs::write(folder.join(name), bytes)?)
}

/// `bytes`, its first two thirds, and `bytes` with a bit flipped in the middle.
fn put_with_damage(target: &str, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    put(target, name, bytes)?;
    put(target, &format!("{name}_torn"), &bytes[..bytes.len() * 2 / 3])?;
    let mut flipped = bytes.to_vec();
    flipped[bytes.len() / 2] ^= 4;
    put(target, &format!("{name}_flipped"), &flipped)
}

const HEADER: BatchHeader = BatchHeader { group: 3, generation: 7, writer: 0xdead_beef, seq: 42 };

fn tenant() -> TenantId {
    TenantId::anonymous()
}

fn series(name: &str, job: &str) -> (SeriesId, Labels) {
    let labels = Labels::from_pairs([("__name__", name), ("job", job)]).expect("two names");
    (SeriesId::compute(&tenant(), &labels, &mut Vec::new()), labels)
}

fn finish(mut builder: BatchBuilder) -> Vec<u8> {
    let mut bytes = Vec::new();
    builder.finish(HEADER, &tenant(), &mut bytes);
    bytes
}

fn whole_batch(from_ms: i64) -> Vec<u8> {
    finish(whole_builder(from_ms))
}

/// Every kind of column for two series in two partitions.
fn whole_builder(from_ms: i64) -> BatchBuilder {
    let mut b = BatchBuilder::new();
    let (_, h) = histograms().swap_remove(3);
    for (n, (id, labels)) in (0..).zip([series("up", "x"), series("requests_total", "é")]) {
        let partition = PartitionId(n);
        b.define(partition, id, labels.as_packed());
        for i in 0..5 {
            b.push(partition, id, from_ms + i * 15_000, i as f64 * 0.5);
        }
        let exemplar = Labels::from_pairs([("trace_id", "abc")]).expect("one name");
        b.exemplar(partition, id, from_ms, 9.0, &exemplar);
        let metadata = Metadata { metric_type: MetricType::Gauge, help: "is it up".into(), unit: "s".into() };
        b.metadata(partition, "up", &metadata);
        let (integer, float) =
            (SampleValue::Histogram(Box::new(h.clone())), SampleValue::FloatHistogram(Box::new(h.to_float())));
        let (id, labels) = series("duration_seconds", "x");
        b.define(partition, id, labels.as_packed());
        b.value(partition, id, from_ms, &integer);
        b.value(partition, id, from_ms.saturating_add(15_000), &float);
    }
    b
}

fn batches() -> anyhow::Result<()> {
    put_with_damage("batch", "all_columns", &whole_batch(1000))?;
    put("batch", "nothing", &finish(BatchBuilder::new()))?;
    let (id, labels) = series("up", "x");
    let mut b = BatchBuilder::new();
    b.define(PartitionId(5), id, labels.as_packed());
    put_with_damage("batch", "definitions", &finish(b))?;
    let mut b = BatchBuilder::new();
    for (t, v) in [(i64::MIN, f64::NAN), (i64::MAX, f64::INFINITY), (0, -0.0), (5, stale_nan()), (5, 1.0)] {
        b.push(PartitionId(u32::MAX), SeriesId(u128::MAX), t, v);
    }
    let mut other = Vec::new();
    b.finish(HEADER, &TenantId::new("other").expect("a name"), &mut other);
    put_with_damage("batch", "extreme_floats", &other)?;
    let mut b = BatchBuilder::new();
    (0..40u128).for_each(|i| b.push(PartitionId(0), SeriesId(i % 3), 1000, i as f64));
    put("batch", "runs", &finish(b))?;
    let mut b = BatchBuilder::new();
    for metric_type in [MetricType::Unknown, MetricType::StateSet, MetricType::GaugeHistogram] {
        b.metadata(PartitionId(1), "", &Metadata { metric_type, help: String::new(), unit: "é".into() });
    }
    put("batch", "metadata", &finish(b))?;
    let mut unknown_version = whole_batch(0);
    unknown_version[0] = 1;
    put("batch", "unknown_version", &unknown_version)?;
    // Behind header, base timestamp and tenant.
    let whole = whole_batch(0);
    let (front, behind) = whole.split_at(37 + 1 + tenant().as_str().len());
    put("batch", "many_sections", &[front, &[0xff; 9], &[1], &behind[1..]].concat())?;
    let twice = [front, &[4], &behind[1..], &behind[1..]].concat();
    put("batch", "a_partition_twice", &twice)?;
    let (mut first, mut second) = (whole_builder(1000), BatchBuilder::new());
    for (id, t) in [(1, 1000), (2, 1000), (2, 16_000), (3, 16_000)] {
        first.push(PartitionId(1), SeriesId(id), t, 1.0);
        second.push(PartitionId(2 + u32::try_from(id).expect("it is small")), SeriesId(id), t + 5, 1.0);
    }
    let batches = [finish(first), finish(second), whole_batch(0)];
    let batches: Result<Vec<_>, _> = batches.into_iter().map(|bytes| Batch::parse(bytes.into())).collect();
    let mut joined = Vec::new();
    Batch::join(HEADER, &batches?, &mut joined);
    put_with_damage("batch", "joined", &joined)
}

fn xor(samples: &[(i64, f64)]) -> Vec<u8> {
    let mut encoder = XorEncoder::new();
    samples.iter().for_each(|(t, v)| encoder.append(*t, *v));
    encoder.into_bytes()
}

fn regular(n: i64) -> Vec<(i64, f64)> {
    (0..n).map(|i| (1_700_000_000_000 + i * 15_000, (i * i) as f64)).collect()
}

fn blocks() -> anyhow::Result<()> {
    for (name, count, samples) in [("one_series", 1, 3), ("some_series", 9, 20), ("two_chunks", 2, 121)] {
        let dir = tempfile::tempdir()?;
        let mut all: Vec<Labels> = Vec::new();
        for i in 0..count {
            let (instance, job) = (format!("host-{i}:1"), ["a", "b", "ab"][i % 3]);
            let pairs = [("__name__", "up"), ("instance", instance.as_str()), ("job", job), ("zone ü", "z")];
            all.extend(Labels::from_pairs(pairs));
        }
        all.sort();
        let mut symbols = SymbolsBuilder::new();
        all.iter().try_for_each(|labels| symbols.add_labels(labels))?;
        let range = TimeRange::new(TimestampMs(1_700_000_000_000), TimestampMs(1_700_007_200_000));
        let (ulid, limits) = (block_ulid(), WriterLimits::default());
        let mut writer = Writer::create(Arc::new(LocalDirectory), dir.path(), ulid, range, symbols.finish(), limits)?;
        for labels in &all {
            let chunks: Vec<Chunk> = regular(samples).chunks(120).map(chunk).collect();
            writer.add_series(labels, &chunks)?;
        }
        writer.finish(Origin { source: "narthex".to_owned(), ..Origin::default() })?;
        let folder = dir.path().join(ulid.to_string());
        let index = fs::read(folder.join("index"))?;
        let segment = fs::read(folder.join("chunks/000001")).unwrap_or_default();
        let tombstones = fs::read(folder.join("tombstones"))?;
        put_with_damage("block_files", name, &framed(&index, &segment, &tombstones))?;
        put("block_files", &format!("{name}_index_only"), &framed(&index, b"", b""))?;
        let header = dir.path().join("header");
        IndexHeader::write(&LocalBlock::new(&folder), &header)?;
        put_with_damage("block_header", name, &fs::read(&header)?)?;
        put("block_meta", &format!("of_{name}"), &fs::read(folder.join("meta.json"))?)?;
    }
    Ok(())
}

fn block_ulid() -> ulid::Ulid {
    ulid::Ulid(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef)
}

fn chunk(samples: &[(i64, f64)]) -> Chunk {
    let (mint, maxt) = (TimestampMs(samples[0].0), TimestampMs(samples[samples.len() - 1].0));
    Chunk { encoding: ChunkEncoding::Xor, mint, maxt, data: xor(samples).into() }
}

fn framed(index: &[u8], segment: &[u8], tombstones: &[u8]) -> Vec<u8> {
    let length = |part: &[u8]| u32::try_from(part.len()).expect("they are short").to_le_bytes();
    [&length(index), &length(segment), index, segment, tombstones].concat()
}

fn chunks() -> anyhow::Result<()> {
    put_with_damage("chunkenc_xor", "regular", &xor(&regular(120)))?;
    put("chunkenc_xor", "nothing", &xor(&[]))?;
    put("chunkenc_xor", "one", &xor(&[(i64::MIN, -0.0)]))?;
    put("chunkenc_xor", "two", &xor(&[(0, 1.0), (1, 1.0)]))?;
    put_with_damage("chunkenc_xor", "same_value", &xor(&(0..30).map(|i| (i * 1000, 5.0)).collect::<Vec<_>>()))?;
    let jumps: Vec<_> = [1, 63, 64, 8191, 8192, 65_535, 65_536, 524_287, 524_288, 1 << 40, i64::MAX]
        .into_iter()
        .scan(0i64, |t, step| Some((std::mem::replace(t, t.wrapping_add(step)), f64::from_bits(step as u64))))
        .collect();
    put_with_damage("chunkenc_xor", "every_width_of_time", &xor(&jumps))?;
    let values = [1.0, 1.5, -1.5, f64::NAN, stale_nan(), f64::INFINITY, 0.0, -0.0, f64::MIN_POSITIVE, 1e300, 0.1, 0.2];
    let values: Vec<_> = (0..).zip(values).map(|(i, v)| (i * 1000, v)).collect();
    put_with_damage("chunkenc_xor", "every_width_of_value", &xor(&values))?;
    // Starts: none, the same for all, of each sample its own, and from the third on.
    for (name, start) in [
        ("no_start", (|_, _| 0) as fn(i64, i64) -> i64),
        ("one_start", |_, _| 5),
        ("start_each", |_, t| t - 1),
        ("start_later", |i, t| if i < 3 { 0 } else { t - i }),
    ] {
        for (of, samples) in [("regular", &regular(60)), ("times", &jumps), ("values", &values)] {
            let mut encoder = Xor2Encoder::new();
            (0..).zip(samples).for_each(|(i, (t, v))| encoder.append(start(i, *t), *t, *v));
            put_with_damage("chunkenc_xor2", &format!("{of}_{name}"), &encoder.into_bytes())?;
        }
    }
    put("chunkenc_xor2", "nothing", &Xor2Encoder::new().into_bytes())?;
    histogram_chunks()
}

/// Native histograms that grow, then have other buckets, then are stale.
fn histograms() -> Vec<(i64, Histogram)> {
    let span = |offset, length| Span { offset, length };
    let one = |i: i64| {
        let step = i.unsigned_abs();
        let mut h = Histogram {
            schema: 1,
            zero_threshold: 1e-128,
            zero_count: step,
            count: 6 * step,
            sum: i as f64 * 1.5,
            positive_spans: vec![span(0, 2), span(1, 1)],
            negative_spans: vec![span(-3, 1)],
            positive_buckets: vec![i, 0, i],
            negative_buckets: vec![i],
            ..Histogram::default()
        };
        if i > 6 {
            h.positive_spans = vec![span(0, 4)];
            h.positive_buckets = vec![i, 0, -i, 2 * i];
        }
        h
    };
    let stale = Histogram { sum: stale_nan(), ..Histogram::default() };
    let gauge = Histogram { counter_reset_hint: CounterResetHint::Gauge, ..one(3) };
    let mut all: Vec<Histogram> = (1..12).map(one).collect();
    all.extend([stale, one(1), gauge]);
    (0..).step_by(15_000).zip(all).collect()
}

/// The chunks that it takes, one behind the other in the order of time.
fn chunks_of<H: ChunkHistogram>(histograms: &[(i64, H)]) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    let mut open = Builder::<H>::new(CounterReset::Unknown);
    for (t, h) in histograms {
        if let Err(needs) = open.push(*t, h) {
            let full = std::mem::replace(&mut open, Builder::new(needs.counter_reset));
            chunks.push(full.finish());
            open.push(*t, h).expect("an empty chunk takes any");
        }
    }
    chunks.push(open.finish());
    chunks
}

fn histogram_chunks() -> anyhow::Result<()> {
    let integers = histograms();
    let floats: Vec<_> = integers.iter().map(|(t, h)| (*t, h.to_float())).collect();
    for (kind, chunks) in [("integer", chunks_of(&integers)), ("float", chunks_of(&floats))] {
        for (i, chunk) in chunks.iter().enumerate() {
            put_with_damage("chunkenc_histograms", &format!("{kind}_{i}"), chunk)?;
        }
    }
    put("chunkenc_histograms", "nothing", &[0, 0, 0])?;
    put("chunkenc_histograms", "many_spans", &[0, 1, 0, 0, 0b0111_1111, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
}

fn control_plane() -> anyhow::Result<()> {
    let node = |name: &str| NodeId::new(name).expect("a name");
    let zone = || Zone::new("z").expect("a name");
    let address = || Address::new("host:9095").expect("an address");
    let replica = |name: &str, n: u64| Replica { node: node(name), incarnation: Incarnation(n) };
    let seen = GenerationNumber::FIRST;
    let range = TimeRange::new(TimestampMs(-5), TimestampMs(7_200_000));
    let commands = [
        (
            "birth",
            Command::Birth {
                cluster: ClusterId(1 << 100),
                partition_count: 16,
                replication_factor: 1,
                bootstrap_ingesters: 1,
            },
        ),
        (
            "join",
            Command::Join {
                node: node("one"),
                roles: Roles::ALL,
                zone: zone(),
                address: address(),
                incarnation: Incarnation(7),
            },
        ),
        ("state", Command::SetNodeState { node: node("one"), incarnation: Incarnation(7), state: NodeState::Up }),
        ("group", Command::CreateGroup { group: GroupId(0), members: vec![replica("one", 7)] }),
        (
            "replace",
            Command::ReplaceMember { group: GroupId(0), seen, leaving: replica("one", 7), joining: replica("one", 8) },
        ),
        ("filled", Command::ReportFilled { group: GroupId(0), seen, replica: replica("one", 8) }),
        ("place", Command::PlacePartitions { owners: (0..16).map(|p| (PartitionId(p), GroupId(0))).collect() }),
        ("hole", Command::RecordHole(Hole { group: GroupId(0), range })),
    ];
    for (name, command) in commands {
        put_with_damage("cluster_command", name, &command.encode())?;
        // What a node may report, and what it may not.
        put("membership_report", name, &command.encode())?;
    }
    put("membership_report", "torn", &command_reported().encode()[..9])?;
    put("membership_report", "of_itself", &command_reported().encode())?;
    let mut single = SingleNode {
        cluster: ClusterId(7),
        partition_count: 16,
        node: node("one"),
        zone: zone(),
        address: address(),
        incarnation: Incarnation(1),
    };
    let mut state = State::default();
    put("cluster_state", "nothing", &state.encode())?;
    put("cluster_state", "no_map", &state.map().encode())?;
    for incarnation in 1..=3 {
        single.incarnation = Incarnation(incarnation);
        while let Some(command) = next_step(state.map(), &single) {
            state.apply(state.applied() + 1, &command);
        }
        put_with_damage("cluster_state", &format!("state_{incarnation}"), &state.encode())?;
        put("cluster_state", &format!("map_{incarnation}"), &state.map().encode())?;
        put_with_damage("cluster_group", &format!("alone_{incarnation}"), &state.map().groups()[0].encode())?;
        let file = membership::fuzzing::map_file_of(state.map(), TimestampMs(9));
        put_with_damage("membership_map_file", &format!("map_{incarnation}"), &file)?;
        state.apply(state.applied() + 1, &Command::RecordHole(Hole { group: GroupId(0), range }));
    }
    for (i, record) in (0..).zip(raft::fuzzing::records()) {
        put_with_damage("raft_record", &format!("record_{i}"), &record)?;
    }
    for (i, message) in (0..).zip(raft::fuzzing::messages()) {
        put_with_damage("raft_message", &format!("message_{i}"), &message)?;
    }
    Ok(())
}

/// As the target of reports wants it.
fn command_reported() -> Command {
    let replica = Replica { node: NodeId::new("a").expect("a name"), incarnation: Incarnation(1) };
    Command::ReportFilled { group: GroupId(0), seen: GenerationNumber(1), replica }
}

/// Three ingesters in a group, of which one is replaced.
fn group_of_three() -> anyhow::Result<()> {
    let node = |name: &str| NodeId::new(name).expect("a name");
    let replica = |name: &str| Replica { node: node(name), incarnation: Incarnation(1) };
    let mut state = State::default();
    let mut commands = vec![Command::Birth {
        cluster: ClusterId(1),
        partition_count: 4,
        replication_factor: 3,
        bootstrap_ingesters: 3,
    }];
    commands.extend(["a", "b", "c", "d"].map(|name| Command::Join {
        node: node(name),
        roles: Roles::one(Role::Ingester),
        zone: Zone::new(name).expect("a name"),
        address: Address::new("host:9095").expect("an address"),
        incarnation: Incarnation(1),
    }));
    for command in &commands {
        state.apply(state.applied() + 1, command);
        while let Some(growth) = next_growth(state.map()) {
            state.apply(state.applied() + 1, &growth);
        }
    }
    let group = |state: &State| state.map().groups()[0].encode();
    put_with_damage("cluster_group", "three", &group(&state))?;
    let (leaving, joining) = (replica("c"), replica("d"));
    let seen = GenerationNumber::FIRST;
    let replace = Command::ReplaceMember { group: GroupId(0), seen, leaving, joining };
    state.apply(state.applied() + 1, &replace);
    put_with_damage("cluster_group", "three_replaced", &group(&state))?;
    put_with_damage("cluster_state", "three", &state.encode())?;
    let file = membership::fuzzing::map_file_of(state.map(), TimestampMs::MAX);
    put_with_damage("membership_map_file", "three", &file)
}

fn messages() -> anyhow::Result<()> {
    for (name, message) in proto::fuzzing::messages() {
        put_with_damage("proto_messages", name, &message)?;
    }
    for (name, message) in wire::fuzzing::questions() {
        put_with_damage("wire_questions", name, &message)?;
    }
    for (name, message) in wire::fuzzing::answers() {
        put_with_damage("wire_answers", name, &message)?;
    }
    for (answer, pages) in wire::fuzzing::pages().iter().enumerate() {
        for (i, page) in pages.iter().enumerate().filter(|(_, page)| page.len() < 10_000) {
            put_with_damage("wire_pages", &format!("answer_{answer}_{i}"), page)?;
        }
    }
    Ok(())
}

/// The bytes of the only file in a folder of a disk in memory.
fn only_file(disk: &SimDisk, folder: &str) -> anyhow::Result<Vec<u8>> {
    let files = disk.list(Path::new(folder))?;
    let file = disk.open(&files[0])?;
    Ok(file.bytes(0, usize::try_from(file.len()?)?)?.to_vec())
}

fn heads() -> anyhow::Result<()> {
    let file = head::fuzzing::chunk_file();
    let at = |offset: u32, file: &[u8]| [&offset.to_le_bytes(), file].concat();
    put("head_chunk_file", "first", &at(0, &file))?;
    let second = 9 + u32::from_le_bytes(file[..4].try_into()?);
    put("head_chunk_file", "second", &at(second, &file))?;
    put("head_chunk_file", "between", &at(3, &file))?;
    put("head_chunk_file", "behind", &at(u32::MAX, &file))?;
    put("head_chunk_file", "torn", &at(second, &file[..file.len() - 2]))?;
    put("head_chunk_file", "zeros", &at(0, &[0; 40]))?;
    let mut long = file.clone();
    long[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    put("head_chunk_file", "too_long", &at(0, &long))?;
    for (name, batches) in [
        ("nothing", vec![]),
        ("one_batch", vec![whole_batch(1000)]),
        ("late_samples", vec![whole_batch(1_000_000), whole_batch(5000)]),
        ("sealed_chunks", (0..3).map(|i| whole_batch(i * 1_800_000)).collect()),
        // Sealed after a restart: in a second chunk file, which the target does not have.
        ("lost_chunk_file", (0..4).map(|i| whole_batch(i * 1_800_000)).collect()),
    ] {
        let disk = SimDisk::new();
        let limits = head::Limits { partition_count: 4, exemplars_max: 8, metadata_families_max: 8 };
        let open = || Head::open(Arc::new(disk.clone()), Path::new("/head"), limits);
        let (mut head, _) = open()?;
        for (position, bytes) in (1..).zip(&batches) {
            if name == "lost_chunk_file" && position == 3 {
                head.write_snapshot(Vec::new)?;
                (head, _) = open()?;
            }
            let batch = Batch::parse(bytes.clone().into())?;
            let refs = head.check(&batch).unwrap_or_default();
            head.apply(position, &batch, &refs)?;
        }
        // The target calls the snapshot by this position.
        head.replayed(7);
        disk.list(Path::new("/head/snapshots"))?.iter().try_for_each(|older| disk.remove(older))?;
        head.write_snapshot(|| b"extra".to_vec())?;
        put_with_damage("head_snapshot", name, &only_file(&disk, "/head/snapshots")?)?;
    }
    Ok(())
}

fn bodies() -> anyhow::Result<()> {
    let gzip = |bytes: &[u8]| -> anyhow::Result<Vec<u8>> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes)?;
        Ok(encoder.finish()?)
    };
    let page = "up 1\nup{a=\"b\"} 2\n".repeat(20);
    put_with_damage("httpclient_body", "page", &gzip(page.as_bytes())?)?;
    put("httpclient_body", "nothing", &gzip(b"")?)?;
    put("httpclient_body", "bomb", &gzip(&vec![b' '; 1 << 20])?)?;
    put("httpclient_body", "two_members", &[gzip(b"a")?, gzip(b"b")?].concat())?;
    put("httpclient_body", "rest", &[&gzip(b"a")?[..], b"not gzip"].concat())?;
    put("httpclient_body", "plain", b"up 1\n")
}

fn ingester() -> anyhow::Result<()> {
    let before_groups = |kind: u8| [&[kind][..], &7_200_000i64.to_le_bytes()].concat();
    let changes = ingester::fuzzing::changes();
    for (name, payload) in &changes {
        put_with_damage("ingester_change", name, payload)?;
    }
    put("ingester_change", "too_long", &[&changes[2].1[..], b"x"].concat())?;
    put("ingester_change", "before_groups", &before_groups(1))?;
    put("ingester_change", "merged", &[23])?;
    put("ingester_change", "unknown", &before_groups(99))?;
    put("ingester_change", "batch", &[&[0][..], &own_batch(1000)].concat())?;
    for (name, state) in ingester::fuzzing::states() {
        put_with_damage("ingester_control", name, &state)?;
        put("ingester_control", &format!("{name}_and_more"), &[&state[..], &[0]].concat())?;
    }
    put("ingester_control", "before_groups", &[1; 17])?;
    let record = |payload: &[u8]| {
        let length = u16::try_from(payload.len()).expect("it is short").to_le_bytes();
        [&length[..], payload].concat()
    };
    let batch = |from_ms| record(&[&[0][..], &own_batch(from_ms)].concat());
    let adopted = || record(&changes[0].1);
    let all_changes: Vec<u8> = changes.iter().flat_map(|(_, payload)| record(payload)).collect();
    let own_changes = || changes.iter().filter(|(name, _)| *name != "adopted_of_another");
    let own_changes: Vec<u8> = own_changes().flat_map(|(_, payload)| record(payload)).collect();
    let freed: Vec<u8> = changes[4..].iter().flat_map(|(_, payload)| record(payload)).collect();
    put("ingester_replay", "changes", &own_changes)?;
    put("ingester_replay", "another_group", &all_changes)?;
    put("ingester_replay", "batches", &[adopted(), batch(1000), batch(5_000_000), batch(2000)].concat())?;
    put("ingester_replay", "beginning_lost", &[batch(1000), batch(5_000_000)].concat())?;
    put("ingester_replay", "both", &[adopted(), batch(1000), freed.clone(), batch(9_000_000), batch(1000)].concat())?;
    let chunks: Vec<u8> = (0..6).flat_map(|i| batch(i * 1_800_000)).collect();
    put("ingester_replay", "chunks", &[adopted(), chunks, freed].concat())?;
    put("ingester_replay", "far", &[adopted(), batch(i64::MIN), batch(i64::MAX - 100_000)].concat())?;
    put("ingester_replay", "before_groups", &[adopted(), record(&before_groups(2)), batch(1000)].concat())?;
    put("ingester_replay", "unknown", &[adopted(), record(b""), record(&[99; 9]), record(&[0; 40])].concat())
}

/// As [`whole_batch`], of the group that an ingester without others is.
fn own_batch(from_ms: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    whole_builder(from_ms).finish(BatchHeader { group: 0, generation: 1, ..HEADER }, &tenant(), &mut bytes);
    bytes
}

fn labels() -> anyhow::Result<()> {
    let packed = |pairs: &[(&str, &str)]| {
        Labels::from_pairs(pairs.iter().copied()).expect("names are unique").as_packed().to_vec()
    };
    put("model_labels", "nothing", &packed(&[]))?;
    put_with_damage("model_labels", "three", &packed(&[("__name__", "up"), ("job", "é"), ("zone ü", "z\n")]))?;
    put_with_damage("model_labels", "long", &packed(&[("a", &"v".repeat(300)), (&"n".repeat(200), "v")]))?;
    let one = |name: &str| packed(&[(name, "v")]);
    put("model_labels", "not_sorted", &[one("b"), one("a")].concat())?;
    put("model_labels", "twice", &[one("a"), one("a")].concat())
}

/// A field of a message: its number, and what is delimited by a length.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f | 0x80).expect("eight bits"));
        length >>= 7;
    }
    out.push(u8::try_from(length).expect("seven bits"));
    out.extend_from_slice(bytes);
    out
}

fn label(name: &str, value: &str) -> Vec<u8> {
    field(1, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat())
}

fn sample(value: f64, time: &[u8]) -> Vec<u8> {
    field(2, &[&[0x09][..], &value.to_le_bytes(), &[0x10], time].concat())
}

fn remote_write() -> anyhow::Result<()> {
    let name = || label("__name__", "up");
    // 1,700,000,000,000 and -1 as varints.
    let (now, before) = (&[0x80, 0xd0, 0x95, 0xff, 0xbc, 0x31][..], &[&[0xff; 9][..], &[1]].concat());
    let exemplar = field(3, &[&label("trace_id", "abc")[..], &[0x11], &1.5f64.to_le_bytes(), &[0x18], now].concat());
    let histogram = field(4, &[&[0x08, 5, 0x19][..], &2.5f64.to_le_bytes(), &[0x20, 1, 0x78], now].concat());
    let metadata = field(3, &[&[0x08, 1][..], &field(2, b"up"), &field(4, b"help"), &field(5, b"s")].concat());
    let requests = [
        ("one_series", field(1, &[name(), label("job", "x"), sample(1.0, now), sample(2.0, before)].concat())),
        ("exemplar", field(1, &[name(), sample(1.0, now), exemplar].concat())),
        ("histogram", field(1, &[name(), histogram].concat())),
        ("metadata", metadata.clone()),
        ("two_and_metadata", [field(1, &[name(), sample(1.0, now)].concat()), metadata, field(1, &name())].concat()),
        ("not_sorted", field(1, &[label("job", "x"), name(), sample(1.0, now)].concat())),
        ("twice", field(1, &[name(), name(), sample(1.0, now)].concat())),
        ("no_labels", field(1, &sample(stale_nan(), now))),
        ("empty_value", field(1, &[name(), label("a", ""), sample(1.0, now)].concat())),
        ("unknown_fields", [&[0x38, 5, 0x41, 1, 2, 3, 4, 5, 6, 7, 8, 0x4d, 1, 2, 3, 4][..], &field(10, b"x")].concat()),
        ("group", vec![0x0b, 0x0c]),
        ("not_utf8", field(1, &[name(), field(1, &[0x12, 1, 0xff]), sample(1.0, now)].concat())),
        ("long_varint", vec![0x80; 12]),
        ("nothing", vec![]),
    ];
    for (name, request) in &requests {
        put("remotewrite_request", name, request)?;
        put("remotewrite_body", name, &snappy(request)?)?;
    }
    let [(_, whole), ..] = &requests;
    put("remotewrite_request", "torn", &whole[..whole.len() - 3])?;
    put("remotewrite_body", "torn", &snappy(whole)?[..20])?;
    put("remotewrite_body", "copies", &snappy(&whole.repeat(20))?)?;
    put("remotewrite_body", "claims_much", &[0x80, 0x80, 0x80, 0x10, 1, 2, 3])?;
    for (name, content_type, encoding) in [
        ("v1", "application/x-protobuf", "snappy"),
        ("named", "application/x-protobuf;proto=prometheus.WriteRequest", ""),
        ("v2", "application/x-protobuf;proto=io.prometheus.write.v2.Request", "snappy"),
        ("unnamed", "", "snappy"),
        ("gzip", "application/x-protobuf", "gzip"),
        ("json", "application/json", "snappy"),
        ("odd", "application/x-protobuf ; a ; proto", "snappy"),
    ] {
        let front = format!("{content_type}\n{encoding}\n");
        put("distributor_write", name, &[front.as_bytes(), &snappy(whole)?].concat())?;
    }
    for (name, request) in &requests {
        put("distributor_write", &format!("of_{name}"), &[&b"\n\n"[..], &snappy(request)?].concat())?;
    }
    Ok(())
}

fn double(number: u8, value: f64) -> Vec<u8> {
    [&[number << 3 | 1][..], &value.to_le_bytes()].concat()
}

fn remote_write_2() -> anyhow::Result<()> {
    let symbols: Vec<u8> = ["", "__name__", "m", "job", "x", "help", "trace_id", "\u{fc}"]
        .into_iter()
        .flat_map(|symbol| field(4, symbol.as_bytes()))
        .collect();
    // 1,700,000,000,000 as a varint.
    let now = &[0x80, 0xd0, 0x95, 0xff, 0xbc, 0x31][..];
    let name = || field(1, &[1, 2]);
    let series = |parts: &[Vec<u8>]| [&symbols[..], &field(5, &parts.concat())].concat();
    let exemplar = field(4, &[&field(1, &[6, 4])[..], &double(2, 1.5), &[0x18], now].concat());
    let span = field(11, &[0x08, 2, 0x10, 2]);
    let histogram = [&[0x08, 5][..], &double(3, 2.5), &[0x20, 1], &span, &field(12, &[6, 1]), &[0x78], now].concat();
    let floats = [&double(2, 2.5)[..], &span, &double(13, 1.0), &double(13, 1.5), &[0x78], now, &[0x88, 1, 5]].concat();
    let metadata = field(5, &[0x08, 3, 0x18, 5, 0x20, 0]);
    let requests = [
        ("series", series(&[field(1, &[1, 2, 3, 4]), sample(1.0, now), sample(stale_nan(), now)])),
        ("exemplar_and_metadata", series(&[name(), sample(1.0, now), exemplar, metadata])),
        ("histograms", series(&[name(), field(3, &histogram), field(3, &floats)])),
        ("not_packed", series(&[vec![0x08, 3, 0x08, 7, 0x08, 1, 0x08, 2], sample(1.0, now)])),
        ("out_of_range", series(&[field(1, &[1, 99]), sample(1.0, now)])),
        ("odd", series(&[field(1, &[1, 2, 3]), sample(1.0, now)])),
        ("twice", series(&[field(1, &[1, 2, 3, 4, 3, 2]), sample(1.0, now)])),
        ("no_samples", series(&[name()])),
        ("no_symbols", field(5, &[field(1, &[0, 0]), sample(1.0, now)].concat())),
        (
            "not_utf8",
            [field(4, b""), field(4, &[0xff]), field(5, &[field(1, &[1, 1]), sample(1.0, now)].concat())].concat(),
        ),
        ("nothing", vec![]),
    ];
    for (name, request) in &requests {
        put("remotewrite_v2_request", name, request)?;
        let front = b"application/x-protobuf;proto=io.prometheus.write.v2.Request\nsnappy\n";
        put("distributor_write", &format!("v2_of_{name}"), &[&front[..], &snappy(request)?].concat())?;
    }
    let [(_, whole), ..] = &requests;
    put("remotewrite_v2_request", "torn", &whole[..whole.len() - 3])
}

/// Pages of `io.prometheus.client.MetricFamily`, each behind a byte that says what is read of histograms.
fn scraped_messages() -> anyhow::Result<()> {
    let family = |name: &str, kind: u8, rest: &[Vec<u8>]| {
        let message = [field(1, name.as_bytes()), field(2, b"Help."), vec![0x18, kind], rest.concat()].concat();
        // The length without the tag of a field.
        field(1, &message)[1..].to_vec()
    };
    let metric = |parts: &[Vec<u8>]| field(4, &[&[label("a", "x\"y\n")][..], parts].concat().concat());
    let time = field(3, &[0x08, 5, 0x10, 7]);
    let exemplar = |number: u8| field(number, &[label("trace_id", "abc"), double(2, 0.5), time.clone()].concat());
    let bucket = |count: u8, upper: f64| field(3, &[vec![0x08, count], double(2, upper), exemplar(3)].concat());
    let classic = [vec![0x08, 3], double(2, 1.5), bucket(1, 0.5), bucket(3, 1.0)].concat();
    let native = [vec![0x28, 2], field(12, &[0x08, 2, 0x10, 2]), field(13, &[2, 2])].concat();
    let floats = [double(4, 2.5), double(8, 0.5), double(6, 0.25), field(9, &[0x10, 1]), double(11, 2.0)].concat();
    let histogram = |parts: &[Vec<u8>]| metric(&[field(7, &parts.concat())]);
    let quantile = field(3, &[double(1, 0.5), double(2, 7.0)].concat());
    let pages = [
        ("counter", family("c_total", 0, &[metric(&[field(3, &[double(1, 7.0), exemplar(2)].concat())])])),
        ("gauge", family("g", 1, &[field(5, b"seconds"), metric(&[field(2, &double(1, -0.0)), vec![0x30, 77]])])),
        ("summary", family("s", 2, &[metric(&[field(4, &[vec![0x08, 5], double(2, 1.5), quantile].concat())])])),
        ("untyped", family("u \u{fc}", 3, &[metric(&[field(5, &double(1, f64::NAN))]), metric(&[])])),
        ("classic", family("h", 4, &[histogram(std::slice::from_ref(&classic))])),
        ("native", family("h", 4, &[histogram(std::slice::from_ref(&native))])),
        ("both", family("h", 4, &[histogram(&[classic, native])])),
        ("floats", family("h", 5, &[histogram(&[floats])])),
        ("bad_spans", family("h", 4, &[histogram(&[field(12, &[0x10, 9])])])),
        ("no_name", family("", 1, &[metric(&[])])),
        ("zero_byte", family("a\0b", 1, &[metric(&[])])),
        ("bad_type", family("x", 9, &[metric(&[])])),
        ("nothing", vec![]),
    ];
    for target in ["exposition_messages", "scraper_messages"] {
        for (name, page) in &pages {
            put(target, name, &[&[7][..], page].concat())?;
        }
        let all: Vec<u8> = pages[..8].iter().flat_map(|(_, page)| page.clone()).collect();
        for choice in 0..8 {
            put(target, &format!("all_{choice}"), &[&[choice][..], &all].concat())?;
        }
        put(target, "torn", &[&[1][..], &all[..all.len() - 3]].concat())?;
    }
    Ok(())
}

fn snappy(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    Ok(snap::raw::Encoder::new().compress_vec(bytes)?)
}

fn segments() -> anyhow::Result<()> {
    let log = |records: &[&[u8]]| -> anyhow::Result<Vec<u8>> {
        let disk = SimDisk::new();
        let limits = wal::Limits::default();
        let mut log = wal::Log::open(Arc::new(disk.clone()), Path::new("/log"), limits, 1, drop)?;
        for payload in records {
            log.append(payload, b"");
        }
        log.write()?;
        only_file(&disk, "/log")
    };
    let three = log(&[b"one", b"", &[7; 100]])?;
    put_with_damage("wal_segments", "three", &three)?;
    put("wal_segments", "nothing", &log(&[])?)?;
    put("wal_segments", "zeros_behind", &[&three[..], &[0; 64]].concat())?;
    put("wal_segments", "no_magic", &three[8..])?;
    put("wal_segments", "half_a_magic", &three[..5])?;
    put("wal_segments", "twice", &three.repeat(2))?;
    let (front, back) = three.split_at(8 + 16 + 3);
    put("wal_segments", "two_segments", &[front, &three[..8], back].concat())?;
    put("wal_segments", "one_is_gone", &[&front[..8], &back[16..]].concat())?;
    put("wal_segments", "out_of_order", &[&front[..8], &back[..16], &front[8..], &back[16..]].concat())?;
    let mut damaged = three.clone();
    damaged[8 + 17] ^= 1;
    put("wal_segments", "first_damaged", &damaged)?;
    let mut far = three.clone();
    far[8 + 8..8 + 16].copy_from_slice(&u64::MAX.to_le_bytes());
    put("wal_segments", "position_without_next", &far)?;
    let mut long = three;
    long[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    put("wal_segments", "too_long", &long)?;
    named_beyond_its_records()
}

/// A segment whose first bytes look like a record of position 9, by which the target names it, and which reaches into what is
/// appended behind the others; these are of positions before.
fn named_beyond_its_records() -> anyhow::Result<()> {
    let record = |position: u64, payload: &[u8]| {
        let length = u32::try_from(payload.len()).expect("it is short").to_le_bytes();
        let sum = crc32c::crc32c_append(crc32c::crc32c(&position.to_le_bytes()), payload).to_le_bytes();
        [&length[..], &sum, &position.to_le_bytes(), payload].concat()
    };
    let forged = |reach: u32| [&reach.to_le_bytes()[..], &[7; 4], &9u64.to_le_bytes()].concat();
    let records = [record(3, b"c"), record(4, b"")].concat();
    let reach = u32::try_from(records.len() + 16 + 4).expect("it is short");
    let beyond = [b"NTXLOG01", &forged(reach)[..], &records].concat();
    put("wal_segments", "named_beyond_its_records", &beyond)?;
    let first = [b"NTXLOG01", &record(1, b"a")[..]].concat();
    put("wal_segments", "second_named_beyond_its_records", &[&first[..], &beyond].concat())?;
    let empty = [b"NTXLOG01", &forged(1 << 30)[..]].concat();
    put("wal_segments", "second_torn_and_named_beyond", &[&first[..], &empty].concat())
}
