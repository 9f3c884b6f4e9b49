//! Scrapers that answer, refuse, babble, are gone or hang.

use cluster::NodeId;
use peer::{Answer, Unanswered};
use targets::{ActiveTarget, DroppedTarget, answer};

use super::*;

enum Fake {
    Holds(TargetsSnapshot),
    Says(&'static str),
    Gone,
    Hangs,
}

impl ScrapingNode for Fake {
    fn ask(&self, path: String, query: String) -> Answer<String> {
        let question = Question::parse(&path, &query).unwrap();
        let text = match (self, question) {
            (Fake::Holds(snapshot), Question::Targets(_)) => answer::targets(snapshot),
            (Fake::Holds(snapshot), Question::ScrapePools) => {
                answer::scrape_pools(&snapshot.dropped_counts.keys().cloned().collect::<Vec<_>>())
            }
            (Fake::Holds(snapshot), Question::RelabelRules(pool)) if snapshot.dropped_counts.contains_key(&pool) => {
                answer::relabel_rules(&[])
            }
            (Fake::Holds(_), Question::RelabelRules(_)) => answer::refusal("scrape pool not found"),
            (Fake::Holds(_), Question::Metadata(family)) => {
                answer::metadata(&[TargetMetadata { family: family.unwrap_or("f".to_owned()), ..Default::default() }])
            }
            (Fake::Says(text), _) => (*text).to_owned(),
            (Fake::Gone, _) => return futures::future::ready(Err(Unanswered("connection refused".to_owned()))).boxed(),
            (Fake::Hangs, _) => return futures::future::pending().boxed(),
        };
        futures::future::ready(Ok(text)).boxed()
    }
}

struct Fakes(Vec<(&'static str, Arc<dyn ScrapingNode>)>);

impl ScrapingNodes for Fakes {
    fn scrapers(&self) -> Vec<(NodeId, Arc<dyn ScrapingNode>)> {
        self.0.iter().map(|(name, node)| (NodeId::new(name).unwrap(), node.clone())).collect()
    }
}

fn cluster(fakes: Vec<(&'static str, Fake)>) -> ScrapersOfCluster {
    let fakes = fakes.into_iter().map(|(name, fake)| (name, Arc::new(fake) as Arc<dyn ScrapingNode>)).collect();
    // Those that answer do so at once, however slow the machine is.
    ScrapersOfCluster::new(Arc::new(Fakes(fakes))).with_patience(Duration::from_millis(50))
}

fn holds(pool: &str, urls: &[&str]) -> Fake {
    let active = |url: &&str| ActiveTarget {
        scrape_pool: pool.to_owned(),
        scrape_url: (*url).to_owned(),
        ..ActiveTarget::default()
    };
    Fake::Holds(TargetsSnapshot {
        active: urls.iter().map(active).collect(),
        dropped: vec![DroppedTarget { scrape_pool: pool.to_owned(), ..DroppedTarget::default() }],
        dropped_counts: [(pool.to_owned(), 2), ("z".to_owned(), 1)].into(),
    })
}

fn shown(snapshot: &TargetsSnapshot) -> Vec<String> {
    snapshot.active.iter().map(|t| format!("{} {}", t.scrape_url, t.scraper.as_deref().unwrap_or("?"))).collect()
}

#[tokio::test]
async fn all_targets_are_shown_with_who_holds_them() {
    let all =
        cluster(vec![("s1", holds("p", &["b", "d"])), ("s2", holds("p", &["a", "c"])), ("s3", holds("o", &["e"]))]);
    let told = all.targets(Wanted::all()).await;
    assert_eq!(shown(&told.value), ["e s3", "a s2", "b s1", "c s2", "d s1"]);
    let counts: Vec<_> = told.value.dropped_counts.iter().map(|(pool, n)| format!("{pool} {n}")).collect();
    assert_eq!((counts.join(" "), told.value.dropped.len(), told.warnings.len()), ("o 2 p 4 z 3".to_owned(), 3, 0));
    assert_eq!(all.scrape_pools().await, Told::from(["o", "p", "z"].map(str::to_owned).to_vec()));
    let families: Vec<_> = all.metadata(Some("m".to_owned())).await.value.into_iter().map(|m| m.family).collect();
    assert_eq!(families, ["m", "m", "m"]);
    assert!(all.relabel_rules("o".to_owned()).await.value.is_some());
    let unknown = all.relabel_rules("nope".to_owned()).await;
    assert!(unknown.value.is_none() && unknown.warnings.is_empty());
}

#[tokio::test]
async fn who_does_not_answer_is_named() {
    let all = cluster(vec![
        ("s1", Fake::Gone),
        ("s2", holds("p", &["a"])),
        ("s3", Fake::Says("{")),
        ("s4", Fake::Hangs),
        ("s5", Fake::Says(r#"{"status":"error","error":"starting"}"#)),
    ]);
    let told = all.targets(Wanted::all()).await;
    assert_eq!(shown(&told.value), ["a s2"]);
    assert_eq!(
        told.warnings,
        [
            "scraper s1 did not answer, its targets are missing: connection refused",
            "scraper s3 did not answer, its targets are missing: the answer is not JSON: EOF while parsing an object at line 1 column 1",
            "scraper s4 did not answer, its targets are missing: no answer within 50ms",
            "scraper s5 did not answer, its targets are missing: starting",
        ]
    );
    assert_eq!(all.scrape_pools().await.warnings.len(), 4);
    // One is enough for what all know.
    assert!(all.relabel_rules("p".to_owned()).await.warnings.is_empty());
    assert_eq!(all.relabel_rules("nope".to_owned()).await.warnings.len(), 3);
    let none = cluster(Vec::new()).targets(Wanted::all()).await;
    assert_eq!(none.warnings, ["no scraper is up: nobody knows what is scraped"]);
}
