//! Aggregations.

use super::{Grammar, Kind};

impl Grammar<'_> {
    fn grouping(&mut self) -> String {
        match self.below(4) {
            0 => String::new(),
            1 | 2 => {
                self.note("by");
                format!(" by ({})", self.pick(&["job", "instance", "job, instance", "code", "job, code", "", "le"]))
            }
            _ => {
                self.note("without");
                format!(" without ({})", self.pick(&["instance", "job", "code", "instance, code", "", "missing"]))
            }
        }
    }

    pub(super) fn aggregation(&mut self, depth: u64, kind: Kind) -> String {
        if kind == Kind::Histograms {
            return self.aggregation_of_histograms(depth);
        }
        let grouping = self.grouping();
        match self.below(10) {
            0 => {
                self.note("quantile");
                let ratio = if self.one_in(4) { self.scalar(depth - 1) } else { self.ratio() };
                format!("quantile{grouping} ({ratio}, {})", self.vector(depth - 1, kind))
            }
            1 => {
                self.note("count_values");
                let label = self.pick(&["value", "value", "code", "job", "le"]);
                format!("count_values{grouping} (\"{label}\", {})", self.vector(depth - 1, kind))
            }
            2 | 3 => {
                let op = self.noted(&["topk", "bottomk"]);
                let k = if self.one_in(5) { self.scalar(depth - 1) } else { format!("{}", 1 + self.below(4)) };
                let inner = self.vector(depth - 1, kind);
                self.out.chosen_from.push(inner.clone());
                format!("{op}{grouping} ({k}, {inner})")
            }
            4 if self.language.is_newer() => self.sampled(depth, kind, &grouping),
            _ => {
                let op = self.noted(&["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"]);
                let inner = self.vector(depth - 1, kind);
                match self.one_in(4) {
                    true => format!("{op}({inner}){grouping}"),
                    false => format!("{op}{grouping} ({inner})"),
                }
            }
        }
    }

    fn aggregation_of_histograms(&mut self, depth: u64) -> String {
        let grouping = self.grouping();
        let kind = Kind::Histograms;
        let op = match self.below(10) {
            0 => return self.sampled(depth, kind, &grouping),
            1 => self.noted(&["topk", "min", "stddev", "quantile", "count_values"]),
            _ => self.noted(&["sum", "avg", "sum", "avg", "sum", "avg", "count", "group"]),
        };
        let argument = match op {
            "topk" => "2, ",
            "quantile" => "0.5, ",
            "count_values" => "\"value\", ",
            _ => "",
        };
        format!("{op}{grouping} ({argument}{})", self.vector(depth - 1, kind))
    }

    /// `limitk` and `limit_ratio`.
    fn sampled(&mut self, depth: u64, kind: Kind, grouping: &str) -> String {
        let op = self.noted(&["limitk", "limit_ratio"]);
        let argument = match op {
            _ if self.one_in(6) => self.scalar(depth - 1),
            "limitk" => format!("{}", 1 + self.below(4)),
            _ => self.pick(&["0.5", "-0.5", "0.25", "-0.75", "0.9", "1", "0"]).to_owned(),
        };
        format!("{op}{grouping} ({argument}, {})", self.vector(depth - 1, kind))
    }
}
