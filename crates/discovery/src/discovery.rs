//! The mechanisms of one job, running.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use config::ServiceDiscovery;
use httpclient::{Client, EnvironmentProxy, UnsupportedOption};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::file;
use crate::group::{Group, Sources, Update, groups_of};
use crate::http;

/// Updates that wait for the job's task; a mechanism with one more waits.
const UPDATES_MAX: usize = 64;

/// How long more updates are waited for once there is one: a deployment changes several files at a time. Short against any
/// interval, since a new target is to be scraped within one.
const DEBOUNCE: Duration = Duration::from_millis(20);

/// What mechanisms need of the process.
#[derive(Clone, Debug, Default)]
pub struct Outside {
    /// Proxies of the environment.
    pub environment: EnvironmentProxy,
    /// What http discovery calls itself.
    pub user_agent: String,
}

/// What the mechanisms of a job have found.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// All groups.
    pub groups: Arc<Vec<Group>>,
    /// Whether every mechanism has looked at least once. Before that a target that is missing need not be gone.
    pub is_complete: bool,
}

/// The discovery of one job. Dropping it ends its tasks.
pub struct Discovery {
    known: watch::Receiver<Known>,
    _tasks: JoinSet<()>,
}

impl Discovery {
    /// Starts `mechanisms`, within a Tokio runtime. What the configuration lists is there at once.
    pub fn start(mechanisms: &[ServiceDiscovery], outside: &Outside) -> Result<Discovery, UnsupportedOption> {
        let mut sources = Sources::default();
        let mut tasks = JoinSet::new();
        let (updates, inbox) = mpsc::channel(UPDATES_MAX);
        for (number, mechanism) in mechanisms.iter().enumerate() {
            match mechanism {
                ServiceDiscovery::Static(groups) => {
                    sources.replace(number, "", groups_of("", groups.clone(), None));
                }
                ServiceDiscovery::File(files) => {
                    tasks.spawn(file::run(files.clone(), number, updates.clone()));
                }
                ServiceDiscovery::Http(http) => {
                    let client = Client::new(&http.http_client, &outside.environment, &outside.user_agent)?;
                    tasks.spawn(http::run((**http).clone(), client, number, updates.clone()));
                }
            }
        }
        let waiting: BTreeSet<usize> =
            (0..mechanisms.len()).filter(|n| !matches!(mechanisms[*n], ServiceDiscovery::Static(_))).collect();
        let first = Known { groups: Arc::new(sources.groups()), is_complete: waiting.is_empty() };
        let (publish, known) = watch::channel(first);
        tasks.spawn(Collector { sources, waiting, publish }.run(inbox));
        Ok(Discovery { known, _tasks: tasks })
    }

    /// What is found, now and whenever it changes.
    pub fn known(&self) -> watch::Receiver<Known> {
        self.known.clone()
    }
}

struct Collector {
    sources: Sources,
    /// Mechanisms that have not looked yet.
    waiting: BTreeSet<usize>,
    publish: watch::Sender<Known>,
}

impl Collector {
    async fn run(mut self, mut inbox: mpsc::Receiver<Update>) {
        while let Some(update) = inbox.recv().await {
            let mut changed = self.take(update);
            let until = tokio::time::Instant::now() + DEBOUNCE;
            // Cancel-safe because `recv` is: an update that it does not return stays in the channel.
            while let Ok(Some(more)) = tokio::time::timeout_at(until, inbox.recv()).await {
                changed |= self.take(more);
            }
            if changed {
                let groups = Arc::new(self.sources.groups());
                self.publish.send_replace(Known { groups, is_complete: self.waiting.is_empty() });
            }
        }
        // No mechanism is left to say anything; the channel stays open, since its closing would look like a stop.
        self.publish.closed().await;
    }

    fn take(&mut self, update: Update) -> bool {
        match update {
            Update::Groups { mechanism, origin, groups } => self.sources.replace(mechanism, &origin, groups),
            Update::Looked { mechanism } => self.waiting.remove(&mechanism),
        }
    }
}
