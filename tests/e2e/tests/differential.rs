//! Random expressions: Narthex and Prometheus answer alike, warnings and errors included.
//!
//! Against a Prometheus 3 (`NARTHEX_PROMETHEUS`) the whole language, ten thousand expressions with `NARTHEX_FULL=1`; against
//! Debian's 2.42 what `since.rs` leaves of it. Each round has samples of its own and features of its own. Only two things are
//! let pass, and counted: what Prometheus itself answers differently when asked again (of `info()` also beside a selector that
//! adds nothing), and which of equal values `topk` chose.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use e2e::api::Range;
use e2e::narthex::{Server, Setup};
use e2e::random::{self, Random};
use e2e::write;
use serde_json::Value;

mod answers;
mod grammar;
mod samples;
mod since;
mod stats;

use answers::{Answer, Strictness, When};
use grammar::{Expression, Grammar};
use samples::{BASE_MS, LENGTH_MS};
use since::Language;

/// Expressions that are asked of one set of samples.
const ROUND: usize = 500;
/// How often Prometheus is asked again where it says something else.
const REPEATS: usize = 40;
/// Of a hundred answers so many may be empty.
const EMPTY_PERCENT_MAX: usize = 20;
/// Of a thousand expressions so many may be let pass.
const PASSED_PER_MILLE_MAX: usize = 30;

const FEATURES: &str = "promql-experimental-functions,promql-extended-range-selectors,promql-binop-fill-modifiers,\
    promql-per-step-stats";
/// What was answered otherwise once, one a line; a line that begins with `-- ` says what it is about.
const FIXED: &str = include_str!("differential/fixed.txt");

/// On in every other round.
const DELAYED: &str = ",promql-delayed-name-removal";

/// What is to occur beside all functions, operators and aggregations, which Prometheus itself names.
const CONSTRUCTS: &str = "NaN|Inf|string|bool|on|ignoring|group_left|group_right|by|without|offset|@|@ start()|@ end()|\
    offset into the future|subquery|subquery without a step|unary -|unary +|parentheses|range selector|= in a matcher|\
    != in a matcher|=~ in a matcher|!~ in a matcher|a selector without a name";
const CONSTRUCTS_NEWER: &str = "fill|fill_left|fill_right|fill_left and fill_right|anchored|smoothed|smoothed instant|\
    duration expression|duration step()|duration range()|duration min_of|duration max_of|duration +|duration -|\
    duration *|duration /|duration %|duration ^|offset of a duration expression|duration as number|native histogram|\
    custom buckets|floats and histograms in one series|UTF-8 names|</|>/";

#[test]
fn random_expressions_are_answered_as_prometheus_answers_them() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(probe) = Setup::prometheus(&folder.path().join("probe"))? else { return Ok(()) };
    let language = if probe.is_prometheus_3()? { Language::Newer } else { Language::Old };
    let full = e2e::variable("NARTHEX_FULL").is_some();
    let rounds = if full { 20 } else { 2 };
    let mut random = Random::new(random::seed("differential"));
    let mut tally = Tally::default();
    for round in 0..rounds {
        let features = match (language, round % 2) {
            (Language::Old, _) => String::new(),
            (Language::Newer, 0) => FEATURES.to_owned(),
            (Language::Newer, _) => format!("{FEATURES}{DELAYED}"),
        };
        let folder = folder.path().join(round.to_string());
        run(&folder, language, &features, &mut Random::new(random.bits()), &mut tally)
            .with_context(|| format!("round {round}"))?;
    }
    tally.verdict(language, rounds * ROUND)
}

/// One set of samples, and the expressions that are asked of it.
fn run(
    folder: &std::path::Path,
    language: Language,
    features: &str,
    random: &mut Random,
    tally: &mut Tally,
) -> Result<()> {
    let window = "storage:\n  tsdb:\n    out_of_order_time_window: 20y\n";
    let mut narthex = Setup::narthex(&folder.join("narthex"))?.with_config(window);
    let mut prometheus = Setup::prometheus(&folder.join("prometheus"))?.context("it was there before")?;
    if !features.is_empty() {
        let flag = format!("--enable-feature={features}");
        (narthex, prometheus) = (narthex.with_flag(&flag), prometheus.with_flag(&flag));
    }
    let (mut ours, mut theirs) = (narthex.start()?, prometheus.start()?);
    let series = samples::all(random, language);
    for server in [&mut ours, &mut theirs] {
        // No two samples of a series come at once: in a request, floats come before histograms whatever their times.
        write::push_in_slices(&mut server.client, &series, 10_000)?;
    }
    if language.is_newer() {
        tally.names = names(&mut theirs)?;
    }
    let mut asked = Asked { ours, theirs, language, features };
    if language.is_newer() {
        asked.fixed(tally)?;
    }
    for _ in 0..ROUND {
        let seed = random.bits();
        asked.one(&mut Random::new(seed), tally)?;
    }
    Ok(())
}

