//! Answers and questions there and back.

use model::{Labels, Metadata, MetricType, TimestampMs};
use proptest::prelude::*;
use relabel::{Draft, Fields, NameValidationScheme};

use super::*;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).unwrap()
}

fn target(pool: &str, url: &str) -> ActiveTarget {
    ActiveTarget {
        discovered_labels: labels(&[("__address__", url), ("__meta_x", "a\"\n\u{2028}<&")]),
        labels: labels(&[("instance", url), ("job", pool)]),
        scrape_pool: pool.to_owned(),
        scrape_url: url.to_owned(),
        global_url: url.to_owned(),
        last_error: "Get \"x\": refused".to_owned(),
        last_scrape: Some(TimestampMs(1_700_000_400_250)),
        last_scrape_seconds: 0.0105,
        health: TargetHealth::Down,
        scrape_interval: "15s".to_owned(),
        scrape_timeout: "10s".to_owned(),
        scraper: None,
    }
}

fn snapshot() -> TargetsSnapshot {
    TargetsSnapshot {
        active: vec![target("b", "http://b:1/m"), ActiveTarget { last_scrape: None, ..target("a", "http://a:1/m") }],
        dropped: vec![DroppedTarget { discovered_labels: labels(&[("x", "y")]), scrape_pool: "b".to_owned() }],
        dropped_counts: [("a".to_owned(), 0), ("b".to_owned(), 3)].into(),
    }
}

fn answers() -> Vec<String> {
    let rule = |action: &str, source: &[&str], target: &str| {
        let fields = Fields {
            source_labels: (!source.is_empty()).then(|| source.iter().map(|s| (*s).to_owned()).collect()),
            target_label: (!target.is_empty()).then(|| target.to_owned()),
            action: Some(Some(action.to_owned())),
            modulus: (action == "hashmod").then_some(7),
            ..Fields::default()
        };
        Draft::new(fields).unwrap().validate(NameValidationScheme::Utf8).unwrap()
    };
    let rules = [
        rule("replace", &["a", "b"], "c"),
        rule("hashmod", &["a"], "shard"),
        rule("labeldrop", &[], ""),
        rule("keepequal", &["a"], "b"),
        rule("lowercase", &["a"], "b"),
    ];
    let metadata = Metadata { metric_type: MetricType::GaugeHistogram, help: "H".to_owned(), unit: "s".to_owned() };
    let metadata = TargetMetadata { target: labels(&[("job", "a")]), family: "f".to_owned(), metadata };
    vec![
        answer::targets(&snapshot()),
        answer::scrape_pools(&["a".to_owned(), "b c".to_owned()]),
        answer::metadata(&[metadata]),
        answer::relabel_rules(&rules),
        answer::refusal("no"),
    ]
}

#[test]
fn answers_are_read_as_they_were() {
    let answers = answers();
    assert_eq!(read::targets(&answers[0]), Ok(snapshot()));
    assert_eq!(read::scrape_pools(&answers[1]), Ok(vec!["a".to_owned(), "b c".to_owned()]));
    assert_eq!(read::metadata(&answers[2]).unwrap()[0].metadata.metric_type, MetricType::GaugeHistogram);
    let rules = read::relabel_rules(&answers[3]).unwrap();
    assert_eq!(answer::relabel_rules(&rules), answers[3]);
    assert_eq!((rules.len(), rules[1].modulus(), rules[2].source_labels().len()), (5, 7, 0));
    assert_eq!(read::targets(&answers[4]), Err(ReadError::Refused("no".to_owned())));
}

