//! Carries orders out.

use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::{LocalSet, spawn_local};

use crate::application::Call;
use crate::browser::Browser;
use crate::contents::{FILL, READ, WRITE};
use crate::{AT_ONCE, BETWEEN_WRITES_MS, Load, Order, READY, resident};

/// An application with its store.
pub struct Side {
    /// The function that calls it.
    pub call: Call,
    /// Lets this number of milliseconds pass, if it has a clock of its own.
    pub pass: Rc<dyn Fn(u64)>,
}

/// Makes a side, and carries out the orders on standard input, all on this one thread.
///
/// # Errors
///
/// If the side cannot be made, an order is none, or a session cannot log in.
pub fn run(make: impl AsyncFnOnce() -> Result<Side>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let side = make().await?;
        let mut orders = BufReader::new(tokio::io::stdin()).lines();
        let mut browsers = Vec::new();
        println!("{READY}");
        while let Some(order) = orders.next_line().await? {
            match order.parse()? {
                Order::LogIn(sessions) => {
                    browsers = std::iter::repeat_with(Browser::default).take(sessions).collect();
                    let load = load(&side, &mut browsers, FILL, 1).await?;
                    let all_in = browsers.iter().all(Browser::has_cookies);
                    ensure!(load.failed == 0 && all_in, "{} of {sessions} could not log in", load.failed);
                    println!("{READY}");
                }
                Order::Grow(sessions, writes) => println!("{}", grow(&side, sessions, writes).await?),
                Order::Read(each) => println!("{}", load(&side, &mut browsers, READ, each).await?),
                Order::Write(each) => println!("{}", load(&side, &mut browsers, WRITE, each).await?),
                Order::Pass(millis) => {
                    (side.pass)(millis);
                    println!("{READY}");
                }
            }
        }
        Ok(())
    })
}

/// Every browser asks so often: [`AT_ONCE`] of them at the same time.
async fn load(side: &Side, browsers: &mut Vec<Browser>, path: &'static str, each: u32) -> Result<Load> {
    let step = if path == WRITE { BETWEEN_WRITES_MS / browsers.len().max(1) as u64 } else { 0 };
    let mut groups: Vec<Vec<Browser>> = Vec::new();
    groups.resize_with(AT_ONCE, Vec::new);
    for (number, browser) in browsers.drain(..).enumerate() {
        groups[number % AT_ONCE].push(browser);
    }
    let before = written()?;
    let start = Instant::now();
    let tasks: Vec<_> = groups
        .into_iter()
        .map(|mut group| {
            let (call, pass) = (Rc::clone(&side.call), Rc::clone(&side.pass));
            spawn_local(async move {
                let (mut latencies, mut failed) = (Vec::with_capacity(group.len() * each as usize), 0);
                for _ in 0..each {
                    for browser in &mut group {
                        let (answer, took) = browser.ask(&call, path).await;
                        failed += u64::from(answer.status != 200);
                        latencies.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
                        pass(step);
                    }
                }
                (group, latencies, failed)
            })
        })
        .collect();
    let mut load = Load { elapsed: start.elapsed(), failed: 0, written: 0, latencies: Vec::new() };
    for task in tasks {
        let (group, latencies, failed) = task.await.context("a task panicked")?;
        browsers.extend(group);
        load.latencies.extend(latencies);
        load.failed += failed;
    }
    Ok(Load { elapsed: start.elapsed(), written: written()?.saturating_sub(before), ..load })
}

/// Adds sessions to the store, and keeps nothing of them besides. Returns the bytes by which the memory has grown.
async fn grow(side: &Side, sessions: usize, writes: u32) -> Result<u64> {
    let before = resident()?;
    for number in 0..sessions {
        let mut browser = Browser::default();
        for path in std::iter::once(FILL).chain((0..writes).map(|_| WRITE)) {
            let (answer, _) = browser.ask(&side.call, path).await;
            ensure!(answer.status == 200, "session {number} was answered {} at {path}", answer.status);
            // As between the writes of a load: a session is changed every ten seconds.
            (side.pass)(BETWEEN_WRITES_MS / AT_ONCE as u64);
        }
    }
    Ok(resident()?.saturating_sub(before))
}

/// Bytes that this process has handed to the system to write, so far. Linux alone counts them.
fn written() -> Result<u64> {
    let Ok(counters) = std::fs::read_to_string("/proc/self/io") else { return Ok(0) };
    let line = counters.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.context("no wchar in /proc/self/io")?.trim().parse().context("wchar is not a number")
}
