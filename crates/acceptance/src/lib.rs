//! The acceptance program, apart from any framework: see the README.
//!
//! A server for an adapter is a binary that mounts [`routes::ROUTES`] and [`control::ROUTES`] (and those under `/extra`),
//! and writes the few routes that show the framework's own side: see `src/bin/acceptance-axum.rs`.

// One generic server for every adapter and store: its types nest deeply.
#![recursion_limit = "256"]

pub mod account;
pub mod answer;
pub mod app;
pub mod clock;
pub mod config;
pub mod control;
pub mod data;
pub mod extra;
pub mod gate;
#[cfg(doctest)]
mod guide;
pub mod observe;
pub mod query;
pub mod report;
pub mod routes;
pub mod sample;
pub mod store;
pub mod views;
pub mod work;

pub use self::account::{Account, Admin};
pub use self::answer::Answer;
pub use self::app::{App, announce, run, run_unbound};
pub use self::control::Control;
pub use self::data::{Cart, Payment};
pub use self::query::Query;
pub use self::routes::Verb;
pub use self::work::{Request, Work};

/// The project's README: its quick start must compile. It is here because the packages of the adapters lack that file.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
