//! Which names metrics and labels may have, and how names beyond that are asked for.

use model::{is_legacy_label_name, is_legacy_metric_name};

/// `metric_name_validation_scheme`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameValidation {
    /// Not said; only before validation.
    #[default]
    Unset,
    /// `[a-zA-Z_:][a-zA-Z0-9_:]*`
    Legacy,
    /// Any UTF-8 text.
    Utf8,
}

impl NameValidation {
    /// As it is written in a configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            NameValidation::Unset => "",
            NameValidation::Legacy => "legacy",
            NameValidation::Utf8 => "utf8",
        }
    }

    /// Whether a label may be named so.
    pub fn allows_label_name(self, name: &str) -> bool {
        match self {
            NameValidation::Legacy => is_legacy_label_name(name),
            NameValidation::Utf8 | NameValidation::Unset => !name.is_empty(),
        }
    }

    /// Whether a metric may be named so.
    pub fn allows_metric_name(self, name: &str) -> bool {
        match self {
            NameValidation::Legacy => is_legacy_metric_name(name),
            NameValidation::Utf8 | NameValidation::Unset => !name.is_empty(),
        }
    }
}

/// `metric_name_escaping_scheme`: what a scrape asks for in `Accept`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameEscaping {
    /// Names as they are.
    #[default]
    AllowUtf8,
    /// Everything else becomes `_`.
    Underscores,
    /// Dots become `_dot_`, underscores are doubled.
    Dots,
    /// Reversible: `U__` and code points.
    Values,
}

impl NameEscaping {
    /// All of them.
    pub const ALL: [NameEscaping; 4] =
        [NameEscaping::AllowUtf8, NameEscaping::Underscores, NameEscaping::Dots, NameEscaping::Values];

    /// As it is written in a configuration and in `escaping=` of `Accept`.
    pub fn as_str(self) -> &'static str {
        match self {
            NameEscaping::AllowUtf8 => "allow-utf-8",
            NameEscaping::Underscores => "underscores",
            NameEscaping::Dots => "dots",
            NameEscaping::Values => "values",
        }
    }

    /// The scheme with that name.
    pub fn parse(text: &str) -> Option<NameEscaping> {
        NameEscaping::ALL.into_iter().find(|e| e.as_str() == text)
    }
}
