//! Mutated texts through the entry points of fuzzing: nothing panics.

use config::fuzzing::{fuzz_object_store, fuzz_prometheus_yml, fuzz_target_groups, fuzz_web};

const SEEDS: [&str; 6] = [
    "global: &g\n  scrape_interval: 15s\n  external_labels: {a: \"$B\", !!binary Yg==: c}\nrule_files: ['x/*.yml']\n\
     scrape_configs:\n- job_name: j\n  scheme: https\n  basic_auth: {username: u, password: p}\n  static_configs:\n  \
     - targets: [a:1, 'b:2']\n      \n      labels: {x: 'y'}\n  relabel_configs:\n  - source_labels: [a]\n    regex: (.*)\n    \
     target_label: b\n",
    "scrape_configs:\n- &a\n  job_name: a\n  params: {x: [1, null]}\n- <<: *a\n  job_name: b\n  body_size_limit: 1.5MiB\n  \
     kubernetes_sd_configs:\n  - role: pod\n    selectors: [{role: pod, field: 'a=b', label: 'a in (b,c),!d'}]\n",
    "remote_write:\n- url: http://u:p@h:1/x?y#z\n  oauth2:\n    client_id: a\n    token_url: b\n    claims: {a: [1, {b: c}]}\n\
     tracing: {endpoint: e, sampling_fraction: 1.5e-3}\nstorage: {tsdb: {retention: {size: 1GiB, percentage: 50}}}\n",
    "[{\"targets\": [\"a:1\"], \"labels\": {\"x\": \"y\"}}, {\"targets\": null}]",
    "tls_server_config: {cert_file: a, key_file: b}\nbasic_auth_users: {a: $2y$10$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze}\n",
    "type: S3\nconfig:\n  bucket: b\n  endpoint: e\n  text: |\n    a\n    b\n  more: >-\n    c\n    d\nprefix: /p/\n",
];

/// xorshift64*
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).expect("31 bits") % n
    }
}

#[test]
fn mutated_texts_never_panic() {
    const ROUNDS: usize = 6_000;
    const PIECES: [&str; 24] = [
        "\n",
        " ",
        "  ",
        "- ",
        ": ",
        "[",
        "]",
        "{",
        "}",
        "&a ",
        "*a",
        "!!binary ",
        "!!int ",
        "|\n",
        ">\n",
        "\"",
        "'",
        "#",
        "null",
        "<<: ",
        "\t",
        "%",
        "é\u{1f600}",
        "99999999999999999999",
    ];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..ROUNDS {
        let mut bytes = SEEDS[round % SEEDS.len()].as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len() + 1);
            match random.below(4) {
                0 => {
                    let piece = PIECES[random.below(PIECES.len())];
                    bytes.splice(at..at, piece.bytes());
                }
                1 => {
                    let end = bytes.len().min(at + random.below(12));
                    bytes.drain(at..end);
                }
                2 => {
                    let other = SEEDS[random.below(SEEDS.len())].as_bytes();
                    let from = random.below(other.len());
                    bytes.splice(at..at, other[from..other.len().min(from + 40)].iter().copied());
                }
                _ => bytes.insert(at, u8::try_from(random.below(256)).unwrap()),
            }
        }
        fuzz_prometheus_yml(&bytes);
        fuzz_target_groups(&bytes);
        fuzz_web(&bytes);
        fuzz_object_store(&bytes);
    }
}

#[test]
fn small_texts_that_expand_are_refused_in_time() {
    // Each line lists the one before it nine times.
    let mut bomb =
        "scrape_configs:\n- job_name: a\n  oauth2:\n    claims:\n      l0: &l0 [x, x, x, x, x, x, x, x, x]\n"
            .to_owned();
    for i in 1..30 {
        let before = format!("*l{}, ", i - 1).repeat(9);
        bomb.push_str(&format!("      l{i}: &l{i} [{before}]\n"));
    }
    let e = config::parse(&bomb, "", &config::Defaults::default(), &|_| None).unwrap_err();
    assert!(e.to_string().contains("excessive aliasing"), "{e}");
    let deep = format!("scrape_configs:\n- job_name: a\n  oauth2: {{claims: {}", "{a: ".repeat(900));
    assert!(config::parse(&deep, "", &config::Defaults::default(), &|_| None).is_err());
    fuzz_prometheus_yml("[".repeat(100_000).as_bytes());
    fuzz_target_groups("[".repeat(100_000).as_bytes());
}
