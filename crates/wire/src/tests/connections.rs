//! Who is found where, while the map changes.

use std::sync::Arc;

use cluster::{NodeState, Role};
use peer::{Member, Members as _, ScrapingNodes as _, Stores as _};
use proto::{ClientTls, Dialer};
use rustls::pki_types::PrivateKeyDer;
use tokio::sync::watch;

use super::support::{Fake, Served, World, batch, connections, group_of_a, metadata, replica, select_request};
use crate::{Connections, Limits};

fn names<T: ?Sized>(found: Vec<(cluster::NodeId, Arc<T>)>) -> String {
    found.iter().map(|(name, _)| name.as_str().to_owned()).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn only_those_that_are_up_are_found_by_role() {
    let mut world = World::born();
    let (found, say) = connections(world.map(), Limits::default());
    assert_eq!((names(found.stores()), names(found.scrapers())), (String::new(), String::new()));
    assert!(found.member(&replica("a", 1)).is_none(), "nobody knows it");
    for name in ["t", "s", "u"] {
        world.join(name, Role::Store, "127.0.0.1:1");
    }
    world.join("x", Role::Scraper, "127.0.0.1:1");
    say.send_replace(world.map());
    assert_eq!((names(found.stores()), names(found.scrapers())), ("s t u".into(), "x".into()));
    world.set("t", NodeState::Down);
    world.set("u", NodeState::Left);
    say.send_replace(world.map());
    assert_eq!(names(found.stores()), "s");
    // A member that is down may answer all the same; one that left does not.
    assert!(found.member(&replica("t", 1)).is_some());
    assert!(found.member(&replica("u", 1)).is_none());
}

#[tokio::test]
async fn a_node_that_moves_is_called_where_it_is() {
    let (first, second) = (Arc::new(Fake::default()), Arc::new(Fake::default()));
    let (here, there) = (Served::plain(&first), Served::plain(&second));
    let (map, entry) = group_of_a(&here.address);
    let (found, say) = connections(map, Limits::default());
    let member = || found.member(&replica("a", 1)).unwrap();
    assert!(Arc::ptr_eq(&member(), &member()), "one client for a replica");
    member().push(entry.clone(), batch(1, 3)).await.unwrap();
    let mut world = World::born();
    for (name, address) in [("a", there.address.as_str()), ("b", "x:1"), ("c", "x:1"), ("d", "x:1")] {
        world.join(name, Role::Ingester, address);
    }
    say.send_replace(world.map());
    member().push(entry, batch(2, 3)).await.unwrap();
    assert_eq!((first.pushed.lock().len(), second.pushed.lock().len()), (1, 1));
}

#[tokio::test]
async fn what_lives_in_the_process_is_not_called_through_a_socket() {
    let mut world = World::born();
    world.join("a", Role::Ingester, "127.0.0.1:1");
    world.join("s", Role::Store, "127.0.0.1:1");
    world.join("x", Role::Scraper, "127.0.0.1:1");
    let (found, _say) = connections(world.map(), Limits::default());
    let fake = Arc::new(Fake::default());
    found.set_own_member(replica("a", 1), fake.clone());
    found.set_own_store(replica("s", 1).node, fake.clone());
    found.set_own_scraper(replica("x", 1).node, fake.clone());
    let tenant = select_request().tenant;
    assert_eq!(found.member(&replica("a", 1)).unwrap().metadata(tenant.clone()).await, Ok(metadata()));
    assert!(found.member(&replica("a", 2)).unwrap().metadata(tenant.clone()).await.is_err(), "another incarnation");
    found.stores()[0].1.index(tenant, select_request().range).await.unwrap();
    found.scrapers()[0].1.ask("targets".into(), String::new()).await.unwrap();
    assert_eq!(fake.asked.lock().len(), 3);
}

#[tokio::test]
async fn nodes_speak_tls_with_certificates_of_both_sides() {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let fake = Arc::new(Fake::default());
    let served = Served::start(&replica("a", 1), &fake, None, Some(Arc::new(tls)), None);
    let (map, entry) = group_of_a(&served.address);
    let identity = Some((certificate.pem(), key.serialize_pem()));
    let trusted = ClientTls { authorities: authority.pem(), identity };
    let unknown = ClientTls { authorities: authority.pem(), identity: None };
    for (client, is_trusted) in [(Some(trusted), true), (Some(unknown), false), (None, false)] {
        let (_say, map) = watch::channel(map.clone());
        let found = Connections::new("c", Dialer::new(client), map, Limits::default());
        let member: Arc<dyn Member> = found.member(&replica("a", 1)).unwrap();
        let pushed = member.push(entry.clone(), batch(1, 1000)).await;
        assert_eq!(pushed.is_ok(), is_trusted, "{pushed:?}");
    }
    assert_eq!(fake.pushed.lock().len(), 1);
}
