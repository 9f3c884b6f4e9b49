//! Which format a page is in, and which formats are asked for.

use std::fmt::{self, Write};

use crate::escape::Escaping;
use crate::media_type::{self, MediaTypeError};
use crate::quote::Quoted;

/// The formats that differ to a parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus text, of any version.
    Text,
    /// OpenMetrics, of any version.
    OpenMetrics,
    /// Length-delimited protobuf messages, read as lines.
    Protobuf,
}

impl Format {
    /// The media type without parameters.
    pub fn media_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain",
            Format::OpenMetrics => "application/openmetrics-text",
            Format::Protobuf => "application/vnd.google.protobuf",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.media_type())
    }
}

/// The protocols of the configuration's `scrape_protocols` and `fallback_scrape_protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names of the configuration say it")]
pub enum ScrapeProtocol {
    PrometheusProto,
    PrometheusText0_0_4,
    PrometheusText1_0_0,
    OpenMetricsText0_0_1,
    OpenMetricsText1_0_0,
}

impl ScrapeProtocol {
    /// All, in the order of their names in the configuration.
    pub const ALL: [ScrapeProtocol; 5] = [
        ScrapeProtocol::OpenMetricsText0_0_1,
        ScrapeProtocol::OpenMetricsText1_0_0,
        ScrapeProtocol::PrometheusProto,
        ScrapeProtocol::PrometheusText0_0_4,
        ScrapeProtocol::PrometheusText1_0_0,
    ];

    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            ScrapeProtocol::PrometheusProto => "PrometheusProto",
            ScrapeProtocol::PrometheusText0_0_4 => "PrometheusText0.0.4",
            ScrapeProtocol::PrometheusText1_0_0 => "PrometheusText1.0.0",
            ScrapeProtocol::OpenMetricsText0_0_1 => "OpenMetricsText0.0.1",
            ScrapeProtocol::OpenMetricsText1_0_0 => "OpenMetricsText1.0.0",
        }
    }

    /// The protocol with this name in the configuration.
    pub fn from_name(name: &str) -> Option<ScrapeProtocol> {
        ScrapeProtocol::ALL.into_iter().find(|p| p.name() == name)
    }

    /// Which parser reads it.
    pub fn format(self) -> Format {
        match self {
            ScrapeProtocol::PrometheusProto => Format::Protobuf,
            ScrapeProtocol::PrometheusText0_0_4 | ScrapeProtocol::PrometheusText1_0_0 => Format::Text,
            ScrapeProtocol::OpenMetricsText0_0_1 | ScrapeProtocol::OpenMetricsText1_0_0 => Format::OpenMetrics,
        }
    }

    fn parameters(self) -> &'static str {
        match self {
            ScrapeProtocol::PrometheusProto => ";proto=io.prometheus.client.MetricFamily;encoding=delimited",
            ScrapeProtocol::PrometheusText0_0_4 => ";version=0.0.4",
            ScrapeProtocol::OpenMetricsText0_0_1 => ";version=0.0.1",
            ScrapeProtocol::PrometheusText1_0_0 | ScrapeProtocol::OpenMetricsText1_0_0 => ";version=1.0.0",
        }
    }

    /// Whether it can say how names that are not plain are written.
    fn has_escaping(self) -> bool {
        matches!(self, ScrapeProtocol::PrometheusText1_0_0 | ScrapeProtocol::OpenMetricsText1_0_0)
    }
}

/// What is asked for where the configuration says nothing.
pub const DEFAULT_SCRAPE_PROTOCOLS: [ScrapeProtocol; 4] = [
    ScrapeProtocol::OpenMetricsText1_0_0,
    ScrapeProtocol::OpenMetricsText0_0_1,
    ScrapeProtocol::PrometheusText1_0_0,
    ScrapeProtocol::PrometheusText0_0_4,
];

/// The same where native histograms are scraped.
pub const PROTO_FIRST_SCRAPE_PROTOCOLS: [ScrapeProtocol; 5] = [
    ScrapeProtocol::PrometheusProto,
    ScrapeProtocol::OpenMetricsText1_0_0,
    ScrapeProtocol::OpenMetricsText0_0_1,
    ScrapeProtocol::PrometheusText1_0_0,
    ScrapeProtocol::PrometheusText0_0_4,
];

