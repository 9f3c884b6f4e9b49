//! What loading gives: inheritance, imports, expansion, places of errors, the printed form.

use std::io;
use std::path::Path;

use model::DurationMs;

use super::{Config, Defaults, Outside, load, parse};
use crate::discovery::ServiceDiscovery;
use crate::error::{LoadError, Refused};
use crate::http_client::{Authentication, Source};
use crate::scheme::{NameEscaping, NameValidation};
use crate::scrape_config::ScrapeProtocol;
use crate::size::ByteSize;

fn loaded(text: &str) -> Config {
    parse(text, "/etc/p", &Defaults::default(), &|_| None).unwrap()
}

fn refused(text: &str) -> Refused {
    parse(text, "/etc/p", &Defaults::default(), &|_| None).unwrap_err()
}

/// Loads `main.yml` out of `files`.
fn load_files(files: &[(&str, &str)]) -> Result<Config, LoadError> {
    let find = |name: &str| files.iter().find(|(n, _)| *n == name);
    let outside = Outside {
        read: &|path: &Path| match find(path.to_str().unwrap()) {
            Some((_, text)) => Ok((*text).to_owned()),
            None => Err(io::ErrorKind::NotFound.into()),
        },
        glob: &|pattern| {
            let names = |dir: &str| {
                files.iter().filter_map(|(name, _)| Some(name.strip_prefix(dir)?.to_owned())).collect::<Vec<_>>()
            };
            crate::glob::expand(pattern, &names, &|path| find(path).is_some()).unwrap()
        },
        variable: &|_| None,
        working_directory: "/work",
    };
    load("main.yml", &Defaults::default(), &outside)
}

#[test]
fn an_empty_file_is_all_defaults() {
    let config = loaded("");
    assert_eq!(config.global.scrape_interval, DurationMs::mins(1));
    assert_eq!(config.global.scrape_timeout, DurationMs::secs(10));
    assert_eq!(config.global.evaluation_interval, DurationMs::mins(1));
    assert_eq!(config.global.name_validation, NameValidation::Utf8);
    assert!(config.scrape_configs.is_empty() && config.unsupported.is_empty());
    for text in ["# nothing\n", "---\n", "{}", "global:\n", "global:\nruntime:\nstorage:\n"] {
        assert_eq!(loaded(text).global, config.global, "{text}");
    }
}

#[test]
fn a_job_takes_what_it_does_not_say_from_global() {
    let config = loaded(
        "global:\n  scrape_interval: 5s\n  sample_limit: 10\n  label_limit: 3\n  body_size_limit: 1KiB\n  \
         scrape_native_histograms: true\n  convert_classic_histograms_to_nhcb: true\n  \
         metric_name_validation_scheme: legacy\n\
         scrape_configs:\n- job_name: a\n- job_name: b\n  scrape_interval: 20s\n  sample_limit: 1\n  \
         convert_classic_histograms_to_nhcb: false\n  metric_name_validation_scheme: utf8\n",
    );
    let [a, b] = &config.scrape_configs[..] else { panic!("two jobs") };
    assert_eq!((a.scrape_interval, a.scrape_timeout), (DurationMs::secs(5), DurationMs::secs(5)));
    assert_eq!((b.scrape_interval, b.scrape_timeout), (DurationMs::secs(20), DurationMs::secs(5)));
    assert_eq!((a.limits.samples, b.limits.samples), (10, 1));
    assert_eq!((a.limits.labels, b.limits.body_size), (3, ByteSize(1024)));
    assert_eq!((a.convert_classic_histograms_to_nhcb, b.convert_classic_histograms_to_nhcb), (true, false));
    assert_eq!(a.scrape_protocols, ScrapeProtocol::WITH_NATIVE_HISTOGRAMS);
    assert_eq!((a.name_validation, a.name_escaping), (NameValidation::Legacy, NameEscaping::Underscores));
    assert_eq!((b.name_validation, b.name_escaping), (NameValidation::Utf8, NameEscaping::AllowUtf8));
    assert_eq!((a.metrics_path.as_str(), a.scheme.as_str()), ("/metrics", "http"));
    assert!(a.honor_timestamps && a.enable_compression && a.http_client.follow_redirects);
}

