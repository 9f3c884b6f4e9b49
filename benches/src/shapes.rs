//! The query shapes of the phases `promql` and `promql-blocks`: thirty-odd, each asked in three forms.

use crate::fleet::Fleet;

/// How many series a shape reads of the full fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// A thousand at most.
    Few,
    /// Over a thousand.
    Many,
}

/// One query, asked in every [`Form`].
#[derive(Clone, Debug)]
pub struct Shape {
    /// Short name for tables.
    pub name: &'static str,
    /// PromQL.
    pub query: String,
    /// How many series it reads.
    pub reads: Reads,
}

/// How a shape is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// At the end of the history.
    Instant,
    /// Over the whole history, a step every 15 s, as often as samples come.
    Fine,
    /// Over the whole history, a step every five minutes.
    Coarse,
}

impl Form {
    /// All of them, in the order of the tables.
    pub const ALL: [Form; 3] = [Form::Instant, Form::Fine, Form::Coarse];

    /// What tables add to the name of a shape.
    pub fn id(self) -> &'static str {
        match self {
            Form::Instant => "instant",
            Form::Fine => "15 s",
            Form::Coarse => "5 min",
        }
    }

    /// Time between two steps; none of an instant query.
    pub fn step_ms(self) -> Option<i64> {
        match self {
            Form::Instant => None,
            Form::Fine => Some(15_000),
            Form::Coarse => Some(300_000),
        }
    }
}

/// What the aims tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A range query that reads over a thousand series.
    ManyOverRange,
    /// An instant query, however many series it reads.
    Instant,
    /// A range query that reads a thousand series at most.
    Elsewhere,
}

impl Class {
    /// The class of a shape in a form.
    pub fn of(reads: Reads, form: Form) -> Class {
        match (form, reads) {
            (Form::Instant, _) => Class::Instant,
            (Form::Fine | Form::Coarse, Reads::Many) => Class::ManyOverRange,
            (Form::Fine | Form::Coarse, Reads::Few) => Class::Elsewhere,
        }
    }
}

