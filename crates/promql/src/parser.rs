//! The parser of PromQL: by recursive descent, operators by their precedence.
//!
//! Prometheus' own parser is generated from a grammar with rules for errors, and which errors it reports, and where, follows
//! from how such parsers recover. That is kept: where no rule fits, parsing unwinds to the innermost rule for errors
//! ([`Unwind::ToErrorRule`]), which reports the token, and then tokens are dropped until one fits ([`Parser::stuck`]).
//! Likewise it shows in positions whether the token behind a construct was read before the construct was done, so
//! [`Parser::peek`] is called exactly where the grammar needs that token.
//!
//! Source: Prometheus `promql/parser/generated_parser.y` and `parse.go` at v3.14.0.

mod aggregate;
mod binary;
mod check;
mod duration;
mod expr;
mod labels;
mod postfix;
mod selector;
mod series;

use model::Matcher;

use crate::ast::{Expr, Pos};
use crate::lexer::{Language, Lexer};
use crate::parse_error::{ParseError, ParseErrors};
use crate::quote;
use crate::token::{self, Kind, Token};

pub use labels::MetricDesc;
pub use series::{CombineHistograms, SequenceValue, SeriesDesc, Sign};

/// Parts of the language that can be turned on and off, by Prometheus' feature flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseOptions {
    /// `promql-experimental-functions`
    pub experimental_functions: bool,
    /// `promql-duration-expr`; always on in a server.
    pub duration_expressions: bool,
    /// `promql-extended-range-selectors`: `anchored`, `smoothed`
    pub extended_range_selectors: bool,
    /// `promql-binop-fill-modifiers`: `fill`, `fill_left`, `fill_right`
    pub binop_fill_modifiers: bool,
}

impl ParseOptions {
    /// Everything.
    pub const ALL: ParseOptions = ParseOptions {
        experimental_functions: true,
        duration_expressions: true,
        extended_range_selectors: true,
        binop_fill_modifiers: true,
    };

    /// What a server without flags understands.
    pub const STABLE: ParseOptions = ParseOptions {
        experimental_functions: false,
        duration_expressions: true,
        extended_range_selectors: false,
        binop_fill_modifiers: false,
    };
}

impl Default for ParseOptions {
    fn default() -> ParseOptions {
        ParseOptions::STABLE
    }
}

/// How deep expressions may be nested, operators that follow each other included. Prometheus has no bound; ours keeps every
/// walk over the tree within the stack of a thread.
pub const DEPTH_MAX: usize = 1000;

/// Parses an expression and checks its types. `text` need not be UTF-8; outside comments that is an error.
pub fn parse_expr(text: impl AsRef<[u8]>, options: &ParseOptions) -> Result<Expr, ParseErrors> {
    let mut parser = Parser::new(text.as_ref(), *options, Language::Expressions);
    let mut expr = parser.start(Parser::start_expr);
    if let (Some(expr), true) = (&mut expr, parser.errors.is_empty()) {
        check::check(&mut parser, expr);
    }
    parser.finish(expr.map(|e| *e))
}

/// Parses a `match[]`: its conditions, in Prometheus' order (braces first, then the name). That one of them must not match
/// the empty text is not checked here.
pub fn parse_selector(text: impl AsRef<[u8]>) -> Result<Vec<Matcher>, ParseErrors> {
    let mut parser = Parser::new(text.as_ref(), ParseOptions::STABLE, Language::Expressions);
    let selector = parser.start(Parser::vector_selector);
    parser.finish(selector.map(|(selector, _)| selector.matchers))
}

/// Parses a metric: `name{label="value"}`.
pub fn parse_metric(text: impl AsRef<[u8]>) -> Result<MetricDesc, ParseErrors> {
    let mut parser = Parser::new(text.as_ref(), ParseOptions::STABLE, Language::Expressions);
    let labels = parser.start(Parser::metric);
    parser.finish(labels)
}

