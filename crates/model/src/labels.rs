//! Label sets, packed into one allocation: for each label, sorted by name, uvarint length and bytes of name, then of value.
//!
//! This is also the text under the hash of `SeriesId`, so a series is recognised without unpacking anything.
#![expect(unsafe_code, reason = "`&str` from bytes that came from `&str`; checking again costs two thirds of a decode")]

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// The label that holds a metric's name.
pub const METRIC_NAME: &str = "__name__";

/// One label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label<'a> {
    /// Name.
    pub name: &'a str,
    /// Value; never empty inside [`Labels`].
    pub value: &'a str,
}

/// A label set: sorted by name, names unique, no empty values. Cloning shares.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<[u8]>);

/// Borrowed packed labels; see the module's text for the layout.
#[derive(Clone, Copy)]
pub struct PackedLabels<'a>(&'a [u8]);

/// Appends `n` as an unsigned LEB128 varint.
pub(crate) fn put_uvarint(out: &mut Vec<u8>, mut n: usize) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Reads a varint that [`put_uvarint`] wrote; returns it and the rest, or `None` where the bytes end, do not fit, or are more
/// than are needed: equal labels must be equal bytes.
fn take_uvarint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut n: u64 = 0;
    for (i, b) in bytes.iter().enumerate().take(5) {
        n |= u64::from(b & 0x7f) << (7 * i);
        if b & 0x80 == 0 {
            let longer_than_needed = i > 0 && *b == 0;
            return if longer_than_needed { None } else { Some((usize::try_from(n).ok()?, &bytes[i + 1..])) };
        }
    }
    None
}

fn take_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (n, rest) = take_uvarint(bytes)?;
    rest.split_at_checked(n)
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_uvarint(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

impl<'a> PackedLabels<'a> {
    /// Checks that `bytes` are packed labels: sorted, unique, values not empty, UTF-8, nothing left over.
    pub fn check(bytes: &'a [u8]) -> Option<PackedLabels<'a>> {
        let mut rest = bytes;
        let mut last: Option<&[u8]> = None;
        while !rest.is_empty() {
            let (name, after_name) = take_text(rest)?;
            let (value, after) = take_text(after_name)?;
            let in_order = last.is_none_or(|l| l < name);
            if !in_order || name.is_empty() || value.is_empty() {
                return None;
            }
            if std::str::from_utf8(name).is_err() || std::str::from_utf8(value).is_err() {
                return None;
            }
            last = Some(name);
            rest = after;
        }
        Some(PackedLabels(bytes))
    }

    /// Takes bytes that [`PackedLabels::check`] accepted before; what lies in a checked batch is not checked again.
    pub fn trusted(bytes: &'a [u8]) -> PackedLabels<'a> {
        debug_assert!(PackedLabels::check(bytes).is_some());
        PackedLabels(bytes)
    }

    /// The bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Copies into an owned set.
    pub fn to_labels(self) -> Labels {
        Labels(self.0.into())
    }
}

impl Labels {
    /// No labels.
    pub fn empty() -> Labels {
        Labels(Arc::new([]))
    }

    /// From pairs in any order. Empty values are left out; `None` when a name is empty or occurs twice.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<Labels> {
        let mut pairs: Vec<(&str, &str)> = pairs.into_iter().filter(|(_, v)| !v.is_empty()).collect();
        pairs.sort_unstable();
        let unique = pairs.windows(2).all(|w| w[0].0 != w[1].0);
        let named = pairs.iter().all(|(n, _)| !n.is_empty());
        (unique && named).then(|| Labels::from_sorted(pairs))
    }

    /// Pairs must be sorted by name, names unique and not empty, values not empty.
    fn from_sorted<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Labels {
        let mut out = Vec::with_capacity(256);
        for (name, value) in pairs {
            put_text(&mut out, name);
            put_text(&mut out, value);
        }
        Labels(out.into())
    }

    /// The packed bytes; see the module's text.
    pub fn as_packed(&self) -> &[u8] {
        &self.0
    }

    /// In order of names.
    pub fn iter(&self) -> LabelsIter<'_> {
        LabelsIter(&self.0)
    }

    /// The value of `name`; `None` where the label is absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut rest: &[u8] = &self.0;
        while !rest.is_empty() {
            let (n, after) = take_text(rest).expect("packed by our own constructor");
            let (v, after) = take_text(after).expect("packed by our own constructor");
            match n.cmp(name.as_bytes()) {
                Ordering::Less => rest = after,
                Ordering::Equal => return Some(text(v)),
                Ordering::Greater => return None,
            }
        }
        None
    }

    /// The metric's name.
    pub fn metric_name(&self) -> Option<&str> {
        self.get(METRIC_NAME)
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those whose name is in `names`, which must be sorted.
    pub fn only(&self, names: &[impl AsRef<str>]) -> Labels {
        self.retain(|n| names.binary_search_by(|x| x.as_ref().cmp(n)).is_ok())
    }

    /// Those whose name is not in `names`, which must be sorted.
    pub fn without(&self, names: &[impl AsRef<str>]) -> Labels {
        self.retain(|n| names.binary_search_by(|x| x.as_ref().cmp(n)).is_err())
    }

    /// All but the metric's name.
    pub fn without_metric_name(&self) -> Labels {
        self.retain(|n| n != METRIC_NAME)
    }

    fn retain(&self, keep: impl Fn(&str) -> bool) -> Labels {
        let mut out = Vec::with_capacity(self.0.len());
        for l in self.iter().filter(|l| keep(l.name)) {
            put_text(&mut out, l.name);
            put_text(&mut out, l.value);
        }
        Labels(out.into())
    }
}

/// Bytes that one of this file's constructors took from a `&str`, at the boundaries that it wrote.
fn text(bytes: &[u8]) -> &str {
    debug_assert!(std::str::from_utf8(bytes).is_ok());
    // SAFETY: every constructor of `Labels` copies whole `&str`s or runs `PackedLabels::check`, which checks UTF-8 text by
    // text; fields are private and immutable. Exercised under Miri-clean property tests below.
    unsafe { std::str::from_utf8_unchecked(bytes) }
}

/// See [`Labels::iter`].
#[derive(Clone)]
pub struct LabelsIter<'a>(&'a [u8]);

