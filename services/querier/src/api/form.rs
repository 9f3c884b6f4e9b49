//! Parameters of a request, as Go's `ParseForm` and `FormValue` see them: those of the body, then those of the URL.
//!
//! Values are bytes: PromQL reports what is not UTF-8 itself. Bodies of the type `multipart/form-data` are not read.

/// All parameters of a request.
#[derive(Debug, Default)]
pub(crate) struct Form {
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where those of the URL begin.
    url_start: usize,
    problem: Option<String>,
    path: String,
}

impl Form {
    /// From the path (as sent), the query string and the body of a form.
    pub(crate) fn parse(path: &str, query: &str, body: Option<&[u8]>) -> Form {
        let mut form = Form { path: path.to_owned(), ..Form::default() };
        if let Some(body) = body {
            form.add(body);
        }
        form.url_start = form.pairs.len();
        form.add(query.as_bytes());
        form
    }

    /// A pair that cannot be decoded is left out, and the first such is remembered.
    fn add(&mut self, text: &[u8]) {
        for pair in text.split(|b| *b == b'&').filter(|p| !p.is_empty()) {
            match parse_pair(pair) {
                Ok(pair) => self.pairs.push(pair),
                Err(problem) => {
                    self.problem.get_or_insert(problem);
                }
            }
        }
    }

    /// What is wrong with the form, in Go's words.
    pub(crate) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// The path as it was sent.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The first value of `name`; empty where there is none.
    pub(crate) fn get(&self, name: &str) -> &[u8] {
        first(&self.pairs, name)
    }

    /// The first value of `name` in the URL alone.
    pub(crate) fn url_get(&self, name: &str) -> &[u8] {
        first(&self.pairs[self.url_start..], name)
    }

    /// All values of `name`.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.pairs.iter().filter(move |(n, _)| n == name.as_bytes()).map(|(_, v)| v.as_slice())
    }
}

fn first<'a>(pairs: &'a [(Vec<u8>, Vec<u8>)], name: &str) -> &'a [u8] {
    pairs.iter().find(|(n, _)| n == name.as_bytes()).map_or(&[], |(_, v)| v)
}

fn parse_pair(pair: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
    if pair.contains(&b';') {
        return Err("invalid semicolon separator in query".to_owned());
    }
    let (name, value) = match pair.iter().position(|b| *b == b'=') {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, &[][..]),
    };
    Ok((unescape(name, Plus::IsSpace)?, unescape(value, Plus::IsSpace)?))
}

/// What a `+` means.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Plus {
    /// In queries and forms.
    IsSpace,
    /// In paths.
    IsPlus,
}

/// Decodes `%xx`.
pub(crate) fn unescape(text: &[u8], plus: Plus) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'%' => {
                let digits = after.get(..2).and_then(|d| Some(hex(d[0])? << 4 | hex(d[1])?));
                let Some(byte) = digits else {
                    let bad = &[b"%", &after[..after.len().min(2)]].concat();
                    return Err(format!("invalid URL escape {}", promql::quoted(bad)));
                };
                out.push(byte);
                rest = &after[2..];
            }
            b'+' if plus == Plus::IsSpace => out.push(b' '),
            b => out.push(*b),
        }
    }
    Ok(out)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_comes_before_the_url_and_bad_pairs_are_left_out() {
        let form = Form::parse("/p", "a=1&b=%zz&c&a=%c3+x&=e&d=x;y", Some(b"a=0&m[]=1&m%5B%5D=2"));
        assert_eq!(form.get("a"), b"0");
        assert_eq!(form.url_get("a"), b"1");
        assert_eq!(form.all("a").collect::<Vec<_>>(), [&b"0"[..], b"1", b"\xc3 x"]);
        assert_eq!(form.all("m[]").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(
            (form.get("b"), form.get("c"), form.get(""), form.get("d")),
            (&b""[..], &b""[..], &b"e"[..], &b""[..])
        );
        assert_eq!(form.problem(), Some("invalid URL escape \"%zz\""));
        assert_eq!(Form::parse("/p", "a=%4", None).problem(), Some("invalid URL escape \"%4\""));
        assert_eq!(Form::parse("/p", "a;b", None).problem(), Some("invalid semicolon separator in query"));
    }
}
