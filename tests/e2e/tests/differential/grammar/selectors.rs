//! Selectors of instants and ranges, subqueries, and the modifiers behind them.

use super::super::samples::{BASE_MS, LENGTH_MS};
use super::super::since::{self, Language};
use super::{Grammar, Kind};

const FLOATS: &[&str] = &[
    "requests_total",
    "requests_total{code=\"200\"}",
    "requests_total{code=~\"4..|5..\"}",
    "temperature",
    "limit",
    "small",
    "state",
    "flaky",
    "latency_count",
    "latency_sum",
    "latency_bucket{le=\"0.5\"}",
    "target_info",
];
const HISTOGRAMS: &[&str] = &["native", "native_gauge", "native_float", "native_custom", "native"];
const MATCHERS: &[(&str, &str)] = &[
    ("=", "job=\"api\""),
    ("=", "instance=\"a:1\""),
    ("!=", "job!=\"db\""),
    ("!=", "instance!=\"b:1\""),
    ("=~", "instance=~\"[ab].*\""),
    ("=~", "job=~\"a.i|db\""),
    ("!~", "instance!~\"c.+\""),
    ("!~", "job!~\"nothing\""),
    ("=", "missing=\"\""),
    ("=~", "instance=~\"(?i)A:1|B:1\""),
];

impl Grammar<'_> {
    /// A name and matchers.
    pub(super) fn series(&mut self, kind: Kind) -> String {
        let base = match kind {
            Kind::Histograms => self.histograms(),
            Kind::Floats => self.floats(),
        };
        if self.below(3) > 0 {
            return base.to_owned();
        }
        let (op, matcher) = self.pick(MATCHERS);
        self.note(match op {
            "=" => "= in a matcher",
            "!=" => "!= in a matcher",
            "=~" => "=~ in a matcher",
            _ => "!~ in a matcher",
        });
        match base.strip_suffix('}') {
            Some(open) => format!("{open},{matcher}}}"),
            None => format!("{base}{{{matcher}}}"),
        }
    }

    fn histograms(&mut self) -> &'static str {
        self.note("native histogram");
        if self.one_in(10) {
            self.note("floats and histograms in one series");
            return "mixed";
        }
        let name = self.pick(HISTOGRAMS);
        if name == "native_custom" {
            self.note("custom buckets");
        }
        name
    }

    fn floats(&mut self) -> &'static str {
        let newer = self.language.is_newer();
        match self.below(60) {
            0 => {
                self.note("a selector without a name");
                "{code=\"404\"}"
            }
            1 => "{__name__=~\"temp.*|limit\",job=\"api\",instance=\"a:1\"}",
            2 if newer => {
                self.note("UTF-8 names");
                self.pick(&["{\"dotted.name\"}", "{\"dotted.name\",\"the.label\"=\"x\"}", "{\"small\"}"])
            }
            3 => "{__name__=\"small\"}",
            4 if newer => "event_time",
            _ => self.pick(FLOATS),
        }
    }

    /// An instant vector straight from the store.
    pub(super) fn instant_selector(&mut self, kind: Kind) -> String {
        let mut text = self.series(kind);
        if self.language.is_newer() && self.one_in(24) {
            self.note("smoothed");
            self.note("smoothed instant");
            text.push_str(" smoothed");
        }
        self.modified(text)
    }

    /// With `offset` and `@`, sometimes.
    pub(super) fn modified(&mut self, mut text: String) -> String {
        if self.below(4) > 0 {
            return text;
        }
        let mut modifiers = Vec::new();
        if self.below(3) > 0 {
            modifiers.push(self.offset());
        }
        if self.below(3) > 0 {
            modifiers.push(self.at());
        }
        if self.one_in(2) {
            modifiers.reverse();
        }
        for modifier in modifiers {
            text.push(' ');
            text.push_str(&modifier);
        }
        text
    }

    fn offset(&mut self) -> String {
        self.note("offset");
        match self.below(5) {
            0 => {
                self.note("offset into the future");
                format!("offset -{}", self.pick(&["15s", "1m", "3m"]))
            }
            1 if self.language.is_newer() => {
                self.note("offset of a duration expression");
                format!("offset ({})", self.duration_term(1))
            }
            _ => format!("offset {}", self.pick(&["15s", "1m", "5m", "7s", "12m", "90s"])),
        }
    }

    fn at(&mut self) -> String {
        let word = self.noted(&["@", "@", "@ start()", "@ end()"]);
        if word != "@" {
            return word.to_owned();
        }
        let at_ms = BASE_MS + self.below((LENGTH_MS / 15_000).unsigned_abs()).cast_signed() * 15_000;
        let on_grid = self.one_in(2);
        let more = match self.language {
            Language::Old => since::RESIDUE_MS,
            Language::Newer if on_grid => 0,
            Language::Newer => self.below(15_000).cast_signed(),
        };
        format!("@ {}", e2e::api::seconds(at_ms + more))
    }

    /// A range vector of floats, nearly always.
    pub(super) fn matrix(&mut self, depth: u64) -> String {
        self.matrix_of(depth, Kind::Floats)
    }

    /// A range vector.
    pub(super) fn matrix_of(&mut self, depth: u64, kind: Kind) -> String {
        let nested = self.in_subquery && !self.language.is_newer();
        if depth == 0 || nested || self.below(4) > 0 {
            self.note("range selector");
            let text = format!("{}[{}]", self.series(kind), self.duration());
            return self.modified(text);
        }
        self.note("subquery");
        let outside = std::mem::replace(&mut self.in_subquery, true);
        let inner = self.vector(depth - 1, kind);
        self.in_subquery = outside;
        let step = match self.below(4) {
            0 => {
                self.note("subquery without a step");
                String::new()
            }
            1 => self.duration(),
            _ => self.pick(&["15s", "30s", "1m", "20s", "47s"]).to_owned(),
        };
        let ranges = ["1m", "3m", "5m", "10m", "12m30s", "299999ms"];
        let range = self.pick(if self.language.is_newer() { &ranges } else { &ranges[..5] });
        self.modified(format!("({inner})[{range}:{step}]"))
    }

    /// A range selector with `anchored` or `smoothed`.
    pub(super) fn extended(&mut self, kind: Kind, function: &str) -> String {
        let words: &[&'static str] = match function {
            "resets" | "changes" => &["anchored"],
            _ => &["anchored", "smoothed"],
        };
        let word = if self.one_in(40) { "smoothed" } else { self.pick(words) };
        self.note(word);
        let text = format!("{}[{}] {word}", self.series(kind), self.duration());
        self.modified(text)
    }
}
