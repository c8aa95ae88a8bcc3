//! A check of everything that a host needs: keys, clock, store, and what an answer looks like.

use std::io::Read;
use std::path::Path;
use std::time::Instant;

use secure_sessions::store::SessionStore;
use secure_sessions::{Clock, Keyring, RequestHead, SessionManager, SystemClock, Timestamp, testing};
use secure_sessions_core::format::DEFAULT_LIMIT;
use serde_json::{Value, json};

use crate::arguments::{DoctorCommand, StoreArguments};
use crate::cookie::CookieName;
use crate::error::Failure;
use crate::output::{Answer, plain, when};
use crate::{keys, store};

/// nginx passes on response headers of at most this size, unless `proxy_buffer_size` is set: a page of memory.
const NGINX_DEFAULT: usize = 4096;
/// The time of this release: a clock behind it is wrong. 2026-01-01.
const RELEASED: u64 = 1_767_225_600_000;

/// One check.
struct Check {
    name: &'static str,
    outcome: Outcome,
    detail: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Good,
    Warning,
    Bad,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Warning => "warning",
            Self::Bad => "BAD",
        }
    }
}

#[derive(Default)]
struct Checks(Vec<Check>);

impl Checks {
    fn add(&mut self, name: &'static str, outcome: Outcome, detail: impl Into<String>) {
        self.0.push(Check { name, outcome, detail: detail.into() });
    }

    fn answer(self) -> Answer {
        let line = |check: &Check| format!("{:<8} {:<12} {}\n", check.outcome.word(), check.name, plain(&check.detail));
        let text = self.0.iter().map(line).collect::<String>();
        let value = |check: &Check| json!({ "check": check.name, "outcome": check.outcome.word().to_lowercase(), "detail": check.detail });
        let checks: Vec<Value> = self.0.iter().map(value).collect();
        let is_bad = self.0.iter().any(|check| check.outcome == Outcome::Bad);
        Answer { is_bad, ..Answer::new(text, json!({ "checks": checks })) }
    }
}

pub(crate) async fn run(
    command: &DoctorCommand,
    keys: Option<&Path>,
    arguments: &StoreArguments,
    cookie_name: String,
) -> Result<Answer, Failure> {
    let mut checks = Checks::default();
    let name = CookieName::parse(cookie_name);
    check_clock(&mut checks, SystemClock.now());
    let keyring = check_keys(&mut checks, keys, &command.expect_keys);
    match &arguments.store {
        Some(_) => match (store::open(arguments).await, keyring) {
            (Ok(store), keyring) => {
                checks.add("store", Outcome::Good, format!("reachable, a primary{}", store::tables(arguments)));
                check_skew(&mut checks, &store.sessions).await;
                check_round_trip(&mut checks, store, keyring, &name).await;
            }
            // A URL that no store takes is a wrong argument, not a finding.
            (Err(failure), _) if failure.code() == 2 && !matches!(failure, Failure::Rejected(_)) => {
                return Err(failure);
            }
            (Err(failure), _) => checks.add("store", Outcome::Bad, failure.to_string()),
        },
        None => checks.add("store", Outcome::Warning, "not checked: name it by --store"),
    }
    match &command.headers {
        Some(file) => check_headers(&mut checks, &read(file)?, name.context()),
        None => checks.add(
            "cookie",
            Outcome::Warning,
            "not checked: `curl --silent --head URL-THAT-SETS-IT | secure-sessions doctor --headers -`",
        ),
    }
    Ok(checks.answer())
}

fn check_clock(checks: &mut Checks, now: Timestamp) {
    if now.as_millis() < RELEASED {
        checks.add("clock", Outcome::Bad, format!("it says {}, which is before this release: set it", when(now)));
    } else {
        let detail = format!("{}; compare it with the other hosts': half a minute apart is tolerated", when(now));
        checks.add("clock", Outcome::Good, detail);
    }
}

/// Compares the clock with that of the store's server, if it has one.
async fn check_skew(checks: &mut Checks, store: &impl SessionStore) {
    let before = SystemClock.now();
    let Ok(Some(theirs)) = store.now().await else { return };
    let (outcome, detail) = skew(before, theirs, SystemClock.now());
    checks.add("clock", outcome, detail);
}

/// Judges the server's time, which was asked for between two times of this host.
fn skew(before: Timestamp, theirs: Timestamp, after: Timestamp) -> (Outcome, String) {
    let (early, late) =
        (before.as_millis().saturating_sub(theirs.as_millis()), theirs.as_millis().saturating_sub(after.as_millis()));
    let (millis, direction) = if early > 0 { (early, "ahead of") } else { (late, "behind") };
    let outcome = match millis {
        0..=5_000 => return (Outcome::Good, "within 5 seconds of the store's".to_owned()),
        5_001..=30_000 => Outcome::Warning,
        _ => Outcome::Bad,
    };
    (
        outcome,
        format!(
            "{} seconds {direction} the store's: sessions end too early or too late; set both by NTP",
            millis / 1000
        ),
    )
}

