//! The binary: reads arguments, wires roles, waits for the signal to stop.

use clap::Parser;

mod admin;
mod all;
mod configuration;
mod configured;
mod control_plane;
mod data_dir;
mod distributor;
mod flags;
mod front;
mod grpc_tls;
mod ingester;
mod lifecycle;
mod local_members;
mod log;
mod node;
mod node_flags;
mod process_metrics;
mod querier;
mod query_flags;
mod ruler;
mod scraper;
mod seat;
mod state;
mod storage_parts;
mod store;
mod writer_metrics;

use flags::{Command, CommandLine};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    let command = CommandLine::parse().command;
    let (level, format) = command.log();
    log::init(level, format);
    let ran = match command {
        Command::All(flags) => all::run(&flags),
        Command::Ruler(flags) => ruler::run(&flags),
        Command::Ingester(flags) => ingester::run(*flags),
        Command::Distributor(flags) => distributor::run(*flags),
        Command::Querier(flags) => querier::run(*flags),
        Command::Store(flags) => store::run(*flags),
        Command::Scraper(flags) => scraper::run(*flags),
        Command::Admin(admin) => admin::run(*admin),
    };
    match ran {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!("{e:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
