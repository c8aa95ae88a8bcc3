//! The contests between the sides, and the measurement of each.

use std::ffi::OsStr;

use anyhow::{Context, Result, ensure};
use bench_load::{Order, SESSIONS};

use super::engine::{Engine, Kind};
use super::process::SideProcess;
use crate::measure::{quantile, sorted};

/// Sides that meet on one engine, the first [`OURS_FIRST`] of them ours.
#[derive(Debug, Clone, Copy)]
pub struct Contest {
    /// The engine.
    pub kind: Kind,
    /// The sides.
    pub sides: &'static [Contestant],
}

/// One side of a contest.
#[derive(Debug, Clone, Copy)]
pub struct Contestant {
    /// Its name in the tables.
    pub name: &'static str,
    /// The argument that its program gets before the URL.
    argument: &'static str,
    /// The table of its sessions in an SQL database.
    table: &'static str,
    /// Says if its bytes are measured: not if it stores what another one stores, or the engine does not tell.
    sized: bool,
}

/// Counts the sides of a contest that are ours: with the defaults, sealed by ring, and remembering tokens besides.
pub const OURS_FIRST: usize = 3;

const OURS: Contestant =
    Contestant { name: "secure-sessions", argument: "axum", table: "secure_sessions", sized: true };
const OURS_BY_RING: Contestant =
    Contestant { name: "secure-sessions, ring", argument: "axum-ring", sized: false, ..OURS };
const OURS_REMEMBERING: Contestant =
    Contestant { name: "secure-sessions, ring, remembering", argument: "axum-remembering", ..OURS_BY_RING };
const OURS_ON_ACTIX: Contestant = Contestant { name: "secure-sessions, Actix", argument: "actix", ..OURS };
const OURS_ON_ACTIX_BY_RING: Contestant =
    Contestant { name: "secure-sessions, Actix, ring", argument: "actix-ring", sized: false, ..OURS };
const OURS_ON_ACTIX_REMEMBERING: Contestant = Contestant {
    name: "secure-sessions, Actix, ring, remembering",
    argument: "actix-remembering",
    ..OURS_ON_ACTIX_BY_RING
};
const OURS_UNSIZED: Contestant = Contestant { sized: false, ..OURS };

const TOWER: Contestant =
    Contestant { name: "tower-sessions", argument: "tower", table: "tower_sessions", sized: true };
const TOWER_SERVER: Contestant = Contestant { table: "tower_sessions.session", ..TOWER };
const TOWER_AS_DOCUMENTED: Contestant = Contestant {
    name: "tower-sessions, pool as documented",
    argument: "tower-documented",
    sized: false,
    ..TOWER_SERVER
};
const ACTIX: Contestant = Contestant { name: "actix-session", argument: "actix", ..TOWER };
const AXUM_SESSION: Contestant =
    Contestant { name: "axum_session", argument: "axum_session", table: "sessions", sized: true };

/// All of them.
pub const CONTESTS: [Contest; 12] = [
    Contest { kind: Kind::Memory, sides: &[OURS, OURS_BY_RING, OURS_REMEMBERING, TOWER, AXUM_SESSION] },
    Contest { kind: Kind::Sqlite, sides: &[OURS, OURS_BY_RING, OURS_REMEMBERING, TOWER] },
    Contest { kind: Kind::Redb, sides: &[OURS_UNSIZED, OURS_BY_RING, OURS_REMEMBERING] },
    Contest {
        kind: Kind::Postgres,
        sides: &[OURS, OURS_BY_RING, OURS_REMEMBERING, TOWER_SERVER, TOWER_AS_DOCUMENTED, AXUM_SESSION],
    },
    Contest {
        kind: Kind::MariaDb,
        sides: &[OURS, OURS_BY_RING, OURS_REMEMBERING, TOWER_SERVER, TOWER_AS_DOCUMENTED, AXUM_SESSION],
    },
    Contest { kind: Kind::RedisAlways, sides: &ON_AXUM_AND_REDIS },
    Contest { kind: Kind::RedisAlways, sides: &ON_ACTIX_AND_REDIS },
    Contest { kind: Kind::RedisEverySecond, sides: &ON_AXUM_AND_REDIS },
    Contest { kind: Kind::RedisEverySecond, sides: &ON_ACTIX_AND_REDIS },
    Contest { kind: Kind::RedisCluster, sides: &[OURS, OURS_BY_RING, OURS_REMEMBERING, TOWER] },
    Contest { kind: Kind::Etcd, sides: &[OURS_UNSIZED, OURS_BY_RING, OURS_REMEMBERING] },
    Contest { kind: Kind::Memcached, sides: &[OURS, OURS_BY_RING, OURS_REMEMBERING] },
];

