//! Expressions over several lines: what `/api/v1/format_query` and `promtool promql format` print.
//!
//! Source: Prometheus `promql/parser/prettier.go` at v3.14.0.

use std::fmt::{self, Write};

use crate::ast::{Expr, ExprKind};
use crate::printer;

/// Expressions of more bytes are taken apart.
const LINE_BYTES_MAX: usize = 100;

/// Prints an expression, taken apart where a line would be longer than 100 bytes.
pub fn pretty(expr: &Expr) -> String {
    let mut out = String::new();
    write_pretty(&mut out, expr, 0).expect("a String takes every write");
    out
}

/// Takes so many bytes, then gives an error: so an expression is printed no further than it must be to know that it is long.
struct Line {
    left: usize,
}

impl Write for Line {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.left = self.left.checked_sub(s.len()).ok_or(fmt::Error)?;
        Ok(())
    }
}

fn needs_split(expr: &Expr) -> bool {
    printer::write_expr(&mut Line { left: LINE_BYTES_MAX }, expr).is_err()
}

fn indent(out: &mut String, level: usize) {
    for _ in 0..level {
        out.push_str("  ");
    }
}

fn write_pretty(out: &mut String, expr: &Expr, level: usize) -> fmt::Result {
    match &expr.kind {
        ExprKind::Subquery(s) if needs_split(expr) => {
            write_pretty(out, &s.expr, level)?;
            return printer::write_subquery_suffix(out, s);
        }
        // As in Prometheus, without the indentation.
        ExprKind::Subquery(_) => return printer::write_expr(out, expr),
        ExprKind::Unary(op, inner) => {
            indent(out, level);
            out.push_str(op.as_str());
            let start = out.len();
            write_pretty(out, inner, level)?;
            return trim_from(out, start);
        }
        ExprKind::Binary(b) if needs_split(expr) => {
            write_pretty(out, &b.lhs, level + 1)?;
            out.push('\n');
            indent(out, level);
            printer::write_operator(out, b)?;
            out.push('\n');
            return write_pretty(out, &b.rhs, level + 1);
        }
        _ => indent(out, level),
    }
    match &expr.kind {
        ExprKind::Aggregate(a) if needs_split(expr) => {
            printer::write_aggregate_head(out, a)?;
            out.push_str("(\n");
            if let Some(param) = &a.param {
                write_pretty(out, param, level + 1)?;
                out.push_str(",\n");
            }
            write_pretty(out, &a.expr, level + 1)?;
        }
        ExprKind::Call(c) if needs_split(expr) => {
            out.push_str(c.function);
            out.push_str("(\n");
            for (i, arg) in c.args.iter().enumerate() {
                if i > 0 {
                    out.push_str(",\n");
                }
                write_pretty(out, arg, level + 1)?;
            }
        }
        ExprKind::Paren(inner) if needs_split(expr) => {
            out.push_str("(\n");
            write_pretty(out, inner, level + 1)?;
        }
        _ => return printer::write_expr(out, expr),
    }
    out.push('\n');
    indent(out, level);
    out.push(')');
    Ok(())
}

/// Drops space at both ends of what was written from `start` on.
fn trim_from(out: &mut String, start: usize) -> fmt::Result {
    out.truncate(out.trim_end().len().max(start));
    let spaces = out[start..].len() - out[start..].trim_start().len();
    out.replace_range(start..start + spaces, "");
    Ok(())
}