impl<'a> Iterator for LabelsIter<'a> {
    type Item = Label<'a>;
    fn next(&mut self) -> Option<Label<'a>> {
        if self.0.is_empty() {
            return None;
        }
        let (name, rest) = take_text(self.0).expect("packed by our own constructor");
        let (value, rest) = take_text(rest).expect("packed by our own constructor");
        self.0 = rest;
        Some(Label { name: text(name), value: text(value) })
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = Label<'a>;
    type IntoIter = LabelsIter<'a>;
    fn into_iter(self) -> LabelsIter<'a> {
        self.iter()
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Labels) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Labels {
    /// Label by label, name before value, the shorter first: the order of Prometheus' `labels.Compare`.
    fn cmp(&self, other: &Labels) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl Default for Labels {
    fn default() -> Labels {
        Labels::empty()
    }
}

impl fmt::Display for Labels {
    /// `{name="value", …}` as Prometheus' `Labels.String` prints it, names that are not plain in quotes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, l) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write_label(f, l.name, l.value)?;
        }
        f.write_str("}")
    }
}

/// `name="value"`, as among others in `Labels`' text; also of labels that cannot be a set.
pub fn write_label(f: &mut impl fmt::Write, name: &str, value: &str) -> fmt::Result {
    if is_legacy_label_name(name) {
        f.write_str(name)?;
    } else {
        write_quoted(f, name)?;
    }
    f.write_str("=")?;
    write_quoted(f, value)
}

