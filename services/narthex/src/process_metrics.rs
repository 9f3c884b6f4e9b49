//! Metrics of the process and the head, read when `/metrics` is.

use std::fmt;
use std::sync::Arc;

use ingester::Ingester;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use server::{Metrics, ProcessStats};

#[derive(Debug)]
struct Process;

struct OfIngester(Arc<Ingester>);

impl fmt::Debug for OfIngester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OfIngester")
    }
}

/// Registers those of the process, and of its ingester.
pub(crate) fn register(metrics: &Metrics, ingester: &Arc<Ingester>) {
    metrics.register(|r| r.register_collector(Box::new(Process)));
    register_ingester(metrics, ingester);
}

/// Registers those of an ingester.
pub(crate) fn register_ingester(metrics: &Metrics, ingester: &Arc<Ingester>) {
    let of_ingester = OfIngester(ingester.clone());
    metrics.register(|r| r.register_collector(Box::new(of_ingester)));
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let stats = ProcessStats::read();
        let mut gauge = |name: &str, help: &str, value: u64| {
            let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        gauge("process_resident_memory_bytes", "Resident memory", stats.resident_bytes)?;
        gauge("process_virtual_memory_bytes", "Virtual memory", stats.virtual_bytes)?;
        gauge("process_open_fds", "Open file descriptors", stats.open_fds)?;
        let cpu = ConstCounter::new(stats.cpu_seconds);
        let help = "Processor time used by user and system";
        cpu.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, cpu.metric_type())?)
    }
}

impl Collector for OfIngester {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (head, status) = (self.0.head().stats(), self.0.status());
        let mut gauge = |name: &str, help: &str, value: u64| {
            let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        gauge("prometheus_tsdb_head_series", "Series in the head", head.series_count)?;
        gauge("prometheus_tsdb_head_chunks", "Chunks in the head", head.chunk_count)?;
        gauge("narthex_ingester_log_position", "Number of the last record applied", status.applied)?;
        let in_flight = status.in_flight_bytes as u64;
        gauge("narthex_ingester_in_flight_bytes", "Bytes of batches that are not acknowledged yet", in_flight)?;
        let failing = u64::from(status.log_failure.is_some());
        gauge("narthex_ingester_log_failing", "1 while the log takes no samples", failing)?;
        gauge("narthex_ingester_log_bytes", "Bytes of the log's files", status.log_bytes)?;
        let help = "Positions of a peer's log that are not durably held here, by its last list";
        let name = "narthex_ingester_peer_behind_positions";
        let mut behind = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        let help = "When a pull from a peer last came to its end";
        for (peer, positions) in status.peers.iter().filter_map(|(peer, s)| Some((peer, s.behind?))) {
            let metric = ConstGauge::new(i64::try_from(positions).unwrap_or(i64::MAX));
            metric.encode(behind.encode_family(&[("replica", peer.to_string())])?)?;
        }
        let name = "narthex_ingester_peer_pulled_timestamp_seconds";
        let mut pulled = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (peer, at) in status.peers.iter().filter_map(|(peer, s)| Some((peer, s.pulled?))) {
            let metric = ConstGauge::new(at.0.div_euclid(1000));
            metric.encode(pulled.encode_family(&[("replica", peer.to_string())])?)?;
        }
        let conflicts = ConstCounter::new(status.conflicts);
        let help = "Batches refused because they define an id under which other labels are held";
        let name = "narthex_ingester_conflicting_batches";
        conflicts.encode(encoder.encode_descriptor(name, help, None, conflicts.metric_type())?)?;
        let appended = ConstCounter::new(head.appended_samples);
        let help = "Samples applied to the head since the start";
        let name = "prometheus_tsdb_head_samples_appended";
        appended.encode(encoder.encode_descriptor(name, help, None, appended.metric_type())?)
    }
}
