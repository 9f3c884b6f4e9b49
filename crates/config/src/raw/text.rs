//! Values that are written as strings: durations, label names, words of closed sets.

use std::collections::BTreeMap;

use model::DurationMs;

use crate::go;
use crate::scheme::NameValidation;
use crate::yaml::emit::sorted_map;
use crate::yaml::record::{Paths, no_paths};
use crate::yaml::scalar::Scalar;
use crate::yaml::{Decode, Decoder, Encode, Fail, NodeId, Out, Refusal};

/// A string type that checks itself while it is read (Go: with an `UnmarshalYAML`).
macro_rules! checked_string {
    ($(#[$meta:meta])* $vis:vis struct $name:ident as $go:literal, $check:expr $(, list $list:literal)?) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
        $vis struct $name(pub(crate) String);

        impl $crate::yaml::Decode for $name {
            fn type_name() -> String {
                $go.to_owned()
            }
            $(fn list_type_name() -> String {
                $list.to_owned()
            })?
            fn scalar(
                &mut self,
                d: &mut $crate::yaml::Decoder<'_>,
                id: $crate::yaml::NodeId,
                scalar: &$crate::yaml::scalar::Scalar,
            ) -> Result<bool, $crate::yaml::Fail> {
                self.0.scalar(d, id, scalar)
            }
            fn unmarshal(
                &mut self,
                d: &mut $crate::yaml::Decoder<'_>,
                id: $crate::yaml::NodeId,
            ) -> Result<bool, $crate::yaml::Fail> {
                let Some(text) = d.text(id)? else { return Ok(false) };
                let check: fn(&str) -> Result<(), String> = $check;
                check(&text).map_err(|e| d.refused(id, $crate::yaml::Refusal::from(e)))?;
                self.0 = text;
                Ok(true)
            }
        }
        $crate::raw::text::printed_as_string!($name);
    };
}

/// A string type of its own name and nothing else.
macro_rules! named_string {
    ($(#[$meta:meta])* $vis:vis struct $name:ident as $go:literal) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
        $vis struct $name(pub(crate) String);

        impl $crate::yaml::Decode for $name {
            fn type_name() -> String {
                $go.to_owned()
            }
            fn scalar(
                &mut self,
                d: &mut $crate::yaml::Decoder<'_>,
                id: $crate::yaml::NodeId,
                scalar: &$crate::yaml::scalar::Scalar,
            ) -> Result<bool, $crate::yaml::Fail> {
                self.0.scalar(d, id, scalar)
            }
        }
        $crate::raw::text::printed_as_string!($name);
    };
}

macro_rules! printed_as_string {
    ($name:ident) => {
        impl $crate::yaml::Encode for $name {
            fn is_zero(&self) -> bool {
                self.0.is_empty()
            }
            fn encode(&self) -> $crate::yaml::Out {
                $crate::yaml::Out::Str(self.0.clone())
            }
        }
        impl $crate::yaml::record::Paths for $name {}
    };
}

pub(crate) use {checked_string, named_string, printed_as_string};

impl Decode for DurationMs {
    fn type_name() -> String {
        "model.Duration".to_owned()
    }
    fn scalar(&mut self, d: &mut Decoder<'_>, id: NodeId, scalar: &Scalar) -> Result<bool, Fail> {
        let mut text = String::new();
        text.scalar(d, id, scalar)?;
        *self = DurationMs::parse(&text).map_err(|_| d.refused(id, Refusal::from(why_no_duration(&text))))?;
        Ok(true)
    }
    fn unmarshal(&mut self, d: &mut Decoder<'_>, id: NodeId) -> Result<bool, Fail> {
        let Some(text) = d.text(id)? else { return Ok(false) };
        *self = DurationMs::parse(&text).map_err(|_| d.refused(id, Refusal::from(why_no_duration(&text))))?;
        Ok(true)
    }
}

/// What Prometheus says of a text that is no duration. Source: `model.ParseDuration` of prometheus/common.
fn why_no_duration(text: &str) -> String {
    if text.is_empty() {
        return "empty duration string".to_owned();
    }
    let invalid = format!("not a valid duration string: {}", go::quote(text));
    let mut units = ["y", "w", "d", "h", "m", "s", "ms"].iter();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, behind) = rest.split_at(digits);
        if number.parse::<u64>().is_err() {
            return invalid;
        }
        let unit = behind.find(|c: char| c.is_ascii_digit()).map_or(behind, |end| &behind[..end]);
        rest = &behind[unit.len()..];
        if unit.is_empty() {
            return invalid;
        }
        if !["y", "w", "d", "h", "m", "s", "ms"].contains(&unit) {
            return format!("unknown unit {} in duration {}", go::quote(unit), go::quote(text));
        }
        if !units.any(|u| *u == unit) {
            return invalid;
        }
    }
    "duration out of range".to_owned()
}

