//! The core's tests from outside, as one program: what they share is compiled and linked once.
#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests may panic")]

mod admission;
mod devices;
mod handoff;
mod histories;
mod independent;
mod sealing;
mod secrets;
mod simulation;
mod support;
mod thieves;
mod token;
mod vectors;
