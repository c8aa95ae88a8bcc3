//! Keys that come from a file, and what an operator does when one has leaked.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bearer::Api;
use crate::support::client::alice;
use crate::support::forge::{self, Plaintext};
use crate::support::hostile::CONTEXT;
use crate::support::{Browser, Keys, Server, Subject};

const BEARER_CONTEXT: &str = "bearer:session-token";

/// A key file that goes when it is dropped.
struct KeyFile(PathBuf);

impl KeyFile {
    fn new(text: &str) -> Self {
        let file = Self(std::env::temp_dir().join(format!("keys-{}.txt", forge::hex(&forge::random::<8>()))));
        file.replace(text);
        file
    }

    /// As an operator does: a new file, renamed into the place of the old one.
    fn replace(&self, text: &str) {
        let next = self.0.with_extension("new");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(&next, &self.0).unwrap();
    }

    async fn server(&self, subject: Subject, keys: &Keys) -> Server {
        let path = self.0.to_str().unwrap();
        let setup = subject.setup().keys(keys).set("BEARER", "1").set("KEY_FILE", path).set("KEY_WATCH_MS", "20");
        setup.start().await
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn lines(active: &Keys) -> String {
    format!("# of the shop\n{}\n{}\n", active.seal_text(), active.fingerprint_text())
}

/// Waits until an event was seen so often.
async fn until(server: &Server, event: &str, times: u64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while server.metrics().await.event(event) < times {
        assert!(Instant::now() < deadline, "{event} was not seen {times} times");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn keys_of(token: &str) -> (Vec<u8>, Vec<u8>) {
    let token = forge::decode(token);
    (token[1..5].to_vec(), token[5..9].to_vec())
}

/// Events of this name on standard error so far.
fn logged(server: &Server, name: &str) -> Vec<Value> {
    let events = server.log().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    events.filter(|event| event["event"] == name).collect()
}

/// Every client goes on, and has a token under these keys afterwards.
async fn all_go_on(browsers: &mut [Browser<'_>], apis: &mut [Api<'_>], keys: &Keys) {
    let expected = (forge::key_id(&keys.seal).to_vec(), forge::key_id(&keys.fingerprint).to_vec());
    for browser in browsers {
        let state = browser.state().await;
        assert_eq!((&state["subject"], &state["data"]), (&json!("alice"), &json!({ "a": "1" })));
        assert_eq!(keys_of(&browser.token()), expected);
    }
    for api in apis {
        assert_eq!(api.state().await["subject"], "bob");
        assert_eq!(keys_of(&api.token()), expected);
    }
}

pub(crate) async fn d5_a_compromise_moves_all_clients_to_new_keys_and_reports_forgeries(subject: Subject) {
    let (leaked, new) = (Keys::random(), Keys::random());
    let file = KeyFile::new(&lines(&leaked));
    let server = file.server(subject, &leaked).await;
    let (mut browsers, mut apis) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        browsers.push(alice(&server).await);
        apis.push(Api::login(&server, "bob").await);
    }
    // The thief captured a token, and forges others with the seal key and with the fingerprint key.
    let captured = forge::open(&browsers[0].token(), &leaked.seal, CONTEXT);
    let forged = forge::seal_without_mark(&Plaintext { generation: 99, ..captured }, &leaked, CONTEXT);
    let invented = forge::seal_without_mark(&forge::invented("alice"), &leaked, BEARER_CONTEXT);
    let marked = forge::mark_without_seal(&leaked, CONTEXT);
    let attack = async || {
        let (before, seen) = (server.metrics().await, logged(&server, "forged").len());
        for (cookie, bearer) in [(Some(&forged), None), (None, Some(&invented)), (Some(&marked), None)] {
            let mut request = server.get("/state");
            if let Some(cookie) = cookie {
                request = request.cookie(cookie);
            }
            if let Some(token) = bearer {
                request = request.bearer(token);
            }
            let reply = request.send().await;
            reply.assert_anonymous();
            assert_eq!(reply.bearer(), None);
            // The mark that the fingerprint key alone makes is none: that cookie is noise, and removed as such.
            let removed = reply.set_cookie().map(|cookie| cookie.value);
            assert_eq!(removed, cookie.filter(|cookie| **cookie == marked).map(|_| String::new()));
        }
        let after = server.metrics().await;
        assert_eq!(after.event("forged"), before.event("forged") + 2);
        assert_eq!(after.writes(), before.writes(), "nothing is written");
        seen
    };
    attack().await;
    let alarm = server.event("forged").await;
    assert_eq!((&alarm["kind"], &alarm["key"]), (&json!("seal"), &json!(forge::key_name(&leaked.seal))));

    // The operator answers: new keys in front, the leaked ones on the list.
    let compromised = format!("compromised {}\ncompromised {}\n", leaked.seal_text(), leaked.fingerprint_text());
    file.replace(&format!("{}{compromised}", lines(&new)));
    until(&server, "keys_changed", 1).await;
    let changed = server.event("keys_changed").await;
    assert_eq!((&changed["seal"], &changed["compromised"]), (&json!(forge::key_name(&new.seal)), &json!(2)));
    all_go_on(&mut browsers, &mut apis, &new).await;
    attack().await;
    all_go_on(&mut browsers, &mut apis, &new).await;

    // Once everybody has moved, the leaked keys are dropped. Nobody notices but the thief.
    file.replace(&lines(&new));
    until(&server, "keys_changed", 2).await;
    all_go_on(&mut browsers, &mut apis, &new).await;
    assert_eq!(server.metrics().await.event("unknown_key"), 0);
    server.get("/state").cookie(&forged).send().await.assert_anonymous();
    let metrics = server.metrics().await;
    assert_eq!((metrics.event("unknown_key"), metrics.event("replayed"), metrics.live()), (1, 0, 6));
}

pub(crate) async fn d5_a_reload_that_fails_keeps_the_keys_and_says_so_without_showing_one(subject: Subject) {
    let (keys, new) = (Keys::random(), Keys::random());
    let file = KeyFile::new(&lines(&keys));
    let server = file.server(subject, &keys).await;
    let mut browser = alice(&server).await;
    let secret = new.seal_text();
    let mut failures = 0;
    for broken in [
        format!("{}hunter2\n", lines(&new)),
        format!("{secret}\n"),
        format!("{}{}\n", lines(&new), &secret[..20]),
        format!("{}compromised {secret}\n", lines(&new)),
        String::new(),
    ] {
        file.replace(&broken);
        failures += 1;
        until(&server, "key_reload_failed", failures).await;
        assert_eq!(browser.state().await["subject"], "alice");
    }
    // A source that stays broken is reported once.
    tokio::time::sleep(Duration::from_millis(200)).await;
    std::fs::remove_file(&file.0).unwrap();
    until(&server, "key_reload_failed", failures + 1).await;
    let metrics = server.metrics().await;
    assert_eq!((metrics.event("key_reload_failed"), metrics.event("keys_changed")), (failures + 1, 0));
    // A file that differs by a comment alone is no change; a file with other keys is one.
    file.replace(&format!("# moved\n{}", lines(&keys)));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(server.metrics().await.event("keys_changed"), 0);
    file.replace(&format!("{}{}\n{}\n", lines(&new), keys.seal_text(), keys.fingerprint_text()));
    until(&server, "keys_changed", 1).await;
    let cookie = browser.post("/set?k=a&v=2").await.new_cookie();
    assert_eq!(keys_of(&cookie).0, forge::key_id(&new.seal));
    let log = server.log().join("\n");
    for text in [&secret[7..], &secret[7..20], &keys.seal_text()[7..], "hunter2"] {
        assert!(!log.contains(text), "the log shows a key");
    }
}
