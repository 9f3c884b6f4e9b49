//! Prints values as `yaml.v2` prints them, whose emitter is libyaml's: block style, sequences not indented below their
//! key, lines of long texts broken after column 80, quotes only where the text would mean something else.

mod analysis;

use std::collections::BTreeMap;

use analysis::{Analysis, is_break, is_printable, means_a_string};

use super::decode::{Bytes, Int64, Uint64};
use super::key_order;
use super::scalar;
use crate::go;

/// A value to print.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Out {
    /// A number, a boolean or null.
    Plain(String),
    Str(String),
    /// Bytes that are no UTF-8.
    Binary(Vec<u8>),
    Seq(Vec<Out>),
    /// A sequence in `[a, b]` form.
    FlowSeq(Vec<Out>),
    Map(Vec<(String, Out)>),
}

impl Out {
    pub(crate) const NULL: &str = "null";

    pub(crate) fn null() -> Out {
        Out::Plain(Out::NULL.to_owned())
    }

    /// The whole document.
    pub(crate) fn print(&self) -> String {
        let mut emitter =
            Emitter { out: String::new(), column: 0, indent: None, whitespace: true, indention: true, flow_level: 0 };
        emitter.node(self, Place { mapping: false, simple_key: false });
        emitter.write_indent();
        emitter.out
    }
}

/// Something that can be printed.
pub(crate) trait Encode {
    /// Whether Go's `omitempty` leaves it out.
    fn is_zero(&self) -> bool;
    fn encode(&self) -> Out;
}

impl Encode for String {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }
    fn encode(&self) -> Out {
        Out::Str(self.clone())
    }
}

impl Encode for Bytes {
    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }
    fn encode(&self) -> Out {
        match String::from_utf8(self.0.clone()) {
            Ok(text) => Out::Str(text),
            Err(e) => Out::Binary(e.into_bytes()),
        }
    }
}

macro_rules! encode_plain {
    ($($type:ty),*) => {$(
        impl Encode for $type {
            fn is_zero(&self) -> bool {
                *self == <$type>::default()
            }
            fn encode(&self) -> Out {
                Out::Plain(self.to_string())
            }
        }
    )*};
}
encode_plain!(bool, i64, u64);

macro_rules! encode_renamed {
    ($($type:ty),*) => {$(
        impl Encode for $type {
            fn is_zero(&self) -> bool {
                self.0 == 0
            }
            fn encode(&self) -> Out {
                self.0.encode()
            }
        }
    )*};
}
encode_renamed!(Int64, Uint64);

impl Encode for f64 {
    fn is_zero(&self) -> bool {
        *self == 0.0
    }
    fn encode(&self) -> Out {
        Out::Plain(match go::float(*self, 6).as_str() {
            "+Inf" => ".inf".to_owned(),
            "-Inf" => "-.inf".to_owned(),
            "NaN" => ".nan".to_owned(),
            text => text.to_owned(),
        })
    }
}

impl<T: Encode> Encode for Option<T> {
    fn is_zero(&self) -> bool {
        self.is_none()
    }
    fn encode(&self) -> Out {
        self.as_ref().map_or_else(Out::null, Encode::encode)
    }
}

impl<T: Encode> Encode for Vec<T> {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }
    fn encode(&self) -> Out {
        Out::Seq(self.iter().map(Encode::encode).collect())
    }
}

impl<T: Encode> Encode for BTreeMap<String, T> {
    fn is_zero(&self) -> bool {
        self.is_empty()
    }
    fn encode(&self) -> Out {
        sorted_map(self.iter().map(|(k, v)| (k.clone(), v.encode())).collect())
    }
}

/// A map in the order in which Go's library prints keys.
pub(crate) fn sorted_map(mut entries: Vec<(String, Out)>) -> Out {
    entries.sort_by(|(a, _), (b, _)| key_order::compare(a, b));
    Out::Map(entries)
}

/// Preferred line width.
const WIDTH: usize = 80;
const INDENT: usize = 2;
/// Longer keys are printed behind a `?`.
const SIMPLE_KEY_BYTES_MAX: usize = 128;

