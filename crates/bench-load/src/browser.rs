//! One user: keeps cookies, and asks one thing after the other.

use std::time::{Duration, Instant};

use crate::application::{Answer, Call};
use crate::jar::Jar;

/// A browser with its cookies.
#[derive(Debug, Default)]
pub(crate) struct Browser {
    jar: Jar,
}

impl Browser {
    /// Asks, and takes the cookies of the answer. How long the answer took.
    pub(crate) async fn ask(&mut self, call: &Call, path: &'static str) -> (Answer, Duration) {
        let start = Instant::now();
        let answer = call(path, self.jar.header()).await;
        let took = start.elapsed();
        self.jar.keep(answer.cookies.iter().map(String::as_str));
        (answer, took)
    }

    pub(crate) fn has_cookies(&self) -> bool {
        !self.jar.is_empty()
    }
}
