//! Bad input, a full disk and a damaged log: told clearly, contained, and nothing acknowledged is lost.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::narthex::{Server, Setup};
use e2e::process::Signal;
use e2e::random::{Random, seed};
use e2e::write::{self, Series};
use e2e::{now_ms, wait};

const TIMEOUT: Duration = Duration::from_secs(60);

#[test]
fn a_malformed_configuration_is_refused_with_its_place() -> Result<()> {
    let cases = [
        ("global:\n  scrape_interval: 15s\n  no_such_field: 1\n", ":3:3", "no_such_field"),
        ("global:\n  scrape_interval: soon\n", ":2:20", "soon"),
        ("scrape_configs:\n- job_name: a\n- job_name: a\n", ":3", "\"a\""),
        ("global: {scrape_interval: 1s\n", ":", "yaml"),
    ];
    for (config, place, word) in cases {
        let folder = tempfile::tempdir()?;
        let setup = Setup::narthex(folder.path())?.with_config(config);
        let mut process = setup.launch()?;
        let status = process.exit(TIMEOUT).with_context(|| config.to_string())?;
        ensure!(status.code() == Some(1), "{status}: {config}");
        let (log, file) = (process.plain_log(), format!("{}{place}", setup.config_file().display()));
        ensure!(log.contains(&file) && log.contains(word), "neither {file} nor {word} for {config}: {log}");
    }
    Ok(())
}

/// Whether the configuration in force has this job.
fn has_job(server: &mut Server, job: &str) -> Result<bool> {
    let response = server.client.get("/api/v1/status/config")?.success("status/config")?;
    let data = serde_json::from_slice::<serde_json::Value>(&response.body)?["data"].take();
    Ok(data["yaml"].as_str().context("no yaml")?.contains(&format!("job_name: {job}")))
}

/// What the server says of its last reload.
fn last_reload_successful(server: &mut Server) -> Result<bool> {
    let page = server.client.get("/metrics")?.success("metrics")?;
    let text = String::from_utf8_lossy(&page.body).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("prometheus_config_last_reload_successful "));
    Ok(line.context("prometheus_config_last_reload_successful is missing")?.trim() == "1")
}

fn job(name: &str) -> String {
    format!("scrape_configs:\n- job_name: {name}\n  static_configs:\n  - targets: ['127.0.0.1:1']\n")
}

const BROKEN: &str = "scrape_configs:\n- job_nam: typo\n";

#[test]
fn a_bad_reload_keeps_the_old_configuration() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut setup = Setup::narthex(folder.path())?.with_flag("--web.enable-lifecycle").with_config(&job("first"));
    let mut server = setup.start()?;
    let reload = |server: &mut Server| server.client.request("POST", "/-/reload", &[], &[]);

    setup.config = BROKEN.to_string();
    setup.write_config()?;
    let response = reload(&mut server)?;
    ensure!(response.status == 500 && response.excerpt().contains("job_nam"), "{}", response.excerpt());
    ensure!(has_job(&mut server, "first")? && !last_reload_successful(&mut server)?);
    setup.config = job("second");
    setup.write_config()?;
    reload(&mut server)?.success("reload")?;
    ensure!(has_job(&mut server, "second")? && !has_job(&mut server, "first")? && last_reload_successful(&mut server)?);

    // The same by signal.
    setup.config = BROKEN.to_string();
    setup.write_config()?;
    server.process.signal(Signal::Hup)?;
    wait::until("the reload failed", TIMEOUT, || Ok((!last_reload_successful(&mut server)?).then_some(())))?;
    ensure!(has_job(&mut server, "second")?);
    setup.config = job("third");
    setup.write_config()?;
    server.process.signal(Signal::Hup)?;
    wait::until("the reload succeeded", TIMEOUT, || Ok(last_reload_successful(&mut server)?.then_some(())))?;
    ensure!(has_job(&mut server, "third")?);
    server.stop()?;

    setup.flags.clear();
    let mut server = setup.start()?;
    let response = reload(&mut server)?;
    ensure!(response.status == 403, "without --web.enable-lifecycle: status {}", response.status);
    server.stop()
}

