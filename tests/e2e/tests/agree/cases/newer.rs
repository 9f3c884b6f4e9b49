//! What a Prometheus 3 is asked besides: what came after 2.42 or was mended since, and the edges of windows, where it
//! leaves out the sample that 2 takes. Left out are `info`, which the engine does not have yet, and native histograms.

use e2e::compare::Order;

use super::{COUNTERS, Case, GAUGES, Table, WINDOWS};

pub(super) fn all(table: &mut Table) {
    edges_of_windows(table);
    edges_of_the_lookback(table);
    steps_of_subqueries(table);
    mended(table);
    functions(table);
    aggregations(table);
    sorted_by_label(table);
}

/// Windows whose ends are samples, or lie a millisecond beside one: samples are 15 seconds apart.
fn edges_of_windows(table: &mut Table) {
    let windows = [
        "[15s]",
        "[15001ms]",
        "[14999ms]",
        "[30s]",
        "[30001ms]",
        "[45s]",
        "[1m]",
        "[1m] offset 15s",
        "[1m] offset -30s",
        "[1m] offset 14999ms",
        "[1m] @ $AT",
        "[45s] @ start()",
        "[45s] @ end() offset 1m",
    ];
    let functions = [
        ("edges of folds", "count_over_time(temperature_celsius{})"),
        ("edges of folds", "sum_over_time(status_code{})"),
        ("edges of folds", "last_over_time(memory_bytes{})"),
        ("edges of folds", "quantile_over_time(0.3, small_ratio{})"),
        ("edges of folds", "stddev_over_time(small_ratio{})"),
        ("edges of folds", "present_over_time(flaky{})"),
        ("edges of folds", "absent_over_time(flaky{n=\"0\"}{})"),
        ("edges of rates", "rate(http_requests_total{code=\"200\"}{})"),
        ("edges of rates", "increase(request_duration_seconds_bucket{le=\"0.1\"}{})"),
        ("edges of rates", "delta(temperature_celsius{})"),
        ("edges of rates", "irate(http_requests_total{job=\"db\"}{})"),
        ("edges of rates", "idelta(temperature_celsius{})"),
        ("edges of regressions", "deriv(memory_bytes{})"),
        ("edges of regressions", "predict_linear(temperature_celsius{}, 60)"),
        ("edges of changes", "changes(status_code{})"),
        ("edges of changes", "resets(http_requests_total{})"),
    ];
    for (feature, form) in functions {
        for window in windows {
            // The last pair of braces is the place of the window.
            let at = form.rfind("{}").unwrap_or(form.len());
            table.case(feature, &format!("{}{window}{}", &form[..at], &form[at + 2..]));
        }
    }
}

/// `flaky` has gaps longer than the lookback of five minutes: between them, these offsets put a step on each edge.
fn edges_of_the_lookback(table: &mut Table) {
    let feature = "edges of the lookback";
    for offset in ["0s", "15s", "30s", "45s", "1m", "75s", "1ms", "14999ms"] {
        table.each(feature, "{}", &[&format!("flaky offset {offset}"), &format!("timestamp(flaky offset {offset})")]);
        table.case(feature, &format!("count_over_time(flaky[10m:15s] offset {offset})"));
        table.case(feature, &format!("sum(flaky offset {offset}) unless absent(flaky{{n=\"2\"}} offset {offset})"));
    }
    table.cases(feature, &["flaky @ $AT", "flaky @ start()", "flaky @ end() offset 45s"]);
}

/// Subqueries whose first step is their left edge, and that evaluate windows which end on samples.
fn steps_of_subqueries(table: &mut Table) {
    let subqueries = [
        "temperature_celsius[5m:15s]",
        "temperature_celsius[5m:1m]",
        "temperature_celsius[5m:5m]",
        "temperature_celsius[1m:5m]",
        "temperature_celsius[15s:15s]",
        "temperature_celsius[299999ms:15s]",
        "temperature_celsius[300001ms:15s]",
        "temperature_celsius[3m:7s]",
        "temperature_celsius[5m:]",
        "temperature_celsius[90s:30s] offset 15s",
        "temperature_celsius[90s:30s] offset -1m",
        "temperature_celsius[90s:30s] offset 1ms",
        "temperature_celsius[5m:15s] @ $AT",
        "temperature_celsius[5m:45s] @ start()",
        "temperature_celsius[5m:45s] @ end() offset 20s",
        "(temperature_celsius @ $AT)[5m:1m]",
        "(temperature_celsius offset 15s)[5m:1m]",
        "sum_over_time(status_code[1m])[5m:15s]",
        "rate(http_requests_total{code=\"200\"}[1m])[5m:15s]",
        "rate(http_requests_total{code=\"200\"}[1m] @ end())[5m:15s]",
        "deriv(rate(http_requests_total{code=\"500\"}[1m])[2m:15s])[5m:1m]",
        "max_over_time(flaky[5m:15s] offset 30s)[5m:30s] offset 15s",
        "vector(time())[5m:15s]",
        "vector(time())[5m:15s] offset 1m",
        "absent(flaky{n=\"2\"})[10m:15s]",
        "sum by (job) (rate(http_requests_total[1m]))[5m:15s]",
    ];
    for form in ["count_over_time({})", "sum_over_time({})", "rate({})", "last_over_time({})", "deriv({})"] {
        table.each("steps of subqueries", form, &subqueries);
    }
}

