//! What Linux says about this process and thread.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use anyhow::{Context, Result};

/// Bytes of this process that are in memory.
pub(crate) fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("/proc/self/status, which Linux has")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS is not a number")?;
    Ok(kilobytes << 10)
}

/// How long this thread ran, and how long it was ready to run and had no core.
#[derive(Debug)]
pub(crate) struct ThreadTimes(File);

impl ThreadTimes {
    pub(crate) fn of_this_thread() -> Result<Self> {
        File::open("/proc/thread-self/schedstat").map(Self).context("/proc/thread-self/schedstat, which Linux has")
    }

    pub(crate) fn so_far(&self) -> Result<(Duration, Duration)> {
        let mut text = [0; 64];
        let length = self.0.read_at(&mut text, 0)?;
        let text = std::str::from_utf8(&text[..length])?;
        let mut nanos = text.split_whitespace().map(|number| number.parse().map(Duration::from_nanos));
        let (ran, waited) =
            (nanos.next().context("schedstat is empty")??, nanos.next().context("schedstat is short")??);
        Ok((ran, waited))
    }
}

/// The longest of many calls, in real time, and less what the thread had no core for.
#[derive(Debug)]
pub(crate) struct Longest {
    pub(crate) real: Duration,
    pub(crate) with_a_core: Duration,
    times: ThreadTimes,
    waited: Duration,
    calls: u32,
}

impl Longest {
    pub(crate) fn on_this_thread() -> Result<Self> {
        let times = ThreadTimes::of_this_thread()?;
        let (_, waited) = times.so_far()?;
        Ok(Self { real: Duration::ZERO, with_a_core: Duration::ZERO, times, waited, calls: 0 })
    }

    /// Takes a call that took so long and has just ended. Asking the system takes longer than most calls: only what may
    /// be the longest is asked about, and every few calls where the thread stands.
    pub(crate) fn take(&mut self, took: Duration) -> Result<()> {
        self.real = self.real.max(took);
        self.calls = self.calls.wrapping_add(1);
        let is_suspect = took > self.with_a_core.max(Duration::from_micros(5));
        if is_suspect || self.calls.is_multiple_of(64) {
            let (_, waited) = self.times.so_far()?;
            let without_a_core = waited.saturating_sub(self.waited);
            self.waited = waited;
            if is_suspect {
                self.with_a_core = self.with_a_core.max(took.saturating_sub(without_a_core));
            }
        }
        Ok(())
    }
}
