//! Waiting for something to become true, never for time to pass.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const POLL_INTERVAL: Duration = Duration::from_millis(25);

/// Asks until there is an answer; an error ends it at once, and so does the deadline.
pub fn until<T>(what: &str, most: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if began.elapsed() >= most {
            bail!("{what}: not within {most:?}");
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// As [`until`], where an error means "not yet"; the last one is told when the deadline passes.
pub fn until_ok<T>(what: &str, most: Duration, mut ask: impl FnMut() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(e) if began.elapsed() >= most => return Err(e.context(format!("{what}: not within {most:?}"))),
            Err(_) => std::thread::sleep(POLL_INTERVAL),
        }
    }
}
