//! What the store tells of itself.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Metrics of a store. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Range requests to the bucket.
    pub reads: Counter,
    /// Bytes that they brought.
    pub read_bytes: Counter,
    /// Index headers made.
    pub headers: Counter,
    /// Blocks that are known.
    pub blocks: Gauge,
    /// Blocks that are open.
    pub blocks_open: Gauge,
    /// Blocks that cannot be read.
    pub blocks_set_aside: Gauge,
    /// Listings of the bucket that failed.
    pub failed_listings: Counter,
}

impl Metrics {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let name = |name: &str| format!("narthex_store_{name}");
        registry.register(name("range_reads"), "Range requests to the bucket", self.reads.clone());
        registry.register(name("range_read_bytes"), "Bytes read from the bucket", self.read_bytes.clone());
        registry.register(name("index_headers"), "Index headers made", self.headers.clone());
        registry.register(name("blocks"), "Blocks known", self.blocks.clone());
        registry.register(name("blocks_open"), "Blocks open", self.blocks_open.clone());
        registry.register(name("blocks_set_aside"), "Blocks that cannot be read", self.blocks_set_aside.clone());
        registry.register(name("failed_listings"), "Listings of the bucket that failed", self.failed_listings.clone());
    }
}
