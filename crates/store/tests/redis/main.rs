//! The Redis store on real servers: the contract, on a single server and on a cluster, and what happens when one fails.
//!
//! The servers are those that the environment names (`SECURE_SESSIONS_TEST_REDIS`, `SECURE_SESSIONS_TEST_REDIS_CLUSTER`), or
//! throwaway ones. Each test has a prefix of its own there. All but `contract` and `values` start servers that they can break.
#![cfg(all(feature = "redis", feature = "conformance"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod cluster;
#[path = "../common/mod.rs"]
mod common;
mod contract;
mod failover;
mod faults;
mod replicas;
mod resends;
mod rights;
mod sentinel;
mod sockets;
mod support;
mod swaps;
mod values;
mod way;