/// Parses a series of a rule's unit test or a test script: a metric and its values. `combine` adds and subtracts native
/// histograms, for `{{…}}+{{…}}x5`.
pub fn parse_series_desc(text: impl AsRef<[u8]>, combine: &CombineHistograms<'_>) -> Result<SeriesDesc, ParseErrors> {
    let mut parser = Parser::new(text.as_ref(), ParseOptions::STABLE, Language::Series);
    let series = parser.start(|p| p.series_description(combine));
    parser.finish(series)
}

/// Why a rule was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unwind {
    /// The innermost rule that has a branch for errors takes over.
    ToErrorRule,
    /// Nothing can be done any more: the text has ended, or a limit was reached.
    Abort,
}

type Parsed<T> = Result<T, Unwind>;

/// Tokens that must fit before errors are reported again.
const RECOVERY_TOKENS: u8 = 3;

struct Parser<'a> {
    lexer: Lexer<'a>,
    options: ParseOptions,
    /// The token that was read last, whether it was taken or not.
    item: Token,
    /// The kind of the next token where it was read but not taken.
    next: Option<Kind>,
    /// Nothing comes after the token that was read last.
    ended: bool,
    /// Counts down from [`RECOVERY_TOKENS`] after an error.
    recovery: u8,
    /// End of the last token that was read and can end a selector, a call or the like.
    last_closing: usize,
    errors: Vec<ParseError>,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a [u8], options: ParseOptions, language: Language) -> Parser<'a> {
        Parser {
            lexer: Lexer::new(text, language),
            options,
            item: Token { kind: Kind::Eof, start: 0, end: 0 },
            next: None,
            ended: false,
            recovery: 0,
            last_closing: 0,
            errors: Vec::new(),
            depth: 0,
        }
    }

    /// Runs the rule of the whole text, then finds its end.
    fn start<T>(&mut self, rule: impl FnOnce(&mut Parser<'a>) -> Parsed<T>) -> Option<T> {
        let mut result = match rule(self) {
            Ok(value) => Some(value),
            Err(Unwind::ToErrorRule) => {
                self.unexpected("", "");
                None
            }
            Err(Unwind::Abort) => return None,
        };
        loop {
            match self.peek() {
                Kind::End => return result,
                Kind::Eof => {
                    self.take();
                }
                _ => match self.stuck() {
                    Ok(()) => {}
                    Err(Unwind::ToErrorRule) => {
                        self.unexpected("", "");
                        result = None;
                    }
                    Err(Unwind::Abort) => return None,
                },
            }
        }
    }

    fn finish<T>(mut self, value: Option<T>) -> Result<T, ParseErrors> {
        match value {
            Some(value) if self.errors.is_empty() => return Ok(value),
            // Every way to lose the value has reported an error; should one not, this does.
            None if self.errors.is_empty() => self.unexpected("", ""),
            _ => {}
        }
        Err(ParseErrors::new(self.lexer.input(), self.errors))
    }

    /// The kind of the next token, which is read where it was not before.
    fn peek(&mut self) -> Kind {
        if let Some(kind) = self.next {
            return kind;
        }
        let kind = self.read();
        self.next = Some(kind);
        kind
    }

    fn read(&mut self) -> Kind {
        if self.ended {
            return Kind::End;
        }
        self.item = loop {
            let token = self.lexer.next_token();
            if token.kind != Kind::Comment {
                break token;
            }
        };
        match self.item.kind {
            Kind::Error => {
                self.ended = true;
                let message = self.lexer.take_error();
                self.error(Pos { start: self.item.start, end: self.item.end }, message);
                Kind::End
            }
            Kind::Eof => {
                self.ended = true;
                Kind::Eof
            }
            kind @ (Kind::RightBrace | Kind::RightParen | Kind::RightBracket | Kind::Duration | Kind::Number) => {
                self.last_closing = self.item.end;
                kind
            }
            kind => kind,
        }
    }

    /// Takes the token that [`Parser::peek`] read.
    fn take(&mut self) -> Token {
        debug_assert!(self.next.is_some(), "take after peek");
        self.next = None;
        self.recovery = self.recovery.saturating_sub(1);
        self.item
    }

    /// The next token does not fit. Right after an error it is dropped, and the caller tries the one after it; else the
    /// caller leaves its rule.
    #[cold]
    fn stuck(&mut self) -> Parsed<()> {
        if self.recovery < RECOVERY_TOKENS {
            self.recovery = RECOVERY_TOKENS;
            return Err(Unwind::ToErrorRule);
        }
        if self.peek() == Kind::End {
            return Err(Unwind::Abort);
        }
        self.next = None;
        Ok(())
    }

    /// As [`Parser::stuck`], in a place that has a branch for errors: true says that the branch is to be taken.
    #[cold]
    fn stuck_at_error_rule(&mut self) -> Parsed<bool> {
        match self.stuck() {
            Ok(()) => Ok(false),
            Err(Unwind::ToErrorRule) => Ok(true),
            Err(Unwind::Abort) => Err(Unwind::Abort),
        }
    }

    /// Takes a token of that kind, the only one that fits.
    fn expect(&mut self, kind: Kind) -> Parsed<Token> {
        while self.peek() != kind {
            self.stuck()?;
        }
        Ok(self.take())
    }

    /// The bytes of a token.
    fn text(&self, token: Token) -> &'a [u8] {
        &self.lexer.input()[token.start..token.end]
    }

    /// The bytes of a token that is ASCII by its kind.
    fn word(&self, token: Token) -> &'a str {
        std::str::from_utf8(self.text(token)).unwrap_or_default()
    }

    /// The bytes that a text in quotes stands for.
    fn unquote(&mut self, token: Token) -> Vec<u8> {
        let text = self.text(token);
        quote::unquote(text).unwrap_or_else(|e| {
            self.error(self.item_pos(), format!("error unquoting string {}: {e}", quote::quoted(text)));
            Vec::new()
        })
    }

    fn item_pos(&self) -> Pos {
        Pos { start: self.item.start, end: self.item.end }
    }

    #[cold]
    fn error(&mut self, pos: Pos, message: impl Into<String>) {
        self.errors.push(ParseError { pos, message: message.into() });
    }

    /// Reports the token that was read last; lexical errors were reported before.
    #[cold]
    fn unexpected(&mut self, context: &str, expected: &str) {
        if self.item.kind == Kind::Error {
            return;
        }
        let mut message = format!("unexpected {}", token::describe(self.item.kind, self.text(self.item)));
        if !context.is_empty() {
            message = format!("{message} in {context}");
        }
        if !expected.is_empty() {
            message = format!("{message}, expected {expected}");
        }
        self.error(self.item_pos(), message);
    }

    /// Goes one level deeper; the caller goes back by itself.
    fn descend(&mut self) -> Parsed<()> {
        self.depth += 1;
        self.check_depth(self.depth)
    }

    fn check_depth(&mut self, depth: usize) -> Parsed<()> {
        if depth > DEPTH_MAX {
            self.error(self.item_pos(), format!("expression is nested too deeply, the limit is {DEPTH_MAX} levels"));
            return Err(Unwind::Abort);
        }
        Ok(())
    }
}

/// Lets [`Unwind::Abort`] through; `None` says that the caller's branch for errors is to be taken.
fn caught<T>(parsed: Parsed<T>) -> Parsed<Option<T>> {
    match parsed {
        Ok(value) => Ok(Some(value)),
        Err(Unwind::ToErrorRule) => Ok(None),
        Err(Unwind::Abort) => Err(Unwind::Abort),
    }
}

/// The place of a token.
fn pos(token: Token) -> Pos {
    Pos { start: token.start, end: token.end }
}

#[cfg(test)]
mod tests;
