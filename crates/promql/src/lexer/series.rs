//! The part of the lexer that reads the values of a series description: `1+2x3 _ stale {{schema:1 sum:3}}`.

use super::{HistogramState, Lexer, Rune, State};
use crate::quote;
use crate::token::{self, Kind};

impl Lexer<'_> {
    pub(super) fn value_sequence(&mut self) -> State {
        if self.histogram != HistogramState::None {
            return State::Histogram;
        }
        let rune = self.next();
        match rune {
            Rune::Eof => State::Statements,
            Rune::Char('{') if self.accept(b"{") => {
                self.histogram = HistogramState::Open;
                self.emit(Kind::OpenHist, State::Histogram)
            }
            Rune::Char(' ' | '\t' | '\n' | '\r') => {
                let then = self.emit(Kind::Space, State::ValueSequence);
                self.skip_spaces();
                then
            }
            Rune::Char('+') => self.emit(Kind::Add, State::ValueSequence),
            Rune::Char('-') => self.emit(Kind::Sub, State::ValueSequence),
            Rune::Char('x') => self.emit(Kind::Times, State::ValueSequence),
            Rune::Char('_') => self.emit(Kind::Blank, State::ValueSequence),
            Rune::Char('0'..='9') => {
                self.backup();
                self.number();
                State::ValueSequence
            }
            Rune::Char('.') if self.peek().is_digit() => {
                self.pos -= 1;
                self.number();
                State::ValueSequence
            }
            Rune::Char('a'..='z' | 'A'..='Z') => self.back_to(State::KeywordOrIdentifier),
            Rune::Char(_) | Rune::Bad => {
                self.fail(format!("unexpected character in series sequence: {}", rune.quoted()))
            }
        }
    }

    pub(super) fn histogram(&mut self) -> State {
        let after = match self.histogram {
            HistogramState::Mul => Some(Kind::Times),
            HistogramState::Add => Some(Kind::Add),
            HistogramState::Sub => Some(Kind::Sub),
            HistogramState::None | HistogramState::Open => None,
        };
        if let Some(kind) = after {
            self.histogram = HistogramState::None;
            self.next();
            return self.emit(kind, State::ValueSequence);
        }
        if self.bracket_open {
            return State::Buckets;
        }
        let rune = self.next();
        match rune {
            Rune::Char(' ' | '\t' | '\n' | '\r') => self.emit(Kind::Space, State::Space),
            Rune::Char('_' | 'a'..='z' | 'A'..='Z') => self.back_to(State::HistogramDescriptor),
            Rune::Char(':') => self.emit(Kind::Colon, State::Histogram),
            Rune::Char('-') => self.emit(Kind::Sub, State::Histogram),
            Rune::Char('0'..='9') => self.back_to(State::Number),
            Rune::Char('[') => {
                self.bracket_open = true;
                self.got_colon = false;
                self.got_duration = false;
                self.emit(Kind::LeftBracket, State::Buckets)
            }
            Rune::Char('}') if self.accept(b"}") => {
                let then = self.emit(Kind::CloseHist, State::Histogram);
                self.histogram = match self.peek() {
                    Rune::Char('x') => HistogramState::Mul,
                    Rune::Char('+') => HistogramState::Add,
                    Rune::Char('-') => HistogramState::Sub,
                    _ => HistogramState::None,
                };
                if self.histogram == HistogramState::None { State::ValueSequence } else { then }
            }
            _ => self.fail(format!("histogram description incomplete unexpected: {}", rune.quoted())),
        }
    }

    pub(super) fn histogram_descriptor(&mut self) -> State {
        while self.next().is_alpha() {}
        self.backup();
        let word = self.word();
        if let Some(key) = token::histogram_key(word) {
            if self.peek() == Rune::Char(':') {
                return self.emit(key, State::Histogram);
            }
            return self.fail("missing `:` for histogram descriptor".to_owned());
        }
        // `Inf` or `NaN`.
        if token::keyword(word) == Some(Kind::Number) {
            return self.emit(Kind::Number, State::Histogram);
        }
        if let Some(hint) = token::counter_reset_hint(word) {
            return self.emit(hint, State::Histogram);
        }
        self.fail(format!("bad histogram descriptor found: {}", quote::quoted(word)))
    }

    pub(super) fn buckets(&mut self) -> State {
        let rune = self.next();
        match rune {
            Rune::Char(' ' | '\t' | '\n' | '\r') => self.emit(Kind::Space, State::Space),
            Rune::Char('-') => self.emit(Kind::Sub, State::Number),
            Rune::Char('0'..='9') => self.back_to(State::Number),
            Rune::Char(']') => {
                self.bracket_open = false;
                self.emit(Kind::RightBracket, State::Histogram)
            }
            // Letters gather until the word is `Inf` or `NaN`.
            Rune::Char('_' | 'a'..='z' | 'A'..='Z') => {
                if token::keyword(self.word()) == Some(Kind::Number) {
                    return self.emit(Kind::Number, State::Statements);
                }
                State::Buckets
            }
            _ => self.fail(format!("invalid character in buckets description: {}", rune.quoted())),
        }
    }
}
