//! Texts in quotes. Only their escapes are checked here; the parser takes the values.

use super::{Lexer, Rune, State};
use crate::quote;
use crate::token::Kind;

impl Lexer<'_> {
    pub(super) fn string(&mut self) -> State {
        loop {
            match self.next() {
                Rune::Char('\\') => return State::Escape,
                // U+FFFD that is written out is refused too: Go cannot tell it from a bad byte.
                Rune::Bad | Rune::Char(char::REPLACEMENT_CHARACTER) => {
                    return self.fail("invalid UTF-8 rune".to_owned());
                }
                Rune::Eof | Rune::Char('\n') => return self.fail("unterminated quoted string".to_owned()),
                Rune::Char(c) if c == self.string_open => return self.emit(Kind::String, State::Statements),
                Rune::Char(_) => {}
            }
        }
    }

    pub(super) fn raw_string(&mut self) -> State {
        loop {
            match self.next() {
                Rune::Bad | Rune::Char(char::REPLACEMENT_CHARACTER) => {
                    return self.fail("invalid UTF-8 rune".to_owned());
                }
                Rune::Eof => return self.fail("unterminated raw string".to_owned()),
                Rune::Char(c) if c == self.string_open => return self.emit(Kind::String, State::Statements),
                Rune::Char(_) => {}
            }
        }
    }

    /// An escape in a text; the backslash was read.
    pub(super) fn escape(&mut self) -> State {
        let first = self.next();
        let (count, base, max, mut rune) = match first {
            Rune::Char('a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\') => return State::Str,
            Rune::Char(c) if c == self.string_open => return State::Str,
            Rune::Char('0'..='7') => (3, 8, 255, first),
            Rune::Char('x') => (2, 16, 255, self.next()),
            Rune::Char('u') => (4, 16, u32::from(char::MAX), self.next()),
            Rune::Char('U') => (8, 16, u32::from(char::MAX), self.next()),
            Rune::Eof => return self.fail("escape sequence not terminated".to_owned()),
            Rune::Char(_) | Rune::Bad => {
                return self.fail(format!("unknown escape sequence {}", quote::unicode(first.char())));
            }
        };
        let mut value: u32 = 0;
        for i in 0..count {
            if i > 0 {
                rune = self.next();
            }
            let Some(digit) = rune.char().and_then(|c| c.to_digit(base)) else {
                return match rune {
                    Rune::Eof => self.fail("escape sequence not terminated".to_owned()),
                    _ => self.fail(format!("illegal character {} in escape sequence", quote::unicode(rune.char()))),
                };
            };
            value = value.wrapping_mul(base).wrapping_add(digit);
        }
        if value > max || (0xd800..0xe000).contains(&value) {
            return self.fail("escape sequence is an invalid Unicode code point".to_owned());
        }
        State::Str
    }
}
