//! Snapshots: what a restart begins with instead of the whole log.
//!
//! ```text
//! file      = "NTXSNAP1" · frame*                     `snapshots/<position, 20 digits>`; two are kept
//! frame     = len u32 · crc32c u32 · kind u8 · body     (the checksum covers kind and body)
//!   0 begin     = position u64 · partition_count u32 · extra_len u32 · extra · mint i64 · maxt i64
//!                 · file_count u32 · (chunk file u32 · maxt i64)*
//!   1 partition = tenant · partition u32 · applied u64 · series_count u32 · series* · open histograms
//!   2 metadata  = tenant · count u32 · (type u8 · name · help · unit)*
//!   3 exemplars = tenant · count u32 · (id u128 · labels · timestamp i64 · value f64 · labels)*
//!   4 end       = frame_count u32 · file_count u32 · (chunk file u32 · maxt i64)*   (no files in older snapshots)
//! series    = id u128 · labels · dropped u32 · sealed_count u32 · sealed chunk * · open chunk · late_count u32
//!             · (sealed chunk of late samples)* · late_sample_count u32 · (timestamp i64 · value f64)*
//! open histograms = nothing (where there are none, and in older snapshots)
//!             | count u32 · (place of the series u32 · encoding u8 · open chunk)*
//! tenant, labels, name, help, unit, open chunk = len u32 · bytes
//! ```
//!
//! Partitions are written one after the other, each at the position that it says; a replay passes over what each holds. Sealed
//! chunks are referred to, not copied; files that were begun after the snapshot was are named at its end. `extra` is the owner's
//! own state at `position`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc;

use bytes::Bytes;
use chunkenc::XorEncoder;
use disk::{Disk, File};
use model::{Exemplar, Labels, Metadata, MetricType, PackedLabels, SeriesId, TenantId, TimestampMs};
use parking_lot::{Mutex, RwLock};
use storage::ChunkEncoding;

use crate::chunk_files::{ChunkFiles, FILES_MAX, SealedChunk};
use crate::head::{Head, Limits, Tenant};
use crate::series::{CHUNK_ALIGN_MS, MemSeries, Rare};
use crate::values::OpenHistograms;
use crate::{Error, partition::Partition};

const MAGIC: &[u8; 8] = b"NTXSNAP1";
const KEPT: usize = 2;
const FRAME_HEADER_BYTES: usize = 9;

mod kind {
    pub(super) const BEGIN: u8 = 0;
    pub(super) const PARTITION: u8 = 1;
    pub(super) const METADATA: u8 = 2;
    pub(super) const EXEMPLARS: u8 = 3;
    pub(super) const END: u8 = 4;
}

/// What a head was opened from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The log is needed from the position after this one.
    pub position: u64,
    /// The owner's state at `position`; empty without a snapshot.
    pub extra: Vec<u8>,
    /// Snapshots that were passed over because they are damaged, and why.
    pub damaged: Vec<String>,
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).expect("far below 4 GiB").to_le_bytes());
    out.extend_from_slice(bytes);
}

fn put_count(out: &mut Vec<u8>, n: usize) {
    out.extend_from_slice(&u32::try_from(n).expect("far below 2^32").to_le_bytes());
}

struct Writer {
    file: Arc<dyn File>,
    path: PathBuf,
    at: u64,
    frames: u32,
}

impl Writer {
    fn frame(&mut self, kind: u8, body: &[u8]) -> Result<(), Error> {
        let mut header = Vec::with_capacity(FRAME_HEADER_BYTES);
        put_count(&mut header, body.len() + 1);
        header.extend_from_slice(&crc32c::crc32c_append(crc32c::crc32c(&[kind]), body).to_le_bytes());
        header.push(kind);
        for part in [&header[..], body] {
            self.file.write_at(part, self.at).map_err(Error::io("write", &self.path))?;
            self.at += part.len() as u64;
        }
        self.frames += 1;
        Ok(())
    }
}

