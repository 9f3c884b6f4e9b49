//! The mechanisms of one job, running.

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

/// The discovery of one job. Dropping it ends its tasks.
pub struct Discovery {
    groups: watch::Receiver<Arc<Vec<Group>>>,
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
                    tasks.spawn(http::run(http.clone(), client, number, updates.clone()));
                }
            }
        }
        let (publish, groups) = watch::channel(Arc::new(sources.groups()));
        tasks.spawn(collect(sources, inbox, publish));
        Ok(Discovery { groups, _tasks: tasks })
    }

    /// All groups of the job, now and whenever they change.
    pub fn groups(&self) -> watch::Receiver<Arc<Vec<Group>>> {
        self.groups.clone()
    }
}

async fn collect(mut sources: Sources, mut inbox: mpsc::Receiver<Update>, publish: watch::Sender<Arc<Vec<Group>>>) {
    while let Some(update) = inbox.recv().await {
        let mut changed = sources.replace(update.mechanism, &update.origin, update.groups);
        let until = tokio::time::Instant::now() + DEBOUNCE;
        // Cancel-safe because `recv` is: an update that it does not return stays in the channel.
        while let Ok(Some(more)) = tokio::time::timeout_at(until, inbox.recv()).await {
            changed |= sources.replace(more.mechanism, &more.origin, more.groups);
        }
        if changed {
            publish.send_replace(Arc::new(sources.groups()));
        }
    }
    // No mechanism is left to say anything; the channel stays open, since its closing would look like a stop.
    publish.closed().await;
}
