//! When an answer is complete, and what is named where it is not.

use super::*;
use crate::manifest::Manifest;
use crate::quorum::Flags;
use crate::tests_support::{at, entry, id};
use cluster::{ClusterId, GenerationNumber};

const TIMING: Timing = Timing { hedge_after: DurationMs::secs(1), give_up_after: DurationMs::secs(10) };

fn reader(exchanged: usize) -> Reader {
    Reader::new(entry(3, exchanged), TimeRange::new(at(0), at(600)), TIMING, at(0), Rules::ALL)
}

fn held(generation: u64, filled: bool, dropped: &[(i64, &str)], watermark: TimestampMs) -> ReadReply {
    let flags = Flags { generation: GenerationNumber(generation), filled };
    let dropped = dropped.iter().map(|(minute, name)| (at(*minute), ManifestName::from(*name))).collect();
    ReadReply::Held { flags, dropped, watermark }
}

fn plain(generation: u64) -> ReadReply {
    held(generation, true, &[], TimestampMs::MIN)
}

fn asked(asks: &[Ask]) -> Vec<String> {
    let word = |ask: &Ask| match ask {
        Ask::Replica { to, entry } => format!("{} at {}", to.node, entry.newest().number),
        Ask::Manifest { name, .. } => format!("manifest {name}"),
        Ask::Block(block) => format!("block {block}"),
        Ask::Index => "index".to_owned(),
    };
    asks.iter().map(word).collect()
}

#[test]
fn a_majority_is_asked_and_the_rest_when_it_is_slow() {
    let mut reader = reader(0);
    assert_eq!(asked(&reader.begin(&[id(3)])), ["n3 at 1", "n1 at 1"]);
    assert_eq!(reader.tick(at(0)), (vec![], false));
    let (asks, give_up) = reader.tick(at(0) + DurationMs::secs(1));
    assert_eq!((asked(&asks), give_up), (vec!["n2 at 1".to_owned()], false));
    assert!(reader.replied(&id(2), &plain(1)));
    assert!(!reader.is_done());
    assert!(reader.replied(&id(3), &plain(1)));
    assert!(reader.is_done());
    assert!(!reader.replied(&id(1), &plain(1)), "too late to belong to the answer");
}

#[test]
fn nobody_answers() {
    let mut reader = reader(0);
    reader.begin(&[]);
    reader.replied(&id(1), &plain(1));
    assert!(reader.tick(at(1)).1);
    let missing = Missing { group: GroupId(0), range: TimeRange::new(at(0), at(600)), why: Why::Replicas };
    assert_eq!(reader.missing(&[]), [missing]);
}

#[test]
fn a_later_generation_begins_the_query_again() {
    let mut reader = reader(0);
    reader.begin(&[]);
    reader.replied(&id(1), &plain(1));
    let asks = reader.learn(&entry(3, 1)).unwrap();
    // Majorities of both generations: two members that are in both.
    assert_eq!(asked(&asks), ["n1 at 2", "n2 at 2"]);
    assert!(!reader.replied(&id(2), &plain(1)), "of the generation before");
    reader.replied(&id(1), &plain(2));
    assert!(!reader.replicas_done());
    reader.replied(&id(2), &plain(2));
    assert!(reader.is_done());
}

#[test]
fn the_flag_of_the_reply_counts_and_not_what_is_known_later() {
    let mut control = crate::tests_support::Control::new(3);
    control.replace(3, 4);
    let unfilled = std::sync::Arc::new(control.group());
    control.filled(4);
    let filled = std::sync::Arc::new(control.group());
    let mut reader = Reader::new(unfilled, TimeRange::new(at(0), at(9)), TIMING, at(0), Rules::ALL);
    reader.begin(&[]);
    reader.hedge();
    reader.replied(&id(4), &held(2, false, &[], TimestampMs::MIN));
    reader.replied(&id(1), &plain(2));
    assert!(reader.learn(&filled).is_none(), "the same generation: the query goes on");
    assert!(!reader.replicas_done(), "n4 answered when it was not filled");
    reader.replied(&id(2), &plain(2));
    assert!(reader.is_done());
}

#[test]
fn dropped_ranges_are_answered_by_the_blocks_of_their_manifests() {
    let mut reader = reader(0);
    reader.begin(&[]);
    reader.replied(&id(1), &held(1, true, &[(120, "m2")], TimestampMs::MIN));
    reader.replied(&id(2), &held(1, true, &[(120, "m2"), (240, "m4")], TimestampMs::MIN));
    assert_eq!(asked(&reader.blocks_wanted()), ["manifest m2", "manifest m4"]);
    let manifest = |minute, blocks: &[BlockName], holes| Manifest {
        cluster: ClusterId(1),
        group: GroupId(0),
        generation: GenerationNumber(1),
        start: at(minute),
        sealed: vec![],
        blocks: blocks.to_vec(),
        holes,
    };
    reader.manifest_read(&manifest(120, &[7, 8], vec![]));
    reader.manifest_read(&manifest(360, &[6], vec![]));
    reader.block_read(8);
    assert_eq!(asked(&reader.blocks_wanted()), ["manifest m4", "block 7"]);
    let missing = |start, why| Missing { group: GroupId(0), range: TimeRange::new(at(start), at(start + 120)), why };
    assert_eq!(reader.missing(&[]), [missing(240, Why::Manifest), missing(120, Why::Block(7))]);
    reader.block_read(7);
    reader.manifest_read(&manifest(240, &[], vec![]));
    assert!(reader.is_done());
    let hole = TimeRange::new(at(360), at(480));
    assert_eq!(reader.missing(&[hole]), [missing(360, Why::Hole)], "lost for good");
    reader.manifest_read(&manifest(240, &[], vec![model::TenantId::anonymous()]));
    assert_eq!(reader.missing(&[]), [missing(240, Why::Hole)], "a tenant could not be cut");
}

#[test]
fn what_is_behind_the_watermark_is_the_indexs() {
    let mut reader = reader(0);
    reader.begin(&[]);
    reader.replied(&id(1), &held(1, true, &[], at(120)));
    reader.replied(&id(2), &plain(1));
    let missing = Missing { group: GroupId(0), range: TimeRange::new(at(0), at(120)), why: Why::Index };
    assert_eq!(reader.missing(&[]), std::slice::from_ref(&missing));
    assert_eq!(asked(&reader.blocks_wanted()), ["index"]);
    reader.index_read(Index { blocks: vec![(at(0), 5), (at(120), 6)], is_young: false });
    assert_eq!(reader.missing(&[]).last(), Some(&missing), "too old");
    reader.index_read(Index { blocks: vec![(at(0), 5)], is_young: true });
    assert_eq!(asked(&reader.blocks_wanted()), ["block 5"]);
    reader.block_read(5);
    assert!(reader.is_done());
}
