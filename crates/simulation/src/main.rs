//! `simulation FIRST COUNT`: runs so many seeds from the first on, and ends at the first violation.

use std::io::Write;
use std::process::ExitCode;

use replication::Rules;
use simulation::Report;

fn main() -> ExitCode {
    let arguments: Vec<u64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let &[first, count] = arguments.as_slice() else {
        return say("usage: simulation FIRST_SEED COUNT", ExitCode::from(2));
    };
    let mut total = Report::default();
    for seed in first..first.saturating_add(count) {
        match simulation::run(seed, Rules::ALL) {
            Ok(report) => total.add(report),
            Err(failure) => return say(&failure.to_string(), ExitCode::FAILURE),
        }
    }
    say(&format!("{count} seeds from {first}: {total:?}"), ExitCode::SUCCESS)
}

fn say(text: &str, code: ExitCode) -> ExitCode {
    // Whoever closed standard output does not want to know.
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}
