//! The aims that `--check` holds Narthex to: ratios to a peer in the same run, and one of its own.

use crate::phases::Phase;
use crate::report::Report;
use crate::system::{Kind, System};

mod shapes;

/// Bound of a ratio.
#[derive(Clone, Copy, Debug)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// One aim: a number of Narthex against the same of a peer, or by itself.
#[derive(Debug)]
struct Aim {
    phase: Phase,
    /// Whose number; none for the modes of the single process that were measured.
    of: Option<Kind>,
    metric: &'static str,
    peer: Option<Kind>,
    bound: Bound,
}

const AIMS: [Aim; 19] = [
    aim(Phase::Write1, "samples per CPU-second", Some(Kind::VictoriaMetrics), Bound::AtLeast(1.0)),
    aim(Phase::Write1, "samples per CPU-second", Some(Kind::Prometheus), Bound::AtLeast(5.0)),
    aim(Phase::Write10, "samples per CPU-second", Some(Kind::VictoriaMetrics), Bound::AtLeast(1.0)),
    aim(Phase::Write1, "VmRSS per series at the end", Some(Kind::Prometheus), Bound::AtMost(1.0 / 3.0)),
    aim(Phase::Write1, "VmRSS per series at its peak", Some(Kind::Prometheus), Bound::AtMost(1.0 / 3.0)),
    aim(Phase::Restart, "until a query answers after kill -9", Some(Kind::Prometheus), Bound::AtMost(0.2)),
    aim(Phase::Scrape, "CPU per scraped sample", Some(Kind::Prometheus), Bound::AtMost(1.0 / 3.0)),
    aim(Phase::Window, "VmRSS, long history to short", None, Bound::AtMost(1.3)),
    aim(Phase::Query, "answers that differ from Prometheus'", None, Bound::AtMost(0.0)),
    three(Phase::Cluster, "CPU per sample", Some(Kind::Narthex), Bound::AtMost(2.5)),
    three(Phase::Cluster500, "CPU per sample", Some(Kind::Narthex), Bound::AtMost(2.5)),
    three(Phase::Cluster, WIRE, None, Bound::AtMost(30.0)),
    three(Phase::Cluster500, WIRE, None, Bound::AtMost(30.0)),
    three(Phase::Cluster, "acknowledged, 99th: one ingester stopped to healthy", None, Bound::AtMost(2.0)),
    three(Phase::Cluster, "CPU per query: sum_over_time", Some(Kind::Narthex), Bound::AtMost(1.5)),
    three(Phase::Cluster, "CPU per query: sum(rate) range", Some(Kind::Narthex), Bound::AtMost(1.5)),
    three(Phase::Cluster, "VmRSS per series of the process that holds it", Some(Kind::Narthex), Bound::AtMost(1.2)),
    three(Phase::Cluster, WRITER, None, Bound::AtMost(100.0)),
    Aim {
        of: Some(Kind::Cluster12),
        ..aim(Phase::Cluster12, "CPU per sample", Some(Kind::Cluster3), Bound::AtMost(1.15))
    },
];

const WIRE: &str = "bytes on the wire per sample and replica";
const WRITER: &str = "bytes per series of the writer beyond its in-flight bound";

const fn aim(phase: Phase, metric: &'static str, peer: Option<Kind>, bound: Bound) -> Aim {
    Aim { phase, of: None, metric, peer, bound }
}

const fn three(phase: Phase, metric: &'static str, peer: Option<Kind>, bound: Bound) -> Aim {
    Aim { of: Some(Kind::Cluster3), ..aim(phase, metric, peer, bound) }
}

