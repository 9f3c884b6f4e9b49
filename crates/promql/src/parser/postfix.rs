//! What stands behind an expression: ranges and subqueries, `offset`, `@`, `anchored`, `smoothed`.

use model::DurationMs;

use super::duration::Duration;
use super::expr::Tree;
use super::{Parsed, Parser, caught};
use crate::ast::{
    AtModifier, DurationExpr, DurationNodeKind, Edges, ExprKind, MatrixSelector, Pos, Subquery, VectorSelector,
};
use crate::duration::NO_DURATION;
use crate::numbers;
use crate::token::{Kind, Token};

/// An expression with modifiers, while they are read.
struct Subject {
    tree: Tree,
    /// It is a range of something that is no vector selector, which was reported.
    odd_range: bool,
    /// Both `anchored` and `smoothed` were written, which was reported.
    both_edges: bool,
}

impl Subject {
    fn pos(&self) -> Pos {
        self.tree.expr.pos
    }

    /// Where `offset` goes; `None` where the expression takes none.
    fn offset(&mut self) -> Option<&mut Option<DurationExpr>> {
        match &mut self.tree.expr.kind {
            ExprKind::Vector(v) => Some(&mut v.offset),
            ExprKind::Matrix(m) => Some(&mut m.selector.offset),
            ExprKind::Subquery(s) => Some(&mut s.offset),
            _ => None,
        }
    }

    /// Where `@` goes; `None` where the expression takes none.
    fn at(&mut self) -> Option<&mut Option<AtModifier>> {
        match &mut self.tree.expr.kind {
            ExprKind::Vector(v) => Some(&mut v.at),
            ExprKind::Matrix(m) => Some(&mut m.selector.at),
            ExprKind::Subquery(s) => Some(&mut s.at),
            _ => None,
        }
    }
}

const ONLY_FOR_VECTORS: &str = "ranges only allowed for vector selectors";

