//! Expressions that are only literals with `.*` and `.+` between: `api.*`, `.*-canary`, `a.*b.+c`. They need no automaton.

use crate::shape::Segment;

/// Literals and gaps in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob {
    /// What the text begins with.
    prefix: String,
    /// At least so many characters, then the literal; in this order.
    middle: Vec<(u32, String)>,
    /// The last gap and what the text ends with; none where the prefix is all.
    suffix: Option<(u32, String)>,
}

impl Glob {
    pub(crate) fn new(segments: Vec<Segment>) -> Glob {
        let mut prefix = String::new();
        let mut gaps: Vec<(u32, String)> = Vec::new();
        for segment in segments {
            match (segment, gaps.last_mut()) {
                (Segment::Literal(text), None) => prefix.push_str(&text),
                (Segment::Literal(text), Some((_, literal))) => literal.push_str(&text),
                (Segment::Gap(chars), _) => gaps.push((chars, String::new())),
            }
        }
        let suffix = gaps.pop();
        Glob { prefix, middle: gaps, suffix }
    }

    /// Whether it is `.*`.
    pub(crate) fn is_all(&self) -> bool {
        let ends_open = self.suffix.as_ref().is_some_and(|(chars, suffix)| *chars == 0 && suffix.is_empty());
        ends_open && self.prefix.is_empty() && self.middle.is_empty()
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        // Nothing is compared with an empty text: `memcmp` reads where its pointer dangles, masked out but 40 ns slow.
        let before = |prefix: &str| if prefix.is_empty() { Some(text) } else { text.strip_prefix(prefix) };
        let Some(rest) = before(&self.prefix) else { return false };
        let Some((last_gap, suffix)) = &self.suffix else { return rest.is_empty() };
        let behind = |suffix: &str| if suffix.is_empty() { Some(rest) } else { rest.strip_suffix(suffix) };
        let Some(mut rest) = behind(suffix) else { return false };
        // The leftmost place of each literal leaves the most for those that follow.
        for (gap, literal) in &self.middle {
            let Some(after_gap) = skip_chars(rest, *gap) else { return false };
            let Some(at) = after_gap.find(literal.as_str()) else { return false };
            rest = &after_gap[at + literal.len()..];
        }
        skip_chars(rest, *last_gap).is_some()
    }
}

/// `text` without its first `count` characters; `None` where it has fewer.
fn skip_chars(text: &str, count: u32) -> Option<&str> {
    let mut chars = text.chars();
    for _ in 0..count {
        chars.next()?;
    }
    Some(chars.as_str())
}
