//! The table of queries: every function and operator that Prometheus 2.42 and 3.14 share, each in three or more. What came
//! after 2.42, or means something else since, is in `newer.rs`.

use e2e::compare::Order;

mod newer;

/// A query and the feature that it is there for.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) feature: &'static str,
    pub(crate) expr: String,
    /// Of the series of an instant query.
    pub(crate) order: Order,
    /// Range queries take no strings.
    pub(crate) in_range: bool,
}

/// What the table is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aim {
    /// What `$AT` stands for in the text of a query: a time within the samples, in seconds.
    pub(crate) at: &'static str,
    /// Whether the other is a Prometheus 3.
    pub(crate) newer: bool,
}

const GAUGES: [&str; 4] = [
    "temperature_celsius",
    "temperature_celsius{floor=\"1\"} / 7",
    "sum by (room) (temperature_celsius)",
    "-temperature_celsius{room=~\"h.*|s.*\"}",
];
const POSITIVES: [&str; 3] =
    ["memory_bytes", "rate(http_requests_total{code=\"200\"}[2m]) + 1", "memory_bytes / memory_limit_bytes"];
const RATIOS: [&str; 3] = ["small_ratio", "small_ratio{n=\"2\"} * 0.5", "small_ratio ^ 3"];
const ANGLES: [&str; 3] = ["small_ratio", "temperature_celsius / 8", "avg by (floor) (temperature_celsius) / 3"];
const TIMES: [&str; 4] = ["", "event_time_seconds", "vector(time())", "timestamp(event_time_seconds{n=\"1\"}) - 4e6"];
const COUNTERS: [&str; 6] = [
    "http_requests_total[1m]",
    "http_requests_total{job=\"api\",code!=\"404\"}[5m]",
    "request_duration_seconds_count[90s] offset 2m",
    "http_requests_total{code=\"500\"}[10m:30s]",
    "request_duration_seconds_bucket{le=\"0.1\"}[7m] @ $AT",
    "http_requests_total{handler=\"/\"}[40m]",
];
const WINDOWS: [&str; 7] = [
    "temperature_celsius[5m]",
    "flaky{n=~\"[0-3]\"}[10m]",
    "(temperature_celsius{room=\"hall\"} * 2)[5m:20s]",
    "memory_bytes[3m] @ $AT",
    "small_ratio[2m] offset -1m",
    "status_code[30m]",
    "(rate(http_requests_total{code=\"200\"}[1m]) + 1)[10m:]",
];

/// All of them.
pub(crate) fn all(aim: Aim) -> Vec<Case> {
    let mut table = Table { aim, cases: Vec::new() };
    selectors(&mut table);
    operators(&mut table);
    matching(&mut table);
    aggregations(&mut table);
    math(&mut table);
    time(&mut table);
    windows(&mut table);
    histograms(&mut table);
    labels(&mut table);
    absence(&mut table);
    order(&mut table);
    combined(&mut table);
    if aim.newer {
        newer::all(&mut table);
    }
    table.cases
}

struct Table {
    aim: Aim,
    cases: Vec<Case>,
}

impl Table {
    fn case(&mut self, feature: &'static str, expr: &str) {
        let expr = expr.replace("$AT", self.aim.at);
        self.cases.push(Case { feature, expr, order: Order::Free, in_range: true });
    }

    fn cases(&mut self, feature: &'static str, exprs: &[&str]) {
        exprs.iter().for_each(|expr| self.case(feature, expr));
    }

    /// A query for each argument, in the place of `{}`.
    fn each(&mut self, feature: &'static str, form: &str, arguments: &[&str]) {
        arguments.iter().for_each(|argument| self.case(feature, &form.replace("{}", argument)));
    }

