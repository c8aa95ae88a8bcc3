//! The engine from outside and without HTTP, as one program: what the files share is compiled and linked once.
//!
//! A test that needs a server, or looks at the memory or the log of the whole process, is a program of its own beside this one.

#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "a test fails by panicking")]

mod access;
mod adapter_docs;
mod cached;
mod data;
mod dpop;
mod endings;
mod first_look;
mod guide;
mod inspect;
mod lasting;
mod lazy;
mod logins;
mod not_before;
mod once;
mod pages;
mod provider_sessions;
mod requests;
mod retries;
mod standing;
#[path = "../support/mod.rs"]
mod support;
mod times;
mod tokens;
mod values;
mod vault;
