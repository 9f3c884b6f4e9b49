//! Errors of the HTTP API: types, codes and texts as in Prometheus.

use promql::engine::QueryError;
use promql::numbers;
use storage::SelectError;

use crate::EvaluateError;

/// The `errorType` of an answer, which decides the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorType {
    BadData,
    Execution,
    Canceled,
    Timeout,
    Internal,
    Unavailable,
    NotFound,
}

impl ErrorType {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            ErrorType::BadData => "bad_data",
            ErrorType::Execution => "execution",
            ErrorType::Canceled => "canceled",
            ErrorType::Timeout => "timeout",
            ErrorType::Internal => "internal",
            ErrorType::Unavailable => "unavailable",
            ErrorType::NotFound => "not_found",
        }
    }

    /// The HTTP status. As in Prometheus, `unavailable` is a 500.
    pub(crate) fn status(self) -> u16 {
        match self {
            ErrorType::BadData => 400,
            ErrorType::Execution => 422,
            ErrorType::Canceled => 499,
            ErrorType::Timeout => 503,
            ErrorType::Internal | ErrorType::Unavailable => 500,
            ErrorType::NotFound => 404,
        }
    }
}

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct ApiError {
    pub(crate) error_type: ErrorType,
    /// What the client reads.
    pub(crate) text: String,
}

impl ApiError {
    pub(crate) fn new(error_type: ErrorType, text: impl ToString) -> ApiError {
        ApiError { error_type, text: text.to_string() }
    }

    pub(crate) fn bad_data(text: impl ToString) -> ApiError {
        ApiError::new(ErrorType::BadData, text)
    }

    pub(crate) fn parameter(name: &str, problem: impl std::fmt::Display) -> ApiError {
        ApiError::bad_data(format!("invalid parameter \"{name}\": {problem}"))
    }

    pub(crate) fn unavailable(text: impl ToString) -> ApiError {
        ApiError::new(ErrorType::Unavailable, text)
    }

    pub(crate) fn internal(text: impl ToString) -> ApiError {
        ApiError::new(ErrorType::Internal, text)
    }

    /// An endpoint of Prometheus that is not built.
    pub(crate) fn missing(what: &str) -> ApiError {
        ApiError::new(ErrorType::NotFound, format!("Narthex does not have {what} yet"))
    }
}

/// An error with all that lies under it.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

impl From<EvaluateError> for ApiError {
    fn from(error: EvaluateError) -> ApiError {
        match error {
            EvaluateError::Query(query) => query.into(),
            EvaluateError::Select(select) => select.into(),
            EvaluateError::TimedOut { .. } => ApiError::new(ErrorType::Timeout, error),
            EvaluateError::Panicked => ApiError::internal(error),
        }
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> ApiError {
        match error {
            // Prometheus finds these before it begins.
            QueryError::NotForRangeQuery { .. } | QueryError::Duration { .. } => ApiError::parameter("query", error),
            QueryError::Canceled => ApiError::new(ErrorType::Canceled, error),
            QueryError::TimedOut => ApiError::new(ErrorType::Timeout, error),
            QueryError::Corrupt { .. } => ApiError::internal(with_sources(&error)),
            _ => ApiError::new(ErrorType::Execution, error),
        }
    }
}

impl From<SelectError> for ApiError {
    fn from(error: SelectError) -> ApiError {
        match error {
            SelectError::TooManySeries { .. } => ApiError::new(ErrorType::Execution, error),
            SelectError::Unreadable { .. } => ApiError::internal(error),
            SelectError::Unavailable(_) => ApiError::unavailable(error),
        }
    }
}

/// A `limit` that is none.
impl From<numbers::ParseNumberError> for ApiError {
    fn from(error: numbers::ParseNumberError) -> ApiError {
        ApiError::parameter("limit", error)
    }
}
