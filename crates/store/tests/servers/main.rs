//! The SQL store on real servers: the contract, what only a server has, and what happens when one fails.
//!
//! The servers are those that the environment names (`SECURE_SESSIONS_TEST_POSTGRES`, `SECURE_SESSIONS_TEST_MYSQL`), or
//! throwaway ones. Each test has a table of its own there. Those under `faults` start a server that they can break.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod cases;
mod clocks;
mod commits;
#[path = "../common/mod.rs"]
mod common;
mod connects;
mod contract;
mod faults;
mod lists;
mod load;
mod migrations;
mod mysql;
mod pooler;
mod postgres;
mod retries;
mod support;
mod touches;
