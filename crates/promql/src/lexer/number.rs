//! Numbers and durations. What is scanned here need not be valid: the parser finds out when it takes the value.

use super::{Language, Lexer, Rune, State};
use crate::quote;
use crate::token::Kind;

const DECIMAL: &[u8] = b"0123456789";
const HEXADECIMAL: &[u8] = b"0123456789abcdefABCDEF";

impl Lexer<'_> {
    pub(super) fn number(&mut self) -> State {
        if self.scan_number() {
            return self.emit(Kind::Number, State::Statements);
        }
        self.fail(format!("bad number syntax: {}", quote::quoted(self.word())))
    }

    pub(super) fn number_or_duration(&mut self) -> State {
        if self.scan_number() {
            return self.emit(Kind::Number, State::Statements);
        }
        if self.accept_remaining_duration() {
            self.backup();
            return self.emit(Kind::Duration, State::Statements);
        }
        self.fail(format!("bad number or duration syntax: {}", quote::quoted(self.word())))
    }

    /// The number in front was read. Reads one rune too many where it succeeds.
    fn accept_remaining_duration(&mut self) -> bool {
        if !self.accept(b"smhdwy") {
            return false;
        }
        // For `ms`; a unit like `hs` is found when the value is taken.
        self.accept(b"s");
        while self.accept(DECIMAL) {
            self.accept_run(DECIMAL);
            // Years can only come first.
            if !self.accept(b"smhdw") {
                return false;
            }
            self.accept(b"s");
        }
        !self.next().is_alphanumeric()
    }

    fn scan_number(&mut self) -> bool {
        let first = self.pos;
        let mut digits = DECIMAL;
        // Hexadecimal is ambiguous in series descriptions: `0x4` are four zeros.
        if self.language == Language::Expressions && self.accept(b"0") && self.accept(b"xX") {
            self.accept(b"_");
            digits = HEXADECIMAL;
        }
        self.accept(b".");
        self.accept(digits);
        if !self.scan_digits(digits) {
            return false;
        }
        if self.pos == first {
            return false;
        }
        let next = self.peek();
        (self.language == Language::Series && next == Rune::Char('x')) || !next.is_alphanumeric()
    }

    /// Digits, and one dot and one exponent among them.
    fn scan_digits(&mut self, digits: &[u8]) -> bool {
        let (mut dot, mut exponent) = (false, false);
        loop {
            let next = self.peek();
            if next.is(digits) && !(next.is(b"eE")) {
                self.accept_run(digits);
            } else if next.is(b".") {
                self.accept(b".");
                // No second dot, nothing odd behind it, no fractions in hexadecimal.
                if dot || self.accept(b"_.") || digits.len() > DECIMAL.len() {
                    return false;
                }
                dot = true;
            } else if next.is(b"eE") {
                self.accept(b"eE");
                if exponent {
                    return false;
                }
                exponent = true;
                self.accept(b"+-");
                if self.accept(b"._eE") || self.peek() == Rune::Eof {
                    return false;
                }
            } else if next.is(b"_") {
                self.accept(b"_");
                if self.accept(b"._eE") || self.peek() == Rune::Eof {
                    return false;
                }
            } else {
                return true;
            }
        }
    }
}
