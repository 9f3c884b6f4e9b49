//! How scalars, lists, maps and pointers are filled.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::{Decode, Decoder, Fail};
use crate::go;
use crate::yaml::scalar::Scalar;
use crate::yaml::tree::NodeId;

impl Decode for String {
    fn type_name() -> String {
        "string".to_owned()
    }
    /// Any scalar is a string, by its source text. Bytes of `!!binary` that are no UTF-8 become U+FFFD: texts are UTF-8
    /// here, and where Prometheus minds, the place reads [`Bytes`] instead.
    fn scalar(&mut self, d: &mut Decoder<'_>, id: NodeId, scalar: &Scalar) -> Result<bool, Fail> {
        *self = match scalar {
            Scalar::Binary(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Scalar::Null
            | Scalar::Bool(_)
            | Scalar::Int(_)
            | Scalar::Uint(_)
            | Scalar::Float(_)
            | Scalar::Timestamp
            | Scalar::Str
            | Scalar::Custom(_) => d.source_text(id).to_owned(),
        };
        Ok(true)
    }
}

/// A string that need not be UTF-8 (`!!binary`).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Decode for Bytes {
    fn type_name() -> String {
        "string".to_owned()
    }
    fn scalar(&mut self, d: &mut Decoder<'_>, id: NodeId, scalar: &Scalar) -> Result<bool, Fail> {
        self.0 = match scalar {
            Scalar::Binary(bytes) => bytes.clone(),
            _ => d.source_text(id).as_bytes().to_vec(),
        };
        Ok(true)
    }
}

impl Decode for bool {
    fn type_name() -> String {
        "bool".to_owned()
    }
    fn scalar(&mut self, d: &mut Decoder<'_>, id: NodeId, scalar: &Scalar) -> Result<bool, Fail> {
        match scalar {
            Scalar::Bool(b) => *self = *b,
            other => {
                d.mismatch(id, other.tag(), "bool");
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Go's conversions of a float to an integer cut the fraction.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "bounded just before")]
fn float_as_i128(f: f64) -> Option<i128> {
    (f.abs() <= u64::MAX as f64).then_some(f as i128)
}

fn whole(scalar: &Scalar) -> Option<i128> {
    match scalar {
        Scalar::Int(i) => Some(i128::from(*i)),
        Scalar::Uint(u) => Some(i128::from(*u)),
        Scalar::Float(f) => float_as_i128(*f),
        _ => None,
    }
}

macro_rules! decode_integer {
    ($($rust:ty => $go:literal),*) => {$(
        impl Decode for $rust {
            fn type_name() -> String {
                $go.to_owned()
            }
            fn scalar(&mut self, d: &mut Decoder<'_>, id: NodeId, scalar: &Scalar) -> Result<bool, Fail> {
                match whole(scalar).and_then(|w| <$rust>::try_from(w).ok()) {
                    Some(value) => *self = value,
                    None => {
                        d.mismatch(id, scalar.tag(), $go);
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    )*};
}
decode_integer!(i64 => "int", u64 => "uint");

/// Integers of other Go types; only messages tell them apart.
macro_rules! renamed_integer {
    ($($(#[$meta:meta])* $name:ident($rust:ty) => $go:literal),*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(crate) struct $name(pub(crate) $rust);

        impl Decode for $name {
            fn type_name() -> String {
                $go.to_owned()
            }
            fn scalar(&mut self, d: &mut Decoder<'_>, id: NodeId, scalar: &Scalar) -> Result<bool, Fail> {
                match whole(scalar).and_then(|w| <$rust>::try_from(w).ok()) {
                    Some(value) => self.0 = value,
                    None => {
                        d.mismatch(id, scalar.tag(), $go);
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }
    )*};
}
renamed_integer!(
    /// Go's `int64`; `i64` is `int`.
    Int64(i64) => "int64",
    /// Go's `uint64`; `u64` is `uint`.
    Uint64(u64) => "uint64"
);

impl Decode for f64 {
    fn type_name() -> String {
        "float64".to_owned()
    }
    #[expect(clippy::cast_precision_loss, reason = "what Go's conversion does")]
    fn scalar(&mut self, d: &mut Decoder<'_>, id: NodeId, scalar: &Scalar) -> Result<bool, Fail> {
        *self = match scalar {
            Scalar::Int(i) => *i as f64,
            Scalar::Uint(u) => *u as f64,
            Scalar::Float(f) => *f,
            other => {
                d.mismatch(id, other.tag(), "float64");
                return Ok(false);
            }
        };
        Ok(true)
    }
}

/// Go's pointer: absent or null is `None`.
impl<T: Decode> Decode for Option<T> {
    fn type_name() -> String {
        format!("*{}", T::type_name())
    }
    fn scalar(&mut self, d: &mut Decoder<'_>, id: NodeId, scalar: &Scalar) -> Result<bool, Fail> {
        self.get_or_insert_default().scalar(d, id, scalar)
    }
    fn sequence(&mut self, d: &mut Decoder<'_>, id: NodeId, items: &[NodeId]) -> Result<bool, Fail> {
        self.get_or_insert_default().sequence(d, id, items)
    }
    fn mapping(&mut self, d: &mut Decoder<'_>, id: NodeId, pairs: &[(NodeId, NodeId)]) -> Result<bool, Fail> {
        self.get_or_insert_default().mapping(d, id, pairs)
    }
    fn unmarshal(&mut self, d: &mut Decoder<'_>, id: NodeId) -> Result<bool, Fail> {
        self.get_or_insert_default().unmarshal(d, id)
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn type_name() -> String {
        T::list_type_name()
    }
    fn sequence(&mut self, d: &mut Decoder<'_>, _id: NodeId, items: &[NodeId]) -> Result<bool, Fail> {
        self.clear();
        for item in items {
            let mut element = T::default();
            if d.fill(*item, &mut element)? {
                self.push(element);
            }
        }
        Ok(true)
    }
}

impl<K: Decode + Ord + AsRef<[u8]>, T: Decode> Decode for BTreeMap<K, T> {
    fn type_name() -> String {
        format!("map[{}]{}", K::type_name(), T::type_name())
    }
    fn mapping(&mut self, d: &mut Decoder<'_>, _id: NodeId, pairs: &[(NodeId, NodeId)]) -> Result<bool, Fail> {
        for (key, value) in pairs {
            if d.is_merge(*key) {
                d.merge(*value, self)?;
                continue;
            }
            let mut name = K::default();
            let mut element = T::default();
            if !d.fill(*key, &mut name)? || !d.fill(*value, &mut element)? {
                continue;
            }
            match self.entry(name) {
                Entry::Occupied(entry) => {
                    let name = go::quote_bytes(entry.key().as_ref());
                    d.note(*value, format!("key {name} already set in map"));
                }
                Entry::Vacant(entry) => {
                    entry.insert(element);
                }
            }
        }
        Ok(true)
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
