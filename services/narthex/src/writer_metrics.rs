//! Metrics of the writer, read when `/metrics` is.

use std::fmt;
use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use server::Metrics;
use writer::Writer;

/// The writer ends with those who write, not with its metrics.
struct Written(Weak<Writer>);

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Written")
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Replica {
    replica: String,
}

/// Registers them.
pub(crate) fn register(metrics: &Metrics, writer: &Arc<Writer>) {
    let written = Written(Arc::downgrade(writer));
    metrics.register(|r| r.register_collector(Box::new(written)));
}

fn signed(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Collector for Written {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(writer) = self.0.upgrade() else { return Ok(()) };
        let stats = writer.stats();
        let mut gauge = |name: &str, help: &str, value: usize| {
            let metric = ConstGauge::new(signed(value));
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        let help = "Bytes of batches that are not at all their replicas yet, and are not given up";
        gauge("narthex_writer_in_flight_bytes", help, stats.in_flight_bytes)?;
        gauge("narthex_writer_open_requests", "Requests that are not acknowledged yet", stats.open_requests)?;
        gauge("narthex_writer_open_calls", "Calls to replicas", stats.open_calls)?;
        let mut counter = |name: &str, help: &str, count: u64| {
            let metric = ConstCounter::new(count);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        counter("narthex_writer_resends", "Batches that were sent to a replica once more", stats.resends)?;
        let help = "Batches that were made of several requests";
        counter("narthex_writer_joined_batches", help, stats.joined_batches)?;
        let help = "Requests, or parts of them, that went in batches with others";
        counter("narthex_writer_joined_requests", help, stats.joined_requests)?;
        let refusals = Family::<Reason, prometheus_client::metrics::counter::Counter>::default();
        for (refusal, count) in stats.refusals {
            refusals.get_or_create(&Reason { reason: refusal.as_str() }).inc_by(count);
        }
        let (name, help) = ("narthex_writer_refusals", "Answers of replicas that did not take a batch, by reason");
        refusals.encode(encoder.encode_descriptor(name, help, None, refusals.metric_type())?)?;
        let outstanding = Family::<Replica, Gauge>::default();
        for (replica, bytes) in stats.outstanding_bytes {
            let replica = replica.node.as_str().to_owned();
            outstanding.get_or_create(&Replica { replica }).inc_by(signed(bytes));
        }
        let (name, help) = ("narthex_writer_outstanding_bytes", "Bytes on their way to a replica, by node");
        outstanding.encode(encoder.encode_descriptor(name, help, None, outstanding.metric_type())?)
    }
}
