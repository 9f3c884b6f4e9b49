//! Whether Kubernetes' API would understand a field or label selector. Source: `pkg/fields` and `pkg/labels` of
//! k8s.io/apimachinery.

use crate::go;

/// A field selector: `metadata.name=x,status.phase!=Running`.
pub(super) fn check_field(selector: &str) -> Result<(), String> {
    let mut terms = split_unescaped(selector);
    terms.sort_unstable();
    for term in terms.into_iter().filter(|t| !t.is_empty()) {
        let Some(at) = term.find(['=', '!']).and_then(|_| operator_at(term)) else {
            return Err(format!("invalid selector: '{selector}'; can't understand '{term}'"));
        };
        check_field_value(&term[at..])?;
    }
    Ok(())
}

/// Where the value behind the first `!=`, `==` or `=` begins.
fn operator_at(term: &str) -> Option<usize> {
    (0..term.len()).filter(|i| term.is_char_boundary(*i)).find_map(|i| {
        let operator = ["!=", "==", "="].into_iter().find(|op| term[i..].starts_with(op))?;
        Some(i + operator.len())
    })
}

fn split_unescaped(selector: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (i, c) in selector.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == ',' {
            terms.push(&selector[start..i]);
            start = i + 1;
        }
    }
    terms.push(&selector[start..]);
    terms
}

fn check_field_value(value: &str) -> Result<(), String> {
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('\\' | ',' | '=') => {}
                other => {
                    let behind = other.map(String::from).unwrap_or_default();
                    return Err(format!("invalid field selector: invalid escape sequence: \\{behind}"));
                }
            },
            ',' | '=' => {
                return Err(format!("invalid field selector: unescaped character in value: {}", u32::from(c)));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A token of a label selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Symbol(&'a str),
    Bad(&'a str),
    End,
}

impl<'a> Token<'a> {
    fn text(self) -> String {
        match self {
            Token::Word(text) | Token::Symbol(text) => text.to_owned(),
            Token::Bad(text) => format!("error expected: keyword found '{text}'"),
            Token::End => String::new(),
        }
    }
}

const SYMBOLS: [&str; 9] = ["==", "!=", "(", ")", ",", "!", "=", ">", "<"];

fn is_special(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn tokens(selector: &str) -> Vec<Token<'_>> {
    let is_space = |c| matches!(c, ' ' | '\t' | '\r' | '\n');
    let mut rest = selector.trim_start_matches(is_space);
    let mut out = Vec::new();
    while let Some(first) = rest.chars().next() {
        let length = if is_special(first) {
            match SYMBOLS.iter().find(|s| rest.starts_with(**s)) {
                Some(symbol) => symbol.len(),
                None => 0,
            }
        } else {
            rest.find(|c| is_special(c) || is_space(c)).unwrap_or(rest.len())
        };
        if length == 0 {
            out.push(Token::Bad(rest));
            break;
        }
        let (token, behind) = rest.split_at(length);
        out.push(if is_special(first) { Token::Symbol(token) } else { Token::Word(token) });
        rest = behind.trim_start_matches(is_space);
    }
    out.push(Token::End);
    out
}

/// A label selector: `app=x,tier in (a, b),!canary`.
pub(super) fn check_label(selector: &str) -> Result<(), String> {
    let tokens = tokens(selector);
    let mut reader = Reader { tokens: &tokens };
    loop {
        match reader.peek() {
            Token::End => return Ok(()),
            Token::Word(_) | Token::Symbol("!") => {
                reader.requirement().map_err(|e| format!("unable to parse requirement: {e}"))?;
            }
            other => {
                return Err(format!("found '{}', expected: !, identifier, or 'end of string'", other.text()));
            }
        }
        match reader.next() {
            Token::End => return Ok(()),
            Token::Symbol(",") => match reader.peek() {
                Token::Word(_) | Token::Symbol("!") => {}
                other => return Err(format!("found '{}', expected: identifier after ','", other.text())),
            },
            other => return Err(format!("found '{}', expected: ',' or 'end of string'", other.text())),
        }
    }
}

struct Reader<'a> {
    tokens: &'a [Token<'a>],
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Token<'a> {
        self.tokens.first().copied().unwrap_or(Token::End)
    }

    fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.tokens = self.tokens.get(1..).unwrap_or_default();
        token
    }

    fn requirement(&mut self) -> Result<(), String> {
        let mut token = self.next();
        let negated = token == Token::Symbol("!");
        if negated {
            token = self.next();
        }
        let Token::Word(key) = token else { return Err(format!("found '{}', expected: identifier", token.text())) };
        check_label_key(key)?;
        if negated || matches!(self.peek(), Token::End | Token::Symbol(",")) {
            return Ok(());
        }
        match self.next() {
            Token::Word("in" | "notin") => self.values(key),
            Token::Symbol(operator @ ("=" | "==" | "!=" | ">" | "<")) => {
                let value = match self.peek() {
                    Token::End | Token::Symbol(",") => "",
                    Token::Word(value) => {
                        self.next();
                        value
                    }
                    other => return Err(format!("found '{}', expected: identifier", other.text())),
                };
                if matches!(operator, ">" | "<") && value.parse::<i64>().is_err() {
                    let text = "for 'Gt', 'Lt' operators, the value must be an integer";
                    return Err(format!("values[0]: Invalid value: {}: {text}", go::quote(value)));
                }
                check_label_values(key, &[value])
            }
            other => Err(format!("found '{}', expected: in, notin, =, ==, !=, gt, lt", other.text())),
        }
    }

    /// `(a, b)`; empty values are allowed.
    fn values(&mut self, key: &str) -> Result<(), String> {
        let open = self.next();
        if open != Token::Symbol("(") {
            return Err(format!("found '{}' expected: '('", open.text()));
        }
        if !matches!(self.peek(), Token::Word(_) | Token::Symbol("," | ")")) {
            return Err(format!("found '{}', expected: ',', ')' or identifier", self.peek().text()));
        }
        let mut values = Vec::new();
        loop {
            match self.next() {
                Token::Symbol(")") => {
                    values.sort_unstable();
                    values.dedup();
                    return check_label_values(key, &values);
                }
                Token::Symbol(",") => {}
                Token::Word(value) => {
                    values.push(value);
                    if !matches!(self.peek(), Token::Symbol("," | ")")) {
                        return Err(format!("found '{}', expected: ',' or ')'", self.peek().text()));
                    }
                }
                other => return Err(format!("found '{}', expected: ',', or identifier", other.text())),
            }
        }
    }
}

