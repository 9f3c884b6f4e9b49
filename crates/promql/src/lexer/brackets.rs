//! Brackets, parentheses and braces, and what only occurs inside them.

use super::{Language, Lexer, Rune, State};
use crate::token::{self, Kind};

impl Lexer<'_> {
    pub(super) fn bracket(&mut self, c: char) -> State {
        match c {
            '(' => {
                self.paren_depth += 1;
                self.emit(Kind::LeftParen, State::Statements)
            }
            ')' => self.right_paren(State::Statements),
            '{' => {
                self.brace_open = true;
                self.emit(Kind::LeftBrace, State::InsideBraces)
            }
            '[' => {
                if self.bracket_open {
                    return self.fail("unexpected left bracket '['".to_owned());
                }
                self.got_colon = false;
                self.bracket_open = true;
                let then = self.emit(Kind::LeftBracket, State::DurationExpr);
                if self.peek().is_space() {
                    self.skip_spaces();
                }
                then
            }
            _ => {
                if !self.bracket_open {
                    return self.fail("unexpected right bracket ']'".to_owned());
                }
                self.bracket_open = false;
                self.emit(Kind::RightBracket, State::Statements)
            }
        }
    }

    fn right_paren(&mut self, then: State) -> State {
        let then = self.emit(Kind::RightParen, then);
        self.paren_depth -= 1;
        if self.paren_depth < 0 {
            return self.fail("unexpected right parenthesis ')'".to_owned());
        }
        then
    }

    /// Inside the braces of a selector there are no keywords.
    pub(super) fn inside_braces(&mut self) -> State {
        if self.at_comment() {
            return State::LineComment;
        }
        let rune = self.next();
        match rune {
            Rune::Eof => self.fail("unexpected end of input inside braces".to_owned()),
            Rune::Char(' ' | '\t' | '\n' | '\r') => State::Space,
            Rune::Char('_' | 'a'..='z' | 'A'..='Z') => self.back_to(State::Identifier),
            Rune::Char(',') => self.emit(Kind::Comma, State::InsideBraces),
            Rune::Char(c @ ('"' | '\'')) => self.open_string(c, State::Str),
            Rune::Char('`') => self.open_string('`', State::RawStr),
            Rune::Char('=') => {
                let kind = if self.accept(b"~") { Kind::EqlRegex } else { Kind::Eql };
                self.emit(kind, State::InsideBraces)
            }
            Rune::Char('!') => match self.next() {
                Rune::Char('~') => self.emit(Kind::NeqRegex, State::InsideBraces),
                Rune::Char('=') => self.emit(Kind::Neq, State::InsideBraces),
                other => self.fail(format!("unexpected character after '!' inside braces: {}", other.quoted())),
            },
            Rune::Char('{') => self.fail("unexpected left brace '{'".to_owned()),
            Rune::Char('}') => {
                self.brace_open = false;
                let then = match self.language {
                    Language::Expressions => State::Statements,
                    Language::Series => State::ValueSequence,
                };
                self.emit(Kind::RightBrace, then)
            }
            Rune::Char(_) | Rune::Bad => self.fail(format!("unexpected character inside braces: {}", rune.quoted())),
        }
    }

    /// What stands behind `[`, up to the first number; from there on the state is `Statements` with `bracket_open`.
    pub(super) fn duration_expr(&mut self) -> State {
        let rune = self.next();
        let Rune::Char(c) = rune else {
            return match rune {
                Rune::Eof => self.fail("unexpected end of input in duration expression".to_owned()),
                _ => self.fail(format!("unexpected character in duration expression: {}", rune.quoted())),
            };
        };
        let kind = match c {
            ']' => {
                self.bracket_open = false;
                self.got_colon = false;
                return self.emit(Kind::RightBracket, State::Statements);
            }
            ':' => {
                let then = self.emit(Kind::Colon, State::DurationExpr);
                if !self.got_duration {
                    return self.fail("unexpected colon before duration in duration expression".to_owned());
                }
                if self.got_colon {
                    return self.fail("unexpected repeated colon in duration expression".to_owned());
                }
                self.got_colon = true;
                return then;
            }
            '(' => {
                self.paren_depth += 1;
                Kind::LeftParen
            }
            ')' => return self.right_paren(State::DurationExpr),
            ' ' | '\t' | '\n' | '\r' => {
                self.skip_spaces();
                return State::DurationExpr;
            }
            '+' => Kind::Add,
            '-' => Kind::Sub,
            '*' => Kind::Mul,
            '/' => Kind::Div,
            '%' => Kind::Mod,
            '^' => Kind::Pow,
            ',' => Kind::Comma,
            _ if rune.starts_duration_keyword() => {
                if self.scan_duration_keyword() {
                    return State::DurationExpr;
                }
                return self.fail(format!("unexpected character in duration expression: {}", rune.quoted()));
            }
            '0'..='9' => {
                self.backup();
                self.got_duration = true;
                return State::NumberOrDuration;
            }
            '.' if self.peek().is_digit() => {
                self.pos -= 1;
                self.got_duration = true;
                return State::NumberOrDuration;
            }
            _ => return self.fail(format!("unexpected character in duration expression: {}", rune.quoted())),
        };
        self.emit(kind, State::DurationExpr)
    }

    /// Emits `step`, `range`, `max_of` or `min_of`, of which one character was read, or says that it is none of them.
    pub(super) fn scan_duration_keyword(&mut self) -> bool {
        while self.next().is_alpha() {}
        self.backup();
        let kind = match token::keyword(self.word()) {
            Some(kind @ (Kind::Step | Kind::Range | Kind::MaxOf | Kind::MinOf)) => kind,
            _ => return false,
        };
        self.emit(kind, State::DurationExpr);
        true
    }
}
