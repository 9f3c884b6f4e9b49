//! The lexer: a machine of states, as Prometheus' own, because its error texts and positions come from those states.
//!
//! Not here: what the tokens mean together, values of numbers and texts. Source: Prometheus `promql/parser/lex.go`.

mod brackets;
mod number;
mod series;
mod string;

use crate::quote;
use crate::token::{self, Kind, Token};

/// What the lexer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Statements,
    InsideBraces,
    Space,
    LineComment,
    Str,
    RawStr,
    Escape,
    Number,
    NumberOrDuration,
    Identifier,
    KeywordOrIdentifier,
    DurationExpr,
    ValueSequence,
    Histogram,
    HistogramDescriptor,
    Buckets,
    /// Nothing comes any more.
    Done,
}

/// Where in a histogram of a series description the lexer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HistogramState {
    None,
    Open,
    Mul,
    Add,
    Sub,
}

/// What is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// Expressions, selectors, metrics.
    Expressions,
    /// Series descriptions.
    Series,
}

pub(crate) struct Lexer<'a> {
    input: &'a [u8],
    state: State,
    /// Next byte to read.
    pos: usize,
    /// First byte of the token that is being read.
    start: usize,
    /// Length of the rune that was read last.
    width: usize,
    /// Start of the token that was returned last.
    last_start: usize,
    emitted: Option<Token>,
    error: String,
    paren_depth: i64,
    brace_open: bool,
    bracket_open: bool,
    got_colon: bool,
    got_duration: bool,
    /// The quote that ends the text that is being read.
    string_open: char,
    language: Language,
    histogram: HistogramState,
}

/// What [`Lexer::next`] read: a character, a byte that is not UTF-8, or the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rune {
    Char(char),
    Bad,
    Eof,
}

impl Rune {
    /// As error texts show it.
    fn quoted(self) -> String {
        quote::quoted_char(self.char())
    }

    fn char(self) -> Option<char> {
        match self {
            Rune::Char(c) => Some(c),
            Rune::Bad | Rune::Eof => None,
        }
    }

    fn is(self, set: &[u8]) -> bool {
        matches!(self, Rune::Char(c) if u8::try_from(c).is_ok_and(|b| set.contains(&b)))
    }

    fn is_space(self) -> bool {
        matches!(self, Rune::Char(' ' | '\t' | '\n' | '\r'))
    }

    fn is_digit(self) -> bool {
        matches!(self, Rune::Char('0'..='9'))
    }

    fn is_alpha(self) -> bool {
        matches!(self, Rune::Char('_' | 'a'..='z' | 'A'..='Z'))
    }

    fn is_alphanumeric(self) -> bool {
        self.is_alpha() || self.is_digit()
    }

    /// Whether `step`, `range`, `max_of` or `min_of` may begin with it.
    fn starts_duration_keyword(self) -> bool {
        matches!(self, Rune::Char('s' | 'S' | 'r' | 'R' | 'm' | 'M'))
    }
}

const LINE_COMMENT: u8 = b'#';

impl<'a> Lexer<'a> {
    pub(crate) fn new(input: &'a [u8], language: Language) -> Lexer<'a> {
        Lexer {
            input,
            state: State::Statements,
            pos: 0,
            start: 0,
            width: 0,
            last_start: 0,
            emitted: None,
            error: String::new(),
            paren_depth: 0,
            brace_open: false,
            bracket_open: false,
            got_colon: false,
            got_duration: false,
            string_open: '"',
            language,
            histogram: HistogramState::None,
        }
    }

    /// The whole text.
    pub(crate) fn input(&self) -> &'a [u8] {
        self.input
    }

    /// The text of the [`Kind::Error`] token that was returned last.
    pub(crate) fn take_error(&mut self) -> String {
        std::mem::take(&mut self.error)
    }