#[test]
fn a_job_keeps_the_mechanisms_that_are_built_and_names_the_others() {
    let config = loaded(
        "remote_write: [{url: http://a}]\nscrape_configs:\n- job_name: a\n  static_configs: [{targets: [x]}]\n  \
         dns_sd_configs: [{names: [n]}]\n  file_sd_configs: [{files: [t/*.json]}]\n- job_name: b\n  \
         dns_sd_configs: [{names: [n]}]\n",
    );
    let [ServiceDiscovery::File(file), ServiceDiscovery::Static(groups)] =
        &config.scrape_configs[0].service_discoveries[..]
    else {
        panic!("{:?}", config.scrape_configs[0].service_discoveries)
    };
    assert_eq!(file.files, ["/etc/p/t/*.json"]);
    assert_eq!(groups[0].targets, ["x"]);
    assert!(config.scrape_configs[1].service_discoveries.is_empty());
    let named: Vec<(&str, Vec<&str>)> =
        config.unsupported.iter().map(|u| (u.block.as_str(), u.jobs.iter().map(String::as_str).collect())).collect();
    assert_eq!(named, [("dns_sd_configs", vec!["a", "b"]), ("remote_write", vec![])]);
}

#[test]
fn blocks_that_say_what_holds_anyway_are_not_named() {
    assert!(
        loaded("alerting:\n  alertmanagers: []\notlp: {}\nruntime: {}\nstorage: {tsdb: {}}\n").unsupported.is_empty()
    );
    let config = loaded(
        "runtime: {gogc: 50}\notlp: {promote_scope_metadata: true}\nstorage: {tsdb: {chunk_encoding: {floats: xor2}}}",
    );
    let named: Vec<&str> = config.unsupported.iter().map(|u| u.block.as_str()).collect();
    assert_eq!(named, ["otlp", "runtime", "storage.tsdb.chunk_encoding"]);
}

