//! The thousand series of a target: five hundred as node_exporter gives them, five hundred as a web service does.

use super::SERIES_PER_TARGET;
use super::value::Shape;

/// What an exposition page says of a family in its `# TYPE` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A counter.
    Counter,
    /// A gauge.
    Gauge,
    /// A classic histogram: buckets, count and sum.
    Histogram,
    /// A summary: quantiles, count and sum.
    Summary,
}

impl Family {
    /// The word of the text format.
    pub fn as_str(self) -> &'static str {
        match self {
            Family::Counter => "counter",
            Family::Gauge => "gauge",
            Family::Histogram => "histogram",
            Family::Summary => "summary",
        }
    }
}

/// One series of every target.
#[derive(Clone, Debug)]
pub struct Template {
    /// The metric name.
    pub name: String,
    /// The name in the `# TYPE` line: without `_bucket` and the like.
    pub family_name: String,
    /// The type of the family.
    pub family: Family,
    /// Labels besides name, pod and the target's, in any order.
    pub own: Vec<(&'static str, String)>,
    /// Which of the target's pods exposes it; filesystems, say, all live in one, so that they can be joined.
    pub pod: usize,
    pub(super) stream: usize,
    pub(super) shape: Shape,
}

/// Upper bounds of the duration buckets with the cumulative share of the requests below each.
const BUCKETS: [(&str, f64); 12] = [
    ("0.005", 0.21),
    ("0.01", 0.38),
    ("0.025", 0.57),
    ("0.05", 0.71),
    ("0.1", 0.83),
    ("0.25", 0.91),
    ("0.5", 0.955),
    ("1", 0.98),
    ("2.5", 0.992),
    ("5", 0.997),
    ("10", 0.999),
    ("+Inf", 1.0),
];
const ROUTES: [&str; 10] = [
    "/",
    "/api/v1/items",
    "/api/v1/items/:id",
    "/api/v1/cart",
    "/api/v1/orders",
    "/api/v1/orders/:id",
    "/login",
    "/logout",
    "/static/*path",
    "/healthz",
];
const METHODS: [&str; 2] = ["GET", "POST"];

/// Counters of each disk and of each network interface, with a rate per second.
const DISK: [(&str, f64); 10] = [
    ("reads_completed_total", 40.0),
    ("reads_merged_total", 2.0),
    ("read_bytes_total", 900_000.0),
    ("read_time_seconds_total", 0.05),
    ("writes_completed_total", 90.0),
    ("writes_merged_total", 30.0),
    ("written_bytes_total", 2_500_000.0),
    ("write_time_seconds_total", 0.2),
    ("io_time_seconds_total", 0.15),
    ("io_time_weighted_seconds_total", 0.3),
];
const NETWORK: [(&str, f64); 14] = [
    ("receive_bytes_total", 3_000_000.0),
    ("receive_packets_total", 4_000.0),
    ("receive_errs_total", 0.001),
    ("receive_drop_total", 0.01),
    ("receive_fifo_total", 0.0001),
    ("receive_multicast_total", 0.2),
    ("receive_compressed_total", 0.0),
    ("transmit_bytes_total", 5_000_000.0),
    ("transmit_packets_total", 4_500.0),
    ("transmit_errs_total", 0.001),
    ("transmit_drop_total", 0.005),
    ("transmit_fifo_total", 0.0),
    ("transmit_carrier_total", 0.0001),
    ("transmit_compressed_total", 0.0),
];
const MEMORY: [&str; 25] = [
    "MemTotal",
    "MemFree",
    "MemAvailable",
    "Buffers",
    "Cached",
    "SwapCached",
    "Active",
    "Inactive",
    "Active_anon",
    "Inactive_anon",
    "Active_file",
    "Inactive_file",
    "SwapTotal",
    "SwapFree",
    "Dirty",
    "Writeback",
    "AnonPages",
    "Mapped",
    "Shmem",
    "KReclaimable",
    "Slab",
    "SReclaimable",
    "SUnreclaim",
    "KernelStack",
    "PageTables",
];

struct Builder {
    templates: Vec<Template>,
}

/// All series of a target, families contiguous.
pub(super) fn templates() -> Vec<Template> {
    let mut builder = Builder { templates: Vec::with_capacity(SERIES_PER_TARGET) };
    builder.node();
    builder.web();
    assert_eq!(builder.templates.len(), SERIES_PER_TARGET, "the lists above make a thousand");
    builder.templates
}

impl Builder {
    fn add(&mut self, family: Family, pod: usize, name: &str, own: Vec<(&'static str, String)>, shape: Shape) {
        let stream = self.templates.len();
        let (name, family_name) = (name.to_string(), name.to_string());
        self.templates.push(Template { name, family_name, family, own, pod, stream, shape });
    }

    fn node(&mut self) {
        for cpu in 0..16 {
            for (mode, rate) in [
                ("idle", 0.8),
                ("iowait", 0.01),
                ("irq", 0.0),
                ("nice", 0.001),
                ("softirq", 0.01),
                ("steal", 0.002),
                ("system", 0.06),
                ("user", 0.12),
            ] {
                let own = vec![("cpu", cpu.to_string()), ("mode", mode.to_string())];
                self.add(Family::Counter, 0, "node_cpu_seconds_total", own, Shape::CounterHundredths { rate });
            }
        }
        self.devices("node_disk", &DISK, &["sda", "sdb", "nvme0n1", "nvme1n1", "dm-0", "dm-1"], 1);
        self.devices(
            "node_network",
            &NETWORK,
            &["eth0", "eth1", "lo", "docker0", "cni0", "bond0", "veth0a", "veth1b"],
            2,
        );
        self.filesystems();
        for name in MEMORY {
            let name = format!("node_memory_{name}_bytes");
            self.add(Family::Gauge, 4, &name, vec![], Shape::Bytes { base: 4e9 });
        }
        for number in 0..70 {
            let name = format!("node_netstat_Ext{number:02}_total");
            self.add(Family::Counter, 4, &name, vec![], Shape::Counter { rate: f64::from(number * number) / 10.0 });
        }
        for (name, base) in [("node_load1", 2.0), ("node_load5", 2.0), ("node_load15", 2.0)] {
            self.add(Family::Gauge, 4, name, vec![], Shape::LevelHundredths { base });
        }
        let release = vec![("release", "6.1.0-18-amd64".to_string()), ("sysname", "Linux".to_string())];
        self.add(Family::Gauge, 4, "node_uname_info", release, Shape::Constant { value: 1.0 });
        self.add(Family::Gauge, 4, "node_boot_time_seconds", vec![], Shape::Constant { value: 1_699_000_000.0 });
        for zone in 0..40 {
            let own = vec![("chip", format!("platform_coretemp_{}", zone / 20)), ("sensor", format!("temp{zone}"))];
            self.add(Family::Gauge, 4, "node_hwmon_temp_celsius", own, Shape::Level { base: 30.0 });
        }
    }

    fn devices(&mut self, prefix: &str, metrics: &[(&str, f64)], devices: &[&str], pod: usize) {
        for &(metric, rate) in metrics {
            let shape =
                if metric.contains("seconds") { Shape::CounterHundredths { rate } } else { Shape::Counter { rate } };
            for &device in devices {
                let own = vec![("device", device.to_string())];
                self.add(Family::Counter, pod, &format!("{prefix}_{metric}"), own, shape);
            }
        }
    }

    fn filesystems(&mut self) {
        for (metric, shape) in [
            ("avail_bytes", Shape::Bytes { base: 2e10 }),
            ("free_bytes", Shape::Bytes { base: 2.5e10 }),
            ("size_bytes", Shape::Constant { value: 107_374_182_400.0 }),
            ("files", Shape::Constant { value: 6_553_600.0 }),
            ("files_free", Shape::Level { base: 1e6 }),
            ("readonly", Shape::Constant { value: 0.0 }),
        ] {
            for disk in 0..10 {
                let own = vec![
                    ("device", format!("/dev/mapper/vg0-lv{disk}")),
                    ("fstype", "ext4".to_string()),
                    ("mountpoint", format!("/srv/volume{disk}")),
                ];
                self.add(Family::Gauge, 3, &format!("node_filesystem_{metric}"), own, shape);
            }
        }
    }

    fn web(&mut self) {
        for (number, route) in ROUTES.iter().enumerate() {
            for method in METHODS {
                let own = || vec![("method", method.to_string()), ("route", (*route).to_string())];
                self.histogram(5 + number / 2, "http_request_duration_seconds", 25.0, own());
            }
        }
        for (number, route) in ROUTES.iter().enumerate() {
            for method in METHODS {
                for (code, rate) in [("200", 20.0), ("204", 3.0), ("304", 4.0), ("404", 0.5), ("500", 0.02)] {
                    let own = vec![
                        ("code", code.to_string()),
                        ("method", method.to_string()),
                        ("route", (*route).to_string()),
                    ];
                    self.add(Family::Counter, 5 + number / 2, "http_requests_total", own, Shape::Counter { rate });
                }
            }
        }
        for service in ["users", "stock", "price", "mail", "audit", "cart", "geo", "tax", "image", "quota"] {
            self.summary("rpc_latency_seconds", 15.0, service);
        }
        for cache in 0..15 {
            for (result, rate) in [("hit", 120.0), ("miss", 9.0)] {
                let own = vec![("cache", format!("cache{cache:02}")), ("result", result.to_string())];
                self.add(Family::Counter, 6, "cache_requests_total", own, Shape::Counter { rate });
            }
        }
        self.add(Family::Gauge, 7, "go_goroutines", vec![], Shape::Level { base: 80.0 });
        for number in 0..29 {
            let name = format!("go_memstats_class{number:02}_bytes");
            self.add(Family::Gauge, 7, &name, vec![], Shape::Bytes { base: 3e7 });
        }
        self.add(Family::Counter, 8, "process_cpu_seconds_total", vec![], Shape::CounterHundredths { rate: 0.4 });
        self.add(Family::Gauge, 8, "process_resident_memory_bytes", vec![], Shape::Bytes { base: 2e8 });
        self.add(Family::Gauge, 8, "process_open_fds", vec![], Shape::Level { base: 60.0 });
        for number in 0..7 {
            let own = vec![("pool", format!("worker-{number:02}")), ("state", "idle".to_string())];
            self.add(Family::Gauge, 9, "pool_connections", own, Shape::Level { base: 12.0 });
        }
    }

    /// Buckets, count and sum of one histogram; one stream, so that they fit each other at every time.
    fn histogram(&mut self, pod: usize, family: &str, rate: f64, own: Vec<(&'static str, String)>) {
        let first = self.templates.len();
        for (le, share) in BUCKETS {
            let mut own = own.clone();
            own.push(("le", le.to_string()));
            self.add(Family::Histogram, pod, &format!("{family}_bucket"), own, Shape::Bucket { rate, share });
        }
        self.add(Family::Histogram, pod, &format!("{family}_count"), own.clone(), Shape::Bucket { rate, share: 1.0 });
        self.add(Family::Histogram, pod, &format!("{family}_sum"), own, Shape::Sum { rate, mean: 0.064 });
        self.join(first, family);
    }

    fn summary(&mut self, family: &str, rate: f64, service: &str) {
        let first = self.templates.len();
        let own = vec![("service", service.to_string())];
        for (quantile, base) in [("0.5", 0.02), ("0.9", 0.08), ("0.99", 0.3)] {
            let mut own = own.clone();
            own.push(("quantile", quantile.to_string()));
            self.add(Family::Summary, 6, family, own, Shape::LevelHundredths { base: base * 100.0 });
        }
        self.add(Family::Summary, 6, &format!("{family}_count"), own.clone(), Shape::Bucket { rate, share: 1.0 });
        self.add(Family::Summary, 6, &format!("{family}_sum"), own, Shape::Sum { rate, mean: 0.031 });
        self.join(first, family);
    }

    fn join(&mut self, first: usize, family: &str) {
        for template in &mut self.templates[first..] {
            template.stream = first;
            template.family_name = family.to_string();
        }
    }
}
