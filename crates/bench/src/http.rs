//! Requests over HTTP on loopback: a server of one worker in a process of its own, and here the browsers.
//!
//! Every side is such a server: a framework with a bare route, with our sessions, or with a peer's. They take turns. Each
//! browser keeps one connection open, and presents the cookies of its own session. On two cores the server has one for
//! itself; how long it was busy tells what a request costs, whatever else the machine does.

mod browsers;
mod contest;
mod process;
mod report;
mod serve;

pub use self::contest::{Effort, Outcome, contest};
pub use self::report::{table, text};
pub use self::serve::serve;
