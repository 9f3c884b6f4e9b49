//! The cache, against the bare parser and a naive account of what is live.

use super::*;
use crate::parser::tests::{Xorshift, conformance};
use crate::{Format, LabelsScratch};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A target: lines of a page are `name value`; what the cache says of them is checked.
struct Target {
    cache: ScrapeCache<String>,
    /// Lines that were given out as new.
    new_lines: usize,
    metadata: Vec<String>,
    repeated: usize,
    /// Whether the hot path is used.
    hot: bool,
}

impl Target {
    fn new(staleness: Staleness) -> Target {
        Target { cache: ScrapeCache::new(staleness), new_lines: 0, metadata: Vec::new(), repeated: 0, hot: true }
    }

    /// Scrapes and gives back what vanished. A page that does not parse is a failed scrape.
    fn scrape(&mut self, format: Format, page: &str) -> Vec<String> {
        (self.new_lines, self.repeated) = (0, 0);
        self.metadata.clear();
        let mut parser = Parser::new(format, page.as_bytes());
        let mut scratch = LabelsScratch::new();
        let outcome = loop {
            if self.hot {
                self.cache.take_unchanged(&mut parser, |_, _| {});
            }
            match self.cache.next(&mut parser) {
                Ok(None) => break Outcome::Good,
                Err(_) => break Outcome::Failed,
                Ok(Some(Line::Known { repeated, .. })) => self.repeated += usize::from(repeated),
                Ok(Some(Line::Metadata(entry))) => self.metadata.push(format!("{entry:?}")),
                Ok(Some(Line::New(series))) => {
                    self.new_lines += 1;
                    series.labels(&mut scratch).unwrap();
                    let labels = scratch.to_labels().unwrap().to_string();
                    let slot = self.cache.remember(&series, labels.clone()).unwrap();
                    assert_eq!(*self.cache.get(slot), labels);
                }
            }
        };
        let mut vanished = Vec::new();
        self.cache.finish(outcome, |labels| vanished.push(labels.replace("__name__=", "")));
        vanished
    }
}

fn check(staleness: Staleness, scrapes: &[(&str, &[&str])]) {
    for hot in [true, false] {
        let mut target = Target { hot, ..Target::new(staleness) };
        for (page, vanished) in scrapes {
            assert_eq!(target.scrape(Format::Text, page), *vanished, "{page:?} of {scrapes:?}");
        }
    }
}

