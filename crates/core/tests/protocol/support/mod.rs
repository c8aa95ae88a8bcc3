//! Helpers that the test files of this crate share.
#![allow(dead_code, reason = "each test file takes what it needs")]
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests may panic")]

pub(crate) mod fixtures;
pub(crate) mod generate;
pub(crate) mod hex;
pub(crate) mod random;
pub(crate) mod vectors;

/// The format written a second time: what a thief of keys can make.
pub(crate) use forge as raw;
