//! Warnings and infos: what a query says besides its value. Source: Prometheus `util/annotations`.

mod histograms;

use std::cmp::Reverse;
use std::collections::HashMap;

pub(crate) use histograms::HistogramOperation;

use super::format::{go_g, go_g2, go_quote};
use crate::ast::Pos;

/// How serious an annotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// `PromQL warning: …`
    Warning,
    /// `PromQL info: …`
    Info,
}

/// Details of a classic histogram whose buckets had to be made monotonic; they are merged over all its occurrences.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Monotonicity {
    mint: i64,
    maxt: i64,
    bucket_min: f64,
    bucket_max: f64,
    diff_max: f64,
    count: u64,
}

/// One warning or info.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotation {
    /// How serious.
    pub severity: Severity,
    /// The text without position, `PromQL warning: ` or `PromQL info: ` included.
    pub text: String,
    /// What triggered it.
    pub pos: Pos,
    monotonicity: Option<Monotonicity>,
    /// How often it came, where that is told.
    occurrences: u64,
}

impl Annotation {
    /// Whether it tells of all its occurrences.
    fn is_merged(&self) -> bool {
        self.monotonicity.is_some() || self.occurrences > 0
    }

    /// The text with ` (line:col)` in `query`, as the HTTP API shows it.
    pub fn with_position(&self, query: &str) -> String {
        let at = position(self.pos.start, query);
        match &self.monotonicity {
            None if self.occurrences > 1 => format!("{} ({} occurrences) ({at})", self.text, self.occurrences),
            None => format!("{} ({at})", self.text),
            Some(m) => format!(
                "{}, from buckets {} to {}, with a max diff of {}, over {} samples from {} to {} ({at})",
                self.text,
                go_g(m.bucket_min),
                go_g(m.bucket_max),
                go_g2(m.diff_max),
                m.count,
                rfc3339(m.mint),
                rfc3339(m.maxt),
            ),
        }
    }
}

/// `line:column` of byte `start`, both from 1; columns count bytes.
fn position(start: usize, query: &str) -> String {
    if query.is_empty() {
        return "unknown position".to_owned();
    }
    let Some(before) = query.as_bytes().get(..start) else { return "invalid position".to_owned() };
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|b| **b != b'\n').count() + 1;
    format!("{line}:{column}")
}

/// Whole seconds, as Go's `time.RFC3339` in UTC.
fn rfc3339(ms: i64) -> String {
    let seconds = ms / 1000;
    let date = super::time::Date::of_unix(seconds);
    let of_day = seconds.rem_euclid(86_400);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        date.year,
        date.month,
        date.day,
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}

/// A set of annotations, one per text.
#[derive(Clone, Debug, Default)]
pub struct Annotations {
    by_text: HashMap<String, Annotation>,
}

impl Annotations {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_text.is_empty()
    }

    /// Those of one severity, ordered by text.
    pub fn of(&self, severity: Severity) -> Vec<&Annotation> {
        let mut out: Vec<&Annotation> = self.by_text.values().filter(|a| a.severity == severity).collect();
        out.sort_by(|a, b| a.text.cmp(&b.text));
        out
    }

    /// Texts with positions, at most `max` and then the number left out; as the HTTP API shows them.
    pub fn render(&self, severity: Severity, query: &str, max: usize) -> Vec<String> {
        let all = self.of(severity);
        let mut out: Vec<String> = all.iter().take(max).map(|a| a.with_position(query)).collect();
        if all.len() > max {
            let word = match severity {
                Severity::Warning => "warning",
                Severity::Info => "info",
            };
            out.push(format!("{} more {word} annotations omitted", all.len() - max));
        }
        out
    }

    /// Of two with one text the one evaluated last stays, as in Prometheus; of those that are merged the one evaluated first.
    fn add(&mut self, annotation: Annotation) {
        match self.by_text.get_mut(&annotation.text) {
            None => {
                self.by_text.insert(annotation.text.clone(), annotation);
            }
            Some(known) => {
                if annotation.pos != known.pos && is_later(annotation.pos, known.pos) != known.is_merged() {
                    known.pos = annotation.pos;
                }
                known.occurrences += annotation.occurrences;
                if let (Some(a), Some(b)) = (&mut known.monotonicity, annotation.monotonicity) {
                    a.mint = a.mint.min(b.mint);
                    a.maxt = a.maxt.max(b.maxt);
                    a.bucket_min = a.bucket_min.min(b.bucket_min);
                    a.bucket_max = a.bucket_max.max(b.bucket_max);
                    a.diff_max = a.diff_max.max(b.diff_max);
                    a.count += b.count;
                }
            }
        }
    }

    /// Adds all of `other`.
    pub(crate) fn merge(&mut self, other: Annotations) {
        for (_, annotation) in other.by_text {
            self.add(annotation);
        }
    }

    fn warning(&mut self, pos: Pos, text: String) {
        let text = format!("PromQL warning: {text}");
        self.add(Annotation { severity: Severity::Warning, text, pos, monotonicity: None, occurrences: 0 });
    }

    fn info(&mut self, pos: Pos, text: String) {
        let text = format!("PromQL info: {text}");
        self.add(Annotation { severity: Severity::Info, text, pos, monotonicity: None, occurrences: 0 });
    }

    /// A quantile outside of [0, 1].
    pub(crate) fn invalid_quantile(&mut self, pos: Pos, q: f64) {
        self.warning(pos, format!("quantile value should be between 0 and 1, got {}", go_g(q)));
    }

    /// A ratio outside of [-1, 1].
    pub(crate) fn invalid_ratio(&mut self, pos: Pos, r: f64, to: f64) {
        let (r, to) = (go_g(r), go_g(to));
        self.warning(pos, format!("ratio value should be between -1 and 1, got {r}, capping to {to}"));
    }

    /// A bucket without a usable `le`.
    pub(crate) fn bad_bucket_label(&mut self, pos: Pos, metric_name: &str, value: &str) {
        let text = format!("bucket label \"le\" is missing or has a malformed value of {}", go_quote(value));
        self.warning(pos, for_metric(text, metric_name));
    }

    /// `sort` in a range query; of several the one evaluated last stays, which is the outermost.
    pub(crate) fn sort_in_range_query(&mut self, pos: Pos) {
        let text = "sort is ineffective for range queries since results are always ordered by labels";
        self.by_text.remove(&format!("PromQL warning: {text}"));
        self.warning(pos, text.to_owned());
    }

    /// `rate` of something whose name is not that of a counter.
    pub(crate) fn possible_non_counter(&mut self, pos: Pos, metric_name: &str) {
        let name = go_quote(metric_name);
        self.info(
            pos,
            format!("metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {name}"),
        );
    }

    /// `rate` of something whose type is not that of a counter.
    pub(crate) fn possible_non_counter_type(&mut self, pos: Pos, metric_name: &str, metric_type: &str) {
        let (name, found) = (go_quote(metric_name), go_quote(metric_type));
        self.info(
            pos,
            format!(
                "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", got \
                 {found}: {name}"
            ),
        );
    }

    /// Samples whose start timestamp lies before the sample before, of which it does not know; `count` times.
    pub(crate) fn start_time_overlap(&mut self, pos: Pos, metric_name: &str, count: u64) {
        let text = "PromQL warning: sample has start time that overlaps with previous sample timestamp for metric";
        let text = format!("{text} {}", go_quote(metric_name));
        self.add(Annotation { severity: Severity::Warning, text, pos, monotonicity: None, occurrences: count });
    }

    /// A classic histogram whose buckets had to be made monotonic.
    pub(crate) fn forced_monotonicity(
        &mut self,
        pos: Pos,
        metric_name: &str,
        at: i64,
        bucket_min: f64,
        bucket_max: f64,
        diff_max: f64,
    ) {
        let text = "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see \
                    https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";
        let monotonicity = Some(Monotonicity { mint: at, maxt: at, bucket_min, bucket_max, diff_max, count: 1 });
        let text = for_metric(text.to_owned(), metric_name);
        self.add(Annotation { severity: Severity::Info, text, pos, monotonicity, occurrences: 0 });
    }
}