fn check_keys(checks: &mut Checks, file: Option<&Path>, expected: &[String]) -> Option<Keyring> {
    let keyring = match keys::keyring(file) {
        Ok(keyring) => keyring,
        Err(failure) => {
            checks.add("keys", Outcome::Bad, failure.to_string());
            return None;
        }
    };
    let ids: Vec<String> = keyring.states().map(|(_, id, _)| id.to_string()).collect();
    for problem in keys::problems(&keyring, file) {
        let zero = problem.contains("zero bytes");
        checks.add("keys", if zero { Outcome::Bad } else { Outcome::Warning }, problem);
    }
    if expected.is_empty() {
        checks.add("keys", Outcome::Good, format!("{}; the other hosts must have the same", ids.join(",")));
        return Some(keyring);
    }
    let missing: Vec<&str> =
        expected.iter().map(|id| id.trim()).filter(|id| !ids.iter().any(|own| own == id)).collect();
    let more: Vec<&str> =
        ids.iter().map(String::as_str).filter(|id| !expected.iter().any(|other| other.trim() == *id)).collect();
    if missing.is_empty() && more.is_empty() {
        checks.add("keys", Outcome::Good, "the same as expected");
    } else {
        let detail = format!("missing here: [{}]; only here: [{}]", missing.join(", "), more.join(", "));
        checks.add("keys", Outcome::Bad, detail);
    }
    Some(keyring)
}

/// Makes a session with a private value, reads it and ends it: a write, a read and a delete with the application's rights.
async fn check_round_trip(checks: &mut Checks, store: store::Opened, keyring: Option<Keyring>, name: &CookieName) {
    match store.sessions.count().await {
        Ok(count) => checks.add("sessions", Outcome::Good, format!("{count} stored")),
        Err(error) => checks.add("sessions", Outcome::Bad, error.to_string()),
    }
    let Some(keyring) = keyring else { return };
    let manager = match name.apply(store.builder(keyring)).build() {
        Ok(manager) => manager,
        Err(error) => return checks.add("cookie name", Outcome::Bad, error.to_string()),
    };
    let started = Instant::now();
    match round_trip(&manager).await {
        Ok(()) => {
            let detail = format!("a session with a private value was made, read and ended in {:?}", started.elapsed());
            checks.add("round trip", Outcome::Good, detail);
        }
        Err(problem) => checks.add("round trip", Outcome::Bad, problem),
    }
}

async fn round_trip(manager: &SessionManager) -> Result<(), String> {
    let made = testing::session(manager).insert("doctor", true).cookie();
    let cookie = made.await.map_err(|error| format!("a session cannot be stored: {error}"))?;
    let request = manager.begin();
    let session = request.session(&Presenting(cookie)).await;
    let session = session.map_err(|error| format!("a session cannot be read: {error}"))?;
    if !session.get::<bool>("doctor").is_ok_and(|value| value == Some(true)) {
        return Err(
            "a session that was stored a moment ago is not found: is this a replica, is this host's clock behind, or does a cache evict it?"
                .to_owned(),
        );
    }
    session.vault().insert("doctor private", true).map_err(|error| error.to_string())?;
    session.save().await.map_err(|error| format!("a private value cannot be stored: {error}"))?;
    let ended = session.logout().map_err(|error| error.to_string());
    ended?;
    match request.finish(200).await.and_then(|reply| reply.failure().map(ToString::to_string)) {
        Some(error) => Err(format!("a session cannot be ended: {error}")),
        None => Ok(()),
    }
}

/// A request with one cookie.
struct Presenting(String);