/// What the table for both leaves out because 2.42 is wrong there.
fn mended(table: &mut Table) {
    table.cases(
        "atan2",
        &["temperature_celsius atan2 3", "2.5 atan2 small_ratio", "memory_bytes atan2 memory_limit_bytes"],
    );
    table.each(
        "counters near zero",
        "rate({})",
        &["http_requests_total[20m]", "http_requests_total[50m]", "request_duration_seconds_bucket[30m]"],
    );
    table.cases("names", &["{\"memory_bytes\"}", "{\"memory_bytes\",job=\"db\"}", "sum by (\"job\") (memory_bytes)"]);
}

fn functions(table: &mut Table) {
    let of_windows = [
        "first_over_time",
        "mad_over_time",
        "ts_of_first_over_time",
        "ts_of_last_over_time",
        "ts_of_max_over_time",
        "ts_of_min_over_time",
    ];
    table.calls(&of_windows, &WINDOWS);
    table.calls(&["first_over_time", "ts_of_first_over_time"], &COUNTERS);
    table.calls(&["mad_over_time", "ts_of_max_over_time"], &["flaky[10m]", "flaky[15s]"]);
    table.each("double_exponential_smoothing", "double_exponential_smoothing({}, 0.3, 0.7)", &WINDOWS);
    table.each("histogram_fraction", "histogram_fraction(0, 0.2, {})", &["rate(request_duration_seconds_bucket[5m])"]);
    table.cases(
        "histogram_fraction",
        &[
            "histogram_fraction(0.03, 0.7, sum by (le) (rate(request_duration_seconds_bucket[2m])))",
            "histogram_fraction(-1, 100, request_duration_seconds_bucket)",
            "histogram_fraction(0.5, 0.5, request_duration_seconds_bucket)",
        ],
    );
    table.cases(
        "histogram_quantiles",
        &[
            "histogram_quantiles(rate(request_duration_seconds_bucket[5m]), \"q\", 0.1, 0.5, 0.9)",
            "histogram_quantiles(request_duration_seconds_bucket, \"q\", 0)",
            "histogram_quantiles(sum by (le) (request_duration_seconds_bucket), \"le\", 0.25, 1)",
        ],
    );
    table.cases("max_of", &["max_of(1, 2)", "max_of(time(), $AT)", "max_of(NaN, scalar(small_ratio{n=\"1\"}))"]);
    table.cases("min_of", &["min_of(1, 2)", "min_of(time(), $AT)", "min_of(scalar(small_ratio{n=\"1\"}), 0)"]);
    table.cases("start", &["start()", "time() - start()", "temperature_celsius * 0 + start()"]);
    table.cases("end", &["end()", "end() - time()", "temperature_celsius * 0 + end()"]);
    table.cases("range", &["range()", "range() / step()", "vector(range())"]);
    table.cases("step", &["step()", "step() * 2", "vector(step())"]);
}

fn aggregations(table: &mut Table) {
    // Which series `limitk` keeps depends on the order in which a store gives them.
    for k in ["0", "1", "2", "4", "100", "-1", "scalar(count(small_ratio))"] {
        for grouping in ["", " by (job)", " without (instance, handler)"] {
            table.case("limitk", &format!("count(limitk{grouping} ({k}, http_requests_total))"));
        }
        table.case("limitk", &format!("count(limitk({k}, flaky))"));
    }
    for ratio in ["0", "0.1", "0.5", "0.9", "1", "-0.1", "-0.5", "-1", "2"] {
        for grouping in ["", " by (job)", " without (instance)"] {
            table.case("limit_ratio", &format!("limit_ratio{grouping} ({ratio}, http_requests_total)"));
        }
        table.case("limit_ratio", &format!("limit_ratio({ratio}, request_duration_seconds_bucket)"));
        table.case("limit_ratio", &format!("limit_ratio({ratio}, rate(http_requests_total[1m]))"));
    }
}

fn sorted_by_label(table: &mut Table) {
    for (feature, form) in [("sort_by_label", "sort_by_label({})"), ("sort_by_label_desc", "sort_by_label_desc({})")] {
        for arguments in [
            "http_requests_total, \"code\", \"instance\"",
            "temperature_celsius, \"room\"",
            // Of 0.1 and 0.01 each comes before the other.
            "request_duration_seconds_bucket{le=~\"0.1|0.5|1|5|.Inf\"}, \"le\"",
            "flaky, \"missing\"",
            "rate(http_requests_total[1m]), \"handler\", \"job\"",
        ] {
            let expr = form.replace("{}", arguments);
            table.cases.push(Case { feature, expr, order: Order::Counts, in_range: true });
        }
    }
    table.each("sort_by_label", "sort_by_label({}, \"floor\")", &GAUGES);
}
