//! Each call there and back.

use std::sync::Arc;
use std::time::Duration;

use cluster::{GenerationNumber, Role};
use futures::StreamExt;
use model::{SeriesId, TimestampMs};
use peer::{Fetch, Member, ScrapingNodes as _, Store, Stores as _, Unanswered};
use replication::replica::{ListReply, NotNow, PushReply, ReadReply, SealReply};
use storage::SelectError;

use super::support::{
    Fake, Served, World, batch, connections, exemplars, group_of_a, held, label_question, member_at, metadata, replica,
    said, select_request, series,
};
use crate::Limits;

#[tokio::test]
async fn a_push_and_each_reply_to_it_come_over_as_they_are() {
    let fake = Arc::new(Fake::default());
    let served = Served::plain(&fake);
    let (member, entry) = member_at(&served.address, Limits::default());
    let replies = [
        PushReply::Ok(GenerationNumber(1)),
        PushReply::Stale(entry.clone()),
        PushReply::NotNow(NotNow::NoMember),
        PushReply::NotNow(NotNow::Unfilled),
        PushReply::NotNow(NotNow::Unavailable),
        PushReply::Sealed(TimestampMs(7_200_000)),
        PushReply::Need((0..50_000).map(SeriesId).collect()),
        PushReply::Full { limit_bytes: 1 << 26 },
    ];
    for (seq, reply) in (0..).zip(&replies) {
        fake.push_replies.lock().push_back(reply.clone());
        // From a few bytes to nearly the bound.
        let batch = batch(seq, if seq == 1 { 100_000 } else { 3 });
        assert_eq!(member.push(entry.clone(), batch.clone()).await.as_ref(), Ok(reply));
        assert_eq!(fake.pushed.lock().pop(), Some((entry.clone(), batch.bytes().clone())));
    }
    // A member that does not answer is said not to have answered, with its name and its reason.
    fake.push_replies.lock().push_back(PushReply::Full { limit_bytes: 0 });
    let Err(Unanswered(why)) = member.push(entry, batch(9, 3)).await else { panic!("the log is gone") };
    assert_eq!(why, format!("a at {}: the log is gone", served.address));
}

#[tokio::test]
async fn what_peers_ask_comes_over_as_it_is() {
    let fake = Arc::new(Fake::default());
    let served = Served::plain(&fake);
    let (far, entry) = member_at(&served.address, Limits::default());
    let near = Fake::default();
    let puller = replica("b", 1);
    for after in [0, 5] {
        let here = near.list(puller.clone(), entry.clone(), after).await;
        assert_eq!(far.list(puller.clone(), entry.clone(), after).await, here);
    }
    assert_eq!(far.list(puller.clone(), entry.clone(), 0).await, Ok(ListReply::Truncated));
    near.asked.lock().push(fake.asked.lock().last().unwrap().clone());
    for start in [0, 1, 2].map(TimestampMs) {
        let here: Result<SealReply, _> = near.seal(entry.clone(), start).await;
        assert_eq!(far.seal(entry.clone(), start).await, here);
    }
    for first in [0, 40] {
        let group = entry.id();
        let fetch = Fetch { group, positions: (first..first + 9).collect(), define: vec![SeriesId(1), SeriesId(2)] };
        let (here, there) = (near.fetch(fetch.clone()).await.unwrap(), far.fetch(fetch).await.unwrap());
        let bytes = |batches: &[batch::Batch]| batches.iter().map(|b| b.bytes().clone()).collect::<Vec<_>>();
        let all = |fetched: Option<peer::Fetched>| fetched.map(|f| (bytes(&f.batches), bytes(&f.definitions)));
        assert_eq!(all(there), all(here));
    }
    assert_eq!(*fake.asked.lock(), *near.asked.lock());
}

#[tokio::test]
async fn what_readers_ask_comes_over_as_it_is() {
    let values = (0..30_000).map(|n| format!("value number {n} of a label")).collect();
    let own = || Fake { exemplars: vec![exemplars(3), exemplars(0)], ..Fake::default() };
    let all = vec![exemplars(3_000), peer::Exemplars { labels: super::support::labels("x"), ..exemplars(1) }];
    let fake = Arc::new(Fake { values, exemplars: all.clone(), ..own() });
    let batches = [
        series(1, &[&[100, 200, 0], &[], &[50]]),
        // A series larger than a page, and one larger than a frame of HTTP/2 by far.
        series(10, &[&[200_000; 11], &[10], &[1_500_000]]),
        Vec::new(),
        series(20, &vec![&[1usize][..]; 20_000]),
    ];
    *fake.series.lock() = batches.iter().cloned().map(Ok).collect();
    let served = Served::plain(&fake);
    let (far, entry) = member_at(&served.address, Limits::default());

    let selected = far.select(entry.clone(), select_request()).await.unwrap();
    assert_eq!(selected.reply, held());
    let came: Vec<_> = selected.series.map(Result::unwrap).collect().await;
    assert_eq!(said(&came.concat()), said(&batches.concat()));
    assert_eq!(fake.asked.lock().pop(), Some(format!("select {entry:?} {:?}", select_request())));

    let labelled = far.labels(entry.clone(), label_question()).await.unwrap();
    assert_eq!((labelled.reply, &labelled.values), (ReadReply::Stale(entry.clone()), &fake.values));
    assert_eq!(fake.asked.lock().pop(), Some(format!("labels {entry:?} {:?}", label_question())));

    let query = label_question().query;
    let came = far.exemplars(query.tenant.clone(), query.range, query.matcher_sets.clone()).await.unwrap();
    assert_eq!(came, all);
    assert_eq!(far.metadata(query.tenant).await, Ok(metadata()));
}

