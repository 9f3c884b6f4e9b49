//! The parsers, against Prometheus.

mod verdicts;

use super::*;
use crate::quote::Quoted;
use verdicts::VERDICTS;

/// The conformance folder, where there is one.
pub(crate) fn conformance(path: &str) -> Option<Vec<u8>> {
    #[expect(clippy::disallowed_methods, reason = "names the folder of test data")]
    let Ok(folder) = std::env::var("NARTHEX_CONFORMANCE") else {
        println!("skipped: NARTHEX_CONFORMANCE is not set");
        return None;
    };
    Some(std::fs::read(std::path::Path::new(&folder).join(path)).unwrap())
}

fn float(value: f64) -> String {
    // The tables print floats as Go's `%g`, which differs from the text format in one thing.
    if value == 0.0 && value.is_sign_negative() {
        return "-0".to_owned();
    }
    let mut out = Vec::new();
    crate::format_float(&mut out, value);
    String::from_utf8(out).unwrap()
}

/// The labels as Go's `Labels.String` prints them.
fn braces(scratch: &LabelsScratch) -> String {
    let name = |n: &str| if model::is_legacy_label_name(n) { n.to_owned() } else { Quoted(n.as_bytes()).to_string() };
    let pairs: Vec<String> = scratch.iter().map(|(n, v)| format!("{}={}", name(n), Quoted(v.as_bytes()))).collect();
    format!("{{{}}}", pairs.join(", "))
}

fn show(entry: &Entry<'_>) -> String {
    let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
    match entry {
        Entry::Type { family, metric_type } => format!("type {} {metric_type}", text(family)),
        Entry::Help { family, text: help } => format!("help {} {}", text(family), Quoted(help.as_bytes())),
        Entry::Unit { family, unit } => format!("unit {} {}", text(family), text(unit)),
        Entry::Comment(comment) => format!("comment {}", Quoted(comment)),
        Entry::Series(series) => {
            let mut scratch = LabelsScratch::new();
            series.labels(&mut scratch).unwrap();
            let mut out = format!("{} {}", braces(&scratch), float(series.sample.value));
            if let Some(at) = series.sample.timestamp {
                out += &format!(" @{at}");
            }
            out
        }
    }
}

fn show_exemplar(exemplar: &ExemplarText<'_>) -> String {
    let mut scratch = LabelsScratch::new();
    exemplar.labels(&mut scratch).unwrap();
    let at = exemplar.timestamp.map_or(String::new(), |at| format!(" @{at}"));
    format!(" # {} {}{at}", braces(&scratch), float(exemplar.value))
}

fn read(format: Format, page: &[u8]) -> Vec<String> {
    let mut parser = Parser::new(format, page);
    let mut out = Vec::new();
    loop {
        match parser.next() {
            Ok(Some(entry)) => {
                let shown = show(&entry);
                out.push(shown + &parser.exemplar().as_ref().map(show_exemplar).unwrap_or_default());
            }
            Ok(None) => return out,
            Err(e) => {
                out.push(format!("error: {e}"));
                assert!(parser.next().unwrap().is_none(), "nothing follows an error");
                return out;
            }
        }
    }
}

#[test]
fn verdicts_and_texts_are_those_of_prometheus() {
    for (dialect, page, expected) in VERDICTS {
        let format = if *dialect == 't' { Format::Text } else { Format::OpenMetrics };
        assert_eq!(read(format, page).join("; "), *expected, "{dialect} {}", Quoted(page));
    }
    assert_eq!(VERDICTS.len(), 339);
}

#[test]
fn errors_say_where() {
    for (format, page, line, offset) in [
        (Format::Text, &b"foo 1\n\n# HELP foo\nbar{a=b} 1\n"[..], 4, 24),
        (Format::Text, b"foo", 1, 3),
        (Format::OpenMetrics, b"foo 1\nbar 2\n", 3, 12),
        (Format::OpenMetrics, b"foo 1\n\n# EOF\n", 2, 6),
    ] {
        let mut parser = Parser::new(format, page);
        let error = loop {
            match parser.next() {
                Ok(entry) => assert!(entry.is_some(), "{}", Quoted(page)),
                Err(e) => break e,
            }
        };
        assert_eq!((error.line, error.offset), (line, offset), "{}", Quoted(page));
    }
}

