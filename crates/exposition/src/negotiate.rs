//! What to answer to an `Accept` header. Source: `Negotiate` and `NegotiateIncludingOpenMetrics` of prometheus/common
//! `expfmt`, but for protobuf, which is not written yet: a clause that asks for it is passed over.

use crate::escape::Escaping;

/// A way to write a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Page {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics 0.0.1.
    OpenMetrics0_0_1,
    /// OpenMetrics 1.0.0.
    OpenMetrics1_0_0,
}

impl Page {
    /// The `Content-Type` of such a page.
    pub fn content_type(self, escaping: Escaping) -> String {
        let media_type = match self {
            Page::Text => "text/plain; version=0.0.4",
            Page::OpenMetrics0_0_1 => "application/openmetrics-text; version=0.0.1",
            Page::OpenMetrics1_0_0 => "application/openmetrics-text; version=1.0.0",
        };
        format!("{media_type}; charset=utf-8; escaping={}", escaping.as_str())
    }
}

/// What the server can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Only text (`/federate`).
    Text,
    /// Text and OpenMetrics (`/metrics`).
    TextAndOpenMetrics,
}

/// Chooses the page and how its names are written. `default_escaping` is for headers that do not say.
pub fn negotiate(accept: &str, offer: Offer, default_escaping: Escaping) -> (Page, Escaping) {
    let mut escaping = default_escaping;
    for clause in clauses(accept) {
        // As in Prometheus, a clause that is passed over for its format still says how to escape.
        if let Some(wanted) = clause.parameter("escaping").and_then(Escaping::from_word) {
            escaping = wanted;
        }
        let version = clause.parameter("version").unwrap_or("");
        match (clause.kind, clause.subtype, version) {
            ("text", "plain", "0.0.4" | "") => return (Page::Text, escaping),
            ("application", "openmetrics-text", _) if offer == Offer::Text => {}
            ("application", "openmetrics-text", "1.0.0") => return (Page::OpenMetrics1_0_0, escaping),
            ("application", "openmetrics-text", "0.0.1" | "") => return (Page::OpenMetrics0_0_1, escaping),
            _ => {}
        }
    }
    (Page::Text, escaping)
}

struct Clause<'a> {
    kind: &'a str,
    subtype: &'a str,
    quality: f64,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Clause<'a> {
    /// The last value of a parameter.
    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().rev().find(|(n, _)| *n == name).map(|(_, v)| *v)
    }

    fn parse(text: &'a str) -> Option<Clause<'a>> {
        let mut parts = text.split(';');
        let media_type = parts.next()?.trim_matches(' ');
        let (kind, subtype) = match media_type.split_once('/') {
            None | Some((_, "")) if media_type.trim_end_matches('/').trim_matches(' ') == "*" => ("*", "*"),
            Some((kind, subtype)) if !subtype.is_empty() && !subtype.contains('/') => (kind, subtype),
            _ => return None,
        };
        let mut clause = Clause {
            kind: kind.trim_matches(' '),
            subtype: subtype.trim_matches(' '),
            quality: 1.0,
            parameters: Vec::new(),
        };
        for parameter in parts {
            match parameter.split_once('=') {
                Some((name, value)) if !value.is_empty() && !value.contains('=') => match name.trim_matches(' ') {
                    "q" => clause.quality = value.parse().unwrap_or(0.0),
                    name => clause.parameters.push((name, value.trim_matches(' '))),
                },
                _ => {}
            }
        }
        Some(clause)
    }
}

/// The clauses of a header, the most wanted first; of equally wanted ones, the more specific, then the earlier.
fn clauses(accept: &str) -> Vec<Clause<'_>> {
    let mut clauses: Vec<Clause<'_>> = accept.split(',').filter_map(Clause::parse).collect();
    let wildcards = |c: &Clause<'_>| usize::from(c.kind == "*") + usize::from(c.subtype == "*");
    clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality).then(wildcards(a).cmp(&wildcards(b))));
    clauses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: &str, offer: Offer, page: Page, escaping: Escaping) {
        assert_eq!(negotiate(accept, offer, Escaping::Underscores), (page, escaping), "{accept}");
    }

    #[test]
    fn the_most_wanted_format_that_is_offered_is_chosen() {
        use Escaping::{AllowUtf8, Underscores};
        use Offer::{Text, TextAndOpenMetrics};
        let prometheus = crate::accept_header(&crate::DEFAULT_SCRAPE_PROTOCOLS, AllowUtf8);
        check(&prometheus, TextAndOpenMetrics, Page::OpenMetrics1_0_0, AllowUtf8);
        check(&prometheus, Text, Page::Text, AllowUtf8);
        check("", TextAndOpenMetrics, Page::Text, Underscores);
        check("*/*", TextAndOpenMetrics, Page::Text, Underscores);
        check("application/openmetrics-text", TextAndOpenMetrics, Page::OpenMetrics0_0_1, Underscores);
        check("application/openmetrics-text;version=2.0.0", TextAndOpenMetrics, Page::Text, Underscores);
        check(
            "text/plain;q=0.5, application/openmetrics-text;version=1.0.0;q=0.4",
            TextAndOpenMetrics,
            Page::Text,
            Underscores,
        );
        check(
            "text/plain;q=0.5, application/openmetrics-text;version=1.0.0;escaping=dots;q=0.6",
            TextAndOpenMetrics,
            Page::OpenMetrics1_0_0,
            Escaping::Dots,
        );
        check("text/plain;version=0.0.4;escaping=nonsense", TextAndOpenMetrics, Page::Text, Underscores);
        check("nonsense;;=,;q=x,text/plain/x", TextAndOpenMetrics, Page::Text, Underscores);
    }

    #[test]
    fn content_types_are_those_of_expfmt() {
        assert_eq!(
            Page::OpenMetrics1_0_0.content_type(Escaping::AllowUtf8),
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
        );
        assert_eq!(
            Page::Text.content_type(Escaping::Underscores),
            "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
        );
    }
}
