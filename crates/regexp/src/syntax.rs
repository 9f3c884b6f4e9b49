//! Go's `regexp/syntax` with the flags `Perl`: text to `Hir`. It accepts what Go accepts, refuses what Go refuses, and says so
//! in Go's words. It builds no automaton.
//!
//! Go 1.26 and the copy of an older parser with which Prometheus reads matchers differ in the names of classes alone. Surrogates may be named in a pattern and match nothing.

mod class;
mod escape;
mod item;

use regex_syntax::hir::{Capture, Class, ClassUnicode, ClassUnicodeRange, Hir, Look};

use crate::error::{Error, ErrorKind};
use crate::unicode::{self, ClassNames};
use escape::{escape, take_char};
use item::Item;

/// Levels of an expression; Go's `maxHeight`.
const HEIGHT_MAX: u32 = 1000;

/// Instructions of a program; Go's `maxSize`.
const SIZE_MAX: u64 = (128 << 20) / 40;

/// Ranges of all classes in one pattern: protects memory from thousands of `\pL`, 8 bytes a range. Go has 16 Mi.
const CLASS_RANGES_MAX: usize = 1 << 20;

/// Parts of groups moved into the expression around them: protects time from groups within groups, which Go would take
/// square time for.
const MOVES_MAX: usize = 1 << 24;

/// What `(?imsU)` switches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    /// `i`
    pub(crate) fold: bool,
    /// `m`
    pub(crate) multi_line: bool,
    /// `s`
    pub(crate) dot_all: bool,
    /// `U`
    pub(crate) lazy: bool,
}

/// A pattern understood.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// The expression; its groups have no names, since Go allows one name twice.
    pub(crate) hir: Hir,
    /// Names of the groups by index; group 0, the whole, has none.
    pub(crate) names: Vec<Option<Box<str>>>,
    /// Whether `^(?s:` and `)$` around it make one level too many.
    pub(crate) too_deep_to_enclose: bool,
}

/// An open parenthesis, or the outermost level.
struct Frame {
    /// Flags that hold again after the closing parenthesis.
    flags: Flags,
    /// Number of the group where it captures.
    capture: Option<u32>,
    /// Finished alternatives.
    branches: Vec<Item>,
    /// The alternative at hand. Text is collected in the last but one: an operator takes only the last character.
    items: Vec<Item>,
}

impl Frame {
    fn new(flags: Flags, capture: Option<u32>) -> Frame {
        Frame { flags, capture, branches: Vec::new(), items: Vec::new() }
    }

    fn merge_text(&mut self) {
        if let Some(last) = self.items.pop() {
            let apart = match self.items.last_mut() {
                Some(before) => before.append(last),
                None => Err(last),
            };
            self.items.extend(apart.err());
        }
    }

    fn close_branch(&mut self) {
        self.merge_text();
        self.branches.push(Item::concat(std::mem::take(&mut self.items)));
    }
}

/// A repetition operator as written and what follows it.
struct Operator<'p> {
    min: u32,
    max: Option<u32>,
    counted: bool,
    start: &'p [u8],
    after: &'p [u8],
}

struct Parser<'p> {
    whole: &'p [u8],
    flags: Flags,
    class_names: ClassNames,
    /// Never empty; the first is the outermost level.
    frames: Vec<Frame>,
    names: Vec<Option<Box<str>>>,
    class_ranges: usize,
    moves: usize,
}

/// Parses `pattern`.
pub(crate) fn parse(pattern: &[u8], flags: Flags, class_names: ClassNames) -> Result<Parsed, Error> {
    let frames = vec![Frame::new(flags, None)];
    let mut parser =
        Parser { whole: pattern, flags, class_names, frames, names: vec![None], class_ranges: 0, moves: 0 };
    parser.run()?;
    let mut outermost = parser.frames.pop().expect("the outermost level is never popped before");
    if !parser.frames.is_empty() {
        return Err(Error::new(ErrorKind::MissingParen, pattern));
    }
    outermost.close_branch();
    let item = Item::alternate(outermost.branches);
    check_limits(&item, pattern)?;
    let too_deep_to_enclose = item.height_enclosed() > HEIGHT_MAX;
    Ok(Parsed { hir: item.into_hir(), names: parser.names, too_deep_to_enclose })
}

fn check_limits(item: &Item, whole: &[u8]) -> Result<(), Error> {
    if item.size > SIZE_MAX {
        return Err(Error::new(ErrorKind::TooLarge, whole));
    }
    if item.height > HEIGHT_MAX {
        return Err(Error::new(ErrorKind::NestingDepth, whole));
    }
    Ok(())
}