fn one_sample(name: &str, at_ms: i64, value: f64) -> Vec<Series> {
    let mut series = Series::new(name, &[("a", "b")]);
    series.samples.push((at_ms, value));
    vec![series]
}

#[test]
fn bombs_and_malformed_writes_are_refused_at_little_cost() -> Result<()> {
    const GROWTH_MAX: u64 = 64 << 20;
    let folder = tempfile::tempdir()?;
    let mut server = Setup::narthex(folder.path())?.start()?;
    let at_ms = now_ms();
    write::push(&mut server.client, &one_sample("before", at_ms, 1.0))?;

    let bomb = write::compress(&vec![0; 100 << 20])?;
    server.process.forget_rss_peak()?;
    let before = server.process.rss()?;
    for _ in 0..10 {
        let status = write::post(&mut server.client, &bomb)?;
        ensure!(status == 400 || status == 413, "a snappy bomb: status {status}");
    }
    let growth = server.process.rss_peak()?.saturating_sub(before);
    ensure!(growth < GROWTH_MAX, "ten bombs of 100 MiB took {growth} bytes");
    eprintln!("ten snappy bombs of {} bytes, 100 MiB decompressed: {growth} bytes more resident", bomb.len());

    let good = write::encode(&one_sample("good", at_ms, 1.0));
    let compressed = write::compress(&good)?;
    let cut = write::compress(&good[..good.len() - 3])?;
    let zeros = write::compress(&[0; 64])?;
    let malformed: [(&str, &[u8]); 5] = [
        ("a message that ends early", &cut),
        ("zeros", &zeros),
        ("no snappy", &good),
        ("snappy that ends early", &compressed[..compressed.len() - 1]),
        ("a claim without content", &[0x80, 0x80, 0x80, 0x10, 1, 2, 3]),
    ];
    for (what, body) in malformed {
        let status = write::post(&mut server.client, body)?;
        ensure!(status == 400, "{what}: status {status}");
    }
    // The server may answer and close before it has read it all, which the client may meet as a broken connection.
    let large = vec![0xff; 40 << 20];
    match write::post(&mut server.setup.client(), &large) {
        Ok(status) => ensure!(status == 413, "40 MiB: status {status}"),
        Err(e) => ensure!(e.chain().any(|cause| cause.is::<std::io::Error>()), "40 MiB: {e:#}"),
    }
    server.process.ensure_running()?;
    write::push(&mut server.client, &one_sample("after", at_ms, 2.0))?;
    ensure!(server.number("before + on (a) after", at_ms)? == 3.0);
    ensure!(server.query("good", at_ms)?.is_empty(), "a malformed request left something behind");
    server.stop()
}

/// A small file system in memory, unmounted when dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    /// None, having said why, where this user may not mount.
    fn mount(at: &Path, mebibytes: u64) -> Result<Option<Tmpfs>> {
        std::fs::create_dir_all(at)?;
        let options = format!("size={mebibytes}m,mode=0700");
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "narthex-e2e"]).arg(at).output();
        match output {
            Ok(output) if output.status.success() => Ok(Some(Tmpfs(at.to_path_buf()))),
            Ok(output) => {
                eprintln!("skipped: mount is not permitted: {}", String::from_utf8_lossy(&output.stderr).trim());
                Ok(None)
            }
            Err(e) => {
                eprintln!("skipped: there is no mount: {e}");
                Ok(None)
            }
        }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: it goes away with the last file that is open. A failure leaves an empty file system behind.
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

/// Samples whose values do not compress.
fn bulk(random: &mut Random, number: i64, base_ms: i64) -> Vec<Series> {
    let one = |n: i64| {
        let mut series = Series::new("bulk", &[("n", &n.to_string())]);
        series.samples = (0..50).map(|i| (base_ms + number * 50_000 + i * 1000, random.unit())).collect();
        series
    };
    (0..500).map(one).collect()
}

