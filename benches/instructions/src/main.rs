//! How many instructions the inner loops take, counted by callgrind: a number that a busy machine does not change, so that a
//! change of a few per cent shows where times would not. Compared with `kept.txt`; it fails where a loop takes a tenth more.
//!
//! Each loop runs in two processes under valgrind, once and three times: the difference is what two rounds take, without the
//! start and without making the input. Caches, branches and memory are not looked at; `bench` measures time.

#![expect(clippy::print_stdout, reason = "the table is the program's answer")]

mod kept;
mod loops;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use kept::{Count, Kept};
use loops::Loop;

/// Rounds in the first process, and how many more in the second.
const ROUNDS: u64 = 1;
const ROUNDS_MORE: u64 = 2;

#[derive(Parser)]
#[command(about = "Counts the instructions of the inner loops under callgrind, and compares with what was kept")]
struct Arguments {
    /// Write what was counted to the file, in place of comparing.
    #[arg(long)]
    keep: bool,
    /// Only these loops, by name.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The file of kept numbers.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/kept.txt"))]
    kept: PathBuf,
    /// What this program asks of itself: run one loop for so many rounds and print nothing.
    #[arg(long, hide = true, num_args = 2, value_names = ["LOOP", "ROUNDS"])]
    run: Option<Vec<String>>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some([name, rounds]) = arguments.run.as_deref() {
        let looped = Loop::find(name).with_context(|| format!("no loop {name}"))?;
        (looped.run)(rounds.parse().context("rounds")?);
        return Ok(ExitCode::SUCCESS);
    }
    for name in &arguments.only {
        ensure!(Loop::find(name).is_some(), "no loop {name}; there are {}", Loop::ALL.map(|one| one.name).join(", "));
    }
    ensure!(!arguments.keep || arguments.only.is_empty(), "--keep writes all loops");
    ensure!(!cfg!(debug_assertions), "only an optimised build is worth counting: build with --release");
    let rustc = rustc_version()?;
    let kept = match std::fs::read_to_string(&arguments.kept) {
        Ok(text) => Some(Kept::parse(&text).with_context(|| format!("read {}", arguments.kept.display()))?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && arguments.keep => None,
        Err(error) => return Err(error).with_context(|| format!("read {}", arguments.kept.display())),
    };
    let program = std::env::current_exe().context("find this program")?;
    let wanted = |one: &&Loop| arguments.only.is_empty() || arguments.only.iter().any(|name| name == one.name);
    let mut counts = Vec::new();
    for one in Loop::ALL.iter().filter(wanted) {
        let (few, many) = (counted(&program, one.name, ROUNDS)?, counted(&program, one.name, ROUNDS + ROUNDS_MORE)?);
        let instructions = many.checked_sub(few).with_context(|| format!("{}: {many} after {few}", one.name))?;
        let per_unit = instructions as f64 / (ROUNDS_MORE * one.units) as f64;
        let count = Count { name: one.name.to_string(), per_unit, unit: one.unit.to_string() };
        println!("{}", kept::line(&count, kept.as_ref()));
        counts.push(count);
    }
    if arguments.keep {
        let text = Kept { rustc, counts }.to_text();
        std::fs::write(&arguments.kept, text).with_context(|| format!("write {}", arguments.kept.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let kept = kept.context("nothing was kept")?;
    if kept.rustc != rustc {
        println!("kept with {}, built with {rustc}: a difference may be the compiler's", kept.rustc);
    }
    let problems = kept.problems(&counts, arguments.only.is_empty());
    problems.iter().for_each(|problem| println!("{problem}"));
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Instructions of a whole process that runs a loop.
fn counted(program: &Path, name: &str, rounds: u64) -> Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["--run", name, &rounds.to_string()])
        .output()
        .context("run valgrind; get it with: apt-get install valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{name} under valgrind: {}: {said}", output.status);
    }
    collected(&said).with_context(|| format!("valgrind said no count: {said}"))
}

/// The number of a line such as `==12== Collected : 123456`.
fn collected(said: &str) -> Option<u64> {
    let line = said.lines().find_map(|line| line.split_once("Collected :"))?;
    line.1.trim().parse().ok()
}

/// Of the compiler that is in the path, which `make` built this with.
fn rustc_version() -> Result<String> {
    let output = Command::new("rustc").arg("--version").output().context("run rustc")?;
    ensure!(output.status.success(), "rustc --version: {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_in_what_valgrind_says() {
        let said = "==7== Callgrind, a call-graph\n==7== Events    : Ir\n==7== Collected : 2504113\n";
        assert_eq!(collected(said), Some(2_504_113));
        assert_eq!(collected("==7== Events    : Ir\n"), None);
    }

    #[test]
    fn every_loop_runs_and_has_a_name_of_its_own() {
        for (at, one) in Loop::ALL.iter().enumerate() {
            assert!(Loop::ALL[..at].iter().all(|other| other.name != one.name), "{}", one.name);
            assert!(one.units > 0 && !one.name.contains(char::is_whitespace));
        }
        // Those that are quick unoptimised too; the others differ in size only.
        for name in ["decode-xor", "parse-query", "parse-batch", "cached-page"] {
            (Loop::find(name).unwrap().run)(1);
        }
    }
}
