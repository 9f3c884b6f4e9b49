//! Bytes on the wire, from the kernel's own counters of each TCP connection (`ss --info`): no proxy stands in the way of
//! what is measured. Counted are the bytes of the streams in both directions, without the headers of TCP and IP.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Bytes so far, by connection as its serving end names it.
#[derive(Clone, Debug, Default)]
pub(super) struct Traffic(BTreeMap<String, u64>);

impl Traffic {
    /// The connections that these ports serve.
    pub(super) fn read(ports: &BTreeSet<u16>) -> Result<Traffic> {
        if ports.is_empty() {
            return Ok(Traffic::default());
        }
        let output = Command::new("ss").args(["-tinHO", "state", "established"]).output();
        let output = output.context("run ss (package iproute2)")?;
        ensure!(output.status.success(), "ss: {}", String::from_utf8_lossy(&output.stderr).trim());
        parse(&String::from_utf8_lossy(&output.stdout), ports)
    }

    /// Bytes since then. Fails where a connection ended meanwhile, since what it carried is not known.
    pub(super) fn since(&self, earlier: &Traffic) -> Result<u64> {
        if let Some(ended) = earlier.0.keys().find(|connection| !self.0.contains_key(*connection)) {
            bail!("the connection {ended} ended while its bytes were counted");
        }
        let before = |connection| earlier.0.get(connection).copied().unwrap_or_default();
        Ok(self.0.iter().map(|(connection, bytes)| bytes.saturating_sub(before(connection))).sum())
    }
}

/// Lines as `0 0 127.0.0.1:4000 127.0.0.1:50000 cubic … bytes_sent:12 … bytes_received:34 …`.
fn parse(text: &str, ports: &BTreeSet<u16>) -> Result<Traffic> {
    let mut connections = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, _, local, peer, info @ ..] = words.as_slice() else { continue };
        let port = local.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if !port.is_some_and(|port| ports.contains(&port)) {
            continue;
        }
        // The kernel leaves out counters that are zero.
        let count = |name: &str| {
            let value = info.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix(':'));
            value.map_or(Ok(0), |value| value.parse::<u64>().with_context(|| format!("{name} in {line}")))
        };
        connections.insert(format!("{local} from {peer}"), count("bytes_sent")? + count("bytes_received")?);
    }
    Ok(Traffic(connections))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "\
0 0 127.0.0.1:7001 127.0.0.1:50000 bbr wscale:10,10 bytes_sent:100 bytes_acked:101 bytes_received:2000 segs_out:3
0 0 127.0.0.1:50000 127.0.0.1:7001 bbr bytes_sent:2000 bytes_received:100
0 0 127.0.0.1:9000 127.0.0.1:50002 bbr bytes_sent:7 bytes_received:7
";

    fn check(later: &str, expected: Result<u64, &str>) {
        let ports = BTreeSet::from([7001]);
        let since = parse(later, &ports).unwrap().since(&parse(BEFORE, &ports).unwrap());
        match (since, expected) {
            (Ok(bytes), Ok(expected)) => assert_eq!(bytes, expected),
            (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
            (since, expected) => panic!("{since:?}, not {expected:?}"),
        }
    }

    #[test]
    fn bytes_of_the_serving_ends_are_counted_and_an_ended_connection_is_told() {
        let same = "0 0 127.0.0.1:7001 127.0.0.1:50000 bbr bytes_sent:150 bytes_received:2500\n";
        check(same, Ok(550));
        check(&format!("{same}0 0 [::1]:7001 [::1]:6 bbr bytes_received:9 segs_out:1\n"), Ok(559));
        check("0 0 127.0.0.1:7001 127.0.0.1:6 bbr bytes_received:9\n", Err("50000 ended"));
        assert!(parse("0 0 127.0.0.1:7001 127.0.0.1:6 bytes_sent:x\n", &BTreeSet::from([7001])).is_err());
    }

    #[test]
    fn the_kernel_counts_what_a_connection_carried() {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let Ok(before) = Traffic::read(&BTreeSet::from([port])) else {
            eprintln!("skipped: no ss here");
            return;
        };
        client.write_all(&[1; 1234]).unwrap();
        server.read_exact(&mut [0; 1234]).unwrap();
        server.write_all(&[1; 66]).unwrap();
        client.read_exact(&mut [0; 66]).unwrap();
        assert_eq!(Traffic::read(&BTreeSet::from([port])).unwrap().since(&before).unwrap(), 1300);
    }
}
