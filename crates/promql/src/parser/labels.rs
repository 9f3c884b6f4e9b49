//! Metrics as they are described: `name{label="value"}`.

use model::{Labels, LabelsBuilder, METRIC_NAME};

use super::{Parsed, Parser};
use crate::quote;
use crate::token::Kind;

impl Parser<'_> {
    /// A metric; both its name and its braces may be missing.
    pub(super) fn metric(&mut self) -> Parsed<Labels> {
        let name = if self.peek().is_metric_identifier() { Some(self.take()) } else { None };
        let mut labels = LabelsBuilder::default();
        if self.peek() == Kind::LeftBrace {
            self.label_set(&mut labels)?;
        }
        if let Some(name) = name {
            labels.set(METRIC_NAME, self.word(name));
        }
        Ok(labels.build())
    }

    /// `{a="b", "c d"="e"}`
    fn label_set(&mut self, labels: &mut LabelsBuilder) -> Parsed<()> {
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

    fn label(&mut self, labels: &mut LabelsBuilder) -> Parsed<()> {
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
                        labels.set(METRIC_NAME, &name);
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
        labels.set(&name, &value);
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
