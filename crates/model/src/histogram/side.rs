//! The buckets of one side of a histogram: runs of buckets, and a count or more for each.

use crate::Span;

/// What a bucket holds.
pub(crate) trait Cell: Copy {
    fn of(count: f64) -> Self;
    fn add(&mut self, other: Self);
    fn is_zero(self) -> bool;
}

impl Cell for f64 {
    fn of(count: f64) -> f64 {
        count
    }

    fn add(&mut self, other: f64) {
        *self += other;
    }

    fn is_zero(self) -> bool {
        self == 0.0
    }
}

/// A count; differences to the bucket before are no cells.
impl Cell for i64 {
    fn of(count: f64) -> i64 {
        count as i64
    }

    fn add(&mut self, other: i64) {
        *self = self.wrapping_add(other);
    }

    fn is_zero(self) -> bool {
        self == 0
    }
}

/// The place of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) index: i32,
    /// Whether a span starts here.
    starts: bool,
}

/// The places of all buckets, in order. There may be absurdly many: take as many as there are counts.
pub(super) fn places(spans: &[Span]) -> impl Iterator<Item = Place> + '_ {
    let mut next = 0i32;
    spans.iter().flat_map(move |span| {
        let first = next.wrapping_add(span.offset);
        next = first.wrapping_add_unsigned(span.length);
        (0..span.length).map(move |i| Place { index: first.wrapping_add_unsigned(i), starts: i == 0 })
    })
}

/// Buckets with their places.
pub(super) fn indexed<'a, C: Copy>(spans: &'a [Span], cells: &'a [C]) -> impl Iterator<Item = (i32, C)> + 'a {
    places(spans).zip(cells).map(|(place, cell)| (place.index, *cell))
}

/// The bucket of the coarser schema that holds bucket `index`.
pub(super) fn coarser(index: i32, from: i32, to: i32) -> i32 {
    let shift = from.saturating_sub(to).clamp(0, 31);
    (index.wrapping_sub(1) >> shift).wrapping_add(1)
}

/// One side of a histogram.
#[derive(Clone, Debug)]
pub(super) struct Side<C> {
    pub(super) spans: Vec<Span>,
    pub(super) cells: Vec<C>,
    /// The place after the last bucket.
    next: i32,
}

impl<C: Cell> Side<C> {
    fn with_capacity(n: usize) -> Side<C> {
        Side { spans: Vec::new(), cells: Vec::with_capacity(n), next: 0 }
    }

    /// A side as it is.
    pub(super) fn of(spans: &[Span], counts: &[f64]) -> Side<C> {
        Side { spans: spans.to_vec(), cells: counts.iter().map(|v| C::of(*v)).collect(), next: 0 }
    }

    fn continues(&self, index: i32) -> bool {
        !self.spans.is_empty() && self.next == index
    }

    /// Adds a bucket at the end; `apart` starts a span where none had to start.
    fn push(&mut self, index: i32, cell: C, apart: bool) {
        match self.spans.last_mut() {
            Some(span) if self.next == index && !apart => span.length += 1,
            _ => self.spans.push(Span { offset: index.wrapping_sub(self.next), length: 1 }),
        }
        self.next = index.wrapping_add(1);
        self.cells.push(cell);
    }

    /// The buckets of schema `from` merged into those of the coarser schema `to`.
    pub(super) fn reduced(spans: &[Span], cells: &[C], from: i32, to: i32) -> Side<C> {
        let mut out: Side<C> = Side::with_capacity(cells.len());
        for (index, cell) in indexed(spans, cells) {
            let index = coarser(index, from, to);
            match out.cells.last_mut() {
                Some(last) if out.next.wrapping_sub(1) == index => last.add(cell),
                _ => out.push(index, cell, false),
            }
        }
        out
    }

    /// Adds buckets that are ordered by place. Spans come to lie as where Prometheus inserts bucket by bucket: a new bucket
    /// joins the span before it, else the span after it.
    pub(super) fn add(&mut self, other: impl Iterator<Item = (i32, C)>) {
        let mut out: Side<C> = Side::with_capacity(self.cells.len());
        let mut other = other.peekable();
        // A new bucket that did not continue anything: the span after it joins it.
        let mut joins = None;
        for (place, cell) in places(&self.spans).zip(&self.cells) {
            while let Some((index, new)) = other.next_if(|(index, _)| *index < place.index) {
                joins = (!out.continues(index)).then_some(index);
                out.push(index, new, false);
            }
            let mut cell = *cell;
            if let Some((_, new)) = other.next_if(|(index, _)| *index == place.index) {
                cell.add(new);
            }
            let joined = joins.take() == Some(place.index.wrapping_sub(1));
            out.push(place.index, cell, place.starts && !joined);
        }
        for (index, new) in other {
            out.push(index, new, false);
        }
        *self = out;
    }
}

/// Drops empty buckets, but for runs of at most `empty_max` between others; fills gaps up to that length.
pub(crate) fn compact<C: Cell>(spans: &mut Vec<Span>, cells: &mut Vec<C>, empty_max: usize) {
    let tidy = |span: &Span| span.length > 0 && usize::try_from(span.offset).is_ok_and(|gap| gap > empty_max);
    if cells.iter().all(|cell| !cell.is_zero()) && spans.iter().skip(1).all(tidy) {
        if spans.first().is_some_and(|span| span.length == 0) {
            let gap = spans.remove(0).offset;
            if let Some(first) = spans.first_mut() {
                first.offset = first.offset.wrapping_add(gap);
            }
        }
        return;
    }
    let mut out: Side<C> = Side::with_capacity(cells.len());
    for (index, cell) in indexed(spans, cells).filter(|(_, cell)| !cell.is_zero()) {
        let gap = index.wrapping_sub(out.next);
        if !out.spans.is_empty() && usize::try_from(gap).is_ok_and(|gap| gap <= empty_max.min(GAP_MAX)) {
            for _ in 0..gap {
                out.push(out.next, C::of(0.0), false);
            }
        }
        out.push(index, cell, false);
    }
    (*spans, *cells) = (out.spans, out.cells);
}

/// Gaps beyond this are never filled, whatever is asked for: places of buckets are not trusted.
const GAP_MAX: usize = 1 << 16;
