//! Reading `prometheus.yml` and what it imports from the file system.

use std::path::Path;

use config::{Config, Defaults, UnsupportedBlock};
use model::DurationMs;

use crate::configured::Source;

/// How far back samples are taken where the configuration does not say: after an outage a stock Prometheus resends two hours and
/// more.
const WINDOW_DEFAULT: DurationMs = DurationMs::hours(3);
/// The least window: what Prometheus takes in order.
const WINDOW_MIN: DurationMs = DurationMs::hours(1);
/// How long samples are kept where nobody says.
const RETENTION_DEFAULT: DurationMs = DurationMs::hours(15 * 24);

/// Loads the configuration. The error says file, line and column.
pub(crate) fn load(source: &Source) -> Result<Config, config::LoadError> {
    let directory = std::env::current_dir().unwrap_or_default();
    let outside = config::Outside {
        read: &|path| std::fs::read_to_string(path),
        glob: &|pattern| config::glob::expand(pattern, &names, &|path| Path::new(path).exists()).unwrap_or_default(),
        variable: &variable,
        working_directory: &directory.to_string_lossy(),
    };
    let defaults = Defaults {
        retention_time: source.retention.unwrap_or(RETENTION_DEFAULT),
        max_exemplars: Some(100_000),
        ..Defaults::default()
    };
    config::load(&source.file.to_string_lossy(), &defaults, &outside)
}

/// Names in a folder; none where it is no folder.
fn names(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(if folder.is_empty() { "." } else { folder });
    let mut names: Vec<String> =
        entries.into_iter().flatten().flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// An environment variable, for external labels and proxies.
#[expect(clippy::disallowed_methods, reason = "the binary alone reads the environment")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// How far back samples are taken.
pub(crate) fn window(config: &Config) -> DurationMs {
    config.storage.out_of_order_time_window.map_or(WINDOW_DEFAULT, |configured| configured.max(WINDOW_MIN))
}

/// How long blocks are kept; `None` for ever.
pub(crate) fn retention(config: &Config) -> Option<DurationMs> {
    config.storage.retention_time.filter(|t| *t > DurationMs::ZERO)
}

/// Blocks that are valid and that this version does not act on.
pub(crate) fn unsupported(config: &Config) -> Vec<UnsupportedBlock> {
    let mut blocks = config.unsupported.clone();
    let mut add = |set: bool, block: &str| {
        if set {
            blocks.push(UnsupportedBlock { block: block.to_owned(), jobs: Vec::new() });
        }
    };
    add(!config.rule_files.is_empty(), "rule_files");
    add(config.storage.retention_size.is_some_and(|s| s != config::ByteSize::default()), "storage.tsdb.retention.size");
    add(config.storage.retention_percentage.is_some_and(|p| p > 0.0), "storage.tsdb.retention.percentage");
    add(config.global.query_log_file.is_some(), "global.query_log_file");
    add(config.global.scrape_failure_log_file.is_some(), "global.scrape_failure_log_file");
    blocks.sort_by(|a, b| a.block.cmp(&b.block));
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_what_is_configured_but_never_too_small() {
        for (configured, expected) in [
            ("", DurationMs::hours(3)),
            ("out_of_order_time_window: 0", DurationMs::hours(1)),
            ("out_of_order_time_window: 0s", DurationMs::hours(1)),
            ("out_of_order_time_window: 30m", DurationMs::hours(1)),
            ("out_of_order_time_window: 2h", DurationMs::hours(2)),
            ("out_of_order_time_window: 4y", DurationMs::hours(4 * 365 * 24)),
        ] {
            let text = format!("storage: {{tsdb: {{{configured}}}}}");
            let config = config::parse(&text, "", &Defaults::default(), &|_| None).unwrap();
            assert_eq!(window(&config), expected, "{configured}");
        }
    }
}
