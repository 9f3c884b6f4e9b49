//! The files in `chunks/`: a header, then chunk behind chunk. Source: `tsdb/docs/format/chunks.md`.

use std::path::PathBuf;
use std::sync::Arc;

use storage::Chunk;

use super::disk::{Directory, Output};
use crate::cursor::put_uvarint;
use crate::read::encoding_number;
use crate::{BlockFile, CRC_BYTES, SEGMENT_HEADER_BYTES, SEGMENT_MAGIC, SEGMENT_VERSION, ThanosFile, WriteError};

/// Longest length prefix of a chunk, as Prometheus reckons.
const LENGTH_BYTES_MAX: u64 = 5;

/// Writes chunks and cuts files.
pub(super) struct ChunkWriter {
    disk: Arc<dyn Directory>,
    dir: PathBuf,
    segment_bytes_max: u64,
    /// Sizes of the files that are finished.
    finished: Vec<u64>,
    current: Option<Output>,
    scratch: Vec<u8>,
    /// The largest chunk with length, encoding and checksum.
    pub(super) chunk_max_bytes: u64,
}

impl ChunkWriter {
    pub(super) fn create(
        disk: &Arc<dyn Directory>,
        dir: PathBuf,
        segment_bytes_max: u32,
    ) -> Result<ChunkWriter, WriteError> {
        disk.create_dir(&dir).map_err(|source| WriteError::Io { path: dir.clone(), source })?;
        Ok(ChunkWriter {
            disk: disk.clone(),
            dir,
            segment_bytes_max: u64::from(segment_bytes_max),
            finished: Vec::new(),
            current: None,
            scratch: Vec::new(),
            chunk_max_bytes: 0,
        })
    }

    /// Writes a chunk and returns its reference: number of the file from 0, then the offset in 32 bits.
    pub(super) fn add(&mut self, chunk: &Chunk) -> Result<u64, WriteError> {
        self.scratch.clear();
        put_uvarint(&mut self.scratch, chunk.data.len() as u64);
        let from = self.scratch.len();
        self.scratch.push(encoding_number(chunk.encoding));
        self.scratch.extend_from_slice(&chunk.data);
        crate::cursor::put_crc(&mut self.scratch, from);

        let bytes_max = LENGTH_BYTES_MAX + 1 + chunk.data.len() as u64 + CRC_BYTES;
        let full =
            |out: &Output| out.position() > SEGMENT_HEADER_BYTES && out.position() + bytes_max > self.segment_bytes_max;
        if self.current.as_ref().is_none_or(full) {
            self.cut()?;
        }
        let out = self.current.as_mut().expect("cut just now or before");
        let reference = (self.finished.len() as u64) << 32 | out.position();
        out.append(&self.scratch)?;
        self.chunk_max_bytes = self.chunk_max_bytes.max(self.scratch.len() as u64);
        Ok(reference)
    }

    /// Makes all files durable and returns them.
    pub(super) fn finish(&mut self) -> Result<Vec<ThanosFile>, WriteError> {
        if let Some(last) = self.current.take() {
            self.finished.push(last.finish()?);
        }
        self.disk.sync_dir(&self.dir).map_err(|source| WriteError::Io { path: self.dir.clone(), source })?;
        let file = |(number, size_bytes): (u32, &u64)| {
            let rel_path = BlockFile::Segment(number).to_string();
            ThanosFile { rel_path, size_bytes: *size_bytes }
        };
        Ok((1..).zip(&self.finished).map(file).collect())
    }

    fn cut(&mut self) -> Result<(), WriteError> {
        if let Some(full) = self.current.take() {
            self.finished.push(full.finish()?);
        }
        let number = u32::try_from(self.finished.len() + 1).map_err(|_| WriteError::IndexTooLarge)?;
        let name = format!("{number:06}");
        let mut out = Output::create(&self.disk, self.dir.join(name))?;
        out.append(&SEGMENT_MAGIC.to_be_bytes())?;
        out.append(&[SEGMENT_VERSION, 0, 0, 0])?;
        self.current = Some(out);
        Ok(())
    }
}
