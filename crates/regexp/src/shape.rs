//! What can be said of an anchored expression without running it: redundant anchors, the texts that match, their common
//! beginning, and where it is only literals with `.*` between.

use std::collections::BTreeSet;

use regex_syntax::hir::{Class, ClassUnicodeRange, Hir, HirKind, Look, Repetition};

/// Texts that a product of parts may make.
const PRODUCT_MAX: usize = 256;

/// Texts in all and their bytes: alternatives that are written out may be many.
const TEXTS_MAX: usize = 1 << 16;
const TEXTS_BYTES_MAX: usize = 1 << 20;

/// Takes away assertions that hold anyway, given that `hir` begins at the start of the text and ends at its end.
pub(crate) fn without_anchors(hir: Hir) -> Hir {
    trim(hir, true, true)
}

fn trim(hir: Hir, at_start: bool, at_end: bool) -> Hir {
    let may_change = match hir.kind() {
        HirKind::Look(_) | HirKind::Capture(_) | HirKind::Alternation(_) | HirKind::Concat(_) => true,
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Repetition(_) => false,
    };
    if !may_change || hir.properties().look_set().is_empty() || !(at_start || at_end) {
        return hir;
    }
    match hir.into_kind() {
        HirKind::Look(Look::Start | Look::StartLF) if at_start => Hir::empty(),
        HirKind::Look(Look::End | Look::EndLF) if at_end => Hir::empty(),
        HirKind::Capture(mut capture) => {
            *capture.sub = trim(*capture.sub, at_start, at_end);
            Hir::capture(capture)
        }
        HirKind::Alternation(branches) => {
            Hir::alternation(branches.into_iter().map(|b| trim(b, at_start, at_end)).collect())
        }
        HirKind::Concat(parts) => {
            let is_empty = |part: &Hir| part.properties().maximum_len() == Some(0);
            let first = parts.iter().take_while(|p| is_empty(p)).count();
            let last = parts.len() - parts.iter().rev().take_while(|p| is_empty(p)).count();
            let parts = parts.into_iter().enumerate();
            Hir::concat(parts.map(|(i, p)| trim(p, at_start && i <= first, at_end && i + 1 >= last)).collect())
        }
        HirKind::Look(look) => Hir::look(look),
        _ => unreachable!("what cannot change was given back above"),
    }
}

/// All texts that match, sorted; `None` where they are too many or depend on assertions.
pub(crate) fn texts(hir: &Hir) -> Option<Vec<String>> {
    let texts = Texts::of(hir)?.list.into_iter();
    let sorted: BTreeSet<String> =
        texts.map(|t| String::from_utf8(t).expect("expressions are of whole characters")).collect();
    Some(sorted.into_iter().collect())
}

/// Texts with the sum of their lengths.
#[derive(Clone)]
struct Texts {
    list: Vec<Vec<u8>>,
    bytes: usize,
}

impl Texts {
    fn none() -> Texts {
        Texts { list: Vec::new(), bytes: 0 }
    }

    fn one(text: &[u8]) -> Texts {
        Texts { list: vec![text.to_vec()], bytes: text.len() }
    }

    fn of(hir: &Hir) -> Option<Texts> {
        match hir.kind() {
            HirKind::Empty => Some(Texts::one(b"")),
            HirKind::Literal(literal) => Some(Texts::one(&literal.0)),
            HirKind::Class(class) => Texts::of_class(class),
            HirKind::Look(_) => None,
            HirKind::Capture(capture) => Texts::of(&capture.sub),
            HirKind::Concat(parts) => parts.iter().try_fold(Texts::one(b""), |t, part| t.then(&Texts::of(part)?)),
            HirKind::Alternation(branches) => branches.iter().try_fold(Texts::none(), |t, b| t.or(Texts::of(b)?)),
            HirKind::Repetition(Repetition { min, max: Some(max), sub, .. }) => {
                let once = Texts::of(sub)?;
                let mut power = Texts::one(b"");
                let mut texts = if *min == 0 { power.clone() } else { Texts::none() };
                for n in 1..=*max {
                    power = power.then(&once)?;
                    if n >= *min {
                        texts = texts.or(power.clone())?;
                    }
                }
                (*max == 1 || texts.list.len() <= PRODUCT_MAX).then_some(texts)
            }
            HirKind::Repetition(_) => None,
        }
    }

    fn of_class(class: &Class) -> Option<Texts> {
        let Class::Unicode(class) = class else {
            return class.is_empty().then(Texts::none);
        };
        if class.ranges().iter().map(ClassUnicodeRange::len).sum::<usize>() > PRODUCT_MAX {
            return None;
        }
        let chars = class.ranges().iter().flat_map(|range| range.start()..=range.end());
        chars.map(|c| Texts::one(c.to_string().as_bytes())).try_fold(Texts::none(), Texts::or)
    }

    fn or(mut self, more: Texts) -> Option<Texts> {
        self.list.extend(more.list);
        self.bytes += more.bytes;
        (self.list.len() <= TEXTS_MAX && self.bytes <= TEXTS_BYTES_MAX).then_some(self)
    }

    fn then(mut self, after: &Texts) -> Option<Texts> {
        if let [only] = &after.list[..] {
            if only.is_empty() {
                return Some(self);
            }
            self.bytes += only.len() * self.list.len();
            if self.bytes > TEXTS_BYTES_MAX {
                return None;
            }
            self.list.iter_mut().for_each(|text| text.extend_from_slice(only));
            return Some(self);
        }
        let bytes = self.bytes * after.list.len() + after.bytes * self.list.len();
        if bytes > TEXTS_BYTES_MAX || (self.list.len() != 1 && self.list.len() * after.list.len() > PRODUCT_MAX) {
            return None;
        }
        let list = self.list.iter().flat_map(|b| after.list.iter().map(move |a| [b.as_slice(), a].concat()));
        Some(Texts { list: list.collect(), bytes })
    }
}

