//! Putting blocks into an object store, and finding them there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use block::{BlockSource, LocalBlock};
use config::object_store::S3Config;
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tokio::runtime::Handle;
use tracing::warn;
use ulid::Ulid;

use crate::remote::RemoteReads;
use crate::s3::{self, S3Error, Stores};
use crate::{Created, Manifest};

/// Bytes read and put at once; longer files go up in parts.
const PART_BYTES: usize = 8 << 20;

/// Why the bucket could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object store said no.
    #[error("{action} {key} in the bucket")]
    Store {
        /// Verb.
        action: &'static str,
        /// Object.
        key: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// A local file could not be read.
    #[error("read {path}")]
    Local {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no client of the object store.
    #[error(transparent)]
    S3(#[from] S3Error),
    /// A manifest is not one.
    #[error("manifest {key} is malformed")]
    Manifest {
        /// The object.
        key: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// A bucket: a local directory, or one of an object store.
#[derive(Clone)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    reads: Reads,
    part_bytes: usize,
}

/// Where blocks are read from.
#[derive(Clone)]
enum Reads {
    /// The folder itself, without the detour over objects.
    Folder(PathBuf),
    /// The same store, but with less patience: somebody waits for the answer.
    Store(RemoteReads),
}

fn fail(action: &'static str, key: &Key) -> impl FnOnce(object_store::Error) -> Error {
    let key = key.to_string();
    move |source| Error::Store { action, key, source }
}

fn fail_to(action: &'static str, what: &'static str) -> impl Fn(object_store::Error) -> Error {
    move |source| Error::Store { action, key: what.to_owned(), source }
}

impl Bucket {
    /// The bucket in `folder`, which is made if it is not there.
    pub fn local(folder: &Path) -> Result<Bucket, Error> {
        let local = |source| Error::Local { path: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(local)?;
        let folder = folder.canonicalize().map_err(local)?;
        let store = LocalFileSystem::new_with_prefix(&folder).map_err(fail("open", &Key::default()))?.with_fsync(true);
        Ok(Bucket { store: Arc::new(store), reads: Reads::Folder(folder), part_bytes: PART_BYTES })
    }

    /// The bucket of an object store, below `prefix`. Nothing is asked of it yet. `variable` gives variables of the environment,
    /// which count where the configuration has no credentials. To be called within a runtime, which then carries the requests.
    pub fn s3(s3: &S3Config, prefix: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Bucket, Error> {
        let Stores { store, reads, part_bytes } = s3::stores(s3, prefix, variable)?;
        Ok(Bucket { store, reads: Reads::Store(RemoteReads::new(reads, Handle::current())), part_bytes })
    }

    /// A bucket in any store, as if it were far away. To be called within a runtime, which then carries the requests.
    pub fn of_store(store: Arc<dyn ObjectStore>) -> Bucket {
        let reads = RemoteReads::new(store.clone(), Handle::current());
        Bucket { store, reads: Reads::Store(reads), part_bytes: PART_BYTES }
    }

    /// Whether another machine holds it, so that it may be out of reach for a while.
    pub fn is_remote(&self) -> bool {
        matches!(self.reads, Reads::Store(..))
    }

    /// The objects.
    pub(crate) fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// What reads the block `ulid`.
    pub fn source(&self, ulid: Ulid) -> Arc<dyn BlockSource> {
        match &self.reads {
            Reads::Folder(folder) => Arc::new(LocalBlock::new(folder.join(ulid.to_string()))),
            Reads::Store(reads) => Arc::new(reads.block(ulid)),
        }
    }

    /// Uploads a finished block from a local folder: `meta.json` last, so that nobody finds half a block. Returns its bytes.
    pub async fn upload(&self, folder: &Path, ulid: Ulid) -> Result<u64, Error> {
        let mut files = list_files(folder).map_err(|source| Error::Local { path: folder.to_owned(), source })?;
        files.sort_by_key(|f| (f.ends_with("meta.json"), f.clone()));
        let mut bytes = 0;
        for file in files {
            let relative = file.strip_prefix(folder).expect("listed below the folder").to_string_lossy().into_owned();
            bytes += self.upload_file(&file, &Key::from(format!("{ulid}/{relative}"))).await?;
        }
        Ok(bytes)
    }

    async fn upload_file(&self, file: &Path, key: &Key) -> Result<u64, Error> {
        use std::io::Read;
        let local = |source| Error::Local { path: file.to_owned(), source };
        let mut source = std::fs::File::open(file).map_err(local)?;
        let len = source.metadata().map_err(local)?.len();
        let mut part = Vec::new();
        if len <= self.part_bytes as u64 {
            source.read_to_end(&mut part).map_err(local)?;
            self.store.put(key, PutPayload::from(part)).await.map_err(fail("put", key))?;
            return Ok(len);
        }
        let mut upload = self.store.put_multipart(key).await.map_err(fail("put", key))?;
        let put = async {
            loop {
                let mut part = Vec::with_capacity(self.part_bytes);
                source.by_ref().take(self.part_bytes as u64).read_to_end(&mut part).map_err(local)?;
                if part.is_empty() {
                    break;
                }
                upload.put_part(PutPayload::from(part)).await.map_err(fail("put", key))?;
            }
            upload.complete().await.map_err(fail("put", key))
        };
        let done = put.await;
        if let Err(e) = done {
            // Parts of an upload that nobody completes cost money. If it cannot be aborted either, a rule of the bucket has to.
            if let Err(e) = upload.abort().await {
                warn!(%key, error = storage::chain(&e), "abort upload failed");
            }
            return Err(e);
        }
        Ok(len)
    }

    /// Names of blocks whose `meta.json` is there.
    pub async fn list(&self) -> Result<Vec<Ulid>, Error> {
        // One listing, four objects a block, instead of a question per block.
        let objects = self.store.list(None).map_err(fail_to("list", "blocks"));
        let name = |key: &Key| key.as_ref().strip_suffix("/meta.json").and_then(|name| name.parse::<Ulid>().ok());
        let mut blocks: Vec<Ulid> =
            objects.try_filter_map(|o| futures::future::ready(Ok(name(&o.location)))).try_collect().await?;
        blocks.sort_unstable();
        Ok(blocks)
    }

    /// Deletes a block: `meta.json` first, so that nobody opens what is going away.
    pub async fn delete(&self, ulid: Ulid) -> Result<(), Error> {
        let prefix = Key::from(ulid.to_string());
        let listed = self.store.list(Some(&prefix)).try_collect::<Vec<_>>().await.map_err(fail("list", &prefix))?;
        let mut keys: Vec<Key> = listed.into_iter().map(|o| o.location).collect();
        keys.sort_by_key(|k| !k.as_ref().ends_with("/meta.json"));
        for key in keys {
            match self.store.delete(&key).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(e) => return Err(fail("delete", &key)(e)),
            }
        }
        // A local directory keeps empty folders, and files that an upload was writing when it was killed, which are not listed; an
        // object store has none.
        let Reads::Folder(folder) = &self.reads else { return Ok(()) };
        let folder = folder.join(ulid.to_string());
        match std::fs::remove_dir_all(&folder) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::Local { path: folder, source: e }),
            _ => {}
        }
        Ok(())
    }

    fn manifest_key(cluster: &str, group: u32, start: i64) -> Key {
        Key::from(format!("closed/{cluster}/{group}/{start}.json"))
    }

    /// The name of a range's manifest.
    pub fn manifest_name(cluster: &str, group: u32, start: i64) -> String {
        Bucket::manifest_key(cluster, group, start).to_string()
    }

    /// The manifest of a range, if it is closed.
    pub async fn manifest(&self, cluster: &str, group: u32, start: i64) -> Result<Option<Manifest>, Error> {
        let key = Bucket::manifest_key(cluster, group, start);
        let got = match self.store.get(&key).await {
            Ok(got) => got,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(fail("get", &key)(e)),
        };
        let bytes = got.bytes().await.map_err(fail("get", &key))?;
        let malformed = |source| Error::Manifest { key: key.to_string(), source };
        Manifest::read(&bytes).map(Some).map_err(malformed)
    }

    /// Creates the manifest of a range, unless there is one: the first to close a range decides.
    pub async fn create_manifest(&self, manifest: &Manifest) -> Result<Created, Error> {
        let key = Bucket::manifest_key(&manifest.cluster, manifest.group, manifest.start);
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&key, PutPayload::from(manifest.write()), options).await {
            Ok(_) => Ok(Created::Ours),
            Err(object_store::Error::AlreadyExists { .. }) => {
                let there = self.manifest(&manifest.cluster, manifest.group, manifest.start).await?;
                // Gone again between the two: whoever removes manifests removes their range with them. Equal: the first attempt
                // of this very request got through and its answer was lost; blocks have unique names.
                Ok(there.filter(|there| there != manifest).map_or(Created::Ours, Created::Theirs))
            }
            Err(e) => Err(fail("create", &key)(e)),
        }
    }
}

fn list_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(list_files(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    Ok(files)
}
