//! Operators between two expressions, and how vectors meet there: `a + on (x) group_left (y) fill (0) b`.

use super::expr::Tree;
use super::{Parsed, Parser};
use crate::ast::{Binary, Cardinality, ExprKind, Pos, VectorMatching};
use crate::token::Kind;

/// What may stand behind an operator.
#[derive(Default)]
struct Modifiers {
    return_bool: bool,
    matching: VectorMatching,
}

impl Parser<'_> {
    /// The rest of `left op …`; the operator was taken. Operators of the right side bind as tight as `min` or tighter.
    pub(super) fn binary(&mut self, left: Tree, op: Kind, min: u8) -> Parsed<Tree> {
        let modifiers = self.modifiers()?;
        let right = self.expr(min)?;
        let height = left.height.max(right.height);
        let pos = Pos { start: left.expr.pos.start, end: right.expr.pos.end };
        let kind = self.new_binary(left, op, *modifiers, right, pos);
        self.node(kind, pos, height)
    }

    /// In a function of its own to keep the recursion's frames small.
    #[inline(never)]
    fn new_binary(&mut self, left: Tree, op: Kind, modifiers: Modifiers, right: Tree, pos: Pos) -> ExprKind {
        let Modifiers { return_bool, matching } = modifiers;
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        if fills && !self.options.binop_fill_modifiers {
            self.error(pos, "binop fill modifiers are experimental and not enabled");
        }
        ExprKind::Binary(Binary {
            op: op.binary_op().expect("has a precedence, so it is an operator"),
            lhs: left.expr,
            rhs: right.expr,
            matching: Some(matching),
            return_bool,
        })
    }

    #[inline(never)]
    fn modifiers(&mut self) -> Parsed<Box<Modifiers>> {
        let mut modifiers = Box::<Modifiers>::default();
        if self.peek() == Kind::Bool {
            self.take();
            modifiers.return_bool = true;
        }
        let matching = &mut modifiers.matching;
        if let kind @ (Kind::On | Kind::Ignoring) = self.peek() {
            self.take();
            matching.on = kind == Kind::On;
            matching.labels = self.grouping_labels()?;
            self.group_modifier(matching)?;
        }
        self.fill_modifiers(matching)?;
        Ok(modifiers)
    }

    /// `group_left`, `group_right`, with or without labels.
    fn group_modifier(&mut self, matching: &mut VectorMatching) -> Parsed<()> {
        matching.cardinality = match self.peek() {
            Kind::GroupLeft => Cardinality::ManyToOne,
            Kind::GroupRight => Cardinality::OneToMany,
            _ => return Ok(()),
        };
        self.take();
        let next = self.peek();
        // A parenthesis begins the labels; what can only be the right side or a fill means that there are none.
        if next == Kind::LeftParen || !next.starts_expr() {
            matching.include = self.grouping_labels()?;
        }
        Ok(())
    }

    /// `fill`, or `fill_left` and `fill_right` in either order.
    fn fill_modifiers(&mut self, matching: &mut VectorMatching) -> Parsed<()> {
        match self.peek() {
            Kind::Fill => {
                let value = self.fill_value()?;
                matching.fill_left = Some(value);
                matching.fill_right = Some(value);
            }
            Kind::FillLeft => {
                matching.fill_left = Some(self.fill_value()?);
                if self.peek() == Kind::FillRight {
                    matching.fill_right = Some(self.fill_value()?);
                }
            }
            Kind::FillRight => {
                matching.fill_right = Some(self.fill_value()?);
                if self.peek() == Kind::FillLeft {
                    matching.fill_left = Some(self.fill_value()?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// `fill (-1)`
    fn fill_value(&mut self) -> Parsed<f64> {
        self.take();
        self.expect(Kind::LeftParen)?;
        let mut negative = false;
        if let sign @ (Kind::Add | Kind::Sub) = self.peek() {
            self.take();
            negative = sign == Kind::Sub;
        }
        let token = self.expect_number()?;
        let number = self.number_or_duration(token).value;
        self.expect(Kind::RightParen)?;
        Ok(if negative { -number } else { number })
    }
}
