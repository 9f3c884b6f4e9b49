//! What the decided cases do not say: limits, recovery, and that no input is too much.

use std::fmt::Write;
use std::time::{Duration, Instant};

use super::{DEPTH_MAX, ParseOptions, parse_expr, parse_metric, parse_selector, parse_series_desc};
use crate::fuzzing;
use crate::{pretty, tree_json};

/// All errors of `text` as `start-end message`, or how it prints.
fn outcome(text: &str) -> String {
    match parse_expr(text, &ParseOptions::ALL) {
        Ok(expr) => expr.to_string(),
        Err(errors) => {
            let all = errors.errors().iter().map(|e| format!("{}-{} {}", e.pos.start, e.pos.end, e.message));
            all.collect::<Vec<_>>().join("; ")
        }
    }
}

#[test]
fn errors_are_recovered_from_as_in_prometheus() {
    for (text, expected) in [
        (
            "sum(a b) + 1",
            "6-7 unexpected identifier \"b\" in aggregation; 0-0 no arguments for aggregate expression provided",
        ),
        (
            "(sum(a b) + 1) c",
            "7-8 unexpected identifier \"b\" in aggregation; 1-0 no arguments for aggregate expression provided; \
             13-14 unexpected \")\"",
        ),
        (
            "(sum(a b) c) + d e",
            "7-8 unexpected identifier \"b\" in aggregation; 1-0 no arguments for aggregate expression provided; \
             10-11 unexpected identifier \"c\"",
        ),
        (
            "sum by a (b) (x)",
            "7-8 unexpected identifier \"a\" in grouping opts, expected \"(\"; 13-14 unexpected \"(\"",
        ),
        ("foo{a b=\"c\"}", "6-7 unexpected identifier \"b\" in label matching, expected label matching operator"),
        (
            "foo offset + bar",
            "13-16 unexpected identifier \"bar\" in offset, expected number, duration, step(), or range()",
        ),
        ("a + group_left b", "4-14 unexpected <group_left>"),
    ] {
        assert_eq!(outcome(text), expected, "{text}");
    }
}

#[test]
fn an_offset_takes_arithmetic_only_once_parentheses_or_two_signs_are_there() {
    for (text, expected) in [
        ("foo offset 5 + 2", "foo offset 5s + 2"),
        ("foo offset -5 ^ 2", "foo offset -5s ^ 2"),
        ("foo offset step() + 2", "foo offset step() + 2"),
        ("foo offset (5) + 2", "foo offset 5 + 2"),
        ("foo offset --5 + 2", "foo offset 5 + 2"),
        ("foo offset -(5 + 1) + 2", "foo offset -(5 + 1) + 2"),
    ] {
        assert_eq!(outcome(text), expected, "{text}");
    }
    let subtracted = parse_expr("foo offset (5) + 2", &ParseOptions::ALL).unwrap();
    assert!(tree_json(&subtracted).unwrap()["offsetExpr"].is_object(), "all of it is the offset");
    let added = parse_expr("foo offset -(5 + 1) + 2", &ParseOptions::ALL).unwrap();
    assert_eq!(tree_json(&added).unwrap()["type"], "binaryExpr");
}

/// Expressions of `n` levels, each in another way.
fn nested(n: usize) -> Vec<String> {
    let around = |open: &str, inner: &str, close: &str| format!("{}{inner}{}", open.repeat(n - 1), close.repeat(n - 1));
    vec![
        around("(", "a", ")"),
        around("-", "a", ""),
        around("a + ", "a", ""),
        around("a ^ ", "a", ""),
        around("", "a", "== bool on (x) group_left (y) a"),
        around("abs(", "a", ")"),
        around("label_replace(", "a", ", \"a\", \"b\", \"c\", \"d\")"),
        around("sum by (b) (", "a", ")"),
        around("topk(1, ", "a", ") without (c)"),
    ]
}

/// Walks over the tree in every way that there is.
fn walk(text: &str) {
    let expr = parse_expr(text, &ParseOptions::ALL).unwrap_or_else(|e| panic!("{e}: {}…", &text[..80]));
    assert!(expr.to_string().len() >= DEPTH_MAX / 2);
    assert!(pretty(&expr).len() >= DEPTH_MAX / 2);
    assert!(tree_json(&expr).unwrap().is_object());
    drop(expr.clone());
}

#[test]
fn the_deepest_expressions_fit_the_stack_of_a_thread() {
    for text in nested(DEPTH_MAX) {
        walk(&text);
    }
    let n = DEPTH_MAX / 2 - 1;
    walk(&format!("{}a{}", "max_over_time(".repeat(n), "[5m:])".repeat(n)));
    let n = DEPTH_MAX - 3;
    for (open, close) in [("(1 +", ")"), ("-", ""), ("max_of(1, ", ")"), ("1 + ", ""), ("1 ^ ", "")] {
        let n = if open.starts_with('(') { n / 2 } else { n };
        walk(&format!("a[{}step(){}]", open.repeat(n), close.repeat(n)));
        walk(&format!("a offset (1 + {}step(){})", open.repeat(n - 2), close.repeat(n - 2)));
    }
}

