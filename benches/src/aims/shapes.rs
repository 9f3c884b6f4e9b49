//! The aims of the phases `promql` and `promql-blocks`: per class of queries a geometric mean and a bound for each query,
//! against each peer; and anonymous memory.

use crate::phases::Phase;
use crate::report::Report;
use crate::shapes::{Class, Form, MEMORY_METRIC, classes, memory_metric, metric};
use crate::system::Kind;

const OURS: Kind = Kind::Narthex;
const PEERS: [Kind; 2] = [Kind::Prometheus, Kind::VictoriaMetrics];

/// How many times as fast as a peer Narthex is to be.
#[derive(Clone, Copy, Debug)]
struct Speed {
    class: Class,
    peer: Kind,
    /// Geometric mean over the queries of the class that the peer answers.
    mean: f64,
    /// Each of them.
    each: f64,
}

const SPEEDS: [Speed; 4] = [
    speed(Class::ManyOverRange, Kind::Prometheus, 20.0, 10.0),
    speed(Class::ManyOverRange, Kind::VictoriaMetrics, 2.0, 1.0),
    speed(Class::Instant, Kind::Prometheus, 8.0, 0.0),
    speed(Class::Instant, Kind::VictoriaMetrics, 2.0, 0.0),
];

/// Elsewhere no query may take longer than the faster peer by more than the larger of these.
const SLOWER_MAX: f64 = 1.1;
const SLOWER_MS_MAX: f64 = 0.3;

/// Memory above what there was before, at most this part of Prometheus'.
const MEMORY_MAX: f64 = 0.2;
/// A query that takes Prometheus less is not judged by itself: so much its heap has ready, and then nothing grows. The peak
/// over all queries is judged always.
const MEMORY_BYTES_MIN: f64 = (64 << 20) as f64;

const fn speed(class: Class, peer: Kind, mean: f64, each: f64) -> Speed {
    Speed { class, peer, mean, each }
}

/// What the aims say of one phase: lines, and whether all are met.
pub(super) struct Verdict {
    pub(super) text: String,
    pub(super) met: bool,
}

impl Verdict {
    fn line(&mut self, met: bool, text: &str) {
        self.met &= met;
        self.text.push_str(&format!("{}: {text}\n", if met { "met" } else { "not met" }));
    }
}

/// Judges one phase. A query that a peer cannot answer counts against the other alone; a peer without any number was not
/// measured, which is not met, as is a query that Narthex has no number for.
pub(super) fn judge(report: &Report, phase: Phase) -> Verdict {
    let mut verdict = Verdict { text: String::new(), met: true };
    let measured =
        |kind| classes().any(|(name, form, _)| report.median(phase.id(), &metric(name, form), kind).is_some());
    for kind in PEERS.into_iter().chain([OURS]).filter(|&kind| !measured(kind)) {
        verdict.line(false, &format!("{}: {} was not measured", phase.id(), kind.id()));
    }
    for (name, form, _) in classes() {
        let metric = metric(name, form);
        if report.median(phase.id(), &metric, OURS).is_none() {
            verdict.line(false, &format!("{}: {metric}: no answer", phase.id()));
        }
    }
    SPEEDS.iter().for_each(|speed| judge_speed(report, phase, speed, &mut verdict));
    judge_elsewhere(report, phase, &mut verdict);
    judge_memory(report, phase, &mut verdict);
    verdict
}

/// How many times as fast as the peer Narthex is in a query: the median of the runs' ratios.
fn times_as_fast(report: &Report, phase: Phase, name: &str, form: Form, peer: Kind) -> Option<f64> {
    report.median_ratio(phase.id(), &metric(name, form), peer, OURS)
}

fn judge_speed(report: &Report, phase: Phase, aim: &Speed, verdict: &mut Verdict) {
    let of_class = classes().filter(|(_, _, class)| *class == aim.class);
    let speeds: Vec<(String, f64)> = of_class
        .filter_map(|(name, form, _)| Some((metric(name, form), times_as_fast(report, phase, name, form, aim.peer)?)))
        .collect();
    let mean = (speeds.iter().map(|(_, speed)| speed.ln()).sum::<f64>() / speeds.len() as f64).exp();
    let what = match aim.class {
        Class::ManyOverRange => "range queries of over 1,000 series",
        Class::Instant => "instant queries",
        Class::Elsewhere => "range queries of few series",
    };
    let (phase, peer) = (phase.id(), aim.peer.id());
    let text = format!(
        "{phase}: {what}, {} of them, times as fast as {peer}, geometric mean: {mean:.2}, aim {}",
        speeds.len(),
        aim.mean
    );
    // Without any query the mean is NaN, which is not met.
    verdict.line(mean >= aim.mean, &text);
    for (query, speed) in speeds.iter().filter(|(_, speed)| *speed < aim.each) {
        let text = format!("{phase}: {query}: times as fast as {peer}: {speed:.2}, aim {} for each", aim.each);
        verdict.line(false, &text);
    }
}