    /// `name(argument)` for each argument.
    fn calls(&mut self, names: &[&'static str], arguments: &[&str]) {
        names.iter().for_each(|name| self.each(name, &format!("{name}({{}})"), arguments));
    }
}

fn selectors(table: &mut Table) {
    table.cases(
        "selector",
        &[
            "temperature_celsius",
            "flaky",
            "build_info{version=~\"1\\\\..*\"}",
            "http_requests_total{job=\"api\",code=~\"4..|5..\",handler!=\"/\"}",
            "http_requests_total{instance!~\"a.*\",missing=\"\"}",
            "{__name__=~\"memory_.*\",job=\"db\"}",
            "{n=\"1\",__name__!=\"flaky\"}",
            "nothing_has_this_name",
        ],
    );
    table.cases(
        "offset",
        &[
            "temperature_celsius offset 10m",
            "http_requests_total{code=\"404\"} offset -3m",
            "flaky offset 1h",
            "rate(http_requests_total[1m] offset 90s)",
            "memory_bytes - memory_bytes offset 15m",
        ],
    );
    table.cases(
        "@",
        &[
            "temperature_celsius @ $AT",
            "memory_bytes @ $AT offset 7m",
            "rate(http_requests_total[3m] @ $AT)",
            "temperature_celsius - temperature_celsius @ start()",
            "memory_bytes / memory_bytes @ end()",
            "sum_over_time(status_code[5m] @ start() offset -2m)",
            "max_over_time(rate(http_requests_total{code=\"200\"}[1m])[20m:1m] @ $AT)",
        ],
    );
    // Those within others are asked at full minutes: a window of theirs must not begin on their own grid.
    table.cases(
        "subquery",
        &[
            "max_over_time(temperature_celsius[30m:1m])",
            "avg_over_time(rate(http_requests_total[1m])[10m:30s])",
            "min_over_time((memory_bytes / 1024)[15m:45s] offset 5m)",
            "sum_over_time(sum(status_code)[10m:])",
            "max_over_time(deriv(rate(http_requests_total{code=\"200\"}[1m])[320s:30s])[10m:1m])",
            "count_over_time(flaky[20m:15s])",
        ],
    );
    table.cases("number", &["42", "-1.5e3", "0x1F", "1 + 2 * 3 ^ 2", "-2 ^ 2", "10 % 3"]);
    for text in ["\"a \\\"text\\\"\"", "'single'", "`raw\\text`"] {
        let expr = text.to_string();
        table.cases.push(Case { feature: "string", expr, order: Order::Free, in_range: false });
    }
}

fn operators(table: &mut Table) {
    // Prometheus 2 forgets to drop the name after `atan2`; the addition drops it.
    for (operator, then) in [("+", ""), ("-", ""), ("*", ""), ("/", ""), ("%", ""), ("^", ""), ("atan2", " + 0")] {
        table.cases(
            operator,
            &[
                &format!("temperature_celsius {operator} 3{then}"),
                &format!("2.5 {operator} small_ratio{then}"),
                &format!("memory_bytes {operator} memory_limit_bytes{then}")
                    .replace("bytes ^", "bytes * 1e-10 ^ 1e-9 *"),
                &format!("small_ratio {operator} on (n) event_time_seconds{then}"),
                &format!("scalar(small_ratio{{n=\"1\"}}) {operator} time()"),
                &format!("sum(small_ratio) {operator} ignoring (a) sum(status_code)"),
            ],
        );
    }
    table.cases("unary -", &["-memory_bytes", "-(temperature_celsius + 1)", "-sum(memory_bytes)", "-time()"]);
    table.cases("unary +", &["+memory_bytes", "+(temperature_celsius)", "+3"]);
    for operator in ["==", "!=", ">", "<", ">=", "<="] {
        table.cases(
            operator,
            &[
                &format!("status_code {operator} 3"),
                &format!("3 {operator} status_code"),
                &format!("status_code {operator} bool 2"),
                &format!("memory_bytes * 1.5 {operator} memory_limit_bytes"),
                &format!("memory_bytes * 1.5 {operator} bool memory_limit_bytes"),
                &format!("status_code {operator} on (n) status_code offset 5m"),
                &format!("time() {operator} bool $AT"),
            ],
        );
    }
    for operator in ["and", "or", "unless"] {
        table.cases(
            operator,
            &[
                &format!("http_requests_total {operator} http_requests_total{{code=\"500\"}}"),
                &format!("memory_bytes {operator} on (job, instance) build_info{{version=~\".*rc.*\"}}"),
                &format!("flaky {operator} ignoring (n) (small_ratio > 0.2)"),
                &format!("(status_code > 2) {operator} (status_code < 4)"),
                &format!("flaky {operator} on (n) small_ratio {operator} on (n) event_time_seconds"),
            ],
        );
    }
}

fn matching(table: &mut Table) {
    table.cases(
        "on",
        &[
            "memory_bytes / on (job, instance) memory_limit_bytes",
            "sum by (job) (memory_bytes) - on (job) sum by (job) (memory_limit_bytes)",
            "sum(memory_bytes) + on () sum(memory_limit_bytes)",
        ],
    );
    table.cases(
        "ignoring",
        &[
            "memory_bytes * ignoring (version) build_info",
            "http_requests_total{code=\"200\"} / ignoring (code) http_requests_total{code=\"500\"}",
            "sum without (code) (http_requests_total) - ignoring (x) sum without (code) (http_requests_total offset 1m)",
        ],
    );
    table.cases(
        "group_left",
        &[
            "memory_bytes * on (job, instance) group_left (version) build_info",
            "http_requests_total / ignoring (code, handler) group_left () sum without (code, handler) (http_requests_total)",
            "rate(http_requests_total[5m]) * on (instance, job) group_left (version) build_info",
            "http_requests_total > on (job) group_left () avg by (job) (http_requests_total)",
        ],
    );
    table.cases(
        "group_right",
        &[
            "build_info * on (job, instance) group_right (version) memory_bytes",
            "sum by (job) (memory_bytes) / on (job) group_right () memory_bytes",
            "count by (instance) (build_info) <= bool on (instance) group_right () http_requests_total{job=\"db\"}",
        ],
    );
}

fn aggregations(table: &mut Table) {
    for name in ["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"] {
        table.each(
            name,
            &format!("{name}{{}}"),
            &[
                "(memory_bytes)",
                " by (room) (temperature_celsius)",
                " without (instance, handler) (http_requests_total)",
                " by (job, code) (rate(http_requests_total[5m]))",
                "(flaky{n!=\"5\"})",
                " without () (small_ratio)",
                " by (missing) (temperature_celsius > 10)",
            ],
        );
    }
    for name in ["topk", "bottomk"] {
        table.each(
            name,
            &format!("{name}{{}}"),
            &[
                "(3, memory_bytes)",
                " by (floor) (2, temperature_celsius)",
                " without (handler, instance) (1, rate(http_requests_total[5m]) + small_ratio{n=\"1\"} * 0 or memory_bytes)",
                "(100, small_ratio)",
                "(0, small_ratio)",
            ],
        );
    }
    table.each(
        "quantile",
        "quantile{}",
        &[
            "(0.9, memory_bytes)",
            " by (floor) (0.5, temperature_celsius)",
            " without (code, handler) (0.25, http_requests_total)",
            "(-0.5, small_ratio)",
            "(1.5, small_ratio)",
            "(scalar(small_ratio{n=\"1\"}) ^ 2, temperature_celsius)",
        ],
    );
    table.each(
        "count_values",
        "count_values{}",
        &[
            "(\"code\", status_code)",
            " by (n) (\"value\", status_code)",
            " without (room) (\"whole\", round(temperature_celsius))",
        ],
    );
}

fn math(table: &mut Table) {
    table.calls(&["abs", "ceil", "floor", "sgn", "exp"], &GAUGES);
    table.calls(&["sqrt", "ln", "log2", "log10"], &POSITIVES);
    table.calls(&["sqrt", "ln"], &["temperature_celsius"]);
    table.calls(&["asin", "acos", "atanh", "acosh"], &RATIOS);
    table.calls(&["sin", "cos", "tan", "sinh", "cosh", "tanh", "atan", "asinh", "rad", "deg"], &ANGLES);
    table.calls(&["acosh"], &POSITIVES);
    table.each("round", "round({})", &GAUGES);
    table.each("round", "round({}, 0.25)", &GAUGES);
    table.each("clamp", "clamp({}, -3, 12.5)", &GAUGES);
    table.cases("clamp", &["clamp(small_ratio, 1, -1)", "clamp(flaky, 2, 6)"]);
    table.each("clamp_min", "clamp_min({}, 5)", &GAUGES);
    table.each("clamp_max", "clamp_max({}, 5)", &GAUGES);
    table.cases("pi", &["pi()", "pi() * 2", "small_ratio * pi()"]);
    table.cases("vector", &["vector(1)", "vector(time())", "vector(scalar(sum(memory_bytes))) + 1"]);
    table.cases(
        "scalar",
        &["scalar(sum(memory_bytes))", "scalar(memory_bytes)", "small_ratio + scalar(small_ratio{n=\"3\"})"],
    );
}

fn time(table: &mut Table) {
    table.calls(
        &["minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year"],
        &TIMES,
    );
    table.cases("time", &["time()", "time() - timestamp(small_ratio)", "time() - event_time_seconds"]);
    table.cases(
        "timestamp",
        &[
            "timestamp(flaky)",
            "timestamp(memory_bytes offset 5m)",
            "timestamp(temperature_celsius @ $AT)",
            "timestamp(sum(memory_bytes))",
            "timestamp(timestamp(small_ratio))",
        ],
    );
}

fn windows(table: &mut Table) {
    table.calls(&["rate", "increase", "irate", "resets"], &COUNTERS);
    table.calls(&["delta", "idelta", "deriv", "changes"], &WINDOWS);
    table.each("predict_linear", "predict_linear({}, 600)", &WINDOWS);
    // Over a window that stays where it is, 2.42 predicts from the wrong samples after the first step of a range.
    for case in &mut table.cases {
        case.in_range &= table.aim.newer || case.feature != "predict_linear" || !case.expr.contains('@');
    }
    let folds = [
        "avg_over_time",
        "sum_over_time",
        "min_over_time",
        "max_over_time",
        "count_over_time",
        "stddev_over_time",
        "stdvar_over_time",
        "last_over_time",
        "present_over_time",
    ];
    table.calls(&folds, &WINDOWS);
    table.each("quantile_over_time", "quantile_over_time(0.9, {})", &WINDOWS);
    table.cases(
        "quantile_over_time",
        &["quantile_over_time(2, status_code[5m])", "quantile_over_time(scalar(vector(0.1)), small_ratio[5m])"],
    );
    table.calls(&["max_over_time", "min_over_time", "sum_over_time", "last_over_time"], &["flaky[10m]"]);
}

fn histograms(table: &mut Table) {
    for phi in ["0.1", "0.5", "0.9", "0.99", "0", "1", "1.2"] {
        table.each(
            "histogram_quantile",
            &format!("histogram_quantile({phi}, {{}})"),
            &[
                "rate(request_duration_seconds_bucket[5m])",
                "sum by (le) (rate(request_duration_seconds_bucket[2m]))",
                "sum by (job, le) (increase(request_duration_seconds_bucket[10m] offset 3m))",
                "request_duration_seconds_bucket{le!=\"+Inf\"}",
            ],
        );
    }
}

fn labels(table: &mut Table) {
    table.cases(
        "label_replace",
        &[
            "label_replace(memory_bytes, \"host\", \"$1\", \"instance\", \"(.*):.*\")",
            "label_replace(memory_bytes, \"host\", \"$2-$1\", \"instance\", \"(.*):(.*)\")",
            "label_replace(temperature_celsius{floor=\"1\"}, \"floor\", \"\", \"room\", \"h.*\") or vector(1)",
            "label_replace(memory_bytes, \"host\", \"x\", \"instance\", \"nothing\")",
            "label_replace(build_info, \"major\", \"${major}\", \"version\", \"(?P<major>[0-9]+).*\")",
            "label_replace(memory_bytes, \"__name__\", \"renamed_$1\", \"job\", \"(.*)\")",
        ],
    );
    table.cases(
        "label_join",
        &[
            "label_join(memory_bytes, \"both\", \"/\", \"job\", \"instance\")",
            "label_join(temperature_celsius, \"place\", \"\", \"room\", \"missing\", \"floor\")",
            "label_join(small_ratio, \"n\", \"-\", \"n\", \"n\")",
            "sum by (both) (label_join(rate(http_requests_total[1m]), \"both\", \",\", \"job\", \"code\"))",
        ],
    );
}

fn absence(table: &mut Table) {
    table.cases(
        "absent",
        &[
            "absent(nothing{a=\"b\",c=~\"d\",e!=\"f\"})",
            "absent(memory_bytes)",
            "absent(sum(nothing))",
            "absent(flaky{n=\"2\"})",
            "absent(nothing{a=\"b\",a=\"c\"})",
        ],
    );
    table.cases(
        "absent_over_time",
        &[
            "absent_over_time(nothing{a=\"b\"}[5m])",
            "absent_over_time(memory_bytes[1m])",
            "absent_over_time(flaky{n=\"0\"}[90s])",
            "absent_over_time(nothing{job=\"x\"}[10m:1m])",
        ],
    );
}

fn order(table: &mut Table) {
    for name in ["sort", "sort_desc"] {
        for argument in
            ["memory_bytes", "temperature_celsius", "sum by (job, code) (http_requests_total)", "small_ratio"]
        {
            let expr = format!("{name}({argument})");
            table.cases.push(Case { feature: name, expr, order: Order::Counts, in_range: true });
        }
    }
}

/// What dashboards ask.
fn combined(table: &mut Table) {
    table.cases(
        "combined",
        &[
            "sum by (job) (rate(http_requests_total{code=~\"5..\"}[5m])) / sum by (job) (rate(http_requests_total[5m]))",
            "rate(request_duration_seconds_sum[5m]) / rate(request_duration_seconds_count[5m])",
            "100 * (1 - avg by (job) (memory_bytes / memory_limit_bytes))",
            "topk(2, sum by (instance, job) (rate(http_requests_total[2m])))",
            "count(count by (instance) (memory_bytes)) > 2",
            "max_over_time((sum(rate(http_requests_total[1m])))[30m:1m]) - sum(rate(http_requests_total[1m]))",
            "sum(memory_bytes) by (job) > bool on (job) (sum by (job) (memory_limit_bytes) * 0.5)",
            "histogram_quantile(0.95, sum by (le, job) (rate(request_duration_seconds_bucket[5m]))) > 0.1",
            "predict_linear(memory_bytes[10m], 4 * 3600) < 0 or memory_bytes > 1e9",
            "(temperature_celsius > 0 or temperature_celsius * -1) and on (room) temperature_celsius{floor=\"1\"}",
        ],
    );
}
