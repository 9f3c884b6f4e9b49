//! Templates of replacements, as Go's `Regexp.Expand` reads them.

use crate::unicode;

/// One part of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'t> {
    /// Text as it is.
    Text(&'t str),
    /// The group with this number.
    Number(usize),
    /// The group with this name.
    Name(&'t str),
}

/// The parts of `template` in order: `$name` takes as many letters, digits and underscores as there are, `${name}` ends where
/// it says, `$$` is a dollar, and a dollar that starts neither is itself.
pub(crate) fn pieces(template: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = template;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some(after_dollar) = rest.strip_prefix('$') else {
            let (text, next) = rest.split_at(rest.find('$').unwrap_or(rest.len()));
            rest = next;
            return Some(Piece::Text(text));
        };
        if let Some(next) = after_dollar.strip_prefix('$') {
            rest = next;
            return Some(Piece::Text("$"));
        }
        let Some((name, next)) = reference(after_dollar) else {
            rest = after_dollar;
            return Some(Piece::Text("$"));
        };
        rest = next;
        Some(number(name).map_or(Piece::Name(name), Piece::Number))
    })
}

/// `name` or `{name}` at the start of `text`, and what follows.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (inner, braced) = text.strip_prefix('{').map_or((text, false), |inner| (inner, true));
    let is_name = |c: char| c == '_' || unicode::is_letter_or_digit(c);
    let (name, rest) = inner.split_at(inner.find(|c| !is_name(c)).unwrap_or(inner.len()));
    if name.is_empty() {
        return None;
    }
    Some((name, if braced { rest.strip_prefix('}')? } else { rest }))
}

/// The number that `name` is: no leading zero, and not more than Go reads.
fn number(name: &str) -> Option<usize> {
    const TOO_LARGE: usize = 100_000_000;
    if !name.bytes().all(|b| b.is_ascii_digit()) || (name.len() > 1 && name.starts_with('0')) {
        return None;
    }
    name.bytes().try_fold(0_usize, |n, b| (n < TOO_LARGE).then(|| n * 10 + usize::from(b - b'0')))
}