fn judge_elsewhere(report: &Report, phase: Phase, verdict: &mut Verdict) {
    let (mut judged, mut missed) = (0, 0);
    for (name, form, _) in classes().filter(|(_, _, class)| *class == Class::Elsewhere) {
        let metric = metric(name, form);
        let median = |kind| report.median(phase.id(), &metric, kind);
        let (Some(ours), Some(theirs)) = (median(OURS), PEERS.into_iter().filter_map(median).reduce(f64::min)) else {
            continue;
        };
        judged += 1;
        let most = (theirs * SLOWER_MAX).max(theirs + SLOWER_MS_MAX);
        if ours > most {
            missed += 1;
            verdict.line(false, &format!("{}: {metric}: {ours:.2} ms, aim at most {most:.2} ms", phase.id()));
        }
    }
    if missed == 0 {
        let text =
            format!("{}: range queries of few series, none slower than the faster peer by 10 % or 0.3 ms", phase.id());
        verdict.line(judged > 0, &text);
    }
}

fn judge_memory(report: &Report, phase: Phase, verdict: &mut Verdict) {
    let pair = |metric: &str| {
        let median = |kind| report.median(phase.id(), metric, kind);
        Some((median(OURS)?, median(Kind::Prometheus)?))
    };
    let mebibytes = |bytes: f64| bytes / f64::from(1 << 20);
    let mut say = |metric: &str, (ours, theirs): (f64, f64)| {
        let met = ours <= theirs * MEMORY_MAX;
        let (ours, theirs) = (mebibytes(ours), mebibytes(theirs));
        let text = format!("{}: {metric}: {ours:.1} MiB, Prometheus {theirs:.1}, aim {MEMORY_MAX} of it", phase.id());
        verdict.line(met, &text);
    };
    match pair(MEMORY_METRIC) {
        Some(bytes) => say(MEMORY_METRIC, bytes),
        None => say("memory was not measured", (f64::NAN, f64::NAN)),
    }
    for (name, form, _) in classes() {
        let metric = memory_metric(name, form);
        let missed = |(ours, theirs): &(f64, f64)| *theirs >= MEMORY_BYTES_MIN && *ours > theirs * MEMORY_MAX;
        if let Some(bytes) = pair(&metric).filter(missed) {
            say(&metric, bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Unit;
    use crate::system::System;

    const PHASE: Phase = Phase::Promql;

    /// Milliseconds of every query by system and class; none: the system cannot answer it.
    type Times = fn(Kind, &str, Form, Class) -> Option<f64>;
    /// Mebibytes at the peak of all queries, and of the query "sum(rate), 15 s".
    type Memory = fn(Kind) -> (f64, f64);

    /// Within every aim: ranges 25 times as fast as Prometheus and 2.5 times as VictoriaMetrics, and so on.
    fn good(kind: Kind, _: &str, _: Form, class: Class) -> Option<f64> {
        let (prometheus, victoria) = match class {
            Class::ManyOverRange => (25.0, 2.5),
            Class::Instant => (9.0, 2.1),
            Class::Elsewhere => (0.8, 0.75),
        };
        Some(match kind {
            Kind::Prometheus => prometheus,
            Kind::VictoriaMetrics => victoria,
            _ => 1.0,
        })
    }

    fn light(kind: Kind) -> (f64, f64) {
        if kind == Kind::Prometheus { (1_000.0, 500.0) } else { (100.0, 50.0) }
    }

    /// What the aims say, of the lines that are not met.
    fn judged(name: &str, times: Times, memory: Memory) -> (Vec<String>, bool) {
        let path = std::env::temp_dir().join(format!("benches-shapes-{name}-{}", std::process::id()));
        let mut report = Report::create(&path).unwrap();
        for kind in [Kind::Narthex, Kind::Prometheus, Kind::VictoriaMetrics] {
            let system = System { kind, binary: "x".into(), version: "1".into(), year: "2026".into() };
            let mut note =
                |metric: &str, value, unit| report.note(0, &system, (PHASE.id(), metric), value, unit).unwrap();
            for (name, form, class) in classes() {
                if let Some(ms) = times(kind, name, form, class) {
                    note(&metric(name, form), ms, Unit::Millis);
                }
            }
            let (peak, one) = memory(kind);
            note(MEMORY_METRIC, peak * 1_048_576.0, Unit::Bytes);
            note(&memory_metric("sum(rate)", Form::Fine), one * 1_048_576.0, Unit::Bytes);
        }
        let verdict = judge(&report, PHASE);
        std::fs::remove_file(path).unwrap();
        let missed = verdict.text.lines().filter_map(|line| line.strip_prefix("not met: promql: "));
        (missed.map(str::to_string).collect(), verdict.met)
    }

    fn check(name: &str, times: Times, memory: Memory, missed: &[&str]) {
        let (lines, met) = judged(name, times, memory);
        assert_eq!((lines, met), (missed.iter().map(|line| line.to_string()).collect(), missed.is_empty()));
    }

    #[test]
    fn all_aims_are_met_by_what_is_fast_everywhere() {
        check("good", good, light, &[]);
    }

    #[test]
    fn one_slow_query_is_told_though_the_mean_is_good() {
        let times: Times = |kind, name, form, class| {
            let slow = name == "topk" && form == Form::Fine && kind == Kind::Prometheus;
            if slow { Some(9.5) } else { good(kind, name, form, class) }
        };
        check("slow", times, light, &["topk, 15 s: times as fast as prometheus: 9.50, aim 10 for each"]);
    }

    #[test]
    fn a_mean_below_the_aim_is_told_once() {
        let times: Times = |kind, name, form, class| match (class, kind) {
            (Class::Instant, Kind::Prometheus) => Some(7.0),
            _ => good(kind, name, form, class),
        };
        let line = "instant queries, 36 of them, times as fast as prometheus, geometric mean: 7.00, aim 8";
        check("mean", times, light, &[line]);
    }

    #[test]
    fn a_query_that_a_peer_cannot_answer_counts_against_the_other_alone() {
        let without: Times = |kind, name, form, class| {
            let cannot = name == "native histograms" && kind == Kind::VictoriaMetrics;
            if cannot { None } else { good(kind, name, form, class) }
        };
        check("without", without, light, &[]);
        let slow: Times = |kind, name, form, class| match (name, kind) {
            ("native histograms", Kind::VictoriaMetrics) => None,
            ("native histograms", Kind::Narthex) => Some(3.0),
            _ => good(kind, name, form, class),
        };
        let lines = ["15 s", "5 min"]
            .map(|form| format!("native histograms, {form}: times as fast as prometheus: 8.33, aim 10 for each"));
        check("alone", slow, light, &lines.each_ref().map(String::as_str));
    }

    #[test]
    fn few_series_may_take_a_tenth_or_three_tenths_of_a_millisecond_more_than_the_faster_peer() {
        let at = |ours: f64, theirs: f64| ours > (theirs * SLOWER_MAX).max(theirs + SLOWER_MS_MAX);
        assert_eq!([at(1.29, 1.0), at(1.31, 1.0), at(10.9, 10.0), at(11.1, 10.0)], [false, true, false, true]);
        let times: Times = |kind, name, form, class| {
            let slow = name == "single series" && form == Form::Fine && kind == Kind::Narthex;
            if slow { Some(1.1) } else { good(kind, name, form, class) }
        };
        check("few", times, light, &["single series, 15 s: 1.10 ms, aim at most 1.05 ms"]);
    }

    #[test]
    fn what_narthex_or_all_of_a_peer_has_no_number_for_is_not_met() {
        let ours: Times = |kind, name, form, class| {
            let cannot = name == "deriv" && form == Form::Coarse && kind == Kind::Narthex;
            if cannot { None } else { good(kind, name, form, class) }
        };
        check("ours", ours, light, &["deriv, 5 min: no answer"]);
        let peer: Times =
            |kind, name, form, class| if kind == Kind::Prometheus { None } else { good(kind, name, form, class) };
        let (lines, met) = judged("peer", peer, light);
        assert!(!met && lines[0] == "prometheus was not measured", "{lines:?}");
    }

    #[test]
    fn memory_is_a_fifth_at_the_peak_and_of_each_query_that_takes_much() {
        let peak: Memory = |kind| if kind == Kind::Narthex { (201.0, 50.0) } else { light(kind) };
        let line = format!("{MEMORY_METRIC}: 201.0 MiB, Prometheus 1000.0, aim 0.2 of it");
        check("peak", good, peak, &[&line]);
        let one: Memory = |kind| if kind == Kind::Narthex { (100.0, 101.0) } else { light(kind) };
        let line = "sum(rate), 15 s: RssAnon above before: 101.0 MiB, Prometheus 500.0, aim 0.2 of it";
        check("one", good, one, &[line]);
        let little: Memory = |kind| if kind == Kind::Narthex { (100.0, 60.0) } else { (1_000.0, 63.0) };
        check("little", good, little, &[]);
    }
}
