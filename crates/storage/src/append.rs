//! Giving samples.

use futures::future::BoxFuture;
use model::{Exemplar, Labels, Metadata, Sample, TenantId};

/// Whose fault an error is; it alone decides HTTP status, gRPC code and whether to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The request is at fault: the same request fails again.
    Caller,
    /// A bound was reached; later it may work.
    Overload,
    /// Something is down, starting or stopping; later it may work.
    Unavailable,
    /// Stored bytes are damaged.
    Corrupt,
}

/// Samples of one series, for [`Appendable::append`].
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesSamples {
    /// The series.
    pub labels: Labels,
    /// Sorted or not; a timestamp may occur twice.
    pub samples: Vec<Sample>,
    /// Exemplars of the series.
    pub exemplars: Vec<Exemplar>,
}

/// Why a sample or series was refused for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RejectReason {
    /// Older than the window.
    TooOld,
    /// More than ten minutes ahead of the clock.
    TooFarInFuture,
    /// Labels that cannot be: no name, duplicated, too many, too long, not UTF-8.
    InvalidLabels,
    /// A native histogram whose counts, spans or bounds do not belong together.
    InvalidHistogram,
    /// An exemplar that cannot be.
    InvalidExemplar,
}

impl RejectReason {
    /// The word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            RejectReason::TooOld => "too_old",
            RejectReason::TooFarInFuture => "too_far_in_future",
            RejectReason::InvalidLabels => "invalid_labels",
            RejectReason::InvalidHistogram => "invalid_histogram",
            RejectReason::InvalidExemplar => "invalid_exemplar",
        }
    }
}

/// Something refused for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Why.
    pub reason: RejectReason,
    /// How many samples.
    pub sample_count: u64,
    /// One example, in words.
    pub example: String,
}

/// What became of samples that were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppendOutcome {
    /// Samples that are durable now.
    pub stored_samples: u64,
    /// Those of them that are native histograms.
    pub stored_histograms: u64,
    /// Exemplars that are kept now.
    pub stored_exemplars: u64,
    /// What was refused for good, by reason.
    pub rejections: Vec<Rejection>,
}

/// Why nothing is known to be durable. Trying again does no harm, and helps unless the request is malformed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The request cannot be read; nothing of it was stored.
    #[error("{0}")]
    Malformed(String),
    /// A bound on bytes in flight was reached.
    #[error("too many bytes in flight (limit {limit_bytes})")]
    Overload {
        /// The bound.
        limit_bytes: usize,
    },
    /// Not ready, stopping, or the disk refuses.
    #[error("ingester unavailable: {0}")]
    Unavailable(String),
}

impl AppendError {
    /// Whose fault, and whether to try again.
    pub fn class(&self) -> ErrorClass {
        match self {
            AppendError::Malformed(_) => ErrorClass::Caller,
            AppendError::Overload { .. } => ErrorClass::Overload,
            AppendError::Unavailable(_) => ErrorClass::Unavailable,
        }
    }
}

/// Something that takes samples.
pub trait Appendable: Send + Sync + 'static {
    /// Resolves when all that was not refused is durable. `metadata` is kept by name of metric family.
    fn append(
        &self,
        tenant: &TenantId,
        series: Vec<SeriesSamples>,
        metadata: Vec<(String, Metadata)>,
    ) -> BoxFuture<'static, Result<AppendOutcome, AppendError>>;
}
