//! Why a configuration is refused, and where.

use std::fmt;
use std::io;

use crate::glob::BadPattern;

/// A place in a text, both counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl Position {
    /// From the parser's line (from 1) and column (from 0).
    pub(crate) fn new(line: usize, column_from_zero: usize) -> Position {
        Position { line, column: column_from_zero + 1 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value of the wrong type, an unknown or a repeated key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeError {
    /// Where the value or key stands.
    pub at: Position,
    /// What is wrong, in the words of Go's `yaml.v2`.
    pub text: String,
}

/// Why one text is refused.
#[derive(Debug)]
pub enum Refused {
    /// It is no JSON.
    Json {
        /// Where reading stopped.
        at: Position,
        /// The parser's words.
        text: String,
    },
    /// It is no YAML.
    Syntax {
        /// Where reading stopped.
        at: Position,
        /// The parser's words.
        text: String,
    },
    /// Unknown keys and values of wrong types; at least one.
    Types(Vec<TypeError>),
    /// It is well-formed, and Prometheus refuses it with these words.
    Value {
        /// The mapping or key that is refused.
        at: Position,
        /// Prometheus' words.
        text: String,
    },
}

impl Refused {
    /// The first place that is wrong.
    pub fn at(&self) -> Position {
        match self {
            Refused::Json { at, .. } | Refused::Syntax { at, .. } | Refused::Value { at, .. } => *at,
            Refused::Types(errors) => errors.first().map(|e| e.at).unwrap_or_default(),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Syntax { at, text } => write!(f, "yaml: line {}: {text}", at.line),
            Refused::Types(errors) => {
                f.write_str("yaml: unmarshal errors:")?;
                errors.iter().try_for_each(|e| write!(f, "\n  line {}: {}", e.at.line, e.text))
            }
            Refused::Json { text, .. } | Refused::Value { text, .. } => f.write_str(text),
        }
    }
}

impl std::error::Error for Refused {}

/// Why a configuration file, or one that it imports, could not be loaded. `Display` prints Prometheus' text and then the
/// place: `parsing YAML file a.yml: job_name is empty (a.yml:3:5)`.
#[derive(Debug)]
pub enum LoadError {
    /// A file cannot be read.
    Read {
        /// Its name as it was asked for.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// The main file is refused.
    Main {
        /// Its name as it was given.
        file: String,
        /// Why.
        source: Refused,
    },
    /// One of `scrape_config_files` is no pattern.
    Pattern {
        /// What it is.
        pattern: String,
        /// Why it is none.
        source: BadPattern,
    },
    /// A file named by `scrape_config_files` cannot be read.
    ReadImported {
        /// Its absolute name.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file named by `scrape_config_files` is refused.
    Imported {
        /// Its absolute name.
        file: String,
        /// Why.
        source: Refused,
    },
}

impl LoadError {
    /// The file and the place in it, where one is to blame.
    pub fn place(&self) -> (&str, Option<Position>) {
        match self {
            LoadError::Read { file, .. } | LoadError::ReadImported { file, .. } => (file, None),
            LoadError::Pattern { pattern, .. } => (pattern, None),
            LoadError::Main { file, source } | LoadError::Imported { file, source } => (file, Some(source.at())),
        }
    }

    /// The text as Prometheus prints it, without file, line and column behind it.
    pub fn prometheus_text(&self) -> String {
        match self {
            LoadError::Read { file, source } => format!("open {file}: {source}"),
            LoadError::Main { file, source } => format!("parsing YAML file {file}: {source}"),
            LoadError::Pattern { pattern, source } => {
                let pattern = crate::go::quote(pattern);
                format!("error loading scrape configs: error retrieving scrape config files for {pattern}: {source}")
            }
            LoadError::ReadImported { file, source } => {
                format!("error loading scrape configs: {}: open {file}: {source}", crate::go::quote(file))
            }
            LoadError::Imported { file, source } => {
                format!("error loading scrape configs: {}: {source}", crate::go::quote(file))
            }
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.prometheus_text())?;
        match self.place() {
            (file, Some(at)) => write!(f, " ({file}:{at})"),
            (_, None) => Ok(()),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LoadError::Read { source, .. } | LoadError::ReadImported { source, .. } => Some(source),
            LoadError::Main { source, .. } | LoadError::Imported { source, .. } => Some(source),
            LoadError::Pattern { source, .. } => Some(source),
        }
    }
}