/// Name, how many series are read, and the query; `$one` is the address of a target in the middle of the fleet.
///
/// All answers are aggregates or small: the time is the engine's, not that of printing JSON. Selectors and subqueries that
/// stand at the times of samples have windows that are no multiple of 15 s, so that Prometheus 2's closed windows hold what
/// the left-open ones of Prometheus 3 hold. No answer is empty: an empty one counts as "cannot answer".
const TABLE: [(&str, Reads, &str); 36] = [
    ("single series", Reads::Few, r#"node_load1{instance="$one"}"#),
    ("single series, rate", Reads::Few, r#"rate(process_cpu_seconds_total{instance="$one"}[5m])"#),
    (
        "single series, arithmetic chain",
        Reads::Few,
        r#"((node_load1{instance="$one"} + 1) * 100 - 7) / 3 > bool 2 ^ 3"#,
    ),
    (
        "one target, quantile_over_time",
        Reads::Few,
        r#"quantile_over_time(0.9, node_hwmon_temp_celsius{instance="$one"}[10m])"#,
    ),
    (
        "one target, histogram_quantile",
        Reads::Few,
        r#"histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket{instance="$one"}[5m])))"#,
    ),
    ("absent, of nothing", Reads::Few, r#"absent(no_such_metric{job="web"})"#),
    ("regex over pods", Reads::Many, r#"sum by (region) (http_requests_total{pod=~".+-[0-9a-f]*[0-7]e[0-9a-f]*"})"#),
    ("regex over instances", Reads::Many, r#"sum by (mode) (node_cpu_seconds_total{instance=~"10\\.16\\.[02]\\..+"})"#),
    ("sum", Reads::Many, "sum(node_filesystem_avail_bytes)"),
    ("sum(rate)", Reads::Many, "sum(rate(http_requests_total[5m]))"),
    ("sum by (rate)", Reads::Many, "sum by (region, mode) (rate(node_cpu_seconds_total[5m]))"),
    ("avg by (increase)", Reads::Many, r#"avg by (route) (increase(http_requests_total{code=~"2.."}[15m]))"#),
    ("max by (irate)", Reads::Many, "max by (zone) (irate(node_network_receive_bytes_total[5m]))"),
    ("stddev by", Reads::Many, "stddev by (region) (node_filesystem_avail_bytes)"),
    ("count by name", Reads::Many, r#"count by (__name__) ({job="web"})"#),
    ("topk", Reads::Many, "topk(10, rate(node_network_receive_bytes_total[5m]))"),
    ("topk by", Reads::Many, "topk by (region) (3, node_filesystem_avail_bytes)"),
    ("quantile", Reads::Many, "quantile by (region) (0.95, node_filesystem_avail_bytes)"),
    (
        "histogram_quantile of sums",
        Reads::Many,
        "histogram_quantile(0.99, sum by (le, route) (rate(http_request_duration_seconds_bucket[5m])))",
    ),
    (
        "histogram_quantile over 10,000 buckets",
        Reads::Many,
        r#"max by (region) (histogram_quantile(0.9, rate(http_request_duration_seconds_bucket{route=~"/|/login"}[5m])))"#,
    ),
    ("quantile_over_time", Reads::Many, "max by (team) (quantile_over_time(0.9, node_hwmon_temp_celsius[10m]))"),
    ("avg_over_time", Reads::Many, "avg by (team) (avg_over_time(node_hwmon_temp_celsius[10m]))"),
    ("max_over_time", Reads::Many, "sum by (team) (max_over_time(node_filesystem_files_free[10m]))"),
    ("changes", Reads::Many, "sum by (team) (changes(node_hwmon_temp_celsius[10m]))"),
    ("deriv", Reads::Many, "max by (region) (deriv(node_filesystem_free_bytes[10m]))"),
    (
        "group_left join",
        Reads::Many,
        "sum by (release, zone) (rate(node_disk_read_bytes_total[5m]) * on (instance) group_left (release) \
         max by (instance, release) (node_uname_info))",
    ),
    ("one-to-one join", Reads::Many, "sum by (region) (node_filesystem_avail_bytes / node_filesystem_size_bytes)"),
    (
        "and, unless",
        Reads::Many,
        "count by (region) ((node_filesystem_avail_bytes and node_filesystem_files_free > 1e6) \
         unless node_filesystem_free_bytes < 2e10)",
    ),
    ("or", Reads::Many, "count by (region) (node_filesystem_files_free > 1e6 or node_filesystem_files)"),
    (
        "arithmetic chain",
        Reads::Many,
        "sum by (region) (((node_filesystem_free_bytes - node_filesystem_avail_bytes) * 8 / 1024 ^ 2 + 1) > bool 10)",
    ),
    ("subquery", Reads::Many, "max by (region) (max_over_time(node_filesystem_avail_bytes[10m:1m]))"),
    ("subquery of sum(rate)", Reads::Many, "max_over_time(sum(rate(http_requests_total[298s]))[10m:1m])"),
    (
        "label_replace",
        Reads::Many,
        r#"max by (net) (label_replace(node_filesystem_avail_bytes, "net", "$1", "instance", "(10\\.\\d+\\.\\d+)\\..*"))"#,
    ),
    ("absent, of much", Reads::Many, "absent(http_requests_total > 1e18)"),
    ("count_values", Reads::Many, r#"count_values("connections", round(pool_connections, 5))"#),
    ("native histograms", Reads::Many, "histogram_quantile(0.99, sum by (region) (rate(grpc_handling_seconds[5m])))"),
];

/// All shapes over a fleet.
pub fn shapes(fleet: &Fleet) -> Vec<Shape> {
    let one = fleet.instance(fleet.targets() / 2);
    let shape =
        |&(name, reads, query): &(&'static str, Reads, &str)| Shape { name, reads, query: query.replace("$one", &one) };
    TABLE.iter().map(shape).collect()
}

/// The names under which a shape's numbers are noted.
pub fn metric(shape: &str, form: Form) -> String {
    format!("{shape}, {}", form.id())
}

/// The same for the CPU.
pub fn cpu_metric(shape: &str, form: Form) -> String {
    format!("{shape}, {}: CPU", form.id())
}

/// The same for anonymous memory above what there was before.
pub fn memory_metric(shape: &str, form: Form) -> String {
    format!("{shape}, {}: RssAnon above before", form.id())
}

/// The most anonymous memory above what there was before the first query.
pub const MEMORY_METRIC: &str = "RssAnon above before the first query, at its peak";

/// The names and classes of all queries, in the order of the tables.
pub fn classes() -> impl Iterator<Item = (&'static str, Form, Class)> {
    TABLE.iter().flat_map(|&(name, reads, _)| Form::ALL.map(|form| (name, form, Class::of(reads, form))))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::native;

    /// The series that the metrics of a query have in 200 targets, without a look at matchers.
    fn series_of(query: &str) -> usize {
        let fleet = Fleet::new(1, 1, 0.01);
        let words: BTreeSet<&str> = query.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        let every = query.contains("{job=\"web\"})") && !words.contains("no_such_metric");
        let of_target = fleet.templates().iter().filter(|series| every || words.contains(series.name.as_str())).count();
        let native = if words.contains(native::NAME) { native::SERIES_PER_TARGET } else { 0 };
        200 * (of_target + native)
    }

    #[test]
    fn a_shape_reads_many_series_where_it_says_so() {
        for shape in shapes(&Fleet::new(1, 200, 0.01)) {
            let one_target = shape.query.contains("instance=\"10.16.1.37:9100\"");
            let series = series_of(&shape.query) / if one_target { 200 } else { 1 };
            let expected = if series > 1_000 { Reads::Many } else { Reads::Few };
            assert_eq!(shape.reads, expected, "{}: {series}", shape.name);
            assert!(series > 0 || shape.name == "absent, of nothing", "{}", shape.query);
            assert!(!shape.query.contains("$one"), "{}", shape.query);
        }
    }

    #[test]
    fn what_the_issue_names_is_in_the_table() {
        let queries = TABLE.map(|(_, _, query)| query).join("\n");
        for part in [
            "=~",
            "sum(rate(",
            "sum by",
            "topk",
            "quantile by",
            "histogram_quantile",
            "quantile_over_time",
            "group_left",
            " and ",
            " or ",
            " unless ",
            "[10m:1m]",
            "label_replace",
            "absent",
            "count_values",
            native::NAME,
        ] {
            assert!(queries.contains(part), "{part}");
        }
        let names: BTreeSet<&str> = TABLE.iter().map(|(name, _, _)| *name).collect();
        assert_eq!(names.len(), TABLE.len());
        let fleet = Fleet::new(1, 1, 0.01);
        let buckets = fleet.templates().iter().filter(|series| {
            series.name == "http_request_duration_seconds_bucket"
                && series.own.iter().any(|(name, route)| *name == "route" && (route == "/" || route == "/login"))
        });
        assert_eq!(buckets.count() * 200, 9_600);
    }

    #[test]
    fn a_class_follows_from_form_and_series() {
        let check = |reads, form, class| assert_eq!(Class::of(reads, form), class);
        check(Reads::Many, Form::Fine, Class::ManyOverRange);
        check(Reads::Many, Form::Coarse, Class::ManyOverRange);
        check(Reads::Many, Form::Instant, Class::Instant);
        check(Reads::Few, Form::Instant, Class::Instant);
        check(Reads::Few, Form::Fine, Class::Elsewhere);
        assert_eq!(classes().count(), TABLE.len() * 3);
    }
}
