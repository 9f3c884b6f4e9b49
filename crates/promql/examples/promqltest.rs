//! Runs PromQL test scripts: `promqltest FILE…`.
#![expect(clippy::print_stdout, reason = "a program that prints")]

fn main() {
    for file in std::env::args().skip(1) {
        let text = std::fs::read_to_string(&file).expect("the file can be read");
        match promql::promqltest::run(&text) {
            Err(e) => println!("{file}: {e}"),
            Ok(report) => {
                for failure in &report.failures {
                    println!("{file}:{} {}\n    {}", failure.line, failure.expr, failure.reason);
                }
                let (failed, left_out) = (report.failures.len(), &report.left_out);
                println!("{file}: {} passed, {failed} failed, left out {left_out:?}", report.passed);
            }
        }
    }
}
