//! Chunks: reading them from their files, and leaving out what was deleted.

use std::sync::Arc;

use bytes::Bytes;
use chunkenc::{XorEncoder, decode_xor};
use model::TimestampMs;
use storage::{Chunk, ChunkEncoding};

use super::{Block, ChunkMeta, encoding_of};
use crate::cursor::{Cursor, split_crc};
use crate::source::OpenFile;
use crate::tombstones::Interval;
use crate::{BlockFile, CRC_BYTES, Damage, ReadError, SEGMENT_HEADER_BYTES, SEGMENT_MAGIC, SEGMENT_VERSION};

/// A chunk that is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) meta: ChunkMeta,
    /// What it is called by the caller.
    pub(super) tag: usize,
}

fn place(reference: u64) -> (u32, u64) {
    ((reference >> 32) as u32, reference & 0xffff_ffff)
}

impl Block {
    /// Reads chunks, in order of their places, so that neighbours are read at once.
    pub(super) fn visit_chunks(
        &self,
        wanted: &mut [Wanted],
        visit: &mut dyn FnMut(Wanted, ChunkEncoding, Bytes) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        wanted.sort_unstable_by_key(|w| w.meta.reference);
        let mut rest = &*wanted;
        while let Some(first) = rest.first() {
            let (number, start) = place(first.meta.reference);
            let file = &*self.segment(number)?;
            let near = rest.windows(2).take_while(|pair| {
                let near = pair[1].meta.reference - pair[0].meta.reference <= self.reach.gap_bytes;
                near && pair[1].meta.reference - first.meta.reference <= self.reach.chunks_bytes
            });
            // A reference beyond the file's 4 GiB is in the next file, however near the number is.
            let together = 1 + near.take_while(|pair| place(pair[1].meta.reference).0 == number).count();
            let last = place(rest[together - 1].meta.reference).1;
            if start < SEGMENT_HEADER_BYTES || last >= file.len {
                return Err(file.corrupt(last, Damage::Truncated));
            }
            let window = file.read(start, (last + self.reach.last_chunk_bytes).min(file.len) - start)?;
            let mut read = Vec::with_capacity(together);
            for one in &rest[..together] {
                let offset = place(one.meta.reference).1;
                let at = usize::try_from(offset - start).expect("within a window");
                read.push((*one, chunk_at(file, offset, window.slice(at..))?));
            }
            // Small parts of a large read are copied, or they would keep all of it in memory.
            let used: usize = read.iter().map(|(_, (_, data))| data.len()).sum();
            for (one, (encoding, data)) in read {
                let data = if used * 2 < window.len() { Bytes::copy_from_slice(&data) } else { data };
                visit(one, encoding, data)?;
            }
            rest = &rest[together..];
        }
        Ok(())
    }

    /// An open chunk file, whose header was checked.
    fn segment(&self, number: u32) -> Result<Arc<OpenFile>, ReadError> {
        let mut segments = self.segments.lock().expect("nothing panics while it is held");
        if let Some(open) = segments.get(&number) {
            return Ok(open.clone());
        }
        let name = BlockFile::Segment(number.saturating_add(1));
        let opened = Arc::new(check_header(OpenFile::open(&*self.source, name, self.checksums)?)?);
        segments.insert(number, opened.clone());
        Ok(opened)
    }

