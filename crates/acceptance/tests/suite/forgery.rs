//! Lines 37 to 41, 44, 45 and 87: tokens made by someone else, with none, one or all of the keys; and what could help him.

use serde_json::json;

use crate::support::client::{alice, assert_refused, steps};
use crate::support::forge::{self, Plaintext};
use crate::support::hostile::{CONTEXT, ISSUE_LEN, assert_garbage, assert_unharmed, present, victim};
use crate::support::{Keys, Subject};

pub(crate) async fn c37_a_token_of_an_unknown_key_is_anonymous_and_left_alone(subject: Subject) {
    let server = subject.start().await;
    let mut browser = victim(&server).await;
    let before = server.metrics().await;
    let (ours, theirs) = (server.keys.clone(), Keys::random());
    let mixed = Keys { seal: ours.seal, fingerprint: theirs.fingerprint };
    for keys in [&theirs, &mixed] {
        assert_refused(&present(&server, &forge::seal(&forge::invented("alice"), keys, CONTEXT)).await);
    }
    let after = server.metrics().await;
    assert_eq!((after.event("unknown_key"), after.all_calls()), (2, before.all_calls()));
    assert_eq!(server.event("unknown_key").await["key"], forge::key_name(&theirs.seal));
    assert_unharmed(&mut browser).await;
}

pub(crate) async fn c38_the_seal_key_alone_makes_nothing_and_is_named_as_leaked(subject: Subject) {
    let server = subject.start().await;
    let mut browser = victim(&server).await;
    let before = server.metrics().await;
    let captured = forge::open(&browser.token(), &server.keys.seal, CONTEXT);
    let data: ciborium::Value = ciborium::from_reader(captured.data.as_slice()).expect("CBOR");
    assert_eq!(data.as_map().map(Vec::len), Some(1), "the seal key reads what it captured");

    let mut richer = captured.clone();
    let mut forgeries = vec![forge::invented("admin"), captured.clone()];
    richer.data = forge::invented("").data;
    forgeries.push(richer);
    forgeries.push(Plaintext { generation: captured.generation + 1, ..captured.clone() });
    forgeries.push(Plaintext { expires_at: u64::MAX, ..captured });
    let count = u64::try_from(forgeries.len()).unwrap();
    for plaintext in &forgeries {
        assert_refused(&present(&server, &forge::seal_without_mark(plaintext, &server.keys, CONTEXT)).await);
    }
    let event = server.event("forged").await;
    assert_eq!((&event["kind"], &event["key"]), (&json!("seal"), &json!(forge::key_name(&server.keys.seal))));

    // Each asked for its bucket once, to tell it from a cookie that its own holder damaged, and wrote nothing.
    let asked = server.metrics().await;
    assert_eq!((asked.event("forged"), asked.writes(), asked.live()), (count, before.writes(), 1));
    assert!(asked.all_calls() <= before.all_calls() + count);

    assert_unharmed(&mut browser).await;
}

pub(crate) async fn c38_the_fingerprint_key_alone_makes_no_mark_on_ones_own_cookie_either(subject: Subject) {
    let server = subject.start().await;
    let mut browser = victim(&server).await;
    let before = server.metrics().await;
    let own = forge::decode(&browser.token());
    let mut changed = own[..own.len() - ISSUE_LEN].to_vec();
    // The first character of the subject, whose place every holder of a cookie can work out.
    changed[33 + 70 + 3] ^= 1;
    for cookie in [
        forge::mark_without_seal(&server.keys, CONTEXT),
        forge::mark_by_fingerprint_key(&changed, &server.keys, CONTEXT),
    ] {
        present(&server, &cookie).await.assert_anonymous();
    }
    let after = server.metrics().await;
    assert_eq!((after.event("forged"), after.all_calls(), after.live()), (0, before.all_calls(), 1));
    assert_unharmed(&mut browser).await;
}

pub(crate) async fn c38_both_keys_make_no_bucket_and_admit_nothing(subject: Subject) {
    let server = subject.start().await;
    let mut browser = victim(&server).await;
    let before = server.metrics().await;
    for path in ["/set?k=a&v=1", "/incr?k=n"] {
        let cookie = forge::seal(&forge::invented("admin"), &server.keys, CONTEXT);
        assert_refused(&present(&server, &cookie).await);
        // Data stored by such a request goes into a session of its own, never into one under the presented id.
        let reply = server.post(path).cookie(&cookie).send().await;
        assert_eq!(reply.status, 200);
        let presented = forge::open(&cookie, &server.keys.seal, CONTEXT);
        let made = forge::open(&reply.new_cookie(), &server.keys.seal, CONTEXT);
        assert_ne!(made.session_id, presented.session_id);
        assert_refused(&present(&server, &cookie).await);
    }
    let after = server.metrics().await;
    assert_eq!((after.live(), after.event("forged")), (before.live() + 2, 0));
    assert_unharmed(&mut browser).await;
}

