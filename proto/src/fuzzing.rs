//! Entry points for fuzzers: bytes from the network.

use prost::Message;

use crate::v1;

/// Reads the bytes as every message that a server takes; what can be read is opened.
#[doc(hidden)]
pub fn fuzz_messages(bytes: &[u8]) {
    if let Ok(request) = v1::RaftRequest::decode(bytes)
        && let Ok(payload) = crate::open(request.frame, 1 << 20)
    {
        assert_eq!(crate::open(Some(crate::seal(payload.clone())), 1 << 20), Ok(payload));
    }
    if let Ok(update) = v1::MapUpdate::decode(bytes) {
        drop(crate::open(update.map, 1 << 20));
    }
    if let Ok(report) = v1::ReportRequest::decode(bytes) {
        drop(crate::open(report.command, 1 << 10));
    }
    if let Ok(push) = v1::PushRequest::decode(bytes) {
        drop(crate::open(push.entry, 1 << 10));
        drop(crate::open(push.batch, 1 << 20));
    }
    if let Ok(request) = v1::PeerRequest::decode(bytes) {
        drop(crate::open(request.frame, 1 << 20));
    }
    drop(v1::PeerReply::decode(bytes));
    drop(v1::JoinRequest::decode(bytes));
    drop(v1::HeartbeatRequest::decode(bytes));
    drop(v1::AdmitVoterRequest::decode(bytes));
    drop(v1::StatusReply::decode(bytes));
}

/// A message of each kind, by name.
#[doc(hidden)]
pub fn messages() -> Vec<(&'static str, Vec<u8>)> {
    let frame = || Some(crate::seal(bytes::Bytes::from_static(b"some payload of a frame")));
    let voter = v1::Voter { id: 7, name: "a".into(), address: "h:1".into() };
    let node = || Some(v1::Node { name: "n".into(), incarnation: 9, address: "h:2".into() });
    let to = || Some(v1::Recipient { cluster: "c".into(), node: "n".into(), incarnation: 9 });
    let push = v1::PushRequest { to: to(), group: 3, generation: 4, entry_crc32c: 5, entry: frame(), batch: frame() };
    let join = v1::JoinRequest { cluster: "c".into(), node: node(), zone: "z".into(), roles: vec!["ruler".into()] };
    let raft = v1::RaftRequest { cluster: "c".into(), frame: frame(), total_bytes: 23 };
    let report = v1::ReportRequest { cluster: "c".into(), node: node(), command: frame() };
    let admit = v1::AdmitVoterRequest { cluster: "c".into(), voter: Some(voter), by_operator: true };
    vec![
        ("push", push.encode_to_vec()),
        ("peer", v1::PeerRequest { to: to(), frame: frame() }.encode_to_vec()),
        ("raft", raft.encode_to_vec()),
        ("map", v1::MapUpdate { map: frame(), version: 4, age_ms: 12 }.encode_to_vec()),
        ("report", report.encode_to_vec()),
        ("admit", admit.encode_to_vec()),
        ("join", join.encode_to_vec()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutated_messages_do_no_harm() {
        let seeds: Vec<Vec<u8>> = messages().into_iter().map(|(_, message)| message).collect();
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        for round in 0..8000 {
            let mut bytes = seeds[round % seeds.len()].clone();
            for _ in 0..=next() % 3 {
                let at = usize::try_from(next()).unwrap() % bytes.len();
                match next() % 3 {
                    0 => bytes[at] = u8::try_from(next() & 0xff).unwrap(),
                    1 => bytes[at] ^= 1 << (next() % 8),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            fuzz_messages(&bytes);
        }
    }
}
