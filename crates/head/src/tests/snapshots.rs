//! Snapshots and chunk files together: what is sealed meanwhile, and what is lost.

use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use disk::{Disk, File};
use parking_lot::Mutex;

use super::*;

type Hook = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// A disk that calls a function once a snapshot has begun.
struct Hooked(SimDisk, Hook);

struct HookedFile(Arc<dyn File>, Hook);

impl Disk for Hooked {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(HookedFile(self.0.create(path)?, self.1.clone())))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.0.open(path)
    }

    fn create_mapped(&self, path: &Path, len: u64) -> io::Result<Arc<dyn File>> {
        self.0.create_mapped(path, len)
    }

    fn open_mapped(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.0.open_mapped(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir_all(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        self.0.list(folder)
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        self.0.sync_dir(folder)
    }
}

impl File for HookedFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_at(buf, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(data, offset)?;
        // Behind the magic and the header of the first frame lies its body, which names files.
        if offset > 8
            && let Some(call) = self.1.lock().take()
        {
            call();
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn bytes(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        self.0.bytes(offset, len)
    }
}

/// So many samples of one series; the 121st seals a chunk.
fn fill(head: &Head, l: &Labels, count: u64) {
    for i in 0..count {
        apply(head, head.applied() + 1, &batch_of(&[(l, i as i64 * 1000, i as f64)]));
    }
}

#[test]
fn chunks_sealed_while_a_snapshot_is_written_are_kept() {
    let (disk, hook) = (SimDisk::new(), Hook::default());
    let hooked = Arc::new(Hooked(disk.clone(), hook.clone()));
    let (head, _) = Head::open(hooked, Path::new("/data"), Limits::default()).unwrap();
    let head = Arc::new(head);
    fill(&head, &labels("up", 1), 1);
    *hook.lock() = Some(Box::new({
        let head = head.clone();
        move || fill(&head, &labels("up", 2), 130)
    }));
    head.write_snapshot(Vec::new).unwrap();
    assert!(hook.lock().is_none(), "it was called");
    let (again, position) = open(&disk.after_power_loss());
    assert_eq!(position, 1);
    let held = read(&head, up(), ALL_TIME);
    assert_eq!(held.values().map(BTreeMap::len).collect::<std::collections::BTreeSet<_>>(), [1, 130].into());
    assert_eq!(read(&again, up(), ALL_TIME), held);
}

#[test]
fn what_is_sealed_later_is_not_read_in_place_of_a_lost_file() {
    let disk = SimDisk::new();
    let (head, _) = open(&disk);
    fill(&head, &labels("up", 1), 121);
    head.write_snapshot(Vec::new).unwrap();
    let lost = Path::new("/data/chunks/00000001");
    disk.open(lost).unwrap();
    disk.remove(lost).unwrap();
    let error = |head: &Arc<Head>| {
        let request = SelectRequest {
            tenant: tenant(),
            range: ALL_TIME,
            matchers: vec![Matcher::equal("instance", "1")],
            shard: Shard::ALL,
            with_chunks: true,
            series_max: 9,
        };
        head.select(&request, Order::Id).unwrap().next_batch().unwrap_err().to_string()
    };
    let (head, _) = open(&disk);
    let said = error(&head);
    assert!(said.contains("chunk at 0 of /data/chunks/00000001 is damaged: the file is gone"), "{said}");
    // The first chunk after a start lies at the start of a file too.
    fill(&head, &labels("down", 2), 121);
    assert_eq!(error(&head), said);
    head.write_snapshot(Vec::new).unwrap();
    let (again, _) = open(&disk);
    assert_eq!(error(&again), said);
    let down = read(&again, vec![Matcher::equal("__name__", "down")], ALL_TIME);
    assert_eq!(down.values().map(BTreeMap::len).collect::<Vec<_>>(), [121]);
}
