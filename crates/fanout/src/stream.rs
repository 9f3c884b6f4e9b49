//! Series as a stream: the merge of all that was gathered, with broken sources replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cluster::{GroupId, NodeId, Replica as ReplicaId};
use futures::StreamExt;
use replication::manifest::BlockName;
use storage::{Merge, Missing, SelectError, SelectRequest, Selection, SeriesBatch, SourceError};
use tracing::warn;

use crate::cluster::Shared;
use crate::gather::{Gathered, ListOfBlocks, StandsFor, gather, gather_group, without_block};
use crate::question::{Question, Select};
use crate::shortage::{Because, Shortage};
use crate::stores::{Failures, Shelves, read_blocks};

/// How often broken streams of a group, or of a block, are replaced before the rest is named as missing.
const REPLACED_MAX: usize = 4;

/// Where series come from.
#[derive(Clone, Debug)]
enum Origin {
    Member { group: GroupId, replica: ReplicaId },
    Store { node: NodeId, blocks: Arc<Vec<BlockName>> },
}

/// An answer being given.
struct Streaming {
    shared: Arc<Shared>,
    question: Select,
    missing: Missing,
    merge: Merge<Origin>,
    given: usize,
    index: ListOfBlocks,
    stands_for: StandsFor,
    /// Replicas whose streams broke.
    broken: BTreeMap<GroupId, Vec<ReplicaId>>,
    failures: Failures,
}

enum State {
    Asked(Arc<Shared>, Select, Missing),
    Giving(Box<Streaming>),
}

/// Asks when it is first polled; dropping it takes everything back.
pub(crate) fn select(shared: Arc<Shared>, request: SelectRequest) -> Selection {
    let missing = Missing::new();
    let asked = State::Asked(shared, Select(request), missing.clone());
    let series = futures::stream::unfold(Some(asked), |state| async {
        let mut streaming = match state? {
            State::Asked(shared, question, missing) => Box::new(Streaming::begin(shared, question, missing).await),
            State::Giving(streaming) => streaming,
        };
        match streaming.next().await {
            Ok(batch) if batch.is_empty() => {
                streaming.shared.metrics.answered(!streaming.missing.to_vec().is_empty());
                None
            }
            Ok(batch) => Some((Ok(batch), Some(State::Giving(streaming)))),
            Err(e) => Some((Err(e), None)),
        }
    });
    Selection::new(series.boxed(), missing)
}

impl Streaming {
    async fn begin(shared: Arc<Shared>, question: Select, missing: Missing) -> Streaming {
        let gathered = gather(&shared, &question).await;
        let mut streaming = Streaming {
            shared,
            question,
            missing,
            merge: Merge::new(),
            given: 0,
            index: gathered.index.clone(),
            stands_for: StandsFor::new(),
            broken: BTreeMap::new(),
            failures: Failures::new(),
        };
        streaming.take_in(gathered);
        streaming
    }

    fn take_in(&mut self, gathered: Gathered<<Select as Question>::Part>) {
        for (group, replica, series) in gathered.members {
            self.merge.add(Origin::Member { group, replica }, series);
        }
        for (node, blocks, series) in gathered.stores {
            self.merge.add(Origin::Store { node, blocks: Arc::new(blocks) }, series);
        }
        for (block, spans) in gathered.stands_for {
            self.stands_for.entry(block).or_default().extend(spans);
        }
        self.name(gathered.shortages);
    }

    fn name(&self, shortages: impl IntoIterator<Item = Shortage>) {
        shortages.into_iter().for_each(|shortage| self.missing.add(shortage.to_string()));
    }

    /// The next batch; an empty one is the end.
    async fn next(&mut self) -> Result<SeriesBatch, SelectError> {
        loop {
            // Cancel-safe because the merge keeps what it has read when a call is dropped.
            match tokio::time::timeout(self.shared.timing.silence_max, self.merge.next_batch()).await {
                Ok(Ok(batch)) => {
                    self.given += batch.len();
                    let limit = self.question.0.series_max;
                    return if self.given > limit { Err(SelectError::TooManySeries { limit }) } else { Ok(batch) };
                }
                // Another replica would say the same.
                Ok(Err(SourceError { error: error @ SelectError::TooManySeries { .. }, .. })) => return Err(error),
                Ok(Err(SourceError { tag, error })) => self.replace(tag, &error).await,
                Err(_) => self.merge.fail_waiting(&SelectError::Unavailable("a source that fell silent".to_owned())),
            }
        }
    }

    /// Puts others in the place of a source that broke. Series up to the last one given are complete: all sources had given
    /// theirs. The others are read anew and begin behind it.
    async fn replace(&mut self, broken: Origin, error: &SelectError) {
        self.shared.metrics.replaced.inc();
        match broken {
            Origin::Member { group, replica } => {
                warn!(group = group.0, %replica, %error, "the answer of a replica broke off");
                self.shared.in_trouble(&replica);
                self.replace_group(group, replica).await;
            }
            Origin::Store { node, blocks } => {
                warn!(%node, blocks = blocks.len(), %error, "the answer of a store broke off");
                self.replace_blocks(&node, &blocks).await;
            }
        }
    }

    async fn replace_group(&mut self, group: GroupId, replica: ReplicaId) {
        let broken = self.broken.entry(group).or_default();
        broken.push(replica);
        if broken.len() > REPLACED_MAX {
            let range = self.question.range();
            self.name([Shortage { group: Some(group), range, because: Because::Replicas }]);
            return;
        }
        let avoid = broken.clone();
        // What the replicas hold and what they have dropped belongs together: all of the group are asked again.
        self.merge.remove(|origin| matches!(origin, Origin::Member { group: of, .. } if *of == group));
        let streaming: BTreeSet<BlockName> = self
            .merge
            .tags()
            .flat_map(|origin| match origin {
                Origin::Store { blocks, .. } => blocks.to_vec(),
                Origin::Member { .. } => Vec::new(),
            })
            .collect();
        let index = self.index.clone();
        let gathered = gather_group(&self.shared, &self.question, group, &avoid, index, &streaming).await;
        self.take_in(gathered);
    }

    async fn replace_blocks(&mut self, node: &NodeId, blocks: &[BlockName]) {
        let mut again = BTreeSet::new();
        for block in blocks {
            let failed = self.failures.entry(*block).or_default();
            *failed.entry(node.clone()).or_default() += 1;
            if failed.values().sum::<usize>() < REPLACED_MAX {
                again.insert(*block);
            } else {
                self.name(without_block(&self.stands_for, *block));
            }
        }
        let shelves = Shelves::up(&self.shared);
        let served = read_blocks(&self.shared, &shelves, &self.question, &again, &self.failures).await;
        for (node, blocks, series) in served.parts {
            self.merge.add(Origin::Store { node, blocks: Arc::new(blocks) }, series);
        }
        for block in served.unserved {
            self.name(without_block(&self.stands_for, block));
        }
    }
}
