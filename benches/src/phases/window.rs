//! What long history in the head costs: resident memory must not grow with the window. Narthex only: the peers put
//! such history into blocks, which is another measurement.

use anyhow::Result;

use super::running::Running;
use super::{Bench, History, Phase};
use crate::report::{Report, Unit};
use crate::system::{Purpose, System};

/// Sends the short part, looks, sends the rest, and looks again; nothing is closed meanwhile.
pub(super) fn measure(bench: &Bench, run: usize, system: &System, history: History, report: &mut Report) -> Result<()> {
    if !system.kind.is_narthex() {
        return Ok(());
    }
    let fleet = bench.fleet(bench.scale.window_targets);
    let targets = fleet.targets();
    let running = Running::start(bench, system, &fleet, &Purpose { window: Some("4y"), ..Purpose::default() })?;
    let (short, rest) = history.split(bench.scale.window_minutes.1);
    bench.send(&running.address, targets, short, 10)?;
    running.finish_writing(bench)?;
    let [rss_short, _, anon_short] = running.memory_per_series()?;
    bench.send(&running.address, targets, rest, 10)?;
    running.finish_writing(bench)?;
    let [rss_long, _, anon_long] = running.memory_per_series()?;
    let mut note = |metric, value, unit| report.note(run, system, (Phase::Window.id(), metric), value, unit);
    note("VmRSS per series, short history", rss_short, Unit::Bytes)?;
    note("VmRSS per series, long history", rss_long, Unit::Bytes)?;
    note("VmRSS, long history to short", rss_long / rss_short, Unit::Number)?;
    note("RssAnon, long history to short", anon_long / anon_short, Unit::Number)?;
    let verdict = bench.verify(&running.address, targets, history, 1)?;
    note("series that read back wrong", verdict.mismatches as f64, Unit::Number)?;
    verdict.ensure_equal()
}
