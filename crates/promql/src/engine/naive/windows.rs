//! Range vectors and the functions of them.

use model::Labels;

use super::functions::{mean, quantile, secs, variance};
use super::{Element, Evaluated, Naive, Value, unique, without_name};
use crate::ast::{Call, Edges, Expr, ExprKind};

/// The samples of one series in a range.
struct Window {
    labels: Labels,
    /// Samples with `start < t <= end`; with `anchored` and `smoothed` also those beside it.
    samples: Vec<(i64, f64)>,
    start: i64,
    end: i64,
    edges: Edges,
}

/// The value at `t` on the line between two samples.
#[expect(clippy::cast_precision_loss, reason = "times of a test")]
pub(super) fn on_line(a: (i64, f64), b: (i64, f64), t: i64) -> f64 {
    a.1 + (b.1 - a.1) * (t - a.0) as f64 / (b.0 - a.0) as f64
}

impl Naive<'_> {
    /// The windows of a range selector or subquery at `t`, those without samples left out.
    fn windows(&self, range: &Expr, t: i64) -> Evaluated<Vec<Window>> {
        let windows: Vec<Window> = match &range.kind {
            ExprKind::Paren(inner) => return self.windows(inner, t),
            ExprKind::Matrix(matrix) => {
                let selector = &matrix.selector;
                let end = self.moved(selector.at, selector.offset.as_ref(), t);
                let (start, edges) = (end - self.duration(&matrix.range), selector.edges);
                let from = if edges == Edges::Plain { start } else { start - self.lookback };
                let to = if edges == Edges::Smoothed { end + self.lookback } else { end };
                let inside = |(t, v): &&(i64, f64)| *t > from && *t <= to && !model::is_stale(*v);
                let window = |(labels, samples): &(Labels, Vec<(i64, f64)>)| Window {
                    labels: labels.clone(),
                    samples: samples.iter().filter(inside).copied().collect(),
                    start,
                    end,
                    edges,
                };
                self.matching(&selector.matchers).map(window).collect()
            }
            ExprKind::Subquery(subquery) => {
                let end = self.moved(subquery.at, subquery.offset.as_ref(), t);
                let start = end - self.duration(&subquery.range);
                let step = subquery.step.as_ref().map_or(self.subquery_step, |step| self.duration(step));
                let mut windows: Vec<Window> = Vec::new();
                let mut at = start.div_euclid(step) * step + step;
                while at <= end {
                    for e in self.vector(&subquery.expr, at)? {
                        match windows.iter_mut().find(|w| w.labels == e.labels) {
                            Some(window) => window.samples.push((at, e.v)),
                            None => windows.push(Window {
                                labels: e.labels,
                                samples: vec![(at, e.v)],
                                start,
                                end,
                                edges: Edges::Plain,
                            }),
                        }
                    }
                    at += step;
                }
                windows
            }
            _ => return Err("no range vector".to_owned()),
        };
        Ok(windows.into_iter().filter(|w| !w.samples.is_empty()).collect())
    }

    /// A function of windows; `None` where `call` is none.
    pub(super) fn window_function(&self, call: &Call, t: i64) -> Evaluated<Option<Value>> {
        let is_range = |e: &&Expr| matches!(e.kind, ExprKind::Matrix(_) | ExprKind::Subquery(_));
        let Some(range) = call.args.iter().find(is_range) else { return Ok(None) };
        let numbers: Vec<f64> =
            call.args.iter().filter(|e| !is_range(e)).map(|e| self.number(e, t)).collect::<Evaluated<_>>()?;
        let windows = self.windows(range, t)?;
        if call.function == "predict_linear" && matches!(&range.kind, ExprKind::Subquery(s) if s.at.is_some()) {
            // A pinned subquery is not found where the call has another value at each step.
            return Ok(Some(Value::Vector(Vec::new())));
        }
        if call.function == "absent_over_time" {
            let labels = self.absent_labels(range);
            let absent = windows.is_empty().then_some(Element { labels, v: 1.0 });
            return Ok(Some(Value::Vector(absent.into_iter().collect())));
        }
        let mut out = Vec::new();
        for window in windows {
            let Some(v) = window.apply(call.function, &numbers, t)? else { continue };
            let keeps_name = matches!(call.function, "last_over_time" | "first_over_time");
            let labels = if keeps_name { window.labels.clone() } else { without_name(&window.labels) };
            let known = self.named.borrow_mut().insert((range.pos.start, labels.clone()), window.labels.clone());
            if known.is_some_and(|known| known != window.labels) {
                return Err("vector cannot contain metrics with the same labelset".to_owned());
            }
            out.push(Element { labels, v });
        }
        unique(out).map(Some)
    }
}

