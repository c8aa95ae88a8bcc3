//! Line 0, what pages need: requests of other sites, CSRF tokens, flash messages, a logout that clears, the audit log.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::client::{Outgoing, alice, steps};
use crate::support::{Browser, Reply, Server, Subject};

/// A request as a browser sends it: what caused it, and from where.
fn caused<'s>(request: Outgoing<'s>, site: &str, origin: &str) -> Outgoing<'s> {
    request.header("sec-fetch-site", site).header("origin", origin)
}

async fn post(browser: &mut Browser<'_>, path: &str, site: &str, origin: &str) -> Reply {
    let request = caused(browser.server.post(path), site, origin);
    browser.send(request).await
}

pub(crate) async fn c00_a_cross_site_change_is_refused_on_every_route_and_changes_nothing(subject: Subject) {
    let server = subject.start_with(&[("CROSS_ORIGIN", "refuse")]).await;
    let mut browser = server.browser();
    let own = "http://localhost";
    post(&mut browser, "/login?user=alice", "same-origin", own).await.new_cookie();
    let before = server.metrics().await;
    for (site, origin) in [("cross-site", "https://evil.example"), ("same-site", "https://sub.localhost"), ("", own)] {
        for path in ["/set?k=a&v=evil", "/logout", "/no/such/route"] {
            let reply = post(&mut browser, path, site, origin).await;
            assert_eq!(reply.status, 403, "{site} {path}: {}", reply.text());
            reply.assert_no_cookie();
        }
    }
    // Older browsers send no Sec-Fetch-Site.
    for (origin, status) in [("null", 403), ("https://evil.example", 403), ("http://localhost:81", 403), (own, 200)] {
        let request = browser.carrying(server.post("/clear")).header("origin", origin);
        assert_eq!(request.send().await.status, status, "{origin}");
    }
    let websocket =
        browser.carrying(server.get("/state")).header("connection", "upgrade").header("upgrade", "websocket");
    assert_eq!(caused(websocket, "cross-site", "https://evil.example").send().await.status, 403);
    // A request that reads passes, and so do a request that the user typed and one that no browser sent.
    let link = caused(browser.carrying(server.get("/state")), "cross-site", "https://other.example").send().await;
    assert_eq!(link.ok()["subject"], "alice");
    assert_eq!(browser.send(server.post("/set?k=a&v=1").header("sec-fetch-site", "none")).await.status, 200);
    assert_eq!(browser.post("/set?k=b&v=2").await.status, 200);
    assert_eq!(browser.data().await, json!({ "a": "1", "b": "2" }));
    let after = server.metrics().await;
    assert_eq!(after.event("cross_origin") - before.event("cross_origin"), 13);
    let event = server.event("cross_origin").await;
    assert_eq!((&event["reason"], &event["refused"]), (&json!("cross_site"), &json!(true)));
}

pub(crate) async fn c00_the_cross_origin_check_can_trust_exempt_and_only_report(subject: Subject) {
    let variables = [
        ("CROSS_ORIGIN", "refuse"),
        ("TRUSTED_ORIGINS", "https://sso.example.org"),
        ("EXEMPT_PATHS", "/incr,/extra/*"),
    ];
    let server = subject.start_with(&variables).await;
    let mut browser = server.browser();
    for (path, origin, status) in [
        ("/set?k=a&v=1", "https://sso.example.org", 200),
        ("/set?k=a&v=1", "https://evil.example", 403),
        ("/incr?k=n", "https://evil.example", 200),
        ("/extra/json?k=j&v=1", "https://evil.example", 200),
        ("/extra/%2e%2e/set?k=a&v=2", "https://evil.example", 403),
        ("/extra/..;/set?k=a&v=2", "https://evil.example", 403),
    ] {
        assert_eq!(post(&mut browser, path, "cross-site", origin).await.status, status, "{path} {origin}");
    }

    let server = subject.start_with(&[("CROSS_ORIGIN", "report")]).await;
    let mut browser = server.browser();
    assert_eq!(post(&mut browser, "/set?k=a&v=1", "cross-site", "https://evil.example").await.status, 200);
    assert_eq!(browser.data().await["a"], "1");
    assert_eq!(server.event("cross_origin").await["refused"], false);
}

