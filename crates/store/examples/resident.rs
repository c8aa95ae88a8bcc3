//! What the memory store costs: resident bytes per session, and the time of a call, at a million sessions.
//!
//! `cargo run --release -p secure-sessions-store --example resident [sessions]`, on Linux.

use std::cell::Cell;
use std::error::Error;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use secure_sessions_store::{
    Bucket, Fingerprint, MemoryStore, Millis, Retired, Revision, SessionId, SessionStore, SubjectTag, Timestamp, Which,
};

const PAGE: u64 = 4096;

fn resident() -> Result<u64, Box<dyn Error>> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split_whitespace().nth(1).ok_or("no second number in statm")?.parse()?;
    Ok(pages * PAGE)
}

/// Random enough, and without a table of its own.
fn random(number: u64, salt: u64) -> [u8; 16] {
    let mix = |seed: u64| {
        let z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&mix(number ^ salt).to_le_bytes());
    bytes[8..].copy_from_slice(&mix(number ^ salt ^ 0x5555_5555).to_le_bytes());
    bytes
}

fn id(number: u64) -> SessionId {
    SessionId::from_bytes(random(number, 0))
}

fn settled(number: u64, subject: bool) -> Bucket {
    let at = Timestamp::from_millis(1_800_000_000_000 + number);
    Bucket {
        id: id(number),
        revision: Revision::FIRST,
        subject: subject.then(|| SubjectTag::from_bytes(random(number, 77))),
        label: None,
        created_at: at,
        last_seen_at: at,
        expires_at: at.after(Millis::from_secs(28_800)),
        idle_timeout: Some(Millis::from_secs(1800)),
        rotated_at: at,
        generation: 1,
        current: Fingerprint::from_bytes(random(number, 99)),
        retired: Vec::new(),
        handoff: None,
    }
}

fn unsettled(number: u64) -> Bucket {
    let bucket = settled(number, true);
    let retired =
        Retired { fingerprint: bucket.current, generation: 1, superseded_at: bucket.created_at, dead_after: None };
    Bucket { retired: vec![retired], handoff: Some(vec![7; 700]), ..bucket }
}

async fn bytes_per_session(what: &str, sessions: u64, make: impl Fn(u64) -> Bucket) -> Result<(), Box<dyn Error>> {
    let store = MemoryStore::new();
    let before = resident()?;
    let mut worst = (0.0, 0);
    let started = Instant::now();
    for number in 0..sessions {
        store.insert(&make(number)).await?;
        // Just after a doubling of the tables it is at its worst.
        if number >= sessions / 100 && number % (sessions / 100) == 0 {
            let each = (resident()?.saturating_sub(before)) as f64 / number as f64;
            if each > worst.0 {
                worst = (each, number);
            }
        }
    }
    let took = started.elapsed().as_nanos() as f64 / sessions as f64;
    let each = (resident()?.saturating_sub(before)) as f64 / sessions as f64;
    println!(
        "{what:<22} {each:>6.1} resident bytes per session at {sessions}; at worst {:.1}, at {}; insert {took:.0} ns",
        worst.0, worst.1
    );
    Ok(())
}

