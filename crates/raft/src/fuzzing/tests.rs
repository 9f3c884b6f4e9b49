//! Mutated records and messages: refused, or another legal value, but never a panic.

use super::seeds::{entries, log_id, meta, responses};
use super::*;
use crate::types::{AppendRequest, Entry, Payload, Vote};

#[test]
fn what_was_written_is_read() {
    for entry in entries() {
        assert_eq!(codec::decode_entry(&codec::encode_entry(&entry)), Ok(entry));
    }
    for vote in [Vote::new(3, 7), Vote::new_committed(u64::MAX, 0)] {
        assert_eq!(codec::decode_vote(&codec::encode_vote(&vote)), Ok(vote));
    }
    for id in [None, Some(log_id(u64::MAX))] {
        assert_eq!(codec::decode_log_id(&codec::encode_log_id(id.as_ref())), Ok(id));
    }
    let stored = codec::decode_snapshot(&codec::encode_snapshot(&meta(), b"state")).unwrap();
    assert_eq!((stored.meta, &stored.data[..]), (meta(), &b"state"[..]));
    for response in responses() {
        let bytes = codec::encode_reply(|e| codec::put_append_response(e, &response));
        assert_eq!(codec::decode_reply(&bytes, codec::get_append_response), Ok(response));
    }
}

#[test]
fn golden_bytes_do_not_change() {
    let blank = Entry { log_id: log_id(5), payload: Payload::Blank };
    let expected = [&[1][..], &3_u64.to_le_bytes(), &7_u64.to_le_bytes(), &5_u64.to_le_bytes(), &[0]].concat();
    assert_eq!(codec::encode_entry(&blank), expected);
    let expected = [&[1][..], &3_u64.to_le_bytes(), &7_u64.to_le_bytes(), &[1]].concat();
    assert_eq!(codec::encode_vote(&Vote::new_committed(3, 7)), expected);
}

#[test]
fn entries_with_a_gap_are_refused() {
    let mut request = AppendRequest {
        vote: Vote::new_committed(3, 7),
        prev_log_id: Some(log_id(4)),
        entries: entries(),
        leader_commit: None,
    };
    let read = |request: &AppendRequest| {
        let bytes = codec::encode_request(1, |e| codec::put_append_request(e, request));
        let (_, mut d) = codec::open_request(&bytes).unwrap();
        codec::get_append_request(&mut d).is_ok()
    };
    assert!(read(&request));
    request.prev_log_id = Some(log_id(3));
    assert!(!read(&request));
    request.prev_log_id = None;
    assert!(!read(&request));
    request.prev_log_id = Some(log_id(4));
    request.entries.remove(1);
    assert!(!read(&request));
}

#[test]
fn mutated_bytes_do_no_harm() {
    let seeds = [records(), messages()].concat();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
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
        fuzz_record(&bytes);
        fuzz_message(&bytes);
    }
}
