//! What the log says of the cluster: which promise holds, and what keeps the cluster from it, each when it changes.

use std::sync::Arc;

use cluster::{ClusterMap, Promise, Shortcoming, shortcomings};
use tokio::sync::watch;

/// Tells the log until the map is followed no more.
pub async fn tell_news(mut map: watch::Receiver<Arc<ClusterMap>>) {
    let mut told = Told::default();
    loop {
        let held = map.borrow_and_update().clone();
        told.news(&held).iter().for_each(tell);
        if map.changed().await.is_err() {
            return;
        }
    }
}

fn tell(news: &News) {
    match news {
        News::Promised(promise) => tracing::info!(%promise, "the cluster's promise"),
        News::Short(shortcoming) if is_beginning(shortcoming) => {
            tracing::info!(reason = %shortcoming, "the cluster is not complete yet");
        }
        News::Short(shortcoming) => tracing::warn!(reason = %shortcoming, "the cluster is short"),
        News::Mended(shortcoming) => tracing::info!(reason = %shortcoming, "the cluster is no longer short"),
    }
}

/// Whether every cluster goes through this on its way into being.
fn is_beginning(shortcoming: &Shortcoming) -> bool {
    match shortcoming {
        Shortcoming::NotBorn
        | Shortcoming::Waiting { .. }
        | Shortcoming::NotPlaced { .. }
        | Shortcoming::OwnsNothing { .. } => true,
        Shortcoming::TooFewZones { .. }
        | Shortcoming::MemberMissing { .. }
        | Shortcoming::MemberWiped { .. }
        | Shortcoming::MemberUnfilled { .. } => false,
    }
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
enum News {
    /// The map has this promise now.
    Promised(Promise),
    /// This has come up.
    Short(Shortcoming),
    /// This is over.
    Mended(Shortcoming),
}

/// What was told last.
#[derive(Debug, Default)]
struct Told {
    promise: Option<Promise>,
    short: Vec<Shortcoming>,
}

impl Told {
    /// What this map has that was not told yet. Nothing while no map has come: of that `/-/ready` speaks.
    fn news(&mut self, map: &ClusterMap) -> Vec<News> {
        if map.cluster().is_none() {
            return Vec::new();
        }
        let mut news = Vec::new();
        let promise = Promise::of(map);
        if promise != self.promise {
            self.promise = promise;
            news.extend(promise.map(News::Promised));
        }
        let short = shortcomings(map);
        let before = std::mem::replace(&mut self.short, short);
        news.extend(self.short.iter().filter(|now| !before.contains(now)).cloned().map(News::Short));
        news.extend(before.into_iter().filter(|then| !self.short.contains(then)).map(News::Mended));
        news
    }
}

#[cfg(test)]
mod tests;
