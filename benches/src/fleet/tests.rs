//! What the fleet promises to those who build on it.

use std::collections::HashSet;

use super::*;

const START_MS: i64 = 1_700_000_000_000 / GENERATION_GRID_MS * GENERATION_GRID_MS;

#[test]
fn every_series_has_labels_of_its_own_and_they_average_ten() {
    let fleet = Fleet::new(1, 3, 0.01);
    let (mut seen, mut labels, mut bytes) = (HashSet::new(), 0, 0);
    for target in 0..fleet.targets() {
        for template in fleet.templates() {
            let all = fleet.labels(target, template, fleet.generation(target, template.pod, START_MS));
            assert!(all.is_sorted_by(|a, b| a.0 < b.0), "{all:?}");
            labels += all.len();
            bytes += all.iter().map(|(name, value)| 6 + name.len() + value.len()).sum::<usize>();
            assert!(seen.insert(all));
        }
    }
    let series = seen.len();
    assert_eq!(series, 3 * SERIES_PER_TARGET);
    let (labels, bytes) = (labels as f64 / series as f64, bytes as f64 / series as f64);
    assert!((9.0..11.0).contains(&labels), "{labels} labels");
    assert!((180.0..200.0).contains(&bytes), "{bytes} bytes; a sample and the frame add 21");
}

#[test]
fn families_are_contiguous() {
    let fleet = Fleet::new(1, 1, 0.01);
    let mut runs: Vec<&str> = fleet.templates().iter().map(|template| template.family_name.as_str()).collect();
    runs.dedup();
    assert_eq!(runs.iter().collect::<HashSet<_>>().len(), runs.len());
}

#[test]
fn one_series_in_a_hundred_is_replaced_every_hour() {
    let fleet = Fleet::new(7, 2_000, 0.01);
    let mut replaced = 0;
    for target in 0..fleet.targets() {
        for pod in 0..PODS_PER_TARGET {
            let before = fleet.generation(target, pod, START_MS);
            let after = fleet.generation(target, pod, START_MS + 3_600_000);
            replaced += after.number - before.number;
            let same = fleet.pod_suffix(target, pod, before) == fleet.pod_suffix(target, pod, after);
            assert_eq!(same, before == after);
        }
    }
    let share = replaced as f64 / (fleet.targets() * PODS_PER_TARGET) as f64;
    assert!((0.008..0.012).contains(&share), "{share}");
}

#[test]
fn a_generation_begins_on_the_grid() {
    let fleet = Fleet::new(7, 500, 0.5);
    for target in 0..500 {
        let generation = fleet.generation(target, 0, START_MS);
        assert_eq!(generation.born_ms % GENERATION_GRID_MS, 0);
        assert_eq!(fleet.generation(target, 0, generation.born_ms), generation);
        assert_ne!(fleet.generation(target, 0, generation.born_ms - 1), generation);
    }
}

#[test]
fn counters_never_fall_and_buckets_are_cumulative() {
    let fleet = Fleet::new(3, 1, 0.01);
    let mut moving = 0;
    for template in fleet.templates() {
        let (stream, generation) = (fleet.stream(0, template), fleet.generation(0, template.pod, START_MS));
        let values: Vec<f64> =
            (0..40).map(|step| fleet.value(template, stream, generation, START_MS + step * 3_000)).collect();
        let quantile = template.family == Family::Summary && template.name == template.family_name;
        if template.family != Family::Gauge && !quantile {
            assert!(values.is_sorted(), "{template:?} {values:?}");
        }
        assert!(values.iter().all(|value| value.is_finite() && *value >= 0.0), "{template:?} {values:?}");
        moving += usize::from(values.iter().any(|value| *value != values[0]));
    }
    assert!((500..800).contains(&moving), "{moving} of a thousand series move within two minutes");
    for pair in fleet.templates().windows(2).filter(|pair| pair.iter().all(|t| t.name.ends_with("_bucket"))) {
        if pair[0].own[..2] != pair[1].own[..2] {
            continue;
        }
        let generation = fleet.generation(0, pair[0].pod, START_MS);
        let value = |t: &Template| fleet.value(t, fleet.stream(0, t), generation, START_MS + 777_000);
        assert!(value(&pair[0]) <= value(&pair[1]), "{pair:?}");
    }
}
