//! Metrics of every node, read when `/metrics` is.

use std::fmt;
use std::sync::Arc;

use cluster::shortcomings;
use membership::{HeldMap, MapSource, Standing};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use server::{Metrics, ProcessStats};
use tokio::sync::watch;

struct NodeMetrics {
    held: Arc<HeldMap>,
    standing: watch::Receiver<Standing>,
}

impl fmt::Debug for NodeMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeMetrics")
    }
}

/// Registers them: those of the process, too, so that a role need not.
pub(super) fn register(metrics: &Metrics, held: Arc<HeldMap>, standing: watch::Receiver<Standing>) {
    metrics.register(|r| r.register_collector(Box::new(NodeMetrics { held, standing })));
}

impl Collector for NodeMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (stats, map) = (ProcessStats::read(), self.held.map().borrow().clone());
        let joined = *self.standing.borrow() == Standing::Joined;
        let endangered = shortcomings(&map).iter().filter(|s| s.endangers()).count() as u64;
        let mut gauge = |name: &str, help: &str, value: u64| {
            let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        gauge("process_resident_memory_bytes", "Resident memory", stats.resident_bytes)?;
        gauge("process_virtual_memory_bytes", "Virtual memory", stats.virtual_bytes)?;
        gauge("process_open_fds", "Open file descriptors", stats.open_fds)?;
        gauge("narthex_cluster_joined", "1 while the control plane has heard this node lately", u64::from(joined))?;
        gauge("narthex_cluster_map_version", "Version of the cluster map", map.version().0)?;
        gauge("narthex_cluster_shortcomings", "Things that endanger a promise; /-/ready names them", endangered)?;
        let help = "Ingesters that hold each sample; /-/ready says what that promises";
        gauge("narthex_cluster_replication_factor", help, u64::from(map.replication_factor()))?;
        let age = ConstGauge::new(self.held.age().map_or(f64::NAN, |age| age.as_secs_f64()));
        let (name, help) =
            ("narthex_cluster_map_age_seconds", "Time since the control plane is known to have held the map");
        age.encode(encoder.encode_descriptor(name, help, None, age.metric_type())?)?;
        let cpu = ConstCounter::new(stats.cpu_seconds);
        let help = "Processor time used by user and system";
        cpu.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, cpu.metric_type())?)
    }
}
