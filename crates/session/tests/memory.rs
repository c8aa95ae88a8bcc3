//! After a session's life, and once the manager is gone, nothing secret is left on this process's heap.
//!
//! The test reads its own memory through `/proc/self/mem`. Stacks are left out: a value that Rust moves leaves its old
//! place as it was, which no library can help.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "a test fails by panicking")]

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::{Duration, Instant};

use secure_sessions::{Keyring, ManualClock, MemoryStore, SessionManager};
use zeroize::Zeroizing;

use support::{Head, set_cookie};

/// A secret that a test looks for must not itself be in memory: it is kept with every byte changed by this.
const MASK: u8 = 0xa5;

/// The number of bytes of a secret in a row that are no coincidence.
const TELLING: usize = 16;

/// Every secret of these tests: keys, their subkeys, their texts, a payload and a subject. Masked, in hexadecimal.
const SECRETS: [(&str, &str); 13] = [
    ("seal key", "379dc13f5c87afd3e98d3a2deec00e0a3818d99d899b22449ed0de2ad50b59a7"),
    ("fingerprint key", "fc9756504a1a4835f110f275847ffd65e244d17a3ab47da96fc8811c38dd0b73"),
    ("text of the seal key", SEAL_TEXT),
    ("text of the fingerprint key", FINGERPRINT_TEXT),
    ("subkey seal", "693335d61c87b28be77edd220a3d71f826d16fadad2b014c56812332e58aea4a"),
    ("subkey handoff", "0d92067226142eb6a5dca0a8e335318fc01da3b9f9cbe3d269bae2ca2f6a696f"),
    ("subkey fingerprint", "4f68a377f20e5f5587bda5b396ca122f139932dc347c60ad6a96a75f671a6225"),
    ("subkey subject", "52fb6fb86689a1dd5e0767e250c296ca247acc8410e5398245c34c3d27e1d7c1"),
    ("subkey csrf", "6b0abfd45d30f6bea0bf0971d9cb760883cf6f687b980d4be466c6d785b7c3da"),
    ("subkey label", "5b49abdf5a89b7d00c02256f9ab55caa9943acddc32b8e2128b9f207bfdebde5"),
    ("subkey handle", "c3869724ba5aaad5305952a791bc7c09402d0fe335aa5ae238dc85f75ab16110"),
    ("payload", PAYLOAD),
    ("subject", SUBJECT),
];
const SEAL_TEXT: &str = "cecfcdcec8d3cecce6cbffe8eeef88ecf697f2d7d790979cc3e1c2d6f5cac3cdea96f392cf96e6d0fae4ec";
const FINGERPRINT_TEXT: &str = "f2f1e9df9cc088fa92ffe7f0d1f3c3f4ecc1d5fcd2e0c3cdc1eb88c3e0c1c2e8dcc895ced0ff9491d7d1fc";
const PAYLOAD: &str = "e6e4ebe4f7fc88d5c4dcc9cac4c18890c395c6";
const SUBJECT: &str = "e6e4ebe4f7fc88d6d0c7cfc0c6d1889c94c4c7";

fn masked(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// The secret itself, in a buffer that never moves and is wiped.
fn revealed(hex: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(hex.len()));
    masked(hex).iter().for_each(|byte| text.push(char::from(byte ^ MASK)));
    text
}

/// The names of the secrets that are somewhere on the heap.
fn on_the_heap() -> Vec<&'static str> {
    let local = 0_u8;
    let stack = std::ptr::from_ref(&local).addr();
    // Their ends: an allocator writes over the beginning of what it gets back.
    let patterns: Vec<(&str, Vec<u8>)> =
        SECRETS.iter().map(|(name, hex)| (*name, masked(&hex[hex.len() - 2 * TELLING..]))).collect();
    let longest = patterns.iter().map(|(_, pattern)| pattern.len()).max().unwrap();
    let firsts: Vec<bool> =
        (0..=u8::MAX).map(|byte| patterns.iter().any(|(_, pattern)| pattern[0] == byte ^ MASK)).collect();
    let mut found = vec![false; patterns.len()];
    let memory = File::open("/proc/self/mem").unwrap();
    // Holds what was read, so it is left out itself.
    let mut buffer = Zeroizing::new(vec![0; 1 << 20]);
    let own = buffer.as_ptr().addr()..buffer.as_ptr().addr() + buffer.len();
    for line in fs::read_to_string("/proc/self/maps").unwrap().lines() {
        let mut words = line.split_whitespace();
        let (range, access) = (words.next().unwrap(), words.next().unwrap());
        let (start, end) = range.split_once('-').unwrap();
        let (start, end) = (usize::from_str_radix(start, 16).unwrap(), usize::from_str_radix(end, 16).unwrap());
        let backed = words.nth(3).is_some_and(|name| name != "[heap]");
        if !access.starts_with("rw") || backed || (start..end).contains(&stack) {
            continue;
        }
        let mut at = start;
        while at < end {
            if own.contains(&at) {
                at = own.end;
                continue;
            }
            let limit = if at < own.start { end.min(own.start) } else { end };
            let length = buffer.len().min(limit - at);
            let Ok(length) = memory.read_at(&mut buffer[..length], at as u64) else { break };
            for (offset, byte) in buffer[..length].iter().enumerate() {
                if firsts[usize::from(*byte)] {
                    for ((_, pattern), found) in patterns.iter().zip(&mut found) {
                        let here = buffer[offset..length].iter().zip(pattern);
                        *found |= offset + pattern.len() <= length && here.clone().all(|(byte, m)| byte ^ MASK == *m);
                    }
                }
            }
            // A secret that lies across two reads is seen in the second.
            at += if at + length == limit { length } else { length - longest };
        }
    }
    patterns.iter().zip(found).filter(|(_, found)| *found).map(|((name, _), _)| *name).collect()
}

