//! Fills values in place from a [`Document`], as Go's `yaml.v2` does with `UnmarshalStrict`: what is not mentioned keeps
//! what it had (its default), null makes a zero value, a mismatch is noted and reading goes on, and a value that refuses
//! itself stops everything.

use std::collections::HashSet;

mod values;

pub(crate) use values::{Bytes, Int64, Uint64};

use super::scalar::Scalar;
use super::tree::{Document, Kind, NodeId};
use crate::error::{Position, TypeError};

/// What stops decoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fail {
    pub(crate) at: Position,
    pub(crate) text: String,
}

/// Why a record refuses its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    place: Place,
    text: String,
}

/// Where the cause of a refusal stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Record,
    /// At this key of the record's mapping.
    Key(&'static str),
    At(Position),
}

impl Refusal {
    /// A refusal of something inside the record, which stands at `at`.
    pub(crate) fn placed(at: Position, text: impl Into<String>) -> Refusal {
        Refusal { place: Place::At(at), text: text.into() }
    }

    /// Where the cause stands, if that is known without the document.
    pub(crate) fn at(&self) -> Option<Position> {
        match self.place {
            Place::At(at) => Some(at),
            Place::Record | Place::Key(_) => None,
        }
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }

    /// The same, blamed on what stands at `at`.
    pub(crate) fn moved_to(self, at: Position) -> Refusal {
        Refusal { place: Place::At(at), text: self.text }
    }
}

/// A refusal of the whole mapping.
pub(crate) fn refuse<T>(text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { place: Place::Record, text: text.into() })
}

/// A refusal because of one key.
pub(crate) fn refuse_at<T>(key: &'static str, text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { place: Place::Key(key), text: text.into() })
}

impl From<String> for Refusal {
    fn from(text: String) -> Refusal {
        Refusal { place: Place::Record, text }
    }
}

/// Something that YAML can fill. `Default` is Go's zero value, not the value that an absent key has.
pub(crate) trait Decode: Default {
    /// Go's name of the type, for messages.
    fn type_name() -> String;

    /// Go's name of a list of them.
    fn list_type_name() -> String {
        format!("[]{}", Self::type_name())
    }

    /// Fills from a scalar that is not null.
    fn scalar(&mut self, d: &mut Decoder<'_>, id: NodeId, scalar: &Scalar) -> Result<bool, Fail> {
        d.mismatch(id, scalar.tag(), &Self::type_name());
        Ok(false)
    }

    fn sequence(&mut self, d: &mut Decoder<'_>, id: NodeId, _items: &[NodeId]) -> Result<bool, Fail> {
        d.mismatch(id, "!!seq", &Self::type_name());
        Ok(false)
    }

    fn mapping(&mut self, d: &mut Decoder<'_>, id: NodeId, _pairs: &[(NodeId, NodeId)]) -> Result<bool, Fail> {
        d.mismatch(id, "!!map", &Self::type_name());
        Ok(false)
    }

    /// The part of Go's `UnmarshalYAML`: where a type has one, it overrides this. Not called for null.
    fn unmarshal(&mut self, d: &mut Decoder<'_>, id: NodeId) -> Result<bool, Fail> {
        d.fill_plain(id, self)
    }
}

/// The state of one reading.
pub(crate) struct Decoder<'d> {
    doc: &'d Document,
    errors: Vec<TypeError>,
    /// The aliases that are being expanded.
    expanding: HashSet<NodeId>,
    steps: u64,
    alias_steps: u64,
}

impl<'d> Decoder<'d> {
    pub(crate) fn new(doc: &'d Document) -> Decoder<'d> {
        Decoder { doc, errors: Vec::new(), expanding: HashSet::new(), steps: 0, alias_steps: 0 }
    }

    /// The mismatches so far.
    pub(crate) fn into_errors(self) -> Vec<TypeError> {
        self.errors
    }

    pub(crate) fn doc(&self) -> &'d Document {
        self.doc
    }

