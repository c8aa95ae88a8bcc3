//! The growth of a request's cost: a curve for each thing that there is more of, held against the law that it should follow.
//!
//! The engine is driven without a framework. All points of a curve are measured in turns, in short passes.

mod curve;
mod floor;
mod measure;
mod requests;
mod sessions;

pub use self::curve::{Curve, Law, Point, Verdict};
pub use self::measure::Effort;
pub use self::requests::curves;
pub use self::sessions::in_the_store;
