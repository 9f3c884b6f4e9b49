//! `file_sd_configs`: files are read when their directories change and every refresh interval.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use config::{FileDiscovery, Refused, TargetFormat, parse_target_groups};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tracing::{debug, error, warn};

use crate::group::{Group, Update, groups_of};

/// The label with a group's file.
const FILEPATH_LABEL: &str = "__meta_filepath";

/// Longest file that is read: protects memory from a pattern that catches something else.
const FILE_BYTES_MAX: u64 = 256 << 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("the file has {0} bytes, more than {FILE_BYTES_MAX}")]
    TooLong(u64),
    #[error("the name ends neither in .json nor in .yml nor in .yaml")]
    Extension,
}

/// What files said, and what to pass on.
#[derive(Default)]
pub(crate) struct Files {
    known: BTreeSet<String>,
}

impl Files {
    /// The updates of one look at all files: `read` holds what each existing one says now. A file that cannot be read keeps
    /// what it said last; one that is gone takes it along.
    pub(crate) fn updates(
        &mut self,
        mechanism: usize,
        read: BTreeMap<String, Result<Vec<Group>, ReadError>>,
    ) -> Vec<Update> {
        let gone = self.known.iter().filter(|file| !read.contains_key(*file));
        let mut out: Vec<Update> =
            gone.map(|file| Update::Groups { mechanism, origin: file.clone(), groups: Vec::new() }).collect();
        self.known = read.keys().cloned().collect();
        for (file, groups) in read {
            match groups {
                Ok(groups) => out.push(Update::Groups { mechanism, origin: file, groups }),
                Err(e) => error!(file, error = %e, "read target groups failed; the last good ones stay"),
            }
        }
        out.push(Update::Looked { mechanism });
        out
    }
}

/// Runs until the job's task is gone.
pub(crate) async fn run(config: FileDiscovery, mechanism: usize, updates: mpsc::Sender<Update>) {
    // Room for one: the event that is lost says nothing that the one in the channel does not.
    let (wake, mut woken) = mpsc::channel::<()>(1);
    let mut watcher = watch(wake);
    let mut files = Files::default();
    let mut refresh = tokio::time::interval(config.refresh_interval.to_std().max(std::time::Duration::from_millis(1)));
    refresh.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // Cancel-safe because both are: a tick or event not taken is there the next time.
            _ = refresh.tick() => {}
            event = woken.recv(), if watcher.is_some() => if event.is_none() {
                warn!("file watcher ended; files are read at each refresh interval");
                watcher = None;
            },
        }
        if let Some(watcher) = &mut watcher {
            // Before reading, so that what changes from now on wakes us.
            watch_directories(watcher, &config.files);
        }
        let patterns = config.files.clone();
        let Ok(read) = tokio::task::spawn_blocking(move || read_all(&patterns)).await else { continue };
        for update in files.updates(mechanism, read) {
            if updates.send(update).await.is_err() {
                return;
            }
        }
    }
}

fn watch(wake: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let on_event = move |event: notify::Result<notify::Event>| match event {
        // Our own reading is an access.
        Ok(event) if matches!(event.kind, EventKind::Access(_)) => {}
        Ok(_) => {
            let full_is_fine = wake.try_send(());
            debug!(pending = full_is_fine.is_err(), "watched files changed");
        }
        Err(e) => warn!(error = %e, "watch files failed"),
    };
    match notify::recommended_watcher(on_event) {
        Ok(watcher) => Some(watcher),
        Err(e) => {
            warn!(error = %e, "start file watcher failed; files are read at each refresh interval");
            None
        }
    }
}

fn watch_directories(watcher: &mut RecommendedWatcher, patterns: &[String]) {
    let directories: BTreeSet<&str> = patterns
        .iter()
        .map(|p| p.rsplit_once('/').map_or("./", |(dir, _)| if dir.is_empty() { "/" } else { dir }))
        .collect();
    for directory in directories {
        if let Err(e) = watcher.watch(Path::new(directory), RecursiveMode::NonRecursive) {
            // It may come into being; the refresh interval looks again.
            debug!(directory, error = %e, "watch directory failed");
        }
    }
}

fn read_all(patterns: &[String]) -> BTreeMap<String, Result<Vec<Group>, ReadError>> {
    let names = |directory: &str| {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.filter_map(|e| e.file_name().into_string().ok()).collect()
    };
    let exists = |file: &str| Path::new(file).symlink_metadata().is_ok();
    let mut out = BTreeMap::new();
    for pattern in patterns {
        match config::glob::expand(pattern, &names, &exists) {
            Ok(files) => out.extend(files.into_iter().map(|file| {
                let groups = read(&file);
                (file, groups)
            })),
            Err(e) => error!(pattern, error = %e, "expand file pattern failed"),
        }
    }
    out
}

fn read(file: &str) -> Result<Vec<Group>, ReadError> {
    let format = TargetFormat::of_file(file).ok_or(ReadError::Extension)?;
    let length = std::fs::metadata(file)?.len();
    if length > FILE_BYTES_MAX {
        return Err(ReadError::TooLong(length));
    }
    groups_in(file, &std::fs::read_to_string(file)?, format)
}

/// The groups that the text of a file lists.
pub(crate) fn groups_in(file: &str, text: &str, format: TargetFormat) -> Result<Vec<Group>, ReadError> {
    Ok(groups_of(file, parse_target_groups(text, format)?, Some((FILEPATH_LABEL, file))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_file_keeps_its_groups_and_a_missing_one_loses_them() {
        let mut files = Files::default();
        let good =
            |target: &str| Ok(vec![Group { source: "x".into(), targets: vec![target.into()], ..Group::default() }]);
        let mut look = |read: Vec<(&str, Result<Vec<Group>, ReadError>)>| {
            let read = read.into_iter().map(|(file, groups)| (file.to_owned(), groups)).collect();
            let updates = files.updates(3, read).into_iter();
            let shown = updates.map(|u| match u {
                Update::Groups { origin, groups, .. } => format!("{origin}:{}", groups.len()),
                Update::Looked { mechanism } => format!("looked:{mechanism}"),
            });
            shown.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(look(vec![("a", good("1")), ("b", good("2"))]), "a:1 b:1 looked:3");
        assert_eq!(look(vec![("a", Err(ReadError::Extension)), ("b", good("2"))]), "b:1 looked:3");
        assert_eq!(look(vec![("b", Ok(vec![]))]), "a:0 b:0 looked:3");
        assert_eq!(look(vec![]), "b:0 looked:3");
    }

    #[test]
    fn files_are_found_and_read_by_pattern() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("a.json"), r#"[{"targets": ["x:1"], "labels": {"l": "v"}}]"#).unwrap();
        std::fs::write(path("b.yml"), "- targets: ['y:1', 'y:2']\n").unwrap();
        std::fs::write(path("c.yml"), "targets: }").unwrap();
        let read = read_all(&[path("*.json"), path("*.yml")]);
        let shown: Vec<String> = read
            .values()
            .map(|groups| match groups {
                Ok(groups) => groups.iter().map(|g| g.targets.join(",")).collect(),
                Err(_) => "error".to_owned(),
            })
            .collect();
        assert_eq!(shown, ["x:1", "y:1,y:2", "error"]);
        let first = &read[&path("a.json")].as_ref().unwrap()[0];
        assert_eq!(first.source, format!("{}:0", path("a.json")));
        assert_eq!(first.labels["__meta_filepath"], path("a.json"));
        assert_eq!(first.labels["l"], "v");
    }
}
