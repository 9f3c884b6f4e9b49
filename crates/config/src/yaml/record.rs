//! Records: structs that are read and printed like Go structs with `yaml` tags.

/// Declares a record.
///
/// ```text
/// record! {
///     pub(crate) struct Name as "config.Name" in "config.plain" [reset = default_fn, check = check_fn] {
///         field: Type = "key" [omit];
///         nested: Other = inline [];
///     }
/// }
/// ```
///
/// The string behind `as` is Go's name of the type in messages, the one behind `in` its name in messages on what is inside
/// (types with an `UnmarshalYAML` are read as another type). `reset` runs before the values are read and stands for the
/// defaults, `check` after, where they all fitted; a record without both is one without `UnmarshalYAML` in Go. Options of
/// fields: `omit` (left out of the print where zero), `flow` (a sequence in one line), `path` (a file name that is relative
/// to the configuration's directory), `no_dir` (Go leaves the file names inside alone). The keys of an `inline` field count
/// as the record's own.
macro_rules! record {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident as $go:literal in $plain:literal [$($hook:ident = $hook_fn:expr),* $(,)?] {
            $($(#[$field_meta:meta])* $field:ident: $type:ty = $key:tt [$($option:ident),*];)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq)]
        $vis struct $name {
            $($(#[$field_meta])* pub(crate) $field: $type,)*
            /// Where it stands in its file.
            pub(crate) at: $crate::error::Position,
        }

        impl $crate::yaml::Decode for $name {
            fn type_name() -> String {
                $go.to_owned()
            }
            fn mapping(
                &mut self,
                d: &mut $crate::yaml::Decoder<'_>,
                id: $crate::yaml::NodeId,
                pairs: &[($crate::yaml::NodeId, $crate::yaml::NodeId)],
            ) -> Result<bool, $crate::yaml::Fail> {
                use $crate::yaml::record::Fields;
                let mut done = std::collections::HashSet::new();
                d.entries(pairs, self, |d, this, name, key, value| {
                    if !Self::knows(&name) {
                        d.note(key, format!("field {name} not found in type {}", $plain));
                        return Ok(());
                    }
                    if !done.insert(name.clone()) {
                        d.note(key, format!("field {name} already set in type {}", $plain));
                        return Ok(());
                    }
                    this.fill_field(d, &name, value)
                })?;
                // Last: a merged mapping has set its own place.
                self.at = d.doc().node(id).at;
                Ok(true)
            }
            fn scalar(
                &mut self,
                d: &mut $crate::yaml::Decoder<'_>,
                id: $crate::yaml::NodeId,
                scalar: &$crate::yaml::scalar::Scalar,
            ) -> Result<bool, $crate::yaml::Fail> {
                d.mismatch(id, scalar.tag(), $plain);
                Ok(false)
            }
            fn sequence(
                &mut self,
                d: &mut $crate::yaml::Decoder<'_>,
                id: $crate::yaml::NodeId,
                _items: &[$crate::yaml::NodeId],
            ) -> Result<bool, $crate::yaml::Fail> {
                d.mismatch(id, "!!seq", $plain);
                Ok(false)
            }
            $crate::yaml::record::unmarshal!($($hook = $hook_fn),*);
        }

        impl $crate::yaml::record::Fields for $name {
            #[allow(unused_variables, reason = "a record may have no fields")]
            fn knows(name: &str) -> bool {
                $($crate::yaml::record::knows!(name, $type, $key) ||)* false
            }
            #[allow(unused_variables, reason = "a record may have no fields")]
            fn fill_field(
                &mut self,
                d: &mut $crate::yaml::Decoder<'_>,
                name: &str,
                value: $crate::yaml::NodeId,
            ) -> Result<(), $crate::yaml::Fail> {
                $($crate::yaml::record::fill!(d, name, value, self.$field, $type, $key);)*
                Ok(())
            }
            #[allow(unused_variables, reason = "a record may have no fields")]
            fn print_into(&self, out: &mut Vec<(String, $crate::yaml::Out)>) {
                $($crate::yaml::record::print!(out, self.$field, $key, [$($option),*]);)*
            }
            fn all_zero(&self) -> bool {
                $($crate::yaml::Encode::is_zero(&self.$field) &&)* true
            }
        }

        impl $crate::yaml::Encode for $name {
            fn is_zero(&self) -> bool {
                $crate::yaml::record::Fields::all_zero(self)
            }
            fn encode(&self) -> $crate::yaml::Out {
                let mut out = Vec::new();
                $crate::yaml::record::Fields::print_into(self, &mut out);
                $crate::yaml::Out::Map(out)
            }
        }

        impl $crate::yaml::record::Paths for $name {
            #[allow(unused_variables, reason = "a record may have no fields")]
            fn set_directory(&mut self, dir: &str) {
                $($crate::yaml::record::join_path!(dir, self.$field, [$($option),*]);)*
            }
        }
    };
}

/// One field's part of `Fields::knows`.
macro_rules! knows {
    ($name:ident, $type:ty, inline) => {
        <$type as $crate::yaml::record::Fields>::knows($name)
    };
    ($name:ident, $type:ty, $key:literal) => {
        $name == $key
    };
}

/// One field's part of `Fields::fill_field`.
macro_rules! fill {
    ($d:ident, $name:ident, $value:ident, $field:expr, $type:ty, inline) => {
        if <$type as $crate::yaml::record::Fields>::knows($name) {
            return $crate::yaml::record::Fields::fill_field(&mut $field, $d, $name, $value);
        }
    };
    ($d:ident, $name:ident, $value:ident, $field:expr, $type:ty, $key:literal) => {
        if $name == $key {
            $d.fill($value, &mut $field)?;
            return Ok(());
        }
    };
}

/// One field's part of `Fields::print_into`.
macro_rules! print {
    ($out:ident, $field:expr, inline, [$($option:ident),*]) => {
        $crate::yaml::record::Fields::print_into(&$field, $out);
    };
    ($out:ident, $field:expr, $key:literal, [$($option:ident),*]) => {
        let omit = $crate::yaml::record::has!(omit, [$($option),*]);
        if !omit || !$crate::yaml::Encode::is_zero(&$field) {
            let printed = $crate::yaml::Encode::encode(&$field);
            let flow = $crate::yaml::record::has!(flow, [$($option),*]);
            let printed = if flow { $crate::yaml::record::in_flow(printed) } else { printed };
            $out.push(($key.to_owned(), printed));
        }
    };
}

/// One field's part of `Paths::set_directory`.
macro_rules! join_path {
    ($dir:ident, $field:expr, [$($option:ident),*]) => {
        if $crate::yaml::record::has!(path, [$($option),*]) {
            $crate::yaml::record::Paths::join_directory(&mut $field, $dir);
        } else if !$crate::yaml::record::has!(no_dir, [$($option),*]) {
            $crate::yaml::record::Paths::set_directory(&mut $field, $dir);
        }
    };
}

/// Whether an option is in the list.
macro_rules! has {
    ($wanted:ident, []) => { false };
    (omit, [omit $(, $rest:ident)*]) => { true };
    (flow, [flow $(, $rest:ident)*]) => { true };
    (path, [path $(, $rest:ident)*]) => { true };
    (no_dir, [no_dir $(, $rest:ident)*]) => { true };
    ($wanted:ident, [$other:ident $(, $rest:ident)*]) => { $crate::yaml::record::has!($wanted, [$($rest),*]) };
}

/// The record's `UnmarshalYAML`, if it has one.
macro_rules! unmarshal {
    () => {};
    (reset = $reset:expr) => {
        $crate::yaml::record::unmarshal!(reset = $reset, check = |_| Ok(()));
    };
    (check = $check:expr) => {
        fn unmarshal(
            &mut self,
            d: &mut $crate::yaml::Decoder<'_>,
            id: $crate::yaml::NodeId,
        ) -> Result<bool, $crate::yaml::Fail> {
            let check: fn(&mut Self) -> Result<(), $crate::yaml::Refusal> = $check;
            d.fill_then_check(id, self, check)
        }
    };
    (reset = $reset:expr, check = $check:expr) => {
        fn unmarshal(
            &mut self,
            d: &mut $crate::yaml::Decoder<'_>,
            id: $crate::yaml::NodeId,
        ) -> Result<bool, $crate::yaml::Fail> {
            let reset: fn() -> Self = $reset;
            let check: fn(&mut Self) -> Result<(), $crate::yaml::Refusal> = $check;
            *self = reset();
            d.fill_then_check(id, self, check)
        }
    };
}

pub(crate) use {fill, has, join_path, knows, print, record, unmarshal};

use std::collections::BTreeMap;

use super::decode::{Int64, Uint64};
use super::{Decoder, Fail, NodeId, Out};
use crate::go;

/// What a record's own code needs of it, and of the records inlined in it.
pub(crate) trait Fields {
    fn knows(name: &str) -> bool;
    fn fill_field(&mut self, d: &mut Decoder<'_>, name: &str, value: NodeId) -> Result<(), Fail>;
    fn print_into(&self, out: &mut Vec<(String, Out)>);
    fn all_zero(&self) -> bool;
}

/// A sequence in one line.
pub(crate) fn in_flow(out: Out) -> Out {
    match out {
        Out::Seq(items) => Out::FlowSeq(items),
        other => other,
    }
}

/// File names that are relative to the file in which they are written.
pub(crate) trait Paths {
    /// Go's `SetDirectory`: joins the file names inside with the directory.
    fn set_directory(&mut self, _dir: &str) {}
    /// This is itself a file name, or several.
    fn join_directory(&mut self, _dir: &str) {}
}

impl Paths for String {
    fn join_directory(&mut self, dir: &str) {
        *self = go::join_dir(dir, self);
    }
}

impl<T: Paths> Paths for Vec<T> {
    fn set_directory(&mut self, dir: &str) {
        self.iter_mut().for_each(|item| item.set_directory(dir));
    }
    fn join_directory(&mut self, dir: &str) {
        self.iter_mut().for_each(|item| item.join_directory(dir));
    }
}

impl<T: Paths> Paths for Option<T> {
    fn set_directory(&mut self, dir: &str) {
        self.iter_mut().for_each(|item| item.set_directory(dir));
    }
    fn join_directory(&mut self, dir: &str) {
        self.iter_mut().for_each(|item| item.join_directory(dir));
    }
}

impl<T: Paths> Paths for BTreeMap<String, T> {
    fn set_directory(&mut self, dir: &str) {
        self.values_mut().for_each(|item| item.set_directory(dir));
    }
}

macro_rules! no_paths {
    ($($type:ty),*) => {$(impl $crate::yaml::record::Paths for $type {})*};
}
no_paths!(bool, i64, u64, f64, Int64, Uint64);
pub(crate) use no_paths;