pub(crate) async fn c39_an_invented_id_is_refused(subject: Subject) {
    let server = subject.start().await;
    let mut browser = victim(&server).await;
    let before = server.metrics().await;
    for id in [[0; 16], [0xff; 16], forge::random()] {
        let plaintext = Plaintext { session_id: id, ..forge::invented("alice") };
        assert_refused(&present(&server, &forge::seal_without_mark(&plaintext, &server.keys, CONTEXT)).await);
        assert_refused(&present(&server, &forge::seal(&plaintext, &server.keys, CONTEXT)).await);
    }
    let after = server.metrics().await;
    assert_eq!((after.event("forged"), after.event("ended")), (3, 3));
    assert_eq!((after.calls("load") - before.calls("load"), after.writes()), (6, before.writes()));
    assert_eq!(after.live(), 1);
    assert_unharmed(&mut browser).await;
}

pub(crate) async fn c40_a_token_moved_to_another_cookie_name_is_refused(subject: Subject) {
    let server = subject.start().await;
    let mut browser = victim(&server).await;
    // The same keys, and where it can be the same store, under another name.
    let mut setup = subject.setup().keys(&server.keys).set("COOKIE_NAME", "admin");
    if let Some(database) = &server.database {
        setup = setup.database(database);
    }
    let other = setup.start().await;
    assert_garbage(&present(&other, &browser.token()).await);
    let metrics = other.metrics().await;
    assert_eq!((metrics.all_calls(), metrics.event("forged")), (0, 0));
    // On its own server a cookie of another name is not looked at.
    let jar = format!("admin={0}; Session={0}; session2={0}; xsession={0}", browser.token());
    assert_refused(&server.get("/state").header("cookie", &jar).send().await);
    assert_unharmed(&mut browser).await;
}

pub(crate) async fn c41_a_token_edited_to_the_id_of_another_session_is_refused(subject: Subject) {
    let server = subject.start().await;
    let mut alice = victim(&server).await;
    let mut mallory = server.browser();
    mallory.post("/login?user=mallory").await.new_cookie();
    let target = forge::open(&alice.token(), &server.keys.seal, CONTEXT);
    let own = forge::open(&mallory.token(), &server.keys.seal, CONTEXT);
    let before = server.metrics().await;
    for edited in [
        Plaintext { session_id: target.session_id, ..own.clone() },
        Plaintext { session_id: target.session_id, meta: target.meta.clone(), ..own.clone() },
        Plaintext { meta: target.meta.clone(), ..own },
    ] {
        let forged = forge::seal_without_mark(&edited, &server.keys, CONTEXT);
        assert_refused(&present(&server, &forged).await);
        // With the mark of the token that it was made of.
        let (mut bytes, original) = (forge::decode(&forged), forge::decode(&mallory.token()));
        let at = bytes.len() - ISSUE_LEN;
        bytes[at..].copy_from_slice(&original[original.len() - ISSUE_LEN..]);
        assert_refused(&present(&server, &forge::encode(&bytes)).await);
    }
    let after = server.metrics().await;
    assert_eq!((after.event("forged"), after.writes(), after.live()), (6, before.writes(), 2));
    assert_unharmed(&mut alice).await;
    assert_eq!(mallory.state().await["subject"], "mallory");
}

/// Cookies that differ from this one in their last 16 bytes.
fn damaged(cookie: &str) -> Vec<String> {
    let token = forge::decode(cookie);
    let damage = |at: usize, mask: u8| {
        let mut token = token.clone();
        let from_the_end = token.len() - at;
        token[from_the_end] ^= mask;
        forge::encode(&token)
    };
    let mut all = vec![damage(1, 1), damage(1, 0x80), damage(8, 0xff), damage(ISSUE_LEN, 1)];
    let mut replaced = token.clone();
    replaced[token.len() - ISSUE_LEN..].copy_from_slice(&forge::random::<ISSUE_LEN>());
    all.push(forge::encode(&replaced));
    all
}

pub(crate) async fn c87_damage_by_the_cookies_own_holder_raises_no_alarm(subject: Subject) {
    let server = subject.start().await;
    let mut browser = victim(&server).await;
    let superseded = browser.token();
    browser.post("/set?k=cart&v=two-pens").await.new_cookie();
    browser.post("/set?k=cart&v=one-pen").await.new_cookie();
    let before = server.metrics().await;
    for cookie in damaged(&browser.token()).iter().chain(&damaged(&superseded)) {
        present(&server, cookie).await.assert_anonymous();
    }
    let after = server.metrics().await;
    assert_eq!((after.event("forged"), after.event("replayed"), after.writes()), (0, 0, before.writes()));
    assert_unharmed(&mut browser).await;
    // One that is handed the newest where it is whole is not where it is damaged.
    assert_eq!(present(&server, &superseded).await.new_cookie(), browser.token());
}

