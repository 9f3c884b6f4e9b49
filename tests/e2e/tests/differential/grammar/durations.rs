//! Durations: literals, numbers, expressions.

use super::Grammar;

const UNITS: &[&str] = &["15s", "30s", "45s", "1m", "1m30s", "2m", "5m", "7m15s", "10m", "20m", "14999ms", "90001ms"];

impl Grammar<'_> {
    /// A duration where a bracket or a keyword ends it.
    pub(super) fn duration(&mut self) -> String {
        if !self.language.is_newer() || self.below(6) > 0 {
            return self.unit().to_owned();
        }
        self.duration_term(2)
    }

    /// Of whole seconds where edges of windows must not be samples.
    fn unit(&mut self) -> &'static str {
        let all = if self.language.is_newer() { UNITS } else { &UNITS[..UNITS.len() - 2] };
        self.pick(all)
    }

    pub(super) fn duration_term(&mut self, depth: u64) -> String {
        self.note("duration expression");
        match self.below(if depth == 0 { 3 } else { 12 }) {
            0 => format!("{}", 15 + self.below(600)),
            1 | 2 => self.pick(UNITS).to_owned(),
            3 | 4 => {
                self.note("duration step()");
                format!("step() + {}", self.pick(UNITS))
            }
            5 | 6 => {
                self.note("duration range()");
                format!("range() / 4 + {}", self.pick(UNITS))
            }
            7 | 8 => {
                let name = self.noted(&["duration min_of", "duration max_of"]);
                let name = name.trim_start_matches("duration ");
                format!("{name}({}, {})", self.duration_term(depth - 1), self.duration_term(depth - 1))
            }
            9 => {
                let sign = self.pick(&["+", "-(-1)*"]);
                format!("{sign}({})", self.duration_term(depth - 1))
            }
            _ => {
                let op =
                    self.noted(&["duration +", "duration -", "duration *", "duration /", "duration %", "duration ^"]);
                let op = op.trim_start_matches("duration ");
                let left = self.duration_term(depth - 1);
                let right = match op {
                    "*" | "/" => format!("{}", 1 + self.below(3)),
                    "^" => self.pick(&["1", "0.5", "1.25"]).to_owned(),
                    "%" => self.pick(&["7m", "100", "1h"]).to_owned(),
                    "-" => self.pick(&["1s", "10", "1m"]).to_owned(),
                    _ => self.pick(UNITS).to_owned(),
                };
                format!("({left}) {op} {right}")
            }
        }
    }
}
