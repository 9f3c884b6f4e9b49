//! Metrics of a ruler, read when `/metrics` is.

use std::fmt;
use std::sync::Arc;

use cluster::{NodeState, shortcomings};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use raft::Node;
use server::{Metrics, ProcessStats};

struct Ruler(Arc<Node>);

impl fmt::Debug for Ruler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ruler")
    }
}

/// Registers them.
pub(crate) fn register(metrics: &Metrics, node: &Arc<Node>) {
    let ruler = Ruler(node.clone());
    metrics.register(|r| r.register_collector(Box::new(ruler)));
}

impl Collector for Ruler {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (raft, map, stats) = (self.0.metrics(), self.0.map().borrow().clone(), ProcessStats::read());
        let in_state = |state: NodeState| map.nodes().filter(|(_, node)| node.state == state).count() as u64;
        let mut gauge = |name: &str, help: &str, value: u64| {
            let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        gauge("process_resident_memory_bytes", "Resident memory", stats.resident_bytes)?;
        gauge("process_open_fds", "Open file descriptors", stats.open_fds)?;
        gauge("narthex_ruler_raft_term", "Term of the Raft group", raft.term)?;
        gauge("narthex_ruler_raft_is_leader", "1 where this ruler leads the control plane", u64::from(raft.is_leader))?;
        gauge("narthex_ruler_raft_has_leader", "1 where this ruler knows a leader", u64::from(raft.leader.is_some()))?;
        gauge("narthex_ruler_raft_voters", "Voters of the Raft group", raft.voters.len() as u64)?;
        gauge("narthex_ruler_raft_log_index", "Index of the last log entry", raft.last_log.unwrap_or(0))?;
        gauge("narthex_ruler_raft_applied_index", "Index of the last entry applied", raft.last_applied.unwrap_or(0))?;
        gauge("narthex_ruler_raft_snapshot_index", "Last entry in the snapshot", raft.snapshot.unwrap_or(0))?;
        gauge("narthex_cluster_map_version", "Version of the cluster map", map.version().0)?;
        gauge("narthex_cluster_nodes_up", "Nodes that heartbeat", in_state(NodeState::Up))?;
        gauge("narthex_cluster_nodes_down", "Nodes without a heartbeat for the lease", in_state(NodeState::Down))?;
        gauge("narthex_cluster_nodes_lost", "Nodes given up", in_state(NodeState::Lost))?;
        gauge("narthex_cluster_groups", "Groups of ingesters", map.groups().len() as u64)?;
        gauge("narthex_cluster_replication_factor", "Members of a group", u64::from(map.replication_factor()))?;
        let endangered = shortcomings(&map).iter().filter(|s| s.endangers()).count() as u64;
        gauge("narthex_cluster_shortcomings", "Things that endanger a promise; /-/ready names them", endangered)?;
        let cpu = ConstCounter::new(stats.cpu_seconds);
        let help = "Processor time used by user and system";
        cpu.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, cpu.metric_type())?)
    }
}
