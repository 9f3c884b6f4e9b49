//! One relabelling rule: its fields as they are written, what Prometheus refuses in them, and what they mean.

use std::fmt;

use model::is_legacy_label_name;
use regexp::Regexp;

use crate::case;
use crate::quote::Quoted;

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Sets the target label to the replacement, both with the groups of the match.
    Replace,
    /// Drops what does not match.
    Keep,
    /// Drops what matches.
    Drop,
    /// Drops what differs from the target label.
    KeepEqual,
    /// Drops what equals the target label.
    DropEqual,
    /// Sets the target label to the MD5 of the sources modulo the modulus.
    HashMod,
    /// Copies labels whose names match to the names that the replacement makes.
    LabelMap,
    /// Deletes labels whose names match.
    LabelDrop,
    /// Deletes labels whose names do not match.
    LabelKeep,
    /// Sets the target label to the sources in lower case.
    Lowercase,
    /// Sets the target label to the sources in upper case.
    Uppercase,
}

impl Action {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Replace => "replace",
            Action::Keep => "keep",
            Action::Drop => "drop",
            Action::KeepEqual => "keepequal",
            Action::DropEqual => "dropequal",
            Action::HashMod => "hashmod",
            Action::LabelMap => "labelmap",
            Action::LabelDrop => "labeldrop",
            Action::LabelKeep => "labelkeep",
            Action::Lowercase => "lowercase",
            Action::Uppercase => "uppercase",
        }
    }

    /// The action named `text`, in any case.
    fn parse(text: &str) -> Option<Action> {
        use Action::{
            Drop, DropEqual, HashMod, Keep, KeepEqual, LabelDrop, LabelKeep, LabelMap, Lowercase, Replace, Uppercase,
        };
        let lower = case::to_lower(text);
        let all =
            [Replace, Keep, Drop, KeepEqual, DropEqual, HashMod, LabelMap, LabelDrop, LabelKeep, Lowercase, Uppercase];
        all.into_iter().find(|action| action.as_str() == lower)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which names a label may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NameValidationScheme {
    /// `[a-zA-Z_][a-zA-Z0-9_]*`
    Legacy,
    /// Any text that is not empty.
    #[default]
    Utf8,
}

impl NameValidationScheme {
    /// Whether a label may have the name.
    pub fn is_valid_label_name(self, name: &str) -> bool {
        match self {
            NameValidationScheme::Legacy => is_legacy_label_name(name),
            NameValidationScheme::Utf8 => !name.is_empty(),
        }
    }

    /// Whether a label may have the name that the template makes.
    fn is_valid_template(self, template: &str) -> bool {
        match self {
            NameValidationScheme::Legacy => is_legacy_template(template),
            NameValidationScheme::Utf8 => !template.is_empty(),
        }
    }
}

/// Letters, digits, underscores, `$name` and `${name}`, no digit first.
fn is_legacy_template(template: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let word_bytes = |text: &str| text.bytes().take_while(|&b| is_word(b)).count();
    let mut rest = template;
    while !rest.is_empty() {
        if let Some(variable) = rest.strip_prefix('$') {
            let (inner, braced) = variable.strip_prefix('{').map_or((variable, false), |inner| (inner, true));
            let (name, after) = inner.split_at(word_bytes(inner));
            let after = if braced { after.strip_prefix('}') } else { Some(after) };
            match after {
                Some(after) if !name.is_empty() => rest = after,
                _ => return false,
            }
        } else if is_word(rest.as_bytes()[0]) {
            rest = &rest[1..];
        } else {
            return false;
        }
    }
    template.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}

/// The fields of a rule as they are in the configuration; `None` where absent. A null is what the field's comment says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// Null: `None`. An empty list is not absent.
    pub source_labels: Option<Vec<String>>,
    /// Absent: `;`. Null: empty.
    pub separator: Option<String>,
    /// Absent: `(.*)`, which is not the same as written so. Null: empty.
    pub regex: Option<String>,
    /// Null: 0.
    pub modulus: Option<u64>,
    /// Null: empty.
    pub target_label: Option<String>,
    /// Absent: `$1`. Null: empty.
    pub replacement: Option<String>,
    /// Absent: `replace`. Null: `Some(None)`, which is refused.
    pub action: Option<Option<String>>,
}