#[test]
fn lines_of_messages_have_units_and_gauge_histograms() {
    let page = b"# UNIT h seconds\n# TYPE h gaugehistogram\n";
    let entries = |format| {
        let mut parser = Parser::new(format, page);
        let mut words = Vec::new();
        while words.len() < 3 {
            match parser.next() {
                Ok(Some(entry)) => words.push(format!("{entry:?}")),
                Ok(None) => break,
                Err(e) => words.push(e.to_string()),
            }
        }
        words
    };
    let unit = format!("{:?}", Entry::Unit { family: b"h", unit: b"seconds" });
    let metric_type = format!("{:?}", Entry::Type { family: b"h", metric_type: MetricType::GaugeHistogram });
    assert_eq!(entries(Format::Protobuf), [unit, metric_type]);
    let text = entries(Format::Text);
    assert!(text[0].starts_with("Comment") && text[1] == r#"invalid metric type "gaugehistogram""#, "{text:?}");
}

/// Counts: series, those with an exemplar, `HELP`, `TYPE`, other entries.
fn check_page(path: &str, format: Format, expected: [usize; 5]) {
    let Some(page) = conformance(path) else { return };
    let mut parser = Parser::new(format, &page);
    let mut scratch = LabelsScratch::new();
    let mut counts = [0usize; 5];
    while let Some(entry) = parser.next().unwrap() {
        match entry {
            Entry::Series(series) => {
                counts[0] += 1;
                series.labels(&mut scratch).unwrap();
                assert!(scratch.to_labels().unwrap().metric_name().is_some(), "{path}");
                if let Some(exemplar) = parser.exemplar() {
                    counts[1] += 1;
                    assert!(!exemplar.to_exemplar(&mut scratch).unwrap().labels.is_empty(), "{path}");
                }
            }
            Entry::Help { .. } => counts[2] += 1,
            Entry::Type { .. } => counts[3] += 1,
            Entry::Unit { .. } | Entry::Comment(_) => counts[4] += 1,
        }
    }
    assert_eq!(counts, expected, "{path}");
}

#[test]
fn real_pages_parse_whole() {
    check_page("textparse/1histogram.om.txt", Format::OpenMetrics, [42, 0, 1, 1, 0]);
    check_page("textparse/alltypes.5mfs.om.txt", Format::OpenMetrics, [53, 6, 5, 5, 0]);
    // Both end with `# EOF`, which is a comment here.
    check_page("textparse/alltypes.237mfs.prom.txt", Format::Text, [1857, 0, 237, 237, 1]);
    check_page("textparse/alltypes.237mfs.nometa.prom.txt", Format::Text, [1857, 0, 0, 0, 1]);
}

/// Reads `m INPUT` (with a timestamp, `m 1 INPUT`) as a page.
fn one_line(format: Format, line: &str) -> Result<Sample, String> {
    let end = if format == Format::OpenMetrics { "# EOF\n" } else { "" };
    let page = format!("{line}\n{end}");
    let mut parser = Parser::new(format, page.as_bytes());
    match parser.next() {
        Ok(Some(Entry::Series(series))) => Ok(series.sample),
        Ok(other) => panic!("{line}: {other:?}"),
        Err(e) => Err(e.to_string()),
    }
}

#[test]
fn numbers_and_times_are_read_as_prometheus_reads_them() {
    let Some(cases) = conformance("numbers/format.jsonl") else { return };
    let mut counts = [0usize; 3];
    for line in String::from_utf8(cases).unwrap().lines() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let op = case["op"].as_str().unwrap();
        let format = if op.ends_with("_text") { Format::Text } else { Format::OpenMetrics };
        let (count, page) = match op {
            "exposition_text" | "exposition_openmetrics" => (0, "m {}"),
            "timestamp_text" | "timestamp_openmetrics" => (1, "m 1 {}"),
            "le_text" | "le_openmetrics" => {
                counts[2] += 1;
                check_le(format, case["input"].as_str().unwrap(), case["text"].as_str().unwrap());
                continue;
            }
            _ => continue,
        };
        counts[count] += 1;
        let read = one_line(format, &page.replace("{}", case["input"].as_str().unwrap()));
        match read {
            Err(text) => assert_eq!(case["error"].as_str(), Some(text.as_str()), "{line}"),
            Ok(sample) if count == 0 => {
                assert_eq!(case["out_bits"], format!("{:#018x}", sample.value.to_bits()), "{line}");
            }
            Ok(sample) => assert_eq!(case["ms"].as_i64(), sample.timestamp.map(|t| t.0), "{line}"),
        }
    }
    assert_eq!(counts, [282, 44, 34]);
}

fn check_le(format: Format, input: &str, expected: &str) {
    let page = format!("# TYPE h histogram\nh{{le=\"{input}\"}} 1\n# EOF\n");
    let mut parser = Parser::new(format, page.as_bytes());
    assert!(matches!(parser.next(), Ok(Some(Entry::Type { .. }))));
    let Ok(Some(Entry::Series(series))) = parser.next() else { panic!("{input}") };
    let mut scratch = LabelsScratch::new();
    series.labels(&mut scratch).unwrap();
    assert_eq!(scratch.iter().collect::<Vec<_>>(), [("__name__", "h"), ("le", expected)], "{input}");
}

#[test]
fn mutated_pages_never_panic() {
    let seeds: [&[u8]; 4] = [
        b"# HELP a b\\n\n# TYPE a histogram\na_bucket{le=\"1\",x=\"\\\"y\"} 5 123\n{\"u.t\",\"f 8\"=\"\xc3\xa9\"} 1e5\n",
        b"# TYPE a histogram\n# UNIT a_s s\na_bucket{le=\"1\"} 5 1.5 # {t=\"x\"} 0.1 2.5\n# EOF\n",
        b"# comment\n\n a{ b = \"c\" , } NaN\n#x\nb +Inf\nc 0x1p3\n",
        b"a 1\nb 2\nc{d=\"e\"} 3\nd 4\n# EOF\n",
    ];
    let alphabet = b"\0\n \t\"\\{}=,#a1\xff_:.eN-+\r";
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    for round in 0..8000 {
        let seed = seeds[round % seeds.len()];
        let mut page = seed.to_vec();
        for _ in 0..=random.below(5) {
            let at = random.below(page.len());
            match random.below(3) {
                0 => page.insert(at, alphabet[random.below(alphabet.len())]),
                1 if page.len() > 1 => drop(page.remove(at)),
                _ => page[at] = alphabet[random.below(alphabet.len())],
            }
        }
        crate::fuzzing::fuzz_parser(&page);
        crate::fuzzing::fuzz_cache(seed, &page);
    }
}

pub(crate) struct Xorshift(pub(crate) u64);

impl Xorshift {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}