/// Whether what stands at `a` is evaluated after what stands at `b`: operands come before their operator, from left to right.
fn is_later(a: Pos, b: Pos) -> bool {
    (a.end, Reverse(a.start)) > (b.end, Reverse(b.start))
}

fn for_metric(text: String, metric_name: &str) -> String {
    if metric_name.is_empty() { text } else { format!("{text} for metric name {}", go_quote(metric_name)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annotation_is_kept_once_and_knows_where_it_came_from() {
        let mut all = Annotations::default();
        all.possible_non_counter(Pos { start: 5, end: 10 }, "x");
        all.possible_non_counter(Pos { start: 20, end: 25 }, "x");
        all.invalid_quantile(Pos { start: 2, end: 3 }, 2.0);
        assert_eq!(
            all.render(Severity::Info, "rate(x[5m])\n + rate(x[5m])", 10),
            [
                "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"x\" (2:9)"
            ]
        );
        assert_eq!(
            all.render(Severity::Warning, "quantile", 0),
            ["1 more warning annotations omitted"],
            "beyond the maximum only the number is told"
        );
    }

    #[test]
    fn of_nested_expressions_the_outer_one_is_told() {
        let mut all = Annotations::default();
        let (outer, inner, beside) = (Pos { start: 4, end: 20 }, Pos { start: 9, end: 20 }, Pos { start: 5, end: 8 });
        for pos in [inner, outer, inner, beside] {
            all.ignored_in_aggregation(pos, "min");
        }
        assert_eq!(
            all.render(Severity::Info, "min(x * min((((((((y)", 10),
            ["PromQL info: ignored histogram in min aggregation (1:5)"]
        );
    }

    #[test]
    fn overlapping_start_times_are_counted_where_the_first_was_seen() {
        let mut all = Annotations::default();
        all.start_time_overlap(Pos { start: 3, end: 4 }, "x", 1);
        all.start_time_overlap(Pos { start: 8, end: 9 }, "x", 2);
        let text = all.render(Severity::Warning, "abcd + efgh", 10).remove(0);
        assert!(text.ends_with(r#""x" (3 occurrences) (1:4)"#), "{text}");
    }

    #[test]
    fn monotonicity_is_told_over_all_samples() {
        let mut all = Annotations::default();
        all.forced_monotonicity(Pos { start: 3, end: 4 }, "", 60_000, 1.0, 2.0, 0.5);
        all.forced_monotonicity(Pos { start: 8, end: 9 }, "", 0, 0.5, 1.0, 12.25);
        let text = all.render(Severity::Info, "abcd + efgh", 10).remove(0);
        assert!(
            text.ends_with(
                ", from buckets 0.5 to 2, with a max diff of 12, over 2 samples from 1970-01-01T00:00:00Z to \
                 1970-01-01T00:01:00Z (1:4)"
            ),
            "{text}"
        );
    }
}
