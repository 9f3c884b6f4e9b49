//! A place in a page, and the tokens that both formats have.
//!
//! The oddities are Prometheus': zero bytes are passed over in some places and end a token in others, and where a token is
//! refused, the place of the refusal is in the error's text.

use crate::error::Token;

/// The two text formats, as their lexers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Prometheus text: blanks between tokens; a page always ends with a line break, even where none is written.
    Text,
    /// OpenMetrics: one space where it says so, and none elsewhere.
    OpenMetrics,
}

/// What a quoted string may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QuoteRules {
    /// Whether a line break may stand in it.
    pub(crate) newline: bool,
    /// Whether zero bytes are passed over; else they end it as an error.
    pub(crate) zeros: bool,
}

/// A place in a page.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    pub(crate) bytes: &'a [u8],
    /// One past the last byte; in the text format this counts the line break that is not written.
    pub(crate) end: usize,
    /// Next byte.
    pub(crate) at: usize,
    /// Where the current token begins.
    pub(crate) token: usize,
}

const NAME_START: u8 = 1;
const NAME: u8 = 2;
const LABEL_START: u8 = 4;
const LABEL: u8 = 8;

/// For each byte, in which names it may stand.
static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0u8; 256];
    let mut b = 0;
    while b < 256 {
        let c = b as u8;
        if c.is_ascii_alphabetic() || c == b'_' {
            table[b] = NAME_START | NAME | LABEL_START | LABEL;
        } else if c.is_ascii_digit() {
            table[b] = NAME | LABEL;
        } else if c == b':' {
            table[b] = NAME_START | NAME;
        }
        b += 1;
    }
    table
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8], dialect: Dialect) -> Cursor<'a> {
        let end = bytes.len() + usize::from(dialect == Dialect::Text);
        Cursor { bytes, end, at: 0, token: 0 }
    }

    /// The byte at `at`; zero past the end, as the lexers have it.
    #[inline]
    pub(crate) fn byte(&self, at: usize) -> u8 {
        match self.bytes.get(at) {
            Some(b) => *b,
            None if at < self.end => b'\n',
            None => 0,
        }
    }

    #[inline]
    pub(crate) fn current(&self) -> u8 {
        self.byte(self.at)
    }

    /// Whether nothing is left.
    #[inline]
    pub(crate) fn is_at_end(&self) -> bool {
        self.at >= self.end
    }

    /// What is written between two places.
    pub(crate) fn slice(&self, from: usize, to: usize) -> &'a [u8] {
        let to = to.min(self.bytes.len());
        &self.bytes[from.min(to)..to]
    }

    /// The same with the line break that is not written, where it lies between.
    pub(crate) fn copy(&self, from: usize, to: usize) -> Box<[u8]> {
        let mut out = self.slice(from, to).to_vec();
        if to > self.bytes.len() && from < to {
            out.push(b'\n');
        }
        out.into()
    }

    /// The current token.
    pub(crate) fn text(&self) -> &'a [u8] {
        self.slice(self.token, self.at)
    }

    /// Goes on to the next byte.
    #[inline]
    pub(crate) fn step(&mut self) {
        self.at += 1;
    }

    /// Goes on to the next byte that is not zero; at the end, if there is none.
    #[inline]
    pub(crate) fn step_over_zeros(&mut self) {
        self.at += 1;
        while self.at < self.end && self.byte(self.at) == 0 {
            self.at += 1;
        }
    }

    pub(crate) fn skip_blanks(&mut self) {
        while matches!(self.current(), b' ' | b'\t') {
            self.at += 1;
        }
    }

    /// The same where zero bytes behind a blank are passed over.
    pub(crate) fn skip_blanks_and_zeros(&mut self) {
        while matches!(self.current(), b' ' | b'\t') {
            self.step_over_zeros();
        }
    }

    /// Takes bytes while they are of `class`.
    #[inline]
    fn take_class(&mut self, class: u8) {
        let rest = &self.bytes[self.at.min(self.bytes.len())..];
        self.at += rest.iter().take_while(|b| CLASSES[usize::from(**b)] & class != 0).count();
    }

    /// A metric name without quotes, if one begins here.
    pub(crate) fn take_name(&mut self) -> bool {
        let begins = CLASSES[usize::from(self.current())] & NAME_START != 0;
        if begins {
            self.take_class(NAME);
        }
        begins
    }

    /// A label name without quotes, if one begins here.
    fn take_label_name(&mut self) -> bool {
        let begins = CLASSES[usize::from(self.current())] & LABEL_START != 0;
        if begins {
            self.take_class(LABEL);
        }
        begins
    }

    /// Takes bytes up to the next one that `stops`, zero or the end.
    #[inline]
    pub(crate) fn take_until(&mut self, stops: impl Fn(u8) -> bool) {
        let rest = &self.bytes[self.at.min(self.bytes.len())..];
        self.at += rest.iter().take_while(|b| **b != 0 && !stops(**b)).count();
    }

    /// A quoted string, the quote being the current byte. `false` where it is refused; the place is then that of the refusal.
    pub(crate) fn take_quoted(&mut self, rules: QuoteRules) -> bool {
        let next = |c: &mut Cursor<'_>| if rules.zeros { c.step_over_zeros() } else { c.step() };
        loop {
            next(self);
            match self.current() {
                b'"' => {
                    // Prometheus passes over zero bytes behind the quote, too, and counts them in.
                    next(self);
                    return true;
                }
                b'\\' => {
                    next(self);
                    if matches!(self.current(), 0 | b'\n') {
                        return false;
                    }
                }
                0 => return false,
                b'\n' if !rules.newline => return false,
                _ => {}
            }
        }
    }

    /// Takes `word` after the current byte, passing over zero bytes; the current byte is its first. `false` leaves the place at
    /// the byte that does not fit.
    pub(crate) fn take_word(&mut self, word: &[u8]) -> bool {
        for b in word {
            if self.current() != *b {
                return false;
            }
            self.step_over_zeros();
        }
        true
    }

    /// A token between braces, no blanks before it.
    pub(crate) fn label_token(&mut self, quotes: QuoteRules) -> Token {
        if self.is_at_end() {
            return Token::Eof;
        }
        self.token = self.at;
        let single = match self.current() {
            b'"' => return if self.take_quoted(quotes) { Token::QuotedString } else { Token::Invalid },
            b',' => Token::Comma,
            b'=' => Token::Equal,
            b'}' => Token::BraceClose,
            _ => return if self.take_label_name() { Token::LabelName } else { Token::Invalid },
        };
        self.step();
        single
    }
}
