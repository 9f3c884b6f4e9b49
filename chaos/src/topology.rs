//! A cluster of three zones as processes of a scenario, so that scenario files need not spell out each flag of each node.
//!
//! All nodes reach each other through a proxy before each node's gRPC port, `{via NAME.grpc}`: to stall it is to cut the node off
//! from whoever would speak to it.

use serde::Deserialize;

use crate::scenario::{ProcessFile, Program};

/// How many nodes of each role; they lie in zones `z1`, `z2` and `z3` in turn and are called `ROLE-1`, `ROLE-2`, …
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// Voters of the control plane.
    #[serde(default = "three")]
    pub rulers: usize,
    /// Replicas; three make a group.
    #[serde(default = "three")]
    pub ingesters: usize,
    /// Front doors for writes.
    #[serde(default = "one")]
    pub distributors: usize,
    /// Front doors for queries.
    #[serde(default = "one")]
    pub queriers: usize,
    /// Stores of blocks.
    #[serde(default = "one")]
    pub stores: usize,
    /// What `config.yml` of the ingesters, distributors and queriers holds.
    #[serde(default)]
    pub config: String,
    /// Flags of the ingesters besides.
    #[serde(default)]
    pub ingester_args: Vec<String>,
}

fn one() -> usize {
    1
}

fn three() -> usize {
    3
}

/// The bucket of all nodes, a folder beside those of the processes.
const OBJECT_STORE: &str = "type: FILESYSTEM\nconfig:\n  directory: \"{bucket/}\"\n";

impl Topology {
    /// The processes by name, in an order in which they can be started one after the other.
    pub fn processes(&self) -> Vec<(String, ProcessFile)> {
        let roles = [
            ("ruler", self.rulers),
            ("ingester", self.ingesters),
            ("store", self.stores),
            ("distributor", self.distributors),
            ("querier", self.queriers),
        ];
        let nodes = roles.iter().flat_map(|(role, count)| (1..=*count).map(move |n| (*role, n)));
        nodes.map(|(role, n)| (format!("{role}-{n}"), self.process(role, n))).collect()
    }

    fn process(&self, role: &str, n: usize) -> ProcessFile {
        let name = format!("{role}-{n}");
        let mut peers: Vec<String> = (1..=self.rulers).map(|n| format!("{{via ruler-{n}.grpc}}")).collect();
        if role != "ruler" {
            // Whoever has no map on disk asks these, too, while no ruler lives.
            peers.extend((1..=self.ingesters).map(|n| format!("{{via ingester-{n}.grpc}}")));
        }
        let mut args = vec![
            role.to_owned(),
            "--cluster.name=chaos".to_owned(),
            format!("--cluster.node-id={name}"),
            format!("--cluster.zone=z{}", (n - 1) % 3 + 1),
            format!("--cluster.control-plane={}", peers.join(",")),
            format!("--web.listen-address={{{name}}}"),
            format!("--grpc.listen-address={{{name}.grpc}}"),
            format!("--grpc.advertise-address={{via {name}.grpc}}"),
            "--storage.path={folder}/data".to_owned(),
        ];
        if role == "ingester" || role == "store" {
            args.push("--objstore.config-file={folder}/bucket.yml".to_owned());
        }
        let is_configured = matches!(role, "ingester" | "distributor" | "querier");
        if is_configured {
            args.push("--config.file={folder}/config.yml".to_owned());
        }
        if role == "ingester" {
            args.extend(self.ingester_args.iter().cloned());
        }
        let config = if is_configured { self.config.clone() } else { String::new() };
        let files = [("bucket.yml".to_owned(), OBJECT_STORE.to_owned())].into();
        ProcessFile { program: Program::Narthex, args, config, files, ready: "/-/ready".to_owned() }
    }
}
