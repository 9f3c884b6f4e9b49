//! Remembers the lines of a target's last scrape: each line predicts the one that followed it last time, so that an unchanged
//! line costs a comparison. Where the prediction fails the line is parsed and looked up by its series text.
//!
//! It also knows which series have vanished. It does not know labels, limits or storage: what a line means to the caller is
//! the caller's `T`, which names one series (two texts may name the same one), or says that the line is dropped.

mod compact;

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use model::MetricType;

use crate::entry::{Entry, Sample, Series};
use crate::error::ParseError;
use crate::parser::Parser;
use crate::scan::Dialect;
use crate::text::Words;

/// No slot.
const NONE: u32 = u32::MAX;

/// Numbers below that of the first scrape: of no scrape at all, and of a live scrape that there is not.
const NEVER: u32 = 0;
const NOT_LIVE: u32 = 1;
const FIRST_SCRAPE: u32 = 2;

/// Freed bytes below which the arena is not worth compacting.
const COMPACT_BYTES_MIN: usize = 4096;

/// What remembered lines a series of failed scrapes may leave behind: twice those of the last good one and this. Source:
/// `scrapeCache.iterDone` of Prometheus.
const FAILED_SLOTS_EXTRA: usize = 1000;

/// A remembered series line; good until the scrape is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(u32);

/// Whose absence from a scrape ends a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staleness {
    /// Only series that came without a timestamp of their own (the default of Prometheus).
    WithoutTimestamp,
    /// All (`track_timestamps_staleness`, or where timestamps are not honoured).
    All,
}

/// How a scrape ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The page was read to its end and its samples are kept.
    Good,
    /// Nothing of it is kept: the target is down, the page is bad, a limit was passed.
    Failed,
}

