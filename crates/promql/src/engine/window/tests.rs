//! Functions over all windows of a series against the same functions of each window by itself, as Prometheus computes them.

use proptest::prelude::*;

use super::sums::mean;
use super::*;
use crate::engine::Interrupt;
use crate::engine::column::is_absent;

/// Prometheus' function of one window `(end - range, end]`; `None` where it gives nothing.
fn naive(function: WindowFn, ts: &[i64], values: &[f64], end: i64, range: i64) -> Option<f64> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let ticker = &mut Ticker::new(&Interrupt::default());
    let fold = |beats: fn(f64, f64) -> bool| {
        let mut best = (values[0], ts[0]);
        for (v, t) in values.iter().zip(ts) {
            if beats(*v, best.0) || best.0.is_nan() {
                best = (*v, *t);
            }
        }
        best
    };
    let sum = || {
        let (mut sum, mut c) = (0.0, 0.0);
        for v in values {
            (sum, c) = kahan(*v, sum, c);
        }
        if f64::is_infinite(sum) { sum } else { sum + c }
    };
    let pairs = |test: fn(f64, f64) -> bool| float(values.windows(2).filter(|p| test(p[0], p[1])).count());
    Some(match function {
        WindowFn::Sum => sum(),
        WindowFn::Avg => mean(values, ticker).unwrap(),
        WindowFn::Count => float(n),
        WindowFn::Min => fold(|a, b| a < b).0,
        WindowFn::Max => fold(|a, b| a > b).0,
        WindowFn::TsOfMin => secs(fold(|a, b| a <= b).1),
        WindowFn::TsOfMax => secs(fold(|a, b| a >= b).1),
        WindowFn::Stdvar => variance(values, ticker).unwrap(),
        WindowFn::Stddev => variance(values, ticker).unwrap().sqrt(),
        WindowFn::Changes => pairs(|a, b| a != b && !(a.is_nan() && b.is_nan())),
        WindowFn::Resets => pairs(|a, b| b < a),
        WindowFn::Deriv if n < 2 => return None,
        WindowFn::Deriv => regression::line(ts, values, ts[0], ticker).unwrap().0,
        WindowFn::Rate | WindowFn::Increase | WindowFn::Delta if n < 2 => return None,
        WindowFn::Rate | WindowFn::Increase | WindowFn::Delta => {
            let is_counter = function != WindowFn::Delta;
            let mut change = values[n - 1] - values[0];
            for p in values.windows(2).filter(|p| is_counter && p[1] < p[0]) {
                change += p[0];
            }
            let (mut to_start, mut to_end) = (secs(ts[0] - (end - range)), secs(end - ts[n - 1]));
            let interval = secs(ts[n - 1] - ts[0]);
            let average = interval / float(n - 1);
            let threshold = average * 1.1;
            if to_start >= threshold {
                to_start = average / 2.0;
            }
            if is_counter && change > 0.0 && values[0] >= 0.0 {
                to_start = to_start.min(interval * (values[0] / change));
            }
            if to_end >= threshold {
                to_end = average / 2.0;
            }
            let mut factor = (interval + to_start + to_end) / interval;
            if function == WindowFn::Rate {
                factor /= secs(range);
            }
            change * factor
        }
        _ => unreachable!("not in the list below"),
    })
}

const ALL: [WindowFn; 15] = [
    WindowFn::Sum,
    WindowFn::Avg,
    WindowFn::Count,
    WindowFn::Min,
    WindowFn::Max,
    WindowFn::TsOfMin,
    WindowFn::TsOfMax,
    WindowFn::Stdvar,
    WindowFn::Stddev,
    WindowFn::Changes,
    WindowFn::Resets,
    WindowFn::Deriv,
    WindowFn::Rate,
    WindowFn::Increase,
    WindowFn::Delta,
];

fn same(a: f64, b: f64, tolerance: f64) -> bool {
    (a.is_nan() && b.is_nan()) || a == b || (a - b).abs() <= tolerance * a.abs().max(b.abs())
}

