//! One user: keeps cookies, and asks one thing after the other.

use std::time::{Duration, Instant};

use crate::application::{Answer, Call};

/// A browser with its cookies.
#[derive(Debug, Default)]
pub(crate) struct Browser {
    jar: Vec<(String, String)>,
    /// The jar as a header.
    header: String,
}

impl Browser {
    /// Asks, and takes the cookies of the answer. How long the answer took.
    pub(crate) async fn ask(&mut self, call: &Call, path: &'static str) -> (Answer, Duration) {
        let start = Instant::now();
        let answer = call(path, &self.header).await;
        let took = start.elapsed();
        self.keep(&answer.cookies);
        (answer, took)
    }

    pub(crate) fn has_cookies(&self) -> bool {
        !self.jar.is_empty()
    }

    fn keep(&mut self, cookies: &[String]) {
        if cookies.is_empty() {
            return;
        }
        for header in cookies {
            let pair = header.split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            self.jar.retain(|(other, _)| other != name);
            self.jar.push((name.to_owned(), value.to_owned()));
        }
        let pairs: Vec<String> = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        self.header = pairs.join("; ");
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn the_newest_cookie_of_a_name_is_presented_beside_the_others() {
        let mut browser = Browser::default();
        assert!(!browser.has_cookies());
        browser.keep(&["id=1; Path=/".to_owned(), "theme=dark".to_owned()]);
        browser.keep(&["id=2; HttpOnly".to_owned()]);
        browser.keep(&[]);
        assert_eq!(browser.header, "theme=dark; id=2");
    }
}
