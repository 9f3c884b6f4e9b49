//! URLs as Go's `net/url` parses and prints them. A password inside is printed as `xxxxx`.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;

use crate::go;
use crate::yaml::record::Paths;
use crate::yaml::{Decode, Decoder, Encode, Fail, NodeId, Out, Refusal};

/// A parsed URL; may be relative, even empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Url {
    scheme: String,
    /// What stands behind `scheme:` where that is no `/`.
    opaque: String,
    user: Option<User>,
    host: String,
    /// `scheme:/path`, without a host even an empty one.
    omit_host: bool,
    /// Percent-encoded.
    path: String,
    query: Option<String>,
    /// Percent-encoded.
    fragment: String,
}

#[derive(Clone, PartialEq, Eq)]
struct User {
    name: Vec<u8>,
    password: Option<Vec<u8>>,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<user>")
    }
}

/// A text that is no URL; the words are Go's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parse {}: {why}", go::quote(.text))]
pub struct ParseUrlError {
    text: String,
    why: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Host,
    Zone,
    Path,
    User,
    Fragment,
}

impl Url {
    /// Parses as Go's `url.Parse`.
    pub fn parse(text: &str) -> Result<Url, ParseUrlError> {
        let (before, fragment) = text.split_once('#').unwrap_or((text, ""));
        let mut url = parse_before_fragment(before).map_err(|why| ParseUrlError { text: before.to_owned(), why })?;
        let unescaped =
            unescape(fragment, Part::Fragment).map_err(|why| ParseUrlError { text: text.to_owned(), why })?;
        url.fragment = encoded(fragment, &unescaped, Part::Fragment);
        Ok(url)
    }

    /// In lower case; empty in a relative URL.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Host and port as they were written; may be empty.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path, percent-encoded.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The whole URL, a password included.
    pub fn reveal(&self) -> String {
        self.print(Cow::Borrowed)
    }

    fn print<'a>(&'a self, password_as: impl Fn(&'a [u8]) -> Cow<'a, [u8]>) -> String {
        let mut out = String::new();
        if !self.scheme.is_empty() {
            out.push_str(&self.scheme);
            out.push(':');
        }
        if self.opaque.is_empty() {
            let any_authority = !self.host.is_empty() || self.user.is_some();
            let omitted = self.omit_host && !any_authority;
            if !omitted && (any_authority || (!self.scheme.is_empty() && !self.path.is_empty())) {
                out.push_str("//");
            }
            if let Some(user) = &self.user {
                out.push_str(&escape(&user.name, Part::User));
                if let Some(password) = &user.password {
                    out.push(':');
                    out.push_str(&escape(&password_as(password), Part::User));
                }
                out.push('@');
            }
            out.push_str(&escape(self.host.as_bytes(), Part::Host));
            let first_segment = self.path.split('/').next().unwrap_or("");
            if out.is_empty() && first_segment.contains(':') {
                out.push_str("./");
            }
            out.push_str(&self.path);
        } else {
            out.push_str(&self.opaque);
        }
        if let Some(query) = &self.query {
            out.push('?');
            out.push_str(query);
        }
        if !self.fragment.is_empty() {
            out.push('#');
            out.push_str(&self.fragment);
        }
        out
    }
}

impl fmt::Display for Url {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.print(|_| Cow::Borrowed(b"xxxxx")))
    }
}

fn parse_before_fragment(text: &str) -> Result<Url, String> {
    let mut url = Url::default();
    if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    if text == "*" {
        url.path = "*".to_owned();
        return Ok(url);
    }
    let (scheme, rest) = split_scheme(text)?;
    url.scheme = scheme.to_ascii_lowercase();
    let mut rest = match rest.split_once('?') {
        None => rest,
        Some((rest, query)) => {
            url.query = (!query.is_empty() || !rest.contains('?')).then(|| query.to_owned());
            rest
        }
    };
    if !rest.starts_with('/') {
        if !url.scheme.is_empty() {
            url.opaque = rest.to_owned();
            return Ok(url);
        }
        if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return Err("first path segment in URL cannot contain colon".to_owned());
        }
    }
    if let Some(after) = rest.strip_prefix("//").filter(|_| !url.scheme.is_empty() || !rest.starts_with("///")) {
        let slash = after.find('/').unwrap_or(after.len());
        let (authority, path) = after.split_at(slash);
        (url.user, url.host) = parse_authority(&url.scheme, authority)?;
        rest = path;
    } else if !url.scheme.is_empty() {
        url.omit_host = true;
    }
    url.path = encoded(rest, &unescape(rest, Part::Path)?, Part::Path);
    Ok(url)
}