impl RequestHead for Presenting {
    fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
        if name == "cookie" {
            visit(self.0.as_bytes());
        }
    }

    fn method(&self) -> &'static str {
        "GET"
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    let failed = |source| Failure::File { path: file.to_owned(), source };
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().take(1 << 20).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        std::fs::File::open(file).map_err(failed)?.take(1 << 20).read_to_end(&mut bytes).map_err(failed)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn check_headers(checks: &mut Checks, headers: &str, name: &str) {
    let cookies: Vec<&str> = headers
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(header, _)| header.trim().eq_ignore_ascii_case("set-cookie"))
        .map(|(_, value)| value.trim())
        .filter(|value| value.split('=').next() == Some(name))
        .collect();
    let cookie = match cookies.as_slice() {
        [] => {
            let detail =
                format!("no Set-Cookie of `{name}` in these headers: name a page that logs in, or --cookie-name");
            return checks.add("cookie", Outcome::Bad, detail);
        }
        [cookie] => *cookie,
        several => {
            let detail = format!("{} of `{name}` in one answer: is another layer setting it?", several.len());
            return checks.add("cookie", Outcome::Bad, detail);
        }
    };
    let mut parts = cookie.split(';');
    let pair = parts.next().unwrap_or_default().trim();
    let attributes: Vec<String> = parts.map(|part| part.trim().to_ascii_lowercase()).collect();
    let has = |attribute: &str| attributes.iter().any(|found| found.split('=').next() == Some(attribute));
    let mut problems = Vec::new();
    if !has("secure") {
        problems.push("it is not Secure, so it travels over plain http: leave `insecure_dev` out");
    }
    if !has("httponly") {
        problems.push("it is not HttpOnly, so scripts can read it");
    }
    if !has("samesite") {
        problems.push("it has no SameSite");
    }
    let is_host = name.starts_with("__Host-");
    if is_host && (has("domain") || !attributes.iter().any(|found| found == "path=/")) {
        problems.push("a `__Host-` cookie with a Domain or another Path: browsers drop it; is a proxy rewriting it?");
    }
    for problem in &problems {
        checks.add("cookie", Outcome::Bad, *problem);
    }
    if problems.is_empty() {
        checks.add(
            "cookie",
            Outcome::Good,
            format!("{} bytes of name and value, {}", pair.len(), attributes.join("; ")),
        );
    }
    let caching = headers.lines().filter_map(|line| line.split_once(':'));
    let mut caching = caching.filter(|(header, _)| header.trim().eq_ignore_ascii_case("cache-control"));
    if !caching.any(|(_, value)| value.contains("no-store") || value.contains("private")) {
        let detail = "an answer with a Set-Cookie that caches may keep: does a proxy remove Cache-Control?";
        checks.add("caching", Outcome::Bad, detail);
    }
    // The default limit of name and value must fit beside the bytes that the other headers take.
    let others = headers.lines().map(|line| line.len() + 2).sum::<usize>().saturating_sub(pair.len());
    if others + DEFAULT_LIMIT > NGINX_DEFAULT {
        let detail = format!(
            "{others} bytes of headers beside the cookie, which may grow to {DEFAULT_LIMIT} by default: nginx answers 502 to \
             more than {NGINX_DEFAULT}, so set `proxy_buffer_size 8k`, or `size_limit` to less"
        );
        checks.add("proxy", Outcome::Warning, detail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(headers: &str) -> Vec<(&'static str, bool)> {
        let mut checks = Checks::default();
        check_headers(&mut checks, headers, "__Host-session");
        checks.0.iter().map(|check| (check.name, check.outcome == Outcome::Bad)).collect()
    }

    #[test]
    fn a_cookie_of_the_defaults_is_good_and_large_headers_beside_it_need_a_hint() {
        let headers = "HTTP/1.1 200 OK\r\nset-cookie: __Host-session=AAAA; Path=/; Secure; HttpOnly; SameSite=Lax\r\ncache-control: no-store\r\ncontent-type: text/html\r\n";
        assert_eq!(outcomes(headers), [("cookie", false)]);
        let large = format!("{headers}content-security-policy: {}\r\n", "x".repeat(1200));
        assert_eq!(outcomes(&large), [("cookie", false), ("proxy", false)]);
    }

    #[test]
    fn a_clock_that_differs_from_the_stores_is_a_warning_and_then_bad() {
        let at = |seconds: u64| Timestamp::from_millis(RELEASED + 1000 * seconds);
        for (theirs, outcome, says) in [
            (101, "ok", "within 5 seconds"),
            (95, "ok", "within 5 seconds"),
            (110, "warning", "8 seconds behind the store's"),
            (80, "warning", "20 seconds ahead of the store's"),
            (3700, "BAD", "3598 seconds behind the store's"),
            (0, "BAD", "100 seconds ahead of the store's"),
        ] {
            let (found, detail) = skew(at(100), at(theirs), at(102));
            assert!(found.word() == outcome && detail.contains(says), "{theirs}: {} {detail}", found.word());
        }
        let mut checks = Checks::default();
        check_clock(&mut checks, Timestamp::from_millis(0));
        assert!(checks.answer().is_bad, "1970");
    }

    #[test]
    fn each_attribute_that_is_missing_is_named() {
        let headers = "HTTP/1.1 200 OK\nSet-Cookie: __Host-session=AAAA; Path=/app; Domain=example.org\n";
        let bad: Vec<_> = outcomes(headers).into_iter().filter(|(_, bad)| *bad).collect();
        assert_eq!(bad.len(), 5, "not Secure, not HttpOnly, no SameSite, the prefix, caching: {bad:?}");
        assert_eq!(outcomes("HTTP/1.1 200 OK\n"), [("cookie", true)]);
    }
}