    /// The next token. After [`Kind::Eof`] and [`Kind::Error`] nothing may be asked for.
    pub(crate) fn next_token(&mut self) -> Token {
        self.emitted = None;
        loop {
            if let Some(token) = self.emitted {
                self.last_start = token.start;
                return token;
            }
            self.state = match self.state {
                State::Statements => self.statements(),
                State::InsideBraces => self.inside_braces(),
                State::Space => self.space(),
                State::LineComment => self.line_comment(),
                State::Str => self.string(),
                State::RawStr => self.raw_string(),
                State::Escape => self.escape(),
                State::Number => self.number(),
                State::NumberOrDuration => self.number_or_duration(),
                State::Identifier => self.identifier(),
                State::KeywordOrIdentifier => self.keyword_or_identifier(),
                State::DurationExpr => self.duration_expr(),
                State::ValueSequence => self.value_sequence(),
                State::Histogram => self.histogram(),
                State::HistogramDescriptor => self.histogram_descriptor(),
                State::Buckets => self.buckets(),
                State::Done => self.emit(Kind::Eof, State::Done),
            }
        }
    }

    /// Where an aggregation ends that has nothing behind its parentheses. The parser had to read one token more to know;
    /// where that is a `)` too, `fallback` is that one and the right end stands before it.
    pub(crate) fn find_previous_right_paren(&self, fallback: usize) -> usize {
        let n = self.input.len();
        let out_of_text = fallback == 0 || fallback > n || self.last_start == 0 || self.last_start >= n;
        if out_of_text || self.input[self.last_start] != b')' {
            return fallback;
        }
        for i in (1..self.last_start).rev() {
            match self.input[i] {
                b')' => return i + 1,
                b' ' | b'\t' | b'\n' | b'\r' => {}
                _ => return fallback,
            }
        }
        fallback
    }

    fn next(&mut self) -> Rune {
        let Some((c, width)) = self.input.get(self.pos..).and_then(quote::decode) else {
            self.width = 0;
            return Rune::Eof;
        };
        self.width = width;
        self.pos += width;
        c.map_or(Rune::Bad, Rune::Char)
    }

    /// Goes back before the rune that was read last; once only.
    fn backup(&mut self) {
        self.pos -= self.width;
    }

    fn peek(&mut self) -> Rune {
        let rune = self.next();
        self.backup();
        rune
    }

    /// Reads the next character if it is one of `set`.
    fn accept(&mut self, set: &[u8]) -> bool {
        let found = self.next().is(set);
        if !found {
            self.backup();
        }
        found
    }

    fn accept_run(&mut self, set: &[u8]) {
        while self.accept(set) {}
    }

    fn ignore(&mut self) {
        self.start = self.pos;
    }

    fn skip_spaces(&mut self) {
        while self.next().is_space() {}
        self.backup();
        self.ignore();
    }