#[tokio::test]
async fn an_error_in_the_middle_is_an_error_of_the_stream() {
    for error in [
        SelectError::TooManySeries { limit: 7 },
        SelectError::Unreadable { what: "block 1".into(), reason: "checksum".into() },
        SelectError::Unavailable("the head".into()),
    ] {
        let fake = Arc::new(Fake::default());
        *fake.series.lock() = vec![Ok(series(1, &[&[10]])), Err(error.clone()), Ok(series(2, &[&[10]]))];
        let served = Served::plain(&fake);
        let (far, entry) = member_at(&served.address, Limits::default());
        let selected = far.select(entry, select_request()).await.unwrap();
        let came: Vec<_> = selected.series.collect().await;
        assert_eq!(came.len(), 2, "the stream ends after an error");
        assert_eq!(came[1].as_ref().unwrap_err().to_string(), error.to_string());
        assert_eq!(came[1].as_ref().unwrap_err().class(), error.class());
    }
}

#[tokio::test]
async fn stores_and_scrapers_answer_over_there_as_here() {
    let page = "{\"ä\":[1,2]}".repeat(50_000);
    let fake = Arc::new(Fake { values: vec!["a".into(), "b".into()], page, ..Fake::default() });
    *fake.series.lock() = vec![Ok(series(1, &[&[100], &[200]]))];
    let served = Served::start(&replica("s", 1), &fake, None, None, None);
    let mut world = World::born();
    world.join("s", Role::Store, &served.address);
    let (found, say) = connections(world.map(), Limits::default());
    let stores = found.stores();
    let [(name, store)] = &stores[..] else { panic!("one store") };
    assert_eq!(name.as_str(), "s");

    let blocks = vec![1, u128::MAX];
    let selected = store.select(blocks.clone(), select_request()).await.unwrap();
    assert_eq!(selected.served, blocks);
    let came: Vec<_> = selected.series.map(Result::unwrap).collect().await;
    assert_eq!(said(&came.concat()), said(&series(1, &[&[100], &[200]])));
    let near: &dyn Store = &*fake;
    let labels = store.labels(blocks.clone(), label_question()).await;
    assert_eq!(labels, near.labels(blocks, label_question()).await);
    let tenant = select_request().tenant;
    assert_eq!(store.manifest(tenant.clone(), "m".into()).await, near.manifest(tenant.clone(), "m".into()).await);
    let none = store.manifest(tenant.clone(), "none".into()).await.unwrap_err();
    assert!(none.0.contains("there is no such manifest"), "{none}");
    let range = select_request().range;
    let index = store.index(tenant.clone(), range).await.unwrap();
    assert_eq!((index.age, &index), (Duration::from_millis(1234), &near.index(tenant, range).await.unwrap()));

    // The same process, now on record as a scraper.
    let mut world = World::born();
    world.join("s", Role::Scraper, &served.address);
    say.send_replace(world.map());
    let scrapers = found.scrapers();
    let [(_, scraper)] = &scrapers[..] else { panic!("one scraper") };
    let page = scraper.ask("targets".into(), "state=active".into()).await.unwrap();
    assert_eq!(page, fake.page);
    assert_eq!(fake.asked.lock().last().unwrap(), "ask targets state=active");
}

#[tokio::test]
async fn the_entry_is_sent_until_it_is_known_and_again_to_whoever_has_forgotten_it() {
    let fake = Arc::new(Fake::default());
    let mut served = Served::plain(&fake);
    let (member, entry) = member_at(&served.address, Limits::default());
    let ok = Ok(PushReply::Ok(GenerationNumber(1)));
    for seq in 0..3 {
        assert_eq!(member.push(entry.clone(), batch(seq, 3)).await, ok);
    }
    // It is started anew with the same directory, and knows nothing.
    let address = served.address.clone();
    served.kill();
    let _again = Served::start(&replica("a", 1), &fake, Some(&address), None, None);
    super::support::until_answered(&*member, &entry).await;
    assert!(fake.pushed.lock().iter().all(|(came, _)| *came == entry));
    let (_, another) = group_of_a("elsewhere:1");
    assert_eq!(another, entry, "an equal entry that is another allocation");
    assert_eq!(member.push(another, batch(9, 3)).await, ok);
}