/// Why a field cannot be read. In Prometheus these are mistakes of the YAML, found before any [`InvalidRule`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// A source label that no label can be.
    #[error("{} is not a valid label name", Quoted(.0))]
    SourceLabel(String),
    /// The regular expression.
    #[error(transparent)]
    Regex(#[from] regexp::Error),
    /// No such action.
    #[error("unknown relabel action {}", Quoted(.0))]
    UnknownAction(String),
}

/// Why a rule makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRule {
    /// The action is null.
    #[error("relabel action cannot be empty")]
    NoAction,
    /// `hashmod` by nothing.
    #[error("relabel configuration for hashmod requires non-zero modulus")]
    NoModulus,
    /// The action needs a target label.
    #[error("relabel configuration for {0} action requires 'target_label' value")]
    NoTargetLabel(Action),
    /// No label can have that name.
    #[error("{} is invalid 'target_label' for {action} action", Quoted(.name))]
    TargetLabel {
        /// The target label.
        name: String,
        /// The action.
        action: Action,
    },
    /// The action has no use for a replacement.
    #[error("'replacement' can not be set for {0} action")]
    Replacement(Action),
    /// No label can have a name that this makes.
    #[error("{} is invalid 'replacement' for labelmap action", Quoted(.0))]
    LabelMapReplacement(String),
    /// `keepequal` and `dropequal` with more.
    #[error("{0} action requires only 'source_labels' and `target_label`, and no other fields")]
    OnlySourceAndTarget(Action),
    /// `labeldrop` and `labelkeep` with more.
    #[error("{0} action requires only 'regex', and no other fields")]
    OnlyRegex(Action),
}

const DEFAULT_SEPARATOR: &str = ";";
const DEFAULT_REGEX: &str = "(.*)";
const DEFAULT_REPLACEMENT: &str = "$1";

/// A rule that was read but not validated.
#[derive(Clone, Debug)]
pub struct Draft {
    fields: Fields,
    /// `None` where the field is absent.
    regex: Option<Regexp>,
    /// `None` where the field is null.
    action: Option<Action>,
}

impl Draft {
    /// Reads the fields.
    pub fn new(fields: Fields) -> Result<Draft, ReadError> {
        if let Some(name) = fields.source_labels.iter().flatten().find(|name| name.is_empty()) {
            return Err(ReadError::SourceLabel(name.clone()));
        }
        let regex = fields.regex.as_deref().map(Regexp::wrapped).transpose()?;
        let action = match &fields.action {
            None => Some(Action::Replace),
            Some(None) => None,
            Some(Some(text)) => Some(Action::parse(text).ok_or_else(|| ReadError::UnknownAction(text.clone()))?),
        };
        Ok(Draft { fields, regex, action })
    }

    /// The rule, if its fields go together. Checks in the order of Prometheus' `Config.Validate`.
    pub fn validate(self, scheme: NameValidationScheme) -> Result<Rule, InvalidRule> {
        use Action::{DropEqual, HashMod, KeepEqual, LabelDrop, LabelKeep, LabelMap, Lowercase, Replace, Uppercase};
        let Draft { fields, regex, action } = self;
        let action = action.ok_or(InvalidRule::NoAction)?;
        let target = fields.target_label.unwrap_or_default();
        let replacement = fields.replacement.unwrap_or_else(|| DEFAULT_REPLACEMENT.to_owned());
        let separator = fields.separator.unwrap_or_else(|| DEFAULT_SEPARATOR.to_owned());
        let modulus = fields.modulus.unwrap_or(0);
        if action == HashMod && modulus == 0 {
            return Err(InvalidRule::NoModulus);
        }
        let has_target = matches!(action, Replace | HashMod | Lowercase | Uppercase | KeepEqual | DropEqual);
        if has_target && target.is_empty() {
            return Err(InvalidRule::NoTargetLabel(action));
        }
        let target_is_valid = match action {
            Replace if has_variable(&target) => scheme.is_valid_template(&target),
            _ => scheme.is_valid_label_name(&target),
        };
        if has_target && action != HashMod && !target_is_valid {
            return Err(InvalidRule::TargetLabel { name: target, action });
        }
        let other_replacement = replacement != DEFAULT_REPLACEMENT;
        if matches!(action, Lowercase | Uppercase | KeepEqual | DropEqual) && other_replacement {
            return Err(InvalidRule::Replacement(action));
        }
        if action == LabelMap && !scheme.is_valid_template(&replacement) {
            return Err(InvalidRule::LabelMapReplacement(replacement));
        }
        if action == HashMod && !target_is_valid {
            return Err(InvalidRule::TargetLabel { name: target, action });
        }
        let other_fields = modulus != 0 || separator != DEFAULT_SEPARATOR || other_replacement;
        if matches!(action, KeepEqual | DropEqual) && (regex.is_some() || other_fields) {
            return Err(InvalidRule::OnlySourceAndTarget(action));
        }
        let sources_or_target = fields.source_labels.is_some() || !target.is_empty();
        if matches!(action, LabelDrop | LabelKeep) && (sources_or_target || other_fields) {
            return Err(InvalidRule::OnlyRegex(action));
        }
        let regex_is_default = regex.is_none();
        let regex =
            regex.unwrap_or_else(|| Regexp::wrapped(DEFAULT_REGEX).expect("the default is a regular expression"));
        let source_labels = fields.source_labels.unwrap_or_default();
        Ok(Rule { source_labels, separator, regex, regex_is_default, modulus, target, replacement, action, scheme })
    }
}

