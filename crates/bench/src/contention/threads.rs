//! One pass: threads that begin at the same time, each on a core of its own.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{hint, thread};

use anyhow::{Context, Result, anyhow};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::cases::Case;
use crate::memory::system::ThreadTimes;

/// What the threads of a pass took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Took {
    /// Nanoseconds of one request, without what its thread had no core for.
    pub(super) each: f64,
    /// The part of the time that the threads had no core for.
    pub(super) without_a_core: f64,
}

/// Where threads wait for each other. One that is woken up comes late: all are awake before any goes on.
struct Begin {
    barrier: Barrier,
    awake: AtomicUsize,
    threads: usize,
}

impl Begin {
    fn wait(&self) {
        self.barrier.wait();
        self.awake.fetch_add(1, Ordering::Relaxed);
        while self.awake.load(Ordering::Relaxed) < self.threads {
            hint::spin_loop();
        }
    }
}

/// So many threads do so many requests each.
pub(super) fn pass(case: &Case, threads: usize, requests: usize) -> Result<Took> {
    let begin = &Begin { barrier: Barrier::new(threads), awake: AtomicUsize::new(0), threads };
    let took = thread::scope(|scope| {
        let running: Vec<_> =
            (0..threads).map(|number| scope.spawn(move || run(case, number, requests, begin))).collect();
        let joined = running.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?);
        joined.collect::<Result<Vec<(Duration, Duration)>>>()
    })?;
    let [ran, waited] = [0, 1].map(|part| {
        let parts = took.iter().map(|(ran, waited)| if part == 0 { *ran } else { *waited });
        parts.sum::<Duration>().as_secs_f64()
    });
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let requests = (threads * requests) as f64;
    Ok(Took { each: ran * 1e9 / requests, without_a_core: waited / (ran + waited) })
}

/// How long it took, and how long it had no core besides.
fn run(case: &Case, number: usize, requests: usize, begin: &Begin) -> Result<(Duration, Duration)> {
    let ready = || {
        keep_to_core(number)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        anyhow::Ok((runtime, case.client(requests)?, ThreadTimes::of_this_thread()?))
    };
    let ready = ready();
    // Nobody waits for one that could not begin.
    begin.wait();
    let (runtime, mut client, times) = ready?;
    runtime.block_on(async {
        let (start, (_, waited)) = (Instant::now(), times.so_far()?);
        for _ in 0..requests {
            client.request().await?;
        }
        let (took, (_, waited_now)) = (start.elapsed(), times.so_far()?);
        let waited = waited_now.saturating_sub(waited);
        Ok((took.saturating_sub(waited), waited))
    })
}

/// Keeps this thread to one of the cores that the process may use: two threads on one never meet.
fn keep_to_core(number: usize) -> Result<()> {
    let allowed = sched_getaffinity(None).context("which cores there are")?;
    let core =
        (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).nth(number).context("fewer cores than threads")?;
    let mut only = CpuSet::new();
    only.set(core);
    sched_setaffinity(None, &only).context("cannot keep a thread to its core")
}
