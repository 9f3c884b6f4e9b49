//! Entry points for fuzzers: a map from disk, a report from a node.

use cluster::{ClusterMap, Incarnation, NodeId, Replica};
use model::TimestampMs;

use crate::{map_file, wire};

/// Reads the bytes as the file `map`, as they are and with the checksum that they should have; what can be read is written back
/// as the same bytes.
#[doc(hidden)]
pub fn fuzz_map_file(bytes: &[u8]) {
    map_file(bytes);
    if bytes.len() > 8 {
        let mut sealed = bytes.to_vec();
        sealed[4..8].copy_from_slice(&crc32c::crc32c(&bytes[8..]).to_le_bytes());
        map_file(&sealed);
    }
}

fn map_file(bytes: &[u8]) {
    if let Ok((map, as_of)) = map_file::decode(bytes) {
        assert_eq!(map_file::encode(&map, as_of), bytes, "a map file has one encoding");
    }
}

/// Reads the bytes as the command of a report.
#[doc(hidden)]
pub fn fuzz_report(bytes: &[u8]) {
    let Some(node) = NodeId::new("a") else { return };
    drop(wire::reported(&Replica { node, incarnation: Incarnation(1) }, bytes));
}

/// A map as the file `map` holds it.
#[doc(hidden)]
pub fn map_file_of(map: &ClusterMap, as_of: TimestampMs) -> Vec<u8> {
    map_file::encode(map, as_of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::held::tests::map;

    #[test]
    fn mutated_bytes_do_no_harm() {
        let filled = cluster::Command::ReportFilled {
            group: cluster::GroupId(0),
            seen: cluster::GenerationNumber(1),
            replica: Replica { node: NodeId::new("a").unwrap(), incarnation: Incarnation(1) },
        };
        let seeds = [map_file::encode(&map(5), TimestampMs(9)), filled.encode()];
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        for round in 0..6000 {
            let mut bytes = seeds[round % seeds.len()].clone();
            for _ in 0..=next() % 3 {
                let at = usize::try_from(next()).unwrap() % bytes.len();
                match next() % 3 {
                    0 => bytes[at] = u8::try_from(next() & 0xff).unwrap(),
                    1 => bytes[at] ^= 1 << (next() % 8),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            fuzz_map_file(&bytes);
            fuzz_report(&bytes);
        }
    }
}
