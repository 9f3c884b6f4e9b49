//! Metrics as they are described: `name{label="value"}`.

use std::fmt::{self, Display, Formatter};

use model::{Labels, METRIC_NAME, is_legacy_label_name};

use super::{Parsed, Parser};
use crate::quote;
use crate::token::Kind;

/// The labels of a metric as they were written, sorted by name. As in Prometheus, names may occur twice and values be empty
/// here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricDesc {
    pairs: Vec<(String, String)>,
}

impl MetricDesc {
    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// As a label set, without empty values; `None` where a name occurs twice or is empty.
    pub fn labels(&self) -> Option<Labels> {
        Labels::from_pairs(self.iter())
    }

    /// Sets the name that stands in front of the braces. As in Prometheus, only that drops empty labels, and replaces the
    /// first of the names within the braces.
    fn set_name(&mut self, name: &str) {
        let empty: Vec<String> = self.pairs.iter().filter(|(_, v)| v.is_empty()).map(|(n, _)| n.clone()).collect();
        self.pairs.retain(|(n, _)| !empty.contains(n));
        match self.pairs.iter_mut().find(|(n, _)| n == METRIC_NAME) {
            Some((_, v)) => name.clone_into(v),
            None => self.push(METRIC_NAME, name),
        }
    }

    fn push(&mut self, name: &str, value: &str) {
        self.pairs.push((name.to_owned(), value.to_owned()));
    }
}

impl Display for MetricDesc {
    /// `{a="b", c="d"}`
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (name, value)) in self.iter().enumerate() {
            f.write_str(if i > 0 { ", " } else { "" })?;
            if is_legacy_label_name(name) {
                f.write_str(name)?;
            } else {
                quote::write_quoted(f, name.as_bytes())?;
            }
            f.write_str("=")?;
            quote::write_quoted(f, value.as_bytes())?;
        }
        f.write_str("}")
    }
}

impl Parser<'_> {
    /// A metric; both its name and its braces may be missing.
    pub(super) fn metric(&mut self) -> Parsed<MetricDesc> {
        let name = if self.peek().is_metric_identifier() { Some(self.take()) } else { None };
        let mut labels = MetricDesc::default();
        if self.peek() == Kind::LeftBrace {
            self.label_set(&mut labels)?;
        }
        if let Some(name) = name {
            labels.set_name(self.word(name));
        }
        labels.pairs.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(labels)
    }

    /// `{a="b", "c d"="e"}`
    fn label_set(&mut self, labels: &mut MetricDesc) -> Parsed<()> {
        self.take();
        if self.peek() == Kind::RightBrace {
            self.take();
            return Ok(());
        }
        self.label(labels)?;
        loop {
            match self.peek() {
                Kind::RightBrace => break,
                Kind::Comma => {
                    self.take();
                    if self.peek() == Kind::RightBrace {
                        break;
                    }
                    self.label(labels)?;
                }
                _ => {
                    if self.stuck_at_error_rule()? {
                        self.unexpected("label set", "\",\" or \"}\"");
                    }
                }
            }
        }
        self.take();
        Ok(())
    }

    fn label(&mut self, labels: &mut MetricDesc) -> Parsed<()> {
        let name = loop {
            match self.peek() {
                Kind::Identifier => {
                    let token = self.take();
                    let name = self.word(token).to_owned();
                    if !self.label_equals()? {
                        return Ok(());
                    }
                    break name;
                }
                Kind::String => {
                    let token = self.take();
                    let name = quote::lossy(&self.unquote(token));
                    if self.peek() != Kind::Eql {
                        // Without a value it is the metric's name.
                        labels.push(METRIC_NAME, &name);
                        return Ok(());
                    }
                    self.take();
                    break name;
                }
                _ => {
                    if self.stuck_at_error_rule()? {
                        self.unexpected("label set", "identifier or \"}\"");
                        return Ok(());
                    }
                }
            }
        };
        while self.peek() != Kind::String {
            if self.stuck_at_error_rule()? {
                self.unexpected("label set", "string");
                return Ok(());
            }
        }
        let token = self.take();
        let value = quote::lossy(&self.unquote(token));
        labels.push(&name, &value);
        Ok(())
    }

    /// Takes `=`; false where something else stood there, which was reported.
    fn label_equals(&mut self) -> Parsed<bool> {
        while self.peek() != Kind::Eql {
            if self.stuck_at_error_rule()? {
                self.unexpected("label set", "\"=\"");
                return Ok(false);
            }
        }
        self.take();
        Ok(true)
    }
}