fn write_quoted(f: &mut impl fmt::Write, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\u{7}' => f.write_str("\\a")?,
            '\u{8}' => f.write_str("\\b")?,
            '\u{b}' => f.write_str("\\v")?,
            '\u{c}' => f.write_str("\\f")?,
            c if u32::from(c) < 0x20 || u32::from(c) == 0x7f => write!(f, "\\x{:02x}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether `name` matches `[a-zA-Z_][a-zA-Z0-9_]*`.
pub fn is_legacy_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether `name` matches `[a-zA-Z_:][a-zA-Z0-9_:]*`.
pub fn is_legacy_metric_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || b == b':')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

/// Changes a label set: later words win, empty values delete.
#[derive(Clone, Debug, Default)]
pub struct LabelsBuilder {
    labels: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// Starts from `labels`.
    pub fn from_labels(labels: &Labels) -> LabelsBuilder {
        LabelsBuilder { labels: labels.iter().map(|l| (l.name.to_owned(), l.value.to_owned())).collect() }
    }

    /// The current value of `name`, empty where absent.
    pub fn get(&self, name: &str) -> &str {
        self.labels.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    /// Sets `name`; an empty value deletes it.
    pub fn set(&mut self, name: &str, value: &str) -> &mut LabelsBuilder {
        if value.is_empty() {
            return self.del(name);
        }
        match self.labels.iter_mut().find(|(n, _)| n == name) {
            Some((_, v)) => value.clone_into(v),
            None => self.labels.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Deletes `name`.
    pub fn del(&mut self, name: &str) -> &mut LabelsBuilder {
        self.labels.retain(|(n, _)| n != name);
        self
    }

    /// The labels as they are now, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// The result.
    pub fn build(&self) -> Labels {
        let mut pairs: Vec<(&str, &str)> = self.iter().collect();
        pairs.sort_unstable();
        Labels::from_sorted(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::from_pairs(pairs.iter().copied()).unwrap()
    }

    #[test]
    fn labels_are_sorted_unique_and_without_empty_values() {
        assert_eq!(labels(&[("b", "2"), ("a", "1"), ("c", "")]).to_string(), r#"{a="1", b="2"}"#);
        assert_eq!(Labels::from_pairs([("a", "1"), ("a", "2")]), None);
        assert_eq!(Labels::from_pairs([("", "1")]), None);
    }

    #[test]
    fn order_is_label_by_label() {
        let in_order = [
            labels(&[]),
            labels(&[("a", "1")]),
            labels(&[("a", "1"), ("b", "2")]),
            labels(&[("a", "10")]),
            labels(&[("a", "2")]),
            labels(&[("aa", "1")]),
            labels(&[("b", "1")]),
        ];
        assert!(in_order.is_sorted());
    }

    #[test]
    fn bytes_that_are_no_packed_labels_are_refused() {
        for bad in [&[1][..], &[1, b'a'], &[1, b'a', 0], &[0, 1, b'v'], &[1, 0xff, 1, b'v'], &[0xff; 12]] {
            assert!(PackedLabels::check(bad).is_none(), "{bad:?}");
        }
        assert!(PackedLabels::check(&[1, b'b', 1, b'v', 1, b'a', 1, b'v']).is_none(), "not sorted");
        assert!(PackedLabels::check(&[0x81, 0, b'a', 1, b'v']).is_none(), "a length in more bytes than it needs");
    }

    #[test]
    fn builder_sets_and_deletes() {
        let mut b = LabelsBuilder::from_labels(&labels(&[("a", "1"), ("b", "2")]));
        b.set("c", "3").set("a", "").set("b", "4");
        assert_eq!(b.build(), labels(&[("b", "4"), ("c", "3")]));
    }

    proptest! {
        #[test]
        fn packed_labels_come_back(map in proptest::collection::btree_map("\\PC{1,200}", "\\PC{1,200}", 0..8)) {
            let l = Labels::from_pairs(map.iter().map(|(n, v)| (n.as_str(), v.as_str()))).unwrap();
            let back: Vec<_> = l.iter().map(|l| (l.name.to_owned(), l.value.to_owned())).collect();
            let expected: Vec<_> = map.clone().into_iter().collect();
            prop_assert_eq!(back, expected);
            prop_assert_eq!(PackedLabels::check(l.as_packed()).unwrap().to_labels(), l.clone());
            for (n, v) in &map {
                prop_assert_eq!(l.get(n), Some(v.as_str()));
            }
        }

        #[test]
        fn any_bytes_are_checked_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(p) = PackedLabels::check(&bytes) {
                let labels = p.to_labels();
                prop_assert_eq!(labels.as_packed(), &bytes[..]);
            }
        }
    }
}
