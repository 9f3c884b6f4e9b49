//! Where programs are, and what the table calls them.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use benches::machine::variable;
use benches::system::{Kind, System};

use crate::scenario::Program;

/// A program that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its file.
    pub path: PathBuf,
    /// Name, version and year.
    pub title: String,
}

/// Finds a program: `NARTHEX_BIN` or the binary that was built beside us; a peer where its variable says, or by
/// `tools/peers.sh`.
pub fn find(program: Program) -> Result<Found> {
    let (kind, narthex) = match program {
        Program::Narthex => {
            (Kind::Narthex, variable("NARTHEX_BIN").map_or_else(|| beside_us("narthex"), |path| Ok(path.into()))?)
        }
        Program::Prometheus => (Kind::Prometheus, PathBuf::new()),
        Program::VictoriaMetrics => (Kind::VictoriaMetrics, PathBuf::new()),
    };
    let system = System::find(kind, &narthex)?;
    // Ours is this checkout's, of no year.
    let title = if kind.is_narthex() { format!("Narthex {}", system.version) } else { system.title() };
    Ok(Found { path: system.binary, title })
}

/// A binary that was built into the same folder as this program, or as this test.
pub fn beside_us(name: &str) -> Result<PathBuf> {
    let us = std::env::current_exe().context("path of this program")?;
    // <target>/debug/chaos-run, <target>/debug/deps/chaos-0123456789abcdef
    let candidates: Vec<PathBuf> = us.ancestors().skip(1).take(2).map(|folder| folder.join(name)).collect();
    let found = candidates.iter().find(|path| path.is_file()).cloned();
    ensure!(found.is_some(), "{} is not there: build it first", candidates[0].display());
    found.context("checked")
}