impl Window {
    fn apply(&self, function: &str, numbers: &[f64], t: i64) -> Evaluated<Option<f64>> {
        let values: Vec<f64> = self.samples.iter().map(|(_, v)| *v).collect();
        let n = values.len();
        let (first, last) = (self.samples[0], self.samples[n - 1]);
        // The first of equals wins with `>`, the last with `>=`; NaN loses against everything.
        let best = |beats: fn(f64, f64) -> bool| {
            let better = |a: (i64, f64), b: &(i64, f64)| if beats(b.1, a.1) || a.1.is_nan() { *b } else { a };
            self.samples[1..].iter().fold(first, better)
        };
        Ok(Some(match function {
            "rate" => return Ok(self.increase(true).map(|v| v / secs(self.end - self.start))),
            "increase" => return Ok(self.increase(true)),
            "delta" => return Ok(self.increase(false)),
            "changes" | "resets" => return Ok(self.count_pairs(function)),
            "irate" | "idelta" => {
                if n < 2 {
                    return Ok(None);
                }
                let before = self.samples[n - 2];
                match function {
                    "idelta" => last.1 - before.1,
                    _ if last.1 < before.1 => last.1 / secs(last.0 - before.0),
                    _ => (last.1 - before.1) / secs(last.0 - before.0),
                }
            }
            "sum_over_time" => values.iter().sum::<f64>() + 0.0,
            "avg_over_time" => mean(&values),
            "count_over_time" => n as f64,
            "present_over_time" => 1.0,
            "min_over_time" => best(|new, old| new < old).1,
            "max_over_time" => best(|new, old| new > old).1,
            "ts_of_min_over_time" => secs(best(|new, old| new <= old).0),
            "ts_of_max_over_time" => secs(best(|new, old| new >= old).0),
            "first_over_time" => first.1,
            "last_over_time" => last.1,
            "ts_of_first_over_time" => secs(first.0),
            "ts_of_last_over_time" => secs(last.0),
            "stddev_over_time" => variance(&values).sqrt(),
            "stdvar_over_time" => variance(&values),
            "quantile_over_time" => quantile(numbers[0], &values),
            "mad_over_time" => {
                if values.iter().any(|v| v.is_nan()) {
                    f64::NAN
                } else {
                    let median = quantile(0.5, &values);
                    quantile(0.5, &values.iter().map(|v| (v - median).abs()).collect::<Vec<f64>>())
                }
            }
            "deriv" => return Ok(self.line(first.0).map(|(slope, _)| slope)),
            "predict_linear" => return Ok(self.line(t).map(|(slope, at)| slope * numbers[0] + at)),
            "double_exponential_smoothing" => return smooth(&values, numbers[0], numbers[1]),
            other => return Err(format!("unknown function {other}")),
        }))
    }

    /// The change, of counters with what they lost in resets.
    fn increase(&self, is_counter: bool) -> Option<f64> {
        if self.edges != Edges::Plain {
            return self.exact_change(is_counter);
        }
        let n = self.samples.len();
        if n < 2 {
            return None;
        }
        let (first, last) = (self.samples[0], self.samples[n - 1]);
        let mut change = last.1 - first.1;
        if is_counter {
            change += lost(&self.samples);
        }
        let sampled = secs(last.0 - first.0);
        let average = sampled / (n - 1) as f64;
        let reach = |gap: f64| if gap >= average * 1.1 { average / 2.0 } else { gap };
        let mut to_start = reach(secs(first.0 - self.start));
        if is_counter && change > 0.0 && first.1 >= 0.0 {
            to_start = to_start.min(sampled * (first.1 / change));
        }
        Some(change * ((sampled + to_start + reach(secs(self.end - last.0))) / sampled))
    }

