//! Where a redirect leads.

/// `location`, as a server at `base` (an absolute URL) means it. Source: RFC 3986, section 5.2.
pub(crate) fn resolve(base: &str, location: &str) -> Option<String> {
    let (scheme, rest) = base.split_once("://")?;
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path_and_query) = rest.split_at(authority_end);
    let location = location.split('#').next().unwrap_or("");
    if location.contains("://") && location.find("://") < location.find(['/', '?']).map(|at| at + 1) {
        return Some(location.to_owned());
    }
    if let Some(rest) = location.strip_prefix("//") {
        return Some(format!("{scheme}://{rest}"));
    }
    let base_path = path_and_query.split(['?', '#']).next().unwrap_or("");
    let (path, query) = match location.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (location, String::new()),
    };
    let full = match path {
        "" => base_path.to_owned(),
        path if path.starts_with('/') => without_dots(path),
        path => {
            let dir = base_path.rfind('/').map_or("/", |at| &base_path[..=at]);
            without_dots(&format!("{dir}{path}"))
        }
    };
    let full = if full.is_empty() { "/".to_owned() } else { full };
    Some(format!("{scheme}://{authority}{full}{query}"))
}

fn without_dots(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let ends_open = path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..");
    for part in path.split('/').filter(|part| *part != ".") {
        if part == ".." {
            if parts.len() > 1 {
                parts.pop();
            }
        } else {
            parts.push(part);
        }
    }
    let joined = parts.join("/");
    if ends_open && !joined.ends_with('/') { joined + "/" } else { joined }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_resolve_as_in_the_rfc() {
        for (base, location, expected) in [
            ("http://a:1/b/c?d", "https://x/y", "https://x/y"),
            ("http://a:1/b/c?d", "//x/y", "http://x/y"),
            ("http://a:1/b/c?d", "/y?z=http://q/", "http://a:1/y?z=http://q/"),
            ("http://a:1/b/c?d", "y", "http://a:1/b/y"),
            ("http://a:1/b/c?d", "../y/./z/", "http://a:1/y/z/"),
            ("http://a:1/b/c?d", "?e", "http://a:1/b/c?e"),
            ("http://a:1", "y#f", "http://a:1/y"),
            ("http://a:1/b/", "..", "http://a:1/"),
        ] {
            assert_eq!(resolve(base, location).as_deref(), Some(expected), "{base} {location}");
        }
    }
}
