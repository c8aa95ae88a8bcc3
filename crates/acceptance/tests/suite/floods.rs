//! Lines 91 and 92, and two applications on one store: what one user does in masses harms no other.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use serde_json::{Value, json};

use crate::support::client::{alice, assert_refused, seeded, steps};
use crate::support::forge;
use crate::support::hostile::{CONTEXT, present};
use crate::support::{Browser, Server, Store, Subject};

/// An audit log of this case's own, removed afterwards.
struct Audit(PathBuf);

impl Audit {
    fn new() -> Self {
        let name = format!("acceptance-floods-{}-{:?}.jsonl", std::process::id(), std::thread::current().id());
        Self(std::env::temp_dir().join(name))
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for a line.
    async fn wait_for(&self, what: &str, is_it: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.lines().iter().any(&is_it) {
            assert!(Instant::now() < deadline, "the audit log does not show {what}: {:#?}", self.lines());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A session of this user, its handle, and a dead cookie of it.
async fn with_a_dead_cookie<'s>(server: &'s Server, user: &str) -> (Browser<'s>, String, String) {
    let mut browser = server.browser();
    browser.post(&format!("/login?user={user}")).await.new_cookie();
    let dead = browser.token();
    browser.post("/set?k=a&v=1").await.new_cookie();
    for _ in 0..2 {
        server.advance(61_000).await;
        browser.state().await;
    }
    let id = browser.id().await;
    (browser, id, dead)
}

pub(crate) async fn c91_a_flood_of_ones_own_replays_hides_nobody_elses(subject: Subject) {
    let audit = Audit::new();
    let server = subject.start_with(&[("AUDIT", audit.path()), ("LOG", "warn")]).await;
    let (_, _, own) = with_a_dead_cookie(&server, "mallory").await;
    let (_, carols, shown_late) = with_a_dead_cookie(&server, "carol").await;
    let (mut alice, alices, stolen) = with_a_dead_cookie(&server, "alice").await;
    // On a body that may have been held back it is refused and not revoked, so it can be shown as often as one likes.
    for _ in 0..60 {
        server.post("/set?k=a&v=2").cookie(&own).chunked().send().await;
    }
    server.post("/set?k=a&v=2").cookie(&shown_late).chunked().send().await;
    assert_refused(&present(&server, &stolen).await);
    assert_refused(&alice.get("/state").await);
    assert_eq!(server.metrics().await.event("replayed"), 62);

    let shows = |id: &str| {
        let id = id.to_owned();
        move |line: &Value| line["event"] == "authn_token_reuse" && line["session"] == id.as_str()
    };
    audit.wait_for("the revocation of alice's session", shows(&alices)).await;
    audit.wait_for("the replay of carol's session", shows(&carols)).await;
    for id in [&alices, &carols] {
        server.log_line_of("replayed", id).await;
    }
    let replays = audit.lines().iter().filter(|line| line["event"] == "authn_token_reuse").count();
    assert!(replays < 62, "the flood itself is limited: {replays} lines");
}

pub(crate) async fn c91_a_flood_of_revocations_of_ones_own_hides_nobody_elses(subject: Subject) {
    let audit = Audit::new();
    let server = subject.start_with(&[("AUDIT", audit.path())]).await;
    // Each is another session of mallory's that is revoked: none of these lines may be dropped either.
    let mut own = Vec::new();
    for _ in 0..30 {
        let mut browser = server.browser();
        browser.post("/login?user=mallory").await.new_cookie();
        let dead = browser.token();
        browser.post("/set?k=a&v=1").await.new_cookie();
        own.push((browser, dead));
    }
    for _ in 0..2 {
        server.advance(61_000).await;
        for (browser, _) in &mut own {
            browser.state().await;
        }
    }
    let (_, alices, stolen) = with_a_dead_cookie(&server, "alice").await;
    for (_, dead) in &own {
        present(&server, dead).await;
    }
    present(&server, &stolen).await;
    let revoked = |line: &Value| line["event"] == "authn_token_reuse" && line["cause"] == "revoked";
    audit.wait_for("alice's revocation", |line| revoked(line) && line["session"] == alices.as_str()).await;
    assert_eq!(audit.lines().iter().filter(|line| revoked(line)).count(), 31);
}

pub(crate) async fn c91_endings_and_renewals_of_sessions_without_a_subject_are_limited(subject: Subject) {
    let audit = Audit::new();
    let server = subject.start_with(&[("AUDIT", audit.path())]).await;
    let start = Instant::now();
    for _ in 0..60 {
        let mut browser = seeded(&server).await;
        browser.post("/renew").await.new_cookie();
        browser.post("/logout").await.assert_removal();
    }
    // A user's own are not hidden by them.
    let mut user = alice(&server).await;
    user.post("/renew").await.new_cookie();
    let id = user.id().await;
    user.post("/logout").await.assert_removal();
    let allowed = 21 + usize::try_from(start.elapsed().as_secs()).unwrap();
    audit
        .wait_for("the user's logout", |line| line["event"] == "session_expired" && line["session"] == id.as_str())
        .await;
    audit
        .wait_for("the user's renewal", |line| line["event"] == "session_renewed" && line["session"] == id.as_str())
        .await;
    for word in ["session_expired", "session_renewed"] {
        let lines = audit.lines().iter().filter(|line| line["event"] == word).count();
        assert!(lines <= allowed + 1, "{lines} lines of {word}, {allowed} were to be expected");
    }
    // The next event that passes reports the number of those left out.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    seeded(&server).await.post("/logout").await.assert_removal();
    audit.wait_for("what was left out", |line| line["event"] == "excess_rate_limit_exceeded").await;
}

pub(crate) async fn c92_many_sessions_of_one_subject_keep_nobody_else_waiting(subject: Subject) {
    // One thread: while it is busy with one request, nobody else is served.
    let server = subject.start_with(&[("THREADS", "1")]).await;
    let count = if subject.store == Store::Memory { 3000 } else { 300 };
    for _ in 0..count / 100 {
        let logins = join_all((0..100).map(|_| server.post("/login?user=alice").send())).await;
        assert!(logins.iter().all(|reply| reply.status == 200));
    }
    let (mut owner, mut bob) = (alice(&server).await, server.browser());
    bob.post("/login?user=bob").await.new_cookie();

    let others = async || {
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let start = Instant::now();
            assert_eq!(bob.clone().state().await["subject"], "bob");
            slowest = slowest.max(start.elapsed());
        }
        assert!(slowest < Duration::from_secs(20), "another user waited {slowest:?}");
    };
    let (list, ()) = join(owner.clone().get("/sessions"), others()).await;
    assert_eq!(list.ok().as_array().map(Vec::len), Some(count + 1));
    let (ended, ()) = join(owner.clone().post("/sessions/revoke-others"), others()).await;
    assert_eq!(ended.ok()["revoked"], count);
    assert_eq!(owner.state().await["subject"], "alice");
    assert_eq!(server.post("/admin/revoke?user=alice").send().await.ok()["revoked"], 1);
    assert_eq!(bob.state().await["subject"], "bob");
    assert_eq!(server.metrics().await.live(), 1);
}

pub(crate) async fn c92_an_unreadable_row_hides_no_other_session_and_can_be_ended(subject: Subject) {
    let server = subject.start().await;
    let (mut broken, mut other) = (alice(&server).await, alice(&server).await);
    let database = server.database();
    let damage = async |browser: &Browser<'_>| {
        let id = database.literal(&forge::open(&browser.token(), &server.keys.seal, CONTEXT).session_id);
        let retired = database.literal(&[0xff; 5]);
        database.execute(&format!("UPDATE secure_sessions SET retired = {retired} WHERE id = {id}")).await;
    };
    damage(&broken).await;
    let list = other.get("/sessions").await;
    assert_eq!(list.ok().as_array().map(Vec::len), Some(1), "{}", list.text());
    assert_ne!(broken.post("/logout").await.status, 503, "its own logout");
    let mut broken = alice(&server).await;
    damage(&broken).await;
    assert_eq!(server.post("/admin/revoke?user=alice").send().await.status, 200);
    other.get("/state").await.assert_anonymous();
    let rows = database.fetch("SELECT id FROM secure_sessions WHERE ended_at IS NULL").await;
    assert_eq!(rows.len(), 0, "what cannot be read can be removed");
    assert_eq!(broken.get("/state").await.json()["subject"], json!(null));
}

pub(crate) async fn c40_two_cookie_names_on_one_store_keep_their_sessions_apart(subject: Subject) {
    let limit = ("SESSION_LIMIT", "evict:2");
    let shop = subject.start_with(&[limit]).await;
    let backend = subject.setup().keys(&shop.keys).database(shop.database()).set("COOKIE_NAME", "backend");
    let backend = backend.set(limit.0, limit.1).start().await;
    let mut in_the_shop = [alice(&shop).await, alice(&shop).await];
    let mut in_the_backend = [alice(&backend).await, alice(&backend).await];
    let all_are_alive = async |browsers: &mut [Browser<'_>; 2]| {
        for browser in browsers {
            assert_eq!(browser.state().await["subject"], "alice");
        }
    };
    // The limit counts those of one of them, and the list shows no others.
    all_are_alive(&mut in_the_shop).await;
    all_are_alive(&mut in_the_backend).await;
    for browser in in_the_shop.iter_mut().chain(&mut in_the_backend) {
        assert_eq!(browser.get("/sessions").await.ok().as_array().map(Vec::len), Some(2));
    }
    assert_eq!(in_the_shop[0].post("/sessions/revoke-others").await.ok()["revoked"], 1);
    assert_refused(&in_the_shop[1].get("/state").await);
    all_are_alive(&mut in_the_backend).await;
    assert_eq!(in_the_shop[0].post("/logout-everywhere").await.status, 200);
    all_are_alive(&mut in_the_backend).await;
    assert_eq!(shop.post("/admin/revoke?user=alice").send().await.ok()["revoked"], 0);
    all_are_alive(&mut in_the_backend).await;
    assert_eq!(backend.post("/admin/revoke?user=alice").send().await.ok()["revoked"], 2);
    // A cookie of the one is nothing to the other.
    let login = in_the_shop[0].post("/login?user=alice").await.new_cookie();
    backend.get("/state").cookie(&login).send().await.assert_anonymous();
    assert_eq!(present(&shop, &login).await.ok()["subject"], "alice");
    assert_eq!(in_the_shop[0].post(&steps(&["get:a"])).await.status, 200);
}