fn manager(clock: ManualClock, remembered: usize) -> SessionManager {
    let path = std::env::temp_dir().join(format!("secure-sessions-canary-{}.keys", std::process::id()));
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&path).unwrap();
    for (prefix, text) in [("sealk1_", SEAL_TEXT), ("\nfpk1_", FINGERPRINT_TEXT)] {
        file.write_all(prefix.as_bytes()).unwrap();
        file.write_all(revealed(text).as_bytes()).unwrap();
    }
    drop(file);
    let keyring = Keyring::from_file(&path);
    fs::remove_file(&path).unwrap();
    let builder = SessionManager::builder(keyring.unwrap(), MemoryStore::new()).insecure_dev();
    builder.clock(clock).remember_tokens(remembered).build().unwrap()
}

/// A session through its whole life.
async fn live(manager: &SessionManager) {
    let cookie = visit(manager, None, |session| {
        session.login(&revealed(SUBJECT)).unwrap();
        session.insert("canary", revealed(PAYLOAD).as_str()).unwrap();
    })
    .await;
    let newer = visit(manager, cookie.as_deref(), |session| {
        assert!(session.get::<String>("canary").map(Option::unwrap).map(Zeroizing::new).unwrap().contains("payload"));
        session.update_or("n", || 0_u64, |n: &mut u64| *n += 1).unwrap();
        session.set_label("a label").unwrap();
        assert!(session.is_csrf_token(&session.csrf_token().unwrap()));
    })
    .await;
    // The older cookie is handed the newest state.
    let newest = visit(manager, cookie.as_deref(), |session| session.insert("m", 2).unwrap()).await;
    assert_ne!(newer, newest);
    let renewed = visit(manager, newest.as_deref(), |session| session.renew().unwrap()).await;
    assert_eq!(visit(manager, renewed.as_deref(), |session| session.logout().unwrap()).await.as_deref(), Some(""));
}

/// A session whose tokens are remembered, until a minute has passed or it has ended.
async fn remembered() {
    let clock = ManualClock::at_present();
    let manager = manager(clock.clone(), 100);
    let cookie = visit(&manager, None, |session| session.insert("canary", revealed(PAYLOAD).as_str()).unwrap()).await;
    assert!(on_the_heap().contains(&"payload"), "it is remembered");
    visit(&manager, cookie.as_deref(), |session| session.logout().unwrap()).await;
    assert!(!on_the_heap().contains(&"payload"), "the session has ended");

    let cookie = visit(&manager, None, |session| session.insert("canary", revealed(PAYLOAD).as_str()).unwrap()).await;
    visit(&manager, cookie.as_deref(), |_| {}).await;
    assert!(on_the_heap().contains(&"payload"), "it is remembered");
    clock.advance(Duration::from_secs(61));
    // No request comes that would forget it.
    let deadline = Instant::now() + Duration::from_secs(120);
    while on_the_heap().contains(&"payload") {
        assert!(Instant::now() < deadline, "it is still remembered");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn visit(
    manager: &SessionManager,
    cookie: Option<&str>,
    handler: impl FnOnce(&secure_sessions::Session),
) -> Option<String> {
    let request = manager.begin();
    let session = request.session(&Head::with(cookie)).await.unwrap();
    handler(&session);
    let reply = request.finish(200).await;
    assert!(reply.as_ref().is_none_or(|reply| reply.failure().is_none()));
    set_cookie(reply.as_ref())
}

#[test]
fn nothing_secret_is_left_on_the_heap_when_sessions_and_keys_are_gone() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();

    // The search finds the secrets that are there.
    let (payload, manager) = (revealed(PAYLOAD), manager(ManualClock::at_present(), 0));
    let found = on_the_heap();
    for name in ["payload", "subkey seal", "subkey label"] {
        assert!(found.contains(&name), "{name} is in use and was not found: {found:?}");
    }
    drop(payload);

    runtime.block_on(live(&manager));
    let found = on_the_heap();
    assert!(!found.contains(&"payload"), "no session is open any more");
    for name in ["text of the seal key", "text of the fingerprint key", "seal key", "fingerprint key", "subkey handoff"]
    {
        assert!(!found.contains(&name), "{name} was left behind when the keyring was read");
    }

    drop(manager);
    assert_eq!(on_the_heap(), [""; 0], "left on the heap");

    runtime.block_on(remembered());
    drop(runtime);
    assert_eq!(on_the_heap(), [""; 0], "left on the heap by what remembers tokens");
}
