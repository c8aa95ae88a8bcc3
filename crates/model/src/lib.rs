//! The protocol in a model checker.
//!
//! A few requests of one browser, and of a thief who copied its cookie, go to a host that judges and commits as the
//! engine does, with the core's own functions: real tokens, real handoffs, real bucket transitions. The checker goes
//! through *every* order in which requests arrive, handlers finish and responses come back, are lost or cross, and time
//! passes in steps of half a grace, which is the longest way that the protocol promises to bear.
//!
//! A [`Fault`] must never happen. Rules that are broken on purpose show that the checker would notice one:
//! [`Planted`].

#![cfg(not(shuttle))]
#![allow(clippy::expect_used, clippy::panic, reason = "a model that cannot go on has found something")]

mod checked;
mod device;
mod ending;
mod fault;
mod host;
mod memo;
mod mint;
mod moving;
mod oracle;
mod planted;
mod protocol;
mod subject;
mod time;
mod vault;
mod world;

pub use checked::Action;
pub use device::{DeviceModel, Doing, Flaw, Loot, Moving, Relaxed, Scene};
pub use fault::Fault;
pub use planted::Planted;
pub use protocol::{Protocol, Seen};
pub use vault::{BrokenRule, Happening, Moment, Task, VaultModel};
pub use world::{Kind, Who, World};
