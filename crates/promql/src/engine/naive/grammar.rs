//! Random expressions and series.
//!
//! Two evaluators that add in different orders differ in last digits. What makes a large difference of a small one (rounding,
//! comparing, dividing, roots, tangents, …) is therefore only applied to what both know exactly: samples are multiples of 1/2, and
//! sums and products of those are exact.

use model::{Labels, stale_nan};

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 .. n
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.below(of.len())]
    }

    pub(crate) fn between(&mut self, from: i64, to: i64) -> i64 {
        from + i64::try_from(self.next() % (to - from) as u64).unwrap()
    }
}

/// How much of an expression's value is known exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Digits {
    Exact,
    Any,
}

/// Makes expressions.
pub(crate) struct Grammar<'r> {
    pub(crate) random: &'r mut Random,
    /// Selectors may match several names: only where every vector has one step, since equal labels of series that do not meet
    /// are an error of some functions.
    pub(crate) several_names: bool,
    /// A subquery is being written; another within it would take the naive evaluator minutes.
    pub(crate) in_subquery: bool,
}

const DELICATE_FUNCTIONS: [&str; 12] =
    ["ceil", "floor", "sgn", "sqrt", "ln", "log2", "log10", "tan", "asin", "acos", "acosh", "atanh"];
const SMOOTH_FUNCTIONS: [&str; 9] = ["abs", "sin", "cos", "atan", "asinh", "tanh", "rad", "deg", "exp"];
const CALENDAR: [&str; 8] =
    ["year", "month", "day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute"];
const EXACT_WINDOWS: [&str; 14] = [
    "sum_over_time",
    "count_over_time",
    "present_over_time",
    "min_over_time",
    "max_over_time",
    "first_over_time",
    "last_over_time",
    "changes",
    "resets",
    "idelta",
    "ts_of_min_over_time",
    "ts_of_max_over_time",
    "ts_of_first_over_time",
    "ts_of_last_over_time",
];
const ANY_WINDOWS: [&str; 9] = [
    "rate",
    "increase",
    "delta",
    "irate",
    "avg_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "mad_over_time",
    "deriv",
];

