//! Remote write 1.0 as a sender speaks it. Source of the format: prometheus/prompb/remote.proto and types.proto.

use anyhow::{Context, Result, ensure};

use crate::Client;
use crate::histogram::Histogram;

/// The value that marks a series as ended.
pub const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Samples of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Sorted by name, `__name__` included.
    pub labels: Vec<(String, String)>,
    /// Milliseconds and values, in order of time.
    pub samples: Vec<(i64, f64)>,
    /// Native histograms, in order of time.
    pub histograms: Vec<Histogram>,
}

impl Series {
    /// A series without samples.
    pub fn new(name: &str, labels: &[(&str, &str)]) -> Series {
        let all = [("__name__", name)].into_iter().chain(labels.iter().copied());
        let mut labels: Vec<(String, String)> = all.map(|(n, v)| (n.to_string(), v.to_string())).collect();
        labels.sort();
        Series { labels, samples: Vec::new(), histograms: Vec::new() }
    }
}

/// The protobuf message.
pub fn encode(series: &[Series]) -> Vec<u8> {
    let mut out = Vec::new();
    for one in series {
        let mut message = Vec::new();
        for (name, value) in &one.labels {
            let mut label = Vec::new();
            put_bytes(&mut label, 0x0a, name.as_bytes());
            put_bytes(&mut label, 0x12, value.as_bytes());
            put_bytes(&mut message, 0x0a, &label);
        }
        for (at_ms, value) in &one.samples {
            let mut sample = vec![0x09];
            sample.extend_from_slice(&value.to_bits().to_le_bytes());
            sample.push(0x10);
            put_varint(&mut sample, at_ms.cast_unsigned());
            put_bytes(&mut message, 0x12, &sample);
        }
        for histogram in &one.histograms {
            put_bytes(&mut message, 0x22, &histogram.encode());
        }
        put_bytes(&mut out, 0x0a, &message);
    }
    out
}

/// Snappy's block format.
pub fn compress(message: &[u8]) -> Result<Vec<u8>> {
    snap::raw::Encoder::new().compress_vec(message).context("compress a request")
}

/// Sends a request body as it is; its status.
pub fn post(client: &mut Client, body: &[u8]) -> Result<u16> {
    let headers = [
        ("Content-Type", "application/x-protobuf"),
        ("Content-Encoding", "snappy"),
        ("X-Prometheus-Remote-Write-Version", "0.1.0"),
    ];
    Ok(client.request("POST", "/api/v1/write", &headers, body)?.status)
}

/// Sends series and expects them to be taken.
pub fn push(client: &mut Client, series: &[Series]) -> Result<()> {
    let status = post(client, &compress(&encode(series))?)?;
    ensure!(status / 100 == 2, "remote write: status {status}");
    Ok(())
}

/// Sends series in order of time, a slice of `slice_ms` in each request, as a sender that follows a clock does.
pub fn push_in_slices(client: &mut Client, series: &[Series], slice_ms: i64) -> Result<()> {
    let of_histograms = |one: &Series| one.histograms.iter().map(|h| h.at_ms).collect::<Vec<_>>();
    let times = || series.iter().flat_map(|one| one.samples.iter().map(|sample| sample.0).chain(of_histograms(one)));
    let (Some(first), Some(last)) = (times().min(), times().max()) else { return Ok(()) };
    let mut from = first;
    while from <= last {
        let until = from + slice_ms;
        let cut = |one: &Series| {
            let samples = one.samples.iter().copied().filter(|(at, _)| (from..until).contains(at)).collect();
            let histograms = one.histograms.iter().filter(|h| (from..until).contains(&h.at_ms)).cloned().collect();
            Series { labels: one.labels.clone(), samples, histograms }
        };
        let is_empty = |one: &Series| one.samples.is_empty() && one.histograms.is_empty();
        let slice: Vec<Series> = series.iter().map(cut).filter(|one| !is_empty(one)).collect();
        push(client, &slice)?;
        from = until;
    }
    Ok(())
}

/// A field with bytes.
pub fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A number of up to ten bytes.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_bytes_of_its_message() {
        let mut series = Series::new("a", &[("b", "c")]);
        series.samples.push((300, 1.0));
        let labels = b"\x0a\x0d\x0a\x08__name__\x12\x01a\x0a\x06\x0a\x01b\x12\x01c".to_vec();
        let sample = b"\x12\x0c\x09\0\0\0\0\0\0\xf0\x3f\x10\xac\x02".to_vec();
        let body = [labels, sample].concat();
        assert_eq!(encode(&[series]), [vec![0x0a, body.len() as u8], body].concat());
    }
}
