//! A server-rendered application on secure-sessions, with an attack lab that runs real attacks against it.
//!
//! The way through the code: [`server`] puts everything together, [`pages`] has the handlers, [`visitor`] says what a
//! session holds. [`lab`] and [`mod@format`] are the attacker's side.

pub mod app;
pub mod catalogue;
pub mod config;
pub mod device;
pub mod error;
pub mod events;
pub mod format;
pub mod keys;
pub mod lab;
pub mod lockout;
pub mod pages;
pub mod private;
pub mod rows;
pub mod second_factor;
pub mod server;
pub mod shell;
pub mod shutdown;
pub mod telemetry;
pub mod users;
pub mod visitor;
pub mod when;