impl Parser<'_> {
    /// Reads all modifiers behind `tree`.
    #[inline(never)]
    pub(super) fn postfix(&mut self, tree: Tree) -> Parsed<Tree> {
        let mut subject = Subject { tree, odd_range: false, both_edges: false };
        loop {
            match self.peek() {
                Kind::LeftBracket => subject = self.brackets(subject)?,
                Kind::Offset => self.offset(&mut subject)?,
                Kind::At => self.at(&mut subject)?,
                Kind::Anchored => self.edges(&mut subject, Edges::Anchored),
                Kind::Smoothed => self.edges(&mut subject, Edges::Smoothed),
                _ => return Ok(subject.tree),
            }
        }
    }

    /// `[5m]`, `[5m:]`, `[5m:1m]`
    fn brackets(&mut self, subject: Subject) -> Parsed<Subject> {
        let left = self.take();
        let Some(range) = caught(self.positive_duration())? else {
            self.unexpected("subquery or range selector", "number, duration, step(), or range()");
            return Ok(subject);
        };
        loop {
            match self.peek() {
                Kind::RightBracket => {
                    let right = self.take();
                    return self.range(subject, range, Pos { start: left.start, end: right.end });
                }
                Kind::Colon => break,
                _ => {
                    if self.stuck_at_error_rule()? {
                        self.unexpected("subquery or range", "\":\" or \"]\"");
                        return Ok(subject);
                    }
                }
            }
        }
        self.take();
        let step = match self.subquery_step()? {
            Some(step) => step,
            None => return Ok(subject),
        };
        let end = self.take().end;
        let Subject { tree, .. } = subject;
        let pos = Pos { start: tree.expr.pos.start, end };
        let height = tree.height.max(range.height).max(step.as_ref().map_or(0, |s| s.height));
        let (range, step) = (duration_expr(range), step.map(duration_expr));
        let subquery = Subquery { expr: tree.expr, range, step, offset: None, at: None };
        let tree = self.node(ExprKind::Subquery(subquery), pos, height)?;
        Ok(Subject { tree, odd_range: false, both_edges: false })
    }

    /// What stands between the colon and `]`, which is next and not taken. The outer `None`: neither was there, which was
    /// reported.
    fn subquery_step(&mut self) -> Parsed<Option<Option<Duration>>> {
        const EXPECTED: &str = "number, duration, step(), range(), or \"]\"";
        let step = loop {
            let kind = self.peek();
            if kind == Kind::RightBracket {
                return Ok(Some(None));
            }
            if kind.starts_duration() {
                if let Some(step) = caught(self.positive_duration())? {
                    break step;
                }
            } else if !self.stuck_at_error_rule()? {
                continue;
            }
            self.unexpected("subquery selector", EXPECTED);
            return Ok(None);
        };
        while self.peek() != Kind::RightBracket {
            if self.stuck_at_error_rule()? {
                self.unexpected("subquery selector", "\"]\"");
                return Ok(None);
            }
        }
        Ok(Some(Some(step)))
    }

    fn range(&mut self, subject: Subject, range: Duration, brackets: Pos) -> Parsed<Subject> {
        let Subject { tree, both_edges, .. } = subject;
        let selector_pos = tree.expr.pos;
        let pos = Pos { start: selector_pos.start, end: self.last_closing };
        let (selector, problem) = match tree.expr.kind {
            ExprKind::Vector(v) if v.offset.is_some() && !is_computed(v.offset.as_ref()) => {
                (v, Some("no offset modifiers allowed before range"))
            }
            ExprKind::Vector(v) if matches!(v.at, Some(AtModifier::Timestamp(_))) => {
                (v, Some("no @ modifiers allowed before range"))
            }
            ExprKind::Vector(v) => (v, None),
            _ => (no_selector(), Some(ONLY_FOR_VECTORS)),
        };
        if let Some(problem) = problem {
            self.error(brackets, problem);
        }
        let height = tree.height.max(range.height);
        let matrix = MatrixSelector { selector, selector_pos, range: duration_expr(range) };
        let tree = self.node(ExprKind::Matrix(matrix), pos, height)?;
        Ok(Subject { tree, odd_range: problem == Some(ONLY_FOR_VECTORS), both_edges })
    }

    fn offset(&mut self, subject: &mut Subject) -> Parsed<()> {
        self.take();
        let Some(duration) = caught(self.offset_duration())? else {
            self.unexpected("offset", "number, duration, step(), or range()");
            return Ok(());
        };
        let at = subject.pos();
        if subject.odd_range {
            self.error(at, ONLY_FOR_VECTORS);
            return Ok(());
        }
        let Some(offset) = subject.offset() else {
            let who = "an instant vector selector or range vector selector or a subquery";
            self.error(at, format!("offset modifier must be preceded by {who}"));
            return Ok(());
        };
        if offset.is_some() {
            self.error(at, "offset may not be set multiple times");
        } else if !matches!(&duration.node.kind, DurationNodeKind::Number(n) if nanoseconds(n.value) == 0) {
            let height = duration.height;
            *offset = Some(duration_expr(duration));
            subject.tree.height = subject.tree.height.max(height + 1);
        }
        subject.tree.expr.pos.end = self.last_closing;
        self.check_depth(subject.tree.height)
    }

    fn at(&mut self, subject: &mut Subject) -> Parsed<()> {
        self.take();
        let Some(at) = caught(self.at_value())? else {
            self.unexpected("@", "timestamp");
            return Ok(());
        };
        let place = subject.pos();
        let value = match at {
            Ok(keyword) => keyword,
            Err(seconds) => {
                if !(seconds > -9_223_372_036_854_775_808.0 && seconds < 9_223_372_036_854_775_808.0) {
                    self.error(
                        place,
                        format!("timestamp out of bounds for @ modifier: {}", numbers::format_fixed(seconds)),
                    );
                }
                AtModifier::Timestamp(numbers::to_i64((seconds * 1000.0).round()))
            }
        };
        if subject.odd_range {
            self.error(place, ONLY_FOR_VECTORS);
            return Ok(());
        }
        match subject.at() {
            None => {
                let who = "an instant vector selector or range vector selector or a subquery";
                self.error(place, format!("@ modifier must be preceded by {who}"));
            }
            Some(Some(_)) => self.error(place, "@ <timestamp> may not be set multiple times"),
            Some(at) => {
                *at = Some(value);
                subject.tree.expr.pos.end = self.last_closing;
            }
        }
        Ok(())
    }

    /// `12.5`, `start()`: a keyword, or seconds as the error.
    fn at_value(&mut self) -> Parsed<Result<AtModifier, f64>> {
        let keyword = loop {
            match self.peek() {
                Kind::Number | Kind::Duration => {
                    let token = self.take();
                    return Ok(Err(self.number_or_duration(token).value));
                }
                sign @ (Kind::Add | Kind::Sub) => {
                    self.take();
                    let token = self.expect_number()?;
                    let seconds = self.number_or_duration(token).value;
                    return Ok(Err(if sign == Kind::Sub { -seconds } else { seconds }));
                }
                Kind::Start => break AtModifier::Start,
                Kind::EndKeyword => break AtModifier::End,
                _ => self.stuck()?,
            }
        };
        self.take();
        self.expect(Kind::LeftParen)?;
        self.expect(Kind::RightParen)?;
        Ok(Ok(keyword))
    }

    /// Takes a number or duration.
    pub(super) fn expect_number(&mut self) -> Parsed<Token> {
        while !matches!(self.peek(), Kind::Number | Kind::Duration) {
            self.stuck()?;
        }
        Ok(self.take())
    }

    fn edges(&mut self, subject: &mut Subject, edges: Edges) {
        self.take();
        let name = edges.name();
        let place = subject.pos();
        if !self.options.extended_range_selectors {
            return self.error(place, format!("{name} modifier is experimental and not enabled"));
        }
        let selector = match &mut subject.tree.expr.kind {
            ExprKind::Vector(v) => v,
            ExprKind::Matrix(_) if subject.odd_range => return,
            ExprKind::Matrix(m) => &mut m.selector,
            ExprKind::Subquery(_) => {
                return self.error(place, format!("{name} modifier is not supported for subqueries"));
            }
            _ => return self.error(place, format!("{name} modifier not implemented")),
        };
        if subject.both_edges || (selector.edges != Edges::Plain && selector.edges != edges) {
            subject.both_edges = true;
            self.error(place, "anchored and smoothed modifiers cannot be used together");
        }
        selector.edges = edges;
    }
}

/// Stands where a range was put on something else.
fn no_selector() -> VectorSelector {
    VectorSelector {
        name: String::new(),
        matchers: Vec::new(),
        inexact: Vec::new(),
        offset: None,
        at: None,
        edges: Edges::Plain,
    }
}

fn is_computed(offset: Option<&DurationExpr>) -> bool {
    matches!(offset, Some(DurationExpr::Computed(_)))
}

/// As Prometheus takes seconds: rounded to nanoseconds.
fn nanoseconds(seconds: f64) -> i64 {
    numbers::to_i64((seconds * 1e9).round())
}

fn duration_expr(duration: Duration) -> DurationExpr {
    match duration.node.kind {
        DurationNodeKind::Number(n) => DurationExpr::Literal(match nanoseconds(n.value) {
            i64::MIN => NO_DURATION,
            ns => DurationMs(ns / 1_000_000),
        }),
        _ => DurationExpr::Computed(Box::new(duration.node)),
    }
}

impl Edges {
    /// The keyword.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Edges::Plain => "",
            Edges::Anchored => "anchored",
            Edges::Smoothed => "smoothed",
        }
    }
}
