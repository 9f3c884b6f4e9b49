//! Texts as Go's standard library makes them: `%q`, floats, `os.Expand`, paths.

use std::fmt::Write;

/// `%q` of a string.
pub(crate) fn quote(text: &str) -> String {
    quote_bytes(text.as_bytes())
}

/// `%q` of a string that need not be UTF-8.
pub(crate) fn quote_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_quoted(&mut out, c);
        }
        for b in chunk.invalid() {
            write!(out, "\\x{b:02x}").expect("a String takes every write");
        }
    }
    out.push('"');
    out
}

fn push_quoted(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        c if u32::from(c) < 0x20 || u32::from(c) == 0x7f => {
            write!(out, "\\x{:02x}", u32::from(c)).expect("a String takes every write");
        }
        // Go escapes what `unicode.IsPrint` denies. The standard library has no such table; `escape_debug` knows the
        // unprintable characters and, besides, escapes combining marks, which Go prints.
        c if !c.is_ascii() && !is_mark(c) && c.escape_debug().len() > 1 => {
            let code = u32::from(c);
            if code < 0x1_0000 {
                write!(out, "\\u{code:04x}").expect("a String takes every write");
            } else {
                write!(out, "\\U{code:08x}").expect("a String takes every write");
            }
        }
        c => out.push(c),
    }
}

/// Combining marks: `escape_debug` escapes them only at the start of a text.
fn is_mark(c: char) -> bool {
    let behind_a_letter: String = ['a', c].iter().collect();
    behind_a_letter.escape_debug().count() == 2
}

/// `strconv.FormatFloat(f, 'g', -1, 64)` with the exponent form from `10^exponent_from` on: 6 for that function, 21 for `%v`.
pub(crate) fn float(f: f64, exponent_from: i32) -> String {
    if f.is_nan() {
        return "NaN".to_owned();
    }
    if f.is_infinite() {
        return if f > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if f == 0.0 {
        return if f.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let scientific = format!("{f:e}");
    let (mantissa, exponent) = scientific.split_once('e').expect("{:e} prints an exponent");
    let exponent: i32 = exponent.parse().expect("{:e} prints an exponent");
    if exponent < -4 || exponent >= exponent_from {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{mantissa}e{sign}{:02}", exponent.abs())
    } else {
        format!("{f}")
    }
}

/// `os.Expand`: replaces `$name` and `${name}` by what `value_of` gives.
pub(crate) fn expand(text: &str, mut value_of: impl FnMut(&str) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        let after = &rest[dollar + 1..];
        if after.is_empty() {
            break;
        }
        out.push_str(&rest[..dollar]);
        let (name, width) = shell_name(after);
        if !name.is_empty() {
            out.push_str(&value_of(name));
        } else if width == 0 {
            out.push('$');
        }
        rest = &after[width..];
    }
    out.push_str(rest);
    out
}

/// The name behind a `$` and how many bytes it takes; no name and some bytes is bad syntax, which is dropped.
fn shell_name(text: &str) -> (&str, usize) {
    let special = |b: u8| matches!(b, b'*' | b'#' | b'$' | b'@' | b'!' | b'?' | b'-' | b'0'..=b'9');
    let bytes = text.as_bytes();
    match bytes[0] {
        b'{' => match bytes.iter().position(|b| *b == b'}') {
            _ if bytes.len() > 2 && special(bytes[1]) && bytes[2] == b'}' => (&text[1..2], 3),
            Some(1) => ("", 2),
            Some(end) => (&text[1..end], end + 1),
            None => ("", 1),
        },
        b if special(b) => (&text[..1], 1),
        _ => {
            let n = bytes.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
            (&text[..n], n)
        }
    }
}

/// `filepath.Clean` on a system with `/`.
pub(crate) fn clean_path(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|p| *p != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.join("/")) {
        (true, rest) => format!("/{rest}"),
        (false, rest) if rest.is_empty() => ".".to_owned(),
        (false, rest) => rest,
    }
}

/// `filepath.Dir`.
pub(crate) fn dir_of(path: &str) -> String {
    clean_path(path.rfind('/').map_or("", |slash| &path[..=slash]))
}

/// prometheus/common's `JoinDir`: an empty or absolute `path` stays as it is.
pub(crate) fn join_dir(dir: &str, path: &str) -> String {
    match path {
        "" => String::new(),
        path if path.starts_with('/') => path.to_owned(),
        path if dir.is_empty() => clean_path(path),
        path => clean_path(&format!("{dir}/{path}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_is_gos() {
        for (text, expected) in [
            ("a\"b\\", r#""a\"b\\""#),
            ("\u{0}\u{7}\n\u{7f}", r#""\x00\a\n\x7f""#),
            ("é漢", "\"é漢\""),
            ("\u{200b}\u{feff}", r#""\u200b\ufeff""#),
            ("e\u{301}", "\"e\u{301}\""),
        ] {
            assert_eq!(quote(text), expected);
        }
        assert_eq!(quote_bytes(&[b'a', 0xff]), r#""a\xff""#);
    }

    #[test]
    fn floats_print_as_in_go() {
        for (f, short) in [
            (1.5, "1.5"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (123_456.0, "123456"),
            (1e-5, "1e-05"),
            (0.1, "0.1"),
            (100.0, "100"),
        ] {
            assert_eq!(float(f, 6), short);
        }
        assert_eq!(float(1e20, 21), "100000000000000000000");
        assert_eq!(float(1e21, 21), "1e+21");
        assert_eq!(float(-1.0, 21), "-1");
    }

    #[test]
    fn expansion_follows_os_expand() {
        let env = |name: &str| match name {
            "A" => "x".to_owned(),
            "$" => "$".to_owned(),
            _ => String::new(),
        };
        for (text, expected) in [
            ("$A-${A}-$$A", "x-x-$A"),
            ("a$", "a$"),
            ("$ A", "$ A"),
            ("${}b${c", "bc"),
            ("$AB.$1", "."),
            ("é$Aé", "éxé"),
        ] {
            assert_eq!(expand(text, env), expected, "{text}");
        }
    }

    #[test]
    fn paths_join_as_in_go() {
        for (dir, path, expected) in [
            ("/etc/p", "a.yml", "/etc/p/a.yml"),
            ("/etc/p", "../a.yml", "/etc/a.yml"),
            ("/etc/p", "/b", "/b"),
            ("/etc/p", "", ""),
            (".", "a/./b//c", "a/b/c"),
            ("", "../x", "../x"),
        ] {
            assert_eq!(join_dir(dir, path), expected);
        }
        assert_eq!(dir_of("a.yml"), ".");
        assert_eq!(dir_of("/a/b/c.yml"), "/a/b");
    }
}
