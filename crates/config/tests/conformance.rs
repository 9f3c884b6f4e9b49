//! Prometheus' own configuration files, with the verdicts and prints of Prometheus 3.14: `config`, `promtool` and `api` of the
//! conformance folder, which `NARTHEX_CONFORMANCE` names.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use config::{Config, Defaults, LoadError, Outside, TargetFormat, TargetGroup, load, parse_target_groups};
use model::DurationMs;

/// The folder, if it is there; the test says so where it is not.
fn conformance(sub: &str) -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "tests find the conformance data by this variable")]
    let folder = std::env::var("NARTHEX_CONFORMANCE");
    match folder {
        Ok(folder) => Some(Path::new(&folder).join(sub)),
        Err(_) => {
            eprintln!("skipped: NARTHEX_CONFORMANCE is not set");
            None
        }
    }
}

/// Loads `name` of `folder` as if that were the working directory.
fn load_from(folder: &Path, name: &str, defaults: &Defaults) -> Result<Config, LoadError> {
    let names = |dir: &str| {
        let entries = fs::read_dir(folder.join(dir)).into_iter().flatten().flatten();
        entries.filter_map(|e| e.file_name().into_string().ok()).collect()
    };
    let exists = |path: &str| folder.join(path).exists();
    let outside = Outside {
        read: &|path| fs::read_to_string(folder.join(path)),
        glob: &|pattern| config::glob::expand(pattern, &names, &exists).expect("checked before"),
        variable: &|_| None,
        working_directory: "",
    };
    load(name, defaults, &outside)
}

/// Files whose verdict is not checked, and the block that they wait for.
const WAITING: [(&str, &str); 0] = [];

/// Files whose verdict is checked and whose text is a library's.
const LIBRARY_TEXT: [(&str, &str); 1] = [("regex.bad.yml", "error parsing regexp: ")];

#[test]
fn every_file_has_prometheus_verdict_and_words() {
    let Some(folder) = conformance("config") else { return };
    let verdicts = fs::read_to_string(folder.join("verdicts.tsv")).unwrap();
    let (mut loads, mut refused) = (0, 0);
    for line in verdicts.lines().skip(1) {
        let [file, verdict, error] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        if WAITING.iter().any(|(waiting, _)| *waiting == file) {
            continue;
        }
        match (verdict, load_from(&folder, file, &Defaults::default())) {
            ("loads", Ok(config)) => {
                loads += 1;
                assert!(config.to_yaml().starts_with("global:\n"), "{file}");
            }
            ("refused", Err(e)) => {
                refused += 1;
                let text = e.prometheus_text().replace('\n', "\\n");
                match LIBRARY_TEXT.iter().find(|(f, _)| *f == file) {
                    Some((_, prefix)) => assert!(text.contains(prefix), "{file}: {text}"),
                    None => assert_eq!(text, error, "{file}"),
                }
                let (_, at) = e.place();
                assert!(at.is_some_and(|at| at.line > 0 && at.column > 0), "{file}: {e}");
            }
            (_, Ok(_)) => panic!("{file}: loads, expected {error}"),
            (_, Err(e)) => panic!("{file}: {e}"),
        }
    }
    assert_eq!((loads, refused), (65, 150), "files that load and that are refused");
    assert_eq!(WAITING.len(), 0);
}

#[test]
fn what_is_printed_loads_and_prints_the_same() {
    let Some(folder) = conformance("config") else { return };
    // Prometheus does not read these prints back as they were either: consul's user is printed twice, "<secret>" is no UUID,
    // what `$$` became is expanded again, and of `otlp` false and empty are left out where they are not the default.
    const ONE_WAY: [&str; 5] = [
        "conf.good.yml",
        "external_labels.good.yml",
        "otlp_label_underscore_sanitization_disabled.good.yml",
        "otlp_sanitize_default_resource_attributes.good.yml",
        "roundtrip.good.yml",
    ];
    let verdicts = fs::read_to_string(folder.join("verdicts.tsv")).unwrap();
    let mut checked = 0;
    for line in verdicts.lines().filter(|l| l.contains("\tloads")) {
        let file = line.split('\t').next().unwrap();
        if ONE_WAY.contains(&file) {
            continue;
        }
        let printed = load_from(&folder, file, &Defaults::default()).unwrap().to_yaml();
        let again = config::parse(&printed, "", &Defaults::default(), &|_| None);
        assert_eq!(again.map(|c| c.to_yaml()).map_err(|e| e.to_string()), Ok(printed), "{file}");
        checked += 1;
    }
    assert_eq!(checked, 60);
}

