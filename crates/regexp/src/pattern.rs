//! From a pattern to what decides about texts: parse, anchor, look for shortcuts, and only then build an automaton.

use regex_automata::meta;
use regex_automata::nfa::thompson::WhichCaptures;
use regex_syntax::hir::{Hir, HirKind, Look};

use crate::LazyEngine;
use crate::decider::{Decider, Literals};
use crate::error::{Error, ErrorKind};
use crate::glob::Glob;
use crate::shape;
use crate::syntax::{self, Flags};
use crate::unicode::ClassNames;

/// Memory of one automaton's NFA: the other automata and the scratch memory of a search are a few times that at most.
const NFA_BYTES_MAX: usize = 10 << 20;

/// Scratch memory of a search with groups, which is states times groups in the worst case.
const GROUPS_BYTES_MAX: usize = 128 << 20;

/// Levels of an expression up to which it is compiled on the caller's stack.
const LEVELS_ON_STACK: usize = 200;

/// Stack for expressions of the 1,000 levels that the parser allows.
const DEEP_STACK_BYTES: usize = 16 << 20;

const DOT_ALL: Flags = Flags { fold: false, multi_line: false, dot_all: true, lazy: false };
const PLAIN: Flags = Flags { dot_all: false, ..DOT_ALL };

/// A pattern and all that was found out about it.
pub(crate) struct Compiled {
    pub(crate) pattern: String,
    pub(crate) decider: Decider,
    pub(crate) prefix: String,
    pub(crate) matches_empty: bool,
    /// Whether a match is always the whole text.
    pub(crate) anchored: bool,
    /// Whether every group is then the whole text too: `foo.*` has none, `(.*)` this one.
    pub(crate) groups_are_whole: bool,
    /// Names of the groups by index; see `syntax::Parsed`.
    pub(crate) names: Vec<Option<Box<str>>>,
    /// The whole expression, where groups may be asked for.
    hir: Option<Hir>,
    engine: LazyEngine,
}

/// What an expression is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Mostly testing: the automaton with groups is built when it is first asked for.
    Testing,
    /// Replacing: an expression that cannot have one is refused.
    Replacing,
}

impl Compiled {
    pub(crate) fn matcher(pattern: &str) -> Result<Compiled, Error> {
        let parsed = syntax::parse(pattern.as_bytes(), DOT_ALL, ClassNames::Exact)?;
        if parsed.too_deep_to_enclose {
            // Prometheus prints what it has parsed between the anchors and parses that.
            return Err(Error::new(ErrorKind::NestingDepth, format!("^(?s:{pattern})$").as_bytes()));
        }
        Compiled::anchored(pattern.to_owned(), pattern.as_bytes(), parsed.hir, parsed.names, Use::Testing)
    }

    pub(crate) fn matcher_of_bytes(pattern: &[u8]) -> Result<Compiled, Error> {
        if let Ok(pattern) = std::str::from_utf8(pattern) {
            return Compiled::matcher(pattern);
        }
        if pattern.iter().any(|b| br"\.+*?()[]{}^$".contains(b)) {
            syntax::parse(pattern, DOT_ALL, ClassNames::Exact)?;
        }
        // Alternatives that are not UTF-8 match no text of ours.
        let texts = pattern.split(|&b| b == b'|').filter_map(|text| std::str::from_utf8(text).ok());
        let hir = Hir::alternation(texts.map(|text| Hir::literal(text.as_bytes())).collect());
        let shown = String::from_utf8_lossy(pattern).into_owned();
        Compiled::anchored(shown, pattern, hir, vec![None], Use::Testing)
    }

    pub(crate) fn wrapped(pattern: &str) -> Result<Compiled, Error> {
        let whole = format!("^(?s:{pattern})$");
        let parsed = syntax::parse(whole.as_bytes(), PLAIN, ClassNames::Loose)?;
        match body(parsed.hir) {
            Ok(body) => Compiled::anchored(pattern.to_owned(), whole.as_bytes(), body, parsed.names, Use::Replacing),
            Err(hir) => Compiled::floating(pattern.to_owned(), whole.as_bytes(), hir, parsed.names),
        }
    }

    pub(crate) fn unanchored(pattern: &str) -> Result<Compiled, Error> {
        let parsed = syntax::parse(pattern.as_bytes(), PLAIN, ClassNames::Loose)?;
        Compiled::floating(pattern.to_owned(), pattern.as_bytes(), parsed.hir, parsed.names)
    }

