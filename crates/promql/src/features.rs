//! Prometheus' feature flags (`--enable-feature`) that concern PromQL.

use crate::ParseOptions;
use crate::engine::Options;

/// Is accepted besides: what it turned on is always on.
const ALWAYS_ON: &str = "promql-duration-expr";

/// The flags that change something.
pub const FEATURES: [&str; 7] = [
    "promql-experimental-functions",
    "promql-extended-range-selectors",
    "promql-binop-fill-modifiers",
    "promql-delayed-name-removal",
    "type-and-unit-labels",
    "use-start-timestamps",
    "promql-per-step-stats",
];

/// Whether a flag of this name does something, or what it asks for is done in any case.
pub fn is_known(name: &str) -> bool {
    name == ALWAYS_ON || FEATURES.contains(&name)
}

/// What the parser and the engine do with the features for which `is_on` holds.
pub fn options(is_on: impl Fn(&str) -> bool) -> (ParseOptions, Options) {
    let [functions, extended, fill, delayed, types, starts, steps] = FEATURES.map(is_on);
    let parse = ParseOptions {
        experimental_functions: functions,
        extended_range_selectors: extended,
        binop_fill_modifiers: fill,
        ..ParseOptions::STABLE
    };
    let engine = Options {
        delayed_name_removal: delayed,
        type_and_unit_labels: types,
        start_timestamps: starts,
        per_step_stats: steps,
    };
    (parse, engine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::FUNCTIONS;
    use crate::parse_expr;

    fn refusal(text: &str, features: &[&str]) -> Option<String> {
        let (parse, _) = options(|name| features.contains(&name));
        parse_expr(text, &parse).err().map(|errors| errors.to_string())
    }

    #[test]
    fn what_is_behind_a_flag_is_refused_in_prometheus_words_without_it() {
        let aggregation = |op: &str| {
            let flag = "--enable-feature=promql-experimental-functions";
            format!("{op}() is experimental and must be enabled with {flag}")
        };
        for (text, feature, words) in [
            ("x[5m] anchored", FEATURES[1], "anchored modifier is experimental and not enabled".to_owned()),
            ("x smoothed", FEATURES[1], "smoothed modifier is experimental and not enabled".to_owned()),
            ("x + fill(0) y", FEATURES[2], "binop fill modifiers are experimental and not enabled".to_owned()),
            ("limitk(1, x)", FEATURES[0], aggregation("limitk")),
            ("limit_ratio(0.5, x)", FEATURES[0], aggregation("limit_ratio")),
        ] {
            let refused = refusal(text, &[]).unwrap();
            assert!(refused.ends_with(&words), "{text}: {refused}");
            assert_eq!(refusal(text, &[feature]), None, "{text}");
            let others: Vec<&str> = FEATURES.into_iter().filter(|other| *other != feature).collect();
            assert!(refusal(text, &others).is_some(), "{text} with {others:?}");
        }
    }

    #[test]
    fn experimental_functions_are_refused_by_name() {
        let mut refused = 0;
        for function in FUNCTIONS.iter().filter(|f| f.experimental) {
            let words = format!("function \"{}\" is not enabled", function.name);
            let found = refusal(&format!("{}()", function.name), &[]).unwrap();
            assert!(found.contains(&words), "{found}");
            let enabled = refusal(&format!("{}()", function.name), &FEATURES).unwrap_or_default();
            assert!(!enabled.contains("not enabled"), "{enabled}");
            refused += 1;
        }
        assert_eq!(refused, 17);
    }

    #[test]
    fn what_was_asked_for_and_not_done_can_be_told() {
        for (name, known) in
            [(FEATURES[5], true), ("promql-duration-expr", true), ("native-histograms", false), ("", false)]
        {
            assert_eq!(is_known(name), known, "{name}");
        }
    }

    #[test]
    fn each_flag_of_the_engine_turns_one_thing() {
        assert_eq!(options(|_| false), (ParseOptions::STABLE, Options::default()));
        assert_eq!(options(|_| true).0, ParseOptions::ALL);
        let with = |name: &str| options(|n| n == name).1;
        assert_eq!(with(FEATURES[3]), Options { delayed_name_removal: true, ..Options::default() });
        assert_eq!(with(FEATURES[4]), Options { type_and_unit_labels: true, ..Options::default() });
        assert_eq!(with(FEATURES[5]), Options { start_timestamps: true, ..Options::default() });
        assert_eq!(with(FEATURES[6]), Options { per_step_stats: true, ..Options::default() });
    }
}
