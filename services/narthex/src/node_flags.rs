//! Flags that every role of a cluster has, and what they say together.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use cluster::{Address, NodeId, Zone};
use model::DurationMs;

use crate::flags::{LogFormat, LogLevel, duration};

/// Where gRPC listens when nothing is said.
const GRPC_PORT: u16 = 9095;

/// Flags of a node of a cluster.
#[derive(Args, Debug, Clone)]
pub(crate) struct NodeFlags {
    /// Address of the HTTP pages.
    #[arg(long = "web.listen-address", value_name = "HOST:PORT", default_value = "0.0.0.0:9090")]
    pub(crate) listen_address: String,
    /// TLS, passwords and headers of the HTTP pages, in Prometheus' form.
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub(crate) web_config_file: Option<PathBuf>,
    /// How long a client may take to send the head of a request.
    #[arg(long = "web.read-timeout", value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub(crate) read_timeout: Duration,
    /// Connections at once.
    #[arg(long = "web.max-connections", value_name = "N", default_value_t = 512)]
    pub(crate) max_connections: usize,
    /// Address that other nodes of the cluster speak to: port 9095 of all interfaces, or of loopback without TLS and
    /// without --grpc.insecure.
    #[arg(long = "grpc.listen-address", value_name = "HOST:PORT")]
    pub(crate) grpc_listen_address: Option<String>,
    /// Where other nodes reach that address, if not under it: by the host's name where it listens on all interfaces.
    #[arg(long = "grpc.advertise-address", value_name = "HOST:PORT")]
    pub(crate) grpc_advertise_address: Option<String>,
    /// Listen beyond loopback without TLS: whoever reaches the port can change the cluster.
    #[arg(long = "grpc.insecure")]
    pub(crate) grpc_insecure: bool,
    /// TLS between nodes, in the form of Prometheus' web configuration; the certificate is also shown to other nodes.
    #[arg(long = "grpc.config.file", value_name = "FILE")]
    pub(crate) grpc_config_file: Option<PathBuf>,
    /// Addresses of the first rulers, the same for all nodes.
    #[arg(long = "cluster.control-plane", value_name = "HOST:PORT,…", value_delimiter = ',', required = true)]
    pub(crate) control_plane: Vec<String>,
    /// The cluster's name: nodes of another are refused.
    #[arg(long = "cluster.name", value_name = "NAME", default_value = "narthex")]
    pub(crate) cluster_name: String,
    /// The node's name, unique in the cluster.
    #[arg(long = "cluster.node-id", value_name = "NAME", value_parser = node_id)]
    pub(crate) node_id: NodeId,
    /// What the node fails with; replicas are put in different zones.
    #[arg(long = "cluster.zone", value_name = "NAME", value_parser = zone)]
    pub(crate) zone: Zone,
    /// Where data lies.
    #[arg(long = "storage.path", alias = "storage.tsdb.path", value_name = "DIR", default_value = "data/")]
    pub(crate) storage_path: PathBuf,
    /// Least severe messages to print.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info")]
    pub(crate) log_level: LogLevel,
    /// Form of messages.
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "logfmt")]
    pub(crate) log_format: LogFormat,
}

impl NodeFlags {
    /// As `/api/v1/status/flags` shows them.
    pub(crate) fn as_pairs(&self) -> Vec<(&'static str, String)> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|p| p.to_string_lossy().into_owned()).unwrap_or_default();
        let read_timeout = DurationMs(i64::try_from(self.read_timeout.as_millis()).unwrap_or(i64::MAX));
        vec![
            ("web.listen-address", self.listen_address.clone()),
            ("web.config.file", path(&self.web_config_file)),
            ("web.read-timeout", read_timeout.to_string()),
            ("web.max-connections", self.max_connections.to_string()),
            ("grpc.listen-address", self.grpc_listen_address.clone().unwrap_or_default()),
            ("grpc.advertise-address", self.grpc_advertise_address.clone().unwrap_or_default()),
            ("grpc.insecure", self.grpc_insecure.to_string()),
            ("grpc.config.file", path(&self.grpc_config_file)),
            ("cluster.control-plane", self.control_plane.join(",")),
            ("cluster.name", self.cluster_name.clone()),
            ("cluster.node-id", self.node_id.to_string()),
            ("cluster.zone", self.zone.to_string()),
        ]
    }

