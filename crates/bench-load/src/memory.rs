//! The memory of this process.

use anyhow::{Context, Result};

/// Returns the bytes of this process that are in memory.
///
/// # Errors
///
/// If the system does not say, as only Linux does.
pub fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("/proc/self/status, which Linux has")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS is not a number")?;
    Ok(kilobytes << 10)
}