const ON_AXUM_AND_REDIS: [Contestant; 5] = [OURS, OURS_BY_RING, OURS_REMEMBERING, TOWER, AXUM_SESSION];
const ON_ACTIX_AND_REDIS: [Contestant; 4] = [OURS_ON_ACTIX, OURS_ON_ACTIX_BY_RING, OURS_ON_ACTIX_REMEMBERING, ACTIX];

/// The extent of the measurement.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Turns of each side.
    pub passes: u32,
    /// Reads of each session in a turn.
    pub reads: u32,
    /// Writes of each session in a turn.
    pub writes: u32,
    /// Sessions whose bytes in the store are counted.
    pub stored: usize,
}

/// The measurements of one side for one kind of request.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// Requests per second, of each pass.
    pub rates: Vec<f64>,
    /// Seconds, of each request, in ascending order.
    pub latencies: Vec<f64>,
    /// Requests that were not answered as they should be.
    pub failed: u64,
    /// Bytes that the engine has written meanwhile.
    pub written: u64,
}

impl Measured {
    /// The median of the passes' rates.
    #[must_use]
    pub fn rate(&self) -> f64 {
        quantile(&sorted(&self.rates), 0.5)
    }

    /// Bytes that were written for each request, where anything says so.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a count for people")]
    pub fn written_each(&self) -> Option<f64> {
        Some(self.written as f64 / self.latencies.len() as f64).filter(|bytes| *bytes >= 1.0)
    }

    /// Returns the ratios of its speed to the other's, pass by pass, in ascending order.
    #[must_use]
    pub fn ratios_to(&self, other: &Self) -> Vec<f64> {
        let ratios: Vec<f64> = self.rates.iter().zip(&other.rates).map(|(ours, theirs)| ours / theirs).collect();
        sorted(&ratios)
    }
}

/// Bytes that a session takes in the store.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// After the login that made it.
    pub after_login: f64,
    /// After its first write.
    pub after_write: f64,
    /// After two reads in the minutes after that. Not measured in the application's own memory.
    pub settled: Option<f64>,
}

/// The measurements of one side.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its name.
    pub name: &'static str,
    /// Reading a value of a session that nobody has changed for minutes.
    pub reads: Measured,
    /// Changing a value.
    pub writes: Measured,
    /// Reading a value just after a change.
    pub reads_after: Measured,
    /// The bytes that it stores.
    pub size: Option<Size>,
}

/// Lets the sides of a contest take turns. Our program is `ours`, the peers' is `peers`.
///
/// # Errors
///
/// If the engine or a side does not come up, or does not do what it is told.
pub async fn contest(contest: &Contest, ours: &OsStr, peers: &OsStr, effort: Effort) -> Result<Vec<Outcome>> {
    let engine = Engine::start(contest.kind)?;
    let mut sides = Vec::new();
    for (number, side) in contest.sides.iter().enumerate() {
        let url = engine.url(side.argument);
        let mut process = if number < OURS_FIRST {
            SideProcess::start(ours, &["side", side.argument, &url])
        } else {
            SideProcess::start(peers, &[side.argument, &url])
        }?;
        process.tell(Order::LogIn(SESSIONS))?;
        sides.push(process);
    }
    let mut done = vec![<[Measured; 3]>::default(); sides.len()];
    // A request of microseconds is asked more often: a pass must outlast what else takes a core for a moment.
    let times = if contest.kind == Kind::Memory { 10 } else { 1 };
    let (read, write) = (Order::Read(effort.reads * times), Order::Write(effort.writes * times));
    // The first pass warms caches and pools up and is not kept.
    for pass in 0..=effort.passes {
        sides.iter_mut().try_for_each(settle)?;
        for (which, order) in [read, write, read].into_iter().enumerate() {
            for turn in 0..sides.len() {
                // Nobody always follows the same one.
                let number = if pass % 2 == 0 { turn } else { sides.len() - 1 - turn };
                let mut kept = Measured::default();
                turn_of(&engine, &mut sides[number], order, &mut kept).await?;
                if pass > 0 {
                    add(&mut done[number][which], kept);
                }
            }
        }
    }
    let mut outcomes = Vec::new();
    for ((side, process), mut done) in contest.sides.iter().zip(&mut sides).zip(done) {
        let size = if side.sized { Some(size(&engine, side, process, effort.stored).await?) } else { None };
        for measured in &mut done {
            measured.latencies = sorted(&measured.latencies);
        }
        let [reads, writes, reads_after] = done;
        outcomes.push(Outcome { name: side.name, reads, writes, reads_after, size });
    }
    Ok(outcomes)
}