impl<'p> Parser<'p> {
    fn run(&mut self) -> Result<(), Error> {
        let mut rest = self.whole;
        // The operator just read, which no other may follow.
        let mut last_operator: Option<&[u8]> = None;
        while let Some(&byte) = rest.first() {
            let mut operator = None;
            rest = match byte {
                b'(' => self.open(rest)?,
                b')' => {
                    self.close()?;
                    &rest[1..]
                }
                b'|' => {
                    self.frame().close_branch();
                    &rest[1..]
                }
                b'^' => self.look(if self.flags.multi_line { Look::StartLF } else { Look::Start }, &rest[1..])?,
                b'$' => self.look(if self.flags.multi_line { Look::EndLF } else { Look::End }, &rest[1..])?,
                b'.' => {
                    self.push_class(if self.flags.dot_all { unicode::any() } else { not_newline() })?;
                    &rest[1..]
                }
                b'[' => {
                    let (class, after) = class::bracketed(rest, self.flags.fold, self.class_names)?;
                    self.push_class(class)?;
                    after
                }
                b'\\' => self.backslash(rest)?,
                b'*' | b'+' | b'?' | b'{' => match operator_at(rest)? {
                    Some(op) => {
                        operator = Some(rest);
                        self.repeat(op, last_operator)?
                    }
                    None => self.literal(rest)?,
                },
                _ => self.literal(rest)?,
            };
            last_operator = operator;
        }
        Ok(())
    }

    fn frame(&mut self) -> &mut Frame {
        self.frames.last_mut().expect("the outermost level is popped only at the end")
    }

    fn push(&mut self, item: Item) -> Result<(), Error> {
        check_limits(&item, self.whole)?;
        let frame = self.frame();
        frame.merge_text();
        frame.items.push(item);
        Ok(())
    }

    fn push_char(&mut self, c: char) -> Result<(), Error> {
        self.push(Item::text(c, self.flags.fold))
    }

    fn push_class(&mut self, class: ClassUnicode) -> Result<(), Error> {
        if let [only] = class.ranges()
            && only.start() == only.end()
        {
            return self.push(Item::text(only.start(), false));
        }
        self.class_ranges += class.ranges().len();
        if self.class_ranges > CLASS_RANGES_MAX {
            return Err(Error::new(ErrorKind::TooLarge, self.whole));
        }
        self.push(Item::leaf(Hir::class(Class::Unicode(class))))
    }

