//! The program's own metrics.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::registry::Registry;

/// A registry that roles fill at their start and `/metrics` reads. Clones share.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    /// Registers metrics.
    pub fn register(&self, f: impl FnOnce(&mut Registry)) {
        f(&mut self.0.lock());
    }

    /// The page of `/metrics`, in OpenMetrics 1.0.
    pub fn encode(&self) -> String {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &self.0.lock()).expect("a String takes every write");
        page
    }
}

/// What the kernel says of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessStats {
    /// Processor time used, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Resident memory that no file backs.
    pub resident_anon_bytes: u64,
    /// Virtual memory.
    pub virtual_bytes: u64,
    /// Open files.
    pub open_fds: u64,
}

impl ProcessStats {
    /// Reads `/proc/self`. What cannot be read is 0.
    pub fn read() -> ProcessStats {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kib = |name: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
        };
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // Behind the command's name, which may hold anything: utime and stime are the 12th and 13th, in ticks of 10 ms.
        let behind_name = stat.rsplit(')').next().unwrap_or("");
        let ticks: f64 = behind_name.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum();
        let open_fds = std::fs::read_dir("/proc/self/fd").map_or(0, |d| d.count() as u64);
        ProcessStats {
            cpu_seconds: ticks / 100.0,
            resident_bytes: kib("VmRSS"),
            resident_anon_bytes: kib("RssAnon"),
            virtual_bytes: kib("VmSize"),
            open_fds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_knows_this_process() {
        let stats = ProcessStats::read();
        assert!(stats.resident_bytes >= stats.resident_anon_bytes);
        assert!(stats.resident_anon_bytes > 0);
        assert!(stats.open_fds > 2);
    }
}
