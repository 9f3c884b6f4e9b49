//! Texts that are never printed.

use std::fmt;

use crate::yaml::record::Paths;
use crate::yaml::{Decode, Decoder, Encode, Fail, NodeId, Out};

/// What stands in the place of a secret.
const SHOWN: &str = "<secret>";

/// A password, key or token. `Debug` and `Display` print `<secret>`, or nothing where it is empty.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "" } else { SHOWN })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Decode for Secret {
    fn type_name() -> String {
        "config.Secret".to_owned()
    }
    fn scalar(&mut self, d: &mut Decoder<'_>, id: NodeId, scalar: &crate::yaml::scalar::Scalar) -> Result<bool, Fail> {
        self.0.scalar(d, id, scalar)
    }
    fn sequence(&mut self, d: &mut Decoder<'_>, id: NodeId, _items: &[NodeId]) -> Result<bool, Fail> {
        d.mismatch(id, "!!seq", "config.plain");
        Ok(false)
    }
    fn mapping(&mut self, d: &mut Decoder<'_>, id: NodeId, _pairs: &[(NodeId, NodeId)]) -> Result<bool, Fail> {
        d.mismatch(id, "!!map", "config.plain");
        Ok(false)
    }
}

impl Encode for Secret {
    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }
    fn encode(&self) -> Out {
        if self.0.is_empty() { Out::null() } else { Out::Str(SHOWN.to_owned()) }
    }
}

impl Paths for Secret {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "<secret> <secret>");
        assert_eq!(secret.reveal(), "hunter2");
        assert_eq!(Secret::default().to_string(), "");
    }
}