    fn look(&mut self, look: Look, rest: &'p [u8]) -> Result<&'p [u8], Error> {
        self.push(Item::leaf(Hir::look(look)))?;
        Ok(rest)
    }

    fn literal(&mut self, rest: &'p [u8]) -> Result<&'p [u8], Error> {
        let (c, rest) = take_char(rest)?;
        self.push_char(c)?;
        Ok(rest)
    }

    fn backslash(&mut self, text: &'p [u8]) -> Result<&'p [u8], Error> {
        match text.get(1) {
            Some(b'A') => return self.look(Look::Start, &text[2..]),
            Some(b'z') => return self.look(Look::End, &text[2..]),
            Some(b'b') => return self.look(Look::WordAscii, &text[2..]),
            Some(b'B') => return self.look(Look::WordAsciiNegate, &text[2..]),
            Some(b'Q') => return self.quoted(&text[2..]),
            _ => {}
        }
        let fold = self.flags.fold;
        if let Some((class, rest)) = class::unicode(text, fold, self.class_names)?.or_else(|| class::perl(text, fold)) {
            self.push_class(class)?;
            return Ok(rest);
        }
        let (code, rest) = escape(text)?;
        match char::from_u32(code) {
            Some(c) => self.push_char(c)?,
            None => self.push(Item::leaf(Hir::fail()))?, // a surrogate, which no text has
        }
        Ok(rest)
    }

    /// `\Q...\E`; without the end, to the end of the pattern.
    fn quoted(&mut self, text: &'p [u8]) -> Result<&'p [u8], Error> {
        let end = text.windows(2).position(|w| w == b"\\E");
        let (mut quoted, rest) = end.map_or((text, &text[text.len()..]), |end| (&text[..end], &text[end + 2..]));
        while !quoted.is_empty() {
            quoted = self.literal(quoted)?;
        }
        Ok(rest)
    }

    fn open(&mut self, text: &'p [u8]) -> Result<&'p [u8], Error> {
        if text.get(1) != Some(&b'?') {
            self.open_capture(None);
            return Ok(&text[1..]);
        }
        let name_start = match text {
            [_, _, b'<', _, ..] => 3,
            [_, _, b'P', b'<', _, ..] => 4,
            _ => return self.open_flags(text),
        };
        let Some(end) = text.iter().position(|&b| b == b'>') else {
            let shown = std::str::from_utf8(text).map_or_else(
                |e| Error::new(ErrorKind::InvalidUtf8, &text[e.valid_up_to()..]),
                |_| Error::new(ErrorKind::InvalidNamedCapture, text),
            );
            return Err(shown);
        };
        let name = &text[name_start..end];
        let name =
            std::str::from_utf8(name).map_err(|e| Error::new(ErrorKind::InvalidUtf8, &name[e.valid_up_to()..]))?;
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(Error::new(ErrorKind::InvalidNamedCapture, &text[..=end]));
        }
        self.open_capture(Some(name.into()));
        Ok(&text[end + 1..])
    }

    fn open_capture(&mut self, name: Option<Box<str>>) {
        let index = u32::try_from(self.names.len()).expect("fewer groups than bytes, and Go's patterns fit in 4 GiB");
        self.names.push(name);
        self.frames.push(Frame::new(self.flags, Some(index)));
    }

    /// `(?i)`, `(?i-s:`, `(?:`.
    fn open_flags(&mut self, text: &'p [u8]) -> Result<&'p [u8], Error> {
        let mut flags = self.flags;
        let mut on = true;
        let mut pending_minus = false; // `-` without a flag after it
        let mut rest = &text[2..];
        while !rest.is_empty() {
            let (c, after) = take_char(rest)?;
            rest = after;
            match c {
                'i' => flags.fold = on,
                'm' => flags.multi_line = on,
                's' => flags.dot_all = on,
                'U' => flags.lazy = on,
                '-' if on => {
                    on = false;
                    pending_minus = true;
                    continue;
                }
                ':' | ')' if !pending_minus => {
                    if c == ':' {
                        self.frames.push(Frame::new(self.flags, None));
                    }
                    self.flags = flags;
                    return Ok(rest);
                }
                _ => break,
            }
            pending_minus = false;
        }
        Err(Error::new(ErrorKind::InvalidPerlOp, &text[..text.len() - rest.len()]))
    }

    fn close(&mut self) -> Result<(), Error> {
        if self.frames.len() < 2 {
            return Err(Error::new(ErrorKind::UnexpectedParen, self.whole));
        }
        let mut frame = self.frames.pop().expect("there are two");
        frame.close_branch();
        let item = Item::alternate(frame.branches);
        check_limits(&item, self.whole)?;
        self.moves += item.parts();
        if self.moves > MOVES_MAX {
            return Err(Error::new(ErrorKind::TooLarge, self.whole));
        }
        self.flags = frame.flags;
        self.push(match frame.capture {
            Some(index) => item.capture(|sub| Hir::capture(Capture { index, name: None, sub: Box::new(sub) })),
            None => item,
        })
    }

    /// Applies `op` to the last item; returns what follows.
    fn repeat(&mut self, op: Operator<'p>, last_operator: Option<&[u8]>) -> Result<&'p [u8], Error> {
        let (lazy, after) = match op.after {
            [b'?', after @ ..] => (true, after),
            after => (false, after),
        };
        if let Some(last) = last_operator {
            return Err(Error::new(ErrorKind::InvalidRepeatOp, &last[..last.len() - after.len()]));
        }
        let shown = &op.start[..op.start.len() - after.len()];
        let greedy = lazy == self.flags.lazy;
        let Some(item) = self.frame().items.pop() else {
            return Err(Error::new(ErrorKind::MissingRepeatArgument, shown));
        };
        let item = item.repeat(op.min, op.max, greedy, op.counted);
        check_limits(&item, self.whole)?;
        if (op.min >= 2 || op.max.is_some_and(|max| max >= 2)) && !item.repeats_are_few() {
            return Err(Error::new(ErrorKind::InvalidRepeatSize, shown));
        }
        self.frame().items.push(item);
        Ok(after)
    }
}

fn not_newline() -> ClassUnicode {
    ClassUnicode::new([ClassUnicodeRange::new('\0', '\t'), ClassUnicodeRange::new('\x0b', char::MAX)])
}

/// The operator at the start of `text`; `None` where a `{` starts none and stands for itself.
fn operator_at(text: &[u8]) -> Result<Option<Operator<'_>>, Error> {
    let simple = |min, max| Some(Operator { min, max, counted: false, start: text, after: &text[1..] });
    match text[0] {
        b'*' => Ok(simple(0, None)),
        b'+' => Ok(simple(1, None)),
        b'?' => Ok(simple(0, Some(1))),
        _ => {
            let Some((min, max, after)) = braces(&text[1..]) else { return Ok(None) };
            let fits = min <= Count::MAX && max.is_none_or(|max| max <= Count::MAX && min <= max);
            if !fits {
                return Err(Error::new(ErrorKind::InvalidRepeatSize, &text[..text.len() - after.len()]));
            }
            Ok(Some(Operator { min, max, counted: true, start: text, after }))
        }
    }
}

/// A number in braces.
struct Count;

impl Count {
    /// The largest that Go takes.
    const MAX: u32 = 1000;

    /// Decimal digits without a leading zero; what is too large is `u32::MAX`.
    fn parse(text: &[u8]) -> Option<(u32, &[u8])> {
        let (digits, rest) = text.split_at(text.iter().take_while(|b| b.is_ascii_digit()).count());
        if digits.is_empty() || (digits.len() > 1 && digits[0] == b'0') {
            return None;
        }
        let n = digits.iter().fold(0_u32, |n, b| n.saturating_mul(10).saturating_add(u32::from(b - b'0')));
        Some((n, rest))
    }
}

/// `2}`, `2,}` or `2,3}`, and what follows.
fn braces(text: &[u8]) -> Option<(u32, Option<u32>, &[u8])> {
    let (min, rest) = Count::parse(text)?;
    let (max, rest) = match rest {
        [b',', b'}', ..] => (None, &rest[1..]),
        [b',', rest @ ..] => {
            let (max, rest) = Count::parse(rest)?;
            (Some(max), rest)
        }
        _ => (Some(min), rest),
    };
    Some((min, max, rest.strip_prefix(b"}")?))
}
