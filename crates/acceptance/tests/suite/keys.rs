//! Line 65: keys that change while the server runs.

use serde_json::json;

use crate::support::client::alice;
use crate::support::forge::{self, Plaintext};
use crate::support::hostile::CONTEXT;
use crate::support::{Keys, Subject};

/// The id of the seal key that a cookie was sealed with.
fn sealed_with(cookie: &str) -> Vec<u8> {
    forge::decode(cookie)[1..5].to_vec()
}

fn marked_with(cookie: &str) -> Vec<u8> {
    forge::decode(cookie)[5..9].to_vec()
}

pub(crate) async fn c65_an_accepted_key_still_opens_and_a_change_seals_with_the_active_one(subject: Subject) {
    let server = subject.start().await;
    let mut browser = alice(&server).await;
    let (old, new) = (server.keys.clone(), Keys::random());
    // First as the second key on every host: nothing changes.
    server.swap_keys(&[&old, &new], &[&old, &new], "").await;
    browser.get("/state").await.assert_no_cookie();
    // Then it is moved to the front: a read leaves the cookie as it is, a change seals under the new key.
    server.swap_keys(&[&new, &old], &[&new, &old], "").await;
    browser.get("/state").await.assert_no_cookie();
    assert_eq!(browser.get("/sessions").await.ok().as_array().map(Vec::len), Some(1));
    let superseded = browser.token();
    let cookie = browser.post("/set?k=a&v=2").await.new_cookie();
    assert_eq!(
        (sealed_with(&cookie), marked_with(&cookie)),
        (forge::key_id(&new.seal).into(), forge::key_id(&new.fingerprint).into())
    );
    // The handoff, too: who holds the token under the old key is led on.
    assert_eq!(server.get("/state").cookie(&superseded).send().await.new_cookie(), cookie);
    // The old ones can go: the session is found by subject as before.
    server.swap_keys(&[&new], &[&new], "").await;
    let state = browser.state().await;
    assert_eq!((&state["subject"], &state["data"]), (&json!("alice"), &json!({ "a": "2" })));
    assert_eq!(server.post("/admin/revoke?user=alice").send().await.ok()["revoked"], 1);
    assert_eq!(server.metrics().await.event("unknown_key"), 0);
}

pub(crate) async fn c65_with_a_compromised_seal_key_users_go_on_and_forgeries_die(subject: Subject) {
    let server = subject.start().await;
    let mut browser = alice(&server).await;
    let (leaked, new) = (server.keys.clone(), Keys::random());
    server.swap_keys(&[&new], &[&leaked], &leaked.seal_text()).await;
    // Issued again at once, on a read.
    let reply = browser.get("/state").await;
    assert_eq!((&reply.ok()["subject"], &reply.ok()["data"]), (&json!("alice"), &json!({ "a": "1" })));
    assert_eq!(sealed_with(&reply.new_cookie()), forge::key_id(&new.seal));
    browser.get("/state").await.assert_no_cookie();
    assert_eq!(browser.post("/set?k=a&v=2").await.status, 200);

    let before = server.metrics().await;
    let forged = forge::seal_without_mark(&forge::invented("alice"), &leaked, CONTEXT);
    let reply = server.get("/state").cookie(&forged).send().await;
    reply.assert_anonymous();
    reply.assert_no_cookie();
    let after = server.metrics().await;
    // Its bucket was asked whether it is a damaged cookie of its own holder.
    assert_eq!((after.event("forged"), after.all_calls()), (1, before.all_calls() + 1));
    assert_eq!(browser.state().await["subject"], "alice");
}

pub(crate) async fn c65_with_a_compromised_fingerprint_key_users_go_on_and_forgeries_die(subject: Subject) {
    let server = subject.start().await;
    let mut browser = alice(&server).await;
    let (leaked, new) = (server.keys.clone(), Keys::random());
    server.swap_keys(&[&leaked], &[&new], &leaked.fingerprint_text()).await;
    let reply = browser.get("/state").await;
    assert_eq!(reply.ok()["data"], json!({ "a": "1" }));
    assert_eq!(marked_with(&reply.new_cookie()), forge::key_id(&new.fingerprint));
    // Both keys leaked: even so what no bucket vouches for dies.
    server.swap_keys(&[&new], &[&new], &format!("{},{}", leaked.seal_text(), leaked.fingerprint_text())).await;
    let reply = browser.get("/state").await;
    assert_eq!(
        (reply.ok()["subject"].clone(), sealed_with(&reply.new_cookie())),
        (json!("alice"), forge::key_id(&new.seal).to_vec())
    );
    let known = forge::open(&browser.token(), &new.seal, CONTEXT);
    for plaintext in [
        forge::invented("alice"),
        Plaintext { session_id: known.session_id, generation: known.generation, ..forge::invented("alice") },
    ] {
        let reply = server.get("/state").cookie(&forge::seal(&plaintext, &leaked, CONTEXT)).send().await;
        reply.assert_anonymous();
        reply.assert_no_cookie();
    }
    assert_eq!(browser.state().await["subject"], "alice");
}

pub(crate) async fn c65_a_dropped_key_is_unknown_and_the_cookie_waits_for_its_return(subject: Subject) {
    let server = subject.start().await;
    let mut browser = alice(&server).await;
    let (old, new) = (server.keys.clone(), Keys::random());
    server.swap_keys(&[&new], &[&new], "").await;
    let reply = browser.get("/state").await;
    reply.assert_anonymous();
    reply.assert_no_cookie();
    assert_eq!(reply.json()["ended"], false);
    assert_eq!(server.metrics().await.event("unknown_key"), 1);
    // This host got the configuration too early; now it is put right.
    server.swap_keys(&[&old], &[&old], "").await;
    assert_eq!(browser.data().await, json!({ "a": "1" }));
    assert_eq!(server.metrics().await.live(), 1);
}

pub(crate) async fn c65_bad_key_configurations_are_refused_and_the_keys_in_force_stay(subject: Subject) {
    let server = subject.start().await;
    let mut browser = alice(&server).await;
    let (seal, fingerprint) = (server.keys.seal_text(), server.keys.fingerprint_text());
    let same_bytes = Keys { seal: server.keys.fingerprint, ..server.keys.clone() };
    for (seals, fingerprints, compromised) in [
        (String::new(), fingerprint.clone(), String::new()),
        (seal.clone(), String::new(), String::new()),
        (fingerprint.clone(), seal.clone(), String::new()),
        (format!("{seal},{seal}"), fingerprint.clone(), String::new()),
        (same_bytes.seal_text(), fingerprint.clone(), String::new()),
        (seal.clone(), fingerprint.clone(), seal.clone()),
        (seal[..seal.len() - 1].to_owned(), fingerprint.clone(), String::new()),
        ("hunter2".to_owned(), fingerprint.clone(), String::new()),
    ] {
        let path = format!("/admin/keys?seal={seals}&fingerprint={fingerprints}&compromised={compromised}");
        let reply = server.post(&path).send().await;
        assert_eq!(reply.status, 400);
        assert!(!reply.text().contains("hunter2") && !reply.text().contains(&seal[7..]), "{}", reply.text());
    }
    assert_eq!(browser.data().await, json!({ "a": "1" }));
}