/// The longest text with which every match begins.
pub(crate) fn prefix(hir: &Hir) -> String {
    let (mut bytes, _) = prefix_bytes(hir);
    let valid = std::str::from_utf8(&bytes).map_or_else(|e| e.valid_up_to(), str::len);
    bytes.truncate(valid);
    String::from_utf8(bytes).expect("just cut to what is valid")
}

/// The prefix and whether it is the whole of every match.
fn prefix_bytes(hir: &Hir) -> (Vec<u8>, bool) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => (Vec::new(), true),
        HirKind::Literal(literal) => (literal.0.to_vec(), true),
        HirKind::Class(_) => (Vec::new(), false),
        HirKind::Capture(capture) => prefix_bytes(&capture.sub),
        HirKind::Repetition(Repetition { min: 0, .. }) => (Vec::new(), false),
        HirKind::Repetition(repetition) => (prefix_bytes(&repetition.sub).0, false),
        HirKind::Concat(parts) => {
            let mut prefix = Vec::new();
            for part in parts {
                let (more, whole) = prefix_bytes(part);
                prefix.extend(more);
                if !whole {
                    return (prefix, false);
                }
            }
            (prefix, true)
        }
        HirKind::Alternation(branches) => {
            let mut prefixes = branches.iter().map(|b| prefix_bytes(b).0);
            let first = prefixes.next().unwrap_or_default();
            let common = prefixes.fold(first, |mut common, next| {
                let same = common.iter().zip(&next).take_while(|(a, b)| a == b).count();
                common.truncate(same);
                common
            });
            (common, false)
        }
    }
}

/// An expression without its `.*` at the ends, if it has any.
pub(crate) struct Open {
    pub(crate) hir: Hir,
    pub(crate) start: bool,
    pub(crate) end: bool,
}

/// Takes `.*` away from the ends: whether `^.*foo.*$` matches is the question whether `foo` occurs.
pub(crate) fn open_ends(hir: Hir) -> Open {
    let start = any_at_edge(&hir, Edge::Start);
    let hir = if start { cut_edge(hir, Edge::Start) } else { hir };
    let end = any_at_edge(&hir, Edge::End);
    let hir = if end { cut_edge(hir, Edge::End) } else { hir };
    Open { hir, start, end }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Edge {
    Start,
    End,
}

impl Edge {
    fn of<T>(self, parts: &[T]) -> Option<&T> {
        match self {
            Edge::Start => parts.first(),
            Edge::End => parts.last(),
        }
    }
}

/// Whether every way through `hir` has `.*` at the edge.
fn any_at_edge(hir: &Hir, edge: Edge) -> bool {
    match hir.kind() {
        HirKind::Repetition(_) => gap(hir) == Some(0),
        HirKind::Capture(capture) => any_at_edge(&capture.sub, edge),
        HirKind::Concat(parts) => edge.of(parts).is_some_and(|part| any_at_edge(part, edge)),
        HirKind::Alternation(branches) => branches.iter().all(|b| any_at_edge(b, edge)),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => false,
    }
}

/// Takes away what [`any_at_edge`] has seen.
fn cut_edge(hir: Hir, edge: Edge) -> Hir {
    match hir.into_kind() {
        HirKind::Capture(capture) => cut_edge(*capture.sub, edge),
        HirKind::Concat(mut parts) => {
            let at = if edge == Edge::Start { 0 } else { parts.len() - 1 };
            parts[at] = cut_edge(std::mem::replace(&mut parts[at], Hir::empty()), edge);
            Hir::concat(parts)
        }
        HirKind::Alternation(branches) => Hir::alternation(branches.into_iter().map(|b| cut_edge(b, edge)).collect()),
        _ => Hir::empty(),
    }
}

/// 0 for `.*`, 1 for `.+`, where the dot is any character.
fn gap(hir: &Hir) -> Option<u32> {
    let HirKind::Repetition(Repetition { min: min @ 0..=1, max: None, sub, .. }) = hir.kind() else { return None };
    let HirKind::Class(Class::Unicode(class)) = sub.kind() else { return None };
    let [all] = class.ranges() else { return None };
    (all.start() == '\0' && all.end() == char::MAX).then_some(*min)
}

/// One part of a [`Glob`](crate::glob::Glob).
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// The text.
    Literal(String),
    /// At least so many characters.
    Gap(u32),
}

/// The parts of an expression that is only literals, `.*` and `.+`.
pub(crate) fn segments(hir: &Hir) -> Option<Vec<Segment>> {
    let mut segments = Vec::new();
    add_segments(hir, &mut segments).then_some(segments)
}

fn add_segments(hir: &Hir, segments: &mut Vec<Segment>) -> bool {
    match hir.kind() {
        HirKind::Empty => true,
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).expect("expressions are of whole characters");
            match segments.last_mut() {
                Some(Segment::Literal(before)) => before.push_str(text),
                _ => segments.push(Segment::Literal(text.to_owned())),
            }
            true
        }
        HirKind::Repetition(_) => match (gap(hir), segments.last_mut()) {
            (None, _) => false,
            (Some(more), Some(Segment::Gap(chars))) => {
                *chars += more;
                true
            }
            (Some(chars), _) => {
                segments.push(Segment::Gap(chars));
                true
            }
        },
        HirKind::Capture(capture) => add_segments(&capture.sub, segments),
        HirKind::Concat(parts) => parts.iter().all(|part| add_segments(part, segments)),
        HirKind::Class(_) | HirKind::Look(_) | HirKind::Alternation(_) => false,
    }
}
