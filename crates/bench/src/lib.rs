//! The cost of a session: the same requests through several session crates and frameworks, in one process and one run.
//!
//! `counts` counts allocations and store operations (apart from the rest, because counting takes time), and `requests`
//! times the requests and prints both. `growth`, `stores` and `memory` answer one question each. `cargo xtask bench` runs
//! all of them.

pub mod cases;
mod client;
pub mod growth;
pub mod measure;
pub mod memory;
pub mod pictures;
pub mod report;
pub mod requests;
pub mod rows;
pub mod stores;