fn split_scheme(text: &str) -> Result<(&str, &str), String> {
    for (i, b) in text.bytes().enumerate() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if i > 0 => {}
            b':' if i == 0 => return Err("missing protocol scheme".to_owned()),
            b':' => return Ok((&text[..i], &text[i + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

fn parse_authority(scheme: &str, authority: &str) -> Result<(Option<User>, String), String> {
    let Some((userinfo, host)) = authority.rsplit_once('@') else {
        return Ok((None, parse_host(scheme, authority)?));
    };
    let host = parse_host(scheme, host)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
    if !userinfo.chars().all(allowed) {
        return Err("net/url: invalid userinfo".to_owned());
    }
    let user = match userinfo.split_once(':') {
        None => User { name: unescape(userinfo, Part::User)?, password: None },
        Some((name, password)) => {
            User { name: unescape(name, Part::User)?, password: Some(unescape(password, Part::User)?) }
        }
    };
    Ok((Some(user), host))
}

fn parse_host(scheme: &str, host: &str) -> Result<String, String> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    match host.rfind('[') {
        Some(0) => return parse_ip_literal(host),
        Some(_) => return Err("invalid IP-literal".to_owned()),
        None => {}
    }
    // Only http is held to a single colon; others name lists of hosts.
    let colon = if matches!(scheme, "http" | "https") { host.find(':') } else { host.rfind(':') };
    if let Some(colon) = colon {
        check_port(&host[colon..])?;
    }
    Ok(text(unescape(host, Part::Host)?))
}

fn parse_ip_literal(host: &str) -> Result<String, String> {
    let Some(close) = host.rfind(']') else { return Err("missing ']' in host".to_owned()) };
    let port = &host[close + 1..];
    check_port(port)?;
    let inside = &host[1..close];
    let (address, zone) = inside.split_at(inside.find("%25").unwrap_or(inside.len()));
    let mut name = unescape(address, Part::Host)?;
    name.extend(unescape(zone, Part::Zone)?);
    let name = String::from_utf8_lossy(&name).into_owned();
    let without_zone = name.split('%').next().unwrap_or("");
    if without_zone.parse::<Ipv6Addr>().is_err() {
        if without_zone.parse::<std::net::Ipv4Addr>().is_ok() {
            return Err("invalid IP-literal".to_owned());
        }
        return Err(format!("invalid host: ParseAddr({}): unable to parse IP", go::quote(&name)));
    }
    Ok(format!("[{name}]{port}"))
}

fn check_port(port: &str) -> Result<(), String> {
    let valid = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => digits.bytes().all(|b| b.is_ascii_digit()),
    };
    if valid { Ok(()) } else { Err(format!("invalid port {} after host", go::quote(port))) }
}

/// Whether Go writes this byte percent-encoded.
fn needs_escape(b: u8, part: Part) -> bool {
    if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~') {
        return false;
    }
    let plain: &[u8] = match part {
        Part::Host | Part::Zone => b"!$&'()*+,;=:[]<>\"",
        Part::Path => b"$&+,/:;=@",
        Part::User => b"$&+,;=",
        Part::Fragment => b"$&+,/:;=?@!()*",
    };
    !plain.contains(&b)
}

fn escape(bytes: &[u8], part: Part) -> String {
    let mut out = String::with_capacity(bytes.len());
    for b in bytes {
        if needs_escape(*b, part) {
            out.push_str(&format!("%{b:02X}"));
        } else {
            out.push(char::from(*b));
        }
    }
    out
}

fn unescape(text: &str, part: Part) -> Result<Vec<u8>, String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while let Some(b) = bytes.get(i) {
        if *b != b'%' {
            if matches!(part, Part::Host | Part::Zone) && *b < 0x80 && needs_escape(*b, part) {
                return Err(format!("invalid character {} in host name", go::quote_bytes(&[*b])));
            }
            out.push(*b);
            i += 1;
            continue;
        }
        let bad = || {
            let end = bytes.len().min(i + 3);
            format!("invalid URL escape {}", go::quote_bytes(&bytes[i..end]))
        };
        let hex = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
        let (Some(high), Some(low)) = (hex(i + 1), hex(i + 2)) else { return Err(bad()) };
        let byte = u8::try_from(high * 16 + low).expect("two hexadecimal digits");
        let is_percent = byte == b'%';
        if part == Part::Host && high < 8 && !is_percent {
            return Err(bad());
        }
        if part == Part::Zone && !is_percent && byte != b' ' && needs_escape(byte, Part::Host) {
            return Err(bad());
        }
        out.push(byte);
        i += 3;
    }
    Ok(out)
}