#[test]
fn external_labels_are_expanded_from_the_environment_given() {
    let variable = |name: &str| (name == "HOST").then(|| "h1".to_owned());
    let text = "global: {external_labels: {a: \"$HOST-${HOST}\", b: $$HOST, c: x$NONE}}";
    let config = parse(text, "", &Defaults::default(), &variable).unwrap();
    assert_eq!(config.global.external_labels.to_string(), r#"{a="h1-h1", b="$HOST", c="x"}"#);
    assert_eq!(config.empty_variables, ["NONE"]);
}

#[test]
fn flags_fill_in_what_the_file_does_not_say_about_storage() {
    let defaults =
        Defaults { retention_time: DurationMs::hours(24), retention_size: ByteSize(1 << 30), max_exemplars: Some(7) };
    let storage = |text: &str| parse(text, "", &defaults, &|_| None).unwrap().storage;
    let from_flags = storage("");
    assert_eq!(from_flags.retention_time, Some(DurationMs::hours(24)));
    assert_eq!((from_flags.retention_size, from_flags.max_exemplars), (Some(ByteSize(1 << 30)), Some(7)));
    let from_file = storage(
        "storage:\n  tsdb:\n    out_of_order_time_window: 30m\n    retention: {size: 2GiB, percentage: 12.5}\n  \
         exemplars: {max_exemplars: 0}\n",
    );
    assert_eq!((from_file.retention_time, from_file.retention_size), (None, Some(ByteSize(2 << 30))));
    assert_eq!(from_file.retention_percentage, Some(12.5));
    assert_eq!(from_file.out_of_order_time_window, Some(DurationMs::mins(30)));
    assert_eq!(from_flags.out_of_order_time_window, None);
    let said = |text: &str| storage(&format!("storage: {{tsdb: {{{text}}}}}")).out_of_order_time_window;
    assert_eq!(said("out_of_order_time_window: 0"), Some(DurationMs::ZERO));
    assert_eq!(said("out_of_order_time_window: 0s"), Some(DurationMs::ZERO));
    assert_eq!(said("out_of_order_time_window:"), None);
    assert_eq!(from_file.max_exemplars, Some(0));
}

#[test]
fn secrets_are_kept_and_not_shown() {
    let config = loaded(
        "scrape_configs:\n- job_name: a\n  basic_auth: {username: u, password: hunter2}\n- job_name: b\n  \
         bearer_token: hunter2\n- job_name: c\n  oauth2: {client_id: i, client_secret: hunter2, token_url: t}\n  \
         proxy_url: http://u:hunter2@p\n",
    );
    let Some(Authentication::Basic(basic)) = &config.scrape_configs[0].http_client.authentication else {
        panic!("basic_auth")
    };
    assert!(matches!(&basic.password, Some(Source::Inline(secret)) if secret.reveal() == "hunter2"));
    let Some(Authentication::Header(header)) = &config.scrape_configs[1].http_client.authentication else {
        panic!("authorization")
    };
    assert_eq!(header.scheme, "Bearer");
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(!config.to_yaml().contains("hunter2"));
}

#[test]
fn imported_jobs_come_after_those_of_the_main_file() {
    let main = "global: {scrape_interval: 7s}\nscrape_config_files: ['jobs/*.yml']\nscrape_configs: [{job_name: a}]\n";
    let config = load_files(&[
        ("main.yml", main),
        ("jobs/1.yml", "scrape_configs: [{job_name: b, scrape_failure_log_file: f}]"),
    ])
    .unwrap();
    let names: Vec<&str> = config.scrape_configs.iter().map(|j| j.job_name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(config.scrape_configs[1].scrape_interval, DurationMs::secs(7));
    assert_eq!(config.scrape_configs[1].scrape_failure_log_file.as_deref(), Some("jobs/f"));
    assert!(!config.to_yaml().contains("job_name: b"), "the main file alone is shown");
}

#[test]
fn errors_of_imported_files_name_them() {
    let main = "scrape_config_files: [jobs/1.yml]\nscrape_configs: [{job_name: a}]\n";
    for (imported, text) in [
        (
            "scrape_configs:\n  - job_name: a\n",
            "error loading scrape configs: \"/work/jobs/1.yml\": found multiple scrape configs with job name \"a\", first \
             found in main config file (/work/jobs/1.yml:2:5)",
        ),
        (
            "global: {}\n",
            "error loading scrape configs: \"/work/jobs/1.yml\": yaml: unmarshal errors:\n  line 1: field global not found \
             in type config.ScrapeConfigs (/work/jobs/1.yml:1:1)",
        ),
    ] {
        let error = load_files(&[("main.yml", main), ("jobs/1.yml", imported)]).unwrap_err();
        assert_eq!(error.to_string(), text);
    }
    let missing = load_files(&[]).unwrap_err();
    assert_eq!(missing.place(), ("main.yml", None));
}

#[test]
fn errors_name_line_and_column() {
    for (text, line, column, part) in [
        ("global:\n  scrape_intervall: 1s\n", 2, 3, "field scrape_intervall not found"),
        ("global:\n  scrape_interval: 1x\n", 2, 20, "unknown unit"),
        ("global:\n  sample_limit: -1\n", 2, 17, "cannot unmarshal"),
        ("global:\n  scrape_interval: 5s\n  scrape_timeout: 9s\n", 3, 3, "global scrape timeout greater"),
        ("scrape_configs:\n- scheme: https\n", 2, 3, "job_name is empty"),
        ("scrape_configs:\n- job_name: a\n- job_name: a\n", 3, 3, "found multiple scrape configs"),
        ("scrape_configs:\n- job_name: a\n  relabel_configs:\n  - action: hashmod\n", 4, 5, "non-zero modulus"),
        (
            "scrape_configs:\n- job_name: a\n  static_configs:\n  - targets: ['http://x']\n",
            3,
            3,
            "not a valid hostname",
        ),
        ("rule_files: [a, b/*/c]\n", 1, 1, "invalid rule file path"),
        ("a: [1\n", 1, 4, "yaml: line 1: unclosed bracket"),
    ] {
        let error = refused(text);
        assert!(error.to_string().contains(part), "{text}: {error}");
        assert_eq!((error.at().line, error.at().column), (line, column), "{text}: {error}");
    }
}

#[test]
fn unknown_and_repeated_keys_are_all_named() {
    let error = refused("x: 1\nglobal: {y: 2}\nglobal: {}\n");
    assert_eq!(
        error.to_string(),
        "yaml: unmarshal errors:\n  line 1: field x not found in type config.plain\n  line 2: field y not found in type \
         config.plain\n  line 3: field global already set in type config.plain"
    );
}

#[test]
fn the_print_is_that_of_prometheus() {
    let config = loaded(include_str!("tests/input.yml"));
    assert_eq!(config.to_yaml(), include_str!("tests/printed.yml"));
}
