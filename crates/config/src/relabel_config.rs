//! One relabelling rule: as it is written, and checked. What it does to labels is another crate's business.
//! Source: `model/relabel/relabel.go`.

use regexp::Regexp;

use crate::go;
use crate::raw::text::{LabelName, MaybeList};
use crate::scheme::NameValidation;
use crate::yaml::decode::Uint64;
use crate::yaml::record::Paths;
use crate::yaml::scalar::Scalar;
use crate::yaml::{Decode, Decoder, Encode, Fail, NodeId, Out, Refusal, record, refuse_at};

/// The regular expression of a rule that names none.
pub const REGEX_DEFAULT: &str = "(.*)";
/// What stands between joined values in a rule that does not say.
pub const SEPARATOR_DEFAULT: &str = ";";
/// The replacement of a rule that names none.
pub const REPLACEMENT_DEFAULT: &str = "$1";

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelabelAction {
    /// Sets the target label to the expanded replacement.
    Replace,
    /// Keeps what matches.
    Keep,
    /// Drops what matches.
    Drop,
    /// Keeps what has the joined values in the target label.
    KeepEqual,
    /// Drops what has the joined values in the target label.
    DropEqual,
    /// Sets the target label to the hash of the joined values, modulo the modulus.
    HashMod,
    /// Copies labels to names made of their own.
    LabelMap,
    /// Removes labels whose names match.
    LabelDrop,
    /// Removes labels whose names do not match.
    LabelKeep,
    /// Sets the target label to the joined values in lower case.
    Lowercase,
    /// Sets the target label to the joined values in upper case.
    Uppercase,
}

impl RelabelAction {
    /// All of them.
    pub const ALL: [RelabelAction; 11] = [
        RelabelAction::Replace,
        RelabelAction::Keep,
        RelabelAction::Drop,
        RelabelAction::KeepEqual,
        RelabelAction::DropEqual,
        RelabelAction::HashMod,
        RelabelAction::LabelMap,
        RelabelAction::LabelDrop,
        RelabelAction::LabelKeep,
        RelabelAction::Lowercase,
        RelabelAction::Uppercase,
    ];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            RelabelAction::Replace => "replace",
            RelabelAction::Keep => "keep",
            RelabelAction::Drop => "drop",
            RelabelAction::KeepEqual => "keepequal",
            RelabelAction::DropEqual => "dropequal",
            RelabelAction::HashMod => "hashmod",
            RelabelAction::LabelMap => "labelmap",
            RelabelAction::LabelDrop => "labeldrop",
            RelabelAction::LabelKeep => "labelkeep",
            RelabelAction::Lowercase => "lowercase",
            RelabelAction::Uppercase => "uppercase",
        }
    }

    /// The action of that name, in any case.
    pub fn parse(text: &str) -> Option<RelabelAction> {
        let lower = text.to_lowercase();
        RelabelAction::ALL.into_iter().find(|a| a.as_str() == lower)
    }

    /// Whether the action writes to, or compares with, `target_label`.
    fn needs_target(self) -> bool {
        matches!(self, RelabelAction::Replace | RelabelAction::HashMod) || self.takes_values_alone()
    }

    /// Whether the action uses the joined values as they are, without `replacement`.
    fn takes_values_alone(self) -> bool {
        matches!(
            self,
            RelabelAction::Lowercase | RelabelAction::Uppercase | RelabelAction::KeepEqual | RelabelAction::DropEqual
        )
    }
}

/// A checked rule.
#[derive(Clone, Debug, PartialEq)]
pub struct RelabelConfig {
    /// Names of the labels whose values are joined.
    pub source_labels: Vec<String>,
    /// What stands between the joined values.
    pub separator: String,
    /// The regular expression as written, without anchors; `Regexp::wrapped` accepts it.
    pub regex: String,
    /// For `hashmod`; not 0 there.
    pub modulus: u64,
    /// The label that is written; may hold `$1` for `replace`.
    pub target_label: String,
    /// What is written; may hold `$1`.
    pub replacement: String,
    /// What the rule does.
    pub action: RelabelAction,
    /// Which names may come out of it.
    pub name_validation: NameValidation,
}