/// Reads answer with every request that was acknowledged. What was refused with 503 may be there as well, for nobody was
/// told that it is not; it lies behind what is asked for.
fn all_bulk_is_there(server: &mut Server, base_ms: i64, requests: i64) -> Result<()> {
    let until_ms = base_ms + requests * 50_000 - 1;
    let counts = server.query("count_over_time(bulk[20d])", until_ms)?;
    ensure!(counts.series().len() == 500, "{} series", counts.series().len());
    for one in counts.series() {
        let (count, expected) = (one.samples[0].1, (requests * 50) as f64);
        ensure!(count == expected, "{:?}: {count} samples are there, {expected} were acknowledged", one.labels);
    }
    Ok(())
}

#[test]
fn a_full_disk_refuses_writes_answers_reads_and_recovers() -> Result<()> {
    const DISK_MIB: u64 = 256;
    const FILLER_MIB: usize = 160;
    let mut random = Random::new(seed("full disk"));
    let folder = tempfile::tempdir()?;
    let setup = Setup::narthex(&folder.path().join("narthex"))?.with_config(
        // A long window, so that a disk can be filled with samples of different times.
        "storage:\n  tsdb:\n    out_of_order_time_window: 30d\n",
    );
    let Some(_disk) = Tmpfs::mount(&setup.data(), DISK_MIB)? else { return Ok(()) };
    let filler = setup.data().join("filler");
    std::fs::write(&filler, vec![1; FILLER_MIB << 20])?;
    let base_ms = now_ms() - 10 * 24 * 3_600_000;
    let mut server = setup.start()?;
    let mut acknowledged = 0;
    let full = wait::until("the disk is full", TIMEOUT, || {
        let body = write::compress(&write::encode(&bulk(&mut random, acknowledged, base_ms)))?;
        let status = write::post(&mut server.client, &body)?;
        ensure!(status == 204 || status == 503, "status {status}");
        acknowledged += i64::from(status == 204);
        Ok((status == 503).then_some(()))
    });
    full.with_context(|| format!("{acknowledged} requests were taken\n{}", server.process.log_tail()))?;
    ensure!(acknowledged > 0, "the disk is full from the start: {}", server.process.log_tail());
    all_bulk_is_there(&mut server, base_ms, acknowledged).context("while the disk is full")?;
    server.process.ensure_running()?;
    eprintln!("full disk: 503 after {acknowledged} requests");

    std::fs::remove_file(&filler)?;
    wait::until("writes are taken again", TIMEOUT, || {
        server.process.ensure_running()?;
        let body = write::compress(&write::encode(&bulk(&mut random, acknowledged, base_ms)))?;
        let status = write::post(&mut server.client, &body)?;
        ensure!(status == 204 || status == 503, "status {status}");
        Ok((status == 204).then_some(()))
    })
    .with_context(|| server.process.log_tail())?;
    // Its samples have other values than those of the request that was refused; the greater ones are kept, one each.
    acknowledged += 1;
    all_bulk_is_there(&mut server, base_ms, acknowledged).context("after space was freed")?;
    server.kill()?;
    let mut server = setup.start()?;
    all_bulk_is_there(&mut server, base_ms, acknowledged).context("after kill -9")?;
    server.stop()
}

/// The newest segment of the log.
fn newest_segment(setup: &Setup) -> Result<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(setup.data().join("log"))? {
        files.push(entry?.path());
    }
    files.sort();
    files.pop().context("the log has no file")
}

/// The number that follows `bytes=` in the line that tells of a torn log; none where no line does.
fn torn_bytes(log: &str) -> Option<u64> {
    let line = log.lines().find(|line| line.contains("form no record"))?;
    let digits = line.split("bytes=").nth(1)?;
    digits.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}

