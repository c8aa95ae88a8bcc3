//! One request's way through the engine: its tokens are loaded and judged, its changes committed, its reply made.

pub(crate) mod caller;
pub(crate) mod cell;
pub(crate) mod commit;
pub(crate) mod device;
pub(crate) mod dpop;
pub(crate) mod ending;
pub(crate) mod entropy;
pub(crate) mod finish;
pub(crate) mod load;
pub(crate) mod messages;
pub(crate) mod newest;
pub(crate) mod once;
pub(crate) mod ops;
pub(crate) mod private;
pub(crate) mod slot;
pub(crate) mod state;
pub(crate) mod upkeep;
pub(crate) mod vault;
