//! Metadata of one target's metric families: read from the remembered lines when somebody asks, sent on when it is new.

use std::collections::{BTreeMap, HashSet};
use std::hash::BuildHasher;

use exposition::{Entry, Format, Parser, ScrapeCache};
use foldhash::fast::RandomState;
use model::Metadata;

use crate::page::Kept;

/// What of it was sent.
#[derive(Default)]
pub(crate) struct Families {
    format: Option<Format>,
    is_sent: bool,
    /// Hashes of what was sent: nine bytes a family instead of its help text.
    sent: HashSet<u64, RandomState>,
    hasher: RandomState,
}

impl Families {
    /// Whether anything was sent yet.
    pub(crate) fn is_sent(&self) -> bool {
        self.is_sent
    }

    /// What was sent is not known to be stored: all is sent again.
    pub(crate) fn forget_sent(&mut self) {
        self.sent.clear();
        self.is_sent = false;
    }

    /// All families of the last pages, by name.
    pub(crate) fn list(&self, cache: &ScrapeCache<Kept>) -> BTreeMap<String, Metadata> {
        self.format.map(|format| read(cache, format)).unwrap_or_default()
    }

    /// The families of which something was not sent yet.
    pub(crate) fn changes(&mut self, cache: &ScrapeCache<Kept>, format: Format) -> Vec<(String, Metadata)> {
        self.format = Some(format);
        self.is_sent = true;
        let all = read(cache, format);
        if self.sent.len() > 2 * all.len() + 16 {
            // Mostly what is no longer said.
            self.sent.clear();
        }
        let hasher = &self.hasher;
        all.into_iter().filter(|family| self.sent.insert(hasher.hash_one(family))).collect()
    }
}

fn read(cache: &ScrapeCache<Kept>, format: Format) -> BTreeMap<String, Metadata> {
    let mut families: BTreeMap<String, Metadata> = BTreeMap::new();
    for line in cache.metadata_lines() {
        let mut parser = Parser::new(format, line);
        let name = |family: &[u8]| String::from_utf8_lossy(family).into_owned();
        match parser.next() {
            Ok(Some(Entry::Type { family, metric_type })) => {
                families.entry(name(family)).or_default().metric_type = metric_type;
            }
            Ok(Some(Entry::Help { family, text })) => {
                families.entry(name(family)).or_default().help = text.into_owned();
            }
            Ok(Some(Entry::Unit { family, unit })) => {
                families.entry(name(family)).or_default().unit = String::from_utf8_lossy(unit).into_owned();
            }
            Ok(Some(Entry::Series(_) | Entry::Comment(_)) | None) | Err(_) => {}
        }
    }
    families
}
