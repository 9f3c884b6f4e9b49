//! The first document of a YAML text as a tree in one arena. Aliases stay aliases: expanding them is the decoder's
//! business, which bounds it.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Span, StructureStyle, Tag};

use crate::error::Position;

/// Deepest nesting that is read; libyaml stops at 10,000, no configuration comes near 100.
const DEPTH_MAX: usize = 1000;

/// What the tag `!!name` stands for.
const TAG_PREFIX: &str = "tag:yaml.org,2002:";

/// A text that is no YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) at: Position,
    pub(crate) text: String,
}

/// Index of a node in its [`Document`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeId(usize);

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) at: Position,
    /// `!!name` for YAML's own tags, the whole tag for others; absent where none was written.
    pub(crate) tag: Option<String>,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    /// `plain`: written without quotes (or tagged `!`), so that it may mean a number, a boolean or null.
    Scalar {
        value: String,
        plain: bool,
    },
    Sequence(Vec<NodeId>),
    Mapping(Vec<(NodeId, NodeId)>),
    Alias(NodeId),
}

/// A parsed document.
#[derive(Debug)]
pub(crate) struct Document {
    nodes: Vec<Node>,
    root: Option<NodeId>,
}

/// A collection whose end has not come yet.
struct Open {
    id: NodeId,
    /// It is written in brackets.
    flow: bool,
    /// A mapping's key that waits for its value.
    key: Option<NodeId>,
}

impl Document {
    /// Reads the first document of `text`; later ones are ignored, as `yaml.v2` does.
    pub(crate) fn parse(text: &str) -> Result<Document, SyntaxError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut building = Building {
            lines: text.lines().collect(),
            nodes: Vec::new(),
            open: Vec::new(),
            anchors: HashMap::new(),
            root: None,
        };
        // Names of anchors are checked here: YAML 1.2 allows more of them.
        let options = granit_parser::options! { emit_anchor_events: true };
        for event in Parser::new_from_str_with_options(text, options) {
            let (event, span) = event.map_err(|e| SyntaxError {
                at: Position::new(e.marker().line(), e.marker().col()),
                text: e.kind().to_string(),
            })?;
            if matches!(event, Event::DocumentEnd | Event::StreamEnd) {
                break;
            }
            building.take(event, span)?;
        }
        Ok(Document { nodes: building.nodes, root: building.root })
    }

    /// The outermost node; absent where the text has none.
    pub(crate) fn root(&self) -> Option<NodeId> {
        self.root
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// Follows an alias to what it names.
    pub(crate) fn resolve(&self, id: NodeId) -> NodeId {
        match self.node(id).kind {
            // An alias never names an alias: anchors stand on scalars and collections only.
            Kind::Alias(target) => target,
            Kind::Scalar { .. } | Kind::Sequence(_) | Kind::Mapping(_) => id,
        }
    }

    /// Where the value of `key` stands in the mapping `id`, if it is there.
    pub(crate) fn key_position(&self, id: NodeId, key: &str) -> Option<Position> {
        let Kind::Mapping(pairs) = &self.node(self.resolve(id)).kind else { return None };
        pairs.iter().find_map(|(k, _)| match &self.node(*k).kind {
            Kind::Scalar { value, .. } if value == key => Some(self.node(*k).at),
            _ => None,
        })
    }
}

struct Building<'t> {
    lines: Vec<&'t str>,
    nodes: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, NodeId>,
    root: Option<NodeId>,
}

