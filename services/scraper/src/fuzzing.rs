//! An entry point for fuzzers: it must return, whatever the bytes are.

use std::sync::{Arc, LazyLock};

use exposition::{Format, HistogramChoice};
use model::{Labels, SeriesId, TenantId, TimestampMs};
use writer::Admission;

use crate::EnvironmentProxy;
use crate::histograms::HistogramRules;
use crate::page::{self, Context, Counts, HistogramRow, Memory};
use crate::sample_rules::SampleRules;
use crate::settings::JobSettings;
use crate::target::{self, Found};

const CONFIG: &str = "
scrape_configs:
- job_name: j
  sample_limit: 40
  label_value_length_limit: 40
  native_histogram_bucket_limit: 20
  native_histogram_min_bucket_factor: 1.1
  metric_relabel_configs:
  - {source_labels: [drop], regex: .+, action: drop}
  - {source_labels: [b], target_label: a}
";

/// Pages between bytes `0xff`, scraped one after the other, in OpenMetrics where the first byte is odd, with classic histograms made
/// native where its third bit is set. What is remembered must
/// not change what a page says: the samples are those of a scraper that sees the page for the first time. Only where a type
/// changes `le` may keep its old form, because lines are remembered by their text: so in Prometheus.
pub fn fuzz_pages(bytes: &[u8]) {
    static JOB: LazyLock<Arc<JobSettings>> = LazyLock::new(|| job(CONFIG));
    let job = JOB.clone();
    let target_labels = Labels::from_pairs([("instance", "i"), ("job", "j")]).expect("two names");
    let rules = SampleRules { job, target_labels };
    let first = bytes.first().copied().unwrap_or_default();
    let format = if first % 2 == 1 { Format::OpenMetrics } else { Format::Text };
    let choice = HistogramChoice { to_custom_buckets: first & 4 > 0, classic_too: first & 8 > 0, native: true };
    let has_types = bytes.windows(4).any(|w| w == b"TYPE");
    let mut memory = Memory::new(&rules);
    for page in bytes.get(1..).unwrap_or_default().split(|b| *b == 0xff).take(8) {
        let mut one_more = read(&mut memory, &rules, page, (format, choice));
        let mut first = read(&mut Memory::new(&rules), &rules, page, (format, choice));
        if has_types {
            one_more.0.iter_mut().chain(&mut first.0).for_each(|sample| sample.0 = SeriesId(0));
        }
        assert_eq!(one_more, first);
    }
}

/// A page of messages, scraped twice. What is remembered must not change what it says.
pub fn fuzz_messages(bytes: &[u8]) {
    static JOB: LazyLock<Arc<JobSettings>> = LazyLock::new(|| job(CONFIG));
    let target_labels = Labels::from_pairs([("instance", "i"), ("job", "j")]).expect("two names");
    let rules = SampleRules { job: JOB.clone(), target_labels };
    let Some((first, page)) = bytes.split_first() else { return };
    let choice =
        HistogramChoice { to_custom_buckets: first & 1 > 0, classic_too: first & 2 > 0, native: first & 4 > 0 };
    let mut memory = Memory::new(&rules);
    let first = read(&mut memory, &rules, page, (Format::Protobuf, choice));
    let second = read(&mut memory, &rules, page, (Format::Protobuf, choice));
    assert_eq!(first, second);
}

const TARGETS_CONFIG: &str = "
scrape_configs:
- job_name: j
  params: {module: [a, b]}
  relabel_configs:
  - {source_labels: [__meta_drop], regex: .+, action: drop}
  - {source_labels: [__meta_address], regex: (.+), target_label: __address__}
  - {regex: __meta_label_(.+), action: labelmap}
";

/// The job of a configuration.
fn job(text: &str) -> Arc<JobSettings> {
    let config = config::parse(text, "/", &config::Defaults::default(), &|_| None);
    let config = config.expect("the texts above are configurations").scrape_configs.remove(0);
    JobSettings::new(&config, &EnvironmentProxy::default(), "x", 1 << 20).expect("all of it is built")
}

/// A file of target groups, of which targets are made. Both verdicts are fine; a target has an address and times.
pub fn fuzz_targets(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    static JOB: LazyLock<Arc<JobSettings>> = LazyLock::new(|| job(TARGETS_CONFIG));
    let Ok(groups) = config::parse_target_groups(text, config::TargetFormat::Json) else { return };
    for group in groups.into_iter().take(16) {
        let group = discovery::Group { source: "x:0".to_owned(), targets: group.targets, labels: group.labels };
        for address in group.targets.iter().take(16) {
            if let Ok(Found::Target(target)) = target::find(address, &group, &JOB.config, &JOB.relabel) {
                assert!(target.url.contains("//") && target.labels.get("instance").is_some(), "{target:?}");
                assert!(target.timeout <= target.interval, "{target:?}");
            }
        }
    }
}

/// The samples of a page, numbers about them, and what is wrong with it.
type Said = (Vec<(SeriesId, i64, String)>, [u64; 3], Option<String>);

fn read(memory: &mut Memory, rules: &SampleRules, page: &[u8], (format, choice): (Format, HistogramChoice)) -> Said {
    let context = Context {
        rules,
        tenant: &TenantId::anonymous(),
        admission: Admission { oldest: TimestampMs(-1_000_000), newest: TimestampMs(1_000_000) },
        at: TimestampMs(5),
        histograms: HistogramRules::new(&rules.job.config, choice),
    };
    let mut counts = Counts::default();
    let (_, rows, outcome) = page::read(memory, context, page.to_vec(), format, &mut counts);
    let floats = rows.samples.iter().map(|row| (row.id, row.at, row.value.to_bits().to_string()));
    let histograms = rows.histograms.iter().map(|HistogramRow { row, value }| (row.id, row.at, format!("{value:?}")));
    let samples = floats.chain(histograms).collect();
    let numbers = [counts.scraped, counts.post_relabel, counts.duplicates];
    (samples, numbers, outcome.err().map(|e| e.to_string()))
}