async fn speed(sessions: u64) -> Result<(), Box<dyn Error>> {
    let store = MemoryStore::new();
    for number in 0..sessions {
        store.insert(&settled(number, true)).await?;
    }
    for (what, among) in [("1000 hot sessions", 1000), ("all sessions", sessions)] {
        let mut batches = Vec::new();
        for batch in 0..200_u64 {
            let started = Instant::now();
            for call in 0..10_000 {
                black_box(store.load(&id(black_box((batch * 10_000 + call).wrapping_mul(7919) % among))).await?);
            }
            batches.push(started.elapsed().as_nanos() / 10_000);
        }
        // The fastest batch is the one that no other process disturbed.
        batches.sort_unstable();
        println!("load among {what}: {} ns, median {} ns", batches[0], batches[100]);
    }
    let started = Instant::now();
    let tags: Vec<_> = (0..1000).map(|number| SubjectTag::from_bytes(random(number, 77))).collect();
    for tag in &tags {
        black_box(store.remove_all(Which::Subjects(&[*tag]), None).await?);
    }
    println!("remove_all of a subject: {:.1} us", started.elapsed().as_micros() as f64 / 1000.0);

    let done = Arc::new(AtomicBool::new(false));
    let reader = {
        let (store, done) = (store.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            let (mut longest, mut number) = (Duration::ZERO, 0_u64);
            while !done.load(Ordering::Relaxed) {
                number = number.wrapping_add(7919) % sessions;
                let started = Instant::now();
                black_box(store.load(&id(number)).await.is_ok());
                longest = longest.max(started.elapsed());
                // As requests do, which leave the thread to the purge.
                tokio::task::yield_now().await;
            }
            longest
        })
    };
    tokio::task::yield_now().await;
    let started = Instant::now();
    let removed = store.purge_expired(Timestamp::from_millis(u64::MAX), u32::MAX).await?;
    let took = started.elapsed();
    done.store(true, Ordering::Relaxed);
    println!("purge of {removed}: {took:.0?}; the slowest load meanwhile: {:?}", reader.await?);
    println!("resident after the purge: {} MiB", resident()? >> 20);
    Ok(())
}

/// How long everything else on the one thread has to wait during a purge, in time that the thread really ran.
async fn stall_on_one_thread(sessions: u64) -> Result<(), Box<dyn Error>> {
    let store = MemoryStore::new();
    for turn in ["purge", "remove_all of everything"] {
        for number in 0..sessions {
            store.insert(&unsettled(number)).await?;
        }
        let longest = Rc::new(Cell::new(0_u64));
        let ticker = {
            let longest = Rc::clone(&longest);
            tokio::task::spawn_local(async move {
                let mut last = thread_nanoseconds();
                loop {
                    tokio::task::yield_now().await;
                    let now = thread_nanoseconds();
                    longest.set(longest.get().max(now - last));
                    last = now;
                }
            })
        };
        tokio::task::yield_now().await;
        let started = Instant::now();
        if turn == "purge" {
            store.purge_expired(Timestamp::from_millis(u64::MAX), u32::MAX).await?;
        } else {
            store.remove_all(Which::Everything, None).await?;
        }
        let took = started.elapsed();
        ticker.abort();
        println!(
            "{turn}, {sessions} unsettled: {took:.0?}; others on the one thread wait up to {} us",
            longest.get() / 1000
        );
    }
    Ok(())
}

/// What this thread has run so far, without what other processes took from it.
fn thread_nanoseconds() -> u64 {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}

fn main() -> Result<(), Box<dyn Error>> {
    let sessions = std::env::args().nth(1).map_or(Ok(1_000_000), |count| count.parse())?;
    // A part for each process: what one has freed would else serve the next.
    let part = std::env::args().nth(2);
    let one = tokio::runtime::Builder::new_current_thread().build()?;
    match part.as_deref() {
        Some("anonymous") => {
            one.block_on(bytes_per_session("anonymous, settled", sessions, |number| settled(number, false)))
        }
        Some("subject") => {
            one.block_on(bytes_per_session("with subject, settled", sessions, |number| settled(number, true)))
        }
        Some("unsettled") => one.block_on(bytes_per_session("700 B of handoff", sessions, unsettled)),
        Some("speed") => {
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?.block_on(speed(sessions))
        }
        Some("stall") => tokio::task::LocalSet::new().block_on(&one, stall_on_one_thread(sessions)),
        Some(other) => Err(format!("no part is called {other}").into()),
        None => {
            for part in ["anonymous", "subject", "unsettled", "speed", "stall"] {
                std::process::Command::new(std::env::current_exe()?).arg(sessions.to_string()).arg(part).status()?;
            }
            Ok(())
        }
    }
}
