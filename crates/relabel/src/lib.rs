//! Relabelling, as Prometheus' `model/relabel` does it: rules that rewrite, keep or drop label sets. Pure functions; reading YAML
//! is the `config` crate's part, which gives [`Fields`] and gets a [`Rule`].

pub mod case;
#[doc(hidden)]
pub mod fuzzing;
mod process;
mod quote;
mod rule;

pub use process::{Verdict, process, relabel};
pub use rule::{Action, Draft, Fields, InvalidRule, NameValidationScheme, ReadError, Rule};
