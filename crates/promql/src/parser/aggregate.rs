//! Aggregations, and the lists of labels that they and binary operators take.

use super::expr::Tree;
use super::{Parsed, Parser, caught, pos};
use crate::ast::{Aggregate, AggregateOp, Expr, ExprKind, Grouping, Pos};
use crate::quote;
use crate::token::{Kind, Token};

/// What stands behind the name of an aggregation.
struct Body {
    grouping: Grouping,
    args: Vec<Expr>,
    /// Of the highest argument.
    height: usize,
    /// The token behind it was read to know that it is complete.
    overread: bool,
}

impl AggregateOp {
    /// Whether it takes a parameter in front of the vector.
    pub fn has_param(self) -> bool {
        match self {
            AggregateOp::Topk
            | AggregateOp::Bottomk
            | AggregateOp::CountValues
            | AggregateOp::Quantile
            | AggregateOp::Limitk
            | AggregateOp::LimitRatio => true,
            AggregateOp::Avg
            | AggregateOp::Count
            | AggregateOp::Group
            | AggregateOp::Max
            | AggregateOp::Min
            | AggregateOp::Stddev
            | AggregateOp::Stdvar
            | AggregateOp::Sum => false,
        }
    }

    /// Whether it needs the flag `promql-experimental-functions`.
    pub fn is_experimental(self) -> bool {
        matches!(self, AggregateOp::Limitk | AggregateOp::LimitRatio)
    }
}

fn no_grouping() -> Grouping {
    Grouping { without: false, labels: Vec::new() }
}

impl Parser<'_> {
    /// The rest of an aggregation whose name was taken and is followed by a parenthesis, `by` or `without`.
    pub(super) fn aggregate(&mut self, name: Token, op: AggregateOp) -> Parsed<Tree> {
        match caught(self.aggregate_body())? {
            Some(body) => self.new_aggregate(name, op, *body),
            None => {
                self.unexpected("aggregation", "");
                let body = Body { grouping: no_grouping(), args: Vec::new(), height: 0, overread: false };
                self.new_aggregate(name, op, body)
            }
        }
    }

    fn aggregate_body(&mut self) -> Parsed<Box<Body>> {
        if self.peek() != Kind::LeftParen {
            let grouping = self.aggregate_modifier()?;
            let (args, height) = self.call_args()?;
            return Ok(Box::new(Body { grouping, args, height, overread: false }));
        }
        let (args, height) = self.call_args()?;
        let overread = !matches!(self.peek(), Kind::By | Kind::Without);
        let grouping = if overread { no_grouping() } else { self.aggregate_modifier()? };
        Ok(Box::new(Body { grouping, args, height, overread }))
    }

    fn aggregate_modifier(&mut self) -> Parsed<Grouping> {
        let without = self.peek() == Kind::Without;
        self.take();
        Ok(Grouping { without, labels: self.grouping_labels()? })
    }

    #[inline(never)]
    fn new_aggregate(&mut self, name: Token, op: AggregateOp, body: Body) -> Parsed<Tree> {
        let Body { grouping, args, height, overread } = body;
        let closing = self.last_closing;
        let end = if overread { self.lexer.find_previous_right_paren(closing) } else { closing };
        let pos = Pos { start: name.start, end };
        let expected = if op.has_param() { 2 } else { 1 };
        let count = args.len();
        if count == 0 {
            self.error(pos, "no arguments for aggregate expression provided");
            return Ok(Tree::placeholder(pos));
        }
        if op.is_experimental() && !self.options.experimental_functions {
            let flag = "--enable-feature=promql-experimental-functions";
            self.error(pos, format!("{op}() is experimental and must be enabled with {flag}"));
            return Ok(Tree::placeholder(pos));
        }
        let mut args = args.into_iter();
        let param = if op.has_param() { args.next().map(Box::new) } else { None };
        match (args.next(), count == expected) {
            (Some(expr), true) => {
                let aggregate = Aggregate { op, expr: Box::new(expr), param, grouping };
                self.node(ExprKind::Aggregate(aggregate), pos, height)
            }
            _ => {
                let what = "wrong number of arguments for aggregate expression provided";
                self.error(pos, format!("{what}, expected {expected}, got {count}"));
                Ok(Tree::placeholder(pos))
            }
        }
    }

    /// `(a, "b c")`
    pub(super) fn grouping_labels(&mut self) -> Parsed<Vec<String>> {
        while self.peek() != Kind::LeftParen {
            if self.stuck_at_error_rule()? {
                self.unexpected("grouping opts", "\"(\"");
                return Ok(Vec::new());
            }
        }
        self.take();
        if self.peek() == Kind::RightParen {
            self.take();
            return Ok(Vec::new());
        }
        let mut labels = vec![self.grouping_label()?];
        loop {
            match self.peek() {
                Kind::RightParen => break,
                Kind::Comma => {
                    self.take();
                    if self.peek() == Kind::RightParen {
                        break;
                    }
                    labels.push(self.grouping_label()?);
                }
                _ => {
                    if self.stuck_at_error_rule()? {
                        self.unexpected("grouping opts", "\",\" or \")\"");
                    }
                }
            }
        }
        self.take();
        Ok(labels)
    }

    fn grouping_label(&mut self) -> Parsed<String> {
        loop {
            let kind = self.peek();
            if kind == Kind::String {
                let token = self.take();
                let bytes = self.unquote(token);
                return Ok(match String::from_utf8(bytes) {
                    Ok(name) if !name.is_empty() => name,
                    Ok(_) => self.bad_grouping_label(token, b""),
                    Err(e) => self.bad_grouping_label(token, e.as_bytes()),
                });
            }
            if kind.is_label() {
                let token = self.take();
                return Ok(self.word(token).to_owned());
            }
            if self.stuck_at_error_rule()? {
                self.unexpected("grouping opts", "label");
                return Ok(String::new());
            }
        }
    }

    fn bad_grouping_label(&mut self, token: Token, name: &[u8]) -> String {
        self.error(pos(token), format!("invalid label name for grouping: {}", quote::quoted(name)));
        String::new()
    }
}
