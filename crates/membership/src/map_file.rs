//! The last cluster map on disk: `map` in the data directory.
//!
//! Layout, little-endian: 4 bytes magic, CRC32C of all that follows, version (1 byte), milliseconds since the epoch at which
//! the control plane was known to hold the map (8 bytes), the map in the layout of `cluster`. It is replaced by renaming, so
//! it is there whole or is the one before.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use cluster::ClusterMap;
use cluster::codec::{DecodeError, Decoder, Encoder};
use model::TimestampMs;

use crate::serve::MAP_BYTES_MAX;

const MAGIC: [u8; 4] = *b"NXmp";
const VERSION: u8 = 1;
/// Before the map: magic, checksum, version, time.
const HEAD_BYTES: usize = 4 + 4 + 1 + 8;

/// Why the map on disk is not used.
#[derive(Debug, thiserror::Error)]
pub enum MapFileError {
    /// It cannot be read or written.
    #[error("access cluster map {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Its bytes are not those that were written. It is a copy: it may be removed.
    #[error("cluster map {path} is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Where a node keeps its last map.
#[derive(Clone, Debug)]
pub struct MapFile(PathBuf);

impl MapFile {
    /// The file `map` of a data directory.
    pub fn of(storage: &Path) -> MapFile {
        MapFile(storage.join("map"))
    }

    /// The map and as of when it was the control plane's; `None` where there is no file.
    pub fn load(&self) -> Result<Option<(ClusterMap, TimestampMs)>, MapFileError> {
        let io = |source| MapFileError::Io { path: self.0.clone(), source };
        let file = match File::open(&self.0) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io(e)),
        };
        let mut bytes = Vec::new();
        let bytes_max = (MAP_BYTES_MAX + HEAD_BYTES + 1) as u64;
        file.take(bytes_max).read_to_end(&mut bytes).map_err(io)?;
        match decode(&bytes) {
            Ok(read) => Ok(Some(read)),
            Err(source) => Err(MapFileError::Damaged { path: self.0.clone(), source }),
        }
    }

    /// Replaces the map, durably.
    pub fn save(&self, map: &ClusterMap, as_of: TimestampMs) -> Result<(), MapFileError> {
        self.replace(&encode(map, as_of)).map_err(|source| MapFileError::Io { path: self.0.clone(), source })
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let unfinished = self.0.with_extension("tmp");
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&unfinished, &self.0)?;
        let folder = self.0.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }
}

pub(crate) fn encode(map: &ClusterMap, as_of: TimestampMs) -> Vec<u8> {
    let mut e = Encoder::new(VERSION);
    e.i64(as_of.0);
    e.rest(&map.encode());
    let body = e.finish();
    [&MAGIC[..], &crc32c::crc32c(&body).to_le_bytes(), &body].concat()
}

pub(crate) fn decode(bytes: &[u8]) -> Result<(ClusterMap, TimestampMs), Box<dyn std::error::Error + Send + Sync>> {
    let Some((head, body)) = bytes.split_at_checked(8) else { return Err("it ends in its head".into()) };
    if head[..4] != MAGIC {
        return Err("it does not begin as a cluster map does".into());
    }
    if crc32c::crc32c(body).to_le_bytes() != head[4..] {
        return Err("its checksum does not match".into());
    }
    let read = |body| -> Result<(ClusterMap, TimestampMs), DecodeError> {
        let mut d = Decoder::new(body, "map file", VERSION)?;
        let as_of = TimestampMs(d.i64()?);
        Ok((ClusterMap::decode(d.rest())?, as_of))
    };
    Ok(read(body)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::held::tests::map;

    #[test]
    fn what_was_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let file = MapFile::of(dir.path());
        assert!(file.load().unwrap().is_none());
        for version in [3, 4] {
            file.save(&map(version), TimestampMs(77)).unwrap();
            let (loaded, as_of) = file.load().unwrap().unwrap();
            assert_eq!((loaded, as_of), (map(version), TimestampMs(77)));
        }
    }

    #[test]
    fn damage_is_said_and_nothing_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let file = MapFile::of(dir.path());
        file.save(&map(3), TimestampMs(77)).unwrap();
        let good = fs::read(dir.path().join("map")).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(dir.path().join("map"), &bad).unwrap();
            assert!(matches!(file.load(), Err(MapFileError::Damaged { .. })), "byte {at}");
            fs::write(dir.path().join("map"), &good[..at]).unwrap();
            assert!(matches!(file.load(), Err(MapFileError::Damaged { .. })), "cut at {at}");
        }
    }
}
