//! Patterns of file names as Go's `filepath.Match` and `filepath.Glob` read them: `*` and `?` do not cross a `/`, `[a-c]` and
//! `[^a]` are classes, `\` takes the next character as it is.

/// A parsed pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<Token>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Star,
    AnyOne,
    One(char),
    Class { negated: bool, ranges: Vec<(char, char)> },
}

/// A pattern that ends within a class or behind a `\`; the words are Go's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub struct BadPattern;

/// Most parts of a path that are expanded.
const PARTS_MAX: usize = 10_000;

impl Pattern {
    /// Parses a pattern.
    pub fn parse(text: &str) -> Result<Pattern, BadPattern> {
        let mut tokens = Vec::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            tokens.push(match c {
                '*' => Token::Star,
                '?' => Token::AnyOne,
                '\\' => Token::One(rest.next().ok_or(BadPattern)?),
                '[' => {
                    let mut class = rest.as_str();
                    let token = parse_class(&mut class)?;
                    rest = class.chars();
                    token
                }
                c => Token::One(c),
            });
        }
        Ok(Pattern(tokens))
    }

    /// Whether the whole of `name` matches.
    pub fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut t, mut n) = (0, 0);
        // Where to go on if what follows the last star does not fit: the star takes one character more.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            match (self.0.get(t), name.get(n)) {
                (None, None) => return true,
                (Some(Token::Star), _) => {
                    retry = Some((t + 1, n));
                    t += 1;
                    continue;
                }
                (Some(token), Some(c)) if token.takes(*c) => {
                    t += 1;
                    n += 1;
                    continue;
                }
                _ => {}
            }
            match retry {
                Some((after_star, from)) if name.get(from).is_some_and(|c| *c != '/') => {
                    retry = Some((after_star, from + 1));
                    (t, n) = (after_star, from + 1);
                }
                _ => return false,
            }
        }
    }
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Token::Star => false,
            Token::AnyOne => c != '/',
            Token::One(own) => *own == c,
            Token::Class { negated, ranges } => ranges.iter().any(|(lo, hi)| (*lo..=*hi).contains(&c)) != *negated,
        }
    }
}

fn parse_class(rest: &mut &str) -> Result<Token, BadPattern> {
    let negated = rest.starts_with('^');
    if negated {
        *rest = &rest[1..];
    }
    let mut ranges = Vec::new();
    loop {
        if let Some(behind) = rest.strip_prefix(']').filter(|_| !ranges.is_empty()) {
            *rest = behind;
            return Ok(Token::Class { negated, ranges });
        }
        let lo = class_char(rest)?;
        let mut hi = lo;
        if let Some(behind) = rest.strip_prefix('-') {
            *rest = behind;
            hi = class_char(rest)?;
        }
        ranges.push((lo, hi));
    }
}

/// One character of a class; something must follow it.
fn class_char(rest: &mut &str) -> Result<char, BadPattern> {
    if rest.starts_with(['-', ']']) {
        return Err(BadPattern);
    }
    let mut chars = rest.strip_prefix('\\').unwrap_or(rest).chars();
    let c = chars.next().ok_or(BadPattern)?;
    *rest = chars.as_str();
    if rest.is_empty() { Err(BadPattern) } else { Ok(c) }
}

fn has_meta(path: &str) -> bool {
    path.contains(['*', '?', '[', '\\'])
}

/// The existing paths that match a pattern, sorted within each directory. `names` lists a directory, empty where it is none;
/// `exists` says whether there is a file of that name.
pub fn expand(
    pattern: &str,
    names: &dyn Fn(&str) -> Vec<String>,
    exists: &dyn Fn(&str) -> bool,
) -> Result<Vec<String>, BadPattern> {
    Pattern::parse(pattern)?;
    if pattern.matches('/').count() > PARTS_MAX {
        return Err(BadPattern);
    }
    // From the left, every part that is a pattern is looked up in the directories found so far.
    let mut found = vec![String::new()];
    let mut parts = pattern.split('/').peekable();
    let mut literal = String::new();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        if !has_meta(part) {
            literal.push_str(part);
            if !last {
                literal.push('/');
                continue;
            }
            found.iter_mut().for_each(|path| path.push_str(&literal));
            found.retain(|path| exists(path));
            break;
        }
        let matcher = Pattern::parse(part)?;
        let mut next = Vec::new();
        for before in &found {
            let dir = format!("{before}{literal}");
            let listed = if dir.is_empty() { "." } else { dir.as_str() };
            let mut hits: Vec<String> = names(listed).into_iter().filter(|name| matcher.matches(name)).collect();
            hits.sort();
            next.extend(hits.into_iter().map(|name| format!("{dir}{name}")));
        }
        literal = if last { String::new() } else { "/".to_owned() };
        found = next;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, name, matches) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[b-d]", "abc", true),
            ("ab[^b-d]", "abc", false),
            ("a???b", "a\u{263a}\u{263a}\u{263a}b", true),
            ("a?b", "a/b", false),
            ("a\\*b", "a*b", true),
            ("[\\]a]", "]", true),
            ("*x", "xxx", true),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(name), matches, "{pattern} {name}");
        }
        for bad in ["[]a]", "[-]", "[x-]", "[a", "a[", "[", "[^", "a\\", "[^bc", "[-x]", "[a-b-c]"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn expansion_goes_through_directories() {
        let names = |dir: &str| {
            let names: &[&str] = match dir {
                "." => &["x", "y"],
                "/etc/" => &["b.yml", "a.yml", "c.json"],
                "x/" | "y/" => &["1.yml"],
                _ => &[],
            };
            names.iter().map(|n| (*n).to_owned()).collect()
        };
        let exists = |path: &str| matches!(path, "/etc/a.yml" | "x/1.yml");
        let run = |pattern| expand(pattern, &names, &exists).unwrap();
        assert_eq!(run("/etc/*.yml"), ["/etc/a.yml", "/etc/b.yml"]);
        assert_eq!(run("/etc/a.yml"), ["/etc/a.yml"]);
        assert_eq!(run("/etc/z.yml"), [""; 0]);
        assert_eq!(run("*/*.yml"), ["x/1.yml", "y/1.yml"]);
        assert_eq!(run("*/1.yml"), ["x/1.yml"]);
        assert_eq!(expand("[", &names, &exists), Err(BadPattern));
    }
}
