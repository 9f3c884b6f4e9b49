//! The upstream scripts, and the runner itself.

use std::path::PathBuf;

use super::*;

/// The folder of conformance data, where the environment names one.
fn conformance() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "tests are told where the upstream data lies")]
    let root = std::env::var("NARTHEX_CONFORMANCE").ok()?;
    Some(PathBuf::from(root).join("promqltest"))
}

/// Runs an upstream file; `passed` and `left_out` are what is known to pass and to need more than there is.
fn check_file(name: &str, passed: usize, left_out: &[(&str, usize)]) {
    let Some(folder) = conformance() else {
        println!("skipped: NARTHEX_CONFORMANCE is not set");
        return;
    };
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    let report = run(&text).unwrap();
    for failure in report.failures.iter().take(20) {
        println!("{name}:{} {}\n    {}", failure.line, failure.expr, failure.reason);
    }
    let found: Vec<(&str, usize)> = report.left_out.iter().map(|(reason, n)| (*reason, *n)).collect();
    println!("{name}: {} passed, {} failed, left out {found:?}", report.passed, report.failures.len());
    assert_eq!(report.failures.len(), 0, "{name}");
    assert_eq!((report.passed, found.as_slice()), (passed, left_out), "{name}");
}

macro_rules! files {
    ($($test:ident $file:literal $passed:literal [$($left_out:expr),*];)*) => {
        $(#[test]
        fn $test() {
            check_file($file, $passed, &[$($left_out),*]);
        })*
    };
}

files! {
    aggregators "aggregators.test" 160 [];
    at_modifier "at_modifier.test" 71 [];
    duration_expression "duration_expression.test" 59 [];
    extended_vectors "extended_vectors.test" 169 [];
    fill_modifier "fill-modifier.test" 46 [];
    functions "functions.test" 431 [];
    histograms "histograms.test" 185 [];
    info "info.test" 42 [];
    literals "literals.test" 25 [];
    name_label_dropping "name_label_dropping.test" 30 [];
    native_histograms "native_histograms.test" 522 [];
    operators "operators.test" 213 [];
    selectors "selectors.test" 31 [];
    staleness "staleness.test" 17 [];
    start_timestamps "start_timestamps.test" 16 [("start timestamps of native histograms", 10)];
    type_and_unit "type_and_unit.test" 58 [];
}

fn failures(text: &str) -> Vec<String> {
    run(text).unwrap().failures.into_iter().map(|f| format!("{}: {}", f.line, f.reason)).collect()
}

#[test]
fn a_wrong_expectation_is_a_failure() {
    let load = "load 1m\n  x{a=\"b\"} 1 2 3\n\n";
    for (eval, expected) in [
        ("eval instant at 1m x\n  x{a=\"b\"} 2", vec![]),
        ("eval instant at 1m x\n  x{a=\"b\"} 3", vec!["4: {__name__=\"x\", a=\"b\"} is 2, expected 3"]),
        ("eval instant at 1m x\n  x{a=\"c\"} 2", vec!["4: unexpected {__name__=\"x\", a=\"b\"} 2"]),
        ("eval instant at 1m y\n  y 2", vec!["4: {__name__=\"y\"} not found"]),
        ("eval instant at 1m x\n  expect fail", vec!["4: no error, expected anything"]),
        ("eval instant at 1m topk(NaN, x)\n  expect fail msg: Parameter value is NaN", vec![]),
        ("eval instant at 1m 1 + 1\n  2", vec![]),
        (
            "eval instant at 1m quantile(2, x)\n  expect no_warn\n  {} Inf",
            vec!["4: unexpected annotations [\"PromQL warning: quantile value should be between 0 and 1, got 2\"]"],
        ),
        ("eval range from 0 to 2m step 1m x\n  x{a=\"b\"} 1 2 3", vec![]),
        ("eval instant at 0 \"a\\tb\"\n  expect string \"a\\tb\"", vec![]),
    ] {
        assert_eq!(failures(&format!("{load}{eval}")), expected, "{eval}");
    }
}

#[test]
fn what_cannot_be_read_is_an_error() {
    for bad in [
        "evaluate",
        "load",
        "load 1x\n a 1",
        "eval instant at 1m",
        "eval instant at 1m sum(",
        "eval instant at 0 x\n expect maybe",
    ] {
        assert!(run(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_is_not_built_is_left_out_by_name() {
    let load = "load 1m\n  h@st -1sx5\n  h {{schema:0}}x5\n  x 1\n\n";
    let report = run(&format!("{load}eval instant at 3m rate(h[2m])\n\neval instant at 0 x\n  x 1")).unwrap();
    assert_eq!((report.passed, report.left_out_count()), (1, 1));
    assert_eq!(report.left_out.keys().copied().collect::<Vec<_>>(), ["start timestamps of native histograms"]);
}
