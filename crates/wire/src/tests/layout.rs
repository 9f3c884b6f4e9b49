//! Bytes that were mutated, and pages at their bounds.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use cluster::GenerationNumber;
use futures::{FutureExt, Stream, StreamExt};
use model::{SeriesId, TimestampMs};
use peer::{Fetch, IndexEntry, ManifestAnswer};
use replication::replica::{ListReply, PushReply, SealReply};
use replication::{BatchKey, Listed};

use super::support::{
    batch, exemplars, group_of_a, held, label_question, metadata, replica, said, select_request, series,
};
use crate::fuzzing::{fuzz_answers, fuzz_pages, fuzz_questions};
use crate::page::{Message, SeriesReader, messages, read, series_messages, series_pages};
use crate::record::{PushSaid, encode};

/// Messages that are all there.
fn all_of(messages: impl Stream<Item = Bytes>) -> Vec<Bytes> {
    messages.collect().now_or_never().unwrap()
}

/// A message of each kind.
fn seeds() -> Vec<Bytes> {
    let (_, entry) = group_of_a("x:1");
    let select = select_request();
    let key = BatchKey { writer: 1, seq: 2 };
    let items = vec![
        (1, Listed::Batch { key, bounds: Some((TimestampMs(1), TimestampMs(2))) }),
        (2, Listed::Merged { of: replica("b", 1), position: 3 }),
    ];
    let range = select.range;
    let entries = vec![
        IndexEntry { block: 1, origin: Some((cluster::GroupId(1), TimestampMs(5))), range, set_aside: None },
        IndexEntry { block: 2, origin: None, range, set_aside: Some("why".into()) },
    ];
    let mut seeds = vec![
        encode(&(replica("a", 1), entry.clone(), 7u64)),
        encode(&(entry.clone(), TimestampMs(7))),
        encode(&(entry.clone(), select.clone())),
        encode(&(entry.clone(), label_question())),
        encode(&(select.tenant.clone(), range, vec![select.matchers.clone(), Vec::new()])),
        encode(&(vec![1u128, 2], select)),
        encode(&Fetch { group: entry.id(), positions: vec![1, 2, 3], define: vec![SeriesId(1)] }),
        encode(&PushSaid::SendEntry),
        encode(&PushSaid::Replied(PushReply::Ok(GenerationNumber(3)))),
        encode(&PushSaid::Replied(PushReply::Need(vec![SeriesId(1), SeriesId(2)]))),
        encode(&PushSaid::Replied(PushReply::Stale(entry.clone()))),
        encode(&ListReply::Listed { to: 9, items }),
        encode(&SealReply::Stale(entry.clone())),
        encode(&held()),
        encode(&ManifestAnswer { start: TimestampMs(1), blocks: vec![1, 2], hole: false }),
        Bytes::from(entry.encode()),
    ];
    let batches = vec![batch(1, 20), batch(2, 3)];
    seeds.extend(all_of(messages(&held(), batches)));
    seeds.extend(all_of(messages(&true, vec![exemplars(4)])));
    seeds.extend(all_of(messages(&true, metadata().into_iter().collect())));
    seeds.extend(all_of(messages(&true, entries)));
    let given = futures::stream::iter([Ok(series(1, &[&[10, 20], &[], &[30]]))]).boxed();
    seeds.extend(all_of(series_messages(&held(), given)));
    seeds
}

#[test]
fn mutated_messages_do_no_harm() {
    let seeds = seeds();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for round in 0..20_000 {
        let mut bytes = seeds[round % seeds.len()].to_vec();
        // The first rounds are the seeds as they are.
        for _ in 0..(if round < seeds.len() { 0 } else { 1 + next() % 3 }) {
            let at = usize::try_from(next()).unwrap() % bytes.len();
            match next() % 4 {
                0 => bytes[at] = u8::try_from(next() & 0xff).unwrap(),
                1 => bytes[at] ^= 1 << (next() % 8),
                2 => bytes.insert(at, u8::try_from(next() & 0xff).unwrap()),
                _ => bytes.truncate(at.max(1)),
            }
        }
        fuzz_questions(&bytes);
        fuzz_answers(&bytes);
        fuzz_pages(&bytes);
    }
}

#[test]
fn a_count_beyond_the_message_is_refused_before_anything_is_allocated() {
    // A list of series ids, four billion of them.
    let bytes = Bytes::from_static(&[1, 0, 4, 0xff, 0xff, 0xff, 0xff, 0, 0]);
    assert!(crate::record::decode::<PushSaid>(&bytes).is_err());
}

/// Pages of these series and what they are put together to.
fn check_pages(chunk_bytes: &[&[usize]], pages_expected: std::ops::RangeInclusive<usize>) {
    let given = series(1, chunk_bytes);
    let mut pages = VecDeque::new();
    series_pages(&given, &mut pages);
    assert!(pages_expected.contains(&pages.len()), "{} pages", pages.len());
    let (mut reader, mut all) = (SeriesReader::default(), Vec::new());
    for page in &pages {
        let Ok(Message::Series(from)) = read(page) else { panic!("a page of series") };
        all.extend(reader.page(from).unwrap());
    }
    reader.end(given.len() as u64).unwrap();
    assert!(reader.end(given.len() as u64 + 1).is_err(), "a series is missing");
    assert_eq!(said(&all), said(&given));
}

#[test]
fn pages_hold_what_fits_and_a_series_goes_on_in_the_next() {
    check_pages(&[], 0..=0);
    check_pages(&[&[]], 1..=1);
    check_pages(&[&[10, 20], &[30], &[]], 1..=1);
    check_pages(&[&[100_000; 5], &[1]], 2..=3);
    check_pages(&[&[1], &[600_000], &[1]], 2..=3);
    check_pages(&[&[600_000, 600_000, 600_000]], 3..=3);
    check_pages(&[&[261_000], &[261_000]], 2..=2);
    check_pages(&vec![&[][..]; 20_000], 3..=8);
}

#[test]
fn a_split_series_whose_rest_is_another_is_refused() {
    let mut pages = VecDeque::new();
    series_pages(&series(1, &[&[200_000; 4]]), &mut pages);
    assert!(pages.len() > 1);
    let mut other = VecDeque::new();
    series_pages(&series(2, &[&[10]]), &mut other);
    let mut reader = SeriesReader::default();
    let Ok(Message::Series(from)) = read(&pages[0]) else { panic!("a page of series") };
    assert!(reader.page(from).unwrap().is_empty(), "what goes on is held back");
    assert!(reader.end(1).is_err());
    let Ok(Message::Series(from)) = read(&other[0]) else { panic!("a page of series") };
    assert!(reader.page(from).is_err());
    // And series that are out of order.
    let mut reader = SeriesReader::default();
    let Ok(Message::Series(from)) = read(&other[0]) else { panic!("a page of series") };
    reader.page(from).unwrap();
    let Ok(Message::Series(from)) = read(&pages[0]) else { panic!("a page of series") };
    assert!(reader.page(from).is_err());
}

#[test]
fn equal_entries_have_equal_names() {
    let ((_, one), (_, two)) = (group_of_a("x:1"), group_of_a("y:1"));
    assert!(!Arc::ptr_eq(&one, &two));
    assert_eq!(crate::entries::Named::of(&one).name, crate::entries::Named::of(&two).name);
}
