//! Lines 36, 42, 43, 46, 47, 85 and 86: input that is no token, or too many of them, or spelled otherwise.

use base64_simd::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::support::client::assert_refused;
use crate::support::forge;
use crate::support::hostile::{CONTEXT, ISSUE_LEN, assert_garbage, assert_unharmed, present, victim};
use crate::support::{Server, Subject};

/// The places of a token's parts.
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
        // Most of them begin with the version byte of a later version, or look like a token under a key that nobody has.
        if may_be_a_token(cut) {
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

/// Returns `true` if the text is the one spelling of bytes that begin with our version or a later one.
fn may_be_a_token(text: &str) -> bool {
    URL_SAFE_NO_PAD.decode_to_vec(text).is_ok_and(|bytes| bytes[0] >= 1)
}

pub(crate) async fn c36_a_token_with_any_bit_flipped_is_refused(subject: Subject) {
    let server = subject.start().await;
    let mut browser = victim(&server).await;
    let token = forge::decode(&browser.token());
    let before = server.metrics().await;
    let (mut damaged, mut unknown) = (0, 0);
    for bit in 0..token.len() * 8 {
        let at = bit / 8;
        let mut flipped = token.clone();
        flipped[at] ^= 1 << (bit % 8);
        let reply = present(&server, &forge::encode(&flipped)).await;
        if flipped[0] > 1 || SEAL_KEY_ID.contains(&at) || FINGERPRINT_KEY_ID.contains(&at) {
            // A later version, or another key: some other host may know it.
            assert_refused(&reply);
            unknown += 1;
        } else if at >= token.len() - ISSUE_LEN {
            // Everything but the issue mark fits: the store tells whether the holder of a genuine token damaged it.
            assert_refused(&reply);
            damaged += 1;
        } else {
            assert_garbage(&reply);
        }
    }
    let after = server.metrics().await;
    assert_eq!((after.event("forged"), after.event("unknown_key")), (0, unknown));
    assert_eq!((after.all_calls(), after.live()), (before.all_calls() + damaged, 1), "one load each, and no other");
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
    // Stored data would have to go under a cookie, and that could be either user's.
    with_both("/set?k=a&v=1").await.assert_no_cookie();
    assert_eq!(server.metrics().await.live(), 2);
    let cookie = with_both("/login?user=alice").await.new_cookie();
    assert_eq!(present(&server, &cookie).await.ok()["subject"], "alice");
    for browser in [&mut alice, &mut mallory] {
        assert_refused(&browser.get("/state").await);
    }
}

pub(crate) async fn c42_the_store_is_asked_about_four_sessions_at_most(subject: Subject) {
    let server = subject.start().await;
    let mut browser = victim(&server).await;
    let calls = async || server.metrics().await.all_calls();
    // Live ones, and what a holder of the seal key makes up.
    let mut live = Vec::new();
    for _ in 0..6 {
        live.push(server.post("/set?k=a&v=1").send().await.new_cookie());
    }
    let forge = |_| forge::seal_without_mark(&forge::invented("alice"), &server.keys, CONTEXT);
    for values in [live, (0..50).map(forge).collect()] {
        let jar = values.iter().map(|value| format!("session={value}")).collect::<Vec<_>>().join("; ");
        let before = calls().await;
        assert_refused(&server.get("/state").header("cookie", &jar).send().await);
        let asked = calls().await - before;
        assert!(asked <= 4, "the store was called {asked} times");
    }
    assert!(server.metrics().await.event("forged") >= 1);
    let jar = format!("session={}; {}", browser.token(), ["session=garbage"; 5].join("; "));
    let reply = server.get("/state").header("cookie", &jar).send().await;
    assert_eq!(reply.ok()["subject"], "alice");
    assert_unharmed(&mut browser).await;
}

/// Values that decode to the bytes of a token, as far as their length goes, and are none of ours.
fn plausible(server: &Server, good: &str) -> Vec<String> {
    let token = forge::decode(good);
    let mut ours_in_front = token.clone();
    ours_in_front[33..].fill(7);
    let mut unknown = token.clone();
    unknown[1..5].fill(9);
    let of_zeros = vec![0; token.len()];
    let seal_only = forge::seal_without_mark(&forge::invented("alice"), &server.keys, CONTEXT);
    let encoded = [ours_in_front, unknown, of_zeros].map(|bytes| forge::encode(&bytes));
    encoded.into_iter().chain([seal_only]).collect()
}

/// `count` values of these in front of the good cookie, and in other jars behind it.
fn jars(junk: &[String], count: usize, good: &str) -> [String; 2] {
    let junk: Vec<String> = junk.iter().cycle().take(count).map(|value| format!("session={value}")).collect();
    let junk = junk.join("; ");
    [format!("{junk}; session={good}"), format!("session={good}; {junk}")]
}

pub(crate) async fn c85_junk_of_any_number_neither_hides_nor_removes_the_good_cookie(subject: Subject) {
    let server = subject.start().await;
    let mut browser = victim(&server).await;
    let good = browser.token();
    let junk = ["garbage", "", "x", "%00", "null", "\"quoted\"", "a=b=c", "AAAA", "{}", &"!".repeat(400), &good[..50]];
    let junk = junk.map(str::to_owned);
    for count in [1, 3, 4, 5, 11, 40] {
        for jar in jars(&junk, count, &good) {
            for request in [server.get("/state"), server.post("/remove?k=none")] {
                let reply = request.header("cookie", &jar).send().await;
                assert_eq!(reply.ok()["subject"], "alice", "{count}: {jar}");
                reply.assert_no_cookie();
            }
        }
    }
    assert_unharmed(&mut browser).await;
}

pub(crate) async fn c85_values_that_may_be_tokens_never_cost_the_good_cookie(subject: Subject) {
    let server = subject.start().await;
    let mut browser = victim(&server).await;
    let good = browser.token();
    let junk = plausible(&server, &good);
    for count in 1..=20 {
        for (index, jar) in jars(&junk, count, &good).iter().enumerate() {
            for request in [server.get("/state"), server.post("/remove?k=none")] {
                let reply = request.header("cookie", jar).send().await;
                reply.assert_no_cookie();
                // At most four are opened; where the good one is among them it counts.
                if count < 4 || index == 1 {
                    assert_eq!(reply.ok()["subject"], "alice", "{count}, {index}");
                } else {
                    assert_eq!(reply.status, 200);
                }
            }
        }
    }
    assert_unharmed(&mut browser).await;
}

pub(crate) async fn c85_a_write_among_values_that_may_be_tokens_replaces_no_cookie(subject: Subject) {
    let server = subject.start().await;
    let mut browser = victim(&server).await;
    let [jar, _] = jars(&plausible(&server, &browser.token()), 6, &browser.token());
    let reply = server.post("/set?k=b&v=2").header("cookie", &jar).send().await;
    // Either it went to the session of the good one, or there is no cookie that would take its place.
    if let Some(cookie) = reply.set_cookie() {
        assert!(!cookie.is_removal());
        let state = present(&server, &cookie.value).await.ok();
        assert_eq!(
            (&state["subject"], &state["data"]["cart"]),
            (&json!("alice"), &json!("one-pen")),
            "it was replaced"
        );
    }
    assert_eq!(browser.state().await["subject"], "alice");
    // A login begins a session in any case: the user asked for it.
    let reply = server.post("/login?user=alice").header("cookie", &jar).send().await;
    assert_eq!(present(&server, &reply.new_cookie()).await.ok()["subject"], "alice");
}

pub(crate) async fn c85_a_blank_behind_the_value_never_removes_the_cookie(subject: Subject) {
    let server = subject.start().await;
    let mut browser = victim(&server).await;
    let good = browser.token();
    for jar in [
        format!("session={good} ; a=b"),
        format!("session={good}\t; a=b"),
        format!("a=b; session={good}  ; c=d"),
        format!("session={good} ; session={good}"),
    ] {
        let reply = server.get("/state").header("cookie", &jar).send().await;
        assert_eq!(reply.status, 200);
        reply.assert_no_cookie();
    }
    assert_unharmed(&mut browser).await;
}

pub(crate) async fn c86_a_token_of_a_later_version_is_left_alone_and_reported(subject: Subject) {
    let server = subject.start().await;
    let mut browser = victim(&server).await;
    let token = forge::decode(&browser.token());
    let before = server.metrics().await;
    for (index, version) in [2, 3, 0x7f, 0xff].into_iter().enumerate() {
        for longer in [0, 64] {
            let mut later = token.clone();
            later[0] = version;
            later.extend(vec![5; longer]);
            assert_refused(&present(&server, &forge::encode(&later)).await);
        }
        let event = &server.events("unknown_key", 2 * index + 2).await[2 * index];
        assert_eq!(event["version"], version, "{event}");
    }
    let after = server.metrics().await;
    assert_eq!((after.event("unknown_key"), after.all_calls()), (8, before.all_calls()));
    // Beside the cookie of this version it is not in the way.
    let mut later = token.clone();
    later[0] = 2;
    let jar = format!("session={}; session={}", forge::encode(&later), browser.token());
    let reply = server.get("/state").header("cookie", &jar).send().await;
    assert_eq!(reply.ok()["subject"], "alice");
    reply.assert_no_cookie();
    // There never was a version 0.
    let mut none = token;
    none[0] = 0;
    assert_garbage(&present(&server, &forge::encode(&none)).await);
    assert_unharmed(&mut browser).await;
}

pub(crate) async fn c43_oversized_input_is_refused_before_any_crypto(subject: Subject) {
    let server = subject.start().await;
    let mut browser = victim(&server).await;
    let before = server.metrics().await;
    let of_length = |bytes: usize| {
        let mut plaintext = forge::invented("alice");
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
    for header in [format!("session= {token}; a=b"), format!("session=\t{token}")] {
        server.get("/state").header("cookie", &header).send().await.assert_anonymous();
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
    let mut altered = forge::decode(&superseded);
    altered[100] ^= 1;
    for cookie in ["garbage", &forge::encode(&altered), &browser.token()[..500.min(browser.token().len() - 4)]] {
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