impl Head {
    /// Writes a snapshot of everything applied up to now, and deletes all but the newest two. `extra` is asked for while no batch
    /// is being applied. Returns the position from which on the log is needed, whichever of the kept snapshots a restart finds
    /// good.
    pub fn write_snapshot(&self, extra: impl FnOnce() -> Vec<u8>) -> Result<u64, Error> {
        let (position, extra) = {
            let gate = self.gate.lock();
            (*gate, extra())
        };
        self.disk.create_dir_all(&self.snapshots).map_err(Error::io("create", &self.snapshots))?;
        let path = self.snapshots.join(format!("{position:020}"));
        let unfinished = path.with_extension("tmp");
        let file = self.disk.create(&unfinished).map_err(Error::io("create", &unfinished))?;
        file.write_at(MAGIC, 0).map_err(Error::io("write", &unfinished))?;
        let mut w = Writer { file, path: unfinished.clone(), at: MAGIC.len() as u64, frames: 0 };
        let written = self.write_frames(&mut w, position, &extra);
        if let Err(e) = written {
            // Half a snapshot must not keep the space that the log needs.
            self.disk.remove(&unfinished).map_err(Error::io("remove", &unfinished))?;
            return Err(e);
        }
        self.files.sync()?;
        w.file.sync().map_err(Error::io("sync", &unfinished))?;
        self.disk.rename(&unfinished, &path).map_err(Error::io("rename", &unfinished))?;
        self.disk.sync_dir(&self.snapshots).map_err(Error::io("sync", &self.snapshots))?;
        self.remove_old_snapshots()
    }

    fn write_frames(&self, w: &mut Writer, position: u64, extra: &[u8]) -> Result<(), Error> {
        let mut body = Vec::new();
        body.extend_from_slice(&position.to_le_bytes());
        body.extend_from_slice(&self.limits.partition_count.to_le_bytes());
        put_bytes(&mut body, extra);
        body.extend_from_slice(&self.mint.load(Ordering::Relaxed).to_le_bytes());
        body.extend_from_slice(&self.maxt.load(Ordering::Relaxed).to_le_bytes());
        put_files(&mut body, &self.files.files());
        w.frame(kind::BEGIN, &body)?;
        let tenants: Vec<_> = self.tenants.read().iter().map(|(id, t)| (id.clone(), t.clone())).collect();
        for (id, tenant) in tenants {
            for (p, partition) in tenant.partitions.iter().enumerate() {
                body.clear();
                put_bytes(&mut body, id.as_str().as_bytes());
                put_count(&mut body, p);
                put_partition(&mut body, &partition.lock());
                w.frame(kind::PARTITION, &body)?;
            }
            body.clear();
            put_metadata(&mut body, &id, &tenant.metadata.lock());
            w.frame(kind::METADATA, &body)?;
            body.clear();
            put_exemplars(&mut body, &id, &tenant);
            w.frame(kind::EXEMPLARS, &body)?;
        }
        body.clear();
        body.extend_from_slice(&w.frames.to_le_bytes());
        // Partitions that were written last may refer to chunks sealed meanwhile.
        put_files(&mut body, &self.files.files());
        w.frame(kind::END, &body)
    }

    /// Keeps the newest two; returns the position of the older one.
    fn remove_old_snapshots(&self) -> Result<u64, Error> {
        let all = list(&*self.disk, &self.snapshots)?;
        let (old, kept) = all.split_at(all.len().saturating_sub(KEPT));
        for (_, path) in old {
            self.disk.remove(path).map_err(Error::io("remove", path))?;
        }
        Ok(kept.first().map_or(0, |(position, _)| *position))
    }

    /// Deletes chunk files that end before `t`. To be called with what the older of the kept snapshots no longer refers to.
    pub fn remove_chunk_files_before(&self, t: TimestampMs) -> Result<(), Error> {
        self.files.remove_before(t)
    }
}

fn put_files(out: &mut Vec<u8>, files: &BTreeMap<u32, i64>) {
    put_count(out, files.len());
    for (n, maxt) in files {
        out.extend_from_slice(&n.to_le_bytes());
        out.extend_from_slice(&maxt.to_le_bytes());
    }
}

