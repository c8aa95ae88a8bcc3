//! One session's life: arbitrary histories of a browser, a thief, losses, delays and long handlers.

#![no_main]

use libfuzzer_sys::fuzz_target;
use secure_sessions_fuzz::history::{History, Step};

fuzz_target!(|steps: Vec<Step>| {
    let mut history = History::new();
    for step in steps.into_iter().take(200) {
        history.take(step);
    }
    history.finish();
});