record! {
    /// A rule as it is written.
    pub(crate) struct RawRelabelConfig as "relabel.Config" in "relabel.plain" [reset = RawRelabelConfig::defaults, check = RawRelabelConfig::fill_regex] {
        source_labels: MaybeList<LabelName> = "source_labels" [omit, flow];
        separator: String = "separator" [];
        regex: RawRegex = "regex" [omit];
        modulus: Uint64 = "modulus" [omit];
        target_label: String = "target_label" [omit];
        replacement: String = "replacement" [];
        action: RawAction = "action" [omit];
    }
}

impl RawRelabelConfig {
    fn defaults() -> RawRelabelConfig {
        RawRelabelConfig {
            separator: SEPARATOR_DEFAULT.to_owned(),
            regex: RawRegex::Default,
            replacement: REPLACEMENT_DEFAULT.to_owned(),
            action: RawAction("replace".to_owned()),
            ..RawRelabelConfig::default()
        }
    }

    /// `regex:` without a value is the empty expression, not the default one.
    fn fill_regex(&mut self) -> Result<(), Refusal> {
        if self.regex == RawRegex::Null {
            self.regex = RawRegex::Written(String::new());
        }
        Ok(())
    }

    /// The rule, if it makes sense; `scheme` says which names are labels.
    pub(crate) fn validate(&self, scheme: NameValidation) -> Result<RelabelConfig, Refusal> {
        self.check(scheme).map_err(|refusal| refusal.moved_to(self.at))
    }

    fn check(&self, scheme: NameValidation) -> Result<RelabelConfig, Refusal> {
        let Some(action) = RelabelAction::parse(&self.action.0) else {
            return refuse_at("action", "relabel action cannot be empty");
        };
        let name = action.as_str();
        if self.modulus.0 == 0 && action == RelabelAction::HashMod {
            return refuse_at("action", "relabel configuration for hashmod requires non-zero modulus");
        }
        if action.needs_target() && self.target_label.is_empty() {
            return refuse_at(
                "action",
                format!("relabel configuration for {name} action requires 'target_label' value"),
            );
        }
        self.check_names(action, scheme)?;
        self.check_unused(action)?;
        Ok(RelabelConfig {
            source_labels: self.source_labels.0.iter().flatten().map(|l| l.0.clone()).collect(),
            separator: self.separator.clone(),
            regex: self.regex.as_str().to_owned(),
            modulus: self.modulus.0,
            target_label: self.target_label.clone(),
            replacement: self.replacement.clone(),
            action,
            name_validation: scheme,
        })
    }

    fn check_names(&self, action: RelabelAction, scheme: NameValidation) -> Result<(), Refusal> {
        let bad_target = || {
            let text =
                format!("{} is invalid 'target_label' for {} action", go::quote(&self.target_label), action.as_str());
            refuse_at("target_label", text)
        };
        let target_valid = scheme.allows_label_name(&self.target_label);
        if action == RelabelAction::Replace {
            let valid = if has_variable(&self.target_label) {
                is_name_template(&self.target_label, scheme)
            } else {
                target_valid
            };
            if !valid {
                return bad_target();
            }
        }
        if action.takes_values_alone() {
            if !target_valid {
                return bad_target();
            }
            if self.replacement != REPLACEMENT_DEFAULT {
                let text = format!("'replacement' can not be set for {} action", action.as_str());
                return refuse_at("replacement", text);
            }
        }
        if action == RelabelAction::LabelMap && !is_name_template(&self.replacement, scheme) {
            let text = format!("{} is invalid 'replacement' for labelmap action", go::quote(&self.replacement));
            return refuse_at("replacement", text);
        }
        if action == RelabelAction::HashMod && !target_valid { bad_target() } else { Ok(()) }
    }

    /// Refuses fields that the action does not use.
    fn check_unused(&self, action: RelabelAction) -> Result<(), Refusal> {
        let common_untouched =
            self.modulus.0 == 0 && self.separator == SEPARATOR_DEFAULT && self.replacement == REPLACEMENT_DEFAULT;
        let name = action.as_str();
        match action {
            RelabelAction::KeepEqual | RelabelAction::DropEqual
                if !common_untouched || self.regex != RawRegex::Default =>
            {
                let text =
                    format!("{name} action requires only 'source_labels' and `target_label`, and no other fields");
                refuse_at("action", text)
            }
            RelabelAction::LabelDrop | RelabelAction::LabelKeep
                if !common_untouched || self.source_labels.0.is_some() || !self.target_label.is_empty() =>
            {
                refuse_at("action", format!("{name} action requires only 'regex', and no other fields"))
            }
            _ => Ok(()),
        }
    }
}

