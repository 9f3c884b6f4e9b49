//! The choice of a parser and the `Accept` header, against what Prometheus v3.14.0 said (Go 1.26).

use super::*;

/// Content type, media type of the fallback, what parser is taken, what is said of it.
const CHOICES: &[(&str, &str, &str, &str)] = &[
    (
        "",
        "text/plain",
        "Text",
        r#"non-compliant scrape target sending blank Content-Type, using fallback_scrape_protocol "text/plain""#,
    ),
    (
        "",
        "application/openmetrics-text",
        "OpenMetrics",
        r#"non-compliant scrape target sending blank Content-Type, using fallback_scrape_protocol "application/openmetrics-text""#,
    ),
    (
        "",
        "application/vnd.google.protobuf",
        "Protobuf",
        r#"non-compliant scrape target sending blank Content-Type, using fallback_scrape_protocol "application/vnd.google.protobuf""#,
    ),
    ("text/plain", "", "Text", ""),
    ("text/plain; version=0.0.4", "", "Text", ""),
    ("text/plain;version=9.9.9", "", "Text", ""),
    ("TEXT/Plain; charset=utf-8", "", "Text", ""),
    (" text/plain ;", "", "Text", ""),
    (
        "text/plain; a",
        "",
        "none",
        "cannot parse Content-Type \"text/plain; a\" and no fallback_scrape_protocol for target\nmime: invalid media parameter",
    ),
    (
        "text/plain; a",
        "text/plain",
        "Text",
        "could not parse received Content-Type \"text/plain; a\", using fallback_scrape_protocol \"text/plain\"\nmime: invalid media parameter",
    ),
    (
        "text/plain; a",
        "application/openmetrics-text",
        "OpenMetrics",
        "could not parse received Content-Type \"text/plain; a\", using fallback_scrape_protocol \"application/openmetrics-text\"\nmime: invalid media parameter",
    ),
    (
        "text/plain; a",
        "application/vnd.google.protobuf",
        "Protobuf",
        "could not parse received Content-Type \"text/plain; a\", using fallback_scrape_protocol \"application/vnd.google.protobuf\"\nmime: invalid media parameter",
    ),
    (
        "text/plain; a=",
        "",
        "none",
        "cannot parse Content-Type \"text/plain; a=\" and no fallback_scrape_protocol for target\nmime: invalid media parameter",
    ),
    (
        "text/plain; a=b; a=c",
        "",
        "none",
        "cannot parse Content-Type \"text/plain; a=b; a=c\" and no fallback_scrape_protocol for target\nmime: duplicate parameter name",
    ),
    ("text/plain; a=b; a=b", "", "Text", ""),
    ("text/plain; a=\"x\\\"y\"", "", "Text", ""),
    (
        "text/plain; a=\"x",
        "",
        "none",
        "cannot parse Content-Type \"text/plain; a=\\\"x\" and no fallback_scrape_protocol for target\nmime: invalid media parameter",
    ),
    (
        "text/plain;;",
        "",
        "none",
        "cannot parse Content-Type \"text/plain;;\" and no fallback_scrape_protocol for target\nmime: invalid media parameter",
    ),
    (
        "text/plain; ;a=b",
        "",
        "none",
        "cannot parse Content-Type \"text/plain; ;a=b\" and no fallback_scrape_protocol for target\nmime: invalid media parameter",
    ),
    ("text/plain; version=0.0.4; ", "", "Text", ""),
    ("application/openmetrics-text", "", "OpenMetrics", ""),
    ("application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8", "", "OpenMetrics", ""),
    (
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
        "",
        "Protobuf",
        "",
    ),
    (
        "application/json",
        "",
        "none",
        r#"received unsupported Content-Type "application/json" and no fallback_scrape_protocol specified for target"#,
    ),
    (
        "application/json",
        "text/plain",
        "Text",
        r#"received unsupported Content-Type "application/json", using fallback_scrape_protocol "text/plain""#,
    ),
    (
        "application/json",
        "application/openmetrics-text",
        "OpenMetrics",
        r#"received unsupported Content-Type "application/json", using fallback_scrape_protocol "application/openmetrics-text""#,
    ),
    (
        "application/json",
        "application/vnd.google.protobuf",
        "Protobuf",
        r#"received unsupported Content-Type "application/json", using fallback_scrape_protocol "application/vnd.google.protobuf""#,
    ),
    (
        "text/html; charset=utf-8",
        "",
        "none",
        r#"received unsupported Content-Type "text/html; charset=utf-8" and no fallback_scrape_protocol specified for target"#,
    ),
    (
        "text",
        "",
        "none",
        r#"received unsupported Content-Type "text" and no fallback_scrape_protocol specified for target"#,
    ),
    (
        "text/",
        "",
        "none",
        "cannot parse Content-Type \"text/\" and no fallback_scrape_protocol for target\nmime: expected token after slash",
    ),
    (
        "/plain",
        "",
        "none",
        "cannot parse Content-Type \"/plain\" and no fallback_scrape_protocol for target\nmime: no media type",
    ),
    (
        "text/plain/x",
        "",
        "none",
        "cannot parse Content-Type \"text/plain/x\" and no fallback_scrape_protocol for target\nmime: unexpected content after media subtype",
    ),
    (
        "text plain",
        "",
        "none",
        "cannot parse Content-Type \"text plain\" and no fallback_scrape_protocol for target\nmime: expected slash after first token",
    ),
    (
        "text\\plain",
        "",
        "none",
        "cannot parse Content-Type \"text\\\\plain\" and no fallback_scrape_protocol for target\nmime: expected slash after first token",
    ),
    (
        ";",
        "",
        "none",
        "cannot parse Content-Type \";\" and no fallback_scrape_protocol for target\nmime: no media type",
    ),
    (
        "; version=1",
        "",
        "none",
        "cannot parse Content-Type \"; version=1\" and no fallback_scrape_protocol for target\nmime: no media type",
    ),
    (
        "text/plain, application/json",
        "",
        "none",
        "cannot parse Content-Type \"text/plain, application/json\" and no fallback_scrape_protocol for target\nmime: unexpected content after media subtype",
    ),
    ("text/plain\u{a0}", "", "Text", ""),
    ("text/plain; a*0=x; a*1=y", "", "Text", ""),
    (
        "\"x\"",
        "",
        "none",
        "cannot parse Content-Type \"\\\"x\\\"\" and no fallback_scrape_protocol for target\nmime: no media type",
    ),
];

