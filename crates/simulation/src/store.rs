//! The object store: what was put is there for all at once. What is late or lost is the way to it and back.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster::GroupId;
use model::TimestampMs;
use replication::manifest::{BlockName, Manifest};
use replication::reader::Index;

use crate::data::Key;

pub(crate) type Samples = BTreeMap<Key, f64>;

#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) name: BlockName,
    pub(crate) group: GroupId,
    pub(crate) start: i64,
    pub(crate) tenant: u8,
    pub(crate) samples: Arc<Samples>,
}

#[derive(Clone, Debug)]
pub(crate) enum StoreAsk {
    ReadManifest { group: GroupId, start: TimestampMs },
    Upload(Vec<Block>),
    Create(Manifest),
    FindMetas(Vec<BlockName>),
    Delete(Vec<BlockName>),
    ReadBlock(BlockName),
    ReadIndex { group: GroupId },
}

#[derive(Clone, Debug)]
pub(crate) enum StoreReply {
    Manifest(Option<Manifest>),
    Uploaded(Vec<BlockName>),
    /// What stands there now.
    Created(Manifest),
    Metas {
        all: bool,
    },
    Deleted,
    Block(Option<Block>),
    Index(Index),
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) manifests: BTreeMap<(GroupId, i64), Manifest>,
    pub(crate) blocks: BTreeMap<BlockName, Block>,
    /// How many blocks were ever put for a tenant's range.
    pub(crate) uploads: BTreeMap<(GroupId, i64, u8), u32>,
}

impl Store {
    pub(crate) fn answer(&mut self, ask: &StoreAsk) -> StoreReply {
        match ask {
            StoreAsk::ReadManifest { group, start } => {
                StoreReply::Manifest(self.manifests.get(&(*group, start.0)).cloned())
            }
            StoreAsk::Upload(blocks) => {
                for block in blocks {
                    if self.blocks.insert(block.name, block.clone()).is_none() {
                        *self.uploads.entry((block.group, block.start, block.tenant)).or_insert(0) += 1;
                    }
                }
                StoreReply::Uploaded(blocks.iter().map(|block| block.name).collect())
            }
            StoreAsk::Create(manifest) => {
                let key = (manifest.group, manifest.start.0);
                StoreReply::Created(self.manifests.entry(key).or_insert_with(|| manifest.clone()).clone())
            }
            StoreAsk::FindMetas(blocks) => {
                StoreReply::Metas { all: blocks.iter().all(|b| self.blocks.contains_key(b)) }
            }
            StoreAsk::Delete(blocks) => {
                blocks.iter().for_each(|block| drop(self.blocks.remove(block)));
                StoreReply::Deleted
            }
            StoreAsk::ReadBlock(block) => StoreReply::Block(self.blocks.get(block).cloned()),
            StoreAsk::ReadIndex { group } => {
                let listed = self.manifests.iter().filter(|((of, _), _)| of == group);
                let blocks =
                    listed.flat_map(|((_, start), m)| m.blocks.iter().map(|b| (TimestampMs(*start), *b))).collect();
                StoreReply::Index(Index { blocks, is_young: true })
            }
        }
    }

    /// Whether the manifest of a range, and all that it names, is there.
    pub(crate) fn is_closed(&self, group: GroupId, start: i64) -> bool {
        let manifest = self.manifests.get(&(group, start));
        manifest.is_some_and(|m| m.blocks.iter().all(|block| self.blocks.contains_key(block)))
    }

    /// Whether a block of the range's manifest holds the value, or one that stays before it.
    pub(crate) fn holds(&self, group: GroupId, start: i64, key: Key, value: f64) -> bool {
        let Some(manifest) = self.manifests.get(&(group, start)) else { return false };
        let mut blocks = manifest.blocks.iter().filter_map(|block| self.blocks.get(block));
        blocks.any(|block| block.samples.get(&key).is_some_and(|held| crate::data::stays(*held, value)))
    }
}