fn put_partition(out: &mut Vec<u8>, partition: &Partition) {
    out.extend_from_slice(&partition.applied.to_le_bytes());
    put_count(out, partition.series().len());
    for (id, s) in partition.ids().iter().zip(partition.series()) {
        out.extend_from_slice(&id.0.to_le_bytes());
        put_bytes(out, s.labels.as_packed());
        out.extend_from_slice(&s.dropped.to_le_bytes());
        put_count(out, s.sealed.len());
        s.sealed.iter().for_each(|c| out.extend_from_slice(&c.to_bytes()));
        put_count(out, s.open.len_bytes());
        s.open.copy_first(s.open.sample_count(), out);
        let nothing = Rare::default();
        let late = s.rare.as_deref().unwrap_or(&nothing);
        put_count(out, late.chunks.len());
        late.chunks.iter().for_each(|c| out.extend_from_slice(&c.to_bytes()));
        put_count(out, late.samples.len());
        for (t, v) in &late.samples {
            out.extend_from_slice(&t.to_le_bytes());
            out.extend_from_slice(&v.to_bits().to_le_bytes());
        }
    }
    put_open_histograms(out, partition);
}

fn put_open_histograms(out: &mut Vec<u8>, partition: &Partition) {
    let all = || partition.series().iter().enumerate().filter_map(|(place, s)| Some((place, s.open_histograms()?)));
    let count = all().count();
    if count == 0 {
        return;
    }
    put_count(out, count);
    for (place, open) in all() {
        put_count(out, place);
        out.push(if open.encoding() == ChunkEncoding::FloatHistogram { 3 } else { 2 });
        put_bytes(out, open.bytes());
    }
}

fn put_metadata(out: &mut Vec<u8>, tenant: &TenantId, metadata: &BTreeMap<String, Metadata>) {
    put_bytes(out, tenant.as_str().as_bytes());
    put_count(out, metadata.len());
    for (name, m) in metadata {
        let known = TYPES.iter().position(|t| *t == m.metric_type);
        out.push(u8::try_from(known.unwrap_or(0)).expect("eight types"));
        for text in [name, &m.help, &m.unit] {
            put_bytes(out, text.as_bytes());
        }
    }
}

const TYPES: [MetricType; 8] = [
    MetricType::Unknown,
    MetricType::Counter,
    MetricType::Gauge,
    MetricType::Histogram,
    MetricType::GaugeHistogram,
    MetricType::Summary,
    MetricType::Info,
    MetricType::StateSet,
];

fn put_exemplars(out: &mut Vec<u8>, id: &TenantId, tenant: &Tenant) {
    let ring = tenant.exemplars.lock();
    put_bytes(out, id.as_str().as_bytes());
    put_count(out, ring.len());
    for (series, labels, e) in ring.iter() {
        out.extend_from_slice(&series.0.to_le_bytes());
        put_bytes(out, labels.as_packed());
        out.extend_from_slice(&e.timestamp.map_or(0, |t| t.0).to_le_bytes());
        out.extend_from_slice(&e.value.to_bits().to_le_bytes());
        put_bytes(out, e.labels.as_packed());
    }
}

/// Snapshots by position, oldest first.
fn list(disk: &dyn Disk, folder: &Path) -> Result<Vec<(u64, PathBuf)>, Error> {
    let position = |p: &PathBuf| p.file_name()?.to_str()?.parse::<u64>().ok();
    let all = disk.list(folder).map_err(Error::io("list", folder))?;
    Ok(all.into_iter().filter_map(|p| position(&p).map(|n| (n, p))).collect())
}

pub(crate) fn open(disk: Arc<dyn Disk>, folder: &Path, limits: Limits) -> Result<(Head, Recovered), Error> {
    let snapshots = folder.join("snapshots");
    let chunks = folder.join("chunks");
    let mut damaged = Vec::new();
    for path in disk.list(&snapshots).map_err(Error::io("list", &snapshots))? {
        if path.extension().is_some_and(|e| e == "tmp") {
            disk.remove(&path).map_err(Error::io("remove", &path))?;
        }
    }
    for (position, path) in list(&*disk, &snapshots)?.into_iter().rev() {
        match load(&disk, &path, position, &chunks, &snapshots, limits)? {
            Ok((head, extra)) => return Ok((head, Recovered { position, extra, damaged })),
            Err(what) => damaged.push(format!("{}: {what}", path.display())),
        }
    }
    let files = ChunkFiles::open(disk.clone(), &chunks, &BTreeMap::new())?;
    let head = empty_head(disk, snapshots, limits, files, 0);
    Ok((head, Recovered { position: 0, extra: Vec::new(), damaged }))
}

