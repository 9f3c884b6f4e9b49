//! `--web.config.file` of the binary. What the file can say is tested in `crates/server/tests/web.rs`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::narthex::{START_TIMEOUT, Setup};
use e2e::wait;

/// Of `secret`.
const USERS: &str = "basic_auth_users: {alice: $2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW}\n";
const ALICE: (&str, &str) = ("Authorization", "Basic YWxpY2U6c2VjcmV0");

#[test]
fn only_users_of_the_web_file_come_in() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("web.yml");
    std::fs::write(&file, USERS)?;
    let setup = Setup::narthex(folder.path())?.with_flag(&format!("--web.config.file={}", file.display()));
    let mut process = setup.launch()?;
    let mut client = setup.client();
    wait::until("alice comes in", START_TIMEOUT, || {
        process.ensure_running()?;
        Ok(client.request("GET", "/-/ready", &[ALICE], &[]).ok().filter(|answer| answer.status == 200))
    })
    .with_context(|| process.log_tail())?;
    for (headers, expected) in [(&[][..], 401), (&[ALICE], 200), (&[("Authorization", "Basic YWxpY2U6eA==")], 401)] {
        for path in ["/-/healthy", "/api/v1/query?query=1", "/metrics"] {
            let status = client.request("GET", path, headers, &[])?.status;
            ensure!(status == expected, "{path} {headers:?}: {status}");
        }
    }
    Ok(())
}

#[test]
fn a_web_file_that_cannot_be_used_is_refused_with_a_reason() -> Result<()> {
    for (text, expected) in [
        ("rate_limit: {burst: 1, interval: 1s}", "rate_limit is not supported by this version"),
        ("tls_server_config: {cert_file: x, key_file: y}", "No such file or directory"),
        ("basic_auth_users: [", "web.yml"),
    ] {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("web.yml");
        std::fs::write(&file, text)?;
        let flag = format!("--web.config.file={}", file.display());
        let mut process = Setup::narthex(folder.path())?.with_flag(&flag).launch()?;
        let status = process.exit(Duration::from_secs(60))?;
        let log = process.plain_log();
        ensure!(status.code() == Some(1) && log.contains(expected) && log.contains("web.config.file"), "{text}: {log}");
    }
    Ok(())
}
