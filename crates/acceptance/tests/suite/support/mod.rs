//! The parts of every case: a server process, a client that hides nothing, forged tokens, the store's rows.

pub(crate) mod client;
pub(crate) mod database;
pub(crate) mod device;
pub(crate) mod forge;
pub(crate) mod hostile;
pub(crate) mod run;
pub(crate) mod server;

pub(crate) use self::client::{Browser, Reply, SetCookie};
pub(crate) use self::forge::Keys;
pub(crate) use self::run::run;
pub(crate) use self::server::{Server, Setup, Store, Subject};

/// A minute in milliseconds.
pub(crate) const MINUTE: i64 = 60_000;
/// An hour in milliseconds.
pub(crate) const HOUR: i64 = 60 * MINUTE;
