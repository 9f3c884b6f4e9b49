//! What fanning out tells of itself.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// Counters of all questions. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Further replicas and stores asked because the first did not answer, or not in time.
    pub hedged: Counter,
    /// Groups asked again because they had moved on to a later generation.
    pub restarted: Counter,
    /// Streams that broke and were replaced by another's.
    pub replaced: Counter,
    /// Answers.
    pub answers: Counter,
    /// Answers that name something as missing.
    pub incomplete: Counter,
}

impl Metrics {
    /// Adds the counters to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let mut add = |name: &str, help: &str, counter: &Counter| {
            registry.register(format!("narthex_querier_fanout_{name}"), help, counter.clone());
        };
        add("hedged", "Replicas and stores asked because another did not answer in time", &self.hedged);
        add("restarted", "Groups asked again at a later generation", &self.restarted);
        add("replaced_streams", "Streams that broke and were replaced", &self.replaced);
        add("answers", "Selects and label queries answered", &self.answers);
        add("incomplete_answers", "Answers that name something as missing", &self.incomplete);
    }

    pub(crate) fn answered(&self, incomplete: bool) {
        self.answers.inc();
        if incomplete {
            self.incomplete.inc();
        }
    }
}