fn empty_head(disk: Arc<dyn Disk>, snapshots: PathBuf, limits: Limits, files: ChunkFiles, position: u64) -> Head {
    Head {
        limits,
        disk,
        snapshots,
        tenants: RwLock::default(),
        files,
        gate: Mutex::new(position),
        mint: AtomicI64::new(i64::MAX),
        maxt: AtomicI64::new(i64::MIN),
        appended: AtomicU64::new(0),
    }
}

/// Reads fields off the front of a frame; `None` where it ends too early.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }
    fn id(&mut self) -> Option<SeriesId> {
        self.array().map(|b| SeriesId(u128::from_le_bytes(b)))
    }
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let n = usize::try_from(self.u32()?).ok()?;
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }
    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
    fn tenant(&mut self) -> Option<TenantId> {
        TenantId::new(self.text()?)
    }
    fn labels(&mut self) -> Option<Labels> {
        // The frame's checksum vouches for bytes that came from `Labels`; checking each again would double a restart.
        Some(PackedLabels::check(self.bytes()?)?.to_labels())
    }
}

type Damage = &'static str;

/// Loads a snapshot; the inner error says in what way it is damaged.
fn load(
    disk: &Arc<dyn Disk>,
    path: &Path,
    position: u64,
    chunks: &Path,
    snapshots: &Path,
    limits: Limits,
) -> Result<Result<(Head, Vec<u8>), Damage>, Error> {
    let file = disk.open(path).map_err(Error::io("open", path))?;
    // A file that is too short to have one has no magic either.
    if !file.bytes(0, MAGIC.len()).is_ok_and(|start| start[..] == MAGIC[..]) {
        return Ok(Err("it is no snapshot of this version"));
    }
    let mut reader = FrameReader { file, at: MAGIC.len() as u64, count: 0 };
    let begin = match reader.next() {
        Ok((kind::BEGIN, body)) => body,
        Ok(_) => return Ok(Err("it does not begin")),
        Err(what) => return Ok(Err(what)),
    };
    let Some(begin) = read_begin(&begin) else { return Ok(Err("its beginning is malformed")) };
    if begin.position != position {
        return Ok(Err("it is of another position than its name"));
    }
    if begin.partition_count != limits.partition_count {
        return Ok(Err("it is of another number of partitions"));
    }
    // Whole before anything is opened: opening chunk files deletes what is not referred to.
    let mut referred = begin.files;
    match reader.verify() {
        Ok(more) => more.into_iter().for_each(|(n, maxt)| {
            referred.entry(n).and_modify(|known| *known = maxt.max(*known)).or_insert(maxt);
        }),
        Err(what) => return Ok(Err(what)),
    }
    let files = ChunkFiles::open(disk.clone(), chunks, &referred)?;
    let head = empty_head(disk.clone(), snapshots.to_owned(), limits, files, begin.position);
    head.mint.store(begin.mint, Ordering::Relaxed);
    head.maxt.store(begin.maxt, Ordering::Relaxed);
    Ok(load_frames(&head, &mut reader).map(|()| (head, begin.extra)))
}

/// Decodes frames on two threads while this one reads; at most four frames wait.
fn load_frames(head: &Head, reader: &mut FrameReader) -> Result<(), Damage> {
    const WORKERS: usize = 2;
    std::thread::scope(|scope| {
        let (mut senders, mut workers) = (Vec::new(), Vec::new());
        for _ in 0..WORKERS {
            let (sender, frames) = mpsc::sync_channel::<(u8, Bytes)>(2);
            senders.push(sender);
            workers.push(scope.spawn(move || {
                frames.iter().try_for_each(|(k, body)| read_frame(head, k, &body).ok_or("a frame is malformed"))
            }));
        }
        let mut read = Ok(());
        let mut turn = 0;
        loop {
            match reader.next() {
                Ok((kind::END, _)) => break,
                Ok((k, body)) => {
                    turn += 1;
                    if senders[turn % WORKERS].send((k, body)).is_err() {
                        break;
                    }
                }
                Err(what) => {
                    read = Err(what);
                    break;
                }
            }
        }
        drop(senders);
        for w in workers {
            w.join().expect("decoding does not panic")?;
        }
        read
    })
}

