//! Calls of functions.

use super::{Grammar, Kind};

/// The functions of one float vector, of Prometheus 2.42 already.
const OF_FLOATS: &str = "abs acos acosh asin asinh atan atanh ceil cos cosh day_of_month day_of_week day_of_year \
                         days_in_month deg exp floor hour ln log10 log2 minute month rad sgn sin sinh sort sort_desc \
                         sqrt tan tanh timestamp year";
const OF_HISTOGRAMS: &str = "histogram_avg histogram_count histogram_sum histogram_stddev histogram_stdvar";
/// Functions of the samples of a window, of Prometheus 2.42 already.
const OF_WINDOWS: &str = "avg_over_time changes count_over_time delta deriv idelta increase irate last_over_time \
                          max_over_time min_over_time predict_linear present_over_time quantile_over_time rate resets \
                          stddev_over_time stdvar_over_time sum_over_time absent_over_time";
const OF_WINDOWS_NEWER: &str = "double_exponential_smoothing first_over_time mad_over_time ts_of_first_over_time \
                                ts_of_last_over_time ts_of_max_over_time ts_of_min_over_time";
/// What is asked of windows of histograms.
const OF_HISTOGRAM_WINDOWS: &str = "avg_over_time changes count_over_time delta idelta increase irate last_over_time \
                                    present_over_time rate resets sum_over_time first_over_time ts_of_first_over_time \
                                    ts_of_last_over_time max_over_time quantile_over_time deriv absent_over_time";
/// Those whose result is histograms.
const TO_HISTOGRAMS: &str =
    "avg_over_time delta idelta increase irate last_over_time rate sum_over_time first_over_time rate increase";
const EXTENDED: [&str; 5] = ["rate", "increase", "delta", "changes", "resets"];

