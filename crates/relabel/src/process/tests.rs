//! What the decided cases do not reach; `tests/conformance.rs` has those.

use super::*;
use crate::rule::{Draft, Fields, NameValidationScheme};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).unwrap()
}

/// A rule of `action source_labels regex target_label replacement`; `-` for an absent field, `,` between labels.
fn rule(text: &str) -> Rule {
    let words: Vec<&str> = text.split(' ').collect();
    let [action, sources, regex, target, replacement] = words[..] else { panic!("{text}") };
    let field = |word: &str| Some(word.to_owned()).filter(|w| w != "-");
    let fields = Fields {
        action: Some(Some(action.to_owned())),
        source_labels: field(sources).map(|s| s.split(',').map(str::to_owned).collect()),
        regex: field(regex),
        target_label: field(target),
        replacement: field(replacement),
        modulus: (action == "hashmod").then_some(u64::MAX),
        separator: None,
    };
    Draft::new(fields).unwrap().validate(NameValidationScheme::Utf8).unwrap()
}

fn check(rules: &[&str], before: &[(&str, &str)], after: Option<&[(&str, &str)]>) {
    let rules: Vec<Rule> = rules.iter().map(|text| rule(text)).collect();
    assert_eq!(relabel(&rules, &labels(before)), after.map(labels), "{rules:?}");
}

#[test]
fn where_two_names_become_one_the_last_in_order_wins() {
    check(
        &["labelmap - (?:a|b)_x - x"],
        &[("a_x", "1"), ("b_x", "2")],
        Some(&[("a_x", "1"), ("b_x", "2"), ("x", "2")]),
    );
    // A label that a rule has set comes after those that were there.
    check(
        &["replace - - a_x 3", "labelmap - (?:a|b)_x - x"],
        &[("a_x", "1"), ("b_x", "2")],
        Some(&[("a_x", "3"), ("b_x", "2"), ("x", "3")]),
    );
    // Deleted and set again, it comes last of all.
    check(
        &[
            "replace - - b_x 4",
            "replace - - a_x 3",
            "labeldrop - b_x - -",
            "replace - - b_x 5",
            "labelmap - (?:a|b)_x - x",
        ],
        &[("a_x", "1"), ("b_x", "2")],
        Some(&[("a_x", "3"), ("b_x", "5"), ("x", "5")]),
    );
    // Labels that a rule makes are not mapped by the same rule.
    check(&["labelmap - a+ - a$0"], &[("a", "1"), ("aa", "2")], Some(&[("a", "1"), ("aa", "1"), ("aaa", "2")]));
}

#[test]
fn half_anchored_expressions_replace_every_match() {
    // `^(?s:a)|(b)$`: the start or the end of a name.
    check(&["labelmap - a)|(b - <$1>"], &[("axb", "1")], Some(&[("axb", "1"), ("<>x<b>", "1")]));
    check(&["replace n a)|(b m [$0]"], &[("n", "xxb")], Some(&[("n", "xxb"), ("m", "[b]")]));
    check(&["keep n a)|(b - -"], &[("n", "xxa")], None);
}

#[test]
fn the_default_expression_needs_no_search() {
    for (rule, value) in [
        ("replace a,b - c -", "1;2"),
        ("replace a - c fixed", "fixed"),
        ("replace a (.*) c x${1}y$0", "x1y1"),
        ("replace a - ${1}_c v", ""),
        ("lowercase b - c -", "2"),
    ] {
        let result = relabel(&[self::rule(rule)], &labels(&[("a", "1"), ("b", "2")])).unwrap();
        assert_eq!(result.get("c").unwrap_or_default(), value, "{rule}");
    }
    check(&["replace a - ${1}_c v"], &[("a", "1")], Some(&[("a", "1"), ("1_c", "v")]));
    check(&["replace x - a -"], &[("a", "1"), ("b", "2")], Some(&[("b", "2")]));
}

#[test]
fn hashes_are_the_last_half_of_md5() {
    // MD5 of nothing is d41d8cd98f00b204 e9800998ecf8427e.
    assert_eq!(last_half_of_md5(""), 0xe980_0998_ecf8_427e);
    check(&["hashmod - - h -"], &[], Some(&[("h", "16825458760271544958")]));
}

#[test]
fn no_rules_share_the_labels() {
    let before = labels(&[("a", "1")]);
    let after = relabel(&[], &before).unwrap();
    assert!(std::ptr::eq(before.as_packed(), after.as_packed()));
}

/// Seeded mutations of rules of every action.
#[test]
fn any_rules_are_applied_without_panic() {
    const SEED: &[u8] = b"replace\na,b\n-\n(.+)-(.*)\n\n${1}_x\n$2$$\nlabelmap\n\n\n__meta_(.*)\n\n\n$1\nhashmod\na\n\n\n8\nh\n\n\
        labeldrop\n\n\na|b.*\n\n\n\nkeep\na\n\n.*\n\n\n\nlowercase\nb\n\n\n\nl\n\ndropequal\na\n\n\n\nb\n\nlabelkeep\n\n\n.+\n\n\n\n";
    let mut state = 0x1234_5678_9abc_def1_u64;
    let mut random = move |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % n as u64).unwrap()
    };
    for _ in 0..1000 {
        let mut bytes = SEED.to_vec();
        for _ in 0..=random(6) {
            let (at, from) = (random(bytes.len()), random(SEED.len()));
            let end = bytes.len().min(at + random(8));
            bytes.splice(at..end, SEED[from..SEED.len().min(from + random(8))].iter().copied());
        }
        crate::fuzzing::fuzz_relabel(&bytes);
    }
}
