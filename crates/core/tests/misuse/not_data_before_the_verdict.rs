//! An opened token keeps its data until its bucket has vouched for it.

use secure_sessions_core::{DataMap, Opened};

fn data(opened: Opened) -> DataMap {
    opened.data
}

fn data_by_method(opened: Opened) -> DataMap {
    opened.into_data().unwrap()
}

fn handoff_key(opened: &Opened) {
    let _ = opened.handoff_key();
}

fn main() {}