impl Grammar<'_> {
    /// A vector, or a number.
    pub(crate) fn expression(&mut self) -> String {
        if self.random.one_in(12) {
            return self.number(2, Digits::Any);
        }
        if self.random.one_in(12) {
            let op = self.random.pick(&["topk", "bottomk"]);
            let (k, grouping, inner) = (self.random.below(4), self.grouping(), self.vector(2, Digits::Exact));
            return format!("{op}{grouping}({k}, {inner})");
        }
        self.vector(3, Digits::Any)
    }

    fn number(&mut self, depth: usize, digits: Digits) -> String {
        let n = self.random.between(-20, 40);
        if depth == 0 {
            return format!("{n}");
        }
        match self.random.below(9) {
            0 => "time()".to_owned(),
            1 if digits == Digits::Any => "pi()".to_owned(),
            2 => format!("scalar({})", self.vector(depth - 1, digits)),
            3 => format!("-({})", self.number(depth - 1, digits)),
            4 => {
                let op = self.random.pick(&["+", "-", "*", "== bool", "> bool"]);
                format!("({} {op} {})", self.number(depth - 1, Digits::Exact), self.number(depth - 1, Digits::Exact))
            }
            5 => format!("{}()", self.random.pick(&["start", "end", "range", "step"])),
            6 => format!("{}(time(), {n})", self.random.pick(&["max_of", "min_of"])),
            7 => format!("{}", n as f64 / 2.0),
            _ => format!("{n}"),
        }
    }

    fn matchers(&mut self) -> String {
        let mut all = Vec::new();
        if self.random.one_in(3) {
            all.push(format!(
                "l{}",
                self.random.pick(&["=\"x\"", "!=\"x\"", "=~\"x|y\"", "!~\"z\"", "=\"\"", "=\"none\""])
            ));
        }
        if self.random.one_in(4) {
            all.push(format!("m{}", self.random.pick(&["=\"1\"", "!=\"2\"", "=~\".+\"", "=\"\""])));
        }
        all.join(",")
    }

    fn selector(&mut self) -> String {
        let matchers = self.matchers();
        if self.several_names && self.random.one_in(8) {
            let comma = if matchers.is_empty() { "" } else { "," };
            return format!("{{__name__=~\"a|b\"{comma}{matchers}}}");
        }
        format!("{}{{{matchers}}}", self.random.pick(&["a", "b", "c_total", "a", "b", "c_total", "missing"]))
    }

    fn modifiers(&mut self) -> String {
        let mut out = String::new();
        if self.random.one_in(5) {
            out += self.random.pick(&[
                " offset 1m",
                " offset -2m",
                " offset 37s",
                " offset (30 * 2)",
                " offset -(20s + 1)",
            ]);
        }
        if self.random.one_in(8) {
            out += self.random.pick(&[" @ 300", " @ start()", " @ end()", " @ 451.5"]);
        }
        out
    }

    /// A range vector; `extended` where the function allows `anchored` and `smoothed`.
    fn range(&mut self, depth: usize, extended: &[&str]) -> String {
        if depth > 0 && !self.in_subquery && self.random.one_in(3) {
            self.in_subquery = true;
            let inner = self.vector(depth - 1, Digits::Exact);
            self.in_subquery = false;
            let step = self.random.pick(&["", "20s", "45s", "1m"]);
            let width = self.random.pick(&["2m", "150s", "4m"]);
            return format!("({inner})[{width}:{step}]{}", self.modifiers());
        }
        let width = self.random.pick(&["15s", "1m", "95s", "3m", "8m", "(30 * 3)", "max_of(1m, 20s)"]);
        let edges = if !extended.is_empty() && self.random.one_in(3) { self.random.pick(extended) } else { "" };
        format!("{}[{width}]{edges}{}", self.selector(), self.modifiers())
    }

    fn window(&mut self, depth: usize, digits: Digits) -> String {
        let any = digits == Digits::Any && self.random.one_in(2);
        if any && self.random.one_in(4) {
            let range = self.range(depth, &[]);
            return match self.random.below(3) {
                0 => format!("quantile_over_time({}, {range})", self.random.pick(&["0.5", "0.9", "0", "1", "-1", "2"])),
                1 => format!("predict_linear({range}, {})", self.random.between(-100, 100)),
                _ => format!("double_exponential_smoothing({range}, 0.3, 0.6)"),
            };
        }
        let function = if any { self.random.pick(&ANY_WINDOWS) } else { self.random.pick(&EXACT_WINDOWS) };
        let extended: &[&str] = match function {
            "rate" | "increase" | "delta" => &[" anchored", " smoothed"],
            "changes" | "resets" => &[" anchored"],
            _ => &[],
        };
        format!("{function}({})", self.range(depth, extended))
    }

    fn grouping(&mut self) -> &'static str {
        self.random.pick(&["", " by (l)", " by (m, l)", " without (l)", " without (m)", " by ()", " without (x)"])
    }

    fn aggregate(&mut self, depth: usize, digits: Digits) -> String {
        let grouping = self.grouping();
        match self.random.below(if digits == Digits::Any { 9 } else { 6 }) {
            n @ 0..4 => {
                let inner = self.vector(depth - 1, if n < 2 { digits } else { Digits::Exact });
                format!("{}{grouping}({inner})", self.random.pick(&["sum", "min", "max", "count", "group"]))
            }
            4 => format!("count_values{grouping}(\"n\", {})", self.vector(depth - 1, Digits::Exact)),
            5 => {
                let ratio = self.random.pick(&["0.3", "-0.7", "1", "0"]);
                format!("limit_ratio{grouping}({ratio}, {})", self.vector(depth - 1, digits))
            }
            6 => format!("quantile{grouping}(0.{}, {})", self.random.below(10), self.vector(depth - 1, Digits::Exact)),
            _ => {
                let op = self.random.pick(&["avg", "stddev", "stdvar"]);
                format!("{op}{grouping}({})", self.vector(depth - 1, Digits::Exact))
            }
        }
    }

    fn matching(&mut self, fills: bool) -> String {
        let labels = self.random.pick(&["", " on (l, m)", " ignoring (n)", " on (l)", " ignoring (m)", " on ()"]);
        let group = match labels {
            "" => "",
            _ => self.random.pick(&["", " group_left ()", " group_right ()", " group_left (n)"]),
        };
        let fill =
            if fills { self.random.pick(&["", "", "", " fill (0)", " fill_left (2)", " fill_right (-1)"]) } else { "" };
        format!("{labels}{group}{fill}")
    }

    fn binary(&mut self, depth: usize, digits: Digits) -> String {
        let (op, wanted) = match self.random.below(8) {
            0 | 1 => (self.random.pick(&["+", "-", "*"]), digits),
            2 if digits == Digits::Any => (self.random.pick(&["/", "%", "^", "atan2"]), Digits::Exact),
            3 | 2 => (self.random.pick(&["== bool", "!= bool", "> bool", "<= bool"]), Digits::Exact),
            4 => (self.random.pick(&["==", "!=", ">", "<", ">=", "<="]), Digits::Exact),
            _ => (self.random.pick(&["and", "or", "unless"]), digits),
        };
        let lhs = self.vector(depth - 1, wanted);
        if matches!(op, "and" | "or" | "unless") {
            let labels = self.random.pick(&["", " on (l)", " ignoring (m, n)", " on ()"]);
            return format!("({lhs} {op}{labels} {})", self.vector(depth - 1, wanted));
        }
        if self.random.one_in(3) {
            let number = self.number(depth - 1, wanted);
            return if self.random.one_in(2) {
                format!("({lhs} {op} {number})")
            } else {
                format!("({number} {op} {lhs})")
            };
        }
        format!("({lhs} {op}{} {})", self.matching(true), self.vector(depth - 1, wanted))
    }

    fn function(&mut self, depth: usize, digits: Digits) -> String {
        let any = digits == Digits::Any;
        match self.random.below(12) {
            0 if any => format!("{}({})", self.random.pick(&SMOOTH_FUNCTIONS), self.vector(depth - 1, Digits::Exact)),
            1 if any => format!("{}({})", self.random.pick(&DELICATE_FUNCTIONS), self.vector(depth - 1, Digits::Exact)),
            2 => format!(
                "{}({})",
                self.random.pick(&["ceil", "floor", "sgn", "abs"]),
                self.vector(depth - 1, Digits::Exact)
            ),
            3 => match self.random.below(3) {
                0 => format!("clamp({}, -3, {})", self.vector(depth - 1, Digits::Exact), self.random.between(-5, 20)),
                1 => format!("clamp_min({}, 2)", self.vector(depth - 1, Digits::Exact)),
                _ => format!("clamp_max({}, 7)", self.vector(depth - 1, Digits::Exact)),
            },
            4 => format!("round({}{})", self.vector(depth - 1, Digits::Exact), self.random.pick(&["", ", 2", ", 0.5"])),
            5 => {
                let inner = if self.random.one_in(2) { self.selector() } else { self.vector(depth - 1, digits) };
                format!("timestamp({inner})")
            }
            6 => {
                let inner = if self.random.one_in(2) { self.selector() } else { self.vector(depth - 1, digits) };
                format!("absent({inner})")
            }
            7 => format!("absent_over_time({})", self.range(depth - 1, &[])),
            8 => {
                let (dst, replacement) = (self.random.pick(&["n", "l"]), self.random.pick(&["$1", "v-$1", ""]));
                let pattern = self.random.pick(&["(.*)", "x", "y"]);
                format!(
                    "label_replace({}, \"{dst}\", \"{replacement}\", \"l\", \"{pattern}\")",
                    self.vector(depth - 1, digits)
                )
            }
            9 => format!("label_join({}, \"n\", \"-\", \"l\", \"m\")", self.vector(depth - 1, digits)),
            10 => format!("vector({})", self.number(depth - 1, digits)),
            _ => {
                // Of times only: what the calendar says of infinity is nobody's business.
                let times = format!("timestamp({})", self.vector(depth - 1, digits));
                let inner = if self.random.one_in(3) { String::new() } else { times };
                format!("{}({inner})", self.random.pick(&CALENDAR))
            }
        }
    }

    fn vector(&mut self, depth: usize, digits: Digits) -> String {
        if depth == 0 {
            let selector = self.selector();
            // What `smoothed` gives is not exact.
            let smoothed = if digits == Digits::Any && self.random.one_in(4) { " smoothed" } else { "" };
            return self.modified(format!("{selector}{smoothed}"));
        }
        match self.random.below(12) {
            0 => {
                let selector = self.selector();
                self.modified(selector)
            }
            1..4 => self.window(depth - 1, digits),
            4..6 => self.aggregate(depth, digits),
            6..9 => self.binary(depth, digits),
            9 => format!("-({})", self.vector(depth - 1, digits)),
            10 => format!("sort({})", self.vector(depth - 1, digits)),
            _ => self.function(depth, digits),
        }
    }

    /// A selector with `offset` and `@`, in parentheses: an offset in parentheses would take an operator behind it for its own.
    fn modified(&mut self, selector: String) -> String {
        let modifiers = self.modifiers();
        if modifiers.is_empty() { selector } else { format!("({selector}{modifiers})") }
    }

    /// Series over twenty minutes: a sample every 15 s or so, with gaps, ends, resets and values that are no numbers.
    pub(crate) fn series(&mut self) -> Vec<(Labels, Vec<(i64, f64)>)> {
        let mut all = Vec::new();
        for name in ["a", "b", "c_total"] {
            for l in ["x", "y", "z", ""] {
                for m in ["1", "2"] {
                    if self.random.one_in(4) {
                        continue;
                    }
                    let pairs = [("__name__", name), ("l", l), ("m", m)];
                    let labels = pairs.into_iter().filter(|(_, value)| !value.is_empty());
                    let samples = self.samples(name == "c_total");
                    if !samples.is_empty() {
                        all.push((Labels::from_pairs(labels).unwrap(), samples));
                    }
                }
            }
        }
        all
    }

    fn samples(&mut self, is_counter: bool) -> Vec<(i64, f64)> {
        let random = &mut *self.random;
        let mut out = Vec::new();
        // Times are multiples of half a second, too: what is added up of them is exact.
        let (mut t, mut v) = (500 * random.between(-120, 600), 0.0);
        let odd = random.one_in(4);
        let even = random.one_in(2);
        while t < 1_200_000 {
            let change = random.between(-10, 20) as f64 / 2.0;
            v = match is_counter {
                true if random.one_in(12) => 0.0,
                true => v + change.abs(),
                false => change,
            };
            let value = match random.below(40) {
                0 => stale_nan(),
                1 if odd => f64::NAN,
                2 if odd => f64::INFINITY,
                3 if odd => f64::NEG_INFINITY,
                _ => v,
            };
            out.push((t, value));
            t += 15_000;
            if !even {
                t += 500 * random.between(-6, 6);
            }
            if random.one_in(15) {
                t += 500 * random.between(40, 1000);
            }
        }
        out
    }
}