impl Grammar<'_> {
    /// One of the names of a table, counted.
    fn name(&mut self, table: &'static str) -> &'static str {
        let names: Vec<&'static str> = table.split_whitespace().collect();
        self.noted(&names)
    }

    pub(super) fn of_window(&mut self, depth: u64, kind: Kind) -> String {
        let newer = self.language.is_newer();
        let (table, taken) = match kind {
            Kind::Histograms => (TO_HISTOGRAMS, kind),
            Kind::Floats if newer && self.one_in(6) => (OF_HISTOGRAM_WINDOWS, Kind::Histograms),
            Kind::Floats if newer && self.one_in(4) => (OF_WINDOWS_NEWER, kind),
            Kind::Floats => (OF_WINDOWS, kind),
        };
        let mut name = self.name(table);
        if name == "absent_over_time" && self.below(3) > 0 {
            name = self.noted(&["rate"]);
        }
        let window = if newer && EXTENDED.contains(&name) && self.one_in(3) {
            self.extended(taken, name)
        } else if !newer && ["rate", "increase"].contains(&name) {
            let text = format!("requests_total[{}]", self.duration());
            self.modified(text)
        } else {
            self.matrix_of(depth - 1, taken)
        };
        match name {
            "quantile_over_time" => format!("{name}({}, {window})", self.ratio()),
            "predict_linear" => format!("{name}({window}, {})", self.scalar(1)),
            "double_exponential_smoothing" => format!("{name}({window}, {}, {})", self.ratio(), self.ratio()),
            _ => format!("{name}({window})"),
        }
    }

    pub(super) fn call(&mut self, depth: u64, kind: Kind) -> String {
        let newer = self.language.is_newer();
        if kind == Kind::Histograms {
            let inner = self.vector(depth - 1, kind);
            return match self.below(4) {
                0 => self.relabelled(inner),
                1 => self.informed(inner),
                2 => self.sorted(inner),
                _ => inner,
            };
        }
        match self.below(22) {
            0 => self.absent(depth),
            1 => {
                let name = self.noted(&["clamp_min", "clamp_max"]);
                format!("{name}({}, {})", self.vector(depth - 1, kind), self.scalar(depth - 1))
            }
            2 => {
                self.note("clamp");
                format!("clamp({}, {}, {})", self.vector(depth - 1, kind), self.number(), 20 + self.below(80))
            }
            3 => {
                self.note("round");
                match self.one_in(2) {
                    true => format!("round({})", self.vector(depth - 1, kind)),
                    false => format!("round({}, {})", self.vector(depth - 1, kind), self.scalar(depth - 1)),
                }
            }
            4 => {
                self.note("vector");
                format!("vector({})", self.scalar(depth - 1))
            }
            5 | 6 => {
                let inner = self.vector(depth - 1, kind);
                self.relabelled(inner)
            }
            7 => {
                let name = self.noted(&["minute", "hour", "day_of_week", "day_of_month", "month", "year"]);
                let argument = self.pick(&["", "event_time", "timestamp(state)"]);
                format!("{name}({argument})")
            }
            8..11 => self.of_buckets(depth),
            11 | 12 if newer => {
                let name = self.name(OF_HISTOGRAMS);
                format!("{name}({})", self.vector(depth - 1, Kind::Histograms))
            }
            13 if newer => {
                let inner = self.vector(depth - 1, kind);
                self.informed(inner)
            }
            14 if newer => {
                let inner = self.vector(depth - 1, kind);
                self.sorted(inner)
            }
            15 if newer && self.one_in(4) => {
                self.note("start_timestamp");
                format!("start_timestamp({})", self.vector(depth - 1, kind))
            }
            _ => {
                let name = self.name(OF_FLOATS);
                format!("{name}({})", self.vector(depth - 1, kind))
            }
        }
    }

    fn absent(&mut self, depth: u64) -> String {
        self.note("absent");
        match self.below(4) > 0 {
            true => format!("absent(nothing{{{}}})", self.pick(&["", "a=\"b\"", "a=\"b\",c=~\"d\""])),
            false => format!("absent({})", self.vector(depth - 1, Kind::Floats)),
        }
    }

    fn relabelled(&mut self, inner: String) -> String {
        match self.noted(&["label_replace", "label_join"]) {
            "label_join" => {
                let arguments = self.pick(&[
                    "\"new\", \"-\", \"job\", \"instance\"",
                    "\"job\", \"\", \"instance\"",
                    "\"new\", \"/\"",
                    "\"__name__\", \"_\", \"job\", \"code\"",
                ]);
                format!("label_join({inner}, {arguments})")
            }
            _ => {
                let arguments = self.pick(&[
                    "\"new\", \"$1-x\", \"instance\", \"(.*):1\"",
                    "\"new\", \"${first}\", \"instance\", \"(?P<first>.).*\"",
                    "\"job\", \"$1\", \"instance\", \"(a|b).*\"",
                    "\"code\", \"\", \"code\", \".*\"",
                    "\"__name__\", \"renamed\", \"job\", \"api\"",
                    "\"new\", \"$0$2\", \"missing\", \"\"",
                    "\"instance\", \"all\", \"instance\", \".*\"",
                ]);
                format!("label_replace({inner}, {arguments})")
            }
        }
    }

    fn informed(&mut self, inner: String) -> String {
        self.note("info");
        let selector = self.pick(&[
            "",
            "",
            ", {version=~\".+\"}",
            ", {version=\"1.4\"}",
            ", {zone=\"z1\",version!=\"1.5\"}",
            ", {__name__=\"build_info\"}",
            ", {__name__=~\".+_info\"}",
            ", {branch=~\".*\",__name__=~\"(build|target)_info\"}",
        ]);
        format!("info({inner}{selector})")
    }

    fn sorted(&mut self, inner: String) -> String {
        let name = self.noted(&["sort_by_label", "sort_by_label_desc"]);
        let labels = self.pick(&["\"instance\"", "\"job\", \"instance\"", "\"code\", \"missing\", \"le\"", "\"le\""]);
        format!("{name}({inner}, {labels})")
    }

    /// Quantiles and fractions of buckets, old and new.
    fn of_buckets(&mut self, depth: u64) -> String {
        let newer = self.language.is_newer();
        let buckets = match self.below(if newer { 6 } else { 3 }) {
            0 => "latency_bucket".to_owned(),
            1 => format!("rate(latency_bucket[{}])", self.pick(&["1m", "5m", "10m"])),
            2 => {
                self.note("by");
                self.note("sum");
                "sum by (le, job) (rate(latency_bucket[2m]))".to_owned()
            }
            _ => self.vector(depth - 1, Kind::Histograms),
        };
        let names: &[&'static str] = match newer {
            true => &["histogram_quantile", "histogram_fraction", "histogram_quantiles"],
            false => &["histogram_quantile"],
        };
        match self.noted(names) {
            "histogram_quantiles" => {
                let label = self.pick(&["q", "q", "le", "job"]);
                let more = if self.one_in(2) { format!(", {}", self.ratio()) } else { String::new() };
                format!("histogram_quantiles({buckets}, \"{label}\", {}{more})", self.ratio())
            }
            "histogram_fraction" => {
                let (lower, upper) = (self.below(16) as f64 / 16.0, self.below(80) as f64 / 16.0);
                format!("histogram_fraction({lower}, {upper}, {buckets})")
            }
            name => {
                let ratio = if self.one_in(4) { self.scalar(depth - 1) } else { self.ratio() };
                format!("{name}({ratio}, {buckets})")
            }
        }
    }
}
