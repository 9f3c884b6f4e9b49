//! Remote write 1.0, written and read. Source of the format: prometheus/prompb/remote.proto and types.proto.
//!
//! A request of a ledger is encoded once per connection and patched: only values and times change, and these have a fixed
//! width, so that the writer is cheap beside what it loads. Reading is for the proxy and the twin, and takes what we write.

use anyhow::{Context, Result, bail, ensure};

use crate::plan::{Plan, SeriesKey};

/// `0x12 0x10`, then value (tag and eight bytes) and timestamp (tag and six).
const SAMPLE_BYTES: usize = 2 + SAMPLE_BODY_BYTES;
const SAMPLE_BODY_BYTES: usize = 9 + 1 + TIMESTAMP_BYTES;
/// Varint bytes of a time between 1971 and 2109, in milliseconds.
const TIMESTAMP_BYTES: usize = 6;
/// The most that a request may be when it is read.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// The headers of a request.
pub const HEADERS: [(&str, &str); 3] = [
    ("Content-Type", "application/x-protobuf"),
    ("Content-Encoding", "snappy"),
    ("X-Prometheus-Remote-Write-Version", "0.1.0"),
];

/// The requests of one connection.
#[derive(Debug)]
pub struct Requests {
    body: Vec<u8>,
    /// Where the samples of each series begin.
    series: Vec<(SeriesKey, usize)>,
}

impl Requests {
    /// Encodes the labels of a connection's series.
    pub fn new(plan: &Plan, connection: u64) -> Requests {
        let mut requests = Requests { body: Vec::new(), series: Vec::new() };
        for key in plan.series_of(connection) {
            let labels = encode_labels(&plan.labels(key));
            let samples = usize::try_from(plan.samples).expect("the plan is checked") * SAMPLE_BYTES;
            requests.body.push(0x0a);
            put_varint(&mut requests.body, (labels.len() + samples) as u64);
            requests.body.extend_from_slice(&labels);
            requests.series.push((key, requests.body.len()));
            requests.body.resize(requests.body.len() + samples, 0);
        }
        requests
    }

    /// A request, compressed.
    pub fn compressed(&mut self, plan: &Plan, request: u64) -> Result<Vec<u8>> {
        for (key, samples_at) in &self.series {
            let samples = self.body[*samples_at..].chunks_exact_mut(SAMPLE_BYTES);
            for (sample, number) in samples.zip(plan.numbers_of(request)) {
                sample[..3].copy_from_slice(&[0x12, SAMPLE_BODY_BYTES as u8, 0x09]);
                sample[3..11].copy_from_slice(&plan.value_of(*key, number).to_bits().to_le_bytes());
                sample[11] = 0x10;
                sample[12..].copy_from_slice(&timestamp(plan.time_of(*key, number)));
            }
        }
        compress(&self.body)
    }
}

/// A varint of a fixed width.
fn timestamp(at_ms: i64) -> [u8; TIMESTAMP_BYTES] {
    assert!((1 << 35..1 << 42).contains(&at_ms), "{at_ms} takes another number of bytes");
    let group = |index: usize| (at_ms >> (7 * index)) as u8 & 0x7f;
    std::array::from_fn(|index| if index + 1 < TIMESTAMP_BYTES { group(index) | 0x80 } else { group(index) })
}

/// A series of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Sorted by name.
    pub labels: Vec<(String, String)>,
    /// Milliseconds and values.
    pub samples: Vec<(i64, f64)>,
}

/// The message of a request.
pub fn encode(series: &[Series]) -> Vec<u8> {
    let mut out = Vec::new();
    for one in series {
        let mut message = encode_labels(&one.labels);
        for (at_ms, value) in &one.samples {
            let mut sample = vec![0x09];
            sample.extend_from_slice(&value.to_bits().to_le_bytes());
            sample.push(0x10);
            put_varint(&mut sample, at_ms.cast_unsigned());
            put_bytes(&mut message, 0x12, &sample);
        }
        put_bytes(&mut out, 0x0a, &message);
    }
    out
}

/// Snappy's block format.
pub fn compress(message: &[u8]) -> Result<Vec<u8>> {
    snap::raw::Encoder::new().compress_vec(message).context("compress a request")
}

