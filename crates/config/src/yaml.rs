//! YAML as Go's `yaml.v2` reads and writes it, which Prometheus' configuration is defined by: a tree with positions
//! ([`tree`]), what a plain scalar means ([`scalar`]), filling Go-shaped records in place over their defaults
//! ([`decode`], [`record`]), and printing them back byte for byte ([`emit`]).
//!
//! The grammar itself is `granit-parser`'s, the parser of `serde-saphyr`; only [`tree`] knows that crate. It reads YAML 1.2,
//! and [`tree`] refuses what that has more than libyaml's 1.1.

pub(crate) mod decode;
pub(crate) mod emit;
mod key_order;
pub(crate) mod record;
pub(crate) mod scalar;
pub(crate) mod tree;

pub(crate) use decode::{Decode, Decoder, Fail, Refusal, refuse, refuse_at};
pub(crate) use emit::{Encode, Out};
pub(crate) use record::record;
pub(crate) use tree::{Document, NodeId};
