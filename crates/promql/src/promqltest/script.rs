//! The language of test scripts.

use model::{FloatHistogram, Labels, TimestampMs};
use regexp::Regexp;

use super::starts;
use crate::ast::Expr;
use crate::duration::{DurationError, parse_duration};
use crate::numbers;
use crate::{ParseErrors, ParseOptions, SeriesDesc, Sign, parse_expr, parse_series_desc};

/// Why a script cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// No command of the language.
    #[error("line {line}: invalid command {text:?}")]
    Command {
        /// The line, from 1.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// An expression that does not parse.
    #[error("line {line}: {source}")]
    Expr {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        #[source]
        source: ParseErrors,
    },
    /// A series that does not parse.
    #[error("line {line}: {source}")]
    Series {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        #[source]
        source: ParseErrors,
    },
    /// A duration that is none.
    #[error("line {line}: {source}")]
    Duration {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        #[source]
        source: DurationError,
    },
    /// Classic histograms that are none.
    #[error("line {line}: {problem}")]
    Load {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// An `expect` line that says nothing.
    #[error("line {line}: invalid expect statement {text:?}")]
    Expect {
        /// The line, from 1.
        line: usize,
        /// What stands there.
        text: String,
    },
}

/// A command of a script.
#[derive(Debug)]
pub(super) enum Command {
    Clear,
    Load(Load),
    Eval(Box<Eval>),
}

/// `load`
#[derive(Debug)]
pub(super) struct Load {
    pub(super) line: usize,
    pub(super) step_ms: i64,
    /// Buckets also become native histograms.
    pub(super) with_nhcb: bool,
    pub(super) series: Vec<LoadedSeries>,
}

/// A series that is loaded.
#[derive(Debug)]
pub(super) struct LoadedSeries {
    pub(super) desc: SeriesDesc,
    /// For each value how far its start timestamp is from its time; empty where no `@st` line stood before it.
    pub(super) starts: Vec<Option<i64>>,
}

/// When an expression is evaluated.
#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    Instant(TimestampMs),
    Range { start: TimestampMs, end: TimestampMs, step_ms: i64 },
}

/// `eval`
#[derive(Debug)]
pub(super) struct Eval {
    pub(super) line: usize,
    pub(super) text: String,
    pub(super) expr: Expr,
    pub(super) when: When,
    pub(super) expect: Expect,
}

/// What must come of an evaluation.
#[derive(Debug, Default)]
pub(super) struct Expect {
    pub(super) ordered: bool,
    pub(super) fail: Option<TextMatch>,
    pub(super) warn: Vec<TextMatch>,
    pub(super) info: Vec<TextMatch>,
    pub(super) no_warn: bool,
    pub(super) no_info: bool,
    /// The grid on which the values of a range vector stand.
    pub(super) range_vector: Option<(TimestampMs, TimestampMs, i64)>,
    pub(super) string: Option<String>,
    pub(super) scalar: Option<f64>,
    /// Rows in the order written, with their position from 1.
    pub(super) rows: Vec<(usize, SeriesDesc)>,
}

impl Expect {
    /// The row with these labels; of two written the last.
    pub(super) fn row(&self, labels: &Labels) -> Option<&(usize, SeriesDesc)> {
        self.rows.iter().rev().find(|(_, row)| row.labels == *labels)
    }
}

/// What a text must be.
#[derive(Debug)]
pub(super) enum TextMatch {
    Any,
    Exactly(String),
    Matching(Regexp),
}

impl TextMatch {
    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            TextMatch::Any => true,
            TextMatch::Exactly(expected) => expected == text,
            TextMatch::Matching(regexp) => regexp.is_match(text),
        }
    }
}

impl std::fmt::Display for TextMatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TextMatch::Any => f.write_str("anything"),
            TextMatch::Exactly(text) => write!(f, "{text:?}"),
            TextMatch::Matching(regexp) => write!(f, "/{}/", regexp.pattern()),
        }
    }
}

/// The lines of a script and the one at hand.
struct Lines<'a> {
    lines: Vec<&'a str>,
    at: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<(usize, &'a str)> {
        let line = *self.lines.get(self.at)?;
        self.at += 1;
        Some((self.at, line))
    }

    /// The next line of the same block.
    fn next_in_block(&mut self) -> Option<(usize, &'a str)> {
        if self.lines.get(self.at).is_none_or(|line| line.is_empty()) { None } else { self.next() }
    }
}

