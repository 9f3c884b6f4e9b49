//! The query shapes whose latency is compared.

use crate::fleet::Fleet;

/// A query, asked at one time or over a range.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Short name for tables.
    pub name: &'static str,
    /// PromQL.
    pub query: String,
    /// Over a range, with this many steps; none for an instant query.
    pub range: Option<Range>,
}

/// The steps of a range query: it ends with the newest samples.
#[derive(Clone, Copy, Debug)]
pub enum Range {
    /// The last hour, or all there is, at 15 s.
    Fine,
    /// The last hour, or all there is, at 60 s.
    Hour,
}

impl Range {
    /// Time between two steps.
    pub fn step_ms(self) -> i64 {
        match self {
            Range::Fine => 15_000,
            Range::Hour => 60_000,
        }
    }
}

/// All shapes over a fleet. Only aggregates and small results: the time is the engine's, not that of printing JSON.
pub fn shapes(fleet: &Fleet) -> Vec<Shape> {
    let one = fleet.instance(fleet.targets() / 2);
    let instant = |name, query: &str| Shape { name, query: query.to_string(), range: None };
    let hour = |name, query: &str| Shape { name, query: query.to_string(), range: Some(Range::Hour) };
    vec![
        instant("single series", &format!(r#"node_load1{{instance="{one}"}}"#)),
        Shape {
            name: "single series, range",
            query: format!(r#"process_resident_memory_bytes{{instance="{one}"}}"#),
            range: Some(Range::Fine),
        },
        instant(
            "regex over pods",
            r#"sum by (region) (node_filesystem_avail_bytes{pod=~".+-[0-9a-f]*[0-7]e[0-9a-f]*"})"#,
        ),
        hour("sum(rate)", "sum(rate(http_requests_total[5m]))"),
        hour("sum by (rate)", "sum by (region, mode) (rate(node_cpu_seconds_total[5m]))"),
        instant("topk", "topk(10, rate(node_network_receive_bytes_total[5m]))"),
        hour("quantile", "quantile by (region) (0.95, node_filesystem_avail_bytes)"),
        hour(
            "histogram_quantile",
            "histogram_quantile(0.99, sum by (le, route) (rate(http_request_duration_seconds_bucket[5m])))",
        ),
        hour("avg_over_time", "avg by (team) (avg_over_time(node_hwmon_temp_celsius[10m]))"),
        instant(
            "group_left join",
            "sum by (release, zone) (rate(node_disk_read_bytes_total[5m]) * on (instance) group_left (release) \
             max by (instance, release) (node_uname_info))",
        ),
        hour(
            "set operators",
            "count by (region) ((node_filesystem_avail_bytes and node_filesystem_files_free > 1e6) \
             unless node_filesystem_free_bytes < 2e10)",
        ),
        instant(
            "label_replace",
            r#"max by (net) (label_replace(node_memory_MemFree_bytes, "net", "$1", "instance", "(10\\.\\d+\\.\\d+)\\..*"))"#,
        ),
        instant("count by name", r#"count by (__name__) ({job="web"})"#),
    ]
}
