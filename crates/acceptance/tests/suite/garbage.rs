//! Lines 36, 42, 43, 46, 47: input that is no token, or too many of them, or spelled otherwise.

use serde_json::json;

use crate::support::Subject;
use crate::support::client::assert_refused;
use crate::support::forge::{self, Plaintext};
use crate::support::hostile::{CONTEXT, ISSUE_LEN, assert_garbage, assert_unharmed, present, victim};

/// Where the parts of a token stand.
const SEAL_KEY_ID: std::ops::Range<usize> = 1..5;
const FINGERPRINT_KEY_ID: std::ops::Range<usize> = 5..9;

pub(crate) async fn c36_garbage_is_anonymous_without_an_error_page_and_is_removed(subject: Subject) {
    let server = subject.start().await;
    let mut browser = victim(&server).await;
    let token = browser.token();
    let before = server.metrics().await;
    let long = "A".repeat(2000);
    for garbage in ["", "x", "garbage", "null", "0", "AAAA", &long, "../../etc/passwd", "{\"user\":1}", "AQAAAAAAAAAA"]
    {
        assert_garbage(&present(&server, garbage).await);
    }
    for bytes in [&b"session=\xff\xfe\x80"[..], b"session=\xc3\xa9", b"session", b"session=;;;==", b"=;=session=;"] {
        let reply = server.get("/state").raw_header("cookie", bytes).send().await;
        reply.assert_anonymous();
    }
    for length in 0..token.len() {
        assert_garbage(&present(&server, &token[..length]).await);
    }
    for length in 1..10 {
        let (cut, longer) = (&token[length..], format!("{token}{}", &token[..length]));
        let reply = present(&server, cut).await;
        // One cut in 256 begins with our version byte, and then may look like a token under a key that nobody has yet.
        if starts_with_our_version(cut) {
            reply.assert_anonymous();
        } else {
            assert_garbage(&reply);
        }
        assert_garbage(&present(&server, &longer).await);
    }
    let after = server.metrics().await;
    assert_eq!((after.all_calls(), after.live()), (before.all_calls(), 1));
    assert_unharmed(&mut browser).await;
}

/// Whether base64url text encodes bytes of which the first is 0x01: `A` is six zero bits, `Q` to `f` begin with `01`.
fn starts_with_our_version(text: &str) -> bool {
    matches!(text.as_bytes(), [b'A', b'Q'..=b'Z' | b'a'..=b'f', ..])
}

pub(crate) async fn c36_a_token_with_any_bit_flipped_is_refused(subject: Subject) {
    let server = subject.start().await;
    let mut browser = victim(&server).await;
    let token = forge::decode(&browser.token());
    let before = server.metrics().await;
    for bit in 0..token.len() * 8 {
        let at = bit / 8;
        let mut flipped = token.clone();
        flipped[at] ^= 1 << (bit % 8);
        let reply = present(&server, &forge::encode(&flipped)).await;
        // A later version, or a key that this host has not got yet: the cookie is left alone.
        let later = at == 0 && flipped[0] > 1;
        // It opens, and the mark does not fit: its bucket knows that it was damaged, and no key is accused.
        let damaged = at >= token.len() - ISSUE_LEN;
        if later || damaged || SEAL_KEY_ID.contains(&at) || FINGERPRINT_KEY_ID.contains(&at) {
            assert_refused(&reply);
        } else {
            assert_garbage(&reply);
        }
    }
    let after = server.metrics().await;
    assert_eq!(after.event("forged"), 0);
    assert_eq!((after.writes(), after.live()), (before.writes(), 1), "nothing was written");
    assert_unharmed(&mut browser).await;
}

pub(crate) async fn c42_of_duplicate_cookies_of_one_session_the_newest_is_judged(subject: Subject) {
    let server = subject.start().await;
    let mut browser = victim(&server).await;
    let old = browser.token();
    let newest = browser.post("/set?k=cart&v=two-pens").await.new_cookie();
    for jar in [
        format!("session={old}; session={newest}"),
        format!("session={newest}; session={old}"),
        format!("session=garbage; session={newest}; session={}; session={old}", &old[..400]),
        format!("session={old}; theme=dark; session=; session={newest}"),
    ] {
        let reply = server.get("/state").header("cookie", &jar).send().await;
        assert_eq!(reply.ok()["data"], json!({ "cart": "two-pens" }));
        reply.assert_no_cookie();
    }
    // In several headers, as HTTP/2 sends them.
    let request = server.get("/state").cookie(&old).cookie(&newest);
    assert_eq!(request.send().await.ok()["data"], json!({ "cart": "two-pens" }));
    assert_eq!(server.metrics().await.event("handed_off"), 0);

    // Once the older one is dead, it is still no replay: the browser holds the newer one as well.
    for _ in 0..2 {
        server.advance(61_000).await;
        browser.get("/state").await;
    }
    let jar = format!("session={old}; session={newest}");
    let reply = server.get("/state").header("cookie", &jar).send().await;
    assert_eq!(reply.ok()["data"], json!({ "cart": "two-pens" }));
    assert_eq!((server.metrics().await.event("replayed"), server.metrics().await.live()), (0, 1));
}