pub(crate) async fn c00_the_cross_origin_check_on_one_route_leaves_the_others_alone(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    for (path, site, status) in [
        ("/extra/same-origin", "cross-site", 403),
        ("/extra/same-origin", "same-origin", 200),
        ("/set?k=a&v=1", "cross-site", 200),
    ] {
        assert_eq!(post(&mut browser, path, site, "https://evil.example").await.status, status, "{path} {site}");
    }
}

pub(crate) async fn c00_a_csrf_token_in_the_header_is_asked_for_by_the_extractor(subject: Subject) {
    let server = subject.start().await;
    let mut browser = alice(&server).await;
    let token = browser.get("/csrf").await.ok()["token"].as_str().unwrap().to_owned();
    assert_eq!(browser.post("/extra/csrf").await.status, 403);
    assert_eq!(browser.post(&format!("/extra/csrf?csrf_token={token}")).await.status, 403, "not in the query");
    let twice = server.post("/extra/csrf").header("x-csrf-token", &token).header("x-csrf-token", &token);
    assert_eq!(browser.send(twice).await.status, 403);
    let reply = browser.send(server.post("/extra/csrf").header("x-csrf-token", "no token")).await;
    assert_eq!(reply.status, 403);
    assert!(!reply.text().contains("CSRF"), "the client is told no more than it needs: {}", reply.text());
    assert_eq!(browser.send(server.post("/extra/csrf").header("x-csrf-token", &token)).await.status, 200);
    assert_eq!(browser.data().await["csrf"], "verified");
    assert_eq!(server.metrics().await.event("csrf_mismatch"), 4);
}

pub(crate) async fn c00_a_login_form_is_protected_by_the_token_of_an_anonymous_session(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    let reply = browser.get("/csrf").await;
    let token = reply.ok()["token"].as_str().unwrap().to_owned();
    reply.new_cookie();
    // An attacker who makes the victim's browser send the form has a token of their own session at best.
    let evil = server.browser().get("/csrf").await.ok()["token"].as_str().unwrap().to_owned();
    assert_eq!(browser.post(&format!("/protected?csrf_token={evil}")).await.status, 403);
    assert_eq!(browser.post(&format!("/protected?csrf_token={token}")).await.status, 200);
    // The login ends it, and so do renew and logout.
    for path in ["/login?user=alice", "/renew", "/logout"] {
        assert_eq!(browser.post(path).await.status, 200);
        assert_eq!(browser.post(&format!("/protected?csrf_token={token}")).await.status, 403, "{path}");
    }
}

pub(crate) async fn c00_flash_messages_survive_a_redirect_and_a_login_and_are_read_once(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    let taken =
        async |browser: &mut Browser<'_>| browser.post(&steps(&["flashes"])).await.ok()["steps"][0]["ok"].take();
    browser.post(&steps(&["flash:Saved.", "flash:Really."])).await.new_cookie();
    browser.post("/login?user=alice").await.new_cookie();
    browser.post("/renew").await.new_cookie();
    assert_eq!(taken(&mut browser).await, json!(["Saved.", "Really."]));
    assert_eq!(taken(&mut browser).await, json!([]));
    // A client that reads while another request leaves a message loses none.
    browser.post(&steps(&["flash:one"])).await.new_cookie();
    let slow = steps(&["flashes"]) + "&gate=reply";
    let reader = vec![browser.carrying(server.post(&slow))];
    let mut other = browser.clone();
    let meanwhile = async { other.post(&steps(&["flash:two"])).await.new_cookie() };
    let (replies, _) = crate::support::client::held(&server, reader, meanwhile).await;
    assert_eq!(replies[0].ok()["steps"][0]["ok"], json!(["one"]));
    browser.receive(&replies[0]);
    assert_eq!(taken(&mut browser).await, json!(["two"]));
    // A failed page shows nothing, so it takes nothing.
    browser.post(&steps(&["flash:three"])).await.new_cookie();
    assert_eq!(browser.post(&steps(&["flashes", "status:500"])).await.status, 500);
    assert_eq!(taken(&mut browser).await, json!(["three"]));
}

