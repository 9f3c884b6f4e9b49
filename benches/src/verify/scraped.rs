//! The check of what scraping stored: times are the scraper's, so a value is right if a page served then had it.

use std::collections::HashMap;

use anyhow::Result;

use super::{ANSWER_TIME_MAX, VALUE_ERROR, Verdict, spread};
use crate::answer::{ask_instant, close, key, parse};
use crate::fleet::{Fleet, Generation, Template};
use crate::http::Client;
use crate::page::PAGE_GRID_MS;

/// The time that a scraper may take from its timestamp to the page.
const LAG_MS_MAX: i64 = 4_000;
/// A scraper may set its timestamp a little later than the request, to keep its interval.
const ALIGN_MS_MAX: i64 = 10;

/// What to read back.
#[derive(Clone, Debug)]
pub struct ScrapedWindow {
    /// host:port.
    pub address: String,
    /// Number of targets, spread over the fleet.
    pub targets: usize,
    /// The end of the window.
    pub end_ms: i64,
    /// Its length.
    pub window_ms: i64,
    /// The scrape interval.
    pub interval_ms: i64,
}

/// Compares all samples of the window: every place of a target must have a sample per interval (one may be missing at
/// the edge), and each value must be that of a page served at that time.
pub fn scraped(fleet: &Fleet, window: &ScrapedWindow) -> Result<Verdict> {
    let mut client = Client::new(&window.address, ANSWER_TIME_MAX);
    let mut verdict = Verdict::default();
    for target in spread(fleet, window.targets) {
        scraped_target(fleet, window, &mut client, target, &mut verdict)?;
    }
    Ok(verdict)
}

fn scraped_target(
    fleet: &Fleet,
    window: &ScrapedWindow,
    client: &mut Client,
    target: usize,
    verdict: &mut Verdict,
) -> Result<()> {
    let query = format!("{{instance=\"{}\"}}[{}ms]", fleet.instance(target), window.window_ms);
    let body = ask_instant(client, &query, window.end_ms)?;
    // A pod may have been replaced within the window: its place then has two series, with one count.
    let mut places = HashMap::new();
    for (place, template) in fleet.templates().iter().enumerate() {
        for at_ms in [window.end_ms - window.window_ms, window.end_ms] {
            let generation = fleet.generation(target, template.pod, at_ms);
            let labels = fleet.labels(target, template, generation);
            let key = scraped_key(labels.iter().map(|(name, value)| (*name, value.as_str())));
            places.insert((template.name.clone(), key), (place, generation));
        }
    }
    let mut counts = vec![0; fleet.templates().len()];
    for series in parse(&body)? {
        let name = series.metric.get("__name__").cloned().unwrap_or_default();
        if name == "up" || name.starts_with("scrape_") {
            continue;
        }
        let labels = series.metric.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let Some(&(place, generation)) = places.get(&(name, scraped_key(labels))) else {
            verdict.mismatch(|| format!("never served: {:?}", series.metric));
            continue;
        };
        // VictoriaMetrics gives stale markers as NaN where it is asked for raw samples; no page has one.
        let samples: Vec<(i64, f64)> = series.samples()?.into_iter().filter(|(_, value)| !value.is_nan()).collect();
        verdict.raw_samples += samples.len() as u64;
        verdict.samples += samples.len() as u64;
        counts[place] += samples.len();
        let template = &fleet.templates()[place];
        let stream = fleet.stream(target, template);
        if let Some(wrong) = samples.iter().find(|sample| !was_served(fleet, template, stream, generation, **sample)) {
            verdict.mismatch(|| format!("never served: {wrong:?} of {:?}", series.metric));
        }
    }
    let least = (window.window_ms / window.interval_ms - 1) as usize;
    for (template, count) in fleet.templates().iter().zip(counts) {
        verdict.series += 1;
        if count < least {
            let (name, own) = (&template.name, &template.own);
            verdict
                .mismatch(|| format!("{count} samples of target {target}'s {name}{own:?}, expected {least} at least"));
        }
    }
    Ok(())
}

/// The key of a series, with bounds as numbers: Prometheus 3 and Narthex store a page's `le="1"` as `1.0`, Prometheus 2 does not.
fn scraped_key<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let labels: Vec<(&str, String)> = labels
        .map(|(name, value)| match (name, value.parse::<f64>()) {
            ("le" | "quantile", Ok(bound)) => (name, bound.to_string()),
            _ => (name, value.to_string()),
        })
        .collect();
    key(labels.iter().map(|(name, value)| (*name, value.as_str())))
}

fn was_served(
    fleet: &Fleet,
    template: &Template,
    stream: u64,
    generation: Generation,
    (at_ms, value): (i64, f64),
) -> bool {
    let first_ms = (at_ms - ALIGN_MS_MAX) / PAGE_GRID_MS * PAGE_GRID_MS;
    (first_ms..=at_ms + LAG_MS_MAX)
        .step_by(PAGE_GRID_MS as usize)
        .any(|page_ms| close(fleet.value(template, stream, generation, page_ms), value, VALUE_ERROR))
}
