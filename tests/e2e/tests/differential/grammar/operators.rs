//! Operators between vectors.

use super::{Grammar, Kind};

const ARITHMETIC: &[&str] = &["+", "-", "*", "/", "%", "^", "atan2"];
const COMPARISONS: &[&str] = &["==", "!=", "<", "<=", ">", ">="];
const SETS: &[&str] = &["and", "or", "unless"];

impl Grammar<'_> {
    pub(super) fn binary(&mut self, depth: u64, kind: Kind) -> String {
        if kind == Kind::Histograms {
            return self.between_histograms(depth);
        }
        match self.below(10) {
            0..3 => {
                let (op, bool) = self.operator(1);
                format!("({} {op}{bool} {})", self.vector(depth - 1, kind), self.scalar(depth - 1))
            }
            3 => {
                let (op, bool) = self.operator(2);
                format!("({} {op}{bool} {})", self.scalar(depth - 1), self.vector(depth - 1, kind))
            }
            4..6 => self.set(depth),
            6 => self.grouped(depth),
            _ => self.matched(depth),
        }
    }

    /// An arithmetic operator or a comparison, and ` bool` or nothing: one comparison of `1 + filters` filters.
    fn operator(&mut self, bools: u64) -> (&'static str, &'static str) {
        if self.below(3) > 0 {
            // Prometheus 2 forgets to drop the name after `atan2`, the last of them.
            let all = if self.language.is_newer() { ARITHMETIC } else { &ARITHMETIC[..ARITHMETIC.len() - 1] };
            return (self.noted(all), "");
        }
        let op = self.noted(COMPARISONS);
        if self.below(1 + bools) == 0 {
            return (op, "");
        }
        self.note("bool");
        (op, " bool")
    }

    fn between_histograms(&mut self, depth: u64) -> String {
        let vector = self.vector(depth - 1, Kind::Histograms);
        match self.below(10) {
            0..3 => {
                let op = self.noted(&["*", "/", "*", "/", "+", "^", "<"]);
                format!("({vector} {op} {})", self.number())
            }
            3 => {
                self.note("*");
                format!("({} * {vector})", self.number())
            }
            4 | 5 => {
                let op = self.noted(&["</", ">/"]);
                format!("({vector} {op} {})", self.number())
            }
            6 => {
                let op = self.noted(&["==", "!=", "==", "!=", ">"]);
                let bool = if self.one_in(3) { " bool" } else { "" };
                format!("({vector} {op}{bool} {})", self.vector(depth - 1, Kind::Histograms))
            }
            7 => {
                let op = self.noted(SETS);
                format!("({vector} {op} {})", self.vector(depth - 1, Kind::Histograms))
            }
            _ => {
                let op = self.noted(&["+", "-"]);
                let (matching, fill) = (self.matching(), self.fill());
                format!("({vector} {op}{matching}{fill} {})", self.vector(depth - 1, Kind::Histograms))
            }
        }
    }

    /// ` on (…)`, ` ignoring (…)`, or nothing.
    fn matching(&mut self) -> String {
        match self.below(4) {
            0 => {
                self.note("ignoring");
                format!(" ignoring ({})", self.pick(&["code", "code, le", "version, zone", "missing", ""]))
            }
            1 | 2 => {
                self.note("on");
                format!(" on ({})", self.pick(&["job, instance", "instance, job", "job, instance, code"]))
            }
            _ => String::new(),
        }
    }

    fn set(&mut self, depth: u64) -> String {
        let op = self.noted(SETS);
        let matching = match self.below(5) {
            0 => {
                self.note("on");
                format!(" on ({})", self.pick(&["job", "instance", ""]))
            }
            _ => self.matching(),
        };
        format!("({} {op}{matching} {})", self.vector(depth - 1, Kind::Floats), self.vector(depth - 1, Kind::Floats))
    }

    fn fill(&mut self) -> String {
        if !self.language.is_newer() || self.below(5) > 0 {
            return String::new();
        }
        let number = self.pick(&["0", "1", "-2.5", "NaN", "10"]);
        match self.noted(&["fill", "fill_left", "fill_right", "fill_left and fill_right"]) {
            "fill_left and fill_right" => format!(" fill_left({number}) fill_right(3)"),
            word => format!(" {word}({number})"),
        }
    }

    /// One to one.
    fn matched(&mut self, depth: u64) -> String {
        let (op, bool) = self.operator(3);
        let (left, right) = match self.below(3) {
            // The same twice matches whatever it is.
            0 => {
                let one = self.vector(depth - 1, Kind::Floats);
                let other = self.modified("limit".to_owned());
                if self.one_in(2) { (one.clone(), one) } else { (one, other) }
            }
            // Aggregates by the same labels.
            1 => {
                let by = self.pick(&["job, instance", "job", "instance"]);
                self.note("by");
                let ops = [self.noted(&["sum", "max", "avg"]), self.noted(&["min", "count", "sum"])];
                ops.map(|op| format!("{op} by ({by}) ({})", self.vector(depth - 1, Kind::Floats))).into()
            }
            _ => (self.vector(depth - 1, Kind::Floats), self.vector(depth - 1, Kind::Floats)),
        };
        let (matching, fill) = (self.matching(), self.fill());
        format!("({left} {op}{bool}{matching}{fill} {right})")
    }

    /// Many to one, or one to many.
    fn grouped(&mut self, depth: u64) -> String {
        let (op, bool) = self.operator(3);
        let many = match self.one_in(2) {
            true => "requests_total".to_owned(),
            false => self.vector(depth - 1, Kind::Floats),
        };
        let one = match self.below(3) {
            0 => self.pick(&["target_info", "limit", "build_info", "state"]).to_owned(),
            1 => {
                self.note("by");
                self.note("sum");
                format!("sum by (job, instance) ({})", self.vector(depth - 1, Kind::Floats))
            }
            _ => self.vector(depth - 1, Kind::Floats),
        };
        let on = match self.below(5) {
            0 => {
                self.note("ignoring");
                " ignoring (code, version, zone, le)"
            }
            1 => {
                self.note("on");
                " on (instance)"
            }
            _ => {
                self.note("on");
                " on (job, instance)"
            }
        };
        let include = self.pick(&["", " ()", " (version)", " (zone, version)", " (code)", " (missing)"]);
        let fill = self.fill();
        if self.one_in(2) {
            self.note("group_left");
            format!("({many} {op}{bool}{on} group_left{include}{fill} {one})")
        } else {
            self.note("group_right");
            format!("({one} {op}{bool}{on} group_right{include}{fill} {many})")
        }
    }
}