impl Encode for DurationMs {
    fn is_zero(&self) -> bool {
        self.0 == 0
    }
    fn encode(&self) -> Out {
        Out::Str(self.to_string())
    }
}

no_paths!(DurationMs, NameValidation);

impl Decode for NameValidation {
    fn type_name() -> String {
        "model.ValidationScheme".to_owned()
    }
    fn unmarshal(&mut self, d: &mut Decoder<'_>, id: NodeId) -> Result<bool, Fail> {
        let Some(text) = d.text(id)? else { return Ok(false) };
        *self = match text.as_str() {
            "" => NameValidation::Unset,
            "legacy" => NameValidation::Legacy,
            "utf8" => NameValidation::Utf8,
            other => {
                let text = format!("unrecognized ValidationScheme: {}", go::quote(other));
                return Err(d.refused(id, Refusal::from(text)));
            }
        };
        Ok(true)
    }
}

impl Encode for NameValidation {
    fn is_zero(&self) -> bool {
        *self == NameValidation::Unset
    }
    fn encode(&self) -> Out {
        Out::Str(self.as_str().to_owned())
    }
}

fn label_name(text: &str) -> Result<(), String> {
    // Any UTF-8 will do; bytes that are none have become U+FFFD, which Prometheus refuses as what they were.
    if text.is_empty() || text.contains('\u{fffd}') {
        return Err(format!("{} is not a valid label name", go::quote(text)));
    }
    Ok(())
}

checked_string! {
    /// The name of a label.
    pub(crate) struct LabelName as "model.LabelName", label_name, list "model.LabelNames"
}

impl AsRef<[u8]> for LabelName {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

named_string! {
    /// The value of a label.
    pub(crate) struct LabelValue as "model.LabelValue"
}

/// Labels by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LabelSet(pub(crate) BTreeMap<LabelName, LabelValue>);

impl Decode for LabelSet {
    fn type_name() -> String {
        "model.LabelSet".to_owned()
    }
    fn mapping(&mut self, d: &mut Decoder<'_>, id: NodeId, pairs: &[(NodeId, NodeId)]) -> Result<bool, Fail> {
        self.0.mapping(d, id, pairs)
    }
}

impl Encode for LabelSet {
    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }
    fn encode(&self) -> Out {
        sorted_map(self.0.iter().map(|(name, value)| (name.0.clone(), value.encode())).collect())
    }
}

impl Paths for LabelSet {}

/// A list of which it counts whether it was written at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct MaybeList<T>(pub(crate) Option<Vec<T>>);

impl<T: Decode> Decode for MaybeList<T> {
    fn type_name() -> String {
        Vec::<T>::type_name()
    }
    fn scalar(&mut self, d: &mut Decoder<'_>, id: NodeId, scalar: &Scalar) -> Result<bool, Fail> {
        Vec::<T>::default().scalar(d, id, scalar)
    }
    fn sequence(&mut self, d: &mut Decoder<'_>, id: NodeId, items: &[NodeId]) -> Result<bool, Fail> {
        self.0.get_or_insert_default().sequence(d, id, items)
    }
}

impl<T: Encode> Encode for MaybeList<T> {
    fn is_zero(&self) -> bool {
        self.0.as_ref().is_none_or(Vec::is_empty)
    }
    fn encode(&self) -> Out {
        self.0.as_ref().map_or_else(|| Out::Seq(Vec::new()), Encode::encode)
    }
}

impl<T> Paths for MaybeList<T> {}
