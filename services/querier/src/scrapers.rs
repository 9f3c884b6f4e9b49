//! The targets of a cluster: every scraper is asked for its own, and the answers are united.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use peer::{ScrapingNode, ScrapingNodes};
use relabel::Rule;
use targets::{Question, ReadError, TargetMetadata, TargetsSnapshot, Wanted, read};

use crate::{TargetSource, Told};

/// How long a scraper may think.
const PATIENCE: Duration = Duration::from_secs(5);

/// Scrapers asked at a time: protects memory, as an answer has megabytes where targets are many.
const ASKED_MAX: usize = 16;

/// Asks all scrapers that are up.
pub struct ScrapersOfCluster {
    scrapers: Arc<dyn ScrapingNodes>,
    patience: Duration,
}

/// A name and what the scraper of that name said.
type Answered<T> = (String, T);

impl ScrapersOfCluster {
    /// Finds them by `scrapers`.
    pub fn new(scrapers: Arc<dyn ScrapingNodes>) -> ScrapersOfCluster {
        ScrapersOfCluster { scrapers, patience: PATIENCE }
    }

    /// Waits so long for each.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> ScrapersOfCluster {
        ScrapersOfCluster { patience, ..self }
    }

    /// What all say, by name, and who does not.
    async fn ask<T: Send>(&self, question: &Question, read: Read<T>) -> Told<Vec<Answered<T>>> {
        let scrapers = self.scrapers.scrapers();
        let mut told = Told::from(Vec::with_capacity(scrapers.len()));
        if scrapers.is_empty() {
            told.warnings.push("no scraper is up: nobody knows what is scraped".to_owned());
        }
        let mut asked = Vec::with_capacity(scrapers.len());
        for (name, scraper) in scrapers {
            asked.push(ask_one(name.as_str().to_owned(), scraper, question.clone(), self.patience, read));
        }
        let mut answers = stream::iter(asked).buffered(ASKED_MAX);
        while let Some((name, answer)) = answers.next().await {
            match answer {
                Ok(answer) => told.value.push((name, answer)),
                Err(why) => {
                    told.warnings.push(format!("scraper {name} did not answer, its targets are missing: {why}"));
                }
            }
        }
        told
    }

    async fn rules(&self, scrape_pool: String) -> Told<Option<Vec<Rule>>> {
        // A scraper that does not know the pool may have an older configuration: it has answered all the same.
        fn read(text: &str) -> Result<Option<Vec<Rule>>, ReadError> {
            match read::relabel_rules(text) {
                Ok(rules) => Ok(Some(rules)),
                Err(ReadError::Refused(_)) => Ok(None),
                Err(e) => Err(e),
            }
        }
        let told = self.ask(&Question::RelabelRules(scrape_pool), read).await;
        let value = told.value.into_iter().find_map(|(_, rules)| rules);
        // All have the same: who did not answer is not missed.
        let warnings = if value.is_some() { Vec::new() } else { told.warnings };
        Told { value, warnings }
    }
}

async fn ask_one<T>(
    name: String,
    scraper: Arc<dyn ScrapingNode>,
    question: Question,
    patience: Duration,
    read: Read<T>,
) -> Answered<Result<T, String>> {
    // Cancel-safe because a question changes nothing.
    let answer = scraper.ask(question.path().to_owned(), question.query());
    let answer = match tokio::time::timeout(patience, answer).await {
        Ok(Ok(text)) => read(&text).map_err(|e| e.to_string()),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err(format!("no answer within {patience:?}")),
    };
    (name, answer)
}

/// From an answer to what it says.
type Read<T> = fn(&str) -> Result<T, ReadError>;

impl TargetSource for ScrapersOfCluster {
    fn targets(&self, wanted: Wanted) -> BoxFuture<'_, Told<TargetsSnapshot>> {
        async move {
            let told = self.ask(&Question::Targets(wanted), read::targets).await;
            Told { value: TargetsSnapshot::united(told.value), warnings: told.warnings }
        }
        .boxed()
    }

    fn scrape_pools(&self) -> BoxFuture<'_, Told<Vec<String>>> {
        async move {
            let told = self.ask(&Question::ScrapePools, read::scrape_pools).await;
            let mut names: Vec<String> = told.value.into_iter().flat_map(|(_, names)| names).collect();
            names.sort_unstable();
            names.dedup();
            Told { value: names, warnings: told.warnings }
        }
        .boxed()
    }

    fn relabel_rules(&self, scrape_pool: String) -> BoxFuture<'_, Told<Option<Vec<Rule>>>> {
        self.rules(scrape_pool).boxed()
    }

    fn metadata(&self, family: Option<String>) -> BoxFuture<'_, Told<Vec<TargetMetadata>>> {
        async move {
            let told = self.ask(&Question::Metadata(family), read::metadata).await;
            Told { value: told.value.into_iter().flat_map(|(_, all)| all).collect(), warnings: told.warnings }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
