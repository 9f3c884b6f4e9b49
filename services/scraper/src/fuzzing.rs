//! An entry point for fuzzers: it must return, whatever the bytes are.

use exposition::Format;
use model::{Labels, SeriesId, TenantId, TimestampMs};
use writer::Admission;

use crate::EnvironmentProxy;
use crate::page::{self, Context, Counts, Memory};
use crate::sample_rules::SampleRules;
use crate::settings::JobSettings;

const CONFIG: &str = "
scrape_configs:
- job_name: j
  sample_limit: 40
  label_value_length_limit: 40
  metric_relabel_configs:
  - {source_labels: [drop], regex: .+, action: drop}
  - {source_labels: [b], target_label: a}
";

/// Pages between bytes `0xff`, scraped one after the other, in OpenMetrics where the first byte is odd. What is remembered must
/// not change what a page says: the samples are those of a scraper that sees the page for the first time. Only where a type
/// changes `le` may keep its old form, because lines are remembered by their text: so in Prometheus.
pub fn fuzz_pages(bytes: &[u8]) {
    let config = config::parse(CONFIG, "/", &config::Defaults::default(), &|_| None);
    let config = config.expect("the text above is one").scrape_configs.remove(0);
    let job = JobSettings::new(&config, &EnvironmentProxy::default(), "x", 1 << 20).expect("all of it is built");
    let target_labels = Labels::from_pairs([("instance", "i"), ("job", "j")]).expect("two names");
    let rules = SampleRules { job, target_labels };
    let format = if bytes.first().is_some_and(|b| b % 2 == 1) { Format::OpenMetrics } else { Format::Text };
    let has_types = bytes.windows(4).any(|w| w == b"TYPE");
    let mut memory = Memory::new(&rules);
    for page in bytes.get(1..).unwrap_or_default().split(|b| *b == 0xff).take(8) {
        let mut one_more = read(&mut memory, &rules, page, format);
        let mut first = read(&mut Memory::new(&rules), &rules, page, format);
        if has_types {
            one_more.0.iter_mut().chain(&mut first.0).for_each(|sample| sample.0 = SeriesId(0));
        }
        assert_eq!(one_more, first);
    }
}

/// The samples of a page, numbers about them, and what is wrong with it.
type Said = (Vec<(SeriesId, i64, u64)>, [u64; 3], Option<String>);

fn read(memory: &mut Memory, rules: &SampleRules, page: &[u8], format: Format) -> Said {
    let context = Context {
        rules,
        tenant: &TenantId::anonymous(),
        admission: Admission { oldest: TimestampMs(-1_000_000), newest: TimestampMs(1_000_000) },
        at: TimestampMs(5),
    };
    let mut counts = Counts::default();
    let (rows, outcome) = page::read(memory, context, page, format, &mut counts);
    let samples = rows.samples.iter().map(|row| (row.id, row.at, row.value.to_bits())).collect();
    let numbers = [counts.scraped, counts.post_relabel, counts.duplicates];
    (samples, numbers, outcome.err().map(|e| e.to_string()))
}