#[test]
fn deeper_expressions_are_refused_however_deep() {
    for n in [DEPTH_MAX + 1, 200_000] {
        for text in nested(n) {
            let errors = parse_expr(&text, &ParseOptions::ALL).unwrap_err();
            let message = &errors.errors()[0].message;
            assert_eq!(message, "expression is nested too deeply, the limit is 1000 levels", "{}…", &text[..20]);
        }
    }
    // Levels add up where each of them alone is within the limit.
    let mut text = "1".to_owned();
    for _ in 0..20 {
        text = format!("({text}{})", " + 1".repeat(90));
    }
    assert!(parse_expr(format!("a[{text}]"), &ParseOptions::ALL).is_err());
    assert!(parse_expr(&text, &ParseOptions::ALL).is_err());
}

#[test]
fn long_inputs_take_linear_time() {
    let started = Instant::now();
    let mut inputs = vec![
        "a ".repeat(200_000),
        "(".repeat(200_000),
        "sum(".repeat(200_000),
        "foo(,".repeat(100_000),
        format!("foo({}1)", ",".repeat(200_000)),
        format!("sum by ({}) (a)", "a b,".repeat(100_000)),
        format!("{{{}}}", "a b,".repeat(100_000)),
        format!("abs({})", "a,".repeat(200_000)),
        format!("\"{}\"", "\\n".repeat(200_000)),
        format!("a[{}", "5m + ".repeat(100_000)),
        "foo offset ".repeat(100_000),
        "fill ".repeat(200_000),
    ];
    let mut selector = "a{".to_owned();
    for i in 0..20_000 {
        write!(selector, "a{i}=\"b\",").unwrap();
    }
    selector.push('}');
    inputs.push(selector);
    for text in &inputs {
        drop(parse_expr(text, &ParseOptions::ALL).map(|e| (e.to_string(), pretty(&e))));
        drop(parse_selector(text));
        drop(parse_metric(text));
        drop(parse_series_desc(text, &|a, _, _| Ok(a.clone())));
    }
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn a_series_has_a_bounded_number_of_values() {
    let combine = |a: &model::FloatHistogram, _: &model::FloatHistogram, _| Ok(a.clone());
    let series = parse_series_desc("a 1x999999", &combine).unwrap();
    assert_eq!(series.values.len(), 1_000_000);
    for text in ["a 1x1000000", "a _x600000 _x600000", "a 1+1x18446744073709551615", "a {{}}+{{}}x18446744073709551615"]
    {
        let errors = parse_series_desc(text, &combine).unwrap_err();
        assert_eq!(errors.errors()[0].message, "too many series values, the limit is 1000000", "{text}");
    }
}

/// A generator of numbers: xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(n).unwrap()).unwrap()
    }
}

const SEEDS: [&str; 12] = [
    r#"sum by (a, "b c") (rate(foo{a="b", c!~"d|e"}[5m] offset -(1h + step()) @ start())) > bool 0.5e3"#,
    "foo + on (a) group_left (b) fill_left (-1) fill_right (Inf) bar or topk(5, baz) without (x)",
    "max_over_time((a atan2 b)[1h:max_of(step(), 5m) * 2] @ 1.5 offset 1d2h) ^ -2 ^ 3",
    "foo[5m] anchored - info(bar smoothed, {c=~'.+'}) # end\n * 0x1F / 017 % 1_000",
    "label_replace(x, \"dst\", '$1\\x41\\377', `src`, \"(.*)\\u00e9\")",
    "histogram_quantile(0.9, a) </ 3 >/ -4 unless end() - start()",
    r#"{"my.metric", "label.name"=~"v", x!="y",}"#,
    r#"metric{a="b", "c d"="\n"}"#,
    r#"metric{a="b"} 1 -2+3x4 _ _x2 stale Inf 1e3x0"#,
    "{} {{schema:1 count:6 sum:-0.3 buckets:[1 2.5 3] offset:-2 n_buckets:[4]}}+{{z_bucket:1 z_bucket_w:0.1}}x3",
    "{} {{custom_values:[1 2] schema:-53 counter_reset_hint:gauge}} {{}}x2",
    "count_values(\"v\", foo) by () == limitk(2, bar) -- 1",
];

/// Changes a few places of a seed: bytes, and pieces of other seeds.
fn mutated(random: &mut Random) -> Vec<u8> {
    const BYTES: &[u8] = b"()[]{}:,=!~<>\"'`\\@#x_-+*/%^ .059mshe\n\xff\xc3";
    let mut text = SEEDS[random.below(SEEDS.len())].as_bytes().to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(text.len() + 1);
        match random.below(4) {
            0 => text.truncate(at),
            1 => text.insert(at, BYTES[random.below(BYTES.len())]),
            2 => {
                let other = SEEDS[random.below(SEEDS.len())].as_bytes();
                let (a, b) = (random.below(other.len()), random.below(other.len()));
                text.splice(at..at, other[a.min(b)..a.max(b)].iter().copied());
            }
            _ if at < text.len() => {
                text.remove(at);
            }
            _ => {}
        }
    }
    text
}

#[test]
fn mutated_inputs_never_panic() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..3000 {
        let text = mutated(&mut random);
        fuzzing::fuzz_expr(&text);
        fuzzing::fuzz_selector(&text);
        fuzzing::fuzz_series_desc(&text);
    }
}
