//! The file of kept numbers: a line for the compiler, then a line per loop with its name, its instructions, and their unit.

use anyhow::{Context, Result};

/// A loop may take so much more than was kept.
const MORE_MAX: f64 = 1.1;
/// A loop that takes so much less should be kept anew: else that much could be lost again unseen.
const LESS_MIN: f64 = 0.9;

/// What was counted of one loop.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Count {
    pub(crate) name: String,
    /// Instructions per unit of work.
    pub(crate) per_unit: f64,
    pub(crate) unit: String,
}

/// The whole file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kept {
    /// What `rustc --version` said.
    pub(crate) rustc: String,
    pub(crate) counts: Vec<Count>,
}

impl Kept {
    pub(crate) fn parse(text: &str) -> Result<Kept> {
        let mut lines = text.lines();
        let first = lines.next().context("the file is empty")?;
        let rustc = first.strip_prefix("# ").context("the first line names the compiler")?.to_string();
        let count = |line: &str| {
            let mut words = line.splitn(3, ' ');
            let mut word = || words.next().with_context(|| format!("not name, number, unit: {line}"));
            let (name, number, unit) = (word()?.to_string(), word()?, word()?.to_string());
            let per_unit = number.parse().with_context(|| format!("not a number: {number}"))?;
            Ok(Count { name, per_unit, unit })
        };
        let counts = lines.filter(|line| !line.is_empty()).map(count).collect::<Result<_>>()?;
        Ok(Kept { rustc, counts })
    }

    pub(crate) fn to_text(&self) -> String {
        let line = |count: &Count| format!("{} {:.2} {}\n", count.name, count.per_unit, count.unit);
        format!("# {}\n{}", self.rustc, self.counts.iter().map(line).collect::<String>())
    }

    fn of(&self, name: &str) -> Option<&Count> {
        self.counts.iter().find(|count| count.name == name)
    }

    /// What is wrong with these counts, or with the file where they are `all` that there are.
    pub(crate) fn problems(&self, counts: &[Count], all: bool) -> Vec<String> {
        let mut problems = Vec::new();
        for count in counts {
            match self.of(&count.name) {
                None => problems.push(format!("{} was never kept: run with --keep", count.name)),
                Some(kept) if count.per_unit > kept.per_unit * MORE_MAX => problems.push(format!(
                    "{} takes {:.2} instructions {}, {:.2} were kept: over a tenth more",
                    count.name, count.per_unit, count.unit, kept.per_unit
                )),
                Some(_) => {}
            }
        }
        if all {
            let gone = self.counts.iter().filter(|kept| counts.iter().all(|count| count.name != kept.name));
            problems.extend(gone.map(|kept| format!("{} was kept, and there is no such loop", kept.name)));
        }
        problems
    }
}

/// A line of the table.
pub(crate) fn line(count: &Count, kept: Option<&Kept>) -> String {
    let mut line = format!("{:20} {:10.2} {}", count.name, count.per_unit, count.unit);
    if let Some(kept) = kept.and_then(|kept| kept.of(&count.name)) {
        let ratio = count.per_unit / kept.per_unit;
        line.push_str(&format!(", {:+.1} % of what was kept", (ratio - 1.0) * 100.0));
        if ratio < LESS_MIN {
            line.push_str(" (keep it: --keep)");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(name: &str, per_unit: f64) -> Count {
        Count { name: name.to_string(), per_unit, unit: "per sample".to_string() }
    }

    fn kept() -> Kept {
        Kept { rustc: "rustc 1.95.0".to_string(), counts: vec![count("a", 10.0), count("b", 20.5)] }
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let text = "# rustc 1.95.0\na 10.00 per sample\nb 20.50 per sample\n";
        assert_eq!(kept().to_text(), text);
        assert_eq!(Kept::parse(text).unwrap(), kept());
        for bad in ["", "rustc 1.95.0\n", "# x\na\n", "# x\na 1\n", "# x\na one per sample\n"] {
            assert!(Kept::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_tenth_more_is_let_pass_and_more_is_not() {
        let check = |counts: &[Count], all: bool, expected: &[&str]| {
            assert_eq!(kept().problems(counts, all), expected, "{counts:?}");
        };
        check(&[count("a", 10.99), count("b", 1.0)], true, &[]);
        let worse = "a takes 11.01 instructions per sample, 10.00 were kept: over a tenth more";
        check(&[count("a", 11.01), count("b", 20.5)], true, &[worse]);
        check(&[count("c", 1.0)], false, &["c was never kept: run with --keep"]);
        check(&[count("a", 10.0)], false, &[]);
        check(&[count("a", 10.0)], true, &["b was kept, and there is no such loop"]);
    }

    #[test]
    fn a_line_tells_the_change_and_when_to_keep_it() {
        assert!(line(&count("a", 10.5), Some(&kept())).ends_with("10.50 per sample, +5.0 % of what was kept"));
        assert!(line(&count("a", 8.0), Some(&kept())).ends_with("-20.0 % of what was kept (keep it: --keep)"));
        assert!(line(&count("a", 8.0), None).ends_with("8.00 per sample"));
    }
}