#[test]
fn promtool_files_are_judged_by_their_names() {
    let Some(folder) = conformance("promtool") else { return };
    // Whether named files exist is promtool's question, not the parser's.
    for (file, loads) in [
        ("authorization_credentials_file.bad.yml", true),
        ("authorization_credentials_file.good.yml", true),
        ("config_with_rule_files.yml", true),
        ("config_with_service_discovery_files.yml", true),
        ("config_with_tls_files.yml", true),
        ("prometheus-aws-sd-empty-region.good.yml", true),
        ("prometheus-config.bad.yml", false),
        ("prometheus-config.good.yml", true),
        ("prometheus-config.lint.too_long_scrape_interval.yml", true),
        ("prometheus-config.lint.yml", true),
        ("prometheus-config.rules.good.yml", false),
        ("url_in_alert_targetgroup_with_relabel_config.bad.yml", true),
        ("url_in_alert_targetgroup_with_relabel_config.good.yml", true),
        ("url_in_scrape_targetgroup_with_relabel_config.bad.yml", true),
        ("url_in_scrape_targetgroup_with_relabel_config.good.yml", true),
    ] {
        let result = load_from(&folder, file, &Defaults::default());
        assert_eq!(result.is_ok(), loads, "{file}: {:?}", result.err().map(|e| e.to_string()));
    }
}

#[test]
fn promtool_target_files_are_read() {
    let Some(folder) = conformance("promtool") else { return };
    let read = |name: &str| {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        parse_target_groups(&text, TargetFormat::of_file(name).unwrap())
    };
    let group = |targets: &[&str], job: &[&str]| TargetGroup {
        targets: targets.iter().map(|t| (*t).to_owned()).collect(),
        labels: job.iter().map(|job| ("job".to_owned(), (*job).to_owned())).collect(),
    };
    assert_eq!(read("good-sd-file.json").unwrap(), [group(&["localhost:9100"], &["node"])]);
    for yaml in ["good-sd-file.yml", "good-sd-file.yaml"] {
        assert_eq!(read(yaml).unwrap(), [group(&[], &["node"]), group(&["localhost:9100"], &[])]);
    }
    assert!(read("bad-sd-file-format.yml").is_err());
    assert_eq!(TargetFormat::of_file("bad-sd-file-extension.nonexistent"), None);
}

#[test]
fn status_config_prints_what_prometheus_prints() {
    let Some(folder) = conformance("api") else { return };
    // The server under test ran with these flags.
    let defaults = Defaults {
        retention_time: DurationMs::parse("100y").unwrap(),
        max_exemplars: Some(100_000),
        ..Defaults::default()
    };
    let mut printed = BTreeMap::new();
    for data in ["data", "fresh"] {
        let config = load_from(&folder, &format!("{data}.prometheus.yml"), &defaults).unwrap();
        printed.insert(data, config.to_yaml());
    }
    let requests = fs::read_to_string(folder.join("requests.jsonl")).unwrap();
    let mut compared = 0;
    for line in requests.lines().filter(|l| l.contains("\"/api/v1/status/config\"")) {
        let request: serde_json::Value = serde_json::from_str(line).unwrap();
        if let Some(yaml) = request["response"]["json"]["data"]["yaml"].as_str() {
            assert_eq!(printed[request["data"].as_str().unwrap()], yaml);
            compared += 1;
        }
    }
    assert_eq!(compared, 1);
}
