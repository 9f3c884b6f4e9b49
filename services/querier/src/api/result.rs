//! The value of a query as JSON, written a piece at a time: what is written is forgotten, and what is sent is not kept.

use std::vec;

use model::{FloatHistogram, TimestampMs};
use promql::engine::{RangeSeries, Value, VectorSample};
use promql::histogram_json;
use promql::numbers;

use super::json::{put_labels, put_list, put_number, put_text, put_timestamp, put_value};

/// Bytes of a piece, about: a series is not split.
const PIECE_BYTES: usize = 256 << 10;

/// What is still to be written.
pub(crate) struct ResultJson {
    /// What precedes the elements.
    head: Vec<u8>,
    elements: Elements,
    /// What follows the elements.
    tail: Vec<u8>,
    place: Place,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Start,
    AfterFirst,
    Done,
}

enum Elements {
    None,
    Matrix(vec::IntoIter<RangeSeries>),
    Vector(TimestampMs, vec::IntoIter<VectorSample>),
}

impl ResultJson {
    /// `{"status":"success","data":{"resultType":…,"result":…` of `value`, then `tail`, which closes what is open.
    pub(crate) fn new(value: Value, tail: Vec<u8>) -> ResultJson {
        let mut head = b"{\"status\":\"success\",\"data\":{\"resultType\":\"".to_vec();
        let begin = |head: &mut Vec<u8>, result_type: &str| {
            head.extend_from_slice(result_type.as_bytes());
            head.extend_from_slice(b"\",\"result\":[");
        };
        let elements = match value {
            Value::Matrix(series) => {
                begin(&mut head, "matrix");
                Elements::Matrix(series.into_iter())
            }
            Value::Vector { at, samples } => {
                begin(&mut head, "vector");
                Elements::Vector(at, samples.into_iter())
            }
            Value::Scalar { at, value } => {
                begin(&mut head, "scalar");
                put_seconds(&mut head, at);
                // Other than in vectors: never an exponent.
                head.extend_from_slice(b",\"");
                head.extend_from_slice(numbers::format_f(value).as_bytes());
                head.push(b'"');
                Elements::None
            }
            Value::String { at, text } => {
                begin(&mut head, "string");
                put_seconds(&mut head, at);
                head.push(b',');
                put_text(&mut head, &text);
                Elements::None
            }
        };
        ResultJson { head, elements, tail, place: Place::Start }
    }

    /// Appends a piece to `out`. True when nothing is left.
    pub(crate) fn write_piece(&mut self, out: &mut Vec<u8>) -> bool {
        if self.place == Place::Done {
            return true;
        }
        out.append(&mut self.head);
        while out.len() < PIECE_BYTES {
            let start = out.len();
            if self.place == Place::AfterFirst {
                out.push(b',');
            }
            if !self.elements.write_next(out) {
                out.truncate(start);
                out.push(b']');
                out.append(&mut self.tail);
                self.place = Place::Done;
                return true;
            }
            self.place = Place::AfterFirst;
        }
        false
    }
}

impl Elements {
    /// False when there is none left.
    fn write_next(&mut self, out: &mut Vec<u8>) -> bool {
        match self {
            Elements::None => false,
            Elements::Matrix(series) => series.next().map(|series| put_series(out, &series)).is_some(),
            Elements::Vector(at, samples) => samples.next().map(|sample| put_sample(out, *at, &sample)).is_some(),
        }
    }
}

/// The time of a scalar or text, which Prometheus writes as a float.
fn put_seconds(out: &mut Vec<u8>, at: TimestampMs) {
    #[expect(clippy::cast_precision_loss, reason = "as in Prometheus")]
    put_number(out, at.0 as f64 / 1000.0);
}

fn put_series(out: &mut Vec<u8>, series: &RangeSeries) {
    out.extend_from_slice(b"{\"metric\":");
    put_labels(out, &series.labels);
    let mut points = series.points.iter().peekable();
    if points.peek().is_some() {
        out.extend_from_slice(b",\"values\":");
        put_list(out, b"[]", points, |out, (at, value)| put_point(out, at, value));
    }
    let mut histograms = series.points.histograms().peekable();
    if histograms.peek().is_some() {
        out.extend_from_slice(b",\"histograms\":");
        put_list(out, b"[]", histograms, |out, (at, h)| put_histogram(out, at, h));
    }
    out.push(b'}');
}

fn put_sample(out: &mut Vec<u8>, at: TimestampMs, sample: &VectorSample) {
    out.extend_from_slice(b"{\"metric\":");
    put_labels(out, &sample.labels);
    match &sample.histogram {
        Some(h) => {
            out.extend_from_slice(b",\"histogram\":");
            put_histogram(out, at, h);
        }
        None => {
            out.extend_from_slice(b",\"value\":");
            put_point(out, at, sample.value);
        }
    }
    out.push(b'}');
}

fn put_point(out: &mut Vec<u8>, at: TimestampMs, value: f64) {
    out.push(b'[');
    put_timestamp(out, at);
    out.push(b',');
    put_value(out, value);
    out.push(b']');
}

fn put_histogram(out: &mut Vec<u8>, at: TimestampMs, h: &FloatHistogram) {
    out.push(b'[');
    put_timestamp(out, at);
    out.push(b',');
    out.extend_from_slice(histogram_json(h).as_bytes());
    out.push(b']');
}
