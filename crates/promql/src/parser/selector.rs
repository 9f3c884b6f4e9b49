//! Vector selectors: `name{label="value", other=~"pattern"}`.

use model::{METRIC_NAME, MatchOp, Matcher};

use super::expr::Tree;
use super::{Parsed, Parser};
use crate::ast::{Edges, ExprKind, Pos, VectorSelector};
use crate::quote;
use crate::token::{Kind, Token};

/// Conditions in the order written, and exact bytes of values that are not UTF-8.
#[derive(Default)]
struct Conditions {
    matchers: Vec<Matcher>,
    inexact: Vec<(usize, Box<[u8]>)>,
}

impl Conditions {
    fn push_equal(&mut self, name: &str, value: &[u8]) {
        let matcher = Matcher::equal(name, &self.text(value));
        self.matchers.push(matcher);
    }

    /// `value` as a text; keeps the bytes where it does not hold them.
    fn text(&mut self, value: &[u8]) -> String {
        if std::str::from_utf8(value).is_err() {
            self.inexact.push((self.matchers.len(), value.into()));
        }
        quote::lossy(value)
    }

    fn into_selector(mut self, name: &str) -> VectorSelector {
        if !name.is_empty() {
            self.push_equal(METRIC_NAME, name.as_bytes());
        }
        VectorSelector {
            name: name.to_owned(),
            matchers: self.matchers,
            inexact: self.inexact,
            offset: None,
            at: None,
            edges: Edges::Plain,
        }
    }
}

impl Parser<'_> {
    /// A selector with its place.
    pub(super) fn vector_selector(&mut self) -> Parsed<(VectorSelector, Pos)> {
        loop {
            let kind = self.peek();
            if kind == Kind::LeftBrace {
                let (conditions, pos) = self.label_matchers()?;
                return Ok((conditions.into_selector(""), pos));
            }
            if kind.is_metric_identifier() {
                let name = self.take();
                return self.named_vector_selector(name);
            }
            self.stuck()?;
        }
    }

    fn named_vector_selector(&mut self, name: Token) -> Parsed<(VectorSelector, Pos)> {
        let (mut conditions, mut pos) = (Conditions::default(), super::pos(name));
        if self.peek() == Kind::LeftBrace {
            (conditions, pos) = self.label_matchers()?;
            pos.start = name.start;
        }
        Ok((conditions.into_selector(self.word(name)), pos))
    }

    #[inline(never)]
    pub(super) fn vector_tree(&mut self) -> Parsed<Tree> {
        let (selector, pos) = self.vector_selector()?;
        Ok(Tree::leaf(ExprKind::Vector(selector), pos))
    }

    /// The selector whose name was taken.
    #[inline(never)]
    pub(super) fn named_vector_tree(&mut self, name: Token) -> Parsed<Tree> {
        let (selector, pos) = self.named_vector_selector(name)?;
        Ok(Tree::leaf(ExprKind::Vector(selector), pos))
    }

    fn label_matchers(&mut self) -> Parsed<(Conditions, Pos)> {
        let start = self.take().start;
        let mut conditions = Conditions::default();
        if self.peek() != Kind::RightBrace {
            self.label_matcher(&mut conditions)?;
            loop {
                match self.peek() {
                    Kind::RightBrace => break,
                    Kind::Comma => {
                        self.take();
                        if self.peek() == Kind::RightBrace {
                            break;
                        }
                        self.label_matcher(&mut conditions)?;
                    }
                    _ => {
                        if self.stuck_at_error_rule()? {
                            self.unexpected("label matching", "\",\" or \"}\"");
                        }
                    }
                }
            }
        }
        let end = self.take().end;
        Ok((conditions, Pos { start, end }))
    }

    fn label_matcher(&mut self, conditions: &mut Conditions) -> Parsed<()> {
        let (label, name, op) = loop {
            match self.peek() {
                Kind::Identifier => {
                    let label = self.take();
                    let Some(op) = self.label_match_op()? else { return Ok(()) };
                    break (label, self.word(label).to_owned(), op);
                }
                Kind::String => {
                    let label = self.take();
                    let name = self.unquote(label);
                    let Some(op) = match_op(self.peek()) else {
                        // Without a value it is the metric's name.
                        conditions.push_equal(METRIC_NAME, &name);
                        return Ok(());
                    };
                    self.take();
                    break (label, quote::lossy(&name), op);
                }
                _ => {
                    if self.stuck_at_error_rule()? {
                        self.unexpected("label matching", "identifier or \"}\"");
                        return Ok(());
                    }
                }
            }
        };
        while self.peek() != Kind::String {
            if self.stuck_at_error_rule()? {
                self.unexpected("label matching", "string");
                return Ok(());
            }
        }
        let value = self.take();
        self.push_matcher(conditions, &name, op, Pos { start: label.start, end: value.end }, value);
        Ok(())
    }

    /// Takes the operator; `None` where something else stood there, which was reported.
    fn label_match_op(&mut self) -> Parsed<Option<MatchOp>> {
        loop {
            if let Some(op) = match_op(self.peek()) {
                self.take();
                return Ok(Some(op));
            }
            if self.stuck_at_error_rule()? {
                self.unexpected("label matching", "label matching operator");
                return Ok(None);
            }
        }
    }

    fn push_matcher(&mut self, conditions: &mut Conditions, name: &str, op: MatchOp, pos: Pos, value: Token) {
        let bytes = self.unquote(value);
        let is_regex = matches!(op, MatchOp::Regex | MatchOp::NotRegex);
        // Alternatives without any syntax are no regular expression for Prometheus, and may be any bytes.
        let is_literal = !bytes.iter().any(|b| br"\.+*?()[]{}^$".contains(b));
        if let (true, Err(e)) = (is_regex && !is_literal, std::str::from_utf8(&bytes)) {
            let rest = String::from_utf8_lossy(&bytes[e.valid_up_to()..]);
            self.error(pos, format!("error parsing regexp: invalid UTF-8: `{rest}`"));
            return;
        }
        let text = conditions.text(&bytes);
        match Matcher::new(name, op, &text) {
            Ok(matcher) => conditions.matchers.push(matcher),
            Err(e) => self.error(pos, e.to_string()),
        }
    }
}

fn match_op(kind: Kind) -> Option<MatchOp> {
    Some(match kind {
        Kind::Eql => MatchOp::Equal,
        Kind::Neq => MatchOp::NotEqual,
        Kind::EqlRegex => MatchOp::Regex,
        Kind::NeqRegex => MatchOp::NotRegex,
        _ => return None,
    })
}
