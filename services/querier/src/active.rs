//! The queries under way, in a file that outlives the process: after a crash the next start tells which did not end, as they may be
//! why. `queries.active` of the data directory has Prometheus' form: `[`, then slots of [`SLOT_BYTES`] with an entry of JSON and a
//! comma each, or zeros. A write reaches the page cache at once and is never forced out: a crash of the machine may lose it.
//!
//! Source: Prometheus `promql/query_logger.go`.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use model::TimestampMs;

use crate::api::put_text;

const FILE_NAME: &str = "queries.active";
const SLOT_BYTES: usize = 1000;

/// The file and its free slots.
#[derive(Clone, Debug)]
pub struct ActiveQueries {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    file: File,
    /// A lock, as it is held for a push or a pop only. Never longer than the slots that the file has.
    free: Mutex<Vec<usize>>,
}

/// A query under way; its entry goes when this does.
#[derive(Debug)]
pub struct Entry {
    shared: Arc<Shared>,
    slot: usize,
}

impl ActiveQueries {
    /// Makes the file new for `slots` queries at once. Returns besides what the process before left unfinished, as a list in JSON;
    /// none where it left nothing.
    pub fn open(folder: &Path, slots: usize) -> io::Result<(ActiveQueries, Option<String>)> {
        let path = folder.join(FILE_NAME);
        let bytes = 1 + slots * SLOT_BYTES;
        let unfinished = match File::open(&path) {
            Ok(old) => {
                let mut content = Vec::new();
                old.take(bytes as u64).read_to_end(&mut content)?;
                unfinished(&content)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        let file = File::create(&path)?;
        file.set_len(bytes as u64)?;
        file.write_all_at(b"[", 0)?;
        let free = Mutex::new((0..slots).rev().collect());
        Ok((ActiveQueries { shared: Arc::new(Shared { file, free }) }, unfinished))
    }

    /// Writes an entry; none where all slots are taken. An entry that cannot be written is missing: no query fails for that.
    pub fn begin(&self, query: &str, at: TimestampMs) -> Option<Entry> {
        let slot = self.shared.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        let entry = Entry { shared: self.shared.clone(), slot };
        if let Err(e) = self.shared.file.write_all_at(&encode(query, at), offset(slot)) {
            tracing::warn!(error = %e, "write active query failed");
        }
        Some(entry)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Err(e) = self.shared.file.write_all_at(&[0; SLOT_BYTES], offset(self.slot)) {
            tracing::warn!(error = %e, "clear active query failed");
        }
        self.shared.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.slot);
    }
}

fn offset(slot: usize) -> u64 {
    (1 + slot * SLOT_BYTES) as u64
}

/// A slot with an entry; of a text that is too long only the beginning.
fn encode(query: &str, at: TimestampMs) -> Vec<u8> {
    let entry = |text: &str| {
        let mut out = b"{\"query\":".to_vec();
        put_text(&mut out, text);
        out.extend_from_slice(format!(",\"timestamp_sec\":{}}}", at.0.div_euclid(1000)).as_bytes());
        out
    };
    let mut length = query.len().min(SLOT_BYTES);
    let mut slot = loop {
        while !query.is_char_boundary(length) {
            length -= 1;
        }
        let out = entry(&query[..length]);
        // Escapes make a text longer.
        match out.len().checked_sub(SLOT_BYTES - 1) {
            None | Some(0) => break out,
            Some(over) => length = length.saturating_sub(over.div_ceil(6)),
        }
    };
    slot.resize(SLOT_BYTES - 1, 0);
    slot.push(b',');
    slot
}

/// The entries of a file as a list; none where there are none.
fn unfinished(content: &[u8]) -> Option<String> {
    let bytes: Vec<u8> = content.iter().copied().filter(|b| *b != 0).collect();
    let text = String::from_utf8_lossy(&bytes);
    let entries = text.strip_prefix('[')?.trim_end_matches(',');
    (!entries.is_empty()).then(|| format!("[{entries}]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: TimestampMs = TimestampMs(1_772_317_800_999);

    /// What a start in the folder finds, without disturbing who runs there.
    fn found(folder: &Path) -> Option<String> {
        unfinished(&std::fs::read(folder.join(FILE_NAME)).unwrap())
    }

    #[test]
    fn the_next_start_tells_what_did_not_end() {
        let folder = tempfile::tempdir().unwrap();
        let (log, before) = ActiveQueries::open(folder.path(), 3).unwrap();
        assert_eq!(before, None);
        let first = log.begin("up", AT).unwrap();
        let second = log.begin("sum(\"<\\n\")", AT).unwrap();
        assert_eq!(std::fs::metadata(folder.path().join(FILE_NAME)).unwrap().len(), 3001);
        drop(first);
        let left = r#"[{"query":"sum(\"\u003c\\n\")","timestamp_sec":1772317800}]"#;
        assert_eq!(found(folder.path()).unwrap(), left);
        // As after a crash: nobody has cleared the slot.
        let (_, after) = ActiveQueries::open(folder.path(), 2).unwrap();
        assert_eq!(after.unwrap(), left);
        drop(second);
        assert_eq!(found(folder.path()), None);
    }

    #[test]
    fn slots_are_bounded_and_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let (log, _) = ActiveQueries::open(folder.path(), 2).unwrap();
        let (a, b) = (log.begin("a", AT).unwrap(), log.begin("b", AT).unwrap());
        assert!(log.begin("c", AT).is_none());
        drop(a);
        let c = log.begin("c", AT).unwrap();
        let list = r#"[{"query":"c","timestamp_sec":1772317800},{"query":"b","timestamp_sec":1772317800}]"#;
        assert_eq!(found(folder.path()).unwrap(), list);
        drop((b, c));
        assert_eq!(found(folder.path()), None);
    }

    #[test]
    fn a_long_query_is_cut_where_a_letter_ends_and_stays_within_its_slot() {
        let folder = tempfile::tempdir().unwrap();
        let (log, _) = ActiveQueries::open(folder.path(), 2).unwrap();
        for text in ["x".repeat(5000), "é".repeat(700), "<".repeat(999), "\u{2028}\"".repeat(400)] {
            let both = (log.begin(&text, AT).unwrap(), log.begin("short", AT).unwrap());
            let list: serde_json::Value = serde_json::from_str(&found(folder.path()).unwrap()).unwrap();
            let queries: Vec<&str> = list.as_array().unwrap().iter().map(|e| e["query"].as_str().unwrap()).collect();
            let [query] = queries[..].iter().filter(|q| **q != "short").collect::<Vec<_>>()[..] else {
                panic!("{queries:?}")
            };
            assert!(queries.len() == 2 && text.starts_with(query) && query.len() > 100, "{query}");
            drop(both);
        }
    }

    #[test]
    fn a_file_that_is_no_list_is_no_list_of_queries() {
        for content in ["", "[", "[\0\0", "x", "\0"] {
            assert_eq!(unfinished(content.as_bytes()), None, "{content:?}");
        }
    }
}
