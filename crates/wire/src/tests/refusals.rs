//! What is not meant for a node, or is no message, ends with a status and changes nothing.

use std::sync::Arc;

use bytes::Bytes;
use cluster::{ClusterMap, Role};
use peer::{Members as _, Unanswered};
use proto::Dialer;
use proto::v1::ingester_client::IngesterClient;
use proto::v1::{Frame, PeerRequest, PushRequest, Recipient};
use replication::replica::PushReply;
use tokio::sync::watch;
use tonic::Code;
use tonic::transport::Channel;

use super::support::{Fake, PATIENCE, Served, World, batch, connections, group_of_a, replica, select_request};
use crate::entries::Named;
use crate::record::{PushSaid, decode, encode};
use crate::{Connections, Limits};

#[tokio::test]
async fn a_call_for_another_cluster_node_or_incarnation_changes_nothing() {
    let fake = Arc::new(Fake::default());
    let served = Served::plain(&fake);
    let (map, entry) = group_of_a(&served.address);
    let (_say, other) = watch::channel(map.clone());
    let elsewhere = Connections::new("other", Dialer::default(), other, Limits::default());
    let (ours, _say) = connections(map, Limits::default());
    // A node that took over the address of another.
    let mut world = World::born();
    world.join("b", Role::Ingester, &served.address);
    let (moved, _say) = connections(world.map(), Limits::default());
    for (member, expected) in [
        (elsewhere.member(&replica("a", 1)), "this is cluster \"c\", not \"other\""),
        (ours.member(&replica("a", 2)), "this is a/0000000000000001, not a/0000000000000002"),
        (moved.member(&replica("b", 1)), "this is a/0000000000000001, not b/0000000000000001"),
    ] {
        let member = member.unwrap();
        let errors = [
            member.push(entry.clone(), batch(1, 3)).await.map(drop),
            member.select(entry.clone(), select_request()).await.map(drop),
            member.metadata(select_request().tenant).await.map(drop),
        ];
        for error in errors {
            let Err(Unanswered(why)) = error else { panic!("refused: {expected}") };
            assert!(why.ends_with(expected), "{why}");
        }
    }
    assert!(fake.asked.lock().is_empty() && fake.pushed.lock().is_empty());
}

async fn raw(served: &Served) -> IngesterClient<Channel> {
    IngesterClient::new(Dialer::default().dial(&served.address, PATIENCE).unwrap())
}

fn to_a() -> Option<Recipient> {
    Some(Recipient { cluster: "c".into(), node: "a".into(), incarnation: 1 })
}

/// A push that is as it should be.
fn good() -> PushRequest {
    let (_, entry) = group_of_a("x:1");
    let named = Named::of(&entry);
    PushRequest {
        to: to_a(),
        group: named.name.group,
        generation: named.name.generation,
        entry_crc32c: named.name.crc32c,
        entry: Some(named.frame),
        batch: Some(proto::seal(batch(1, 10).bytes().clone())),
    }
}

