//! The configuration in force, and reloading it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use config::Config;
use model::{DurationMs, TimestampMs};
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use querier::Notification;
use scraper::Scraper;
use server::{Metrics, clock};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info, warn};
use writer::Writer;

use crate::configuration;

/// Where the configuration is, and what flags say that it may say, too.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) file: PathBuf,
    /// How long blocks are kept, where the file does not say.
    pub(crate) retention: Option<DurationMs>,
}

/// What takes its settings from the configuration.
#[derive(Default)]
pub(crate) struct Users {
    pub(crate) scraper: Option<Arc<Scraper>>,
    pub(crate) writer: Option<Arc<Writer>>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Block {
    block: String,
}

/// The configuration of a process.
pub(crate) struct Configured {
    source: Source,
    config: ArcSwap<Config>,
    users: OnceLock<Users>,
    /// How far back samples are taken, in ms.
    window: AtomicI64,
    loaded: Mutex<Loaded>,
    unsupported: Family<Block, Gauge>,
    reload_successful: Gauge,
    /// One reload at a time.
    reloading: tokio::sync::Mutex<()>,
    /// Told after each reload: a smaller window closes ranges at once.
    reloaded: watch::Sender<u64>,
}

/// How the last loading went.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) success: bool,
    /// The last that went well.
    pub(crate) at: TimestampMs,
    pub(crate) notifications: Vec<Notification>,
}

impl Configured {
    /// Loads the file; nothing is in force yet.
    pub(crate) fn load(source: Source, metrics: &Metrics) -> anyhow::Result<Arc<Configured>> {
        let config = configuration::load(&source)?;
        let (unsupported, reload_successful) = (Family::default(), Gauge::default());
        metrics.register(|r| {
            let help = "Blocks of the configuration that are valid and not acted on";
            r.register("narthex_config_unsupported", help, unsupported.clone());
            let help = "Whether the last configuration reload attempt was successful";
            r.register("prometheus_config_last_reload_successful", help, reload_successful.clone());
        });
        let window = AtomicI64::new(configuration::window(&config).0);
        Ok(Arc::new(Configured {
            source,
            config: ArcSwap::from_pointee(config),
            users: OnceLock::new(),
            window,
            loaded: Mutex::new(Loaded { success: true, at: clock::now(), notifications: Vec::new() }),
            unsupported,
            reload_successful,
            reloading: tokio::sync::Mutex::default(),
            reloaded: watch::Sender::new(0),
        }))
    }

    /// The configuration in force.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// How far back samples are taken.
    pub(crate) fn window(&self) -> DurationMs {
        DurationMs(self.window.load(Ordering::Relaxed))
    }

    pub(crate) fn loaded(&self) -> Loaded {
        self.loaded.lock().clone()
    }

    /// Puts the first configuration in force, for these users; to be called once.
    pub(crate) async fn start(&self, users: Users) -> anyhow::Result<()> {
        let users = self.users.get_or_init(|| users);
        let config = self.config();
        if let Some(scraper) = &users.scraper {
            scraper.apply_config(&config).await?;
        }
        self.in_force(config);
        Ok(())
    }

    /// Reads the configuration again. A bad one is refused and the old one stays.
    pub(crate) async fn reload(&self) -> Result<(), String> {
        let _one_at_a_time = self.reloading.lock().await;
        let done = self.try_reload().await;
        match &done {
            Ok(()) => info!(file = %self.source.file.display(), "configuration reloaded"),
            Err(e) => {
                error!(error = %e, "reload configuration failed, the old one stays in force");
                let mut loaded = self.loaded.lock();
                loaded.success = false;
                self.reload_successful.set(0);
                let text = "Configuration reload has failed.".to_owned();
                loaded.notifications.retain(|n| n.text != text);
                loaded.notifications.push(Notification { text, date: clock::now(), active: true });
            }
        }
        done
    }

    async fn try_reload(&self) -> Result<(), String> {
        let config = configuration::load(&self.source).map_err(|e| e.to_string())?;
        if let Some(scraper) = self.users.get().and_then(|users| users.scraper.as_ref()) {
            scraper.apply_config(&config).await.map_err(|e| e.to_string())?;
        }
        self.in_force(Arc::new(config));
        Ok(())
    }

    /// Takes over what does not concern the scraper, and says what is not acted on: once each.
    fn in_force(&self, config: Arc<Config>) {
        let window = configuration::window(&config);
        self.window.store(window.0, Ordering::Relaxed);
        if let Some(writer) = self.users.get().and_then(|users| users.writer.as_ref()) {
            writer.set_window(window);
        }
        let now = clock::now();
        let mut loaded = self.loaded.lock();
        *loaded = Loaded { success: true, at: now, notifications: Vec::new() };
        self.reload_successful.set(1);
        self.unsupported.clear();
        for block in configuration::unsupported(&config) {
            self.unsupported.get_or_create(&Block { block: block.block.clone() }).set(1);
            warn!(block = block.block, jobs = ?block.jobs, "this part of the configuration is not supported yet and does nothing");
            let of_jobs =
                if block.jobs.is_empty() { String::new() } else { format!(" (jobs: {})", block.jobs.join(", ")) };
            let text = format!("Configuration block {}{of_jobs} is not supported yet and does nothing.", block.block);
            loaded.notifications.push(Notification { text, date: now, active: true });
        }
        self.config.store(config);
        self.reloaded.send_modify(|count| *count += 1);
    }

    /// Changes after a configuration came into force.
    pub(crate) fn reloaded(&self) -> watch::Receiver<u64> {
        self.reloaded.subscribe()
    }

    /// Reloads at each SIGHUP until `stopped` is true.
    pub(crate) async fn reload_on_hangup(self: Arc<Configured>, mut stopped: watch::Receiver<bool>) {
        let mut hang_up = match signal(SignalKind::hangup()) {
            Ok(hang_up) => hang_up,
            Err(error) => return error!(%error, "SIGHUP cannot be listened to"),
        };
        loop {
            tokio::select! {
                // Cancel-safe because signals are only waited for.
                _ = hang_up.recv() => {
                    // Said and counted inside.
                    drop(self.reload().await);
                }
                () = crate::storage_parts::stopped(&mut stopped) => return,
            }
        }
    }
}
