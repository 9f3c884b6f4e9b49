//! Entry points for fuzzing: any bytes, no panic.

use crate::{Entry, Format, LabelsScratch, Line, Outcome, Parser, ScrapeCache, Staleness};

/// Reads `page` as both formats, labels and exemplars included.
pub fn fuzz_parser(page: &[u8]) {
    let mut scratch = LabelsScratch::new();
    for format in [Format::Text, Format::OpenMetrics] {
        let Ok(mut parser) = Parser::new(format, page) else { continue };
        while let Ok(Some(entry)) = parser.next() {
            if let Entry::Series(series) = entry {
                let labels = series.labels(&mut scratch).and_then(|()| scratch.to_labels()).ok();
                let exemplar = parser.exemplar().and_then(|e| e.to_exemplar(&mut scratch).ok());
                std::hint::black_box((labels, exemplar));
            }
        }
    }
}

/// Scrapes `first`, then `second`, twice each, with one cache, and checks that it gives what the bare parser gives.
pub fn fuzz_cache(first: &[u8], second: &[u8]) {
    for format in [Format::Text, Format::OpenMetrics] {
        let mut cache = ScrapeCache::new(Staleness::WithoutTimestamp);
        let mut slow_cache = ScrapeCache::new(Staleness::WithoutTimestamp);
        for page in [first, second, second, first] {
            let expected = plain(format, page);
            assert_eq!(scrape(&mut cache, Hot::Yes, format, page), expected, "the cache and the parser differ");
            assert_eq!(scrape(&mut slow_cache, Hot::No, format, page), expected, "the cache and the parser differ");
        }
    }
}

/// Whether the hot path is used.
#[derive(Clone, Copy, PartialEq)]
enum Hot {
    Yes,
    No,
}

type Samples = (Vec<(Vec<u8>, u64, Option<i64>)>, Option<String>);

fn scrape(cache: &mut ScrapeCache<Vec<u8>>, hot: Hot, format: Format, page: &[u8]) -> Samples {
    let mut samples = Vec::new();
    let Ok(mut parser) = Parser::new(format, page) else { return (samples, None) };
    let error = loop {
        if hot == Hot::Yes {
            cache.take_unchanged(&mut parser, |text, sample| {
                samples.push((text.clone(), sample.value.to_bits(), sample.timestamp.map(|t| t.0)));
            });
        }
        let (slot, sample) = match cache.next(&mut parser) {
            Ok(Some(Line::Known { slot, sample, .. })) => (slot, sample),
            Ok(Some(Line::New(series))) => match cache.remember(&series, series.text().to_vec()) {
                Ok(slot) => (slot, series.sample),
                Err(full) => break Some(full.to_string()),
            },
            Ok(Some(Line::Metadata(_))) => continue,
            Ok(None) => break None,
            Err(e) => break Some(format!("{e} at {}:{}", e.line, e.offset)),
        };
        let text = cache.get(slot).clone();
        samples.push((text, sample.value.to_bits(), sample.timestamp.map(|t| t.0)));
    };
    let outcome = if error.is_none() { Outcome::Good } else { Outcome::Failed };
    cache.finish(outcome, |_| {});
    (samples, error)
}

fn plain(format: Format, page: &[u8]) -> Samples {
    let mut samples = Vec::new();
    let Ok(mut parser) = Parser::new(format, page) else { return (samples, None) };
    loop {
        match parser.next() {
            Ok(Some(Entry::Series(series))) => {
                let sample = series.sample;
                samples.push((series.text().to_vec(), sample.value.to_bits(), sample.timestamp.map(|t| t.0)));
            }
            Ok(Some(_)) => {}
            Ok(None) => return (samples, None),
            Err(e) => return (samples, Some(format!("{e} at {}:{}", e.line, e.offset))),
        }
    }
}