pub(crate) async fn c42_two_sessions_at_once_are_anonymous_until_a_login(subject: Subject) {
    let server = subject.start().await;
    let mut alice = victim(&server).await;
    let mut mallory = server.browser();
    mallory.post("/login?user=mallory").await.new_cookie();
    let jar = format!("session={}; session={}", mallory.token(), alice.token());
    let with_both = |path: &str| server.post(path).header("cookie", &jar).send();
    let reply = server.get("/state").header("cookie", &jar).send().await;
    assert_refused(&reply);
    assert_eq!(server.metrics().await.event("ambiguous"), 1);
    // What it stores would have to go under a cookie, and that could be either's.
    with_both("/set?k=a&v=1").await.assert_no_cookie();
    assert_eq!(server.metrics().await.live(), 2);
    let cookie = with_both("/login?user=alice").await.new_cookie();
    assert_eq!(present(&server, &cookie).await.ok()["subject"], "alice");
    assert_unharmed(&mut alice).await;
    assert_eq!(mallory.state().await["subject"], "mallory");
}

pub(crate) async fn c42_more_than_four_cookies_of_our_name_are_not_opened(subject: Subject) {
    let server = subject.start().await;
    let mut browser = victim(&server).await;
    let forged = forge::seal_without_mark(&Plaintext::invented("alice"), &server.keys, CONTEXT);
    let jar = vec![format!("session={forged}"); 50].join("; ");
    assert_refused(&server.get("/state").header("cookie", &jar).send().await);
    assert_eq!(server.metrics().await.event("forged"), 4);
    let jar = format!("session={}; {}", browser.token(), ["session=garbage"; 5].join("; "));
    let reply = server.get("/state").header("cookie", &jar).send().await;
    assert_eq!(reply.ok()["subject"], "alice");
    assert_unharmed(&mut browser).await;
}

pub(crate) async fn c43_oversized_input_is_refused_before_any_crypto(subject: Subject) {
    let server = subject.start().await;
    let mut browser = victim(&server).await;
    let before = server.metrics().await;
    let of_length = |bytes: usize| {
        let mut plaintext = Plaintext::invented("alice");
        let others = forge::decode(&forge::seal(&plaintext, &server.keys, CONTEXT)).len() - plaintext.bloat.len();
        plaintext.bloat = vec![7; bytes - others];
        plaintext
    };
    // 3071 bytes are the longest token that any cookie of a browser can hold. It is opened, so it is recognised...
    let longest = forge::seal_without_mark(&of_length(3071), &server.keys, CONTEXT);
    assert_eq!(longest.len(), 4095);
    assert_refused(&present(&server, &longest).await);
    assert_eq!(server.metrics().await.event("forged"), 1);
    // ...and one byte more is not even opened: nobody learns that the key has leaked, and it is no token at all.
    for bytes in [3072, 3073, 4000, 6000, 20_000] {
        let seal_only = forge::seal_without_mark(&of_length(bytes), &server.keys, CONTEXT);
        assert_garbage(&present(&server, &seal_only).await);
        assert_garbage(&present(&server, &forge::seal(&of_length(bytes), &server.keys, CONTEXT)).await);
    }
    let after = server.metrics().await;
    assert_eq!((after.event("forged"), after.writes()), (1, before.writes()));
    assert_unharmed(&mut browser).await;
}

pub(crate) async fn c46_non_canonical_spellings_are_refused(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    // A class of sizes whose last character has spare bits.
    browser.post("/big?n=300").await.new_cookie();
    let token = browser.token();
    assert_eq!(token.len() % 4, 2, "a token whose spelling has spare bits");
    let (head, last) = token.split_at(token.len() - 1);
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let index = alphabet.find(last).unwrap();
    assert_eq!(index % 16, 0, "spare bits are zero");
    let mut spellings: Vec<String> =
        (1..16).map(|spare| format!("{head}{}", &alphabet[index + spare..=index + spare])).collect();
    spellings.extend([
        format!("{token}="),
        format!("{token}=="),
        format!("\"{token}\""),
        format!("'{token}'"),
        format!("{token}\""),
        format!("%{:02X}{}", token.as_bytes()[0], &token[1..]),
        format!("{head}%{:02X}", last.as_bytes()[0]),
        format!("{} {}", &token[..100], &token[100..]),
        format!("{}\t{}", &token[..100], &token[100..]),
        format!("{token}."),
        format!("{token}A"),
        format!("A{token}"),
        format!("{token},{token}"),
    ]);
    let standard = token.replace('-', "+").replace('_', "/");
    assert_ne!(standard, token, "a token of this length without - and _ is one in 2^20");
    spellings.push(standard);
    let before = server.metrics().await;
    for spelling in &spellings {
        assert_garbage(&present(&server, spelling).await);
    }
    for header in [format!("session= {token}; a=b"), format!("session={token} ; a=b"), format!("session=\t{token}")] {
        assert_garbage(&server.get("/state").header("cookie", &header).send().await);
    }
    assert_eq!(server.metrics().await.all_calls(), before.all_calls());
    assert_eq!(browser.data().await["big"].as_str().map(str::len), Some(300));
}

pub(crate) async fn c47_garbage_never_revokes_and_never_reaches_the_store(subject: Subject) {
    let server = subject.start().await;
    let mut browser = victim(&server).await;
    let superseded = browser.token();
    browser.post("/set?k=cart&v=x").await;
    browser.post("/set?k=cart&v=one-pen").await;
    let before = server.metrics().await;
    // On every kind of request.
    for cookie in ["garbage", &superseded[1..], &browser.token()[..500.min(browser.token().len() - 4)]] {
        for path in ["/renew", "/clear", "/remove?k=cart", "/sessions/revoke-others", "/logout", "/protected"] {
            let reply = server.post(path).cookie(cookie).send().await;
            assert!(reply.status < 500, "{path}: {}", reply.status);
            reply.assert_removal();
        }
    }
    let after = server.metrics().await;
    assert_eq!((after.all_calls(), after.live()), (before.all_calls(), 1));
    assert_eq!((after.event("replayed"), after.event("ended")), (0, 0));
    assert_unharmed(&mut browser).await;
}
