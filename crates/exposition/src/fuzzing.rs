//! Entry points for fuzzing: any bytes, no panic.

use crate::{
    ClassicLines, Entry, Escaping, Format, HistogramChoice, LabelsScratch, Line, Lines, Offer, Outcome, Parser,
    ScrapeCache, ScrapeProtocol, Staleness, format_float, format_for, format_openmetrics_float, negotiate,
    parse_go_float, parse_value, with_custom_buckets,
};

/// Reads `page` as both formats, labels and exemplars included.
pub fn fuzz_parser(page: &[u8]) {
    let mut scratch = LabelsScratch::new();
    for format in [Format::Text, Format::OpenMetrics] {
        let mut parser = Parser::new(format, page);
        while let Ok(Some(entry)) = parser.next() {
            if let Entry::Series(series) = entry {
                let labels = series.labels(&mut scratch).and_then(|()| scratch.to_labels()).ok();
                let exemplar = parser.exemplar().and_then(|e| e.to_exemplar(&mut scratch).ok());
                std::hint::black_box((labels, exemplar));
            }
        }
    }
}

/// A page of messages, and what is chosen of its histograms in the first byte. Its lines are read without an error, and what stands
/// beside them belongs to one of them.
pub fn fuzz_messages(bytes: &[u8]) {
    let Some((first, page)) = bytes.split_first() else { return };
    let choice =
        HistogramChoice { native: first & 1 > 0, classic_too: first & 2 > 0, to_custom_buckets: first & 4 > 0 };
    check_lines(&crate::protobuf::lines(page, choice), Format::Protobuf);
}

/// A page of lines whose classic histograms become native ones.
pub fn fuzz_conversion(page: &[u8]) {
    for format in [Format::Text, Format::OpenMetrics] {
        let error = plain(format, page).1;
        for classic in [ClassicLines::Keep, ClassicLines::Drop] {
            let lines = with_custom_buckets(format, page, classic);
            assert_eq!(lines.error.is_some(), error.is_some(), "{:?} {error:?}", lines.error);
            if error.is_none() {
                check_lines(&lines, format);
            }
        }
    }
}

fn check_lines(lines: &Lines, format: Format) {
    let (samples, error) = plain(format, &lines.text);
    assert_eq!(error, None, "{:?}", String::from_utf8_lossy(&lines.text));
    let is_line = |line: u64| line < samples.len() as u64;
    assert!(lines.histograms.is_sorted_by(|a, b| a.line < b.line));
    assert!(lines.histograms.iter().all(|h| is_line(h.line)));
    assert!(lines.exemplars.is_sorted_by_key(|(line, _)| *line));
    assert!(lines.exemplars.iter().all(|(line, _)| is_line(*line)));
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

/// Two pages with the byte `0xff` between, for [`fuzz_cache`].
pub fn fuzz_cached_pages(bytes: &[u8]) {
    let mut pages = bytes.splitn(2, |b| *b == 0xff);
    fuzz_cache(pages.next().unwrap_or_default(), pages.next().unwrap_or_default());
}

/// A header: a page's `Content-Type` and a client's `Accept`.
pub fn fuzz_headers(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for fallback in [None, Some(ScrapeProtocol::PrometheusText0_0_4)] {
        match format_for(&text, fallback) {
            Ok(choice) => assert!(choice.problem.is_none() || fallback.is_some()),
            Err(e) => assert!(fallback.is_none() && !e.to_string().is_empty()),
        }
    }
    for offer in [Offer::Text, Offer::TextAndOpenMetrics] {
        let (page, escaping) = negotiate(&text, offer, Escaping::Underscores);
        let said = page.content_type(escaping);
        assert!(format_for(&said, None).is_ok(), "{said}");
        assert_eq!(negotiate(&said, offer, Escaping::Underscores), (page, escaping), "{said}");
    }
}

/// A number of a page; what is written of it means the same.
pub fn fuzz_number(text: &[u8]) {
    let go = parse_go_float(text);
    let Ok(value) = parse_value(text) else { return };
    assert!(go.is_ok_and(|go| go.to_bits() == value.to_bits() || go.is_nan() && value.is_nan()), "{text:?}");
    for write in [format_float, format_openmetrics_float] {
        let mut out = Vec::new();
        write(&mut out, value);
        let again = parse_value(&out).expect("we wrote it");
        // As in Prometheus, `-0` is written as `0`.
        assert!(again == value || again.is_nan() && value.is_nan(), "{text:?}");
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
    let mut parser = Parser::new(format, page);
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
    let mut parser = Parser::new(format, page);
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
