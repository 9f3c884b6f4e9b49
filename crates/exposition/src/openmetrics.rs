//! OpenMetrics 1.0 and 0.0.1. Source: `openmetricslex.l` and `openmetricsparse.go` of Prometheus 3.14.

use model::{MetricType, TimestampMs};

use crate::entry::{Entry, ExemplarText, Sample};
use crate::error::{NotFinite, ParseErrorKind, Token};
use crate::labels::Escapes;
use crate::number::go_int;
use crate::parser::{Parser, Place};
use crate::scan::{Cursor, QuoteRules};
use crate::text::help_text;

type Result<T> = std::result::Result<T, Box<ParseErrorKind>>;

const NAME_QUOTES: QuoteRules = QuoteRules { newline: true, zeros: false };
const VALUE_QUOTES: QuoteRules = QuoteRules { newline: false, zeros: true };
const EXEMPLAR_QUOTES: QuoteRules = QuoteRules { newline: false, zeros: false };

/// Whose labels stand between the braces.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Series,
    Exemplar,
}

/// The next entry.
pub(crate) fn next<'a>(p: &mut Parser<'a>) -> Result<Option<Entry<'a>>> {
    p.start = p.cursor.at;
    if p.place == Place::BehindValue {
        let token = timestamp_token(&mut p.cursor);
        return Err(if token == Token::Eof { no_eof() } else { p.unexpected("expected a valid start token", token) });
    }
    if p.cursor.is_at_end() {
        return Err(no_eof());
    }
    p.cursor.token = p.cursor.at;
    match p.cursor.current() {
        b'#' => match keyword(&mut p.cursor) {
            Token::EofWord if p.cursor.is_at_end() => Ok(None),
            Token::EofWord => Err(Box::new(ParseErrorKind::AfterEof)),
            Token::Invalid => Err(p.unexpected("expected a valid start token", Token::Invalid)),
            keyword => metadata(p, keyword).map(Some),
        },
        b'{' => {
            p.cursor.step();
            let named = labels(p, Of::Series, false)?;
            let text = p.cursor.slice(p.start, p.cursor.at);
            let token = value_token(&mut p.cursor);
            series_end(p, text, named, token).map(Some)
        }
        _ if p.cursor.take_name() => {
            let mut text = p.cursor.slice(p.start, p.cursor.at);
            let mut token = value_token(&mut p.cursor);
            if token == Token::BraceOpen {
                labels(p, Of::Series, true)?;
                text = p.cursor.slice(p.start, p.cursor.at);
                token = value_token(&mut p.cursor);
            }
            series_end(p, text, true, token).map(Some)
        }
        _ => Err(p.unexpected("expected a valid start token", Token::Invalid)),
    }
}

fn no_eof() -> Box<ParseErrorKind> {
    Box::new(ParseErrorKind::NoEof)
}

/// `# HELP `, `# TYPE `, `# UNIT ` or `# EOF` with its line break; there are no other comments.
fn keyword(cursor: &mut Cursor<'_>) -> Token {
    cursor.step();
    if cursor.current() != b' ' {
        return Token::Invalid;
    }
    cursor.step();
    let (word, token): (&[u8], Token) = match cursor.current() {
        b'E' => (b"EOF", Token::EofWord),
        b'H' => (b"HELP ", Token::Help),
        b'T' => (b"TYPE ", Token::Type),
        b'U' => (b"UNIT ", Token::Unit),
        _ => return Token::Invalid,
    };
    if !cursor.take_word(word) {
        return Token::Invalid;
    }
    if token == Token::EofWord && cursor.current() == b'\n' {
        cursor.step_over_zeros();
    }
    token
}

fn metadata<'a>(p: &mut Parser<'a>, keyword: Token) -> Result<Entry<'a>> {
    let family = family(p, keyword)?;
    let text = metadata_text(&mut p.cursor).ok_or(ParseErrorKind::NoText(keyword))?;
    match keyword {
        Token::Type => {
            let metric_type = metric_type(text).ok_or_else(|| ParseErrorKind::MetricType(text.into()))?;
            p.metric_type = metric_type;
            Ok(Entry::Type { family, metric_type })
        }
        Token::Unit => {
            let is_suffix = family.strip_suffix(text).is_some_and(|stem| stem.last() == Some(&b'_'));
            if text.is_empty() || is_suffix {
                Ok(Entry::Unit { family, unit: text })
            } else {
                Err(Box::new(ParseErrorKind::Unit { unit: text.into(), family: family.into() }))
            }
        }
        _ => {
            let text = std::str::from_utf8(text).map_err(|_| ParseErrorKind::HelpNotUtf8(text.into()))?;
            Ok(Entry::Help { family, text: help_text(text, Escapes::Quoted) })
        }
    }
}

