//! Series with chunks.

use bytes::Bytes;
use cluster::DecodeError;
use cluster::codec::Encoder;
use model::{Labels, PackedLabels, TimestampMs};
use storage::{Chunk, ChunkEncoding, Series};

use super::{Record, Source, impossible};

impl Record for Labels {
    const BYTES_MIN: usize = 4;

    fn put(&self, out: &mut Encoder) {
        out.bytes(self.as_packed());
    }

    fn get(from: &mut Source<'_>) -> Result<Labels, DecodeError> {
        let packed = PackedLabels::check(from.decoder.bytes()?).ok_or(DecodeError::Text { field: "labels" })?;
        Ok(packed.to_labels())
    }
}

impl Record for ChunkEncoding {
    const BYTES_MIN: usize = 1;

    fn put(&self, out: &mut Encoder) {
        out.u8(match self {
            ChunkEncoding::Xor => 1,
            ChunkEncoding::Histogram => 2,
            ChunkEncoding::FloatHistogram => 3,
            ChunkEncoding::Xor2 => 4,
        });
    }

    fn get(from: &mut Source<'_>) -> Result<ChunkEncoding, DecodeError> {
        match from.decoder.u8()? {
            1 => Ok(ChunkEncoding::Xor),
            2 => Ok(ChunkEncoding::Histogram),
            3 => Ok(ChunkEncoding::FloatHistogram),
            4 => Ok(ChunkEncoding::Xor2),
            found => Err(impossible("a chunk's encoding", found)),
        }
    }
}

impl Record for Chunk {
    const BYTES_MIN: usize = 1 + 8 + 8 + 4;

    fn put(&self, out: &mut Encoder) {
        self.encoding.put(out);
        self.mint.put(out);
        self.maxt.put(out);
        out.bytes(&self.data);
    }

    fn get(from: &mut Source<'_>) -> Result<Chunk, DecodeError> {
        let encoding = ChunkEncoding::get(from)?;
        let (mint, maxt) = (TimestampMs::get(from)?, TimestampMs::get(from)?);
        if mint > maxt {
            return Err(DecodeError::Rule { rule: "a chunk ends after it begins" });
        }
        Ok(Chunk { encoding, mint, maxt, data: Bytes::get(from)? })
    }
}

/// Writes a series with some of its chunks.
pub(crate) fn put_part(series: &Series, chunks: &[Chunk], out: &mut Encoder) {
    series.id.put(out);
    series.labels.put(out);
    out.count(chunks.len());
    chunks.iter().for_each(|chunk| chunk.put(out));
}

impl Record for Series {
    const BYTES_MIN: usize = 16 + 4 + 4;

    fn put(&self, out: &mut Encoder) {
        put_part(self, &self.chunks, out);
    }

    fn get(from: &mut Source<'_>) -> Result<Series, DecodeError> {
        Ok(Series { id: Record::get(from)?, labels: Record::get(from)?, chunks: Record::get(from)? })
    }
}