struct FrameReader {
    file: Arc<dyn File>,
    at: u64,
    count: u32,
}

impl FrameReader {
    fn next(&mut self) -> Result<(u8, Bytes), Damage> {
        let header = self.file.bytes(self.at, FRAME_HEADER_BYTES).map_err(|_| "it ends too early")?;
        let mut fields = Fields(&header);
        let (len, crc) = (fields.u32().unwrap_or(0), fields.u32().unwrap_or(0));
        let len = usize::try_from(len).expect("32 bits fit");
        let end = self.file.len().map_err(|_| "it cannot be measured")?;
        if len == 0 || self.at + 8 + len as u64 > end {
            return Err("it ends too early");
        }
        let body = self.file.bytes(self.at + 8, len).map_err(|_| "it cannot be read")?;
        if crc32c::crc32c(&body) != crc {
            return Err("a checksum is wrong");
        }
        self.at += 8 + len as u64;
        self.count += 1;
        Ok((body[0], body.slice(1..)))
    }

    /// Whether the last frame is there and says the right count; reads only headers on the way. Gives the files that it names.
    fn verify(&self) -> Result<BTreeMap<u32, i64>, Damage> {
        let end = self.file.len().map_err(|_| "it cannot be measured")?;
        let (mut at, mut count) = (self.at, self.count);
        while at < end {
            let header = self.file.bytes(at, FRAME_HEADER_BYTES).map_err(|_| "it ends too early")?;
            let len = u64::from(u32::from_le_bytes(header[..4].try_into().expect("4 bytes")));
            if header[8] == kind::END {
                let mut last = FrameReader { file: self.file.clone(), at, count };
                let (_, body) = last.next()?;
                let mut fields = Fields(&body);
                if fields.u32() != Some(count) {
                    return Err("frames are missing");
                }
                let files = if fields.0.is_empty() { Some(BTreeMap::new()) } else { read_files(&mut fields) };
                return files.ok_or("its end is malformed");
            }
            at += 8 + len;
            count += 1;
        }
        Err("it has no end")
    }
}

struct Begin {
    position: u64,
    partition_count: u32,
    extra: Vec<u8>,
    mint: i64,
    maxt: i64,
    files: BTreeMap<u32, i64>,
}

fn read_begin(body: &[u8]) -> Option<Begin> {
    let mut f = Fields(body);
    let (position, partition_count) = (f.u64()?, f.u32()?);
    let extra = f.bytes()?.to_vec();
    let (mint, maxt) = (f.i64()?, f.i64()?);
    let files = read_files(&mut f)?;
    Some(Begin { position, partition_count, extra, mint, maxt, files })
}

fn read_files(f: &mut Fields<'_>) -> Option<BTreeMap<u32, i64>> {
    let mut files = BTreeMap::new();
    for _ in 0..f.u32()? {
        let n = f.u32()?;
        // There must be a number for the next.
        if n >= FILES_MAX - 1 {
            return None;
        }
        files.insert(n, f.i64()?);
    }
    Some(files)
}