pub(crate) async fn c87_a_forgery_raises_the_alarm_whatever_it_is_made_of(subject: Subject) {
    let server = subject.start().await;
    let mut browser = victim(&server).await;
    let captured = forge::open(&browser.token(), &server.keys.seal, CONTEXT);
    let genuine = forge::decode(&browser.token());
    // A captured cookie is sealed again with the same contents, and gets the mark of the genuine one.
    let again = forge::seal_without_mark(&captured, &server.keys, CONTEXT);
    let mut with_its_mark = forge::decode(&again);
    let at = with_its_mark.len() - ISSUE_LEN;
    with_its_mark[at..].copy_from_slice(&genuine[genuine.len() - ISSUE_LEN..]);
    let invented = forge::seal_without_mark(&forge::invented("alice"), &server.keys, CONTEXT);
    for (index, forged) in [again, forge::encode(&with_its_mark), invented].iter().enumerate() {
        assert_refused(&present(&server, forged).await);
        assert_eq!(server.metrics().await.event("forged"), u64::try_from(index).unwrap() + 1);
    }
    let event = server.event("forged").await;
    assert_eq!((&event["kind"], &event["key"]), (&json!("seal"), &json!(forge::key_name(&server.keys.seal))));
    assert_unharmed(&mut browser).await;
}

pub(crate) async fn c44_all_keys_and_a_sessions_id_cannot_make_a_cookie(subject: Subject) {
    let server = subject.start().await;
    let mut browser = victim(&server).await;
    let known = forge::open(&browser.token(), &server.keys.seal, CONTEXT);
    for ahead in [0, 1, 1000] {
        // All that a copy of the store and the keys tell; nonce and bloat of the live token are not among it.
        let invented = Plaintext {
            session_id: known.session_id,
            generation: known.generation + ahead,
            meta: known.meta.clone(),
            ..forge::invented("alice")
        };
        let reply = present(&server, &forge::seal(&invented, &server.keys, CONTEXT)).await;
        assert_refused(&reply);
    }
    let metrics = server.metrics().await;
    assert_eq!((metrics.event("unremembered"), metrics.live()), (3, 1));
    assert_unharmed(&mut browser).await;
}

pub(crate) async fn c44_a_dump_of_the_store_and_all_keys_cannot_make_a_cookie(subject: Subject) {
    let server = subject.start().await;
    let mut browser = victim(&server).await;
    let mut cookies = vec![browser.token()];
    cookies.push(browser.post("/set?k=note&v=of-a-certain-length").await.new_cookie());
    browser.post(&steps(&["label:my-laptop"])).await;
    cookies.push(browser.token());
    browser.post("/remove?k=note").await;
    cookies.push(browser.token());
    let newest = forge::open(&browser.token(), &server.keys.seal, CONTEXT);
    let dump = server.database().dump().await;
    assert!(dump.iter().any(|value| value == &newest.session_id), "the dump is of this store");

    // Nothing of a token, and nothing of what is in it, is in the dump.
    let holds = |secret: &[u8]| dump.iter().any(|value| value.windows(secret.len()).any(|part| part == secret));
    for secret in [&b"alice"[..], b"one-pen", b"of-a-certain-length", b"my-laptop", b"cart", &newest.handoff_key] {
        assert!(!holds(secret), "{secret:?}");
    }
    for cookie in &cookies {
        let token = forge::decode(cookie);
        let (nonce, issue) = (&token[9..33], &token[token.len() - ISSUE_LEN..]);
        assert!(!holds(nonce) && !holds(issue) && !holds(&token[40..60]));
    }
    for key in [&server.keys.seal, &server.keys.fingerprint] {
        assert!(!holds(key));
    }
    let expected = forge::fingerprint(&browser.token(), &server.keys, CONTEXT);
    assert!(holds(&expected), "what it holds is the fingerprint");

    // The handoff is the newest token, and opens with what only this session's tokens hold.
    let handoffs: Vec<&Vec<u8>> = dump.iter().filter(|value| value.len() > 300).collect();
    assert!(!handoffs.is_empty());
    let opens = |key: &[u8; 32], handoff: &[u8]| {
        forge::open_handoff(handoff, key, &newest.session_id, &server.keys.seal, CONTEXT)
    };
    assert!(handoffs.iter().any(|handoff| opens(&newest.handoff_key, handoff).is_some()));
    let mut guesses = vec![[0; 32], server.keys.seal, server.keys.fingerprint];
    for value in &dump {
        let mut guess = [0; 32];
        let length = value.len().min(32);
        guess[..length].copy_from_slice(&value[..length]);
        guesses.push(guess);
    }
    assert!(guesses.iter().all(|guess| handoffs.iter().all(|handoff| opens(guess, handoff).is_none())));

    // And a cookie made of all this is refused.
    let invented =
        Plaintext { session_id: newest.session_id, generation: newest.generation, ..forge::invented("alice") };
    assert_refused(&present(&server, &forge::seal(&invented, &server.keys, CONTEXT)).await);
    assert_unharmed(&mut browser).await;
}