/// Where a node stands.
#[derive(Clone, Copy)]
struct Place {
    mapping: bool,
    simple_key: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

struct Emitter {
    out: String,
    column: usize,
    /// The current indentation; none outside of everything.
    indent: Option<usize>,
    /// The last character was white space.
    whitespace: bool,
    /// The line so far is only indentation (and `-`, `?`).
    indention: bool,
    flow_level: usize,
}

impl Emitter {
    fn node(&mut self, node: &Out, place: Place) {
        match node {
            Out::Plain(text) => self.scalar(text, None, Style::Plain, place),
            Out::Str(text) => {
                let style = match text {
                    text if text.contains('\n') => Style::Literal,
                    text if means_a_string(text) => Style::Plain,
                    _ => Style::Double,
                };
                self.scalar(text, None, style, place);
            }
            Out::Binary(bytes) => {
                let text = scalar::encode_base64(bytes);
                let style = if text.contains('\n') { Style::Literal } else { Style::Plain };
                self.scalar(&text, Some("!!binary"), style, place);
            }
            Out::Seq(items) if items.is_empty() || self.flow_level > 0 => self.flow_sequence(items),
            Out::FlowSeq(items) => self.flow_sequence(items),
            Out::Seq(items) => self.block_sequence(items, place),
            Out::Map(entries) if entries.is_empty() || self.flow_level > 0 => self.flow_mapping(entries),
            Out::Map(entries) => self.block_mapping(entries),
        }
    }

    fn block_sequence(&mut self, items: &[Out], place: Place) {
        let outer = self.indent;
        let same_indent = place.mapping && !self.indention;
        self.increase_indent(false, same_indent);
        for item in items {
            self.write_indent();
            self.indicator("-", true, false, true);
            self.node(item, Place { mapping: false, simple_key: false });
        }
        self.indent = outer;
    }

    fn block_mapping(&mut self, entries: &[(String, Out)]) {
        let outer = self.indent;
        self.increase_indent(false, false);
        for (key, value) in entries {
            self.write_indent();
            let key_node = Out::Str(key.clone());
            if key.len() <= SIMPLE_KEY_BYTES_MAX && !key.contains(is_break) {
                self.node(&key_node, Place { mapping: true, simple_key: true });
                self.indicator(":", false, false, false);
            } else {
                self.indicator("?", true, false, true);
                self.node(&key_node, Place { mapping: true, simple_key: false });
                self.write_indent();
                self.indicator(":", true, false, true);
            }
            self.node(value, Place { mapping: true, simple_key: false });
        }
        self.indent = outer;
    }

