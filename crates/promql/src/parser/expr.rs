//! Expressions: operators by precedence, and what stands between them.

use super::{Parsed, Parser, pos};
use crate::ast::{Call, Expr, ExprKind, NumberLiteral, Pos, StringLiteral, UnaryOp};
use crate::duration;
use crate::functions;
use crate::numbers;
use crate::quote;
use crate::token::{Kind, Token};

/// Precedence of `^`, the tightest. Signs bind like `*`: what follows them is parsed with this.
const POW: u8 = 6;

/// How tight an operator binds; `None` for other tokens.
fn precedence(kind: Kind) -> Option<u8> {
    Some(match kind {
        Kind::Or => 1,
        Kind::And | Kind::Unless => 2,
        Kind::EqlC | Kind::Gte | Kind::Gtr | Kind::Lss | Kind::Lte | Kind::Neq | Kind::TrimUpper | Kind::TrimLower => 3,
        Kind::Add | Kind::Sub => 4,
        Kind::Mul | Kind::Div | Kind::Mod | Kind::Atan2 => 5,
        Kind::Pow => POW,
        _ => return None,
    })
}

/// An expression on its way into the tree. It is boxed early so that recursion is cheap.
pub(super) struct Tree {
    pub(super) expr: Box<Expr>,
    /// Levels below, itself included.
    pub(super) height: usize,
}

impl Tree {
    pub(super) fn leaf(kind: ExprKind, pos: Pos) -> Tree {
        Tree { expr: Box::new(Expr { kind, pos }), height: 1 }
    }

    /// Stands where an error was reported; never leaves the parser.
    pub(super) fn placeholder(pos: Pos) -> Tree {
        Tree::leaf(ExprKind::Number(NumberLiteral { value: 0.0, is_duration: false }), pos)
    }
}