/// Minutes pass in which the sessions are only read: what their changes have left is dropped.
fn settle(process: &mut SideProcess) -> Result<()> {
    /// More than two graces.
    const LATER: u64 = 150_000;
    for _ in 0..2 {
        process.tell(Order::Pass(LATER))?;
        all_well(process, Order::Read(1))?;
    }
    Ok(())
}

async fn turn_of(engine: &Engine, side: &mut SideProcess, order: Order, kept: &mut Measured) -> Result<()> {
    let before = engine.written().await?;
    let load = side.load(order)?;
    let written = match (before, engine.written().await?) {
        (Some(before), Some(after)) => after.saturating_sub(before),
        _ => load.written,
    };
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = load.latencies.len() as f64 / load.elapsed.as_secs_f64();
    kept.rates.push(rate);
    kept.latencies.extend(load.latencies.iter().map(|nanos| std::time::Duration::from_nanos(*nanos).as_secs_f64()));
    kept.failed += load.failed;
    kept.written += written;
    Ok(())
}

fn add(sum: &mut Measured, pass: Measured) {
    sum.rates.extend(pass.rates);
    sum.latencies.extend(pass.latencies);
    sum.failed += pass.failed;
    sum.written += pass.written;
}

/// Fills the emptied store with sessions, and follows what they take.
async fn size(engine: &Engine, side: &Contestant, process: &mut SideProcess, sessions: usize) -> Result<Size> {
    if engine.kind() == Kind::Memory {
        return size_in_process(process, sessions);
    }
    engine.clear(side.table, side.argument).await?;
    process.tell(Order::LogIn(sessions))?;
    let after_login = each(engine, side, sessions).await?;
    all_well(process, Order::Write(1))?;
    let after_write = each(engine, side, sessions).await?;
    settle(process)?;
    let settled = each(engine, side, sessions).await?;
    Ok(Size { after_login, after_write, settled: Some(settled) })
}

/// Adds sessions to the side's own memory, and follows how much that grows.
#[expect(clippy::cast_precision_loss, reason = "a size for people")]
fn size_in_process(process: &mut SideProcess, sessions: usize) -> Result<Size> {
    /// Memory is asked for in pages and tables: there are more sessions than in a store that tells bytes.
    const TIMES: usize = 20;
    let sessions = sessions * TIMES;
    // The allocator first hands out what lies about free.
    process.grow(Order::Grow(sessions / 10, 1))?;
    let mut each =
        |writes| -> Result<f64> { Ok(process.grow(Order::Grow(sessions, writes))? as f64 / sessions as f64) };
    Ok(Size { after_login: each(0)?, after_write: each(1)?, settled: None })
}

#[expect(clippy::cast_precision_loss, reason = "a size for people")]
async fn each(engine: &Engine, side: &Contestant, sessions: usize) -> Result<f64> {
    let bytes = engine.stored(side.table, side.argument).await;
    Ok(bytes.with_context(|| format!("{}: how much is stored", side.name))? as f64 / sessions as f64)
}

fn all_well(process: &mut SideProcess, order: Order) -> Result<()> {
    let failed = process.load(order)?.failed;
    ensure!(failed == 0, "{order}: {failed} requests failed");
    Ok(())
}