#[test]
fn a_series_that_is_gone_is_told_once() {
    check(
        Staleness::WithoutTimestamp,
        &[
            ("a 1\nb 1\nc 1\n", &[]),
            ("a 2\nc 2\n", &[r#"{"b"}"#]),
            ("a 3\nc 3\n", &[]),
            ("a 3\nb 3\nc 3\n", &[]),
            ("", &[r#"{"a"}"#, r#"{"b"}"#, r#"{"c"}"#]),
            ("", &[]),
        ],
    );
}

#[test]
fn a_failed_scrape_ends_all_series_and_only_them() {
    check(
        Staleness::WithoutTimestamp,
        &[
            ("a 1\nb 1\n", &[]),
            ("a 2\nc 2\n}", &[r#"{"a"}"#, r#"{"b"}"#]),
            ("}", &[]),
            ("a 3\n", &[]),
            ("b 3\n", &[r#"{"a"}"#]),
        ],
    );
}

#[test]
fn a_series_with_a_timestamp_is_not_ended_unless_asked() {
    let scrapes = |vanished| [("a 1 5\nb 1\n", &[][..]), ("b 2\n", vanished), ("b 3 7\n", &[][..])];
    let mut ignoring = scrapes(&[]);
    // A series that goes over to timestamps is ended, as in Prometheus.
    ignoring[2].1 = &[r#"{"b"}"#];
    check(Staleness::WithoutTimestamp, &ignoring);
    check(Staleness::All, &scrapes(&[r#"{"a"}"#]));
}

#[test]
fn a_series_under_another_text_has_not_vanished() {
    check(
        Staleness::WithoutTimestamp,
        &[
            ("a{x=\"1\",y=\"2\"} 1\nb 1\n", &[]),
            ("a{y=\"2\",x=\"1\"} 1\nb 1\n", &[]),
            ("a{ y=\"2\", x=\"1\"} 1\n", &[r#"{"b"}"#]),
            ("a{ y=\"2\", x=\"1\"} 1\na{x=\"1\",y=\"2\"} 1\n", &[]),
            ("", &[r#"{"a", x="1", y="2"}"#]),
        ],
    );
}

#[test]
fn unchanged_lines_are_not_new_and_repetitions_are_told() {
    let mut target = Target::new(Staleness::WithoutTimestamp);
    let page = |v: u32| format!("# TYPE a gauge\n# HELP a x\na 1\na{{b=\"c\"}} {v}\n\n# note\nb {v}\nb {v}\n");
    assert!(target.scrape(Format::Text, &page(1)).is_empty());
    assert_eq!((target.new_lines, target.metadata.len(), target.repeated), (3, 3, 1));
    assert!(target.scrape(Format::Text, &page(2)).is_empty());
    assert_eq!((target.new_lines, target.repeated), (0, 1));
    // The blank line ends the prediction of the comment behind it.
    assert_eq!(target.metadata.len(), 1);
    let lines: Vec<&[u8]> = target.cache.metadata_lines().collect();
    assert_eq!(lines, [&b"# TYPE a gauge\n"[..], b"# HELP a x\n", b"# note\n"]);
}

#[test]
fn a_predicted_type_line_still_sets_the_type() {
    let mut target = Target::new(Staleness::All);
    target.scrape(Format::Text, "# TYPE h histogram\nh{le=\"1\"} 1\n");
    target.scrape(Format::Text, "# TYPE h histogram\nh{le=\"1\"} 1\nh{le=\"2\"} 1\n");
    assert_eq!(target.metadata.len(), 0);
    assert_eq!(target.scrape(Format::Text, ""), [r#"{"h", le="1.0"}"#, r#"{"h", le="2.0"}"#]);
}

#[test]
fn names_that_begin_alike_are_told_apart() {
    check(
        Staleness::All,
        &[
            ("a 1\nab 1\n", &[]),
            ("ab 1\na 1\n", &[]),
            ("a{} 1\nab 1\n", &[]),
            ("a {x=\"y\"} 1\nab 1\n", &[r#"{"a"}"#]),
            ("a 1\nab{} 1\n", &[r#"{"a", x="y"}"#]),
        ],
    );
}

#[test]
fn another_format_makes_all_lines_new_but_ends_no_series() {
    let mut target = Target::new(Staleness::All);
    target.scrape(Format::Text, "a 1\nb 1\n");
    assert_eq!(target.scrape(Format::OpenMetrics, "a 1\n# EOF\n"), [r#"{"b"}"#]);
    assert_eq!(target.new_lines, 1);
    assert_eq!(target.cache.len(), 1);
}

#[test]
fn failing_scrapes_do_not_grow_the_cache_for_ever() {
    let mut target = Target::new(Staleness::All);
    for round in 0..200 {
        let lines: String = (0..100).map(|i| format!("a{{round=\"{round}\",i=\"{i}\"}} 1\n")).collect();
        target.scrape(Format::Text, &(lines + "}"));
        assert!(target.cache.len() <= FAILED_SLOTS_EXTRA, "{}", target.cache.len());
    }
    assert!(target.cache.size_bytes() < 500_000, "{}", target.cache.size_bytes());
}

#[test]
fn churn_does_not_grow_the_cache() {
    let mut target = Target::new(Staleness::All);
    for round in 0..300 {
        let lines: String = (0..100).map(|i| format!("a{{i=\"{i}\",round=\"{}\"}} 1\n", round / (i + 1))).collect();
        target.scrape(Format::Text, &lines);
        assert_eq!(target.cache.len(), 100);
    }
    assert!(target.cache.size_bytes() < 50_000, "{}", target.cache.size_bytes());
}

/// What is live, kept as simply as can be.
#[derive(Default)]
struct Naive {
    live: BTreeSet<String>,
}

impl Naive {
    fn scrape(&mut self, format: Format, page: &str) -> BTreeSet<String> {
        let mut parser = Parser::new(format, page.as_bytes());
        let (mut seen, mut scratch) = (BTreeSet::new(), LabelsScratch::new());
        let good = loop {
            match parser.next() {
                Ok(None) => break true,
                Err(_) => break false,
                Ok(Some(Entry::Series(series))) if series.sample.timestamp.is_none() => {
                    series.labels(&mut scratch).unwrap();
                    seen.insert(scratch.to_labels().unwrap().to_string().replace("__name__=", ""));
                }
                Ok(Some(_)) => {}
            }
        };
        let now = if good { seen } else { BTreeSet::new() };
        let gone = self.live.difference(&now).cloned().collect();
        self.live = now;
        gone
    }
}

fn edit(lines: &mut Vec<String>, random: &mut Xorshift, fresh: &mut usize) {
    for _ in 0..random.below(8) {
        let at = random.below(lines.len());
        *fresh += 1;
        match random.below(8) {
            0 if lines.len() > 3 => drop(lines.remove(at)),
            1 => lines.insert(at, format!("new{{n=\"{fresh}\"}} {fresh}\n")),
            2 => lines.swap(0, at),
            3 => lines.insert(at, lines[random.below(lines.len())].clone()),
            4 => lines.insert(at, format!("# HELP new {fresh}\n")),
            5 => {
                let timed = lines[at].replace('\n', " 17\n");
                lines[at] = if timed.matches(' ').count() == 2 { timed } else { format!("t{fresh} 1 5\n") };
            }
            6 => lines[at] = lines[at].replace("=\"", "= \"x"),
            _ => lines.rotate_left(at),
        }
    }
}

#[test]
fn edited_pages_give_what_the_bare_parser_gives() {
    for seed in 1..60u64 {
        let mut random = Xorshift(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut lines: Vec<String> = (0..40).map(|i| format!("m{}{{i=\"{i}\"}} {i}\n", i % 7)).collect();
        lines.insert(3, "# TYPE m1 histogram\n".to_owned());
        let hot = seed % 2 == 0;
        let mut target = Target { hot, ..Target::new(Staleness::WithoutTimestamp) };
        let mut naive = Naive::default();
        let mut fresh = 0;
        let mut before = lines.concat();
        for round in 0..30 {
            let page = lines.concat();
            let vanished: BTreeSet<String> = target.scrape(Format::Text, &page).into_iter().collect();
            assert_eq!(vanished, naive.scrape(Format::Text, &page), "seed {seed} round {round}\n{page}");
            crate::fuzzing::fuzz_cache(before.as_bytes(), page.as_bytes());
            before = page;
            edit(&mut lines, &mut random, &mut fresh);
        }
    }
}

#[test]
fn a_real_page_is_predicted_line_by_line() {
    let Some(page) = conformance("textparse/alltypes.237mfs.prom.txt") else { return };
    let page = String::from_utf8(page).unwrap();
    let mut target = Target::new(Staleness::WithoutTimestamp);
    target.scrape(Format::Text, &page);
    assert_eq!((target.new_lines, target.metadata.len()), (1857, 475));
    target.scrape(Format::Text, &page);
    assert_eq!((target.new_lines, target.metadata.len()), (0, 0));
    assert_eq!(target.cache.len(), 1857 + 475);
    let texts: BTreeMap<usize, usize> = target.cache.slots.iter().map(|s| (index(s.offset), index(s.length))).collect();
    assert!(
        texts.iter().zip(texts.iter().skip(1)).all(|((o, l), (next, _))| o + l == *next),
        "nothing lies between texts"
    );
}

proptest! {
    #[test]
    fn the_hot_path_reads_numbers_as_the_parser_does(
        values in proptest::collection::vec(
            "(-?[0-9]{0,3}|[0-9]{1,20}|-?[0-9]{1,18}\\.[0-9]{0,18}|[0-9]\\.[0-9]{1,17}e[-+]?[0-9]{1,3}|NaN|\\+Inf|[-+.0-9e]{1,9})( [0-9]{1,20})?",
            1..6,
        )
    ) {
        let first: String = (0..values.len()).map(|i| format!("a{{i=\"{i}\"}} 1\n")).collect();
        let second: String = values.iter().enumerate().map(|(i, v)| format!("a{{i=\"{i}\"}} {v}\n")).collect();
        // In OpenMetrics the pages lack their end, which must be told, too.
        crate::fuzzing::fuzz_cache(first.as_bytes(), second.as_bytes());
        let with_end = |page: String| page + "# EOF\n";
        crate::fuzzing::fuzz_cache(with_end(first).as_bytes(), with_end(second).as_bytes());
    }
}