fn read_frame(head: &Head, kind: u8, body: &[u8]) -> Option<()> {
    let mut f = Fields(body);
    let tenant = head.tenant_or_new(&f.tenant()?);
    match kind {
        kind::PARTITION => {
            let p = usize::try_from(f.u32()?).ok()?;
            let mut partition = tenant.partitions.get(p)?.lock();
            read_partition(&mut f, &mut partition)?;
            let chunks = |s: &MemSeries| {
                let late = s.rare.iter().flat_map(|late| &late.chunks).map(|c| c.file()).max();
                s.sealed.iter().map(|c| c.file()).max().max(late)
            };
            if let Some(file) = partition.series().iter().filter_map(chunks).max() {
                if file >= FILES_MAX - 1 {
                    return None;
                }
                head.files.number_files_after(file);
            }
            Some(())
        }
        kind::METADATA => {
            let mut metadata = tenant.metadata.lock();
            for _ in 0..f.u32()? {
                let [code] = f.array()?;
                let metric_type = *TYPES.get(usize::from(code))?;
                let (name, help, unit) = (f.text()?.to_owned(), f.text()?.to_owned(), f.text()?.to_owned());
                metadata.insert(name, Metadata { metric_type, help, unit });
            }
            Some(())
        }
        kind::EXEMPLARS => {
            let mut ring = tenant.exemplars.lock();
            for _ in 0..f.u32()? {
                let (id, labels, t, bits) = (f.id()?, f.labels()?, f.i64()?, f.u64()?);
                let (timestamp, value) = (Some(TimestampMs(t)), f64::from_bits(bits));
                let exemplar = Exemplar { labels: f.labels()?, value, timestamp };
                ring.add(id, &labels, exemplar, head.limits.exemplars_max);
            }
            Some(())
        }
        _ => None,
    }
}

fn read_partition(f: &mut Fields<'_>, partition: &mut Partition) -> Option<()> {
    partition.applied = f.u64()?;
    for _ in 0..f.u32()? {
        let id = f.id()?;
        let mut s = MemSeries::new(f.labels()?);
        s.dropped = f.u32()?;
        s.sealed = read_sealed(f)?;
        s.open = XorEncoder::from_bytes(f.bytes()?).ok()?;
        // What appending and sealing rely on.
        let open = s.open.first_timestamp().zip(s.open.last());
        let in_one_slot = |(first, (last, _)): (i64, (i64, f64))| {
            first <= last && first.div_euclid(CHUNK_ALIGN_MS) == last.div_euclid(CHUNK_ALIGN_MS)
        };
        if !open.is_none_or(in_one_slot) || s.dropped > u32::MAX / 2 {
            return None;
        }
        let chunks = read_sealed(f)?;
        let mut samples = Vec::new();
        for _ in 0..f.u32()? {
            samples.push((f.i64()?, f64::from_bits(f.u64()?)));
        }
        if !(chunks.is_empty() && samples.is_empty()) {
            s.rare = Some(Box::new(Rare { open: None, chunks, samples }));
        }
        partition.insert(id, s);
    }
    if !f.0.is_empty() {
        read_open_histograms(f, partition)?;
    }
    Some(())
}

fn read_open_histograms(f: &mut Fields<'_>, partition: &mut Partition) -> Option<()> {
    for _ in 0..f.u32()? {
        let place = f.u32()?;
        let [code] = f.array()?;
        let encoding = match code {
            2 => ChunkEncoding::Histogram,
            3 => ChunkEncoding::FloatHistogram,
            _ => return None,
        };
        let open = OpenHistograms::from_bytes(encoding, f.bytes()?)?;
        partition.series_at(place)?.rare.get_or_insert_default().open = Some(open);
    }
    Some(())
}

fn read_sealed(f: &mut Fields<'_>) -> Option<Vec<SealedChunk>> {
    let n = usize::try_from(f.u32()?).ok()?;
    // The frame holds them, so its length bounds what is reserved.
    let mut sealed = Vec::with_capacity(n.min(f.0.len() / 16));
    for _ in 0..n {
        sealed.push(SealedChunk::from_bytes(f.array()?));
    }
    Some(sealed)
}

/// For fuzzing alone: the snapshot with the checksums that its frames should have.
pub(crate) fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut at = MAGIC.len();
    while let Some(len) = bytes.get(at..at + 4) {
        let len = u32::from_le_bytes(len.try_into().expect("4 bytes")) as usize;
        let Some(body) = bytes.get(at + 8..at + 8 + len) else { break };
        let crc = crc32c::crc32c(body);
        bytes[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
        at += 8 + len;
    }
    bytes
}
