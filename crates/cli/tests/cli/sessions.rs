//! Sessions: listed, looked at and ended.

use std::fs;
use std::path::Path;
use std::time::Duration;

use secure_sessions::store::{AnyStore, Blob, BlobId, SqlOptions, Timestamp, VaultId, VaultStore};
use secure_sessions::{Clock, Keyring, ManualClock, SessionManager, SystemClock, testing};

use crate::{Host, block_on, manager};

#[test]
fn a_session_is_alive_here_for_as_long_as_it_may_be_for_the_application() {
    const IDLE: u64 = 35 * 60 * 1000;
    let host = Host::with_tables();
    let url = host.store[1].clone();
    let cookie = block_on(async {
        let store = SqlOptions::new().connect(&url).await.expect("a store");
        let keyring = Keyring::from_file(host.keys()).expect("keys");
        let builder = SessionManager::builder(keyring, store.clone()).touch_step(Duration::from_secs(600));
        let clock = ManualClock::at_millis(SystemClock.now().as_millis() - IDLE);
        let manager = builder.clock(clock.clone()).build().expect("a manager");
        let cookie = testing::session(&manager).login("alice").cookie().await.expect("a session");
        clock.advance(Duration::from_millis(IDLE));
        assert_eq!(manager.sessions_of("alice").await.expect("a list").len(), 1, "alive for the application");
        store.close().await;
        cookie
    });
    let list = host.json(&["sessions", "list", "alice"], "");
    let handle = list["sessions"][0]["handle"].as_str().expect("a session");
    assert_eq!(host.json(&["token", "inspect"], &cookie)["verdict"], "current");
    assert_eq!(host.json(&["sessions", "revoke", "alice", handle], "")["ended"], 1);
}

#[test]
fn an_end_of_everybody_leaves_the_private_values_of_logins_meanwhile() {
    let host = Host::with_tables();
    let url = host.store[1].clone();
    let (owner, id) = (VaultId::from_bytes([7; 16]), BlobId::from_bytes([8; 16]));
    block_on(async {
        let store = SqlOptions::new().connect(&url).await.expect("a store");
        let manager = manager(&host, AnyStore::new(store.clone()));
        testing::session(&manager).login("alice").cookie().await.expect("a session");
        // As of a login a moment later, in an application whose absolute timeout is an hour.
        let deadline = Timestamp::from_millis(SystemClock.now().as_millis() + 2 * 60 * 60 * 1000);
        store.put(&owner, &[Blob { id, bytes: vec![9; 300] }], deadline).await.expect("a vault");
        store.close().await;
    });
    assert_eq!(host.json(&["sessions", "revoke-all", "--everybody"], "")["ended"], 1);
    block_on(async {
        let store = SqlOptions::new().connect(&url).await.expect("a store");
        assert!(store.get(&owner, &[id]).await.expect("a vault")[0].is_some());
        store.close().await;
    });
}

#[test]
fn data_moves_no_cursor() {
    const TEXT: &str = "\u{9b}2J\u{7f}\u{1b}c";
    let host = Host::with_tables();
    let url = host.store[1].clone();
    let cookie = block_on(async {
        let store = SqlOptions::new().connect(&url).await.expect("a store");
        let manager = manager(&host, AnyStore::new(store.clone()));
        let cookie = testing::session(&manager).insert("name", TEXT).cookie().await.expect("a session");
        store.close().await;
        cookie
    });
    let text = host.run(&["token", "inspect", "--data"], &cookie).out;
    assert!(text.contains("\\u{9b}2J\\u{7f}\\u001bc"), "{text:?}");
    let json = host.run(&["--json", "token", "inspect", "--data"], &cookie).out;
    let moves = |letter: char| letter.is_control() && letter != '\n';
    assert!(!text.contains(moves) && !json.contains(moves), "{text:?} {json:?}");
    assert_eq!(host.json(&["token", "inspect", "--data"], &cookie)["data"]["name"], TEXT);
}

#[test]
fn a_label_moves_no_cursor() {
    let host = Host::with_tables();
    let url = host.store[1].clone();
    const LABEL: &str = "Firefox\u{1b}[2J\u{7}";
    block_on(async {
        let store = SqlOptions::new().connect(&url).await.expect("a store");
        let manager = manager(&host, AnyStore::new(store.clone()));
        let login =
            |session: &secure_sessions::Session| session.login_with(secure_sessions::Login::new("alice").label(LABEL));
        testing::session(&manager).with(login).cookie().await.expect("a session");
        store.close().await;
    });
    let text = host.run(&["sessions", "list", "alice"], "").out;
    assert!(text.contains("Firefox\\u{1b}[2J") && !text.contains('\u{1b}'), "{text}");
    assert_eq!(host.json(&["sessions", "list", "alice"], "")["sessions"][0]["label"], LABEL);
}

#[test]
fn a_cookie_says_why_it_is_refused() {
    let host = Host::new();
    let stranger = Host::new();
    let store = || AnyStore::new(secure_sessions::MemoryStore::new());
    let cookie =
        |host: &Host| block_on(testing::session(&manager(host, store())).insert("n", 1).cookie()).expect("a session");
    let own = cookie(&host);
    assert_eq!(host.json(&["token", "inspect"], &own)["verdict"], "authentic");
    assert_eq!(host.json(&["token", "inspect"], &cookie(&stranger))["verdict"], "unknown_key");
    assert_eq!(host.json(&["--cookie-name", "other", "token", "inspect"], &own)["verdict"], "not_authentic");
    // Within the mark, which is the last 16 bytes.
    let (start, end) = own.split_at(own.len() - 20);
    let damaged = format!("{start}{}", end.replace(|letter: char| letter.is_ascii_alphabetic(), "A"));
    assert_eq!(host.json(&["token", "inspect"], &damaged)["verdict"], "unmarked");
    assert_eq!(host.json(&["token", "inspect"], "__Host-session=hello")["verdict"], "not_a_token");
    assert_eq!(host.json(&["token", "inspect"], &format!("Set-Cookie: {own}; Path=/; Secure"))["verdict"], "authentic");
    assert_eq!(host.run(&["token", "inspect"], "").code, 2, "nothing to look into");
    let file = host.path("cookie.txt");
    fs::write(&file, &own).expect("written");
    assert_eq!(host.json(&["token", "inspect", file.to_str().expect("text")], "")["verdict"], "authentic");
    assert!(Path::new(&host.keys()).exists());
}

#[test]
fn an_ending_that_finds_no_session_says_how_one_is_found() {
    let host = Host::with_tables();
    for arguments in
        [&["revoke-all", "alicia"][..], &["revoke-all", "--provider-session", "https://login.example", "1"]]
    {
        let ended = host.run(&[&["sessions"], arguments].concat(), "");
        assert_eq!(ended.code, 0, "what was asked for holds: {}", ended.err);
        assert!(ended.out.starts_with("0 sessions ended.") && ended.out.contains("--cookie-name"), "{}", ended.out);
    }
    let everybody = host.run(&["sessions", "revoke-all", "--everybody"], "");
    assert_eq!(everybody.out, "0 sessions ended.\n", "nothing to find by");
}
