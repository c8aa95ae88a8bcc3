//! A superseded token gives the way to the newest, never its own data.

use secure_sessions_core::{DataMap, Superseded};

fn data(superseded: Superseded) -> DataMap {
    superseded.data
}

fn main() {}
