use super::*;
use config::{Defaults, parse};

fn job(lines: &str) -> ScrapeConfig {
    let yaml = format!("scrape_configs:\n  - job_name: j\n{lines}");
    parse(&yaml, "/", &Defaults::default(), &|_| None).unwrap_or_else(|e| panic!("{e}")).scrape_configs.remove(0)
}

fn found(address: &str, labels: &[(&str, &str)], lines: &str) -> Result<Found, TargetError> {
    let labels = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let group = Group { source: "0".to_owned(), targets: Vec::new(), labels };
    let config = job(lines);
    let settings =
        crate::settings::JobSettings::new(&config, &crate::EnvironmentProxy::default(), "x", 1 << 20).unwrap();
    find(address, &group, &config, &settings.relabel)
}

fn target(address: &str, labels: &[(&str, &str)], lines: &str) -> Target {
    match found(address, labels, lines) {
        Ok(Found::Target(target)) => *target,
        other => panic!("{other:?}"),
    }
}

#[test]
fn labels_and_url_come_from_group_and_job() {
    let t = target("a:1", &[("x", "1"), ("__meta_y", "2"), ("__z", "3")], "    params: {m: [b, c]}\n");
    assert_eq!(t.labels.to_string(), r#"{instance="a:1", job="j", x="1"}"#);
    assert_eq!(t.url, "http://a:1/metrics?m=b&m=c");
    assert_eq!((t.interval, t.timeout), (DurationMs::secs(60), DurationMs::secs(10)));
    assert_eq!(
        t.discovered.to_string(),
        concat!(
            r#"{__address__="a:1", __always_scrape_classic_histograms__="false", "#,
            r#"__convert_classic_histograms_to_nhcb__="false", __meta_y="2", __metrics_path__="/metrics", "#,
            r#"__param_m="b", __scheme__="http", __scrape_interval__="1m", __scrape_native_histograms__="false", "#,
            r#"__scrape_timeout__="10s", __z="3", job="j", x="1"}"#
        )
    );
}

#[test]
fn no_port_is_added() {
    assert_eq!(target("a", &[], "    scheme: https\n").url, "https://a/metrics");
    assert_eq!(target("a", &[], "").labels.get("instance"), Some("a"));
}

#[test]
fn special_labels_decide() {
    let labels = [
        ("__scheme__", "https"),
        ("__metrics_path__", "/m"),
        ("__param_q", "x y"),
        ("__scrape_interval__", "5s"),
        ("__scrape_timeout__", "4s"),
        ("job", "k"),
        ("instance", "i"),
    ];
    let t = target("a:1", &labels, "    params: {q: [z, w]}\n");
    assert_eq!(t.url, "https://a:1/m?q=x+y&q=w");
    assert_eq!((t.interval, t.timeout), (DurationMs::secs(5), DurationMs::secs(4)));
    assert_eq!(t.labels.to_string(), r#"{instance="i", job="k"}"#);
}

#[test]
fn relabelling_rewrites_and_drops() {
    let rules = "    relabel_configs:\n    - {source_labels: [__meta_a], target_label: __address__}\n    - {source_labels: [x], regex: drop, action: drop}\n";
    let t = target("a:1", &[("__meta_a", "b:2")], rules);
    assert_eq!((t.url.as_str(), t.labels.get("instance")), ("http://b:2/metrics", Some("b:2")));
    assert!(
        matches!(found("a:1", &[("x", "drop")], rules), Ok(Found::Dropped(labels)) if labels.get("x") == Some("drop"))
    );
}

#[test]
fn what_cannot_be_is_an_error() {
    for (address, labels, expected) in [
        ("", &[][..], "no address"),
        ("http://a", &[], r#""http://a" is not a valid hostname"#),
        ("a", &[("__scrape_interval__", "x")], "error parsing scrape interval: not a valid duration string: \"x\""),
        ("a", &[("__scrape_interval__", "0")], "scrape interval cannot be 0"),
        ("a", &[("__scrape_timeout__", "0s")], "scrape timeout cannot be 0"),
        (
            "a",
            &[("__scrape_timeout__", "2m")],
            r#"scrape timeout cannot be greater than scrape interval ("2m" > "1m")"#,
        ),
        (
            "a",
            &[("__scrape_native_histograms__", "yes")],
            r#"error parsing scrape native histograms: strconv.ParseBool: parsing "yes": invalid syntax"#,
        ),
    ] {
        assert_eq!(found(address, labels, "").unwrap_err().to_string(), expected);
    }
}

#[test]
fn identity_is_of_labels_and_url_but_not_of_meta_labels() {
    let hash = |labels: &[(&str, &str)]| target("a:1", labels, "").hash;
    assert_eq!(hash(&[("__meta_x", "1")]), hash(&[]));
    assert_ne!(hash(&[("x", "1")]), hash(&[]));
    assert_ne!(hash(&[("__metrics_path__", "/x")]), hash(&[]));
    // Stable for ever: two versions of Narthex in one cluster must agree on the phase.
    assert_eq!(format!("{:016x}", hash(&[])), "028a50a3e58186f3");
}
