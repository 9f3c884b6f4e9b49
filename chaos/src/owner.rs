//! Whose connection it is: the process at the far end of a TCP connection over loopback, by what the kernel shows of its sockets
//! (proc(5): `/proc/net/tcp` and `/proc/PID/fd`). So a proxy that all use can cut off one of them.

use std::collections::BTreeMap;
use std::net::{SocketAddr, SocketAddrV4};
use std::path::Path;
use std::sync::Mutex;

/// Columns of `/proc/net/tcp`.
const LOCAL: usize = 1;
const REMOTE: usize = 2;
const INODE: usize = 9;

/// Processes by name.
#[derive(Debug, Default)]
pub struct Owners(Mutex<BTreeMap<String, u32>>);

impl Owners {
    /// A process of this name has this id now.
    pub fn set(&self, name: &str, id: u32) {
        self.processes().insert(name.to_string(), id);
    }

    /// The name of the process that has connected from `client` to `server`; none where it is none of these, or has gone.
    pub fn of(&self, client: SocketAddr, server: SocketAddr) -> Option<String> {
        let (SocketAddr::V4(client), SocketAddr::V4(server)) = (client, server) else { return None };
        let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
        let inode = inode(&table, client, server)?;
        let processes = self.processes().clone();
        processes.into_iter().find(|(_, id)| holds(*id, &inode)).map(|(name, _)| name)
    }

    fn processes(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, u32>> {
        self.0.lock().expect("nothing panics while it holds the map")
    }
}

/// The number of the socket that is connected from one address to the other.
fn inode(table: &str, from: SocketAddrV4, to: SocketAddrV4) -> Option<String> {
    // The address is shown as the number that its bytes are in memory.
    let shown = |a: SocketAddrV4| format!("{:08X}:{:04X}", u32::from_ne_bytes(a.ip().octets()), a.port());
    let (from, to) = (shown(from), shown(to));
    table.lines().find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let is_it = columns.get(LOCAL) == Some(&from.as_str()) && columns.get(REMOTE) == Some(&to.as_str());
        columns.get(INODE).filter(|_| is_it).map(|inode| (*inode).to_string())
    })
}

fn holds(id: u32, inode: &str) -> bool {
    let socket = format!("socket:[{inode}]");
    // A process that has gone holds nothing.
    let files = std::fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten();
    files.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|link| link == Path::new(&socket))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_is_its_clients() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let stream = TcpStream::connect(server).unwrap();
        let client = stream.local_addr().unwrap();
        let owners = Owners::default();
        assert_eq!(owners.of(client, server), None, "nobody is known");
        owners.set("another", 1);
        owners.set("this", std::process::id());
        assert_eq!(owners.of(client, server).as_deref(), Some("this"));
        drop((stream, listener));
        assert_eq!(owners.of(client, server), None, "the connection has gone");
    }
}
