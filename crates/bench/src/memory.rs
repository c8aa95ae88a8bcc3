//! MemoryStore with a million sessions and more: what it takes, how fast it is, and how long it lets anyone wait.

pub mod growth;
pub mod resident;
pub(crate) mod sample;
pub mod stall;
pub(crate) mod system;