impl Building<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), SyntaxError> {
        // A node begins with its tag and its anchor, wherever its content stands.
        let start = span.tag_start.unwrap_or(span.start);
        let at = Position::new(start.line(), start.col());
        match event {
            Event::Scalar(value, style, anchor, tag) => {
                // The parser places a block scalar where its text begins, which may be lines below.
                let at = match (style, self.open.last().and_then(|open| open.key)) {
                    (ScalarStyle::Literal | ScalarStyle::Folded, Some(key)) => self.nodes[key.0].at,
                    _ => at,
                };
                self.check_tabs(at)?;
                let (tag, forced_plain) = tag_name(tag.as_deref());
                let plain = forced_plain || (tag.is_none() && style == ScalarStyle::Plain);
                let id = self.push(at, tag, Kind::Scalar { value: value.into_owned(), plain }, anchor);
                self.attach(id);
            }
            Event::SequenceStart(style, anchor, tag) => {
                self.start(at, tag.as_deref(), style, Kind::Sequence(Vec::new()), anchor)?;
            }
            Event::MappingStart(style, anchor, tag) => {
                self.start(at, tag.as_deref(), style, Kind::Mapping(Vec::new()), anchor)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.open.pop();
            }
            Event::Alias(anchor) => {
                let Some(target) = self.anchors.get(&anchor).copied() else {
                    return Err(SyntaxError { at, text: "unknown anchor referenced".to_owned() });
                };
                let id = self.push(at, None, Kind::Alias(target), 0);
                self.attach(id);
            }
            // Comes right behind the node that it stands in front of.
            Event::Anchor(anchor, name) => {
                if let Some(id) = self.anchors.get(&anchor) {
                    self.nodes[id.0].at = self.nodes[id.0].at.min(at);
                }
                if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')) {
                    let text = "did not find expected alphabetic or numeric character";
                    return Err(SyntaxError { at, text: text.to_owned() });
                }
            }
            Event::DocumentStart(_, Some(version)) if (version.major, version.minor) != (1, 1) => {
                return Err(SyntaxError { at, text: "found incompatible YAML document".to_owned() });
            }
            // The rest marks beginnings and ends.
            _ => {}
        }
        Ok(())
    }

    fn start(
        &mut self,
        at: Position,
        tag: Option<&Tag>,
        style: StructureStyle,
        kind: Kind,
        anchor: usize,
    ) -> Result<(), SyntaxError> {
        if self.open.len() >= DEPTH_MAX {
            return Err(SyntaxError { at, text: format!("exceeded max depth of {DEPTH_MAX}") });
        }
        self.check_tabs(at)?;
        let id = self.push(at, tag_name(tag).0, kind, anchor);
        self.attach(id);
        self.open.push(Open { id, flow: style == StructureStyle::Flow, key: None });
        Ok(())
    }

    /// Refuses tabs in the indentation of a node, which YAML 1.2 lets pass behind a `-`, and libyaml does not.
    fn check_tabs(&self, at: Position) -> Result<(), SyntaxError> {
        let Some(line) = self.lines.get(at.line - 1) else { return Ok(()) };
        let mut before = line.chars().take(at.column - 1);
        let in_flow = self.open.last().is_some_and(|open| open.flow);
        if in_flow || !before.clone().any(|c| c == '\t') || !before.all(|c| matches!(c, ' ' | '\t' | '-' | '?')) {
            return Ok(());
        }
        Err(SyntaxError { at, text: "found character that cannot start any token".to_owned() })
    }

    fn push(&mut self, at: Position, tag: Option<String>, kind: Kind, anchor: usize) -> NodeId {
        let id = NodeId(self.nodes.len());
        self.nodes.push(Node { at, tag, kind });
        // granit-parser numbers anchors from 1; 0 is none.
        if anchor != 0 {
            self.anchors.insert(anchor, id);
        }
        id
    }

    /// Makes `id` the next child of the innermost open collection.
    fn attach(&mut self, id: NodeId) {
        let Some(parent) = self.open.last_mut() else {
            self.root.get_or_insert(id);
            return;
        };
        match &mut self.nodes[parent.id.0].kind {
            Kind::Sequence(items) => items.push(id),
            Kind::Mapping(pairs) => match parent.key.take() {
                Some(key) => pairs.push((key, id)),
                None => parent.key = Some(id),
            },
            Kind::Scalar { .. } | Kind::Alias(_) => unreachable!("only collections are opened"),
        }
    }
}

/// The tag's short name, and whether it is the non-specific `!`, which makes any scalar count as plain.
fn tag_name(tag: Option<&Tag>) -> (Option<String>, bool) {
    match tag {
        None => (None, false),
        Some(tag) if tag.handle().is_empty() && tag.suffix() == "!" => (None, true),
        Some(tag) => {
            let whole = format!("{}{}", tag.handle(), tag.suffix());
            (Some(whole.strip_prefix(TAG_PREFIX).map_or(whole.clone(), |name| format!("!!{name}"))), false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_from_one() {
        let doc = Document::parse("# comment\na:\n  - b\n").unwrap();
        let root = doc.root().unwrap();
        let Kind::Mapping(pairs) = &doc.node(root).kind else { panic!("a mapping") };
        assert_eq!(doc.node(pairs[0].0).at, Position { line: 2, column: 1 });
        let Kind::Sequence(items) = &doc.node(pairs[0].1).kind else { panic!("a sequence") };
        assert_eq!(doc.node(items[0]).at, Position { line: 3, column: 5 });
    }

    #[test]
    fn broken_text_is_refused_with_its_place() {
        let e = Document::parse("a: [1\nb: 2\n").unwrap_err();
        assert!(e.at.line >= 1, "{e:?}");
        assert!(Document::parse("a: *nowhere\n").is_err());
        assert!(Document::parse(&"[".repeat(5000)).is_err());
    }

    #[test]
    fn only_the_first_document_counts() {
        let doc = Document::parse("a: 1\n---\nb: 2\n").unwrap();
        let Kind::Mapping(pairs) = &doc.node(doc.root().unwrap()).kind else { panic!("a mapping") };
        assert_eq!(pairs.len(), 1);
        assert!(Document::parse("").unwrap().root().is_none());
        assert!(Document::parse("# nothing\n").unwrap().root().is_none());
    }
}
