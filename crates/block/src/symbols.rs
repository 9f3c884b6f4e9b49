//! The texts of an index: every name and value of a label once, sorted, called by number.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use model::Labels;

use crate::WriteError;

/// Texts behind each other in one allocation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts {
    text: String,
    ends: Vec<u32>,
}

impl Texts {
    /// Appends a text; `false` where more than 4 GiB would be held.
    pub(crate) fn push(&mut self, text: &str) -> bool {
        let Ok(end) = u32::try_from(self.text.len() + text.len()) else { return false };
        self.text.push_str(text);
        self.ends.push(end);
        true
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn get(&self, number: usize) -> Option<&str> {
        let end = *self.ends.get(number)? as usize;
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        Some(&self.text[start..end])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|number| self.get(number).expect("counted"))
    }

    pub(crate) fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
    }
}

/// Sorted texts that can be found by content: what a block is written with.
#[derive(Debug, Default)]
pub struct Symbols {
    texts: Texts,
    numbers: HashTable<u32>,
}

const HASHER: FixedState = FixedState::with_seed(0);

impl Symbols {
    /// From texts that are sorted and unique.
    pub fn from_sorted<'a>(sorted: impl IntoIterator<Item = &'a str>) -> Result<Symbols, WriteError> {
        let mut symbols = Symbols::default();
        let mut last: Option<&str> = None;
        for text in sorted {
            if last.is_some_and(|last| text <= last) {
                return Err(WriteError::SymbolOrder);
            }
            symbols.insert_new(text)?;
            last = Some(text);
        }
        symbols.texts.shrink();
        Ok(symbols)
    }

    /// The number of a text.
    pub fn number(&self, text: &str) -> Option<u32> {
        self.numbers.find(HASHER.hash_one(text), |n| self.texts.get(*n as usize) == Some(text)).copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.texts.len() == 0
    }

    pub(crate) fn texts(&self) -> &Texts {
        &self.texts
    }

    fn insert_new(&mut self, text: &str) -> Result<(), WriteError> {
        let number = u32::try_from(self.texts.len()).map_err(|_| WriteError::SymbolsTooLarge)?;
        if !self.texts.push(text) {
            return Err(WriteError::SymbolsTooLarge);
        }
        let texts = &self.texts;
        let hash_of = |n: &u32| HASHER.hash_one(texts.get(*n as usize).expect("inserted before"));
        self.numbers.insert_unique(HASHER.hash_one(text), number, hash_of);
        Ok(())
    }
}

/// Collects the texts of series in any order: the first of the two passes over what becomes a block.
#[derive(Debug, Default)]
pub struct SymbolsBuilder(Symbols);

impl SymbolsBuilder {
    /// Nothing yet.
    pub fn new() -> SymbolsBuilder {
        SymbolsBuilder::default()
    }

    /// Adds a text unless it is known.
    pub fn add(&mut self, text: &str) -> Result<(), WriteError> {
        if self.0.number(text).is_some() { Ok(()) } else { self.0.insert_new(text) }
    }

    /// Adds names and values.
    pub fn add_labels(&mut self, labels: &Labels) -> Result<(), WriteError> {
        labels.iter().try_for_each(|label| {
            self.add(label.name)?;
            self.add(label.value)
        })
    }

    /// Sorts.
    pub fn finish(self) -> Symbols {
        drop(self.0.numbers);
        let texts = self.0.texts;
        let mut sorted: Vec<&str> = texts.iter().collect();
        sorted.sort_unstable();
        Symbols::from_sorted(sorted).expect("unique and sorted, and as large as before")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_sorted_unique_and_found() {
        let mut builder = SymbolsBuilder::new();
        let labels = Labels::from_pairs([("b", "a"), ("a", "z"), ("", "")]).unwrap();
        builder.add_labels(&labels).unwrap();
        builder.add_labels(&labels).unwrap();
        let symbols = builder.finish();
        assert_eq!(symbols.texts().iter().collect::<Vec<_>>(), ["a", "b", "z"]);
        assert_eq!((symbols.number("z"), symbols.number("y"), symbols.len()), (Some(2), None, 3));
        assert!(matches!(Symbols::from_sorted(["b", "a"]), Err(WriteError::SymbolOrder)));
        assert!(matches!(Symbols::from_sorted(["a", "a"]), Err(WriteError::SymbolOrder)));
    }
}