fn check(ts: &[i64], values: &[f64], grid: Grid, spec: WindowSpec) {
    let mut windows = Windows::default();
    windows.find(ts, grid, spec);
    let call =
        Call { samples: Samples { ts, values }, windows: &windows, grid, spec, numbers: [Number::Const(0.0); 2] };
    let mut scratch = Scratch::default();
    let mut ticker = Ticker::new(&Interrupt::default());
    for function in ALL {
        let mut out = vec![ABSENT; grid.count];
        run(function, &call, &mut out, &mut scratch, &mut ticker).unwrap();
        for (i, v) in out.iter().enumerate() {
            let end = spec.end.of(grid.at(i));
            let lo = ts.partition_point(|t| *t <= end - spec.range);
            let hi = ts.partition_point(|t| *t <= end);
            let expected = naive(function, &ts[lo..hi], &values[lo..hi], end, spec.range);
            // Sums may differ in the last bits; all else is the same to the bit.
            let tolerance = if matches!(function, WindowFn::Sum | WindowFn::Avg) { 1e-12 } else { 0.0 };
            match expected {
                None => assert!(is_absent(*v), "{function:?} at step {i}: {v}"),
                Some(e) => assert!(
                    !is_absent(*v) && same(*v, e, tolerance),
                    "{function:?} at step {i}: {v}, expected {e} of {:?}",
                    &values[lo..hi]
                ),
            }
        }
    }
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => (0u32..1000).prop_map(f64::from),
        4 => -1e6..1e6f64,
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(0.0),
        1 => Just(1e300),
    ]
}

proptest! {
    #[test]
    fn windows_that_move_give_what_each_window_gives(
        gaps in proptest::collection::vec(prop_oneof![4 => Just(15_000i64), 1 => 1i64..200_000], 0..80),
        finite in any::<bool>(),
        values in proptest::collection::vec(any_value(), 80),
        step in prop_oneof![Just(15_000i64), 1_000i64..100_000],
        range in prop_oneof![Just(60_000i64), Just(300_000i64), 1_000i64..400_000],
        pinned in proptest::option::of(0i64..1_000_000),
    ) {
        let ts: Vec<i64> = gaps.iter().scan(0, |t, gap| { *t += gap; Some(*t) }).collect();
        let calm = |v: &f64| if finite && (!v.is_finite() || *v > 1e200) { 7.25 } else { *v };
        let values: Vec<f64> = values[..ts.len()].iter().map(calm).collect();
        let end = pinned.map_or(WindowEnd::Before(-20_000), WindowEnd::At);
        check(&ts, &values, Grid { start: -30_000, step, count: 60, is_instant: false }, WindowSpec { range, end });
    }
}

#[test]
fn sums_by_prefix_lose_nothing_where_values_are_far_apart() {
    let ts: Vec<i64> = (0..200).map(|i| i * 1000).collect();
    let grid = Grid { start: 0, step: 1000, count: 200, is_instant: false };
    let spec = WindowSpec { range: 10_000, end: WindowEnd::Before(0) };
    for values in [
        (0..200).map(|i| if i % 50 == 0 { 1e18 } else { 0.1 }).collect::<Vec<f64>>(),
        (0..200).map(|i| if i % 2 == 0 { 0.1 } else { -0.1 }).collect(),
        (0..200).map(|i| f64::from(i) * 1e-3 + 1e9).collect(),
        vec![f64::MAX / 4.0; 200],
    ] {
        check(&ts, &values, grid, spec);
    }
}

#[test]
fn samples_seen_and_read_are_counted_as_in_prometheus() {
    let ts: Vec<i64> = (1..=10).map(|i| i * 10).collect();
    for (step, range, seen, read) in [(10, 30, 3 + 3 + 3, 3 + 2), (50, 30, 3 + 3, 3 + 3), (20, 20, 2 + 2 + 2, 2 + 4)] {
        let grid = Grid::new(50, 70 + step, step);
        let grid = Grid { count: if step == 50 { 2 } else { 3 }, ..grid };
        let spec = WindowSpec { range, end: WindowEnd::Before(0) };
        let mut windows = Windows::default();
        windows.find(&ts, grid, spec);
        let totals = windows.totals(grid, spec);
        assert_eq!((totals.seen, totals.read), (seen, read), "step {step}, range {range}");
    }
}
