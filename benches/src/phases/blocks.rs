//! Bytes per sample on disk, once what was loaded is in blocks (VictoriaMetrics: merged parts).

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::running::Running;
use super::{Bench, History, Phase};
use crate::process::folder_bytes;
use crate::report::{Report, Unit};
use crate::system::{Kind, Purpose, System};

/// How long cutting blocks may take, and how long their sum must stay the same to count as done.
const CUT_TIME_MAX: Duration = Duration::from_secs(300);
const STEADY_TIME: Duration = Duration::from_secs(10);

/// A history long enough that whole ranges are past, sent with ten samples per request.
pub(super) fn measure(bench: &Bench, run: usize, system: &System, history: History, report: &mut Report) -> Result<()> {
    let fleet = bench.fleet(bench.scale.blocks_targets);
    let targets = fleet.targets();
    // Only Narthex looks at windows: with a long one it takes old history, with a short one it closes it.
    let mut running = Running::start(bench, system, &fleet, &Purpose { window: Some("4y"), ..Purpose::default() })?;
    let sent = bench.send(&running.address, targets, history, 10)?;
    running.finish_writing(bench)?;
    let (samples, bytes) = if system.kind == Kind::VictoriaMetrics {
        running.client().get("/internal/force_merge")?.success("merge")?;
        running.process.settle(CUT_TIME_MAX)?;
        let storage = running.folder.join("storage");
        (sent.samples, folder_bytes(&storage.join("data"))? + folder_bytes(&storage.join("indexdb"))?)
    } else {
        if system.kind.is_narthex() {
            let query = format!("node_load1{{instance=\"{}\"}}", fleet.instance(0));
            running.kill_and_restart(
                &Purpose { window: Some("1h"), ..Purpose::default() },
                &query,
                history.end_ms(),
            )?;
        }
        steady_blocks(&running.folder.join("storage"), 1, CUT_TIME_MAX)?
    };
    let mut note = |metric, value, unit| report.note(run, system, (Phase::Blocks.id(), metric), value, unit);
    note("bytes per sample", bytes as f64 / samples as f64, Unit::Bytes)?;
    note("share of the samples", samples as f64 / sent.samples as f64, Unit::Number)?;
    let verdict = bench.verify(&running.address, targets, history, 1)?;
    note("series that read back wrong", verdict.mismatches as f64, Unit::Number)?;
    verdict.ensure_equal()
}

/// Samples in blocks below a folder, and the blocks' bytes, once there are `least` samples and both have stayed the same for
/// a while. At most `most`.
pub(super) fn steady_blocks(storage: &Path, least: u64, most: Duration) -> Result<(u64, u64)> {
    let (began, mut since, mut last) = (Instant::now(), Instant::now(), (0, 0));
    while last.0 < least || since.elapsed() < STEADY_TIME {
        ensure!(began.elapsed() < most, "no steady blocks of {least} samples within {most:?}: {last:?}");
        std::thread::sleep(Duration::from_secs(1));
        let now = blocks_below(storage)?;
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    Ok(last)
}

#[derive(Deserialize)]
struct Meta {
    stats: Stats,
}

#[derive(Deserialize)]
struct Stats {
    #[serde(rename = "numSamples")]
    samples: u64,
}

/// Sums all folders with a `meta.json`, wherever they lie; one that vanishes meanwhile counts nothing.
fn blocks_below(folder: &Path) -> Result<(u64, u64)> {
    let meta = folder.join("meta.json");
    if let Ok(text) = std::fs::read_to_string(&meta) {
        let meta: Meta = serde_json::from_str(&text).with_context(|| format!("read {}", meta.display()))?;
        return Ok((meta.stats.samples, folder_bytes(folder)?));
    }
    let (mut samples, mut bytes) = (0, 0);
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok((0, 0)) };
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        // Prometheus writes a block in a folder of this name before it counts.
        if !entry.file_name().to_string_lossy().contains(".tmp") {
            let (inner_samples, inner_bytes) = blocks_below(&entry.path())?;
            samples += inner_samples;
            bytes += inner_bytes;
        }
    }
    Ok((samples, bytes))
}
