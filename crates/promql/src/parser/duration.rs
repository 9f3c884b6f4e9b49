//! The arithmetic of durations: `[5m + step()]`, `offset -(1h / 2)`.
//!
//! A node's position is what Prometheus takes for it: from the first to the last operand, so without `max_of(` and `)`.

use super::{Parsed, Parser, pos};
use crate::ast::{BinaryOp, DurationNode, DurationNodeKind, NumberLiteral, Pos, UnaryOp};
use crate::token::{Kind, Token};

const POW: u8 = 3;

fn precedence(kind: Kind) -> Option<(BinaryOp, u8)> {
    Some(match kind {
        Kind::Add => (BinaryOp::Add, 1),
        Kind::Sub => (BinaryOp::Sub, 1),
        Kind::Mul => (BinaryOp::Mul, 2),
        Kind::Div => (BinaryOp::Div, 2),
        Kind::Mod => (BinaryOp::Mod, 2),
        Kind::Pow => (BinaryOp::Pow, POW),
        _ => return None,
    })
}

/// A duration on its way into the tree.
pub(super) struct Duration {
    pub(super) node: DurationNode,
    /// Levels below, itself included.
    pub(super) height: usize,
}

/// Zero, without a place: stands where an error was reported.
fn nothing() -> Duration {
    number(NumberLiteral { value: 0.0, is_duration: false }, Pos::default())
}

fn number(literal: NumberLiteral, pos: Pos) -> Duration {
    node(DurationNodeKind::Number(literal), pos, 0)
}

/// A node above others of at most that height.
fn node(kind: DurationNodeKind, pos: Pos, height: usize) -> Duration {
    Duration { node: DurationNode { kind, pos }, height: height + 1 }
}

/// Whether nanoseconds in 64 bits do not hold so many seconds.
fn out_of_range(seconds: f64) -> bool {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0 / 1e9;
    !(seconds.is_nan() || (-LIMIT..=LIMIT).contains(&seconds))
}