const NAME_RULE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
                         alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation \
                         is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE_RULE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
                          must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', \
                          regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const SUBDOMAIN_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
                              and must start and end with an alphanumeric character (e.g. 'example.com', regex used for \
                              validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const NAME_BYTES_MAX: usize = 63;
const SUBDOMAIN_BYTES_MAX: usize = 253;

/// Letters, digits, `-`, `_` and `.`, a letter or digit first and last.
fn is_name(text: &str) -> bool {
    let (Some(first), Some(last)) = (text.bytes().next(), text.bytes().next_back()) else { return false };
    first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn is_dns_subdomain(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    text.split('.').all(is_label)
}

/// What is wrong with a key: an optional DNS name and `/`, then a name.
fn key_errors(key: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let parts: Vec<&str> = key.split('/').collect();
    let name = match parts[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                errors.push("prefix part must be non-empty".to_owned());
            } else {
                if prefix.len() > SUBDOMAIN_BYTES_MAX {
                    errors.push(format!("prefix part must be no more than {SUBDOMAIN_BYTES_MAX} bytes"));
                }
                if !is_dns_subdomain(prefix) {
                    errors.push(format!("prefix part {SUBDOMAIN_RULE}"));
                }
            }
            name
        }
        _ => {
            let or_prefixed = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a valid label key {NAME_RULE} {or_prefixed}")];
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if name.len() > NAME_BYTES_MAX {
        errors.push(format!("name part must be no more than {NAME_BYTES_MAX} bytes"));
    }
    if !is_name(name) {
        errors.push(format!("name part {NAME_RULE}"));
    }
    errors
}

fn check_label_key(key: &str) -> Result<(), String> {
    match key_errors(key) {
        errors if errors.is_empty() => Ok(()),
        errors => Err(format!("<nil>: Invalid value: {}: {}", go::quote(key), errors.join("; "))),
    }
}

/// Checks the values of one requirement, which Kubernetes keeps sorted and each once.
fn check_label_values(key: &str, values: &[&str]) -> Result<(), String> {
    let mut errors = Vec::new();
    for value in values.iter().filter(|v| !v.is_empty()) {
        let mut wrong = Vec::new();
        if value.len() > NAME_BYTES_MAX {
            wrong.push(format!("must be no more than {NAME_BYTES_MAX} bytes"));
        }
        if !is_name(value) {
            wrong.push(VALUE_RULE.to_owned());
        }
        if !wrong.is_empty() {
            errors.push((value, wrong.join("; ")));
        }
    }
    let texts: Vec<String> = errors
        .iter()
        .map(|(value, wrong)| {
            let at = values.iter().position(|v| v == *value).unwrap_or(0);
            format!("values[{at}][{key}]: Invalid value: {}: {wrong}", go::quote(value))
        })
        .collect();
    match &texts[..] {
        [] => Ok(()),
        [one] => Err(one.clone()),
        several => Err(format!("[{}]", several.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_selectors_are_understood_as_kubernetes_does() {
        for good in ["", "metadata.name=x", "a==b,c!=d", "a=", "a=b\\,c", ",,", "status.phase!=Running"] {
            assert_eq!(check_field(good), Ok(()), "{good}");
        }
        for (bad, text) in [
            ("a", "invalid selector: 'a'; can't understand 'a'"),
            ("a!b", "invalid selector: 'a!b'; can't understand 'a!b'"),
            ("a=b=c", "invalid field selector: unescaped character in value: 61"),
            ("a=b\\x", "invalid field selector: invalid escape sequence: \\x"),
        ] {
            assert_eq!(check_field(bad), Err(text.to_owned()));
        }
    }

    #[test]
    fn label_selectors_are_understood_as_kubernetes_does() {
        for good in [
            "",
            "app",
            "!app",
            "app=x",
            "app = x, tier in (a,b), x notin (c)",
            "a in ()",
            "a in (,)",
            "a>1",
            "example.com/x!=y",
            "in=notin",
            "a=",
        ] {
            assert_eq!(check_label(good), Ok(()), "{good}");
        }
        for (bad, text) in [
            ("=", "found '=', expected: !, identifier, or 'end of string'"),
            ("a,", "found '', expected: identifier after ','"),
            ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
            ("!a=b", "found '=', expected: ',' or 'end of string'"),
        ] {
            assert_eq!(check_label(bad), Err(text.to_owned()));
        }
        for bad in ["-a", "a=-", "A/b=c", "a>x"] {
            assert!(check_label(bad).is_err(), "{bad}");
        }
    }
}
