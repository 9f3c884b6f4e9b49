//! The Prometheus text format. Source: `promlex.l` and `promparse.go` of Prometheus 3.14.

use std::borrow::Cow;

use model::{MetricType, TimestampMs};

use crate::entry::{Entry, Sample};
use crate::error::{ParseErrorKind, Token};
use crate::labels::{Escapes, unescape};
use crate::parser::Parser;
use crate::scan::{Cursor, QuoteRules};

type Result<T> = std::result::Result<T, Box<ParseErrorKind>>;

const NAME_QUOTES: QuoteRules = QuoteRules { newline: true, zeros: false };
const VALUE_QUOTES: QuoteRules = QuoteRules { newline: true, zeros: true };

/// The next entry, from the start of a line.
pub(crate) fn next<'a>(p: &mut Parser<'a>) -> Result<Option<Entry<'a>>> {
    loop {
        p.start = p.cursor.at;
        p.cursor.skip_blanks();
        if p.cursor.is_at_end() {
            return Ok(None);
        }
        p.cursor.token = p.cursor.at;
        match p.cursor.current() {
            b'\n' => p.cursor.step(),
            // Prometheus ends the page here, and is content.
            0 => return Ok(None),
            b'#' => return comment_or_metadata(p),
            b'{' => {
                p.cursor.step();
                let named = labels(p, false)?;
                let text = p.cursor.slice(p.start, p.cursor.at);
                let token = value_token(&mut p.cursor);
                return series_end(p, text, named, token).map(Some);
            }
            _ if p.cursor.take_name() => {
                let mut text = p.cursor.slice(p.start, p.cursor.at);
                let mut token = value_token(&mut p.cursor);
                if token == Token::BraceOpen {
                    labels(p, true)?;
                    text = p.cursor.slice(p.start, p.cursor.at);
                    token = value_token(&mut p.cursor);
                }
                return series_end(p, text, true, token).map(Some);
            }
            _ => return Err(p.unexpected("expected a valid start token", Token::Invalid)),
        }
    }
}

/// Which words the lines may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Words {
    /// Those of the text format.
    Text,
    /// Those and what a page of messages has besides, which was written as lines: `UNIT`, and the type of gauge histograms.
    OfMessages,
}

/// A line that begins with `#`. Anything but `HELP` and `TYPE` is a comment.
fn comment_or_metadata<'a>(p: &mut Parser<'a>) -> Result<Option<Entry<'a>>> {
    p.cursor.step();
    let spaced = matches!(p.cursor.current(), b' ' | b'\t');
    p.cursor.skip_blanks();
    if p.cursor.current() == 0 {
        return Ok(None);
    }
    if !spaced {
        p.cursor.take_until(|b| b == b'\n');
        if p.cursor.current() == 0 {
            return Ok(None);
        }
    } else if let Some(keyword) = keyword(&mut p.cursor, p.words) {
        return metadata(p, keyword).map(Some);
    } else {
        while p.cursor.current() != b'\n' {
            p.cursor.step_over_zeros();
        }
    }
    let text = p.cursor.slice(p.cursor.token, p.cursor.at);
    p.cursor.step();
    Ok(Some(Entry::Comment(text)))
}

/// `HELP` or `TYPE` and the blanks behind it. Where it is neither, the cursor has moved within the line.
fn keyword(cursor: &mut Cursor<'_>, words: Words) -> Option<Token> {
    let (word, token): (&[u8], Token) = match cursor.current() {
        b'H' => (b"HELP", Token::Help),
        b'T' => (b"TYPE", Token::Type),
        b'U' if words == Words::OfMessages => (b"UNIT", Token::Unit),
        _ => return None,
    };
    if !cursor.take_word(word) || !matches!(cursor.current(), b' ' | b'\t') {
        return None;
    }
    cursor.skip_blanks_and_zeros();
    Some(token)
}

fn metadata<'a>(p: &mut Parser<'a>, keyword: Token) -> Result<Entry<'a>> {
    p.cursor.token = p.cursor.at;
    let family = match p.cursor.current() {
        b'"' if p.cursor.take_quoted(NAME_QUOTES) => {
            let quoted = p.cursor.text();
            &quoted[1..quoted.len() - 1]
        }
        c if c != b'"' && p.cursor.take_name() => p.cursor.text(),
        _ => {
            let expected = match keyword {
                Token::Type => "expected metric name after TYPE",
                _ => "expected metric name after HELP",
            };
            return Err(p.unexpected(expected, Token::Invalid));
        }
    };
    let text = metadata_text(&mut p.cursor);
    let entry = if keyword == Token::Type {
        let metric_type = metric_type(text, p.words).ok_or_else(|| ParseErrorKind::MetricType(text.into()))?;
        p.metric_type = metric_type;
        Entry::Type { family, metric_type }
    } else if keyword == Token::Unit {
        Entry::Unit { family, unit: text }
    } else {
        let text = std::str::from_utf8(text).map_err(|_| ParseErrorKind::HelpNotUtf8(text.into()))?;
        Entry::Help { family, text: help_text(text, Escapes::TextHelp) }
    };
    p.cursor.token = p.cursor.at;
    let ends = p.cursor.current() == b'\n';
    // Else it is a zero byte, which Prometheus takes for the end of the page.
    p.cursor.step();
    if ends { Ok(entry) } else { Err(p.unexpected("linebreak expected after metadata", Token::Eof)) }
}

