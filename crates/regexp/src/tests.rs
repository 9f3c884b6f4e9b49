//! What the crate finds out about patterns, by example; `tests/` has what Prometheus and Go say.

use super::*;
use crate::decider::Decider;

fn matcher(pattern: &str) -> Regexp {
    Regexp::matcher(pattern).unwrap()
}

/// `expected`: the texts, separated by blanks; `*` where they are not known.
fn check_literals(pattern: &str, expected: &str) {
    let found = matcher(pattern).literals().map_or("*".to_owned(), |texts| texts.join(" "));
    assert_eq!(found, expected, "{pattern}");
}

#[test]
fn texts_are_known_where_they_are_few() {
    check_literals("foo", "foo");
    check_literals("foo|bar|ba[rz]", "bar baz foo");
    check_literals("(foo|bar)", "bar foo");
    check_literals("^(?:foo|bar)$", "bar foo");
    check_literals("^foo|bar$", "bar foo");
    check_literals("prod-(a|b)(1|2)", "prod-a1 prod-a2 prod-b1 prod-b2");
    check_literals(
        "(?i)ok",
        "OK Ok oK ok O\u{212a} o\u{212a}"
            .split(' ')
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
            .join(" ")
            .as_str(),
    );
    check_literals("(?i)a_b", "A_B A_b a_B a_b");
    check_literals("ab?", "a ab");
    check_literals("x{2,3}", "xx xxx");
    check_literals("", "");
    check_literals("|a", " a");
    check_literals(r"a\.b", "a.b");
    check_literals(r"\Qa.b\E|c", "a.b c");
    check_literals("[0-9]", "0 1 2 3 4 5 6 7 8 9");
    check_literals(r"[^\x00-\x{10FFFF}]", "");
    assert_eq!(matcher(r"[^\x00-\x{10FFFF}]").literals(), Some(&[][..]));
    for unknown in ["a.*", "a+", "[^a]", r"\bfoo", "a^b", "[a-z]{2}", "(?i)kubernetes", "x{0,1000}", "(?m)a$\nb"] {
        check_literals(unknown, "*");
    }
}

#[test]
fn every_match_begins_with_the_prefix() {
    for (pattern, expected) in [
        ("foo.*", "foo"),
        ("foo|foobar", "foo"),
        ("prod-(a|b)-.*", "prod-"),
        ("(api|app).+", "ap"),
        ("(foo)+bar", "foo"),
        ("(foo)*bar", ""),
        ("^foo.*", "foo"),
        ("foo[ab]c+", "foo"),
        ("é.*|è.*", ""),
        (".*", ""),
        ("(?i)foo.*", ""),
        ("", ""),
    ] {
        assert_eq!(matcher(pattern).prefix(), expected, "{pattern}");
    }
    assert_eq!(Regexp::wrapped("foo.*").unwrap().prefix(), "foo");
    assert_eq!(Regexp::wrapped("foo)|(bar").unwrap().prefix(), "");
    assert_eq!(Regexp::unanchored("foo").unwrap().prefix(), "");
}

#[test]
fn common_shapes_need_no_automaton() {
    for pattern in [".*", ".+", "api.*", ".*api", ".*api.*", "a.*b.+c", "^.*api.*$", "(.*)", "(.+)-(.+)", ".+.*.+"] {
        assert!(matches!(matcher(pattern).0.decider, Decider::Glob(_)), "{pattern}");
    }
    for pattern in ["(?-s).*", ".*(a|b).*", "[a-z]+", ".*a*", ".?"] {
        assert!(matches!(matcher(pattern).0.decider, Decider::Engine(_)), "{pattern}");
    }
}

#[test]
fn gaps_are_counted_in_characters() {
    for (pattern, yes, no) in [
        ("a.*b", &["ab", "aéb", "a\nb", "abab"][..], &["a", "b", "aba", ""][..]),
        ("a.+b", &["aéb", "abb"], &["ab", "a", ""]),
        (".+a.+a.+", &["xaxax", "aaaaa"], &["aaaa", "xaxa", "axaxa"]),
        (".+.+", &["ab", "éé"], &["é", ""]),
        ("aa.*aa", &["aaaa", "aaxaa"], &["aaa", "aa"]),
        (".*ab.*ba.*", &["abba", "xabxbax"], &["aba", "baab"]),
    ] {
        let regexp = matcher(pattern);
        for text in yes {
            assert!(regexp.is_match(text), "{pattern} {text}");
        }
        for text in no {
            assert!(!regexp.is_match(text), "{pattern} {text}");
        }
    }
    assert!(matcher(".*").matches_all() && matcher("(.*)").matches_all() && matcher(".*.*").matches_all());
    assert!(!matcher(".+").matches_all() && !matcher("a.*").matches_all());
    assert!(matcher("a*").matches_empty() && !matcher("a+").matches_empty());
}