#[test]
fn the_content_type_decides_and_the_fallback_steps_in() {
    for (content_type, fallback, expected, message) in CHOICES {
        let fallback = ScrapeProtocol::ALL.into_iter().find(|p| p.format().media_type() == *fallback);
        let (format, said) = match format_for(content_type, fallback) {
            Ok(choice) => (format!("{:?}", choice.format), choice.problem.map_or(String::new(), |p| p.to_string())),
            Err(e) => ("none".to_owned(), e.to_string()),
        };
        assert_eq!((format.as_str(), said.as_str()), (*expected, *message), "{content_type:?}");
    }
}

#[test]
fn the_accept_header_names_the_protocols_in_order() {
    assert_eq!(
        accept_header(&DEFAULT_SCRAPE_PROTOCOLS, Escaping::Underscores),
        "application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,\
         text/plain;version=1.0.0;escaping=underscores;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
    );
    assert_eq!(
        accept_header(&PROTO_FIRST_SCRAPE_PROTOCOLS, Escaping::AllowUtf8),
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
         application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
         text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
    );
    assert_eq!(
        accept_header(&[ScrapeProtocol::PrometheusText0_0_4], Escaping::Dots),
        "text/plain;version=0.0.4;q=0.6,*/*;q=0.5"
    );
}

#[test]
fn protocols_have_the_names_of_the_configuration() {
    for protocol in ScrapeProtocol::ALL {
        assert_eq!(ScrapeProtocol::from_name(protocol.name()), Some(protocol));
    }
    assert_eq!(ScrapeProtocol::from_name("prometheusproto"), None);
}