#[test]
fn a_torn_log_is_cut_and_what_was_acknowledged_before_is_there() -> Result<()> {
    let mut random = Random::new(seed("torn log"));
    let folder = tempfile::tempdir()?;
    let setup = Setup::narthex(folder.path())?;
    let at_ms = now_ms();
    let mut server = setup.start()?;
    for number in 0..50 {
        write::push(&mut server.client, &one_sample("torn", at_ms - 100_000 + number * 1000, number as f64))?;
    }
    server.kill()?;

    // Garbage behind the last record.
    let segment = newest_segment(&setup)?;
    let length = std::fs::metadata(&segment)?.len();
    let garbage: Vec<u8> = (0..1 + random.below(5000)).map(|_| random.bits() as u8).collect();
    append(&segment, &garbage)?;
    let mut server = start_with_log(&setup, "garbage")?;
    let count = server.number("count_over_time(torn[10m])", at_ms)?;
    ensure!(count == 50.0, "{count} of 50 samples are there");
    let told = torn_bytes(&server.process.plain_log()).with_context(|| server.process.plain_log())?;
    ensure!(told == garbage.len() as u64, "{} bytes of garbage, {told} told", garbage.len());
    write::push(&mut server.client, &one_sample("torn", at_ms - 50_000, 50.0))?;
    server.kill()?;

    // The last record cut in its midst.
    let segment = newest_segment(&setup)?;
    let longer = std::fs::metadata(&segment)?.len();
    ensure!(longer > length, "the garbage was not cut off: {longer} bytes, {length} before");
    std::fs::File::options().write(true).open(&segment)?.set_len(longer - 5)?;
    let mut server = start_with_log(&setup, "cut")?;
    let count = server.number("count_over_time(torn[10m])", at_ms)?;
    ensure!(count == 50.0, "{count} samples are there, 50 were acknowledged before the record that was cut");
    let told = torn_bytes(&server.process.plain_log()).with_context(|| server.process.plain_log())?;
    ensure!(told > 0 && told < longer - length, "{told} bytes told");
    write::push(&mut server.client, &one_sample("torn", at_ms - 50_000, 50.0))?;
    server.kill()?;

    let mut server = start_with_log(&setup, "whole")?;
    ensure!(torn_bytes(&server.process.plain_log()).is_none(), "a log that is whole is called torn");
    ensure!(server.number("count_over_time(torn[10m])", at_ms)? == 51.0);
    server.stop()
}

#[test]
fn damage_to_what_was_acknowledged_is_named_in_answers_for_ever() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let setup = Setup::narthex(folder.path())?;
    let at_ms = now_ms();
    let mut server = setup.start()?;
    for number in 0..50 {
        write::push(&mut server.client, &one_sample("damaged", at_ms - 100_000 + number * 1000, number as f64))?;
    }
    server.kill()?;
    let segment = newest_segment(&setup)?;
    let mut bytes = std::fs::read(&segment)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(&segment, bytes)?;

    // The start that finds it, and one that finds nothing new.
    for start in ["finds", "remembers"] {
        let mut server = start_with_log(&setup, start)?;
        let count = server.number("count_over_time(damaged[10m])", at_ms)?;
        ensure!((40.0..50.0).contains(&count), "{count} of 50 samples are there");
        for path in ["query?query=up", "series?match[]=damaged", "labels"] {
            let answer = server.client.get(&format!("/api/v1/{path}"))?;
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            ensure!(text.contains("were lost when the log was damaged"), "{start}: {path}: {text}");
        }
        server.stop()?;
    }
    Ok(())
}

/// Started with a log of its own, so that what is said at this start is known.
fn start_with_log(setup: &Setup, log: &str) -> Result<Server> {
    let mut process = setup.launch_with_log(log)?;
    process.until_ready(&setup.address(), "/-/ready", TIMEOUT)?;
    Ok(Server { process, setup: setup.clone(), client: setup.client() })
}

fn append(file: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write;
    let mut file = std::fs::File::options().append(true).open(file)?;
    file.write_all(bytes).context("append garbage")
}
