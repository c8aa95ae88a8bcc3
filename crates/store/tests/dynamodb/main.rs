//! The contract in a table of an emulator of DynamoDB, and what comes of lost answers, dead servers and DynamoDB's errors.
#![cfg(feature = "dynamodb")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod answers;
#[path = "../common/mod.rs"]
mod common;
mod contract;
mod faults;
mod proxy;
mod support;
mod tables;
