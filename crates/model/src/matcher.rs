//! Label matchers.

use std::fmt;

use regexp::Regexp;

use crate::Labels;

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        }
    }
}

impl fmt::Display for MatchOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A condition on one label. An absent label counts as the empty text.
#[derive(Clone, Debug)]
pub struct Matcher {
    name: String,
    value: String,
    op: MatchOp,
    regexp: Option<Regexp>,
}

impl Matcher {
    /// `name op value`; an error where `value` is to be a regular expression and is none.
    pub fn new(name: &str, op: MatchOp, value: &str) -> Result<Matcher, regexp::Error> {
        let regexp = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(Regexp::matcher(value)?),
        };
        Ok(Matcher { name: name.to_owned(), value: value.to_owned(), op, regexp })
    }

    /// `name = value`.
    pub fn equal(name: &str, value: &str) -> Matcher {
        Matcher { name: name.to_owned(), value: value.to_owned(), op: MatchOp::Equal, regexp: None }
    }

    /// The label's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text or pattern compared with.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// How.
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// The compiled pattern of `=~` and `!~`.
    pub fn regexp(&self) -> Option<&Regexp> {
        self.regexp.as_ref()
    }

    /// Whether a label of this value (empty where absent) satisfies the condition.
    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.regexp) {
            (MatchOp::Equal, _) => self.value == value,
            (MatchOp::NotEqual, _) => self.value != value,
            (MatchOp::Regex, Some(re)) => re.is_match(value),
            (MatchOp::NotRegex, Some(re)) => !re.is_match(value),
            (MatchOp::Regex | MatchOp::NotRegex, None) => {
                unreachable!("a regular expression is compiled at construction")
            }
        }
    }

    /// Whether series without the label satisfy the condition.
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }

    /// Whether a series of these labels satisfies the condition.
    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.get(&self.name).unwrap_or(""))
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Matcher) -> bool {
        (self.op, &self.name, &self.value) == (other.op, &other.name, &other.value)
    }
}

impl Eq for Matcher {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_label_is_the_empty_text() {
        for (op, value, empty, a) in [
            (MatchOp::Equal, "", true, false),
            (MatchOp::Equal, "a", false, true),
            (MatchOp::NotEqual, "a", true, false),
            (MatchOp::Regex, "a|", true, true),
            (MatchOp::Regex, "a.*", false, true),
            (MatchOp::NotRegex, "a+", true, false),
        ] {
            let m = Matcher::new("x", op, value).unwrap();
            assert_eq!((m.matches_empty(), m.matches("a")), (empty, a), "{op}{value}");
        }
    }
}
