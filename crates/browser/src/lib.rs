//! A headless Chromium for tests, and HTTPS in front of the servers that it visits.
//!
//! [`Front`] serves a plain server over TLS under any name that ends in `.test`. [`Chromium`] is a browser process that
//! resolves these names to 127.0.0.1, trusts the front's key, and binds sessions to keys in software. It is driven by
//! the DevTools protocol through its own standard streams: no driver and no port, and it ends with the test that
//! started it. [`Page`] is one of its tabs.
//!
//! A test that this drives fails by panicking, and so does everything here.

#![allow(clippy::expect_used, clippy::panic, clippy::missing_panics_doc, reason = "a test fails by panicking")]

mod chromium;
mod front;
mod page;
mod pipe;

pub use self::chromium::{Chromium, Installed, installed};
pub use self::front::Front;
pub use self::page::{Cookie, Page};
pub use self::pipe::Event;
