//! The parts that the cases of hostile input share: a victim, and the checks of a refusal.

use serde_json::json;

use super::{Browser, Reply, Server};

/// The cookie's name, which tokens are bound to.
pub(crate) const CONTEXT: &str = "session";

/// Bytes of the issue mark, at the end of a token.
pub(crate) const ISSUE_LEN: usize = 16;

/// A logged-in session with data, and its client.
pub(crate) async fn victim(server: &Server) -> Browser<'_> {
    let mut browser = server.browser();
    browser.post("/login?user=alice").await.new_cookie();
    browser.post("/set?k=cart&v=one-pen").await.new_cookie();
    browser
}

pub(crate) async fn assert_unharmed(browser: &mut Browser<'_>) {
    let reply = browser.get("/state").await;
    let state = reply.ok();
    assert_eq!((&state["subject"], &state["data"]), (&json!("alice"), &json!({ "cart": "one-pen" })));
    reply.assert_no_cookie();
}

pub(crate) async fn present(server: &Server, cookie: &str) -> Reply {
    server.get("/state").cookie(cookie).send().await
}

/// Anonymous, and the browser's cookie is removed.
#[track_caller]
pub(crate) fn assert_garbage(reply: &Reply) {
    reply.assert_anonymous();
    reply.assert_removal();
}