impl Parser<'_> {
    /// The width of a range or the step of a subquery.
    pub(super) fn positive_duration(&mut self) -> Parsed<Duration> {
        let duration = self.duration(0)?;
        match duration.node.kind {
            DurationNodeKind::Number(n) if n.value <= 0.0 => {
                self.error(duration.node.pos, "duration must be greater than 0");
                Ok(nothing())
            }
            _ => Ok(duration),
        }
    }

    /// Arithmetic whose operators bind as tight as `min` or tighter.
    fn duration(&mut self, min: u8) -> Parsed<Duration> {
        self.descend()?;
        let duration = match self.duration_operand() {
            Ok(left) => self.duration_operators(left, min),
            Err(unwind) => Err(unwind),
        };
        self.depth -= 1;
        duration
    }

    fn duration_operators(&mut self, mut left: Duration, min: u8) -> Parsed<Duration> {
        loop {
            let next = self.peek();
            let Some((op, precedence)) = precedence(next).filter(|p| p.1 >= min) else { return Ok(left) };
            let token = self.take();
            let right = self.duration(if precedence == POW { POW } else { precedence + 1 })?;
            left = self.duration_binary(left, op, token, right);
            self.check_depth(left.height)?;
        }
    }

    fn duration_binary(&mut self, left: Duration, op: BinaryOp, token: Token, right: Duration) -> Duration {
        self.check_duration_expr(left.node.pos);
        let problem = match op {
            BinaryOp::Div => "division by zero",
            BinaryOp::Mod => "modulo by zero",
            _ => "",
        };
        if !problem.is_empty() && matches!(right.node.kind, DurationNodeKind::Number(n) if n.value == 0.0) {
            self.error(pos(token), problem);
            return nothing();
        }
        let pos = Pos { start: left.node.pos.start, end: right.node.pos.end };
        let height = left.height.max(right.height);
        node(DurationNodeKind::Binary(op, Box::new(left.node), Box::new(right.node)), pos, height)
    }

    fn duration_operand(&mut self) -> Parsed<Duration> {
        loop {
            match self.peek() {
                Kind::Number | Kind::Duration => return Ok(self.duration_literal()),
                kind @ (Kind::Add | Kind::Sub) => {
                    let token = self.take();
                    let inner = self.duration(POW)?;
                    return Ok(self.duration_unary(kind, token, inner));
                }
                Kind::Step | Kind::Range => return self.duration_name(None),
                Kind::MaxOf | Kind::MinOf => return self.duration_max_min(None),
                Kind::LeftParen => return self.duration_paren(),
                _ => self.stuck()?,
            }
        }
    }

    fn duration_literal(&mut self) -> Duration {
        let token = self.take();
        let literal = self.number_or_duration(token);
        if out_of_range(literal.value) {
            self.error(pos(token), "duration out of range");
            return nothing();
        }
        number(literal, pos(token))
    }

    /// `step()` or `range()`; an `offset` may have a sign in front.
    fn duration_name(&mut self, sign: Option<(Kind, Token)>) -> Parsed<Duration> {
        let kind = if self.peek() == Kind::Step { DurationNodeKind::Step } else { DurationNodeKind::Range };
        let start = self.take().start;
        self.expect(Kind::LeftParen)?;
        let end = self.expect(Kind::RightParen)?.end;
        let duration = signed(sign, node(kind, Pos { start, end }, 0));
        self.check_duration_expr(duration.node.pos);
        Ok(duration)
    }

    /// `max_of(a, b)` or `min_of(a, b)`; an `offset` may have a sign in front.
    fn duration_max_min(&mut self, sign: Option<(Kind, Token)>) -> Parsed<Duration> {
        let is_max = self.peek() == Kind::MaxOf;
        self.take();
        self.expect(Kind::LeftParen)?;
        let a = self.duration(0)?;
        self.expect(Kind::Comma)?;
        let b = self.duration(0)?;
        self.expect(Kind::RightParen)?;
        let pos = Pos { start: a.node.pos.start, end: b.node.pos.end };
        let height = a.height.max(b.height);
        let (a, b) = (Box::new(a.node), Box::new(b.node));
        let kind = if is_max { DurationNodeKind::MaxOf(a, b) } else { DurationNodeKind::MinOf(a, b) };
        let duration = signed(sign, node(kind, pos, height));
        self.check_duration_expr(duration.node.pos);
        Ok(duration)
    }

    fn duration_paren(&mut self) -> Parsed<Duration> {
        self.take();
        let inner = self.duration(0)?;
        self.expect(Kind::RightParen)?;
        self.check_duration_expr(inner.node.pos);
        Ok(wrapped(inner))
    }

    /// A sign in front: numbers are negated, a plus changes nothing else.
    fn duration_unary(&mut self, sign: Kind, token: Token, inner: Duration) -> Duration {
        match inner.node.kind {
            DurationNodeKind::Number(mut literal) => {
                if sign == Kind::Sub {
                    literal.value = -literal.value;
                }
                if out_of_range(literal.value) {
                    self.error(pos(token), "duration out of range");
                    return nothing();
                }
                number(literal, Pos { start: token.start, end: inner.node.pos.end })
            }
            _ if sign == Kind::Sub => signed(Some((sign, token)), inner),
            _ => inner,
        }
    }

    /// What stands behind `offset`. Arithmetic needs parentheses there: `offset 5m + 1` adds 1 to the vector. But once there
    /// are some, or two signs, what follows belongs to the duration.
    pub(super) fn offset_duration(&mut self) -> Parsed<Duration> {
        loop {
            match self.peek() {
                Kind::Number | Kind::Duration => return Ok(self.duration_literal()),
                Kind::Step | Kind::Range => return self.duration_name(None),
                Kind::MaxOf | Kind::MinOf => return self.duration_max_min(None),
                Kind::LeftParen => {
                    let paren = self.duration_paren()?;
                    return self.duration_operators(paren, 0);
                }
                sign @ (Kind::Add | Kind::Sub) => {
                    let token = self.take();
                    return self.signed_offset(sign, token);
                }
                _ => self.stuck()?,
            }
        }
    }

    fn signed_offset(&mut self, sign: Kind, token: Token) -> Parsed<Duration> {
        loop {
            match self.peek() {
                Kind::Number | Kind::Duration => {
                    let literal_token = self.take();
                    let literal = self.number_or_duration(literal_token);
                    return Ok(self.duration_unary(sign, token, number(literal, pos(literal_token))));
                }
                Kind::Step | Kind::Range => return self.duration_name(Some((sign, token))),
                Kind::MaxOf | Kind::MinOf => return self.duration_max_min(Some((sign, token))),
                Kind::LeftParen => {
                    self.take();
                    let inner = self.duration(0)?;
                    self.expect(Kind::RightParen)?;
                    return Ok(self.duration_unary(sign, token, wrapped(inner)));
                }
                Kind::Add | Kind::Sub => {
                    let inner = self.duration(POW)?;
                    let left = self.duration_unary(sign, token, inner);
                    return self.duration_operators(left, 0);
                }
                _ => self.stuck()?,
            }
        }
    }

    fn check_duration_expr(&mut self, pos: Pos) {
        if !self.options.duration_expressions {
            self.error(pos, "experimental duration expression is not enabled");
        }
    }
}

/// Puts a sign in front of what is no number.
fn signed(sign: Option<(Kind, Token)>, inner: Duration) -> Duration {
    let Some((kind, token)) = sign else { return inner };
    let op = if kind == Kind::Sub { UnaryOp::Minus } else { UnaryOp::Plus };
    let pos = Pos { start: token.start, end: inner.node.pos.end };
    node(DurationNodeKind::Unary(op, Box::new(inner.node)), pos, inner.height)
}

/// Puts parentheses around, once; numbers need none.
fn wrapped(inner: Duration) -> Duration {
    match inner.node.kind {
        DurationNodeKind::Number(_) | DurationNodeKind::Paren(_) => inner,
        _ => {
            let pos = inner.node.pos;
            node(DurationNodeKind::Paren(Box::new(inner.node)), pos, inner.height)
        }
    }
}
