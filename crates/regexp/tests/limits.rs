//! Patterns that are large or deep on purpose: compiled or refused, but never without bounds and never a crash. Tests run on
//! stacks of 2 MiB, as tasks do.

use regexp::{ErrorKind, Regexp};

/// `expected`: whether `text` matches, where the pattern compiles.
fn check(pattern: &str, text: &str, expected: Result<bool, ErrorKind>) {
    for compiled in [Regexp::matcher(pattern), Regexp::wrapped(pattern)] {
        let found = compiled.map(|r| r.is_match(text)).map_err(|e| e.kind());
        assert_eq!(found, expected, "{} bytes: {}", pattern.len(), pattern.chars().take(60).collect::<String>());
    }
}

fn nested(open: &str, close: &str, levels: usize) -> String {
    format!("{}a{}", open.repeat(levels), close.repeat(levels))
}

#[test]
fn a_thousand_levels_compile_and_more_are_refused() {
    check(&nested("(", ")", 998), "a", Ok(true));
    check(&nested("(", ")", 999), "a", Err(ErrorKind::NestingDepth));
    check(&nested("(", ")", 100_000), "a", Err(ErrorKind::NestingDepth));
    check(&nested("(?:b", ")*", 499), "ba", Ok(false));
    check(&nested("(?:b", ")*", 499), &"b".repeat(499), Ok(true));
    check(&nested("(?:b", ")*", 500), "ba", Err(ErrorKind::NestingDepth));
    check(&nested("(bc|", ")", 499), "a", Ok(true));
    check(&nested("(bc|", ")", 500), "a", Err(ErrorKind::NestingDepth));
    check(&nested("(b|", ")", 499), "a", Ok(true));
    check(&nested("(b|", ")", 500), "a", Err(ErrorKind::NestingDepth));
    check(&nested("(?:", ")", 100_000), "a", Ok(true));
}

#[test]
fn repetitions_multiply_up_to_a_thousand() {
    check(".{1000}", &"é".repeat(1000), Ok(true));
    check(".{1001}", "", Err(ErrorKind::InvalidRepeatSize));
    check("((a{10}){10}){10}", &"a".repeat(1000), Ok(true));
    check("((a{10}){10}){11}", "", Err(ErrorKind::InvalidRepeatSize));
    check("(?:a{1000}){0}b", "b", Ok(true));
    check(r"[\w-]{1000}y", &"x".repeat(1001), Ok(false));
    check("(?:a?){1000}a{1000}", &"a".repeat(1000), Ok(true));
    check("(a*)*(a*)*(a*)*b", &"a".repeat(5000), Ok(false));
}

#[test]
fn what_would_take_too_much_memory_is_refused() {
    check(r"\pL{100}", &"x".repeat(100), Ok(true));
    check(r"\pL{1000}", "", Err(ErrorKind::TooLarge));
    check(&r"\pL".repeat(3000), "", Err(ErrorKind::TooLarge));
    check(&nested("(?:", "b*c)", 20_000), "", Err(ErrorKind::TooLarge));
    let groups = "(a|b*)".repeat(2000);
    assert!(Regexp::matcher(&groups).unwrap().is_match("ab"));
    assert_eq!(Regexp::wrapped(&groups).unwrap_err().kind(), ErrorKind::TooLarge);
}

#[test]
fn long_lists_of_literals_are_sets() {
    let hosts: Vec<String> = (0..50_000).map(|i| format!("host-{i}")).collect();
    let regexp = Regexp::matcher(&hosts.join("|")).unwrap();
    assert_eq!(regexp.literals().map(<[String]>::len), Some(50_000));
    assert_eq!(regexp.prefix(), "host-");
    assert!(regexp.is_match("host-49999") && !regexp.is_match("host-50000"));
}