    /// Fills `out` from the node; false where it was noted that the node does not fit.
    pub(crate) fn fill<T: Decode>(&mut self, id: NodeId, out: &mut T) -> Result<bool, Fail> {
        self.step(id)?;
        if let Kind::Alias(target) = self.doc.node(id).kind {
            return self.through_alias(id, |d| d.fill(target, out));
        }
        if self.is_null(id) { self.fill_plain(id, out) } else { out.unmarshal(self, id) }
    }

    /// Like [`Decoder::fill`], but the type's own `unmarshal` is left out.
    pub(crate) fn fill_plain<T: Decode>(&mut self, id: NodeId, out: &mut T) -> Result<bool, Fail> {
        let node = self.doc.node(id);
        match &node.kind {
            Kind::Alias(target) => self.through_alias(id, |d| d.fill_plain(*target, out)),
            Kind::Sequence(items) => out.sequence(self, id, items),
            Kind::Mapping(pairs) => out.mapping(self, id, pairs),
            Kind::Scalar { value, plain } => {
                let scalar = Scalar::resolve(node.tag.as_deref(), value, *plain).map_err(|e| self.yaml_fail(id, &e))?;
                if scalar == Scalar::Null {
                    *out = T::default();
                    return Ok(true);
                }
                out.scalar(self, id, &scalar)
            }
        }
    }

    /// Runs a record's `UnmarshalYAML`: fills it, and where that noted nothing, lets it check itself.
    pub(crate) fn fill_then_check<T: Decode>(
        &mut self,
        id: NodeId,
        out: &mut T,
        check: impl FnOnce(&mut T) -> Result<(), Refusal>,
    ) -> Result<bool, Fail> {
        let before = self.errors.len();
        self.fill_plain(id, out)?;
        if self.errors.len() > before {
            return Ok(false);
        }
        check(out).map_err(|refusal| self.refused(id, refusal))?;
        Ok(true)
    }

    /// Reads a string as Go's `unmarshal(&s)` does inside an `UnmarshalYAML`; `None` where the node is none.
    pub(crate) fn text(&mut self, id: NodeId) -> Result<Option<String>, Fail> {
        let mut text = String::new();
        Ok(self.fill(id, &mut text)?.then_some(text))
    }

