//! Names that are not plain, written for readers that take only plain ones. Source: `model/metric.go` of prometheus/common.

use std::borrow::Cow;
use std::fmt::Write;

/// How names are written that are not `[a-zA-Z_:][a-zA-Z0-9_:]*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Escaping {
    /// As they are, in quotes.
    AllowUtf8,
    /// `_` for each character that may not stand there.
    Underscores,
    /// `_dot_` for a dot, `__` for an underscore and for each other character that may not stand there.
    Dots,
    /// `U__` in front, `_HEX_` for a character, `__` for an underscore.
    Values,
}

impl Escaping {
    /// The word in headers and in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Escaping::AllowUtf8 => "allow-utf-8",
            Escaping::Underscores => "underscores",
            Escaping::Dots => "dots",
            Escaping::Values => "values",
        }
    }

    /// The scheme with this word.
    pub fn from_word(word: &str) -> Option<Escaping> {
        [Escaping::AllowUtf8, Escaping::Underscores, Escaping::Dots, Escaping::Values]
            .into_iter()
            .find(|e| e.as_str() == word)
    }
}

/// Writes `name` in a scheme.
pub fn escape_name(name: &str, escaping: Escaping) -> Cow<'_, str> {
    let plain = model::is_legacy_metric_name(name);
    let as_it_is = match escaping {
        Escaping::AllowUtf8 => true,
        Escaping::Underscores | Escaping::Values => plain || name.is_empty(),
        Escaping::Dots => name.is_empty(),
    };
    if as_it_is {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len() + 8);
    if escaping == Escaping::Values {
        out.push_str("U__");
    }
    for (at, c) in name.char_indices() {
        let fits = c.is_ascii_alphabetic() || c == '_' || c == ':' || (c.is_ascii_digit() && at > 0);
        match escaping {
            Escaping::Underscores | Escaping::AllowUtf8 => out.push(if fits { c } else { '_' }),
            Escaping::Dots if c == '.' => out.push_str("_dot_"),
            Escaping::Dots | Escaping::Values if c == '_' => out.push_str("__"),
            Escaping::Dots | Escaping::Values if fits => out.push(c),
            Escaping::Dots => out.push_str("__"),
            Escaping::Values => write!(out, "_{:x}_", u32::from(c)).expect("a String takes every write"),
        }
    }
    Cow::Owned(out)
}
