//! Entry points for fuzzers: messages from the network.

mod seeds;

use bytes::Bytes;
use cluster::Replica;
use model::{Matcher, Metadata, TenantId, TimeRange, TimestampMs};
use peer::{Exemplars, Fetch, IndexEntry, LabelQuestion, ManifestAnswer};
use replication::Entry;
use replication::manifest::BlockName;
use replication::replica::{ListReply, ReadReply, SealReply};
use std::collections::VecDeque;
use storage::{SelectError, SelectRequest};

use crate::page::{Message, SeriesReader, finished, items, read, series_pages};
use crate::record::{PushSaid, Record, decode, encode};

pub use seeds::{answers, pages, questions};

/// What can be read is written back as the same bytes.
fn one_encoding<R: Record>(bytes: &Bytes) {
    if let Ok(value) = decode::<R>(bytes) {
        assert_eq!(encode(&value), *bytes, "a message has one encoding");
    }
}

/// Reads the bytes as every question.
#[doc(hidden)]
pub fn fuzz_questions(bytes: &[u8]) {
    let bytes = &Bytes::copy_from_slice(bytes);
    one_encoding::<(Replica, Entry, u64)>(bytes);
    one_encoding::<(Entry, TimestampMs)>(bytes);
    one_encoding::<Fetch>(bytes);
    one_encoding::<(Entry, SelectRequest)>(bytes);
    one_encoding::<(Entry, LabelQuestion)>(bytes);
    one_encoding::<(TenantId, TimeRange, Vec<Vec<Matcher>>)>(bytes);
    one_encoding::<TenantId>(bytes);
    one_encoding::<(Vec<BlockName>, SelectRequest)>(bytes);
    one_encoding::<(TenantId, String)>(bytes);
    cluster::fuzzing::fuzz_group(bytes);
}

/// Reads the bytes as every answer of one message.
#[doc(hidden)]
pub fn fuzz_answers(bytes: &[u8]) {
    let bytes = &Bytes::copy_from_slice(bytes);
    one_encoding::<PushSaid>(bytes);
    one_encoding::<ListReply>(bytes);
    one_encoding::<SealReply>(bytes);
    one_encoding::<ReadReply>(bytes);
    one_encoding::<ManifestAnswer>(bytes);
    one_encoding::<SelectError>(bytes);
}

/// Reads the bytes as a message of an answer of many.
#[doc(hidden)]
pub fn fuzz_pages(bytes: &[u8]) {
    fn page<R: Record>(bytes: &Bytes) {
        match read(bytes) {
            Ok(Message::Head(from)) => drop(finished::<R>(from)),
            Ok(Message::Page(from)) => drop(items::<R>(from, &mut Vec::new())),
            Ok(Message::Series(_) | Message::End(_) | Message::Failed(_)) | Err(_) => {}
        }
    }
    let bytes = &Bytes::copy_from_slice(bytes);
    page::<Bytes>(bytes);
    page::<String>(bytes);
    page::<batch::Batch>(bytes);
    page::<Exemplars>(bytes);
    page::<(String, Metadata)>(bytes);
    page::<IndexEntry>(bytes);
    page::<ReadReply>(bytes);
    if let Ok(Message::Series(from)) = read(bytes)
        && let Ok(batch) = SeriesReader::default().page(from)
    {
        // What was read can be sent on.
        let mut pages = VecDeque::new();
        series_pages(&batch, &mut pages);
        let mut reader = SeriesReader::default();
        let again = pages.iter().flat_map(|page| match read(page) {
            Ok(Message::Series(from)) => reader.page(from).expect("what was written is read"),
            _ => unreachable!("pages of series were written"),
        });
        assert!(again.map(|series| series.chunks).eq(batch.into_iter().map(|series| series.chunks)));
    }
}