fn family<'a>(p: &mut Parser<'a>, keyword: Token) -> Result<&'a [u8]> {
    let mut token = Token::Eof;
    if !p.cursor.is_at_end() {
        p.cursor.token = p.cursor.at;
        token = match p.cursor.current() {
            b'"' if p.cursor.take_quoted(NAME_QUOTES) => {
                let quoted = p.cursor.text();
                return Ok(&quoted[1..quoted.len() - 1]);
            }
            c if c != b'"' && p.cursor.take_name() => return Ok(p.cursor.text()),
            _ => Token::Invalid,
        };
    }
    let expected = match keyword {
        Token::Type => "expected metric name after TYPE",
        Token::Unit => "expected metric name after UNIT",
        _ => "expected metric name after HELP",
    };
    Err(p.unexpected(expected, token))
}

/// The text behind one space up to the line break; zero bytes behind that are passed over, and all but the last are taken for
/// text, as in Prometheus.
fn metadata_text<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let start = cursor.at;
    if cursor.current() != b' ' {
        return None;
    }
    while cursor.current() != b'\n' {
        cursor.step_over_zeros();
        if cursor.is_at_end() {
            return None;
        }
    }
    cursor.step_over_zeros();
    Some(cursor.slice(start + 1, cursor.at - 1))
}

fn metric_type(word: &[u8]) -> Option<MetricType> {
    match word {
        b"counter" => Some(MetricType::Counter),
        b"gauge" => Some(MetricType::Gauge),
        b"histogram" => Some(MetricType::Histogram),
        b"gaugehistogram" => Some(MetricType::GaugeHistogram),
        b"summary" => Some(MetricType::Summary),
        b"info" => Some(MetricType::Info),
        b"stateset" => Some(MetricType::StateSet),
        b"unknown" => Some(MetricType::Unknown),
        _ => None,
    }
}

fn label_token(cursor: &mut Cursor<'_>, of: Of) -> Token {
    cursor.label_token(match of {
        Of::Series => NAME_QUOTES,
        Of::Exemplar => EXEMPLAR_QUOTES,
    })
}

/// What stands between braces, the open one being read. Returns whether the metric has a name now.
fn labels(p: &mut Parser<'_>, of: Of, mut named: bool) -> Result<bool> {
    let mut token = label_token(&mut p.cursor, of);
    loop {
        let quoted = match token {
            Token::BraceClose => return Ok(named),
            Token::LabelName => false,
            Token::QuotedString => true,
            other => return Err(p.unexpected("expected label name", other)),
        };
        token = label_token(&mut p.cursor, of);
        // A quoted string alone is the metric's name.
        if quoted && matches!(token, Token::Comma | Token::BraceClose) {
            if of == Of::Exemplar {
                return Err(p.unexpected("expected label name", token));
            }
            if named {
                return Err(Box::new(ParseErrorKind::SecondName(p.parsed())));
            }
            named = true;
            if token == Token::BraceClose {
                return Ok(named);
            }
            token = label_token(&mut p.cursor, of);
            continue;
        }
        if token != Token::Equal {
            return Err(p.unexpected("expected equal", token));
        }
        label_value(p, of)?;
        token = label_token(&mut p.cursor, of);
        match token {
            Token::Comma => token = label_token(&mut p.cursor, of),
            Token::BraceClose => {}
            other => return Err(p.unexpected("expected comma or brace close", other)),
        }
    }
}

fn label_value(p: &mut Parser<'_>, of: Of) -> Result<()> {
    let token = match of {
        _ if p.cursor.is_at_end() => Token::Eof,
        Of::Series => {
            p.cursor.token = p.cursor.at;
            let accepted = p.cursor.current() == b'"' && p.cursor.take_quoted(VALUE_QUOTES);
            if accepted { Token::LabelValue } else { Token::Invalid }
        }
        Of::Exemplar => exemplar_value_token(&mut p.cursor),
    };
    if token != Token::LabelValue {
        return Err(p.unexpected("expected label value", token));
    }
    let value = p.cursor.text();
    match std::str::from_utf8(value) {
        Ok(_) => Ok(()),
        Err(_) => Err(Box::new(ParseErrorKind::LabelValueNotUtf8(value.into()))),
    }
}

/// One space and anything up to the next space or line break.
fn spaced_word(cursor: &mut Cursor<'_>, token: Token) -> Token {
    if cursor.current() != b' ' {
        return Token::Invalid;
    }
    cursor.step();
    let start = cursor.at;
    cursor.take_until(|b| matches!(b, b' ' | b'\n'));
    if cursor.at == start { Token::Invalid } else { token }
}

/// What may follow a name or braces: a value, or an open brace.
pub(crate) fn value_token(cursor: &mut Cursor<'_>) -> Token {
    if cursor.is_at_end() {
        return Token::Eof;
    }
    cursor.token = cursor.at;
    if cursor.current() == b'{' {
        cursor.step();
        return Token::BraceOpen;
    }
    spaced_word(cursor, Token::Value)
}

