//! The binary: reads arguments, wires roles, waits for the signal to stop.

use clap::Parser;

mod all;
mod configuration;
mod control_plane;
mod data_dir;
mod flags;
mod front;
mod grpc_tls;
mod local_members;
mod log;
mod node_flags;
mod process_metrics;
mod ruler;
mod state;
mod writer_metrics;

use flags::{Command, CommandLine};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    let ran = match CommandLine::parse().command {
        Command::All(flags) => {
            log::init(flags.log_level, flags.log_format);
            all::run(&flags)
        }
        Command::Ruler(flags) => {
            log::init(flags.node.log_level, flags.node.log_format);
            ruler::run(&flags)
        }
    };
    match ran {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!("{e:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