pub(crate) async fn c44_all_keys_store_and_a_cookie_lead_to_that_sessions_newest_alone(subject: Subject) {
    let server = subject.start().await;
    let (mut alice, mut mallory) = (victim(&server).await, alice(&server).await);
    let (captured, own) = (alice.token(), mallory.token());
    alice.post("/set?k=cart&v=two-pens").await.new_cookie();
    mallory.post("/set?k=a&v=2").await.new_cookie();
    let seal = &server.keys.seal;
    let [captured, own] = [&captured, &own].map(|cookie| forge::open(cookie, seal, CONTEXT));
    let dump = server.database().dump().await;
    let opened = |holder: &Plaintext, of: &Plaintext| {
        let handoffs = dump.iter().filter(|value| value.len() > 300);
        let open = |handoff| forge::open_handoff(handoff, &holder.handoff_key, &of.session_id, seal, CONTEXT);
        handoffs.map(|handoff| open(handoff)).find_map(|token| token)
    };
    let led_to = opened(&captured, &captured).expect("the way from its own session's cookie");
    assert_eq!(forge::encode(&led_to), alice.token());
    assert_eq!(opened(&own, &captured), None, "from another session's cookie there is none");
}

pub(crate) async fn c45_debug_and_logs_show_no_id_token_key_or_payload(subject: Subject) {
    let server = subject.start_with(&[("LOG", "trace")]).await;
    let mut browser = server.browser();
    let mut tokens = Vec::new();
    for path in [
        "/set?k=pin&v=payload-4711".to_owned(),
        "/login?user=subject-alice".to_owned(),
        steps(&["label:label-laptop"]),
        "/set?k=pin&v=payload-4712".to_owned(),
        "/renew".to_owned(),
    ] {
        tokens.push(browser.post(&path).await.new_cookie());
    }
    let mut shown = vec![browser.get("/extra/debug").await.text(), server.get("/extra/debug-all").send().await.text()];
    // Everything that is refused is logged too.
    for token in tokens.clone() {
        present(&server, &token).await;
        present(&server, &token[1..]).await;
    }
    let forgery = Plaintext { session_id: forge::random(), ..forge::invented("subject-alice") };
    let forged =
        [forge::seal_without_mark(&forgery, &server.keys, CONTEXT), forge::seal(&forgery, &server.keys, CONTEXT)];
    for token in &forged {
        present(&server, token).await;
        tokens.push(token.clone());
    }
    let swapped = Keys::random();
    server.swap_keys(&[&swapped], &[&server.keys], &server.keys.seal_text()).await;
    shown.push(server.get("/sessions").cookie(&browser.token()).send().await.text());
    let rejected = server.post(&format!("/admin/keys?seal=sealk1_{}", forge::encode(&[9; 31]))).send().await;
    shown.push(rejected.text());
    server.fault("down").await;
    shown.push(browser.get("/state").await.text());
    server.fault("up").await;
    tokens.push(browser.get("/state").await.new_cookie());
    browser.post("/logout").await.assert_removal();
    server.event("forged").await;
    server.event("store_error").await;

    // The label is shown to its owner, in the list of sessions, and nowhere else.
    let mut secrets: Vec<String> = ["payload-471", "subject-alice"].map(str::to_owned).into();
    for keys in [&server.keys, &swapped] {
        for key in [&keys.seal, &keys.fingerprint] {
            secrets.extend([forge::encode(key), forge::hex(key), format!("{key:?}")]);
        }
    }
    for token in &tokens {
        let sealed_with =
            if forge::decode(token)[1..5] == forge::key_id(&swapped.seal) { &swapped } else { &server.keys };
        let plaintext = forge::open(token, &sealed_with.seal, CONTEXT);
        for bytes in [&plaintext.session_id[..], &plaintext.handoff_key] {
            secrets.extend([forge::encode(bytes), forge::hex(bytes), format!("{bytes:?}")]);
        }
        secrets.push(token[..60].to_owned());
        secrets.push(token[token.len() - 60..].to_owned());
    }
    let log = server.log().join("\n");
    assert!(log.contains("secure_sessions"), "the log is on");
    for secret in &secrets {
        assert!(!log.contains(secret.as_str()), "the log shows {secret}");
        assert!(!shown.iter().any(|text| text.contains(secret.as_str())), "{secret} is shown: {shown:#?}");
    }
    assert!(!log.contains("label-laptop"));
}