pub(crate) async fn c00_a_logout_clears_site_data_as_configured(subject: Subject) {
    let server = subject.start().await;
    let mut browser = alice(&server).await;
    assert_eq!(browser.post("/logout").await.all("clear-site-data"), [""; 0]);

    let server = subject.start_with(&[("CLEAR_SITE_DATA", "cache,storage")]).await;
    let mut browser = alice(&server).await;
    let old = browser.clone();
    assert_eq!(browser.get("/state").await.all("clear-site-data"), [""; 0]);
    let reply = browser.post("/logout").await;
    reply.assert_removal();
    assert_eq!(reply.all("clear-site-data"), ["\"cache\", \"storage\""]);
    // A second click, late: the browser may hold a newer login by now.
    let reply = old.clone().post("/logout").await;
    assert_eq!(reply.all("clear-site-data"), [""; 0]);
    assert_eq!(server.browser().post("/logout").await.all("clear-site-data"), [""; 0]);
}

/// A file of this case's own, removed afterwards.
struct AuditPath(PathBuf);

impl Drop for AuditPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn audited(path: &AuditPath, wanted: usize) -> Vec<Value> {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let text = std::fs::read_to_string(&path.0).unwrap_or_default();
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if lines.len() >= wanted {
            return lines;
        }
        assert!(std::time::Instant::now() < deadline, "fewer than {wanted} lines");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

pub(crate) async fn c00_the_audit_file_has_a_line_for_every_event_and_no_secret(subject: Subject) {
    let name = format!("acceptance-audit-{}-{:?}.jsonl", std::process::id(), std::thread::current().id());
    let path = AuditPath(std::env::temp_dir().join(name));
    let server: Server = subject.start_with(&[("AUDIT", path.0.to_str().unwrap())]).await;
    let mut browser = server.browser();
    let mut tokens = vec![browser.post("/set?k=canary-key&v=canary-value").await.new_cookie()];
    tokens.push(browser.post("/login?user=canary-user").await.new_cookie());
    tokens.push(browser.post("/renew").await.new_cookie());
    browser.post("/logout").await.assert_removal();
    let mut forged = tokens[2].clone();
    let last = forged.len() - 8;
    forged.replace_range(last..=last, if forged.as_bytes()[last] == b'A' { "B" } else { "A" });
    server.get("/state").cookie(&forged).send().await;

    let lines = audited(&path, 5).await;
    let words: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(
        words,
        ["session_created", "authn_login_success", "session_renewed", "session_expired", "session_forged"]
    );
    for line in &lines {
        assert_eq!(line["appid"], "acceptance");
        let datetime = line["datetime"].as_str().unwrap();
        assert!(datetime.len() == 24 && datetime.ends_with('Z'), "{datetime}");
    }
    assert_eq!((&lines[3]["cause"], &lines[4]["level"]), (&json!("logout"), &json!("CRITICAL")));
    assert_eq!(lines[1]["old"], lines[0]["session"], "one session can be followed over its ids");
    let text = std::fs::read_to_string(&path.0).unwrap();
    for secret in tokens.iter().flat_map(|token| token.as_bytes().chunks_exact(16)) {
        assert!(!text.contains(std::str::from_utf8(secret).unwrap()), "{text}");
    }
    for secret in ["canary", &server.keys.seal_text()[7..], &server.keys.fingerprint_text()[5..]] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}