/// What may follow `=` or the closing brace of an exemplar: Prometheus' lexer does not tell these places apart.
fn exemplar_value_token(cursor: &mut Cursor<'_>) -> Token {
    if cursor.is_at_end() {
        return Token::Eof;
    }
    cursor.token = cursor.at;
    if cursor.current() == b'"' {
        return if cursor.take_quoted(EXEMPLAR_QUOTES) { Token::LabelValue } else { Token::Invalid };
    }
    spaced_word(cursor, Token::Value)
}

/// What may follow a value: a line break, a timestamp, or ` # {`.
fn timestamp_token(cursor: &mut Cursor<'_>) -> Token {
    if cursor.is_at_end() {
        return Token::Eof;
    }
    cursor.token = cursor.at;
    match cursor.current() {
        b'\n' => {
            cursor.step();
            Token::Linebreak
        }
        b' ' if cursor.byte(cursor.at + 1) == b'#' && cursor.byte(cursor.at + 2) == b' ' => {
            cursor.at += 3;
            if cursor.current() != b'{' {
                return Token::Invalid;
            }
            cursor.step();
            Token::Comment
        }
        _ => spaced_word(cursor, Token::Timestamp),
    }
}

/// What may follow the value of an exemplar.
fn exemplar_timestamp_token(cursor: &mut Cursor<'_>) -> Token {
    if cursor.is_at_end() {
        return Token::Eof;
    }
    cursor.token = cursor.at;
    if cursor.current() == b'\n' {
        cursor.step();
        return Token::Linebreak;
    }
    spaced_word(cursor, Token::Timestamp)
}

/// The rest of a line behind name and labels; `token` is the first token of it.
fn series_end<'a>(p: &mut Parser<'a>, text: &'a [u8], named: bool, token: Token) -> Result<Entry<'a>> {
    if !named {
        return Err(Box::new(ParseErrorKind::NoName(p.parsed())));
    }
    if token != Token::Value {
        return Err(p.unexpected("expected value after metric", token));
    }
    let sample = sample(p)?;
    Ok(p.series(text, sample))
}

/// Value, timestamp and exemplar; the current token is the value.
pub(crate) fn sample(p: &mut Parser<'_>) -> Result<Sample> {
    let value = p.float(&p.cursor.text()[1..])?;
    let mut sample = Sample { value, timestamp: None };
    match timestamp_token(&mut p.cursor) {
        Token::Eof => return Err(no_eof()),
        Token::Comment => p.exemplar = Some(exemplar(p)?),
        Token::Timestamp => {
            sample.timestamp = Some(timestamp_value(p, ParseErrorKind::Timestamp)?);
            match timestamp_token(&mut p.cursor) {
                Token::Linebreak => {}
                Token::Comment => p.exemplar = Some(exemplar(p)?),
                other => return Err(p.unexpected("expected next entry after timestamp", other)),
            }
        }
        Token::Linebreak => {}
        _ => p.place = Place::BehindValue,
    }
    Ok(sample)
}

fn exemplar<'a>(p: &mut Parser<'a>) -> Result<ExemplarText<'a>> {
    let start = p.cursor.at;
    labels(p, Of::Exemplar, true)?;
    let text = p.cursor.slice(start, p.cursor.at);
    let token = exemplar_value_token(&mut p.cursor);
    if token != Token::Value {
        return Err(p.unexpected("expected value after exemplar labels", token));
    }
    let value = p.float(&p.cursor.text()[1..])?;
    let mut timestamp = None;
    match exemplar_timestamp_token(&mut p.cursor) {
        Token::Eof => return Err(no_eof()),
        Token::Linebreak => {}
        Token::Timestamp => {
            timestamp = Some(timestamp_value(p, ParseErrorKind::ExemplarTimestamp)?);
            match exemplar_timestamp_token(&mut p.cursor) {
                Token::Linebreak => {}
                other => return Err(p.unexpected("expected next entry after exemplar timestamp", other)),
            }
        }
        other => return Err(p.unexpected("expected timestamp or comment", other)),
    }
    Ok(ExemplarText { text, value, timestamp })
}

/// Seconds as a float; the current token is the timestamp.
fn timestamp_value(p: &Parser<'_>, not_finite: fn(NotFinite) -> ParseErrorKind) -> Result<TimestampMs> {
    let seconds = p.float(&p.cursor.text()[1..])?;
    let refused = match seconds {
        s if s.is_nan() => NotFinite::Nan,
        f64::INFINITY => NotFinite::Plus,
        f64::NEG_INFINITY => NotFinite::Minus,
        s => return Ok(TimestampMs(go_int(s * 1000.0))),
    };
    Err(Box::new(not_finite(refused)))
}