/// Whether a template has something to expand.
pub(crate) fn has_variable(template: &str) -> bool {
    template.contains('$')
}

/// A rule that makes sense.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(crate) source_labels: Vec<String>,
    pub(crate) separator: String,
    pub(crate) regex: Regexp,
    pub(crate) regex_is_default: bool,
    pub(crate) modulus: u64,
    pub(crate) target: String,
    pub(crate) replacement: String,
    pub(crate) action: Action,
    pub(crate) scheme: NameValidationScheme,
}

impl Rule {
    /// Labels whose values are looked at.
    pub fn source_labels(&self) -> &[String] {
        &self.source_labels
    }

    /// What is put between the values.
    pub fn separator(&self) -> &str {
        &self.separator
    }

    /// The regular expression as it was written, or the default.
    pub fn regex(&self) -> &str {
        self.regex.pattern()
    }

    /// Whether the regular expression was not written at all.
    pub fn regex_is_default(&self) -> bool {
        self.regex_is_default
    }

    /// The modulus; 0 where there is none.
    pub fn modulus(&self) -> u64 {
        self.modulus
    }

    /// The label that is set or compared with; empty where there is none.
    pub fn target_label(&self) -> &str {
        &self.target
    }

    /// The template of the new value.
    pub fn replacement(&self) -> &str {
        &self.replacement
    }

    /// What the rule does.
    pub fn action(&self) -> Action {
        self.action
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legacy_templates_are_names_with_variables() {
        for good in ["a", "_9", "$1", "${1}", "a$1b", "a_${x}9", "$1$2", "$a_b", "${1}9"] {
            assert!(is_legacy_template(good), "{good}");
        }
        for bad in ["", "9", "9$1", "$", "$$", "a$", "${", "${}", "${1", "${1-}", "a-b", "a b", "é", "$é", "a.$1"] {
            assert!(!is_legacy_template(bad), "{bad}");
        }
    }

    #[test]
    fn fields_are_refused_in_the_order_of_prometheus() {
        let error = |fields: Fields| Draft::new(fields).unwrap().validate(NameValidationScheme::Legacy).unwrap_err();
        let action = |text: &str| Some(Some(text.to_owned()));
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(error(Fields { action: Some(None), ..Fields::default() }), InvalidRule::NoAction);
        assert_eq!(error(Fields { action: action("HashMod"), ..Fields::default() }), InvalidRule::NoModulus);
        let both = Fields { action: action("keepequal"), replacement: text("x"), ..Fields::default() };
        assert_eq!(error(both.clone()), InvalidRule::NoTargetLabel(Action::KeepEqual));
        assert_eq!(error(Fields { target_label: text("a"), ..both }), InvalidRule::Replacement(Action::KeepEqual));
        let with_regex =
            Fields { action: action("dropequal"), target_label: text("a"), regex: text("(.*)"), ..Fields::default() };
        assert_eq!(error(with_regex), InvalidRule::OnlySourceAndTarget(Action::DropEqual));
        let no_sources = Fields { action: action("labeldrop"), source_labels: Some(vec![]), ..Fields::default() };
        assert_eq!(error(no_sources), InvalidRule::OnlyRegex(Action::LabelDrop));
        let unknown = Draft::new(Fields { action: action("a\n"), ..Fields::default() }).unwrap_err();
        assert_eq!(unknown.to_string(), r#"unknown relabel action "a\n""#);
        // Go folds the Kelvin sign to `k`.
        assert!(Draft::new(Fields { action: action("\u{212a}EEP"), ..Fields::default() }).is_ok());
    }
}
