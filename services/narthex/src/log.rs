//! Messages to standard error.

use std::io::IsTerminal;

use tracing::Level;

use crate::flags::{LogFormat, LogLevel};

/// Starts printing messages.
pub(crate) fn init(level: LogLevel, format: LogFormat) {
    let level = match level {
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Info => Level::INFO,
        LogLevel::Warn => Level::WARN,
        LogLevel::Error => Level::ERROR,
    };
    // Libraries speak only when something is wrong. openraft warns of every vote that a lone voter casts for itself.
    let filter = format!("warn,openraft=error,{}", OURS.map(|name| format!("{name}={level}")).join(","));
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_target(false);
    match format {
        LogFormat::Logfmt => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// Crates whose messages follow `--log.level`.
const OURS: [&str; 10] =
    ["narthex", "ingester", "querier", "scraper", "distributor", "ruler", "membership", "server", "discovery", "raft"];