#[test]
fn templates_are_expanded_as_go_does() {
    let regexp = Regexp::wrapped("(?P<first>[a-z]+)-(?P<n>[0-9]+)(x)?|(?P<n>.)").unwrap();
    for (template, expected) in [
        ("$1", "web"),
        ("${1}x", "webx"),
        ("$1x", ""),
        ("$1-$2", "web-12"),
        ("$0", "web-12"),
        ("$first", "web"),
        ("${n}", "12"),
        ("$3", ""),
        ("$9", ""),
        ("$01", ""),
        ("$$1", "$1"),
        ("$", "$"),
        ("a$", "a$"),
        ("${1", "${1"),
        ("${}", "${}"),
        ("$ 1", "$ 1"),
        ("${1 }", "${1 }"),
        ("$é", ""),
        ("$1é", ""),
        ("é$1·", "éweb·"),
        ("$99999999999999999999", ""),
    ] {
        let mut out = String::new();
        assert!(regexp.expand("web-12", template, &mut out));
        assert_eq!(out, expected, "{template}");
    }
    assert!(!regexp.expand("web-", "$1", &mut String::new()));
    let mut out = String::new();
    assert!(Regexp::wrapped("(?P<all>.*)").unwrap().expand("é", "$0-$1-$all-$2", &mut out));
    assert_eq!(out, "é-é-é-");
    let captures = regexp.captures("é").unwrap();
    assert_eq!((captures.named("n"), captures.group(4), captures.group(1)), (Some("é"), Some("é"), None));
}

#[test]
fn wrapped_patterns_are_read_with_what_is_around_them() {
    let halves = Regexp::wrapped("a)|(b").unwrap();
    assert!(halves.is_match("ax") && halves.is_match("xb") && !halves.is_match("xa"));
    let refused = |pattern: &str| Regexp::wrapped(pattern).unwrap_err().to_string();
    assert_eq!(refused(r"\Qa.b"), r"error parsing regexp: missing closing ): `^(?s:\Qa.b)$`");
    assert_eq!(refused("a)b"), "error parsing regexp: unexpected ): `^(?s:a)b)$`");
    assert_eq!(refused("[a"), "error parsing regexp: missing closing ]: `[a)$`");
    assert!(Regexp::matcher(r"\Qa.b").is_ok());
    for pattern in ["", "|", ")|(", ")|(?:^", "a)|^(?:b", "a)$|^(?:b", ")(?:", "a)?(b"] {
        let regexp = Regexp::wrapped(pattern).unwrap();
        assert_eq!(regexp.captures("ab").is_some(), regexp.is_match("ab"), "{pattern}");
    }
}

#[test]
fn replacing_all_goes_on_behind_each_match() {
    for (pattern, text, template, expected) in [
        ("a", "banana", "<$0>", "b<a>n<a>n<a>"),
        ("a*", "baac", "-", "-b-c-"),
        ("", "éb", "-", "-é-b-"),
        ("^", "ab", "x", "xab"),
        ("$", "ab", "x", "abx"),
        ("(?m)^", "a\nb", "> ", "> a\n> b"),
        (r"(\w)(\w*)", "ab c", "$2$1", "ba c"),
        ("z", "abc", "-", "abc"),
        (r"\b", "a b", "|", "|a| |b|"),
    ] {
        assert_eq!(Regexp::unanchored(pattern).unwrap().replace_all(text, template), expected, "{pattern} {text}");
    }
    assert_eq!(Regexp::wrapped("b(.*)").unwrap().replace_all("b1", "bar_${1}"), "bar_1");
    assert_eq!(Regexp::wrapped("").unwrap().replace_all("", "x"), "x");
    assert_eq!(Regexp::wrapped(".*").unwrap().replace_all("a", "x"), "x");
}

/// Seeded mutations of what the syntax has, and of bytes that it has not.
#[test]
fn any_bytes_are_read_without_panic() {
    const SEEDS: &[&[u8]] = &[
        br"(?P<n>[^a-z\d[:alpha:]]+?|\pL{2,3}\p{Greek}*)(?i-s:k\bx)$
aKx",
        br"^(?m:^a$)|(?:.*foo.*|\Q[x\E\x{e9})(b{0}){1,2}
foo",
        br"api.+|(a|b[cd])?\101\x41\W[[:^word:]-]
apiA",
        b"\xff(a|\xc3)[\xe9-z]\\\n\xff\xc3\xa9",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % n as u64).unwrap()
    };
    for _ in 0..3000 {
        let mut bytes = SEEDS[random(SEEDS.len())].to_vec();
        for _ in 0..=random(4) {
            let at = random(bytes.len());
            let other = SEEDS[random(SEEDS.len())];
            let from = random(other.len());
            let piece = &other[from..other.len().min(from + 1 + random(6))];
            let end = bytes.len().min(at + random(4));
            bytes.splice(at..end, piece.iter().copied());
        }
        fuzzing::fuzz_regexp(&bytes);
    }
}
