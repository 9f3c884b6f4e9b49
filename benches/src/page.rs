//! The exposition pages of a fleet, and the server that a scraper finds them at: `/metrics/N` for target N. All targets
//! share one port, so that two hundred need no two hundred listeners; a scraper still opens a connection for each.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::fleet::{Fleet, SERIES_PER_TARGET};
use crate::machine;

/// Pages are of the whole second that began last, so that a check can name the few values that are right.
pub const PAGE_GRID_MS: i64 = 1_000;

/// What the server has handed out so far.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Served {
    /// Whole pages.
    pub pages: u64,
    /// Samples on them.
    pub samples: u64,
    /// Their bytes.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Counters {
    pages: AtomicU64,
    bytes: AtomicU64,
}

impl Counters {
    fn read(&self) -> Served {
        let pages = self.pages.load(Ordering::Relaxed);
        Served { pages, samples: pages * SERIES_PER_TARGET as u64, bytes: self.bytes.load(Ordering::Relaxed) }
    }
}

/// Replaces `out` by the page of one target at a time.
pub fn render(fleet: &Fleet, target: usize, at_ms: i64, out: &mut Vec<u8>) {
    out.clear();
    let mut family = "";
    for template in fleet.templates() {
        if family != template.family_name {
            family = &template.family_name;
            let kind = template.family.as_str();
            out.extend_from_slice(
                format!("# HELP {family} Of the benchmark's fleet.\n# TYPE {family} {kind}\n").as_bytes(),
            );
        }
        let generation = fleet.generation(target, template.pod, at_ms);
        let value = fleet.value(template, fleet.stream(target, template), generation, at_ms);
        out.extend_from_slice(template.name.as_bytes());
        out.push(b'{');
        for (name, value) in &template.own {
            for part in [name, "=\"", value, "\","] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        let pod = fleet.pod_label(target, template.pod, generation);
        writeln!(out, "pod=\"{pod}\"}} {value}").expect("a vector takes every byte");
    }
}

/// Serves until the process ends; `GET /stats` answers with [`Served`] as JSON.
pub fn serve(fleet: Fleet, listener: TcpListener) -> Result<()> {
    let (fleet, counters) = (Arc::new(fleet), Arc::new(Counters::default()));
    for stream in listener.incoming() {
        let stream = stream.context("accept a scraper")?;
        let (fleet, counters) = (Arc::clone(&fleet), Arc::clone(&counters));
        // A thread per connection is bounded by the scraper's targets. A connection that breaks is the scraper's affair:
        // it counts a failed scrape, which the check of the stored samples finds.
        let connection = std::thread::Builder::new().stack_size(256 << 10);
        connection.spawn(move || serve_connection(&fleet, &counters, &stream).is_ok()).context("start a thread")?;
    }
    Ok(())
}

fn serve_connection(fleet: &Fleet, counters: &Counters, stream: &TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let (mut page, mut answer) = (Vec::new(), Vec::new());
    while let Some(path) = read_request(&mut reader)? {
        let target = path.strip_prefix("/metrics/").and_then(|number| number.parse::<usize>().ok());
        let (status, kind) = if let Some(target) = target.filter(|target| *target < fleet.targets()) {
            let now_ms = machine::now_ms();
            render(fleet, target, now_ms - now_ms % PAGE_GRID_MS, &mut page);
            ("200 OK", "text/plain; version=0.0.4; charset=utf-8")
        } else if path == "/stats" {
            page = serde_json::to_vec(&counters.read())?;
            ("200 OK", "application/json")
        } else {
            page.clear();
            ("404 Not Found", "text/plain")
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", page.len());
        answer.clear();
        answer.extend_from_slice(head.as_bytes());
        answer.extend_from_slice(&page);
        let mut stream = stream;
        stream.write_all(&answer)?;
        if path != "/stats" {
            counters.bytes.fetch_add(page.len() as u64, Ordering::Relaxed);
            counters.pages.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// The path of the next request, none where the connection ended between two.
fn read_request(reader: &mut impl BufRead) -> Result<Option<String>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).context("not a request line")?;
    let path = path.split('?').next().unwrap_or_default().to_string();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        if line.trim_end().is_empty() {
            return Ok(Some(path));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::http::Client;

    #[test]
    fn a_page_has_a_line_per_series_and_a_type_per_family() {
        let fleet = Fleet::new(1, 2, 0.01);
        let mut page = Vec::new();
        render(&fleet, 1, 1_700_000_000_000, &mut page);
        let page = String::from_utf8(page).unwrap();
        assert_eq!(page.lines().filter(|line| !line.starts_with('#')).count(), SERIES_PER_TARGET);
        assert_eq!(page.matches("# TYPE http_request_duration_seconds histogram\n").count(), 1);
        assert!(
            page.contains("\nnode_filesystem_size_bytes{device=\"/dev/mapper/vg0-lv0\",fstype=\"ext4\",mountpoint=")
        );
        assert!(page.contains("} 107374182400\n"));
    }

    #[test]
    fn the_server_counts_the_pages_it_served() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || serve(Fleet::new(1, 2, 0.01), listener));
        let mut client = Client::new(&address, Duration::from_secs(5));
        let page = client.get("/metrics/1?x=y").unwrap();
        assert_eq!((page.status, client.get("/metrics/2").unwrap().status), (200, 404));
        let served: Served = serde_json::from_slice(&client.get("/stats").unwrap().body).unwrap();
        assert_eq!((served.pages, served.samples), (2, 2_000));
    }
}
