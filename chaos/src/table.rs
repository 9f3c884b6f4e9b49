//! What scenarios came to, as a table.

use crate::classes::Summary;

/// A scenario that has run.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Name, version and year.
    pub system: String,
    /// The scenario's title.
    pub scenario: String,
    /// The most of each count over all its passes.
    pub counts: Summary,
    /// In a word or two.
    pub verdict: String,
    /// Whether the run as a whole fails by it.
    pub failed: bool,
}

impl Row {
    /// Adds what a pass has found.
    pub fn add(&mut self, summary: &Summary) {
        let counts = &mut self.counts;
        for (ours, theirs) in [
            (&mut counts.acked, summary.acked),
            (&mut counts.lost, summary.lost),
            (&mut counts.duplicated, summary.duplicated),
            (&mut counts.altered, summary.altered),
            (&mut counts.phantom, summary.phantom),
            (&mut counts.warned, summary.warned),
        ] {
            *ours = theirs.max(*ours);
        }
    }
}

/// Markdown, columns aligned.
pub fn render(rows: &[Row]) -> String {
    let head = ["system", "scenario", "acked", "lost", "duplicated", "altered", "phantom", "warned", "verdict"];
    let mut lines = vec![head.map(str::to_string)];
    for row in rows {
        let counts = &row.counts;
        let [acked, lost, duplicated, altered, phantom, warned] =
            [counts.acked, counts.lost, counts.duplicated, counts.altered, counts.phantom, counts.warned]
                .map(|count| count.to_string());
        let (system, scenario) = (row.system.clone(), row.scenario.clone());
        lines.push([system, scenario, acked, lost, duplicated, altered, phantom, warned, row.verdict.clone()]);
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut out = String::new();
    for (index, line) in lines.iter().enumerate() {
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if (2..8).contains(&column) { format!(" {cell:>width$} ") } else { format!(" {cell:<width$} ") }
        });
        out.push_str(&format!("|{}|\n", cells.collect::<Vec<_>>().join("|")));
        if index == 0 {
            let rule = widths.iter().enumerate().map(|(column, width)| {
                let dashes = "-".repeat(width + 1);
                if (2..8).contains(&column) { format!("{dashes}:") } else { format!("{dashes}-") }
            });
            out.push_str(&format!("|{}|\n", rule.collect::<Vec<_>>().join("|")));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_row_per_scenario_with_the_most_of_each_count() {
        let mut row = Row { system: "A 1".to_string(), scenario: "kill".to_string(), ..Row::default() };
        row.add(&Summary { acked: 1234, lost: 5, ..Summary::default() });
        row.add(&Summary { acked: 12, warned: 7, ..Summary::default() });
        row.verdict = "VIOLATED".to_string();
        let expected = "\
| system | scenario | acked | lost | duplicated | altered | phantom | warned | verdict  |
|--------|----------|------:|-----:|-----------:|--------:|--------:|-------:|----------|
| A 1    | kill     |  1234 |    5 |          0 |       0 |       0 |      7 | VIOLATED |
";
        assert_eq!(render(&[row]), expected);
    }
}