/// The series of a compressed request.
pub fn decode(body: &[u8]) -> Result<Vec<Series>> {
    let length = snap::raw::decompress_len(body).context("length of a request")?;
    ensure!(length <= MESSAGE_BYTES_MAX, "a request of {length} bytes");
    let message = snap::raw::Decoder::new().decompress_vec(body).context("decompress a request")?;
    let mut all = Vec::new();
    for field in Fields(&message) {
        if let (1, Field::Bytes(series)) = field? {
            all.push(decode_series(series)?);
        }
    }
    Ok(all)
}

fn decode_series(message: &[u8]) -> Result<Series> {
    let mut series = Series::default();
    for field in Fields(message) {
        match field? {
            (1, Field::Bytes(label)) => series.labels.push(decode_label(label)?),
            (2, Field::Bytes(sample)) => series.samples.push(decode_sample(sample)?),
            _ => {}
        }
    }
    Ok(series)
}

fn decode_label(message: &[u8]) -> Result<(String, String)> {
    let (mut name, mut value) = (String::new(), String::new());
    for field in Fields(message) {
        match field? {
            (1, Field::Bytes(text)) => name = std::str::from_utf8(text).context("name of a label")?.to_string(),
            (2, Field::Bytes(text)) => value = std::str::from_utf8(text).context("value of a label")?.to_string(),
            _ => {}
        }
    }
    Ok((name, value))
}

fn decode_sample(message: &[u8]) -> Result<(i64, f64)> {
    let (mut at_ms, mut value) = (0, 0.0);
    for field in Fields(message) {
        match field? {
            (1, Field::Fixed(bits)) => value = f64::from_bits(bits),
            (2, Field::Varint(number)) => at_ms = number.cast_signed(),
            _ => {}
        }
    }
    Ok((at_ms, value))
}

/// The fields of a message.
struct Fields<'a>(&'a [u8]);

enum Field<'a> {
    Varint(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u64, Field<'a>)> {
        let tag = self.varint()?;
        let field = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            1 => {
                let (bytes, rest) = self.0.split_first_chunk().context("a fixed field is cut short")?;
                self.0 = rest;
                Field::Fixed(u64::from_le_bytes(*bytes))
            }
            2 => {
                let length = usize::try_from(self.varint()?).context("length of a field")?;
                let (bytes, rest) = self.0.split_at_checked(length).context("a field is cut short")?;
                self.0 = rest;
                Field::Bytes(bytes)
            }
            other => bail!("wire type {other}"),
        };
        Ok((tag >> 3, field))
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().context("a varint is cut short")?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        bail!("a varint of more than ten bytes")
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Field<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

fn encode_labels(labels: &[(String, String)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in labels {
        let mut label = Vec::new();
        put_bytes(&mut label, 0x0a, name.as_bytes());
        put_bytes(&mut label, 0x12, value.as_bytes());
        put_bytes(&mut out, 0x0a, &label);
    }
    out
}

fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::plan;

    #[test]
    fn a_request_has_the_bytes_of_its_message() {
        let labels = [("__name__", "a"), ("b", "c")].map(|(n, v)| (n.to_string(), v.to_string())).to_vec();
        let series = Series { labels, samples: vec![(300, 1.0)] };
        let labels = b"\x0a\x0d\x0a\x08__name__\x12\x01a\x0a\x06\x0a\x01b\x12\x01c".to_vec();
        let sample = b"\x12\x0c\x09\0\0\0\0\0\0\xf0\x3f\x10\xac\x02".to_vec();
        let body = [labels, sample].concat();
        assert_eq!(encode(&[series]), [vec![0x0a, body.len() as u8], body].concat());
    }

    #[test]
    fn a_patched_request_is_what_the_plan_says() {
        let plan = plan();
        let mut requests = Requests::new(&plan, 1);
        for request in [0, 7] {
            let expected: Vec<Series> = plan
                .series_of(1)
                .map(|key| {
                    let samples = plan.numbers_of(request).map(|n| (plan.time_of(key, n), plan.value_of(key, n)));
                    Series { labels: plan.labels(key), samples: samples.collect() }
                })
                .collect();
            let body = requests.compressed(&plan, request).unwrap();
            assert_eq!(decode(&body).unwrap(), expected);
            assert_eq!(compress(&encode(&expected)).unwrap(), body);
        }
    }
}