/// The `Accept` header of a scrape: the protocols, each a tenth less wanted than the one before, then anything.
/// `protocols` has each at most once. Source: `acceptHeader` of Prometheus `scrape/scrape.go`.
pub fn accept_header(protocols: &[ScrapeProtocol], escaping: Escaping) -> String {
    let mut out = String::new();
    let mut weight = ScrapeProtocol::ALL.len() + 1;
    for protocol in protocols {
        out.push_str(protocol.format().media_type());
        out.push_str(protocol.parameters());
        if protocol.has_escaping() {
            out.push_str(";escaping=");
            out.push_str(escaping.as_str());
        }
        write!(out, ";q=0.{weight},").expect("a String takes every write");
        weight = weight.saturating_sub(1);
    }
    write!(out, "*/*;q=0.{weight}").expect("a String takes every write");
    out
}

/// The parser to take for a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatChoice {
    /// The format.
    pub format: Format,
    /// Why it is the fallback, if it is; Prometheus logs this as debug.
    pub problem: Option<ContentTypeError>,
}

/// Why the `Content-Type` of a page does not tell its format. The fallback is the media type that was taken instead; without
/// one the scrape fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentTypeError {
    /// What the target sent.
    pub content_type: String,
    /// What was taken instead.
    pub fallback: Option<Format>,
    /// What is wrong.
    pub kind: ContentTypeProblem,
}

/// What is wrong with a `Content-Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentTypeProblem {
    /// There is none.
    Blank,
    /// It cannot be parsed.
    Unparsable(MediaTypeError),
    /// It is something else.
    Unsupported,
}

impl fmt::Display for ContentTypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sent = Quoted(self.content_type.as_bytes());
        let fallback = self.fallback.map(Format::media_type);
        match (self.kind, fallback) {
            (ContentTypeProblem::Blank, None) => f.write_str(
                "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified for target",
            ),
            (ContentTypeProblem::Blank, Some(fallback)) => write!(
                f,
                "non-compliant scrape target sending blank Content-Type, using fallback_scrape_protocol \"{fallback}\""
            ),
            (ContentTypeProblem::Unparsable(why), None) => {
                write!(f, "cannot parse Content-Type {sent} and no fallback_scrape_protocol for target\n{why}")
            }
            (ContentTypeProblem::Unparsable(why), Some(fallback)) => write!(
                f,
                "could not parse received Content-Type {sent}, using fallback_scrape_protocol \"{fallback}\"\n{why}"
            ),
            (ContentTypeProblem::Unsupported, None) => write!(
                f,
                "received unsupported Content-Type {sent} and no fallback_scrape_protocol specified for target"
            ),
            (ContentTypeProblem::Unsupported, Some(fallback)) => {
                write!(f, "received unsupported Content-Type {sent}, using fallback_scrape_protocol \"{fallback}\"")
            }
        }
    }
}

impl std::error::Error for ContentTypeError {}

/// The format of a page with this `Content-Type` (empty where there was none). Only the media type counts, not the version.
/// Source: `New` and `extractMediaType` of Prometheus `model/textparse`.
pub fn format_for(content_type: &str, fallback: Option<ScrapeProtocol>) -> Result<FormatChoice, ContentTypeError> {
    let kind = match media_type::parse(content_type) {
        _ if content_type.is_empty() => ContentTypeProblem::Blank,
        Err(why) => ContentTypeProblem::Unparsable(why),
        Ok(media_type) => {
            let known = [Format::Text, Format::OpenMetrics, Format::Protobuf].into_iter();
            match known.into_iter().find(|f| f.media_type() == media_type) {
                Some(format) => return Ok(FormatChoice { format, problem: None }),
                None => ContentTypeProblem::Unsupported,
            }
        }
    };
    let fallback = fallback.map(ScrapeProtocol::format);
    let problem = ContentTypeError { content_type: content_type.to_owned(), fallback, kind };
    match fallback {
        Some(format) => Ok(FormatChoice { format, problem: Some(problem) }),
        None => Err(problem),
    }
}

#[cfg(test)]
mod tests;
