//! The binary: reads arguments, wires roles, waits for the signal to stop.

use clap::Parser;

mod all;
mod configuration;
mod control_plane;
mod data_dir;
mod flags;
mod front;
mod log;
mod process_metrics;
mod state;

use flags::{Command, CommandLine};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    let Command::All(flags) = CommandLine::parse().command;
    log::init(flags.log_level, flags.log_format);
    match all::run(&flags) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!("{e:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