#[test]
fn half_an_answer_is_none() {
    for (text, expected) in [
        ("{", "the answer is not JSON: EOF while parsing an object at line 1 column 1"),
        ("{}", "\"status\" in the answer is missing or not what it should be"),
        (r#"{"status":"success"}"#, "\"data\" in the answer is missing or not what it should be"),
        (
            r#"{"status":"success","data":{"activeTargets":[]}}"#,
            "\"droppedTargets\" in the answer is missing or not what it should be",
        ),
        (
            r#"{"status":"success","data":{"activeTargets":[{}],"droppedTargets":[]}}"#,
            "\"lastScrape\" in the answer is missing or not what it should be",
        ),
    ] {
        assert_eq!(read::targets(text).unwrap_err().to_string(), expected, "{text}");
    }
    // As Prometheus says it where dropped targets are not asked for.
    let none = r#"{"status":"success","data":{"activeTargets":[],"droppedTargets":[],"droppedTargetCounts":null}}"#;
    assert_eq!(read::targets(none), Ok(TargetsSnapshot::default()));
}

#[test]
fn what_scrapers_hold_is_united_in_the_order_of_one() {
    let (b, a) = (snapshot(), snapshot());
    let all = TargetsSnapshot::united([("s2".to_owned(), b), ("s1".to_owned(), a)]);
    let places: Vec<_> =
        all.active.iter().map(|t| format!("{} {}", t.scrape_url, t.scraper.as_deref().unwrap_or("-"))).collect();
    assert_eq!(places, ["http://a:1/m s1", "http://a:1/m s2", "http://b:1/m s1", "http://b:1/m s2"]);
    assert_eq!((all.dropped.len(), &all.dropped_counts["a"], &all.dropped_counts["b"]), (2, &0, &6));
}

#[test]
fn questions_are_asked_and_understood() {
    let pool = "a b&c=%ä".to_owned();
    for (question, path, query) in [
        (Question::Targets(Wanted::all()), "targets", "state=any"),
        (
            Question::Targets(Wanted { scrape_pool: pool.clone(), active: true, dropped: false }),
            "targets",
            "state=active&scrapePool=a%20b%26c%3D%25%C3%A4",
        ),
        (Question::ScrapePools, "scrape_pools", ""),
        (Question::Metadata(None), "targets/metadata", ""),
        (Question::Metadata(Some("m".to_owned())), "targets/metadata", "metric=m"),
        (Question::RelabelRules("p".to_owned()), "targets/relabel_steps", "scrapePool=p&labels=%7B%7D"),
    ] {
        assert_eq!((question.path(), question.query().as_str()), (path, query));
        assert_eq!(Question::parse(path, query), Ok(question));
    }
    for (path, query, expected) in [
        ("query", "", "a scraper knows nothing of \"query\""),
        ("targets/metadata", "match_target=%7B%7D", "a scraper does not act on the parameter \"match_target\""),
        ("targets/relabel_steps", "labels=%7B%7D", "no scrapePool parameter provided"),
        (
            "targets/relabel_steps",
            "scrapePool=a&labels=%7B%22a%22:%22b%22%7D",
            "a scraper does not act on the parameter \"labels\"",
        ),
        ("targets", "state=%zz", "the query cannot be decoded"),
        ("targets", "state=%ff", "the query cannot be decoded"),
    ] {
        assert_eq!(Question::parse(path, query).unwrap_err().to_string(), expected, "{path}?{query}");
    }
}

#[test]
fn mutated_answers_and_questions_do_no_harm() {
    let mut seeds = answers();
    seeds.push("targets\nstate=active&scrapePool=a%20b".to_owned());
    seeds.push("targets/relabel_steps\nscrapePool=a&labels=%7B%7D".to_owned());
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random >> 33).unwrap()
    };
    for n in 0..4000 {
        let mut bytes = seeds[n % seeds.len()].clone().into_bytes();
        for _ in 0..=next() % 3 {
            if bytes.is_empty() {
                break;
            }
            let at = next() % bytes.len();
            match next() % 4 {
                0 => bytes[at] = b"{}[]\",:0a\\%"[next() % 11],
                1 => drop(bytes.remove(at)),
                2 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, b"{}[]\",:0a\\%"[next() % 11]),
            }
        }
        fuzzing::fuzz_answer(&bytes);
        fuzzing::fuzz_question(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn dates_are_read_as_they_were(ms in -62_135_596_800_000_i64..253_402_300_800_000) {
        let text = date::format(TimestampMs(ms));
        prop_assert_eq!(date::parse(&text), Some(TimestampMs(ms)), "{}", text);
    }
}

#[test]
fn what_is_no_date_is_refused() {
    for text in
        ["", "Z", "2023-11-14T22:20:00", "2023-13-14T22:20:00Z", "2023-11-14T22:20:00.Z", "2023-11-14 22:20:00Z"]
    {
        assert_eq!(date::parse(text), None, "{text}");
    }
    assert_eq!(date::parse("2023-11-14T22:20:00.250999999Z"), Some(TimestampMs(1_700_000_400_250)));
    assert_eq!(date::format(TimestampMs(1_700_000_400_250)), "2023-11-14T22:20:00.25Z");
}