/// What Prometheus says that its language has.
fn names(server: &mut Server) -> Result<Vec<String>> {
    let response = server.client.get("/api/v1/features")?.success("features")?;
    let body: Value = serde_json::from_slice(&response.body).context("features")?;
    let of = |part: &str| body["data"][part].as_object().map(|names| names.keys().cloned().collect::<Vec<_>>());
    let functions = of("promql_functions").context("no functions")?;
    let operators = of("promql_operators").context("no operators")?;
    // They stand in matchers, and are counted as such.
    let operators = operators.into_iter().filter(|name| !["=~", "!~"].contains(&name.as_str()));
    Ok(functions.into_iter().chain(operators).collect())
}

/// What came of it.
#[derive(Default)]
struct Tally {
    names: Vec<String>,
    constructs: BTreeMap<&'static str, usize>,
    asked: usize,
    empty: usize,
    errors: usize,
    annotated: usize,
    histograms: usize,
    ties: usize,
    unstable: usize,
    by_querier: usize,
    failures: usize,
}

/// Two servers with the same samples.
struct Asked<'a> {
    ours: Server,
    theirs: Server,
    language: Language,
    features: &'a str,
}

impl Asked<'_> {
    /// What was answered otherwise once.
    fn fixed(&mut self, tally: &mut Tally) -> Result<()> {
        let range = |from: i64, minutes: i64, step_ms: i64| {
            let start_ms = BASE_MS + from * 60_000;
            When::Over(Range { start_ms, end_ms: start_ms + minutes * 60_000, step_ms })
        };
        let whens = [
            When::At(BASE_MS + 20 * 60_000),
            When::At(BASE_MS + 50 * 60_000 + 7),
            range(30, 40, 60_000),
            range(5, 1, 300_000),
        ];
        let passed = (tally.ties, tally.unstable, tally.by_querier);
        for line in FIXED.lines().filter(|line| !line.starts_with("-- ")) {
            for when in whens {
                self.compare(&Expression { text: line.to_owned(), ..Expression::default() }, when, tally)?;
            }
        }
        // The bound on what is let pass is one of random expressions.
        (tally.ties, tally.unstable, tally.by_querier) = passed;
        stats::compare(&mut self.ours, &mut self.theirs, &whens)
    }

    fn one(&mut self, random: &mut Random, tally: &mut Tally) -> Result<()> {
        let in_range = random.below(2) == 0;
        let when = self.when(random, in_range);
        let expression = Grammar::expression(random, self.language, in_range);
        let theirs = self.compare(&expression, when, tally)?;
        tally.asked += 1;
        tally.empty += usize::from(theirs.is_empty());
        tally.errors += usize::from(theirs.is_error());
        tally.annotated += usize::from(!theirs.annotations().is_empty());
        tally.histograms += usize::from(theirs.has_histograms());
        for construct in &expression.constructs {
            *tally.constructs.entry(construct).or_default() += 1;
        }
        Ok(())
    }

    /// Asks both; what Prometheus says.
    fn compare(&mut self, expression: &Expression, when: When, tally: &mut Tally) -> Result<Answer> {
        let theirs = answers::ask(&mut self.theirs, &expression.text, when)?;
        let ours = answers::ask(&mut self.ours, &expression.text, when);
        self.ours.process.ensure_running().with_context(|| expression.text.clone())?;
        let ours = ours.with_context(|| expression.text.clone())?;
        let strictness = self.strictness(expression, when);
        let Some(why) = answers::difference(&ours, &theirs, strictness) else { return Ok(theirs) };
        if self.is_unstable(expression, when, &theirs, strictness)? {
            tally.unstable += 1;
        } else if self.depends_on_the_querier(expression, when, &ours, strictness)? {
            tally.by_querier += 1;
        } else if self.has_ties(expression)? {
            tally.ties += 1;
        } else {
            let (text, when) = (&expression.text, when.text());
            let (features, said) = (self.features, theirs.excerpt());
            eprintln!("{text}\n  {when} [{features}]\n  {why}\n  ours:   {}\n  theirs: {said}", ours.excerpt());
            tally.failures += 1;
        }
        Ok(theirs)
    }

    /// On a sample's time or beside it, at one time or several.
    fn when(&self, random: &mut Random, in_range: bool) -> When {
        let beside = match self.language {
            Language::Old => since::RESIDUE_MS,
            Language::Newer if random.below(2) == 0 => 0,
            Language::Newer => random.below(15_000).cast_signed(),
        };
        let minutes = (LENGTH_MS / 60_000).unsigned_abs() - 4;
        let start_ms = BASE_MS + 120_000 + random.below(minutes).cast_signed() * 60_000 + beside;
        if !in_range {
            return When::At(start_ms);
        }
        let steps = [15_000, 30_000, 60_000, 45_000, 97_000, 300_000, 13_000];
        let step_ms = steps[random.below(steps.len() as u64) as usize];
        let end_ms = start_ms + step_ms * random.below(30).cast_signed() + random.below(2).cast_signed() * 1000;
        When::Over(Range { start_ms, end_ms, step_ms })
    }

    fn strictness(&self, expression: &Expression, when: When) -> Strictness {
        let sorts = ["sort_by_label(", "sort_by_label_desc("].iter().any(|name| expression.text.starts_with(name));
        let order = matches!(when, When::Over(_)) || sorts;
        Strictness { texts: self.language.is_newer(), order }
    }

    /// Whether Prometheus says something else when it is asked again.
    fn is_unstable(
        &mut self,
        expression: &Expression,
        when: When,
        first: &Answer,
        strictness: Strictness,
    ) -> Result<bool> {
        for _ in 0..REPEATS {
            let again = answers::ask(&mut self.theirs, &expression.text, when)?;
            if answers::difference(&again, first, strictness).is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether Prometheus says what we say as soon as a selector stands beside the expression that adds nothing but reads further
    /// back. Chunks that ended before what the written selectors read are not looked at for `info()`, though its own lookback
    /// goes further: then the answer hangs on where Prometheus' storage began a chunk.
    fn depends_on_the_querier(
        &mut self,
        expression: &Expression,
        when: When,
        ours: &Answer,
        strictness: Strictness,
    ) -> Result<bool> {
        if !expression.text.contains("info(") {
            return Ok(false);
        }
        let widened = format!("({}) unless on () last_over_time(there_is_no_such_series[1h])", expression.text);
        let again = answers::ask(&mut self.theirs, &widened, when)?;
        Ok(answers::difference(ours, &again, strictness).is_none())
    }

    /// Whether values that `topk` chose from were ever equal.
    fn has_ties(&mut self, expression: &Expression) -> Result<bool> {
        let whole = Range { start_ms: BASE_MS, end_ms: BASE_MS + LENGTH_MS, step_ms: 15_000 };
        for vector in &expression.chosen_from {
            // As often as a value is there again.
            let ties = format!("count(({vector})) - count(count_values without () (\"tied\", ({vector})))");
            let ties = ties.replace("count_values without ()", "count_values");
            let answer = answers::ask(&mut self.theirs, &ties, When::Over(whole))?;
            let series = answer.body["data"]["result"].as_array().into_iter().flatten();
            let values = series.into_iter().flat_map(|one| one["values"].as_array().into_iter().flatten());
            if values.into_iter().any(|sample| sample[1] != "0") {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Tally {
    fn verdict(&self, language: Language, expected: usize) -> Result<()> {
        let Tally { asked, empty, errors, annotated, histograms, ties, unstable, by_querier, .. } = self;
        eprintln!(
            "differential: {asked} expressions, {empty} empty, {errors} errors, {annotated} with annotations, {histograms} \
             with histograms, {} constructs; {ties} chose otherwise among equals, {unstable} are answered differently \
             when asked twice, {by_querier} beside another selector; {} answered otherwise",
            self.constructs.len(),
            self.failures
        );
        let most = if language.is_newer() { 0 } else { since::DIFFERING_MAX };
        ensure!(self.failures <= most, "{} are answered otherwise", self.failures);
        ensure!(*asked == expected, "{asked} of {expected} were asked");
        ensure!(empty * 100 <= asked * EMPTY_PERCENT_MAX, "{empty} of {asked} are empty");
        ensure!(
            (ties + unstable + by_querier) * 1000 <= asked * PASSED_PER_MILLE_MAX,
            "{ties} ties and {unstable} unstable"
        );
        let mut wanted: Vec<&str> = CONSTRUCTS.split('|').collect();
        if language.is_newer() {
            wanted.extend(CONSTRUCTS_NEWER.split('|'));
            wanted.extend(self.names.iter().map(String::as_str));
            ensure!(*errors > 0 && *annotated > 0 && *histograms > 0, "no errors, annotations or histograms");
        }
        let missing: Vec<&str> = wanted.into_iter().filter(|name| !self.constructs.contains_key(name)).collect();
        ensure!(missing.is_empty(), "these did not occur: {missing:?}");
        Ok(())
    }
}