#[tokio::test]
async fn a_push_that_is_not_whole_changes_nothing() {
    let fake = Arc::new(Fake::default());
    let served = Served::plain(&fake);
    let mut client = raw(&served).await;
    let frame = |bytes: Bytes| Some(proto::seal(bytes));
    let bytes = batch(1, 10).bytes().clone();
    type Spoil = Box<dyn Fn(&mut PushRequest)>;
    let spoiled: [(&str, Code, Spoil); 13] = [
        ("no recipient", Code::InvalidArgument, Box::new(|p| p.to = None)),
        ("no batch", Code::InvalidArgument, Box::new(|p| p.batch = None)),
        ("cut short", Code::DataLoss, {
            let bytes = bytes.clone();
            Box::new(move |p| p.batch.as_mut().unwrap().payload = bytes.slice(..bytes.len() - 1))
        }),
        ("one bit", Code::DataLoss, Box::new(|p| p.batch.as_mut().unwrap().crc32c ^= 1)),
        ("unknown frame", Code::Unimplemented, Box::new(|p| p.batch.as_mut().unwrap().version = 2)),
        ("too large", Code::InvalidArgument, Box::new(move |p| p.batch = frame(vec![1; (1 << 20) + 1].into()))),
        ("far too large", Code::OutOfRange, Box::new(move |p| p.batch = frame(vec![1; 5 << 20].into()))),
        ("unknown batch", Code::InvalidArgument, Box::new(move |p| p.batch = frame(vec![9; 100].into()))),
        ("no batch at all", Code::InvalidArgument, Box::new(move |p| p.batch = frame(Bytes::new()))),
        ("another group", Code::InvalidArgument, Box::new(|p| p.group = 3)),
        ("another generation", Code::InvalidArgument, Box::new(|p| p.generation = 3)),
        ("another entry", Code::InvalidArgument, Box::new(|p| p.entry_crc32c ^= 1)),
        ("no entry", Code::InvalidArgument, Box::new(move |p| p.entry = frame(Bytes::from_static(b"entry")))),
    ];
    for (what, code, spoil) in spoiled {
        let mut push = good();
        spoil(&mut push);
        let status = client.push(push).await.expect_err(what);
        assert_eq!(status.code(), code, "{what}: {}", status.message());
    }
    assert!(fake.pushed.lock().is_empty());
    client.push(good()).await.unwrap();
    assert_eq!(fake.pushed.lock().len(), 1);
    // A batch of another group than the entry's.
    let mut push = good();
    let mut bytes = bytes.to_vec();
    bytes[1] = 3;
    push.batch = Some(proto::seal(bytes.into()));
    assert_eq!(client.push(push).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(fake.pushed.lock().len(), 1);
}

#[tokio::test]
async fn an_entry_that_is_only_named_is_asked_for_unless_it_is_known() {
    let known: [(Option<Arc<ClusterMap>>, bool); 2] = [(None, false), (Some(group_of_a("x:1").0), true)];
    for (map, is_known) in known {
        let fake = Arc::new(Fake::default());
        let channel = map.map(watch::channel);
        let map = channel.as_ref().map(|(_, map)| map.clone());
        let served = Served::start(&replica("a", 1), &fake, None, None, map);
        let mut client = raw(&served).await;
        let mut said = async |push: PushRequest| -> PushSaid {
            let reply = client.push(push).await.unwrap().into_inner();
            decode(&proto::open(reply.frame, 1000).unwrap()).unwrap()
        };
        let ok = PushSaid::Replied(PushReply::Ok(cluster::GenerationNumber(1)));
        let first = said(PushRequest { entry: None, ..good() }).await;
        assert_eq!(first, if is_known { ok.clone() } else { PushSaid::SendEntry });
        assert_eq!(said(good()).await, ok);
        assert_eq!(said(PushRequest { entry: None, ..good() }).await, ok);
        let unknown = PushRequest { entry: None, generation: 2, ..good() };
        assert_eq!(said(unknown).await, PushSaid::SendEntry);
        let (_, entry) = group_of_a("x:1");
        assert!(fake.pushed.lock().iter().all(|(came, _)| *came == entry));
        assert_eq!(fake.pushed.lock().len(), if is_known { 3 } else { 2 });
    }
}

#[tokio::test]
async fn a_question_that_is_not_whole_is_not_asked() {
    let fake = Arc::new(Fake::default());
    let served = Served::plain(&fake);
    let mut client = raw(&served).await;
    let (_, entry) = group_of_a("x:1");
    let question = encode(&(entry, select_request()));
    let sealed = |bytes: Bytes| Some(proto::seal(bytes));
    let other_version = [&[9], &question[1..]].concat();
    let longer = [&question[..], &[0]].concat();
    let spoiled: [(&str, Code, Option<Frame>); 6] = [
        ("none", Code::InvalidArgument, None),
        ("cut short", Code::InvalidArgument, sealed(question.slice(..question.len() - 1))),
        ("too long", Code::InvalidArgument, sealed(longer.into())),
        ("another version", Code::Unimplemented, sealed(other_version.into())),
        ("one bit", Code::DataLoss, sealed(question.clone()).map(|f| Frame { crc32c: f.crc32c ^ 1, ..f })),
        ("unknown frame", Code::Unimplemented, sealed(question.clone()).map(|f| Frame { version: 7, ..f })),
    ];
    for (what, code, frame) in spoiled {
        let status = client.select(PeerRequest { to: to_a(), frame }).await.expect_err(what);
        assert_eq!(status.code(), code, "{what}: {}", status.message());
    }
    assert!(fake.asked.lock().is_empty());
    client.select(PeerRequest { to: to_a(), frame: sealed(question) }).await.unwrap();
    assert_eq!(fake.asked.lock().len(), 1);
}
