//! Character classes: `[a-z]`, `[[:alpha:]]`, `\d`, `\p{Greek}`. Case folding comes before negation, as in Go.

use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};

use super::escape::{escape, take_char};
use crate::error::{Error, ErrorKind};
use crate::unicode::{self, ClassNames};

/// A class of ASCII characters by inclusive ranges.
type Ranges = &'static [(char, char)];

const DIGIT: Ranges = &[('0', '9')];
const SPACE: Ranges = &[('\t', '\n'), ('\x0c', '\r'), (' ', ' ')];
const WORD: Ranges = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];

/// POSIX classes by name. `space` has the vertical tab, which `\s` has not.
const POSIX: &[(&[u8], Ranges)] = &[
    (b"alnum", &[('0', '9'), ('A', 'Z'), ('a', 'z')]),
    (b"alpha", &[('A', 'Z'), ('a', 'z')]),
    (b"ascii", &[('\0', '\x7f')]),
    (b"blank", &[('\t', '\t'), (' ', ' ')]),
    (b"cntrl", &[('\0', '\x1f'), ('\x7f', '\x7f')]),
    (b"digit", DIGIT),
    (b"graph", &[('!', '~')]),
    (b"lower", &[('a', 'z')]),
    (b"print", &[(' ', '~')]),
    (b"punct", &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')]),
    (b"space", &[('\t', '\r'), (' ', ' ')]),
    (b"upper", &[('A', 'Z')]),
    (b"word", WORD),
    (b"xdigit", &[('0', '9'), ('A', 'F'), ('a', 'f')]),
];

fn ascii_class(ranges: Ranges, negated: bool, fold: bool) -> ClassUnicode {
    let mut class = ClassUnicode::new(ranges.iter().map(|&(lo, hi)| ClassUnicodeRange::new(lo, hi)));
    if fold {
        unicode::add_folds(&mut class);
    }
    if negated {
        class.negate();
    }
    class
}

/// The range between two code points, without the surrogates, which no text has.
pub(super) fn range(lo: u32, hi: u32) -> Option<ClassUnicodeRange> {
    const AFTER_SURROGATES: u32 = 0xE000;
    const BEFORE_SURROGATES: u32 = 0xD7FF;
    let lo = char::from_u32(lo).or_else(|| char::from_u32(lo.max(AFTER_SURROGATES)))?;
    let hi = char::from_u32(hi).or_else(|| char::from_u32(hi.min(BEFORE_SURROGATES)))?;
    (lo <= hi).then(|| ClassUnicodeRange::new(lo, hi))
}

/// `\d`, `\S` and so on at the start of `text`, and what follows.
pub(super) fn perl(text: &[u8], fold: bool) -> Option<(ClassUnicode, &[u8])> {
    let (ranges, negated) = match text {
        [b'\\', b'd', ..] => (DIGIT, false),
        [b'\\', b'D', ..] => (DIGIT, true),
        [b'\\', b's', ..] => (SPACE, false),
        [b'\\', b'S', ..] => (SPACE, true),
        [b'\\', b'w', ..] => (WORD, false),
        [b'\\', b'W', ..] => (WORD, true),
        _ => return None,
    };
    Some((ascii_class(ranges, negated, fold), &text[2..]))
}

/// `\pL`, `\p{Greek}`, `\P{^Greek}` at the start of `text`, and what follows; `None` where `text` starts otherwise.
pub(super) fn unicode(text: &[u8], fold: bool, names: ClassNames) -> Result<Option<(ClassUnicode, &[u8])>, Error> {
    let mut negated = match text {
        [b'\\', b'p', ..] => false,
        [b'\\', b'P', ..] => true,
        _ => return Ok(None),
    };
    if text.len() == 2 {
        return Err(Error::new(ErrorKind::InvalidCharRange, text));
    }
    let (first, after_first) = take_char(&text[2..])?;
    let (whole, name) = if first == '{' {
        let Some(end) = text.iter().position(|&b| b == b'}') else {
            check_utf8(text)?;
            return Err(Error::new(ErrorKind::InvalidCharRange, text));
        };
        (&text[..=end], &text[3..end])
    } else {
        let whole = &text[..text.len() - after_first.len()];
        (whole, &whole[2..])
    };
    let mut name = check_utf8(name)?;
    if let Some(rest) = name.strip_prefix('^') {
        negated = !negated;
        name = rest;
    }
    let Some(mut class) = unicode::named(name, fold, names) else {
        return Err(Error::new(ErrorKind::InvalidCharRange, whole));
    };
    if negated {
        class.negate();
    }
    Ok(Some((class, &text[whole.len()..])))
}

/// `[:alpha:]` at the start of `text`, and what follows; `None` where nothing closes it.
fn posix(text: &[u8], fold: bool) -> Result<Option<(ClassUnicode, &[u8])>, Error> {
    let Some(end) = text[2..].windows(2).position(|w| w == b":]") else {
        return Ok(None);
    };
    let (whole, rest) = text.split_at(end + 4);
    let name = &whole[2..end + 2];
    let (name, negated) = name.strip_prefix(b"^").map_or((name, false), |n| (n, true));
    match POSIX.iter().find(|(known, _)| *known == name) {
        Some((_, ranges)) => Ok(Some((ascii_class(ranges, negated, fold), rest))),
        None => Err(Error::new(ErrorKind::InvalidCharRange, whole)),
    }
}

fn check_utf8(bytes: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(bytes).map_err(|e| Error::new(ErrorKind::InvalidUtf8, &bytes[e.valid_up_to()..]))
}

/// A class in brackets at the start of `text`, and what follows.
pub(super) fn bracketed(text: &[u8], fold: bool, names: ClassNames) -> Result<(ClassUnicode, &[u8]), Error> {
    let mut rest = &text[1..];
    let negated = rest.first() == Some(&b'^');
    if negated {
        rest = &rest[1..];
    }
    let mut named = ClassUnicode::empty();
    let mut ranges = Vec::new();
    let mut first = true; // a `]` that comes first is itself
    while first || rest.first() != Some(&b']') {
        first = false;
        let posix_class = if rest.len() > 2 && rest.starts_with(b"[:") { posix(rest, fold)? } else { None };
        let found = match posix_class {
            Some(found) => Some(found),
            None => unicode(rest, fold, names)?.or_else(|| perl(rest, fold)),
        };
        if let Some((class, after)) = found {
            named.union(&class);
            rest = after;
            continue;
        }
        let start = rest;
        let (lo, after) = member(rest, text)?;
        let mut hi = lo;
        rest = after;
        if let [b'-', next, ..] = rest
            && *next != b']'
        {
            (hi, rest) = member(&rest[1..], text)?;
            if hi < lo {
                return Err(Error::new(ErrorKind::InvalidCharRange, &start[..start.len() - rest.len()]));
            }
        }
        ranges.extend(range(lo, hi));
    }
    let mut class = ClassUnicode::new(ranges);
    if fold {
        unicode::add_folds(&mut class);
    }
    class.union(&named);
    if negated {
        class.negate();
    }
    Ok((class, &rest[1..]))
}

/// One code point of a class, escaped or not.
fn member<'p>(text: &'p [u8], class: &[u8]) -> Result<(u32, &'p [u8]), Error> {
    match text.first() {
        None => Err(Error::new(ErrorKind::MissingBracket, class)),
        Some(b'\\') => escape(text),
        Some(_) => take_char(text).map(|(c, rest)| (u32::from(c), rest)),
    }
}
