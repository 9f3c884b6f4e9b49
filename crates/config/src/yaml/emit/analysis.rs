//! In which styles a text may be printed. Source: `yaml_emitter_analyze_scalar` of libyaml.

use crate::yaml::scalar::Scalar;

/// Whether the text, printed without quotes, would be read as the same string.
pub(super) fn means_a_string(text: &str) -> bool {
    Scalar::resolve(None, text, true) == Ok(Scalar::Str) && text != "<<" && !is_base_60(text)
}

/// `[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?`: a number in YAML 1.1, which is quoted for other readers' sake.
fn is_base_60(text: &str) -> bool {
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !rest.starts_with(|c: char| c.is_ascii_digit()) || !rest.contains(':') {
        return false;
    }
    let (whole, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let mut groups = whole.split(':');
    let digits_or = |s: &str| s.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let sixtieth = |s: &str| match s.as_bytes() {
        [d] => d.is_ascii_digit(),
        [t, d] => (b'0'..=b'5').contains(t) && d.is_ascii_digit(),
        _ => false,
    };
    digits_or(groups.next().unwrap_or("")) && groups.all(sixtieth) && digits_or(fraction)
}

pub(super) fn is_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// libyaml knows no characters beyond the basic plane here.
pub(super) fn is_printable(c: char) -> bool {
    matches!(c, '\n' | '\u{20}'..='\u{7e}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}') && c != '\u{feff}'
}

/// Which styles can carry a text.
pub(super) struct Analysis {
    pub(super) multiline: bool,
    pub(super) flow_plain: bool,
    pub(super) block_plain: bool,
    pub(super) single_quoted: bool,
    pub(super) literal: bool,
}

impl Analysis {
    pub(super) fn of(text: &str) -> Analysis {
        let (Some(first), Some(last)) = (text.chars().next(), text.chars().next_back()) else {
            return Analysis {
                multiline: false,
                flow_plain: false,
                block_plain: true,
                single_quoted: true,
                literal: false,
            };
        };
        let (in_flow, in_block) = indicators(text);
        let special = text.chars().any(|c| !is_printable(c));
        let pair = |a: fn(char) -> bool, b: fn(char) -> bool| {
            text.chars().zip(text.chars().skip(1)).any(|(x, y)| a(x) && b(y))
        };
        let is_space = |c: char| c == ' ';
        let break_space = pair(is_break, |c| c == ' ');
        let space_break = pair(|c| c == ' ', is_break);
        let multiline = text.contains(is_break);
        let ragged = is_space(first) || is_break(first) || is_space(last) || is_break(last);
        let plain = !ragged && !multiline && !special;
        Analysis {
            multiline,
            flow_plain: plain && !in_flow,
            block_plain: plain && !in_block,
            single_quoted: !break_space && !space_break && !special,
            literal: !is_space(last) && !space_break && !special,
        }
    }
}

/// Whether characters of the text would be read as syntax inside `[]` and outside.
fn indicators(text: &str) -> (bool, bool) {
    let (mut flow, mut block) = (false, false);
    if text.starts_with("---") || text.starts_with("...") {
        (flow, block) = (true, true);
    }
    let mut after_blank = true;
    let mut chars = text.char_indices().peekable();
    while let Some((i, c)) = chars.next() {
        let before_blank = chars.peek().is_none_or(|(_, n)| matches!(n, ' ' | '\t'));
        match c {
            '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`'
                if i == 0 =>
            {
                (flow, block) = (true, true);
            }
            '-' if i == 0 && before_blank => (flow, block) = (true, true),
            ',' | '[' | ']' | '{' | '}' => flow = true,
            '?' => {
                flow = true;
                block |= i == 0 && before_blank;
            }
            ':' => {
                flow = true;
                block |= before_blank;
            }
            '#' if after_blank => (flow, block) = (true, true),
            _ => {}
        }
        after_blank = matches!(c, ' ' | '\t') || is_break(c);
    }
    (flow, block)
}