/// A line per aim and mode of Narthex, and whether all of the phases that ran are met. A number that is missing, because
/// a peer could not be had for instance, is not met.
pub fn judge(report: &Report, systems: &[System], phases: &[Phase]) -> (String, bool) {
    let (mut text, mut all_met) = (String::new(), true);
    let ours: Vec<Kind> = systems.iter().map(|system| system.kind).filter(|kind| kind.is_narthex()).collect();
    if ours.is_empty() && phases.iter().any(|phase| !phase.is_cluster()) {
        return ("not met: Narthex was not measured\n".to_string(), false);
    }
    for aim in AIMS.iter().filter(|aim| phases.contains(&aim.phase)) {
        for &kind in aim.of.as_ref().map_or(ours.as_slice(), std::slice::from_ref) {
            let phase = aim.phase.id();
            let value = match aim.peer {
                Some(peer) => report.median_ratio(phase, aim.metric, kind, peer),
                None => report.median(phase, aim.metric, kind),
            };
            let met = match (value, aim.bound) {
                (Some(value), Bound::AtLeast(bound)) => value >= bound,
                (Some(value), Bound::AtMost(bound)) => value <= bound,
                (None, _) => false,
            };
            all_met &= met;
            let verdict = if met { "met" } else { "not met" };
            let value = value.map_or("not measured".to_string(), |value| format!("{value:.3}"));
            let bound = match aim.bound {
                Bound::AtLeast(bound) => format!("at least {bound:.3}"),
                Bound::AtMost(bound) => format!("at most {bound:.3}"),
            };
            let peer = aim.peer.map_or(String::new(), |peer| format!(" / {}", peer.id()));
            text.push_str(&format!("{verdict}: {phase}: {}, {}{peer}: {value}, aim {bound}\n", aim.metric, kind.id()));
        }
    }
    for phase in [Phase::Promql, Phase::PromqlBlocks].into_iter().filter(|phase| phases.contains(phase)) {
        let verdict = shapes::judge(report, phase);
        text.push_str(&verdict.text);
        all_met &= verdict.met;
    }
    (text, all_met)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Unit;

    #[test]
    fn an_aim_is_met_by_the_median_ratio_and_missed_where_a_number_is_missing() {
        let path = std::env::temp_dir().join(format!("benches-aims-{}", std::process::id()));
        let mut report = Report::create(&path).unwrap();
        let system = |kind| System { kind, binary: "x".into(), version: "1".into(), year: "2026".into() };
        let systems = [system(Kind::Narthex), system(Kind::Prometheus)];
        let metric = ("restart", "until a query answers after kill -9");
        report.note(0, &systems[0], metric, 0.9, Unit::Seconds).unwrap();
        assert!(!judge(&report, &systems, &[Phase::Restart]).1);
        report.note(0, &systems[1], metric, 5.0, Unit::Seconds).unwrap();
        let (text, met) = judge(&report, &systems, &[Phase::Restart]);
        assert!(met && text.contains("0.180, aim at most 0.200"), "{text}");
        assert!(!judge(&report, &systems, &[Phase::Restart, Phase::Window]).1);
        assert!(!judge(&report, &systems[1..], &[Phase::Restart]).1);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn an_own_ratio_above_its_bound_is_not_met_in_either_mode() {
        let path = std::env::temp_dir().join(format!("benches-aims-own-{}", std::process::id()));
        let mut report = Report::create(&path).unwrap();
        let system = |kind| System { kind, binary: "x".into(), version: "1".into(), year: "2026".into() };
        let systems = [system(Kind::Narthex), system(Kind::NarthexInterval)];
        let metric = ("window", "VmRSS, long history to short");
        report.note(0, &systems[0], metric, 1.0347201875183123, Unit::Number).unwrap();
        report.note(0, &systems[1], metric, 1.3171528325261854, Unit::Number).unwrap();
        let (text, met) = judge(&report, &systems, &[Phase::Window]);
        let verdicts: Vec<_> = text.lines().map(|line| line.split(':').next().unwrap()).collect();
        assert_eq!((verdicts, met), (vec!["met", "not met"], false), "{text}");
        std::fs::remove_file(path).unwrap();
    }
}
