//! The cost of a session in a store that is a database: ours beside other crates', on the same engine.
//!
//! Each side is a process of its own (two of the peers cannot be in one with us, see `crates/bench-peers`), on one
//! thread, with 64 requests under way. They take turns on one engine, in short passes, so that other work of the machine
//! hits all alike.

mod contest;
mod engine;
mod ours;
mod process;
mod report;

pub use self::contest::{CONTESTS, Contest, Effort, Measured, OURS_FIRST, Outcome, Size, contest};
pub use self::engine::{Engine, Kind};
pub use self::ours::side;
pub use self::process::SideProcess;
pub use self::report::{page, tables, verdicts};