    /// The change between the values at both edges (`anchored`, `smoothed`).
    fn exact_change(&self, is_counter: bool) -> Option<f64> {
        let samples = &self.samples;
        let before = samples.iter().rev().find(|s| s.0 <= self.start);
        let smoothed = self.edges == Edges::Smoothed;
        let mut points: Vec<(i64, f64)> =
            samples.iter().filter(|s| s.0 > self.start && s.0 < self.end).copied().collect();
        let after = samples.iter().find(|s| s.0 >= self.end);
        let line = |a: (i64, f64), b: (i64, f64), t: i64| {
            let restarted = is_counter && b.1 < a.1;
            on_line(if restarted { (a.0, 0.0) } else { a }, b, t)
        };
        // Whether anything lies behind the start; `anchored` sees nothing behind the end.
        let next = points.first().or(after).copied()?;
        let left = match before {
            Some(before) if smoothed && before.0 < self.start => line(*before, next, self.start),
            Some(before) => before.1,
            None if smoothed && next.0 > self.end => return None,
            None => next.1,
        };
        let previous = points.last().or(before).copied();
        let right = match (after, previous) {
            (Some(after), Some(previous)) if after.0 > self.end => line(previous, *after, self.end),
            (Some(after), _) => after.1,
            (None, Some(previous)) => previous.1,
            (None, None) => return None,
        };
        points.insert(0, (self.start, left));
        points.push((self.end, right));
        Some(right - left + if is_counter { lost(&points) } else { 0.0 })
    }

    fn count_pairs(&self, function: &str) -> Option<f64> {
        let mut samples = self.samples.clone();
        if self.edges == Edges::Anchored {
            samples.iter().find(|s| s.0 > self.start)?;
            let anchor = samples.iter().rposition(|s| s.0 <= self.start);
            samples.drain(..anchor.unwrap_or(0));
        }
        let counts = |pair: &&[(i64, f64)]| {
            let (a, b) = (pair[0].1, pair[1].1);
            if function == "resets" { b < a } else { a != b && !(a.is_nan() && b.is_nan()) }
        };
        Some(samples.windows(2).filter(counts).count() as f64)
    }

    /// Slope and value at `at` of the least-squares line.
    fn line(&self, at: i64) -> Option<(f64, f64)> {
        let n = self.samples.len() as f64;
        if self.samples.len() < 2 {
            return None;
        }
        let first = self.samples[0].1;
        if self.samples.iter().all(|(_, v)| *v == first) {
            return Some(if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) });
        }
        let points: Vec<(f64, f64)> = self.samples.iter().map(|(t, v)| (secs(t - at), *v)).collect();
        let sum = |f: fn(&(f64, f64)) -> f64| points.iter().map(f).sum::<f64>();
        let (x, y, xy, xx) = (sum(|p| p.0), sum(|p| p.1), sum(|p| p.0 * p.1), sum(|p| p.0 * p.0));
        let slope = (xy - x * y / n) / (xx - x * x / n);
        Some((slope, y / n - slope * x / n))
    }
}

/// What a counter lost in resets.
fn lost(samples: &[(i64, f64)]) -> f64 {
    samples.windows(2).filter(|pair| pair[1].1 < pair[0].1).map(|pair| pair[0].1).sum()
}

fn smooth(values: &[f64], sf: f64, tf: f64) -> Evaluated<Option<f64>> {
    if !(sf > 0.0 && sf < 1.0 && tf > 0.0 && tf < 1.0) {
        return Err("invalid factor".to_owned());
    }
    if values.len() < 2 {
        return Ok(None);
    }
    let (mut level, mut trend) = (values[0], values[1] - values[0]);
    let mut before = level;
    for (i, v) in values.iter().enumerate().skip(1) {
        if i > 1 {
            trend = tf * (level - before) + (1.0 - tf) * trend;
        }
        before = level;
        level = sf * v + (1.0 - sf) * (level + trend);
    }
    Ok(Some(level))
}