/// Prometheus' `varInRegexTemplate`.
fn has_variable(template: &str) -> bool {
    template.contains('$')
}

/// Whether a text with `$1` and `${name}` in it can become a label name.
fn is_name_template(text: &str, scheme: NameValidation) -> bool {
    match scheme {
        NameValidation::Utf8 => scheme.allows_label_name(text),
        NameValidation::Legacy | NameValidation::Unset => is_legacy_template(text.as_bytes()),
    }
}

/// `(?:(?:[a-zA-Z_]|\$(?:\{\w+\}|\w+))+\w*)+`: a name of the old kind with variables in it. Digits may stand anywhere but
/// at the start, where only a variable's may.
fn is_legacy_template(mut rest: &[u8]) -> bool {
    let is_word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let mut at_start = true;
    while let Some((first, behind)) = rest.split_first() {
        rest = match first {
            b'$' => {
                let (braced, name) = match behind.strip_prefix(b"{") {
                    Some(name) => (true, name),
                    None => (false, behind),
                };
                let letters = name.iter().take_while(|b| is_word(b)).count();
                let after = &name[letters..];
                match (letters, braced, after.strip_prefix(b"}")) {
                    (0, _, _) | (_, true, None) => return false,
                    (_, true, Some(after)) => after,
                    (_, false, _) => after,
                }
            }
            b if b.is_ascii_digit() && at_start => return false,
            b if is_word(b) => behind,
            _ => return false,
        };
        at_start = false;
    }
    !at_start
}

/// The expression of a rule. Prometheus tells the default one from the same text written out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum RawRegex {
    /// Not mentioned.
    Default,
    /// Mentioned without a value.
    #[default]
    Null,
    Written(String),
}

impl RawRegex {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            RawRegex::Default => REGEX_DEFAULT,
            RawRegex::Null => "",
            RawRegex::Written(text) => text,
        }
    }
}

impl Decode for RawRegex {
    fn type_name() -> String {
        "relabel.Regexp".to_owned()
    }
    /// The quoted word `"null"`, which is no null here.
    fn scalar(&mut self, d: &mut Decoder<'_>, id: NodeId, scalar: &Scalar) -> Result<bool, Fail> {
        let mut text = String::new();
        text.scalar(d, id, scalar)?;
        *self = RawRegex::Written(text);
        Ok(true)
    }
    fn unmarshal(&mut self, d: &mut Decoder<'_>, id: NodeId) -> Result<bool, Fail> {
        let Some(text) = d.text(id)? else { return Ok(false) };
        Regexp::wrapped(&text).map_err(|e| d.refused(id, Refusal::from(e.to_string())))?;
        *self = RawRegex::Written(text);
        Ok(true)
    }
}

impl Encode for RawRegex {
    fn is_zero(&self) -> bool {
        *self == RawRegex::Default
    }
    fn encode(&self) -> Out {
        Out::Str(self.as_str().to_owned())
    }
}

impl Paths for RawRegex {}

/// The action as it is written, in lower case; empty where it is written as null.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RawAction(String);

impl Decode for RawAction {
    fn type_name() -> String {
        "relabel.Action".to_owned()
    }
    fn unmarshal(&mut self, d: &mut Decoder<'_>, id: NodeId) -> Result<bool, Fail> {
        let Some(text) = d.text(id)? else { return Ok(false) };
        let Some(action) = RelabelAction::parse(&text) else {
            let text = format!("unknown relabel action {}", go::quote(&text));
            return Err(d.refused(id, Refusal::from(text)));
        };
        action.as_str().clone_into(&mut self.0);
        Ok(true)
    }
}

impl Encode for RawAction {
    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }
    fn encode(&self) -> Out {
        Out::Str(self.0.clone())
    }
}

impl Paths for RawAction {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_of_old_names_are_names_with_variables() {
        for (text, valid) in [
            ("a", true),
            ("a1", true),
            ("1a", false),
            ("$1", true),
            ("${1}a", true),
            ("a${1}b$c", true),
            ("${1", false),
            ("$", false),
            ("a$", false),
            ("${}", false),
            ("", false),
            ("a-b", false),
            ("$1-", false),
        ] {
            assert_eq!(is_legacy_template(text.as_bytes()), valid, "{text}");
        }
    }
}
