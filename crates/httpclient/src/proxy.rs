//! Which proxy a request goes through.

use std::net::IpAddr;

use config::http_client::ProxyConfig;
use hyper::Uri;

use crate::client::UnsupportedOption;

/// What the environment says of proxies, read by the binary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvironmentProxy {
    /// `HTTP_PROXY`
    pub http: String,
    /// `HTTPS_PROXY`
    pub https: String,
    /// `NO_PROXY`
    pub no_proxy: String,
}

/// The rule for all requests of one client.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProxyRule {
    http: Option<Uri>,
    https: Option<Uri>,
    no_proxy: Vec<String>,
    /// Whether hosts that are this machine are reached directly.
    spares_loopback: bool,
    /// Headers of `CONNECT`.
    pub(crate) connect_headers: Vec<(String, String)>,
}

impl ProxyRule {
    pub(crate) fn new(config: &ProxyConfig, environment: &EnvironmentProxy) -> Result<ProxyRule, UnsupportedOption> {
        let list = |text: &str| {
            text.split(',').map(|part| part.trim().to_ascii_lowercase()).filter(|part| !part.is_empty()).collect()
        };
        let mut rule = ProxyRule::default();
        if config.from_environment {
            rule.http = parse(&environment.http)?;
            rule.https = parse(&environment.https)?;
            rule.no_proxy = list(&environment.no_proxy);
            rule.spares_loopback = true;
        } else if let Some(url) = &config.url {
            rule.http = parse(&url.reveal())?;
            rule.https = rule.http.clone();
            rule.no_proxy = list(&config.no_proxy);
            rule.spares_loopback = !config.no_proxy.is_empty();
        }
        for (name, values) in &config.connect_header {
            rule.connect_headers.extend(values.iter().map(|v| (name.clone(), v.reveal().to_owned())));
        }
        Ok(rule)
    }

    /// The proxy for `target`; `None` where it is reached directly.
    pub(crate) fn proxy_of(&self, target: &Uri) -> Option<&Uri> {
        let is_https = target.scheme_str() == Some("https");
        let proxy = if is_https { self.https.as_ref() } else { self.http.as_ref() }?;
        let host = target.host()?.trim_matches(['[', ']']).to_ascii_lowercase();
        let port = target.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        let ip = host.parse::<IpAddr>().ok();
        if self.spares_loopback && (host == "localhost" || ip.is_some_and(|ip| ip.is_loopback())) {
            return None;
        }
        let spared = self.no_proxy.iter().any(|rule| spares(rule, &host, port, ip));
        (!spared).then_some(proxy)
    }
}

fn parse(text: &str) -> Result<Option<Uri>, UnsupportedOption> {
    if text.is_empty() {
        return Ok(None);
    }
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    match with_scheme.parse::<Uri>() {
        Ok(uri) if matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() => Ok(Some(uri)),
        _ => Err(UnsupportedOption::Proxy),
    }
}

/// Source: `golang.org/x/net/http/httpproxy`.
pub(crate) fn spares(rule: &str, host: &str, port: u16, ip: Option<IpAddr>) -> bool {
    if rule == "*" {
        return true;
    }
    if let Some((network, bits)) = rule.split_once('/') {
        let (Ok(network), Ok(bits), Some(ip)) = (network.parse::<IpAddr>(), bits.parse::<u32>(), ip) else {
            return false;
        };
        return in_network(ip, network, bits);
    }
    let (name, rule_port) = match rule.rsplit_once(':') {
        Some((name, p)) if !name.contains(':') || name.starts_with('[') => (name, p.parse::<u16>().ok()),
        _ => (rule, None),
    };
    if rule_port.is_some_and(|p| p != port) {
        return false;
    }
    let name = name.trim_matches(['[', ']']);
    if let Ok(rule_ip) = name.parse::<IpAddr>() {
        return ip == Some(rule_ip);
    }
    let name = name.strip_prefix('*').unwrap_or(name);
    match name.strip_prefix('.') {
        Some(_) => host.ends_with(name),
        None => host == name || host.strip_suffix(name).is_some_and(|before| before.ends_with('.')),
    }
}

fn in_network(ip: IpAddr, network: IpAddr, bits: u32) -> bool {
    let same = |a: u128, b: u128, width: u32| bits <= width && (bits == 0 || (a ^ b) >> (width - bits) == 0);
    match (ip, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(u32::from(a).into(), u32::from(b).into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.into(), b.into(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_spared_as_no_proxy_lists_them() {
        for (rule, host, port, expected) in [
            ("*", "a.b", 80, true),
            ("a.b", "a.b", 80, true),
            ("a.b", "x.a.b", 80, true),
            ("a.b", "xa.b", 80, false),
            (".a.b", "a.b", 80, false),
            (".a.b", "x.a.b", 80, true),
            ("*.a.b", "x.a.b", 80, true),
            ("a.b:81", "a.b", 80, false),
            ("10.0.0.0/8", "10.1.2.3", 80, true),
            ("10.0.0.0/8", "11.1.2.3", 80, false),
            ("10.1.2.3", "10.1.2.3", 80, true),
            ("[::1]:80", "::1", 80, true),
            ("fe80::/10", "fe80::1", 80, true),
        ] {
            assert_eq!(spares(rule, host, port, host.parse().ok()), expected, "{rule} {host}:{port}");
        }
    }
}
