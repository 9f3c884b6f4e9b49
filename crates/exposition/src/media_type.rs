//! A `Content-Type`, parsed as Go's `mime.ParseMediaType` does: parameters must be well-formed, though nobody reads them.

/// Why a text is no media type; the words are Go's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MediaTypeError {
    /// Nothing before the first slash.
    #[error("mime: no media type")]
    NoMediaType,
    /// No slash behind the type.
    #[error("mime: expected slash after first token")]
    NoSlash,
    /// No subtype.
    #[error("mime: expected token after slash")]
    NoSubtype,
    /// More than a subtype.
    #[error("mime: unexpected content after media subtype")]
    AfterSubtype,
    /// A parameter that is none.
    #[error("mime: invalid media parameter")]
    Parameter,
    /// A parameter with two values.
    #[error("mime: duplicate parameter name")]
    DuplicateParameter,
}

/// The media type of `text`, in lower case, without parameters. Source: Go 1.26 `mime/mediatype.go`.
pub(crate) fn parse(text: &str) -> Result<String, MediaTypeError> {
    let (base, parameters) = text.split_at(text.find(';').unwrap_or(text.len()));
    let media_type = base.to_lowercase().trim().to_owned();
    check_type(&media_type)?;
    check_parameters(parameters)?;
    Ok(media_type)
}

fn check_type(media_type: &str) -> Result<(), MediaTypeError> {
    let (kind, rest) = take_token(media_type);
    if kind.is_empty() {
        return Err(MediaTypeError::NoMediaType);
    }
    if rest.is_empty() {
        return Ok(());
    }
    let rest = rest.strip_prefix('/').ok_or(MediaTypeError::NoSlash)?;
    let (subtype, rest) = take_token(rest);
    if subtype.is_empty() {
        return Err(MediaTypeError::NoSubtype);
    }
    if rest.is_empty() { Ok(()) } else { Err(MediaTypeError::AfterSubtype) }
}

fn check_parameters(text: &str) -> Result<(), MediaTypeError> {
    let mut seen: Vec<(String, String)> = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let Some((name, value, after)) = take_parameter(rest) else {
            return if rest.trim() == ";" { Ok(()) } else { Err(MediaTypeError::Parameter) };
        };
        if seen.iter().any(|(n, v)| *n == name && *v != value) {
            return Err(MediaTypeError::DuplicateParameter);
        }
        seen.push((name, value));
        rest = after.trim_start();
    }
    Ok(())
}

/// `; name = value`.
fn take_parameter(text: &str) -> Option<(String, String, &str)> {
    let (name, rest) = take_token(text.strip_prefix(';')?.trim_start());
    if name.is_empty() {
        return None;
    }
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    let (value, after) = take_value(rest)?;
    Some((name.to_ascii_lowercase(), value, after))
}

/// A token or a quoted string.
fn take_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (token, rest) = take_token(text);
        return (!token.is_empty()).then(|| (token.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' if chars.peek().is_some_and(|(_, next)| is_special(*next)) => {
                value.extend(chars.next().map(|(_, escaped)| escaped));
            }
            '\r' | '\n' => return None,
            c => value.push(c),
        }
    }
    None
}

fn take_token(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !is_token_char(c)).unwrap_or(text.len()))
}

fn is_special(c: char) -> bool {
    matches!(c, '(' | ')' | '<' | '>' | '@' | ',' | ';' | ':' | '\\' | '"' | '/' | '[' | ']' | '?' | '=')
}

fn is_token_char(c: char) -> bool {
    c.is_ascii_graphic() && !is_special(c)
}