/// How a path or fragment is printed: as it was written if that is a valid encoding, else encoded anew.
fn encoded(written: &str, unescaped: &[u8], part: Part) -> String {
    let fine = |b: u8| b"!$&'()*+,;=:@[]%".contains(&b) || !needs_escape(b, part);
    if written.bytes().all(fine) { written.to_owned() } else { escape(unescaped, part) }
}

impl Decode for Url {
    fn type_name() -> String {
        "config.URL".to_owned()
    }
    fn unmarshal(&mut self, d: &mut Decoder<'_>, id: NodeId) -> Result<bool, Fail> {
        let Some(text) = d.text(id)? else { return Ok(false) };
        *self = Url::parse(&text).map_err(|e| d.refused(id, Refusal::from(e.to_string())))?;
        Ok(true)
    }
}

impl Encode for Url {
    /// Only an absent URL (`None`) is zero.
    fn is_zero(&self) -> bool {
        false
    }
    fn encode(&self) -> Out {
        Out::Str(self.to_string())
    }
}

impl Paths for Url {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_print_as_go_prints_them_without_the_password() {
        for (text, printed) in [
            ("http://a.example:80/x?y=1#z", "http://a.example:80/x?y=1#z"),
            ("HTTP://u:secret@h/", "http://u:xxxxx@h/"),
            ("http://u@h", "http://u@h"),
            ("/only/path", "/only/path"),
            ("", ""),
            ("http://h/a b", "http://h/a%20b"),
            ("http://h/a%2Fb", "http://h/a%2Fb"),
            ("mailto:x@y", "mailto:x@y"),
            ("http://[fe80::1%25en0]:80/", "http://[fe80::1%25en0]:80/"),
            ("http://h?", "http://h?"),
            ("file:/x", "file:/x"),
        ] {
            assert_eq!(Url::parse(text).unwrap().to_string(), printed, "{text}");
        }
        assert_eq!(Url::parse("http://u:s@h/").unwrap().reveal(), "http://u:s@h/");
    }

    #[test]
    fn what_is_no_url_is_refused_in_gos_words() {
        for (text, expected) in [
            ("://invalid", r#"parse "://invalid": missing protocol scheme"#),
            ("http://a b/", r#"parse "http://a b/": invalid character " " in host name"#),
            ("http://a:b/", r#"parse "http://a:b/": invalid port ":b" after host"#),
            ("http://h/%zz", r#"parse "http://h/%zz": invalid URL escape "%zz""#),
            ("a:b:c\u{7f}", r#"parse "a:b:c\x7f": net/url: invalid control character in URL"#),
            ("1a:b", r#"parse "1a:b": first path segment in URL cannot contain colon"#),
            ("http://[::1", r#"parse "http://[::1": missing ']' in host"#),
        ] {
            assert_eq!(Url::parse(text).unwrap_err().to_string(), expected);
        }
    }
}
