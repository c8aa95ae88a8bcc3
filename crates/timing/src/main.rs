//! Checks that comparing secrets takes the same time whatever they are.
//!
//! The method is dudect's (Reparaz, Balasch, Verbauwhede: "Dude, is my code constant time?", 2017): the same function
//! is timed on inputs of two classes, in random order, and Welch's t-test says whether the two distributions of times
//! differ. Here one class is wrong in its first byte and the other in its last, which a comparison that stops early
//! tells apart. One such comparison is among the subjects: if it is not flagged, the measurement shows nothing.
//!
//! `timing [MEASUREMENTS]`: how many for each subject, 200 000 unless told.

#![allow(clippy::expect_used, reason = "a measurement that cannot be set up ends here")]

mod subjects;
mod welch;

use std::process::ExitCode;
use std::time::Instant;

use crate::subjects::{Subject, all};
use crate::welch::largest_t;

/// Above this t, times differ beyond doubt: the bound of dudect's authors.
const FLAGGED: f64 = 10.0;
/// The number of measurements of a subject before a difference counts: the effect of a busy machine on the times is no
/// leak, and does not come back.
const TRIES: u32 = 3;

fn main() -> ExitCode {
    let measurements = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(200_000);
    let mut as_it_should = true;
    for subject in all() {
        let mut t = 0.0_f64;
        for _ in 0..TRIES {
            t = largest_t(&measure(subject.as_ref(), measurements));
            // A leak is there every time.
            if (t > FLAGGED) == subject.leaks() {
                break;
            }
        }
        let flagged = t > FLAGGED;
        as_it_should &= flagged == subject.leaks();
        let verdict = match (flagged, subject.leaks()) {
            (false, false) => "no difference",
            (true, true) => "flagged, as it must be",
            (true, false) => "LEAKS",
            (false, true) => "NOT FLAGGED: the measurement shows nothing",
        };
        println!("{:40} |t| = {t:9.2}  {verdict}", subject.name());
    }
    if as_it_should { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The times of both classes, in nanoseconds.
fn measure(subject: &dyn Subject, measurements: usize) -> [Vec<f64>; 2] {
    let mut times = [Vec::with_capacity(measurements), Vec::with_capacity(measurements)];
    let mut coins = Coins::default();
    // The first measurements fill the caches.
    for warm in (0..measurements / 10).map(|_| true).chain((0..measurements).map(|_| false)) {
        let class = usize::from(coins.toss());
        let mut run = subject.prepare(class);
        let start = Instant::now();
        run();
        let took = start.elapsed();
        if !warm {
            times[class].push(took.as_secs_f64() * 1e9);
        }
    }
    times
}

/// Random bits, so that nothing periodic on the machine falls on one class.
#[derive(Default)]
struct Coins {
    bits: u64,
    left: u32,
}

impl Coins {
    fn toss(&mut self) -> bool {
        if self.left == 0 {
            self.bits = getrandom::u64().expect("randomness");
            self.left = u64::BITS;
        }
        self.left -= 1;
        let toss = self.bits & 1 == 1;
        self.bits >>= 1;
        toss
    }
}
