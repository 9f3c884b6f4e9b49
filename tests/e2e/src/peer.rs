//! Where the programs are that Narthex is tested with: `NARTHEX_PEER_*`, else what `tools/peers.sh` has unpacked.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Result, bail};

/// The path of a peer, by the name that follows `NARTHEX_PEER_`. Where it is not on this machine: an error if `CI` is
/// `true`; elsewhere none, having said so, and the test is to return.
pub fn find(name: &str) -> Result<Option<PathBuf>> {
    static UNPACKED: OnceLock<HashMap<String, String>> = OnceLock::new();
    let variable = format!("NARTHEX_PEER_{name}");
    let path = crate::variable(&variable).or_else(|| UNPACKED.get_or_init(unpacked).get(&variable).cloned());
    match path {
        Some(path) if Path::new(&path).is_file() => Ok(Some(PathBuf::from(path))),
        _ if crate::variable("CI").as_deref() == Some("true") => {
            bail!("{variable} names no program, and tools/peers.sh has not unpacked it")
        }
        _ => {
            eprintln!("skipped: {variable} is not set and tools/peers.sh has not been run");
            Ok(None)
        }
    }
}

/// The root of the checkout.
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn unpacked() -> HashMap<String, String> {
    let output = Command::new("bash").arg(checkout().join("tools/peers.sh")).arg("--env").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, path)| (name.to_string(), path.to_string())).collect()
}
