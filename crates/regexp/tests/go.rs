//! Random patterns and texts with what Go says of them.
//!
//! `go.txt` was made once, with Go 1.26 and the `github.com/grafana/regexp` of Prometheus 3.14, by a seeded generator of
//! patterns (from a grammar of everything the syntax has, and of what users write; a fifth of them damaged) and of texts that
//! nearly match. A line has five columns with a tab between, `\\`, `\n`, `\t`, `\r` escaped: pattern; text; matcher: `+` and
//! `-` for match and none; wrapped: `+` and the template of `expand` below; unanchored: `=` and the text replaced. `!` and
//! Go's words stand where it refuses the pattern.

use std::fmt::Display;

use regexp::Regexp;

const TABLE: &str = include_str!("go.txt");

fn unescape(column: &str) -> String {
    let mut out = String::new();
    let mut chars = column.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('r') => '\r',
                Some('\\') => '\\',
                other => panic!("{column}: {other:?}"),
            },
            c => c,
        });
    }
    out
}

fn outcome<E: Display>(found: Result<String, E>) -> String {
    found.unwrap_or_else(|e| e.to_string().replacen("error parsing regexp: ", "!", 1))
}

fn expanded(regexp: &Regexp, text: &str) -> String {
    let mut out = String::from("+");
    if regexp.expand(text, "$0|${1}|$2|$3|$n|${m}|$10", &mut out) { out } else { "-".to_owned() }
}

#[test]
fn random_patterns_do_what_go_does() {
    let (mut rows, mut refused, mut matched, mut groups) = (0, 0, 0, 0);
    let mut wrong = Vec::new();
    for line in TABLE.lines() {
        let columns: Vec<String> = line.split('\t').map(unescape).collect();
        let [pattern, text, matcher, wrapped, unanchored] = &columns[..] else { panic!("{line}") };
        rows += 1;
        refused += usize::from(matcher.starts_with('!'));
        matched += usize::from(matcher == "+");
        let found = outcome(Regexp::matcher(pattern).map(|r| if r.is_match(text) { "+" } else { "-" }.to_owned()));
        if found != *matcher {
            wrong.push(format!("matcher {line:?}: {found}"));
        }
        // The automaton with groups must agree with the shortcut.
        if let Ok(r) = Regexp::matcher(pattern)
            && !pattern.contains("\\Q")
        {
            let found = expanded(&r, text);
            groups += usize::from(found.starts_with('+'));
            if found != *wrapped {
                wrong.push(format!("groups of matcher {line:?}: {found}"));
            }
        }
        let compiled = Regexp::wrapped(pattern);
        if let Ok(r) = &compiled
            && r.is_match(text) != wrapped.starts_with('+')
        {
            wrong.push(format!("wrapped {line:?}"));
        }
        let found = outcome(compiled.map(|r| expanded(&r, text)));
        if found != *wrapped {
            wrong.push(format!("wrapped {line:?}: {found}"));
        }
        let found = outcome(Regexp::unanchored(pattern).map(|r| format!("={}", r.replace_all(text, "<$0,$1,$n>"))));
        if found != *unanchored {
            wrong.push(format!("unanchored {line:?}: {found}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!((rows, refused, matched, groups), (3000, 511, 1002, 932));
}