    /// `body` matches the whole of a text; `source` is what an error shows.
    fn anchored(
        pattern: String,
        source: &[u8],
        body: Hir,
        names: Vec<Option<Box<str>>>,
        purpose: Use,
    ) -> Result<Compiled, Error> {
        let body = shape::without_anchors(body);
        let prefix = shape::prefix(&body);
        let groups_are_whole = match body.kind() {
            HirKind::Capture(_) => names.len() <= 2,
            _ => names.len() == 1,
        };
        let whole = (!groups_are_whole).then(|| between(true, body.clone(), true));
        let decider = if let Some(texts) = shape::texts(&body) {
            Decider::Literals(Literals::new(texts))
        } else if let Some(segments) = shape::segments(&body) {
            Decider::Glob(Glob::new(segments))
        } else {
            let open = shape::open_ends(body);
            let hir = between(!open.start, open.hir, !open.end);
            Decider::Engine(build(&hir, WhichCaptures::None, NFA_BYTES_MAX).ok_or_else(|| too_large(source))?)
        };
        let matches_empty = decider.is_match("");
        let engine = LazyEngine::new();
        let anchored = true;
        let compiled =
            Compiled { pattern, decider, prefix, matches_empty, anchored, groups_are_whole, names, hir: whole, engine };
        if purpose == Use::Replacing && compiled.hir.is_some() && compiled.engine().is_none() {
            return Err(too_large(source));
        }
        Ok(compiled)
    }

    /// `hir` matches where it does.
    fn floating(pattern: String, source: &[u8], hir: Hir, names: Vec<Option<Box<str>>>) -> Result<Compiled, Error> {
        let engine = build_with_groups(&hir, names.len()).ok_or_else(|| too_large(source))?;
        let decider = Decider::Engine(engine.clone());
        let matches_empty = decider.is_match("");
        let prefix = String::new();
        let engine = LazyEngine::from(Some(engine));
        let (anchored, groups_are_whole) = (false, false);
        Ok(Compiled { pattern, decider, prefix, matches_empty, anchored, groups_are_whole, names, hir: None, engine })
    }

    /// The automaton that finds groups. `None` where it would be too large, which only an expression that is for testing can
    /// be.
    pub(crate) fn engine(&self) -> Option<&meta::Regex> {
        let build = || self.hir.as_ref().and_then(|hir| build_with_groups(hir, self.names.len()));
        self.engine.get_or_init(build).as_ref()
    }
}

fn too_large(source: &[u8]) -> Error {
    Error::new(ErrorKind::TooLarge, source)
}

/// What stands between `^` and `$`, if they enclose all of `hir`.
fn body(hir: Hir) -> Result<Hir, Hir> {
    let enclosed = match hir.kind() {
        HirKind::Concat(parts) => {
            let is = |part: Option<&Hir>, look| part.is_some_and(|p| *p.kind() == HirKind::Look(look));
            is(parts.first(), Look::Start) && is(parts.last(), Look::End)
        }
        _ => false,
    };
    if !enclosed {
        return Err(hir);
    }
    let HirKind::Concat(mut parts) = hir.into_kind() else { unreachable!("checked above") };
    parts.pop();
    parts.remove(0);
    Ok(Hir::concat(parts))
}

fn between(start: bool, hir: Hir, end: bool) -> Hir {
    let start = start.then(|| Hir::look(Look::Start));
    let end = end.then(|| Hir::look(Look::End));
    Hir::concat(start.into_iter().chain([hir]).chain(end).collect())
}

fn build_with_groups(hir: &Hir, group_count: usize) -> Option<meta::Regex> {
    // An NFA's state is 16 bytes or more, and so are the two slots of a group.
    build(hir, WhichCaptures::All, NFA_BYTES_MAX.min(GROUPS_BYTES_MAX / group_count))
}

/// The automaton for `hir`; `None` where it would be too large.
fn build(hir: &Hir, captures: WhichCaptures, nfa_bytes_max: usize) -> Option<meta::Regex> {
    let config = meta::Config::new().which_captures(captures).nfa_size_limit(Some(nfa_bytes_max));
    let build = || meta::Builder::new().configure(config.clone()).build_from_hir(hir).ok();
    if levels_at_most(hir, LEVELS_ON_STACK) {
        return build();
    }
    // The compiler of the NFA calls itself for each level, in frames of about a kilobyte.
    let deep = std::thread::Builder::new().stack_size(DEEP_STACK_BYTES);
    std::thread::scope(|scope| deep.spawn_scoped(scope, build).ok()?.join().ok().flatten())
}

fn levels_at_most(hir: &Hir, levels: usize) -> bool {
    levels > 0 && hir.kind().subs().iter().all(|sub| levels_at_most(sub, levels - 1))
}