    /// Where to listen for other nodes, and where they reach that.
    pub(crate) fn grpc_addresses(&self) -> anyhow::Result<(String, Address)> {
        let guarded = self.grpc_config_file.is_some() || self.grpc_insecure;
        let host = if guarded { "0.0.0.0" } else { "127.0.0.1" };
        let listen = self.grpc_listen_address.clone().unwrap_or_else(|| format!("{host}:{GRPC_PORT}"));
        let listen = if listen.starts_with(':') { format!("0.0.0.0{listen}") } else { listen };
        if !guarded && !is_loopback(&listen) {
            bail!(
                "--grpc.listen-address={listen} is not a loopback address: give TLS by --grpc.config.file, or \
                 --grpc.insecure if only the cluster's nodes can reach it"
            );
        }
        let advertised = match &self.grpc_advertise_address {
            Some(address) => address.clone(),
            None => reachable(&listen)?,
        };
        let address = Address::new(&advertised).with_context(|| format!("{advertised} is no address"))?;
        Ok((listen, address))
    }
}

fn is_loopback(address: &str) -> bool {
    match address.parse::<SocketAddr>() {
        Ok(address) => address.ip().is_loopback(),
        Err(_) => address.rsplit_once(':').is_some_and(|(host, _)| host == "localhost"),
    }
}

/// The address itself, or the host's name where it is all interfaces.
fn reachable(listen: &str) -> anyhow::Result<String> {
    let Ok(address) = listen.parse::<SocketAddr>() else { return Ok(listen.to_owned()) };
    let all = match address.ip() {
        IpAddr::V4(ip) => ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    if !all {
        return Ok(listen.to_owned());
    }
    let file = Path::new("/proc/sys/kernel/hostname");
    let name = std::fs::read_to_string(file).context("read the host's name; give --grpc.advertise-address")?;
    Ok(format!("{}:{}", name.trim(), address.port()))
}

fn node_id(text: &str) -> Result<NodeId, String> {
    NodeId::new(text).ok_or_else(|| "a name of at most 128 letters, digits, '.', '_' and '-' is needed".to_owned())
}

fn zone(text: &str) -> Result<Zone, String> {
    Zone::new(text).ok_or_else(|| "a name of at most 128 letters, digits, '.', '_' and '-' is needed".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::flags::{Command, CommandLine};

    /// What `grpc_addresses` makes of these flags: listen and advertised address, or the error.
    fn check(flags: &[&str], expected: Result<(&str, &str), &str>) {
        let base = ["narthex", "ruler", "--cluster.control-plane=a:1,b:2", "--cluster.node-id=r", "--cluster.zone=z"];
        let line = CommandLine::try_parse_from(base.iter().chain(flags)).unwrap();
        let Command::Ruler(ruler) = line.command else { panic!("a ruler was asked for") };
        assert_eq!(ruler.node.control_plane, ["a:1", "b:2"]);
        match (ruler.node.grpc_addresses(), expected) {
            (Ok((listen, address)), Ok(expected)) => assert_eq!((listen.as_str(), address.as_str()), expected),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (found, expected) => panic!("{found:?}, not {expected:?}"),
        }
    }

    #[test]
    fn without_tls_grpc_stays_on_loopback() {
        check(&[], Ok(("127.0.0.1:9095", "127.0.0.1:9095")));
        check(&["--grpc.listen-address=localhost:7"], Ok(("localhost:7", "localhost:7")));
        check(&["--grpc.listen-address=[::1]:7"], Ok(("[::1]:7", "[::1]:7")));
        check(&["--grpc.listen-address=10.0.0.1:7"], Err("is not a loopback address"));
        check(&["--grpc.listen-address=:7"], Err("is not a loopback address"));
        check(&["--grpc.listen-address=10.0.0.1:7", "--grpc.insecure"], Ok(("10.0.0.1:7", "10.0.0.1:7")));
        let elsewhere = ["--grpc.insecure", "--grpc.listen-address=:7", "--grpc.advertise-address=ruler-0:7"];
        check(&elsewhere, Ok(("0.0.0.0:7", "ruler-0:7")));
        check(&["--grpc.config.file=x", "--grpc.advertise-address=r:9095"], Ok(("0.0.0.0:9095", "r:9095")));
    }

    #[test]
    fn a_node_has_a_name_and_a_zone() {
        for bad in [["--cluster.node-id=a b", "--cluster.zone=z"], ["--cluster.node-id=a", "--cluster.zone="]] {
            let line = ["narthex", "ruler", "--cluster.control-plane=a:1"].into_iter().chain(bad);
            assert!(CommandLine::try_parse_from(line).is_err());
        }
        assert!(CommandLine::try_parse_from(["narthex", "ruler", "--cluster.node-id=a", "--cluster.zone=z"]).is_err());
    }
}
