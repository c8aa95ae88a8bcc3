//! What a session costs: the same requests through several session crates and frameworks, in one process and one run.
//!
//! `speed` times the requests, `counts` counts allocations and store operations (apart from that, because counting takes
//! time), and `table` prints both. `cargo xtask bench` runs all of them.

pub mod cases;
mod client;
pub mod contention;
pub mod growth;
pub mod http;
pub mod measure;
pub mod memory;
pub mod pictures;
pub mod report;
pub mod rows;
pub mod stores;

use secure_sessions::Aead;

/// The implementation that our sessions are sealed by in this build.
#[cfg(feature = "ring")]
pub(crate) const AEAD: Aead = Aead::Ring;
/// The implementation that our sessions are sealed by in this build.
#[cfg(not(feature = "ring"))]
pub(crate) const AEAD: Aead = Aead::RustCrypto;
