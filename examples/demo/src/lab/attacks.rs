//! The attacks, one module each.

pub mod flips;
pub mod forge;
pub mod logout;
pub mod rollback;
pub mod store;

use super::LabError;
use super::probe::{Exchange, Pair};
use super::report::{Findings, Outcome};

/// The result of an attack.
pub type Conclusion = Result<(Pair<Outcome>, Findings), LabError>;

/// Neither served nor a failure of the server.
fn is_refused(exchange: &Exchange) -> bool {
    (400..500).contains(&exchange.status)
}