impl Parser<'_> {
    pub(super) fn start_expr(&mut self) -> Parsed<Box<Expr>> {
        if self.peek() == Kind::Eof {
            self.take();
            self.error(Pos::default(), "no expression found in input");
            return Ok(Tree::placeholder(Pos::default()).expr);
        }
        Ok(self.expr(0)?.expr)
    }

    /// An expression whose operators bind as tight as `min` or tighter.
    pub(super) fn expr(&mut self, min: u8) -> Parsed<Tree> {
        self.descend()?;
        let tree = match self.operand() {
            Ok(left) => self.operators(left, min),
            Err(unwind) => Err(unwind),
        };
        self.depth -= 1;
        tree
    }

    /// Goes on with an expression that is there, after tokens behind it were dropped.
    fn resume(&mut self, left: Tree) -> Parsed<Tree> {
        let left = self.postfix(left)?;
        self.operators(left, 0)
    }

    fn operators(&mut self, mut left: Tree, min: u8) -> Parsed<Tree> {
        loop {
            let kind = self.peek();
            let Some(precedence) = precedence(kind).filter(|p| *p >= min) else { return Ok(left) };
            self.take();
            // `^` alone associates to the right.
            let min_right = if precedence == POW { POW } else { precedence + 1 };
            left = self.binary(left, kind, min_right)?;
        }
    }

    fn operand(&mut self) -> Parsed<Tree> {
        loop {
            match self.peek() {
                Kind::Add => return self.unary(UnaryOp::Plus),
                Kind::Sub => return self.unary(UnaryOp::Minus),
                kind if kind.starts_expr() => {
                    let tree = self.primary(kind)?;
                    return self.postfix(tree);
                }
                _ => self.stuck()?,
            }
        }
    }

    fn unary(&mut self, op: UnaryOp) -> Parsed<Tree> {
        let start = self.take().start;
        let mut tree = self.expr(POW)?;
        let end = tree.expr.pos.end;
        if let ExprKind::Number(number) = &mut tree.expr.kind {
            if op == UnaryOp::Minus {
                number.value = -number.value;
            }
            tree.expr.pos.start = start;
            return Ok(tree);
        }
        self.node(ExprKind::Unary(op, tree.expr), Pos { start, end }, tree.height)
    }

    /// A node above subtrees of at most that height.
    pub(super) fn node(&mut self, kind: ExprKind, pos: Pos, height: usize) -> Parsed<Tree> {
        self.check_depth(height + 1)?;
        Ok(Tree { expr: Box::new(Expr { kind, pos }), height: height + 1 })
    }

    fn primary(&mut self, kind: Kind) -> Parsed<Tree> {
        match kind {
            Kind::Number | Kind::Duration => {
                let token = self.take();
                let number = self.number_or_duration(token);
                Ok(Tree::leaf(ExprKind::Number(number), pos(token)))
            }
            Kind::String => Ok(self.string()),
            Kind::LeftParen => self.paren(),
            Kind::LeftBrace => self.vector_tree(),
            Kind::Identifier
            | Kind::Start
            | Kind::EndKeyword
            | Kind::Step
            | Kind::Range
            | Kind::MaxOf
            | Kind::MinOf => {
                let name = self.take();
                match self.peek() {
                    Kind::LeftParen => self.call(name),
                    _ => self.named_vector_tree(name),
                }
            }
            _ => {
                let name = self.take();
                match (kind.aggregate_op(), self.peek()) {
                    (Some(op), Kind::LeftParen | Kind::By | Kind::Without) => self.aggregate(name, op),
                    _ => self.named_vector_tree(name),
                }
            }
        }
    }

    /// The value of a number or duration; a duration counts as its seconds.
    pub(super) fn number_or_duration(&mut self, token: Token) -> NumberLiteral {
        let text = self.word(token);
        if token.kind == Kind::Number {
            let value = numbers::parse_number(text).unwrap_or_else(|e| {
                self.error(pos(token), format!("error parsing number: {e}"));
                // As in Go, a number out of range is infinite from here on.
                match e {
                    numbers::ParseNumberError::Range { .. } => f64::INFINITY,
                    _ => 0.0,
                }
            });
            return NumberLiteral { value, is_duration: false };
        }
        let ns = duration::parse_duration(text).unwrap_or_else(|e| {
            self.error(pos(token), e.to_string());
            0
        });
        NumberLiteral { value: seconds(ns), is_duration: true }
    }

    fn string(&mut self) -> Tree {
        let token = self.take();
        let bytes = self.unquote(token);
        let literal = match String::from_utf8(bytes) {
            Ok(text) => StringLiteral { text, exact: None },
            Err(e) => {
                let text = quote::lossy(e.as_bytes());
                StringLiteral { text, exact: Some(e.into_bytes().into_boxed_slice()) }
            }
        };
        Tree::leaf(ExprKind::String(literal), pos(token))
    }

    fn paren(&mut self) -> Parsed<Tree> {
        let start = self.take().start;
        let mut inner = self.expr(0)?;
        while self.peek() != Kind::RightParen {
            self.stuck()?;
            inner = self.resume(inner)?;
        }
        let end = self.take().end;
        self.node(ExprKind::Paren(inner.expr), Pos { start, end }, inner.height)
    }

    fn call(&mut self, name: Token) -> Parsed<Tree> {
        let (args, height) = self.call_args()?;
        let pos = Pos { start: name.start, end: self.last_closing };
        match self.function(name) {
            Some(function) => self.node(ExprKind::Call(Call { function, args }), pos, height),
            None => Ok(Tree::placeholder(pos)),
        }
    }

    fn function(&mut self, name: Token) -> Option<&'static str> {
        let text = self.word(name);
        let Some(function) = functions::function(text) else {
            self.error(pos(name), format!("unknown function with name {}", quote::quoted(text.as_bytes())));
            return None;
        };
        if function.experimental && !self.options.experimental_functions {
            self.error(pos(name), format!("function {} is not enabled", quote::quoted(text.as_bytes())));
        }
        Some(function.name)
    }

    /// `(a, b)`: the arguments and the height of the highest. The parenthesis was seen.
    pub(super) fn call_args(&mut self) -> Parsed<(Vec<Expr>, usize)> {
        self.expect(Kind::LeftParen)?;
        if self.peek() == Kind::RightParen {
            self.take();
            return Ok((Vec::new(), 0));
        }
        let first = self.expr(0)?;
        let (mut args, mut height) = (vec![*first.expr], first.height);
        loop {
            match self.peek() {
                Kind::RightParen => {
                    self.take();
                    return Ok((args, height));
                }
                Kind::Comma => {
                    let comma = self.take();
                    if self.peek().starts_expr() {
                        let arg = self.expr(0)?;
                        height = height.max(arg.height);
                        args.push(*arg.expr);
                    } else {
                        self.error(pos(comma), "trailing commas not allowed in function call args");
                    }
                }
                _ => self.stuck()?,
            }
        }
    }
}

/// Go's `Duration.Seconds`: whole seconds and the rest are divided apart.
#[expect(clippy::cast_precision_loss, reason = "as in Go")]
fn seconds(ns: i64) -> f64 {
    (ns / 1_000_000_000) as f64 + (ns % 1_000_000_000) as f64 / 1e9
}
