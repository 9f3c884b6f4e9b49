//! `simulation FIRST COUNT [RULE]`: runs so many seeds from the first on. Without a rule left out it ends at the first
//! violation and prints the events before it; with one it says which seed shows the violation. `all` leaves out each rule
//! in turn.

use std::io::Write;
use std::process::ExitCode;

use replication::{Rule, Rules};
use simulation::Report;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize| arguments.get(i).and_then(|a: &String| a.parse::<u64>().ok());
    let (Some(first), Some(count)) = (number(0), number(1)) else {
        return say("usage: simulation FIRST_SEED COUNT [RULE | all]", ExitCode::from(2));
    };
    let seeds = first..first.saturating_add(count);
    let Some(name) = arguments.get(2) else { return keep_all(seeds) };
    let mut code = ExitCode::SUCCESS;
    for rule in Rule::ALL.into_iter().filter(|rule| name == "all" || *name == format!("{rule:?}")) {
        let found = seeds.clone().find_map(|seed| Some((seed, simulation::finds(seed, Rules::without(rule))?)));
        let line = match found {
            Some((seed, what)) => format!("{rule:?}: seed {seed}: {what}"),
            None => {
                code = ExitCode::FAILURE;
                format!("{rule:?}: nothing found in {count} seeds")
            }
        };
        code = say(&line, code);
    }
    code
}

fn keep_all(seeds: std::ops::Range<u64>) -> ExitCode {
    let (first, count) = (seeds.start, seeds.end - seeds.start);
    let mut total = Report::default();
    for seed in seeds {
        match simulation::run(seed, Rules::ALL) {
            Ok(report) => total.add(report),
            Err(failure) => return say(&failure.to_string(), ExitCode::FAILURE),
        }
    }
    say(&format!("{count} seeds from {first} without a violation: {total:?}"), ExitCode::SUCCESS)
}

fn say(text: &str, code: ExitCode) -> ExitCode {
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => code,
        // Whoever closed standard output does not want to know, but a caller may.
        Err(_) => ExitCode::FAILURE,
    }
}