/// The text behind a name, without its first byte, whatever that is. Blanks alone are no text.
fn metadata_text<'a>(cursor: &mut Cursor<'a>) -> &'a [u8] {
    let start = cursor.at;
    if cursor.current() == 0 {
        return &[];
    }
    while cursor.current() != b'\n' {
        cursor.step_over_zeros();
    }
    let text = cursor.slice(start, cursor.at);
    let is_blank = matches!(text.first(), Some(b' ' | b'\t')) && text.iter().all(|b| matches!(b, b' ' | b'\t' | 0));
    if is_blank { &[] } else { text.get(1..).unwrap_or_default() }
}

fn metric_type(word: &[u8], words: Words) -> Option<MetricType> {
    match word {
        b"counter" => Some(MetricType::Counter),
        b"gauge" => Some(MetricType::Gauge),
        b"histogram" => Some(MetricType::Histogram),
        b"summary" => Some(MetricType::Summary),
        b"untyped" => Some(MetricType::Unknown),
        b"gaugehistogram" if words == Words::OfMessages => Some(MetricType::GaugeHistogram),
        _ => None,
    }
}

/// A help text with its escapes resolved.
pub(crate) fn help_text(text: &str, escapes: Escapes) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    unescape(text, escapes, &mut out);
    Cow::Owned(out)
}

fn label_token(cursor: &mut Cursor<'_>) -> Token {
    cursor.skip_blanks();
    cursor.label_token(NAME_QUOTES)
}

/// What stands between braces, the open one being read. Returns whether the metric has a name now.
fn labels(p: &mut Parser<'_>, mut named: bool) -> Result<bool> {
    let mut token = label_token(&mut p.cursor);
    loop {
        let quoted = match token {
            Token::BraceClose => return Ok(named),
            Token::LabelName => false,
            Token::QuotedString => true,
            other => return Err(p.unexpected("expected label name", other)),
        };
        token = label_token(&mut p.cursor);
        // A quoted string alone is the metric's name.
        if quoted && matches!(token, Token::Comma | Token::BraceClose) {
            if named {
                return Err(Box::new(ParseErrorKind::SecondName(p.parsed())));
            }
            named = true;
            if token == Token::BraceClose {
                return Ok(named);
            }
            token = label_token(&mut p.cursor);
            continue;
        }
        if token != Token::Equal {
            return Err(p.unexpected("expected equal", token));
        }
        label_value(p)?;
        // Commas may be left out.
        token = label_token(&mut p.cursor);
        if token == Token::Comma {
            token = label_token(&mut p.cursor);
        }
    }
}

fn label_value(p: &mut Parser<'_>) -> Result<()> {
    p.cursor.skip_blanks_and_zeros();
    p.cursor.token = p.cursor.at;
    if p.cursor.current() != b'"' || !p.cursor.take_quoted(VALUE_QUOTES) {
        return Err(p.unexpected("expected label value", Token::Invalid));
    }
    let value = p.cursor.text();
    match std::str::from_utf8(value) {
        Ok(_) => Ok(()),
        Err(_) => Err(Box::new(ParseErrorKind::LabelValueNotUtf8(value.into()))),
    }
}

/// What may follow a name or braces: a value, or an open brace.
pub(crate) fn value_token(cursor: &mut Cursor<'_>) -> Token {
    cursor.skip_blanks();
    cursor.token = cursor.at;
    match cursor.current() {
        b'{' => {
            cursor.step();
            Token::BraceOpen
        }
        0 | b'\n' => Token::Invalid,
        _ => {
            cursor.take_until(|b| matches!(b, b'{' | b' ' | b'\t' | b'\n'));
            Token::Value
        }
    }
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

/// Value and timestamp; the current token is the value.
pub(crate) fn sample(p: &mut Parser<'_>) -> Result<Sample> {
    let value = p.float(p.cursor.text())?;
    let mut timestamp = None;
    match timestamp_token(&mut p.cursor) {
        Token::Linebreak => {}
        Token::Timestamp => {
            timestamp = Some(timestamp_value(p)?);
            match timestamp_token(&mut p.cursor) {
                Token::Linebreak => {}
                other => return Err(p.unexpected("expected next entry after timestamp", other)),
            }
        }
        other => return Err(p.unexpected("expected timestamp or new record", other)),
    }
    Ok(Sample { value, timestamp })
}

fn timestamp_token(cursor: &mut Cursor<'_>) -> Token {
    cursor.skip_blanks();
    cursor.token = cursor.at;
    match cursor.current() {
        b'\n' => {
            cursor.step();
            Token::Linebreak
        }
        b'0'..=b'9' => {
            cursor.take_until(|b| !b.is_ascii_digit());
            Token::Timestamp
        }
        _ => Token::Invalid,
    }
}

fn timestamp_value(p: &Parser<'_>) -> Result<TimestampMs> {
    let digits = p.cursor.text();
    digits
        .iter()
        .try_fold(0i64, |n, d| n.checked_mul(10)?.checked_add(i64::from(d - b'0')))
        .map(TimestampMs)
        .ok_or_else(|| Box::new(ParseErrorKind::TimestampRange { number: digits.into(), parsed: p.parsed() }))
}