/// The next line of a page.
#[derive(Clone, Debug)]
pub enum Line<'a> {
    /// A series line that is remembered.
    Known {
        /// Which.
        slot: Slot,
        /// What it says now.
        sample: Sample,
        /// Whether the same text stood in this page already. Prometheus refuses the sample if it has no timestamp.
        repeated: bool,
    },
    /// A series line that is not remembered; [`ScrapeCache::remember`] changes that.
    New(Series<'a>),
    /// A metadata line or comment that does not stand where it stood, or is not remembered. Lines that stand where they stood
    /// are passed over.
    Metadata(Entry<'a>),
}

/// More text than can be remembered (4 GiB); the scrape should fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than 4 GiB of series text in one target")]
pub struct CacheFull;

#[derive(Clone, Debug)]
enum Kind<T> {
    Series(T),
    /// A metadata line or comment with its line break, and the type it sets.
    Metadata(Option<MetricType>),
    Free,
}

#[derive(Clone, Debug)]
struct Remembered<T> {
    /// The text, in the arena.
    offset: u32,
    length: u32,
    /// Slot of the line that followed last time.
    next: u32,
    /// Scrape in which the line stood last.
    seen: u32,
    /// The last scrape, and the one before that, in which the line stood so that its absence matters.
    tracked: [u32; 2],
    kind: Kind<T>,
}

/// The lines of the last scrape of one target.
///
/// ```
/// use exposition::{Format, Line, Outcome, Parser, ScrapeCache, Staleness};
///
/// let mut cache = ScrapeCache::new(Staleness::WithoutTimestamp);
/// let mut sum = 0.0;
/// for page in ["a 1\nb 2\n", "a 3\nc 4\n"] {
///     let mut parser = Parser::new(Format::Text, page.as_bytes());
///     loop {
///         cache.take_unchanged(&mut parser, |_series: &String, sample| sum += sample.value);
///         match cache.next(&mut parser).expect("the page is good") {
///             Some(Line::Known { sample, .. }) => sum += sample.value,
///             Some(Line::New(series)) => {
///                 let text = String::from_utf8_lossy(series.text()).into_owned();
///                 cache.remember(&series, text).expect("there is room");
///                 sum += series.sample.value;
///             }
///             Some(Line::Metadata(_)) => {}
///             None => break,
///         }
///     }
///     cache.finish(Outcome::Good, |vanished| assert_eq!(vanished, "b"));
/// }
/// assert_eq!(sum, 10.0);
/// ```
#[derive(Clone, Debug)]
pub struct ScrapeCache<T> {
    slots: Vec<Remembered<T>>,
    free: Vec<u32>,
    /// The texts of all slots, without anything between them.
    arena: Vec<u8>,
    /// Bytes of the arena that belong to no slot.
    freed_bytes: usize,
    /// Slots by text.
    index: HashTable<u32>,
    hasher: RandomState,
    staleness: Staleness,
    /// How the page was read that the lines are of.
    read_as: Option<(Dialect, Words)>,
    /// Number of the current scrape.
    scrape: u32,
    /// The last scrape whose series have no staleness markers yet.
    live_scrape: u32,
    /// Whether a line of the current page was asked for.
    started: bool,
    /// Slot of the first line.
    first: u32,
    /// Slot of the line read last.
    last: u32,
    /// Slot of the line that should follow.
    predicted: u32,
    /// Slots seen in this scrape.
    seen_count: usize,
    /// Slots tracked in the live scrape; and those of them that are tracked in this one, too.
    live_count: usize,
    still_live_count: usize,
    /// Slots tracked in this scrape.
    tracked_count: usize,
    /// Slots after the last good scrape.
    good_count: usize,
}

impl<T: Hash + Eq> ScrapeCache<T> {
    /// Remembers nothing yet.
    pub fn new(staleness: Staleness) -> ScrapeCache<T> {
        ScrapeCache {
            slots: Vec::new(),
            free: Vec::new(),
            arena: Vec::new(),
            freed_bytes: 0,
            index: HashTable::new(),
            hasher: RandomState::default(),
            staleness,
            read_as: None,
            scrape: FIRST_SCRAPE,
            live_scrape: NOT_LIVE,
            started: false,
            first: NONE,
            last: NONE,
            predicted: NONE,
            seen_count: 0,
            live_count: 0,
            still_live_count: 0,
            tracked_count: 0,
            good_count: 0,
        }
    }

    /// The next line of a page. Call it from the first line on for one page, then [`ScrapeCache::finish`] once.
    pub fn next<'p>(&mut self, parser: &'p mut Parser<'_>) -> Result<Option<Line<'p>>, ParseError> {
        if !self.started {
            self.start((parser.dialect, parser.words));
        }
        loop {
            let predicted = self.predicted;
            let Some(slot) = self.slots.get(index(predicted)) else { break };
            let text = self.text(slot);
            match slot.kind {
                Kind::Series(_) => {
                    let Some(sample) = parser.sample_of(text)? else { break };
                    return Ok(Some(self.known(predicted, sample)));
                }
                Kind::Metadata(metric_type) => {
                    if !parser.skip_line(text, metric_type) {
                        break;
                    }
                    self.mark_seen(predicted);
                }
                Kind::Free => break,
            }
        }
        self.next_unpredicted(parser)
    }

    /// The hot path: reads lines as long as they are those that are predicted, say nothing but value and timestamp in the usual
    /// notation, and did not stand in this page before. Gives each to `each`; returns how many there were. It never fails: what
    /// it does not understand is left to [`ScrapeCache::next`], so the two are called in turn.
    pub fn take_unchanged(&mut self, parser: &mut Parser<'_>, mut each: impl FnMut(&T, Sample)) -> usize {
        if !self.started {
            self.start((parser.dialect, parser.words));
        }
        if !parser.begin_line() {
            return 0;
        }
        let scrape = self.scrape;
        let (mut series, mut seen, mut tracked, mut still_live) = (0, 0, 0, 0);
        while let Some(slot) = self.slots.get_mut(index(self.predicted))
            && let Some(text) = self.arena.get(index(slot.offset)..index(slot.offset) + index(slot.length))
        {
            match &slot.kind {
                Kind::Series(value) if slot.seen != scrape => {
                    let Some(sample) = parser.plain_sample_of(text) else { break };
                    series += 1;
                    seen += 1;
                    slot.seen = scrape;
                    if sample.timestamp.is_none() || self.staleness == Staleness::All {
                        tracked += 1;
                        still_live += usize::from(slot.tracked[0] == self.live_scrape);
                        slot.tracked = [scrape, slot.tracked[0]];
                    }
                    each(value, sample);
                }
                Kind::Metadata(metric_type) if parser.skip_line(text, *metric_type) => {
                    seen += usize::from(slot.seen != scrape);
                    slot.seen = scrape;
                }
                Kind::Series(_) | Kind::Metadata(_) | Kind::Free => break,
            }
            self.last = self.predicted;
            self.predicted = slot.next;
        }
        self.seen_count += seen;
        self.tracked_count += tracked;
        self.still_live_count += still_live;
        series
    }

    /// What the caller said of a line.
    pub fn get(&self, slot: Slot) -> &T {
        match &self.slots[index(slot.0)].kind {
            Kind::Series(value) => value,
            Kind::Metadata(_) | Kind::Free => unreachable!("slots are given out for series and end with the scrape"),
        }
    }

    /// Says something else of a line.
    pub fn set(&mut self, slot: Slot, value: T) {
        self.slots[index(slot.0)].kind = Kind::Series(value);
    }

    /// Remembers the line that [`ScrapeCache::next`] gave last as new.
    pub fn remember(&mut self, series: &Series<'_>, value: T) -> Result<Slot, CacheFull> {
        let hash = self.hash(series.text);
        let number = self.insert(series.text, hash, Kind::Series(value))?;
        self.mark_seen(number);
        self.mark_tracked(number, series.sample.timestamp.is_some());
        Ok(Slot(number))
    }

    /// The raw metadata lines of the last scrape, in the order in which they were first seen: to be parsed when somebody asks.
    pub fn metadata_lines(&self) -> impl Iterator<Item = &[u8]> {
        self.slots.iter().filter(|s| matches!(s.kind, Kind::Metadata(_))).map(|s| self.text(s))
    }

    /// Number of remembered lines.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes in use, but for what the `T` own.
    pub fn size_bytes(&self) -> usize {
        self.arena.capacity()
            + self.slots.capacity() * size_of::<Remembered<T>>()
            + (self.free.capacity() + self.index.capacity()) * size_of::<u32>()
    }

    /// Ends a scrape. `vanished` is told each series, once, that the last scrape had and this one has not: those get a staleness
    /// marker. After a failed scrape these are all that the last one had. Lines that a good page no longer holds are forgotten.
    pub fn finish(&mut self, outcome: Outcome, mut vanished: impl FnMut(&T)) {
        self.finish_with_text(outcome, |value, _| vanished(value));
    }

    /// As [`ScrapeCache::finish`]; `vanished` is told the text of a line of the series, too.
    pub fn finish_with_text(&mut self, outcome: Outcome, vanished: impl FnMut(&T, &[u8])) {
        let good = outcome == Outcome::Good;
        if !good || self.still_live_count < self.live_count {
            self.tell_vanished(outcome, vanished);
        }
        let flush = good || self.len() > self.good_count * 2 + FAILED_SLOTS_EXTRA;
        if flush && self.seen_count < self.len() {
            self.forget_unseen();
        }
        if flush && let Some(last) = self.slots.get_mut(index(self.last)) {
            last.next = NONE;
        }
        if good {
            self.good_count = self.len();
        }
        self.live_count = if good { self.tracked_count } else { 0 };
        self.live_scrape = if good { self.scrape } else { NOT_LIVE };
        self.next_scrape();
        if self.freed_bytes > COMPACT_BYTES_MIN && self.freed_bytes > self.arena.len() / 2 {
            self.compact();
        }
    }

    fn next_scrape(&mut self) {
        (self.last, self.predicted, self.started) = (NONE, NONE, false);
        (self.seen_count, self.still_live_count, self.tracked_count) = (0, 0, 0);
        self.scrape = self.scrape.wrapping_add(1).max(FIRST_SCRAPE);
    }

    fn text(&self, slot: &Remembered<T>) -> &[u8] {
        &self.arena[index(slot.offset)..][..index(slot.length)]
    }

    fn hash(&self, text: &[u8]) -> u64 {
        self.hasher.hash_one(text)
    }

    fn known<'p>(&mut self, number: u32, sample: Sample) -> Line<'p> {
        let repeated = self.mark_seen(number);
        self.mark_tracked(number, sample.timestamp.is_some());
        Line::Known { slot: Slot(number), sample, repeated }
    }

    /// The line at `number` stands behind the last one. Returns whether it stood in this page before.
    fn mark_seen(&mut self, number: u32) -> bool {
        if number != self.predicted {
            match self.slots.get_mut(index(self.last)) {
                Some(last) => last.next = number,
                None => self.first = number,
            }
        }
        self.last = number;
        let slot = &mut self.slots[index(number)];
        self.predicted = slot.next;
        let repeated = slot.seen == self.scrape;
        slot.seen = self.scrape;
        self.seen_count += usize::from(!repeated);
        repeated
    }

    fn mark_tracked(&mut self, number: u32, has_timestamp: bool) {
        let slot = &mut self.slots[index(number)];
        let ignored = has_timestamp && self.staleness == Staleness::WithoutTimestamp;
        if ignored || slot.tracked[0] == self.scrape {
            return;
        }
        slot.tracked = [self.scrape, slot.tracked[0]];
        self.tracked_count += 1;
        self.still_live_count += usize::from(slot.tracked[1] == self.live_scrape);
    }

    /// The next line where the prediction failed.
    fn next_unpredicted<'p>(&mut self, parser: &'p mut Parser<'_>) -> Result<Option<Line<'p>>, ParseError> {
        let Some(entry) = parser.next_entry()? else { return Ok(None) };
        let Entry::Series(series) = entry else {
            let metric_type = if let Entry::Type { metric_type, .. } = &entry { Some(*metric_type) } else { None };
            // A last line without a line break is not worth remembering: it could be the beginning of another.
            if let Some(line) = parser.last_line() {
                self.see_metadata(line, metric_type);
            }
            return Ok(Some(Line::Metadata(entry)));
        };
        let hash = self.hash(series.text);
        match self.find(series.text, hash) {
            Some(number) if matches!(self.slots[index(number)].kind, Kind::Series(_)) => {
                Ok(Some(self.known(number, series.sample)))
            }
            _ => Ok(Some(Line::New(series))),
        }
    }

    fn see_metadata(&mut self, line: &[u8], metric_type: Option<MetricType>) {
        let hash = self.hash(line);
        let found = self.find(line, hash);
        let number = found.or_else(|| self.insert(line, hash, Kind::Metadata(metric_type)).ok());
        // Where there is no room the line is parsed again next time, which does no harm.
        if let Some(number) = number {
            self.mark_seen(number);
        }
    }

    fn find(&self, text: &[u8], hash: u64) -> Option<u32> {
        self.index.find(hash, |number| self.text(&self.slots[index(*number)]) == text).copied()
    }

    fn insert(&mut self, text: &[u8], hash: u64, kind: Kind<T>) -> Result<u32, CacheFull> {
        let end = self.arena.len() + text.len();
        if u32::try_from(end).is_err() || self.slots.len() >= index(NONE) {
            return Err(CacheFull);
        }
        let (offset, length) = (number(self.arena.len()), number(text.len()));
        // What was predicted here will follow, if a line was put in between.
        let next = self.predicted;
        self.arena.extend_from_slice(text);
        let slot = Remembered { offset, length, next, seen: NEVER, tracked: [NEVER; 2], kind };
        let at = match self.free.pop() {
            Some(free) => {
                self.slots[index(free)] = slot;
                free
            }
            None => {
                self.slots.push(slot);
                number(self.slots.len() - 1)
            }
        };
        let (slots, arena, hasher) = (&self.slots, &self.arena, &self.hasher);
        self.index.insert_unique(hash, at, |n| {
            let slot = &slots[index(*n)];
            hasher.hash_one(&arena[index(slot.offset)..][..index(slot.length)])
        });
        Ok(at)
    }

    /// Begins a page. In another format the same text can mean something else: all lines will be new then, and their `T` tell
    /// which series go on.
    #[cold]
    fn start(&mut self, read_as: (Dialect, Words)) {
        if self.read_as != Some(read_as) {
            self.read_as = Some(read_as);
            self.index.clear();
            self.first = NONE;
        }
        self.started = true;
        self.predicted = self.first;
    }

    #[cold]
    fn tell_vanished(&self, outcome: Outcome, mut vanished: impl FnMut(&T, &[u8])) {
        let series = || {
            self.slots.iter().filter_map(|slot| match &slot.kind {
                Kind::Series(value) => Some((slot, value)),
                Kind::Metadata(_) | Kind::Free => None,
            })
        };
        let is_now = |slot: &Remembered<T>| outcome == Outcome::Good && slot.tracked[0] == self.scrape;
        let was_live = |slot: &Remembered<T>| {
            let before = if slot.tracked[0] == self.scrape { slot.tracked[1] } else { slot.tracked[0] };
            before == self.live_scrape
        };
        let gone = || series().filter(|(slot, _)| was_live(slot) && !is_now(slot));
        let mut untold: HashSet<&T, RandomState> = gone().map(|(_, value)| value).collect();
        // A series that goes on under another text has not vanished.
        for (_, value) in series().filter(|(slot, _)| is_now(slot)) {
            untold.remove(value);
        }
        for (slot, value) in gone() {
            if untold.remove(value) {
                vanished(value, self.text(slot));
            }
        }
    }

    #[cold]
    fn forget_unseen(&mut self) {
        let scrape = self.scrape;
        for (number, slot) in (0u32..).zip(&mut self.slots) {
            if slot.seen != scrape && !matches!(slot.kind, Kind::Free) {
                slot.kind = Kind::Free;
                self.freed_bytes += index(slot.length);
                self.free.push(number);
            }
        }
        let slots = &self.slots;
        self.index.retain(|number| !matches!(slots[index(*number)].kind, Kind::Free));
    }
}

/// A slot's or text's number as an index.
#[inline]
fn index(number: u32) -> usize {
    number as usize
}

/// An index as a slot's or text's number; callers have checked that it fits.
fn number(index: usize) -> u32 {
    u32::try_from(index).expect("insert refuses what does not fit")
}

#[cfg(test)]
mod tests;
