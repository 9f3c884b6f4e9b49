//! The exposition formats: what a scraped target says, and what Narthex says of itself.
//!
//! [`Parser`] reads the Prometheus text format (0.0.4 and 1.0.0) and OpenMetrics (0.0.1 and 1.0.0) with the verdicts and the
//! error texts of Prometheus 3.14; a page of protobuf messages becomes [`Lines`] first ([`protobuf`]), and so does one whose classic
//! histograms become native ones ([`with_custom_buckets`]); [`ScrapeCache`] remembers the lines of the last scrape, so that an unchanged line costs a
//! comparison; [`Encoder`] writes both formats. [`format_for`] and [`accept_header`] are the two halves of negotiation on the
//! scraper's side, [`negotiate`] the server's.
//!
//! Deliberately not here: HTTP, relabelling, limits, writing protobuf, start timestamps (`_created` lines are ordinary series),
//! `__type__` and `__unit__` labels.

mod cache;
mod convert;
mod custom_buckets;
mod encode;
mod entry;
mod error;
mod escape;
mod format;
#[doc(hidden)]
pub mod fuzzing;
mod labels;
mod lines;
mod media_type;
mod negotiate;
mod number;
mod openmetrics;
mod parser;
pub mod protobuf;
mod quote;
mod scan;
mod text;

pub use cache::{CacheFull, Line, Outcome, ScrapeCache, Slot, Staleness};
pub use convert::{ClassicLines, with_custom_buckets};
pub use custom_buckets::CustomBucketsError;
pub use encode::{Encoder, ExemplarLine, Family, Value};
pub use entry::{Entry, ExemplarText, Sample, Series};
pub use error::{FloatError, NotFinite, ParseError, ParseErrorKind, Token};
pub use escape::{Escaping, escape_name};
pub use format::{
    ContentTypeError, ContentTypeProblem, DEFAULT_SCRAPE_PROTOCOLS, Format, FormatChoice, PROTO_FIRST_SCRAPE_PROTOCOLS,
    ScrapeProtocol, accept_header, format_for,
};
pub use labels::{LabelsError, LabelsScratch};
pub use lines::{HistogramChoice, LINES_BYTES_MAX, LineHistogram, Lines, LinesError};
pub use media_type::MediaTypeError;
pub use negotiate::{Offer, Page, negotiate};
pub use number::{format_float, format_openmetrics_float, parse_go_float, parse_value};
pub use parser::Parser;