    /// The bytes of the token that is being read.
    fn word(&self) -> &'a [u8] {
        &self.input[self.start..self.pos]
    }

    fn emit(&mut self, kind: Kind, then: State) -> State {
        self.emitted = Some(Token { kind, start: self.start, end: self.pos });
        self.start = self.pos;
        then
    }

    /// An error ends the text; it replaces a token that was emitted in the same step.
    fn fail(&mut self, message: String) -> State {
        self.error = message;
        self.emitted = Some(Token { kind: Kind::Error, start: self.start, end: self.input.len() });
        State::Done
    }

    fn at_comment(&self) -> bool {
        self.input.get(self.pos) == Some(&LINE_COMMENT)
    }

    fn statements(&mut self) -> State {
        if self.histogram != HistogramState::None {
            return State::Histogram;
        }
        if self.brace_open {
            return State::InsideBraces;
        }
        if self.at_comment() {
            return State::LineComment;
        }
        let rune = self.next();
        let Rune::Char(c) = rune else {
            return match rune {
                Rune::Eof => self.end_of_statements(),
                _ => self.fail(format!("unexpected character: {}", rune.quoted())),
            };
        };
        match c {
            ' ' | '\t' | '\n' | '\r' => State::Space,
            ',' => self.emit(Kind::Comma, State::Statements),
            '0'..='9' => self.back_to(State::NumberOrDuration),
            '.' if self.peek().is_digit() => {
                // The look behind the dot was the last rune read.
                self.pos -= 1;
                State::NumberOrDuration
            }
            '"' | '\'' => self.open_string(c, State::Str),
            '`' => self.open_string(c, State::RawStr),
            '_' | ':' | 'a'..='z' | 'A'..='Z' => self.letter_or_colon(rune),
            '(' | ')' | '{' | '[' | ']' => self.bracket(c),
            _ => self.operator(rune, c),
        }
    }

    fn back_to(&mut self, state: State) -> State {
        self.backup();
        state
    }

    fn open_string(&mut self, quote: char, state: State) -> State {
        self.string_open = quote;
        state
    }

    fn end_of_statements(&mut self) -> State {
        if self.paren_depth != 0 {
            return self.fail("unclosed left parenthesis".to_owned());
        }
        if self.bracket_open {
            return self.fail("unclosed left bracket".to_owned());
        }
        self.emit(Kind::Eof, State::Done)
    }

    fn operator(&mut self, rune: Rune, c: char) -> State {
        let kind = match c {
            '*' => Kind::Mul,
            '/' => Kind::Div,
            '%' => Kind::Mod,
            '+' => Kind::Add,
            '-' => Kind::Sub,
            '^' => Kind::Pow,
            '@' => Kind::At,
            '=' if self.accept(b"=") => Kind::EqlC,
            '=' => {
                let next = self.peek();
                if next == Rune::Char('~') {
                    return self.fail(format!("unexpected character after '=': {}", next.quoted()));
                }
                Kind::Eql
            }
            '!' => {
                let next = self.next();
                if next != Rune::Char('=') {
                    return self.fail(format!("unexpected character after '!': {}", next.quoted()));
                }
                Kind::Neq
            }
            '<' if self.accept(b"=") => Kind::Lte,
            '<' if self.accept(b"/") => Kind::TrimUpper,
            '<' => Kind::Lss,
            '>' if self.accept(b"=") => Kind::Gte,
            '>' if self.accept(b"/") => Kind::TrimLower,
            '>' => Kind::Gtr,
            _ => return self.fail(format!("unexpected character: {}", rune.quoted())),
        };
        self.emit(kind, State::Statements)
    }

    /// A letter or a colon: a word, or between brackets the colon of a subquery or the name of a duration.
    fn letter_or_colon(&mut self, rune: Rune) -> State {
        if !self.bracket_open {
            return self.back_to(State::KeywordOrIdentifier);
        }
        if rune == Rune::Char(':') {
            if self.got_colon {
                return self.fail(format!("unexpected colon {}", rune.quoted()));
            }
            self.got_colon = true;
            return self.emit(Kind::Colon, State::Statements);
        }
        if rune.starts_duration_keyword() && self.scan_duration_keyword() {
            return State::Statements;
        }
        self.fail(format!("unexpected character: {}, expected ':'", rune.quoted()))
    }

    fn space(&mut self) -> State {
        self.skip_spaces();
        State::Statements
    }

    fn line_comment(&mut self) -> State {
        self.pos += 1;
        while !matches!(self.next(), Rune::Char('\r' | '\n') | Rune::Eof) {}
        self.backup();
        self.emit(Kind::Comment, State::Statements)
    }

    fn identifier(&mut self) -> State {
        while self.next().is_alphanumeric() {}
        self.backup();
        self.emit(Kind::Identifier, State::Statements)
    }

    fn keyword_or_identifier(&mut self) -> State {
        let mut colon = false;
        loop {
            match self.next() {
                Rune::Char(':') => colon = true,
                r if r.is_alphanumeric() => {}
                _ => break,
            }
        }
        self.backup();
        let kind = match token::keyword(self.word()) {
            // `fill` is no keyword where it can be a metric.
            Some(Kind::Fill | Kind::FillLeft | Kind::FillRight) if !self.left_paren_follows() => Kind::Identifier,
            Some(kind) => kind,
            None if colon => Kind::MetricIdentifier,
            None => Kind::Identifier,
        };
        let in_values = self.language == Language::Series && self.peek() != Rune::Char('{');
        self.emit(kind, if in_values { State::ValueSequence } else { State::Statements })
    }

    fn left_paren_follows(&self) -> bool {
        let is_space = |b: &&u8| !matches!(**b, b' ' | b'\t' | b'\n' | b'\r');
        self.input[self.pos..].iter().find(is_space) == Some(&b'(')
    }
}
