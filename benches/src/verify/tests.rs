//! The check against a small query API that answers from the fleet, truthfully or with one fault.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use super::*;
use crate::fleet::GENERATION_GRID_MS;

const START_MS: i64 = 1_700_000_000_000 / GENERATION_GRID_MS * GENERATION_GRID_MS;
const STEPS: u64 = 40;
const STEP_MS: i64 = 15_000;

/// What the store does wrong to the samples of `node_load5`.
#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    ValueOffByLittle,
    SampleLost,
    SampleMoved,
    SeriesLost,
    SeriesTwice,
}

type StoredSeries = (Vec<(&'static str, String)>, Vec<(i64, f64)>);
type Stored = Vec<StoredSeries>;

fn fleet() -> Fleet {
    // Each pod is replaced three times an hour: about half of them are within ten minutes.
    Fleet::new(3, 1, 3.0)
}

/// The samples as a store would hold them, by steps alone, without the code under test.
fn stored(fault: Fault) -> Stored {
    let fleet = fleet();
    let mut stored: Stored = Vec::new();
    for template in fleet.templates() {
        let mut series: BTreeMap<i64, StoredSeries> = BTreeMap::new();
        for at_ms in (0..STEPS as i64).map(|step| START_MS + step * STEP_MS) {
            let generation = fleet.generation(0, template.pod, at_ms);
            let value = fleet.value(template, fleet.stream(0, template), generation, at_ms);
            let entry =
                series.entry(generation.number).or_insert_with(|| (fleet.labels(0, template, generation), vec![]));
            entry.1.push((at_ms, value));
        }
        stored.extend(series.into_values());
    }
    let at = stored.iter().position(|(labels, _)| labels[0].1 == "node_load5").unwrap();
    match fault {
        Fault::None => (),
        Fault::ValueOffByLittle => stored[at].1[3].1 += 0.01,
        Fault::SampleLost => drop(stored[at].1.remove(3)),
        Fault::SampleMoved => stored[at].1[3].0 += 1,
        Fault::SeriesLost => drop(stored.remove(at)),
        Fault::SeriesTwice => {
            let (mut labels, samples) = stored[at].clone();
            labels.push(("zzz", "1".to_string()));
            stored.push((labels, samples));
        }
    }
    stored
}

fn serve(stored: &Stored, stream: &TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let body = String::from_utf8(body).unwrap();
        let query = body.strip_prefix("query=").unwrap().split('&').next().unwrap();
        let answer = answer(stored, &query.replace("%28", "(").replace("%5B", "["));
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len());
        (&mut &*stream).write_all((head + &answer).as_bytes()).unwrap();
    }
}

fn answer(stored: &Stored, query: &str) -> String {
    let function = query.split_once('(').map(|(function, _)| function);
    let name = query.split_once('(').map(|(_, rest)| rest.split('[').next().unwrap());
    let mut result = Vec::new();
    for (labels, samples) in stored.iter().filter(|(labels, _)| name.is_none_or(|name| labels[0].1 == name)) {
        let from = usize::from(function.is_some());
        let metric: BTreeMap<&str, &str> = labels[from..].iter().map(|(name, value)| (*name, value.as_str())).collect();
        let value = match function {
            Some("count_over_time") => samples.len() as f64,
            Some(_) => samples.iter().map(|sample| sample.1).sum(),
            None => 0.0,
        };
        let values: Vec<_> = samples.iter().map(|(at, value)| (*at as f64 / 1000.0, value.to_string())).collect();
        result.push(match function {
            Some(_) => serde_json::json!({ "metric": metric, "value": (START_MS as f64 / 1000.0, value.to_string()) }),
            None => serde_json::json!({ "metric": metric, "values": values }),
        });
    }
    serde_json::json!({ "status": "success", "data": { "resultType": "vector", "result": result } }).to_string()
}

/// The verdict on a store with a fault.
fn check(fault: Fault, raw_targets: usize) -> Verdict {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stored = Arc::new(stored(fault));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stored, stream) = (Arc::clone(&stored), stream.unwrap());
            stream.set_nodelay(true).unwrap();
            std::thread::spawn(move || serve(&stored, &stream));
        }
    });
    written(&fleet(), &Written { address, start_ms: START_MS, step_ms: STEP_MS, steps: STEPS, raw_targets }).unwrap()
}

#[test]
fn a_true_store_is_found_equal_and_every_sample_takes_part() {
    let verdict = check(Fault::None, 1);
    verdict.ensure_equal().unwrap();
    assert!(verdict.series > 1_000, "no pod was replaced");
    assert_eq!((verdict.samples, verdict.raw_samples), (1_000 * STEPS, 1_000 * STEPS));
}

#[test]
fn every_fault_of_one_sample_or_series_is_found() {
    for fault in [Fault::ValueOffByLittle, Fault::SampleLost, Fault::SeriesLost, Fault::SeriesTwice] {
        assert!(check(fault, 0).mismatches > 0, "{fault:?} by counts and sums");
        assert!(check(fault, 1).ensure_equal().is_err(), "{fault:?} by samples");
    }
    // A count and a sum do not see times: that is what the targets read sample by sample are for.
    assert_eq!(check(Fault::SampleMoved, 0).mismatches, 0);
    assert_eq!(check(Fault::SampleMoved, 1).mismatches, 1);
}