/// Reads a whole script.
pub(super) fn parse(text: &str) -> Result<Vec<Command>, ScriptError> {
    let trimmed = text.split('\n').map(|line| line.trim());
    let without_comments = trimmed.map(|line| if line.starts_with('#') { "" } else { line });
    let mut lines = Lines { lines: without_comments.collect(), at: 0 };
    let mut commands = Vec::new();
    while let Some((line, text)) = lines.next() {
        if text.is_empty() {
            continue;
        }
        let word = text.split([' ', '\t']).next().unwrap_or("").to_lowercase();
        commands.push(if word == "clear" {
            Command::Clear
        } else if word.starts_with("load") {
            Command::Load(parse_load(line, text, &mut lines)?)
        } else if word.starts_with("eval") {
            Command::Eval(Box::new(parse_eval(line, text, &mut lines)?))
        } else {
            return Err(ScriptError::Command { line, text: text.to_owned() });
        });
    }
    Ok(commands)
}

fn duration_ms(line: usize, text: &str) -> Result<i64, ScriptError> {
    Ok(parse_duration(text).map_err(|source| ScriptError::Duration { line, source })? / 1_000_000)
}

fn series(line: usize, text: &str) -> Result<SeriesDesc, ScriptError> {
    parse_series_desc(text, &combine).map_err(|source| ScriptError::Series { line, source })
}

/// Histograms that are described as one and what is added to it.
fn combine(a: &FloatHistogram, b: &FloatHistogram, sign: Sign) -> Result<FloatHistogram, String> {
    let mut h = a.clone();
    let combined = match sign {
        Sign::Plus => h.add(b),
        Sign::Minus => h.sub(b),
    };
    combined.map(|_| h).map_err(|e| e.to_string())
}

