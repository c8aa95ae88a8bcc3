//! The requests to an application with a session store, the same for every store.
//!
//! Each side of `cargo xtask bench stores` is a process of its own: an application on one thread, called without a
//! socket. It takes [orders](Order) from its standard input, one a line: a number of sessions log in, each of them reads or
//! changes a value a number of times. It answers each with one line, so that a benchmark can let two sides take turns.

pub mod application;
mod browser;
pub mod contents;
mod jar;
mod memory;
mod order;
mod serve;

pub use self::application::{Answer, Call};
pub use self::jar::Jar;
pub use self::memory::resident;
pub use self::order::{Load, Order, READY};
pub use self::serve::{Side, run};

/// Requests that are under way at the same time, each of another session.
pub const AT_ONCE: usize = 64;
/// Sessions that take turns. With as few as are under way, their ten seconds between two changes would pass while each
/// request waits, and most of them would ask the store what else a process asks every few seconds.
pub const SESSIONS: usize = 512;
/// Connections of a pool to an engine, ours and a peer's.
pub const POOL: u32 = 8;
/// The time between two changes of a session, for a side that can let time pass.
pub const BETWEEN_WRITES_MS: u64 = 10_000;