    fn flow_sequence(&mut self, items: &[Out]) {
        let outer = self.indent;
        self.indicator("[", true, true, false);
        self.increase_indent(true, false);
        self.flow_level += 1;
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.indicator(",", false, false, false);
            }
            if self.column > WIDTH {
                self.write_indent();
            }
            self.node(item, Place { mapping: false, simple_key: false });
        }
        self.flow_level -= 1;
        self.indent = outer;
        self.indicator("]", false, false, false);
    }

    fn flow_mapping(&mut self, entries: &[(String, Out)]) {
        let outer = self.indent;
        self.indicator("{", true, true, false);
        self.increase_indent(true, false);
        self.flow_level += 1;
        for (i, (key, value)) in entries.iter().enumerate() {
            if i > 0 {
                self.indicator(",", false, false, false);
            }
            if self.column > WIDTH {
                self.write_indent();
            }
            self.node(&Out::Str(key.clone()), Place { mapping: true, simple_key: true });
            self.indicator(":", false, false, false);
            self.node(value, Place { mapping: true, simple_key: false });
        }
        self.flow_level -= 1;
        self.indent = outer;
        self.indicator("}", false, false, false);
    }

    fn scalar(&mut self, text: &str, tag: Option<&str>, wanted: Style, place: Place) {
        let style = self.style(text, wanted, place);
        if let Some(tag) = tag {
            self.indicator(tag, true, false, false);
        }
        let outer = self.indent;
        self.increase_indent(true, false);
        let may_break = !place.simple_key;
        match style {
            Style::Plain => self.plain(text, may_break),
            Style::Single => self.single_quoted(text, may_break),
            Style::Double => self.double_quoted(text, may_break),
            Style::Literal => self.literal(text),
        }
        self.indent = outer;
    }

    fn style(&self, text: &str, wanted: Style, place: Place) -> Style {
        let can = Analysis::of(text);
        let mut style = wanted;
        if place.simple_key && can.multiline {
            style = Style::Double;
        }
        if style == Style::Plain {
            let allowed = if self.flow_level > 0 { can.flow_plain } else { can.block_plain };
            let empty_here = text.is_empty() && (self.flow_level > 0 || place.simple_key);
            if !allowed || empty_here {
                style = Style::Single;
            }
        }
        if style == Style::Single && !can.single_quoted {
            style = Style::Double;
        }
        if style == Style::Literal && (!can.literal || self.flow_level > 0 || place.simple_key) {
            style = Style::Double;
        }
        style
    }

    fn plain(&mut self, text: &str, may_break: bool) {
        if !self.whitespace {
            self.put(' ');
        }
        let mut spaces = false;
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            if c == ' ' {
                if may_break && !spaces && self.column > WIDTH && chars.peek() != Some(&' ') {
                    self.write_indent();
                } else {
                    self.put(' ');
                }
                spaces = true;
            } else {
                // Line breaks never get here: they rule the plain style out.
                self.put(c);
                self.indention = false;
                spaces = false;
            }
        }
        self.whitespace = false;
        self.indention = false;
    }

    fn single_quoted(&mut self, text: &str, may_break: bool) {
        self.indicator("'", true, false, false);
        let (mut spaces, mut breaks) = (false, false);
        let mut chars = text.char_indices().peekable();
        while let Some((i, c)) = chars.next() {
            let next = chars.peek().map(|(_, c)| *c);
            if c == ' ' {
                if may_break && !spaces && self.column > WIDTH && i > 0 && next.is_some_and(|n| n != ' ') {
                    self.write_indent();
                } else {
                    self.put(' ');
                }
                spaces = true;
            } else if is_break(c) {
                if !breaks && c == '\n' {
                    self.put_break('\n');
                }
                self.put_break(c);
                self.indention = true;
                breaks = true;
            } else {
                if breaks {
                    self.write_indent();
                }
                if c == '\'' {
                    self.put('\'');
                }
                self.put(c);
                self.indention = false;
                (spaces, breaks) = (false, false);
            }
        }
        self.indicator("'", false, false, false);
        self.whitespace = false;
        self.indention = false;
    }

    fn double_quoted(&mut self, text: &str, may_break: bool) {
        self.indicator("\"", true, false, false);
        let mut spaces = false;
        let mut chars = text.char_indices().peekable();
        while let Some((i, c)) = chars.next() {
            let next = chars.peek().map(|(_, c)| *c);
            if !is_printable(c) || is_break(c) || c == '"' || c == '\\' {
                self.escape(c);
                spaces = false;
            } else if c == ' ' {
                if may_break && !spaces && self.column > WIDTH && i > 0 && next.is_some() {
                    self.write_indent();
                    if next == Some(' ') {
                        self.put('\\');
                    }
                } else {
                    self.put(' ');
                }
                spaces = true;
            } else {
                self.put(c);
                spaces = false;
            }
        }
        self.indicator("\"", false, false, false);
        self.whitespace = false;
        self.indention = false;
    }

    fn escape(&mut self, c: char) {
        let code = u32::from(c);
        let escaped = match c {
            '\0' => "\\0".to_owned(),
            '\u{7}' => "\\a".to_owned(),
            '\u{8}' => "\\b".to_owned(),
            '\t' => "\\t".to_owned(),
            '\n' => "\\n".to_owned(),
            '\u{b}' => "\\v".to_owned(),
            '\u{c}' => "\\f".to_owned(),
            '\r' => "\\r".to_owned(),
            '\u{1b}' => "\\e".to_owned(),
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            '\u{85}' => "\\N".to_owned(),
            '\u{a0}' => "\\_".to_owned(),
            '\u{2028}' => "\\L".to_owned(),
            '\u{2029}' => "\\P".to_owned(),
            _ if code <= 0xff => format!("\\x{code:02X}"),
            _ if code <= 0xffff => format!("\\u{code:04X}"),
            _ => format!("\\U{code:08X}"),
        };
        escaped.chars().for_each(|c| self.put(c));
    }

    fn literal(&mut self, text: &str) {
        self.indicator("|", true, false, false);
        if text.starts_with(|c| c == ' ' || is_break(c)) {
            self.indicator(&INDENT.to_string(), false, false, false);
        }
        let mut from_the_end = text.chars().rev();
        match (from_the_end.next(), from_the_end.next()) {
            (Some(last), _) if !is_break(last) => self.indicator("-", false, false, false),
            (Some(_), None) => self.indicator("+", false, false, false),
            (Some(_), Some(c)) if is_break(c) => self.indicator("+", false, false, false),
            _ => {}
        }
        self.put_break('\n');
        self.indention = true;
        self.whitespace = true;
        let mut breaks = true;
        for c in text.chars() {
            if is_break(c) {
                self.put_break(c);
                self.indention = true;
                breaks = true;
            } else {
                if breaks {
                    self.write_indent();
                }
                self.put(c);
                self.indention = false;
                breaks = false;
            }
        }
    }

    fn increase_indent(&mut self, flow: bool, same: bool) {
        self.indent = Some(match self.indent {
            None if flow => INDENT,
            None => 0,
            Some(indent) if same => indent,
            Some(indent) => indent + INDENT,
        });
    }

    fn write_indent(&mut self) {
        let indent = self.indent.unwrap_or(0);
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.put_break('\n');
        }
        while self.column < indent {
            self.put(' ');
        }
        self.whitespace = true;
        self.indention = true;
    }

    fn indicator(&mut self, text: &str, need_whitespace: bool, is_whitespace: bool, is_indention: bool) {
        if need_whitespace && !self.whitespace {
            self.put(' ');
        }
        text.chars().for_each(|c| self.put(c));
        self.whitespace = is_whitespace;
        self.indention = self.indention && is_indention;
    }

    fn put(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
    }

    fn put_break(&mut self, c: char) {
        self.out.push(c);
        self.column = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(s: &str) -> Out {
        Out::Str(s.to_owned())
    }

    #[test]
    fn texts_are_quoted_only_where_they_must_be() {
        for (value, printed) in [
            ("abc", "abc"),
            ("", "\"\""),
            ("true", "\"true\""),
            ("1.5", "\"1.5\""),
            ("~", "\"~\""),
            ("12:30", "\"12:30\""),
            ("2024-01-02", "\"2024-01-02\""),
            (";", ";"),
            ("a: b", "'a: b'"),
            ("{{ $x }}", "'{{ $x }}'"),
            ("a #b", "'a #b'"),
            ("it's: ", "'it''s: '"),
            ("tab\there", "\"tab\\there\""),
            ("a\nb", "|-\n  a\n  b"),
            ("a\nb\n", "|\n  a\n  b"),
            ("\u{1f600}", "\"\\U0001F600\""),
            ("<<", "\"<<\""),
        ] {
            let map = Out::Map(vec![("k".to_owned(), text(value))]);
            assert_eq!(map.print(), format!("k: {printed}\n"), "{value:?}");
        }
    }

    #[test]
    fn collections_nest_as_libyaml_does() {
        let inner = Out::Map(vec![("b".to_owned(), Out::Seq(vec![text("x"), Out::Seq(vec![text("z")])]))]);
        let out = Out::Map(vec![
            ("a".to_owned(), Out::Seq(vec![inner, Out::Map(Vec::new()), Out::Seq(Vec::new())])),
            ("f".to_owned(), Out::FlowSeq(vec![text("p"), text("q,r")])),
        ]);
        assert_eq!(out.print(), "a:\n- b:\n  - x\n  - - z\n- {}\n- []\nf: [p, 'q,r']\n");
        assert_eq!(Out::Map(Vec::new()).print(), "{}\n");
    }
}
