//! What can be asked of a scraper: a path below `/api/v1/` and a query, as of the HTTP API.

/// Which targets are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Those of one pool; of all where it is empty.
    pub scrape_pool: String,
    /// Those that are scraped.
    pub active: bool,
    /// Those that were dropped.
    pub dropped: bool,
}

/// A question about targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// `targets`
    Targets(Wanted),
    /// `scrape_pools`
    ScrapePools,
    /// `targets/metadata`, of one family or of all.
    Metadata(Option<String>),
    /// `targets/relabel_steps`, for the rules of a pool. The steps themselves are the caller's to make.
    RelabelRules(String),
}

/// A question that is none, or one that a scraper alone cannot answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownQuestion {
    /// The path.
    #[error("a scraper knows nothing of {0:?}")]
    Path(String),
    /// A parameter that would change the answer.
    #[error("a scraper does not act on the parameter {0:?}")]
    Parameter(String),
    /// A parameter that is missing.
    #[error("no {0} parameter provided")]
    Missing(&'static str),
    /// Something else.
    #[error("the query cannot be decoded")]
    Query,
}

impl Wanted {
    /// Everything.
    pub fn all() -> Wanted {
        Wanted { scrape_pool: String::new(), active: true, dropped: true }
    }

    /// By the parameter `state`, as Prometheus reads it.
    pub fn of(scrape_pool: String, state: &str) -> Wanted {
        let state = state.to_lowercase();
        let shows = |what: &str| state.is_empty() || state == "any" || state == what;
        Wanted { scrape_pool, active: shows("active"), dropped: shows("dropped") }
    }

    /// Whether targets of this pool are among them.
    pub fn takes_pool(&self, pool: &str) -> bool {
        self.scrape_pool.is_empty() || self.scrape_pool == pool
    }

    fn state(&self) -> &'static str {
        match (self.active, self.dropped) {
            (true, true) => "any",
            (true, false) => "active",
            (false, true) => "dropped",
            (false, false) => "none",
        }
    }
}

impl Question {
    /// The path below `/api/v1/`.
    pub fn path(&self) -> &'static str {
        match self {
            Question::Targets(_) => "targets",
            Question::ScrapePools => "scrape_pools",
            Question::Metadata(_) => "targets/metadata",
            Question::RelabelRules(_) => "targets/relabel_steps",
        }
    }

    /// The query.
    pub fn query(&self) -> String {
        match self {
            Question::Targets(wanted) if wanted.scrape_pool.is_empty() => format!("state={}", wanted.state()),
            Question::Targets(wanted) => {
                format!("state={}&scrapePool={}", wanted.state(), escaped(&wanted.scrape_pool))
            }
            Question::ScrapePools | Question::Metadata(None) => String::new(),
            Question::Metadata(Some(family)) => format!("metric={}", escaped(family)),
            Question::RelabelRules(pool) => format!("scrapePool={}&labels=%7B%7D", escaped(pool)),
        }
    }

    /// Reads both.
    pub fn parse(path: &str, query: &str) -> Result<Question, UnknownQuestion> {
        let known: &[&str] = match path {
            "targets" => &["state", "scrapePool"],
            "scrape_pools" => &[],
            "targets/metadata" => &["metric"],
            "targets/relabel_steps" => &["scrapePool", "labels"],
            _ => return Err(UnknownQuestion::Path(path.to_owned())),
        };
        let mut pairs = Vec::new();
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = unescaped(name).ok_or(UnknownQuestion::Query)?;
            if !known.contains(&name.as_str()) {
                return Err(UnknownQuestion::Parameter(name));
            }
            pairs.push((name, unescaped(value).ok_or(UnknownQuestion::Query)?));
        }
        let get = |name: &str| pairs.iter().find(|(n, _)| n == name).map_or(String::new(), |(_, v)| v.clone());
        Ok(match path {
            "targets" => Question::Targets(Wanted::of(get("scrapePool"), &get("state"))),
            "scrape_pools" => Question::ScrapePools,
            "targets/metadata" => Question::Metadata(Some(get("metric")).filter(|family| !family.is_empty())),
            _ if get("scrapePool").is_empty() => return Err(UnknownQuestion::Missing("scrapePool")),
            // The output of each step depends on the labels; the rules do not.
            _ if !matches!(get("labels").as_str(), "" | "{}") => {
                return Err(UnknownQuestion::Parameter("labels".to_owned()));
            }
            _ => Question::RelabelRules(get("scrapePool")),
        })
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn unescaped(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
                u8::try_from(digit()? << 4 | digit()?).ok()?
            }
            b'+' => b' ',
            b => b,
        });
    }
    String::from_utf8(out).ok()
}
