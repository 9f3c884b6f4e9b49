//! Entry points for fuzzers: bytes from disk and from peers.

mod seeds;

use cluster::codec::DecodeError;

use crate::codec;
pub use seeds::{messages, records};

/// Reads the records of the disk; those that can be read are written back as the same bytes.
#[doc(hidden)]
pub fn fuzz_record(bytes: &[u8]) {
    if let Ok(entry) = codec::decode_entry(bytes) {
        assert_eq!(codec::encode_entry(&entry), bytes, "an entry has one encoding");
        assert_eq!(codec::decode_entry_log_id(bytes), Ok(entry.log_id));
    }
    if let Ok(vote) = codec::decode_vote(bytes) {
        assert_eq!(codec::encode_vote(&vote), bytes, "a vote has one encoding");
    }
    if let Ok(log_id) = codec::decode_log_id(bytes) {
        assert_eq!(codec::encode_log_id(log_id.as_ref()), bytes, "a log id has one encoding");
    }
    if let Ok(stored) = codec::decode_snapshot(bytes) {
        assert_eq!(codec::encode_snapshot(&stored.meta, &stored.data), bytes, "a snapshot has one encoding");
    }
}

/// Reads requests and replies of every kind.
#[doc(hidden)]
pub fn fuzz_message(bytes: &[u8]) {
    fn ignore<T>(_: Result<T, DecodeError>) {}
    if let Ok((target, mut d)) = codec::open_request(bytes)
        && let Ok(request) = codec::get_append_request(&mut d)
        && d.finish().is_ok()
    {
        let again = codec::encode_request(target, |e| codec::put_append_request(e, &request));
        assert_eq!(again, bytes, "a request has one encoding");
    }
    if let Ok((_, mut d)) = codec::open_request(bytes) {
        ignore(codec::get_vote_request(&mut d));
    }
    if let Ok((_, mut d)) = codec::open_request(bytes) {
        ignore(codec::get_snapshot_request(&mut d));
    }
    if let Ok((_, mut d)) = codec::open_request(bytes) {
        ignore(codec::get_transfer_request(&mut d));
    }
    ignore(codec::decode_reply(bytes, codec::get_append_response));
    ignore(codec::decode_reply(bytes, codec::get_vote_response));
    ignore(codec::decode_reply(bytes, codec::get_snapshot_response));
    ignore(codec::decode_reply(bytes, codec::get_transfer_response));
}

#[cfg(test)]
mod tests;