    /// The text of a scalar node as it was written.
    pub(crate) fn source_text(&self, id: NodeId) -> &'d str {
        match &self.doc.node(self.doc.resolve(id)).kind {
            Kind::Scalar { value, .. } => value,
            Kind::Sequence(_) | Kind::Mapping(_) | Kind::Alias(_) => "",
        }
    }

    pub(crate) fn refused(&self, id: NodeId, refusal: Refusal) -> Fail {
        let whole = self.doc.node(id).at;
        let at = match refusal.place {
            Place::Record => whole,
            Place::Key(key) => self.doc.key_position(id, key).unwrap_or(whole),
            Place::At(at) => at,
        };
        Fail { at, text: refusal.text }
    }

    fn yaml_fail(&self, id: NodeId, text: &str) -> Fail {
        Fail { at: self.doc.node(id).at, text: format!("yaml: {text}") }
    }

    pub(crate) fn mismatch(&mut self, id: NodeId, tag: &str, wanted: &str) {
        let node = self.doc.node(id);
        let mut shown = String::new();
        let tag = node.tag.as_deref().unwrap_or(tag);
        if tag != "!!seq" && tag != "!!map" {
            shown = match self.source_text(id) {
                // Go cuts bytes; a cut inside a character would print a replacement character.
                text if text.len() > 10 => format!(" `{}...`", String::from_utf8_lossy(&text.as_bytes()[..7])),
                text => format!(" `{text}`"),
            };
        }
        self.note(id, format!("cannot unmarshal {tag}{shown} into {wanted}"));
    }

    pub(crate) fn note(&mut self, id: NodeId, text: String) {
        self.errors.push(TypeError { at: self.doc.node(id).at, text });
    }

    /// Whether the node is null as far as `UnmarshalYAML` is concerned, which is then not called. The quoted words count
    /// too; they reach [`Decode::scalar`] as strings.
    fn is_null(&self, id: NodeId) -> bool {
        let node = self.doc.node(id);
        match (&node.tag, &node.kind) {
            (Some(tag), _) => tag == "!!null",
            (None, Kind::Scalar { value, plain }) => value == "null" || value == "~" || (value.is_empty() && *plain),
            (None, Kind::Sequence(_) | Kind::Mapping(_) | Kind::Alias(_)) => false,
        }
    }

    /// Bounds what aliases can make of a small text, by the same ratio as `yaml.v2`.
    fn step(&mut self, id: NodeId) -> Result<(), Fail> {
        const RATIO_FALLS_FROM: f64 = 400_000.0;
        const RATIO_FALLS_TO: f64 = 4_000_000.0;
        self.steps += 1;
        if !self.expanding.is_empty() {
            self.alias_steps += 1;
        }
        if self.alias_steps <= 100 || self.steps <= 1000 {
            return Ok(());
        }
        #[expect(clippy::cast_precision_loss, reason = "the counts are far below 2^53")]
        let (steps, alias_steps) = (self.steps as f64, self.alias_steps as f64);
        let fallen = ((steps - RATIO_FALLS_FROM) / (RATIO_FALLS_TO - RATIO_FALLS_FROM)).clamp(0.0, 1.0);
        if alias_steps / steps > 0.99 - 0.89 * fallen {
            return Err(self.yaml_fail(id, "document contains excessive aliasing"));
        }
        Ok(())
    }

    fn through_alias(
        &mut self,
        id: NodeId,
        then: impl FnOnce(&mut Decoder<'d>) -> Result<bool, Fail>,
    ) -> Result<bool, Fail> {
        if !self.expanding.insert(id) {
            return Err(self.yaml_fail(id, "anchor value contains itself"));
        }
        let good = then(self)?;
        self.expanding.remove(&id);
        Ok(good)
    }

    /// Whether this key is `<<`, which merges other mappings.
    pub(super) fn is_merge(&self, id: NodeId) -> bool {
        let node = self.doc.node(id);
        matches!(&node.kind, Kind::Scalar { value, plain } if value == "<<" && (*plain || node.tag.as_deref() == Some("!!merge")))
    }

    /// Fills `out` from the mappings that a `<<` names; of several, the first wins.
    pub(crate) fn merge<T: Decode>(&mut self, id: NodeId, out: &mut T) -> Result<(), Fail> {
        let is_mapping = |d: &Decoder<'_>, id| matches!(d.doc.node(d.doc.resolve(id)).kind, Kind::Mapping(_));
        let sources: Vec<NodeId> = match &self.doc.node(id).kind {
            Kind::Sequence(items) => items.iter().rev().copied().collect(),
            Kind::Mapping(_) | Kind::Alias(_) | Kind::Scalar { .. } => vec![id],
        };
        for source in sources {
            if !is_mapping(self, source) {
                return Err(self.yaml_fail(id, "map merge requires map or sequence of maps as the value"));
            }
            self.step(source)?;
            self.fill_plain(source, out)?;
        }
        Ok(())
    }

    /// Walks a mapping's keys: merges go to `merge`, names and values to `each`.
    pub(crate) fn entries<T: Decode>(
        &mut self,
        pairs: &[(NodeId, NodeId)],
        out: &mut T,
        mut each: impl FnMut(&mut Decoder<'d>, &mut T, String, NodeId, NodeId) -> Result<(), Fail>,
    ) -> Result<(), Fail> {
        for (key, value) in pairs {
            if self.is_merge(*key) {
                self.merge(*value, out)?;
                continue;
            }
            let mut name = String::new();
            if self.fill(*key, &mut name)? {
                each(self, out, name, *key, *value)?;
            }
        }
        Ok(())
    }
}
