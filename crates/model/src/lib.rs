//! The data model: labels, matchers, samples, native histograms, exemplars, time and identifiers.
//!
//! No I/O, no clock, and no serde for wire or disk: formats live in the crates that own them. `labels.rs` alone uses
//! `unsafe`, to give out `&str` from bytes that its constructors took from `&str`; a UTF-8 check there costs two thirds of
//! the time of decoding a remote-write request.

mod exemplar;
#[doc(hidden)]
pub mod fuzzing;
mod histogram;
mod histogram_resolution;
mod histogram_validation;
mod id;
mod integer_histogram;
mod labels;
mod matcher;
mod metadata;
mod sample;
mod sample_value;
mod time;

pub use exemplar::Exemplar;
pub use histogram::{
    Bucket, Combined, CounterResetHint, FloatHistogram, HistogramSum, MixedSchemas, Span, kahan, spans_match,
};
pub use histogram_resolution::{BucketCount, reduce_resolution};
pub use histogram_validation::{BUCKETS_MAX, HistogramError, Observations, SpanSide, check_layout};
pub use id::{PartitionId, SeriesId, TenantId};
pub use integer_histogram::{
    CUSTOM_BUCKETS_SCHEMA, Histogram, SCHEMA_MAX, SCHEMA_MIN, SCHEMA_RESERVED_MAX, SCHEMA_RESERVED_MIN,
};
pub use labels::{
    Label, Labels, LabelsBuilder, METRIC_NAME, PackedLabels, is_legacy_label_name, is_legacy_metric_name, write_label,
};
pub use matcher::{MatchOp, Matcher};
pub use metadata::{Metadata, MetricType};
pub use sample::{STALE_NAN_BITS, Sample, is_stale, join_values, stale_nan};
pub use sample_value::{SampleValue, join, join_histograms};
pub use time::{DurationMs, ParseDurationError, TimeRange, TimestampMs};
