//! URLs of targets, written as Go's `net/url` writes them.

use std::collections::BTreeMap;
use std::fmt::Write;

/// `scheme://host/path?query`. The host is taken as it is.
pub(crate) fn build(scheme: &str, host: &str, path: &str, params: &BTreeMap<String, Vec<String>>) -> String {
    let mut out = String::new();
    if !scheme.is_empty() {
        out.push_str(scheme);
        out.push(':');
    }
    out.push_str("//");
    out.push_str(host);
    if !path.is_empty() && !path.starts_with('/') {
        out.push('/');
    }
    escape(path, &mut out, |b| b"-_.~$&+,/:;=@".contains(&b));
    let mut separator = '?';
    for (name, values) in params {
        for value in values {
            out.push(separator);
            separator = '&';
            escape_query(name, &mut out);
            out.push('=');
            escape_query(value, &mut out);
        }
    }
    out
}

fn escape_query(text: &str, out: &mut String) {
    for (i, part) in text.split(' ').enumerate() {
        if i > 0 {
            out.push('+');
        }
        escape(part, out, |b| b"-_.~".contains(&b));
    }
}

fn escape(text: &str, out: &mut String, is_plain: impl Fn(u8) -> bool) {
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || is_plain(b) {
            out.push(char::from(b));
        } else {
            write!(out, "%{b:02X}").expect("a String takes every write");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_written_as_in_go() {
        let params = |pairs: &[(&str, &[&str])]| -> BTreeMap<String, Vec<String>> {
            pairs.iter().map(|(n, v)| ((*n).to_owned(), v.iter().map(|v| (*v).to_owned()).collect())).collect()
        };
        for (path, pairs, expected) in [
            ("/metrics", &[][..], "http://a:1/metrics"),
            ("metrics", &[], "http://a:1/metrics"),
            ("", &[("b", &["1", "2"][..]), ("a", &["x y&z"])], "http://a:1?a=x+y%26z&b=1&b=2"),
            ("/m?x=1 é", &[("", &[""])], "http://a:1/m%3Fx=1%20%C3%A9?="),
        ] {
            assert_eq!(build("http", "a:1", path, &params(pairs)), expected);
        }
    }
}