    /// The chunk without the samples in `deleted`, whose intervals are sorted; `None` where nothing is left.
    pub(super) fn without_deleted(
        &self,
        chunk: Chunk,
        reference: u64,
        deleted: &[Interval],
    ) -> Result<Option<Chunk>, ReadError> {
        let touched = |i: &&Interval| i.mint <= chunk.maxt.0 && chunk.mint.0 <= i.maxt;
        let deleted: Vec<Interval> = deleted.iter().filter(touched).copied().collect();
        if deleted.is_empty() {
            return Ok(Some(chunk));
        }
        let (number, offset) = place(reference);
        let file = &*self.segment(number)?;
        if deleted.iter().any(|i| i.contains(chunk.mint.0) && i.contains(chunk.maxt.0)) {
            return Ok(None);
        }
        if chunk.encoding == ChunkEncoding::Xor2 {
            return without_intervals(&chunk, &deleted).map_err(|error| file.corrupt(offset, Damage::Chunk(error)));
        }
        if chunk.encoding != ChunkEncoding::Xor {
            return Err(ReadError::PartlyDeletedHistogram { file: file.name, offset });
        }
        let (mut timestamps, mut values) = (Vec::new(), Vec::new());
        decode_xor(&chunk.data, &mut timestamps, &mut values)
            .map_err(|error| file.corrupt(offset, Damage::Chunk(error)))?;
        let mut kept = XorEncoder::new();
        for (t, v) in timestamps.into_iter().zip(values) {
            if !deleted.iter().any(|i| i.contains(t)) {
                kept.append(t, v);
            }
        }
        let ends = kept.first_timestamp().zip(kept.last());
        Ok(ends.map(|(mint, (maxt, _))| Chunk {
            encoding: ChunkEncoding::Xor,
            mint: TimestampMs(mint),
            maxt: TimestampMs(maxt),
            data: kept.into_bytes().into(),
        }))
    }
}

/// An XOR2 chunk without the samples of `deleted`; `None` where none is left.
fn without_intervals(chunk: &Chunk, deleted: &[Interval]) -> Result<Option<Chunk>, chunkenc::DecodeError> {
    let mut decoder = chunkenc::Xor2Decoder::new(&chunk.data)?;
    let mut kept = chunkenc::Xor2Encoder::new();
    let mut mint = None;
    while let Some((start, t, v)) = decoder.next()? {
        if !deleted.iter().any(|i| i.contains(t)) {
            mint.get_or_insert(t);
            kept.append(start, t, v);
        }
    }
    Ok(mint.zip(kept.last()).map(|(mint, (_, maxt, _))| Chunk {
        encoding: ChunkEncoding::Xor2,
        mint: TimestampMs(mint),
        maxt: TimestampMs(maxt),
        data: kept.into_bytes().into(),
    }))
}

fn check_header(file: OpenFile) -> Result<OpenFile, ReadError> {
    let header = file.read(0, SEGMENT_HEADER_BYTES)?;
    let magic = Cursor::new(&header).be32().expect("as long as the header");
    if magic != SEGMENT_MAGIC {
        return Err(file.corrupt(0, Damage::Magic(magic)));
    }
    if header[4] != SEGMENT_VERSION {
        return Err(ReadError::UnknownVersion { file: file.name, version: u32::from(header[4]) });
    }
    Ok(file)
}

/// The chunk that begins at `offset`, of which `have` was read.
fn chunk_at(file: &OpenFile, offset: u64, have: Bytes) -> Result<(ChunkEncoding, Bytes), ReadError> {
    let truncated = || file.corrupt(offset, Damage::Truncated);
    let mut cursor = Cursor::new(&have);
    let len = cursor.uvarint().ok_or_else(truncated)?;
    let prefix = have.len() - cursor.rest.len();
    let whole = len.checked_add(prefix as u64 + 1 + CRC_BYTES).ok_or_else(truncated)?;
    let bytes = match usize::try_from(whole) {
        Ok(whole) if whole <= have.len() => have.slice(prefix..whole),
        _ => file.read(offset, whole)?.slice(prefix..),
    };
    let (body, crc) = split_crc(&bytes).expect("longer than a checksum");
    file.check(offset, crc, crc32c::crc32c(body))?;
    let encoding =
        encoding_of(body[0]).ok_or(ReadError::UnknownEncoding { file: file.name, offset, encoding: body[0] })?;
    Ok((encoding, bytes.slice(1..body.len())))
}