fn parse_load(line: usize, text: &str, lines: &mut Lines<'_>) -> Result<Load, ScriptError> {
    let invalid = || ScriptError::Command { line, text: text.to_owned() };
    let (word, step) = text.split_once([' ', '\t']).ok_or_else(invalid)?;
    let with_nhcb = match word {
        "load" => false,
        "load_with_nhcb" => true,
        _ => return Err(invalid()),
    };
    let step_ms = duration_ms(line, step.trim())?;
    let mut all = Vec::new();
    let mut starts: Option<(SeriesDesc, Vec<Option<i64>>)> = None;
    while let Some((line, text)) = lines.next_in_block() {
        let (metric, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        if let Some(metric) = metric.strip_suffix("@st") {
            starts = Some((series(line, &format!("{metric} _"))?, starts::parse(line, rest)?));
            continue;
        }
        let desc = series(line, text)?;
        let starts = match starts.take() {
            None => Vec::new(),
            Some((of, starts)) if of.labels == desc.labels && starts.len() == desc.values.len() => starts,
            Some(_) => return Err(ScriptError::Command { line, text: text.to_owned() }),
        };
        all.push(LoadedSeries { desc, starts });
    }
    if starts.is_some() {
        return Err(ScriptError::Command { line, text: "@st line has no following sample line".to_owned() });
    }
    Ok(Load { line, step_ms, with_nhcb, series: all })
}

fn parse_eval(line: usize, text: &str, lines: &mut Lines<'_>) -> Result<Eval, ScriptError> {
    let invalid = || ScriptError::Command { line, text: text.to_owned() };
    let mut rest = text;
    let mut word = || {
        let trimmed = rest.trim_start();
        let (word, after) = trimmed.split_once([' ', '\t']).unwrap_or((trimmed, ""));
        rest = after;
        word
    };
    let mode = word().strip_prefix("eval").ok_or_else(invalid)?;
    let when = match (word(), word()) {
        ("instant", "at") => When::Instant(TimestampMs(duration_ms(line, word())?)),
        ("range", "from") => {
            let start = word();
            if word() != "to" {
                return Err(invalid());
            }
            let end = word();
            if word() != "step" {
                return Err(invalid());
            }
            When::Range {
                start: TimestampMs(duration_ms(line, start)?),
                end: TimestampMs(duration_ms(line, end)?),
                step_ms: duration_ms(line, word())?,
            }
        }
        _ => return Err(invalid()),
    };
    let text = rest.trim().to_owned();
    let expr = parse_expr(&text, &ParseOptions::ALL).map_err(|source| ScriptError::Expr { line, source })?;
    let mut expect = Expect::default();
    match mode {
        "" => {}
        "_ordered" => expect.ordered = true,
        "_fail" => expect.fail = Some(TextMatch::Any),
        "_warn" => expect.warn.push(TextMatch::Any),
        "_info" => expect.info.push(TextMatch::Any),
        _ => return Err(invalid()),
    }
    parse_expectations(lines, &mut expect)?;
    Ok(Eval { line, text, expr, when, expect })
}

fn parse_expectations(lines: &mut Lines<'_>, expect: &mut Expect) -> Result<(), ScriptError> {
    let mut position = 0;
    while let Some((line, text)) = lines.next_in_block() {
        position += 1;
        if let Some(message) = text.strip_prefix("expected_fail_message") {
            expect.fail = Some(TextMatch::Exactly(message.trim().to_owned()));
        } else if let Some(pattern) = text.strip_prefix("expected_fail_regexp") {
            expect.fail = Some(matching(line, pattern)?);
        } else if let Some(range) = text.strip_prefix("expect range vector") {
            expect.range_vector = Some(parse_range_vector(line, range)?);
        } else if let Some(string) = text.strip_prefix("expect string ") {
            expect.string = Some(parse_string(line, string)?);
        } else if text.split(' ').next() == Some("expect") {
            parse_expect(line, text, expect)?;
            position -= 1;
        } else if let Some(number) = parse_number(text) {
            expect.scalar = Some(number);
            break;
        } else {
            expect.rows.push((position, series(line, text)?));
        }
    }
    Ok(())
}

/// `expect warn msg: text`
fn parse_expect(line: usize, text: &str, expect: &mut Expect) -> Result<(), ScriptError> {
    let invalid = || ScriptError::Expect { line, text: text.to_owned() };
    let rest = text.strip_prefix("expect").ok_or_else(invalid)?.trim_start();
    let (kind, rest) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    let rest = rest.trim_start();
    let wanted = if let Some(message) = rest.strip_prefix("msg:") {
        TextMatch::Exactly(message.trim().to_owned())
    } else if let Some(pattern) = rest.strip_prefix("regex:") {
        matching(line, pattern)?
    } else if rest.is_empty() {
        TextMatch::Any
    } else {
        return Err(invalid());
    };
    match kind {
        "ordered" => expect.ordered = true,
        "fail" => expect.fail = Some(wanted),
        "warn" => expect.warn.push(wanted),
        "info" => expect.info.push(wanted),
        "no_warn" => expect.no_warn = true,
        "no_info" => expect.no_info = true,
        _ => return Err(invalid()),
    }
    Ok(())
}

/// A pattern that may match anywhere.
fn matching(line: usize, pattern: &str) -> Result<TextMatch, ScriptError> {
    let anywhere = format!(".*(?:{}).*", pattern.trim());
    let invalid = |_| ScriptError::Expect { line, text: pattern.to_owned() };
    Regexp::matcher(&anywhere).map(TextMatch::Matching).map_err(invalid)
}

/// ` from 10s to 1m step 10s`
fn parse_range_vector(line: usize, text: &str) -> Result<(TimestampMs, TimestampMs, i64), ScriptError> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let ["from", start, "to", end, "step", step] = words.as_slice() else {
        return Err(ScriptError::Expect { line, text: text.to_owned() });
    };
    let start = TimestampMs(duration_ms(line, start)?);
    let end = TimestampMs(duration_ms(line, end)?);
    Ok((start, end, duration_ms(line, step)?))
}

/// A quoted text: its value is that of the same text as an expression.
fn parse_string(line: usize, text: &str) -> Result<String, ScriptError> {
    let expr = parse_expr(text, &ParseOptions::ALL).map_err(|source| ScriptError::Expr { line, source })?;
    match expr.kind {
        crate::ast::ExprKind::String(literal) => Ok(literal.text),
        _ => Err(ScriptError::Expect { line, text: text.to_owned() }),
    }
}

/// A number by itself on a line.
fn parse_number(text: &str) -> Option<f64> {
    numbers::parse_number(text).ok()
}
