//! `features`: what is on and what is off.

use std::collections::BTreeMap;

use super::Api;
use super::answer::{Answer, ApiResult};
use super::json::{put_list, put_text};

type Features = BTreeMap<String, BTreeMap<String, bool>>;

/// What the API and the language can do here; the names are Prometheus'.
fn own(api: &Api) -> [(&'static str, &'static str, bool); 31] {
    let parse = &api.options.parse;
    let engine = &api.options.engine;
    [
        ("api", "admin", false),
        ("api", "label_values_match", true),
        ("api", "lifecycle", api.options.lifecycle_enabled),
        ("api", "query_stats", true),
        ("api", "query_warnings", true),
        ("api", "search", false),
        ("api", "time_range_labels", true),
        ("api", "time_range_series", true),
        ("promql", "at_modifier", true),
        ("promql", "anchored", false),
        ("promql", "bool", true),
        ("promql", "by", true),
        ("promql", "delayed_name_removal", engine.delayed_name_removal),
        ("promql", "duration_expr", parse.duration_expressions),
        ("promql", "fill", false),
        ("promql", "fill_left", false),
        ("promql", "fill_right", false),
        ("promql", "group_left", true),
        ("promql", "group_right", true),
        ("promql", "ignoring", true),
        ("promql", "negative_offset", true),
        ("promql", "offset", true),
        ("promql", "on", true),
        ("promql", "per_query_lookback_delta", true),
        ("promql", "per_step_stats", engine.per_step_stats),
        ("promql", "smoothed", false),
        ("promql", "subqueries", true),
        ("promql", "type_and_unit_labels", engine.type_and_unit_labels),
        ("promql", "without", true),
        ("prometheus", "agent_mode", false),
        ("prometheus", "server_mode", true),
    ]
}

/// `features`
pub(crate) fn features(api: &Api) -> ApiResult {
    let mut all: Features = api.sources.status.features();
    for (area, name, on) in own(api) {
        all.entry(area.to_owned()).or_default().insert(name.to_owned(), on);
    }
    Ok(Answer::data(|out| {
        put_list(out, b"{}", &all, |out, (area, features)| {
            put_text(out, area);
            out.push(b':');
            put_list(out, b"{}", features, |out, (name, on)| {
                put_text(out, name);
                out.extend_from_slice(if *on { b":true" } else { b":false" });
            });
        });
    }))
}
