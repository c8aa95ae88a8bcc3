//! How long lookups wait while a million expired sessions are purged.

use std::cell::RefCell;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use futures_util::FutureExt;
use secure_sessions_store::{MemoryStore, SessionStore, Which};
use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local, yield_now};

use super::system::Longest;
use super::{Found, sample};

/// What stands above the lines.
pub const HEAD: &str = "\
The longest wait for a lookup, and of whatever else runs on the thread that purges: real time, and in brackets less what
the thread had no core for, which is to be at most 5 ms. Without a purge: what the machine does by itself.";

/// What the numbers of a row are.
pub const COLUMNS: [&str; 3] = ["took, ms", "longest wait, ms", "less what the thread had no core for"];

const BUDGET: Duration = Duration::from_millis(5);

/// So many expired sessions are purged from among as many that are not, while another thread looks up.
///
/// # Errors
///
/// If the store does not do what it is asked.
pub fn beside_another_thread(expired: u64) -> Result<Found> {
    let store = filled(2 * expired)?;
    let mut found = Found::default();
    // First a while without a purge: what the machine does by itself.
    for purging in [false, true] {
        let done = AtomicBool::new(false);
        let (took, longest) = thread::scope(|scope| {
            let reader = scope.spawn(|| look_up(&store, expired, &done));
            let start = Instant::now();
            if purging {
                let runtime = Builder::new_current_thread().build()?;
                let removed = runtime.block_on(store.purge_expired(sample::end_of(expired), u32::MAX));
                done.store(true, Ordering::Relaxed);
                ensure!(removed? == expired, "not all of the expired sessions were purged");
            } else {
                thread::sleep(Duration::from_millis(500));
                done.store(true, Ordering::Relaxed);
            }
            let took = start.elapsed();
            Ok((took, reader.join().map_err(|_| anyhow!("the reader panicked"))??))
        })?;
        let what = if purging { format!("purge of {expired}") } else { "no purge".to_owned() };
        let end = if purging { verdict(&longest) } else { "\n" };
        found.add(line(&format!("{what}, two threads"), took, &longest, end));
    }
    Ok(found)
}

/// Among those that have not expired.
fn look_up(store: &MemoryStore, expired: u64, done: &AtomicBool) -> Result<Longest> {
    let (mut longest, mut number) = (Longest::on_this_thread()?, 0);
    while !done.load(Ordering::Relaxed) {
        number = (number + 7919) % expired;
        let id = sample::id(expired + number);
        let start = Instant::now();
        black_box(store.load(&id).now_or_never().context("not at once")??.context("a live session is gone")?);
        longest.take(start.elapsed())?;
    }
    Ok(longest)
}

fn filled(sessions: u64) -> Result<MemoryStore> {
    let store = MemoryStore::new();
    for number in 0..sessions {
        store.insert(&sample::idle(number, true)).now_or_never().context("not at once")??;
    }
    Ok(store)
}

/// On one thread everything else has to wait for a step of what is long.
///
/// # Errors
///
/// If the store does not do what it is asked.
pub fn on_one_thread(sessions: u64) -> Result<Found> {
    let runtime = Builder::new_current_thread().build()?;
    let mut found = Found::default();
    for what in ["purge", "remove_all"] {
        let store = filled(sessions)?;
        let longest = Rc::new(RefCell::new(Longest::on_this_thread()?));
        let took = LocalSet::new().block_on(&runtime, async {
            let others = spawn_local(others(Rc::clone(&longest)));
            yield_now().await;
            let start = Instant::now();
            if what == "purge" {
                store.purge_expired(sample::end_of(sessions), u32::MAX).await?;
            } else {
                store.remove_all(Which::Everything, None).await?;
            }
            others.abort();
            ensure!(store.count().await? == 0, "something is left");
            Ok(start.elapsed())
        })?;
        let longest = longest.borrow();
        found.add(line(&format!("{what} of {sessions}, one thread"), took, &longest, verdict(&longest)));
    }
    Ok(found)
}

/// Something else on the thread: the longest time between its turns.
async fn others(longest: Rc<RefCell<Longest>>) -> Result<()> {
    loop {
        let start = Instant::now();
        yield_now().await;
        longest.borrow_mut().take(start.elapsed())?;
    }
}

fn line(what: &str, took: Duration, longest: &Longest, end: &str) -> Found {
    let [took, real, with_a_core] = [took, longest.real, longest.with_a_core].map(|time| time.as_secs_f64() * 1e3);
    let text = format!("{what:36}{took:>8.0} ms    longest wait {real:>8.3} ms ({with_a_core:.3} ms){end}");
    Found::line(text, what, &[took, real, with_a_core])
}

fn verdict(longest: &Longest) -> &'static str {
    if longest.with_a_core <= BUDGET { "    met\n" } else { "    OVER\n" }
}
