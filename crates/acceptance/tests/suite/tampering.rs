//! Lines 66 and 88: someone else writes to the store, a thief renews, a cache keeps what it should not.

use std::sync::Arc;

use futures_util::future::join;
use serde_json::json;

use crate::support::client::{alice, steps};
use crate::support::forge::{self, Plaintext};
use crate::support::hostile::CONTEXT;
use crate::support::{Keys, Server, Subject};

/// A row of the table, by the session's id: its revision, fingerprint and handoff.
async fn row(server: &Server, id: &[u8; 16]) -> (String, Vec<u8>, Vec<u8>) {
    let database = server.database();
    let id = database.literal(id);
    let select =
        format!("SELECT CAST(revision AS CHAR(20)), fingerprint, handoff FROM secure_sessions WHERE id = {id}");
    let mut rows = database.fetch(&select).await;
    let [revision, fingerprint, handoff] = rows.remove(0).try_into().expect("three columns");
    let revision = String::from_utf8(revision.unwrap()).unwrap();
    (revision, fingerprint.unwrap(), handoff.unwrap_or_default())
}

async fn put_handoff(server: &Server, id: &[u8; 16], handoff: &[u8]) {
    let database = server.database();
    let (id, handoff) = (database.literal(id), database.literal(handoff));
    database.execute(&format!("UPDATE secure_sessions SET handoff = {handoff} WHERE id = {id}")).await;
}

pub(crate) async fn c66_a_handoff_swapped_or_put_back_is_refused_and_the_bucket_left_alone(subject: Subject) {
    let server = subject.start().await;
    let mut alice = alice(&server).await;
    let mut mallory = server.browser();
    mallory.post("/login?user=mallory").await.new_cookie();
    let stale = alice.token();
    alice.post("/set?k=a&v=2").await.new_cookie();
    let middle = alice.token();
    let id = forge::open(&stale, &server.keys.seal, CONTEXT).session_id;
    let earlier = row(&server, &id).await.2;
    alice.post("/set?k=a&v=3").await.new_cookie();
    let own = mallory.token();
    mallory.post("/set?k=a&v=0").await.new_cookie();
    let other = row(&server, &forge::open(&own, &server.keys.seal, CONTEXT).session_id).await.2;
    let right = row(&server, &id).await;

    // An attacker who also holds the seal key, and a cookie of the session, can seal a handoff that opens.
    let (newest, seal) = (forge::open(&alice.token(), &server.keys.seal, CONTEXT), &server.keys.seal);
    let richer = Plaintext { data: forge::invented("").data, ..newest.clone() };
    let unmarked = forge::seal_without_mark(&richer, &server.keys, CONTEXT);
    let sealed = |cookie: &str| forge::seal_handoff(cookie, &newest, seal, CONTEXT);
    let mut flipped = right.2.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let tampered = [
        ("swapped with another session's", other),
        ("put back", earlier),
        ("flipped", flipped),
        ("cut off", right.2[..20].to_vec()),
        ("a forged token", sealed(&unmarked)),
        ("an earlier token of the session", sealed(&middle)),
        ("another session's token", sealed(&mallory.token())),
    ];
    let writes = server.metrics().await.writes();
    for (index, (what, handoff)) in tampered.iter().enumerate() {
        put_handoff(&server, &id, handoff).await;
        for request in [server.get("/state"), server.post("/set?k=a&v=9"), server.post("/renew")] {
            let reply = request.cookie(&stale).send().await;
            assert_eq!(reply.json()["subject"], json!(null), "{what}");
            let cookie = reply.set_cookie().map(|cookie| forge::open(&cookie.value, seal, CONTEXT).session_id);
            assert_ne!(cookie, Some(id), "{what}: sealed again");
        }
        assert_eq!(server.metrics().await.event("store_tampered"), 3 * (u64::try_from(index).unwrap() + 1), "{what}");
        let after = row(&server, &id).await;
        assert_eq!((&after.0, &after.1, &after.2), (&right.0, &right.1, handoff), "{what}: the bucket is untouched");
        // The holder of the newest token needs no handoff, and notices nothing.
        let reply = alice.get("/state").await;
        assert_eq!(reply.ok()["data"], json!({ "a": "3" }));
        reply.assert_no_cookie();
    }
    put_handoff(&server, &id, &right.2).await;
    let handed = server.get("/state").cookie(&stale).send().await;
    assert_eq!((handed.new_cookie(), &handed.ok()["data"]), (alice.token(), &json!({ "a": "3" })));
    let created = server.metrics().await.calls("insert");
    assert!(server.metrics().await.writes() >= writes && created > 0);
}

pub(crate) async fn c66_a_bucket_moved_to_another_subject_is_refused(subject: Subject) {
    let server = subject.start().await;
    let mut alice = alice(&server).await;
    let mut mallory = server.browser();
    mallory.post("/login?user=mallory").await.new_cookie();
    let (target, own) = (
        forge::open(&alice.token(), &server.keys.seal, CONTEXT).session_id,
        forge::open(&mallory.token(), &server.keys.seal, CONTEXT).session_id,
    );
    let database = server.database();
    let (target, own) = (database.literal(&target), database.literal(&own));
    // In two steps: MySQL does not read the table that it updates.
    let tag = database.fetch(&format!("SELECT subject FROM secure_sessions WHERE id = {target}")).await[0][0].clone();
    let tag = database.literal(&tag.unwrap());
    database.execute(&format!("UPDATE secure_sessions SET subject = {tag} WHERE id = {own}")).await;
    let reply = mallory.get("/state").await;
    reply.assert_anonymous();
    reply.assert_no_cookie();
    assert_eq!(server.metrics().await.event("store_tampered"), 1);
    assert_eq!(alice.state().await["subject"], "alice");
}

pub(crate) async fn c88_the_fingerprint_key_and_a_writable_store_make_nothing(subject: Subject) {
    let server = subject.start().await;
    let mut mallory = server.browser();
    mallory.post("/login?user=mally").await.new_cookie();
    mallory.post("/set?k=a&v=1").await.new_cookie();
    let genuine = mallory.token();
    let own = forge::open(&genuine, &server.keys.seal, CONTEXT);
    let id = server.database().literal(&own.session_id);
    let put = async |fingerprint: &[u8]| {
        let fingerprint = server.database().literal(fingerprint);
        let update = format!("UPDATE secure_sessions SET fingerprint = {fingerprint} WHERE id = {id}");
        server.database().execute(&update).await;
    };
    // The attackers know what their own token says, and a stream cipher lets them turn it into something else.
    let position = |of: &[u8]| forge::position(&own, of).expect("known plaintext");
    let changes = [
        (position(b"mally"), [b'm' ^ b'a', b'a' ^ b'l', b'l' ^ b'i', b'l' ^ b'c', b'y' ^ b'e'].to_vec()),
        (position(b"\x61\x31"), vec![0, b'1' ^ b'9']),
    ];
    let attacker = Keys { seal: forge::random(), fingerprint: server.keys.fingerprint };
    for (at, mask) in changes {
        let (cookie, fingerprint) = forge::flipped_and_marked(&genuine, at, &mask, &attacker, CONTEXT);
        put(&fingerprint).await;
        let reply = server.get("/state").cookie(&cookie).send().await;
        reply.assert_anonymous();
        assert!(reply.set_cookie().is_none_or(|cookie| cookie.is_removal()));
        server.post("/set?k=b&v=2").cookie(&cookie).send().await;
        server.get("/state").cookie(&cookie).send().await.assert_anonymous();
    }
    put(&forge::fingerprint(&genuine, &server.keys, CONTEXT)).await;
    assert_eq!(mallory.state().await["data"], json!({ "a": "1" }), "only the bytes that we issued are admitted");
}

pub(crate) async fn c66_a_304_gets_no_cache_control_of_ours(subject: Subject) {
    let server = subject.start().await;
    let mut browser = alice(&server).await;
    let reply = browser.post(&steps(&["get:a", "status:304"])).await;
    assert_eq!((reply.status, reply.all("cache-control")), (304, vec![]));
    // The copy that the browser has stored keeps the headers of the response that brought it.
    assert_eq!(browser.get("/state").await.all("cache-control"), ["no-store"]);
}

/// Puts a row into the table, as someone would who can write to the store.
async fn insert_bucket(server: &Server, plaintext: &Plaintext, fingerprint: &[u8; 16]) {
    let database = server.database();
    let tag = database.fetch("SELECT subject FROM secure_sessions WHERE subject IS NOT NULL").await[0][0].clone();
    let (id, fingerprint) = (database.literal(&plaintext.session_id), database.literal(fingerprint));
    let tag = database.literal(&tag.unwrap());
    let Plaintext { issued_at, expires_at, generation, .. } = plaintext;
    let statement = format!(
        "INSERT INTO secure_sessions (id, revision, created_at, last_seen_at, expires_at, rotated_at, generation, \
         fingerprint, subject, due_at, purge_at) VALUES ({id}, 1, {issued_at}, {issued_at}, {expires_at}, {issued_at}, \
         {generation}, {fingerprint}, {tag}, {expires_at}, {expires_at})"
    );
    database.execute(&statement).await;
}

pub(crate) async fn c66_the_seal_key_and_a_writable_store_cannot_forge_but_both_keys_can(subject: Subject) {
    let server = subject.start().await;
    // Its subject's tag stands in the store, to be copied.
    alice(&server).await;
    let with_seal_key = forge::invented("alice");
    let guessed = Keys { fingerprint: forge::random(), ..server.keys.clone() };
    let unmarked = forge::seal_without_mark(&with_seal_key, &server.keys, CONTEXT);
    let fingerprint = forge::fingerprint(&unmarked, &guessed, CONTEXT);
    insert_bucket(&server, &with_seal_key, &fingerprint).await;
    let before = server.metrics().await;
    let reply = server.get("/state").cookie(&unmarked).send().await;
    reply.assert_anonymous();
    reply.assert_no_cookie();
    let after = server.metrics().await;
    assert_eq!((after.event("forged"), after.writes()), (1, before.writes()));

    // The limit of what can be had: whoever holds both keys and writes to the store is us.
    let tag =
        server.database().fetch("SELECT subject FROM secure_sessions WHERE subject IS NOT NULL").await[0][0].clone();
    let meta = forge::meta("alice", &tag.unwrap().try_into().unwrap());
    let with_both = Plaintext { meta, ..forge::invented("alice") };
    let cookie = forge::seal(&with_both, &server.keys, CONTEXT);
    insert_bucket(&server, &with_both, &forge::fingerprint(&cookie, &server.keys, CONTEXT)).await;
    let state = server.get("/state").cookie(&cookie).send().await.ok();
    assert_eq!((&state["subject"], &state["data"]), (&json!("alice"), &json!({ "admin": "yes" })));
}

pub(crate) async fn c66_a_restored_backup_is_noticed_and_not_before_ends_what_it_revived(subject: Subject) {
    let mut server = subject.start().await;
    let mut browser = alice(&server).await;
    let before = browser.token();
    let backup = Arc::new(server.database().copy().await);
    let newest = browser.post("/set?k=a&v=2").await.new_cookie();
    server.kill();

    let restored = subject.setup().keys(&server.keys).database(&backup).start().await;
    let reply = restored.get("/state").cookie(&newest).send().await;
    reply.assert_anonymous();
    reply.assert_no_cookie();
    let metrics = restored.metrics().await;
    assert_eq!((metrics.event("unremembered"), metrics.live()), (1, 1));
    // The backup revives only tokens that were once issued.
    assert_eq!(restored.get("/state").cookie(&before).send().await.ok()["data"], json!({ "a": "1" }));
    drop(restored);

    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis().to_string();
    let setup = subject.setup().keys(&server.keys).database(&backup).set("NOT_BEFORE_MS", &now);
    let strict = setup.start().await;
    for cookie in [&before, &newest] {
        strict.get("/state").cookie(cookie).send().await.assert_anonymous();
    }
    let mut again = strict.browser();
    again.post("/login?user=alice").await.new_cookie();
    assert_eq!(again.state().await["subject"], "alice");
}

pub(crate) async fn c66_one_call_refuses_old_cookies_on_every_host_and_after_a_restart(subject: Subject) {
    let one = subject.start().await;
    let two = subject.setup().keys(&one.keys).database(one.database()).start().await;
    let mut browser = alice(&one).await;
    let old = browser.token();
    assert_eq!(two.get("/state").cookie(&old).send().await.ok()["subject"], "alice", "it asks the store here");
    one.advance(1_000).await;
    two.advance(1_000).await;
    let far = one.post("/admin/not-before?ms=9000000000000").send().await;
    assert_eq!(far.status, 400, "in the future it would refuse every login");
    // Both clocks were moved by a second, so that the cookie is older.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() + 1_000;
    assert_eq!(one.post(&format!("/admin/not-before?ms={now}")).send().await.ok()["not_before"], json!(now));
    one.get("/state").cookie(&old).send().await.assert_anonymous();
    two.advance(10_000).await;
    two.get("/state").cookie(&old).send().await.assert_anonymous();
    assert_eq!(two.metrics().await.event("not_before"), 1);
    drop(two);
    let restarted =
        subject.setup().keys(&one.keys).database(one.database()).set("CLOCK_OFFSET_MS", "11000").start().await;
    restarted.get("/state").cookie(&old).send().await.assert_anonymous();
    browser.post("/login?user=alice").await.new_cookie();
    let new = browser.token();
    assert_eq!(restarted.get("/state").cookie(&new).send().await.ok()["subject"], "alice", "new cookies are good");
}

pub(crate) async fn c66_logging_out_everywhere_races_a_renewing_thief_and_nothing_survives(subject: Subject) {
    let server = subject.start().await;
    for round in 0..10 {
        let mut owner = alice(&server).await;
        let mut thieves = Vec::new();
        for _ in 0..3 {
            let mut thief = server.browser();
            thief.post("/login?user=alice").await.new_cookie();
            thieves.push(thief);
        }
        // Each renews in a loop, as fast as it can, until it is thrown out.
        let renewing = futures_util::future::join_all(thieves.iter_mut().map(async |thief| {
            for _ in 0..10_000 {
                let reply = thief.post("/renew").await;
                // 409: its session ended while this was under way.
                if reply.status == 409 || reply.json()["subject"] != "alice" {
                    return;
                }
            }
            panic!("round {round}: a thief survived");
        }));
        let revoking = async {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            server.post("/admin/revoke?user=alice").send().await.ok()["revoked"].as_u64().unwrap()
        };
        let ((), revoked) = join(
            async {
                renewing.await;
            },
            revoking,
        )
        .await;
        assert!(revoked >= 1, "round {round}");
        assert_eq!(server.metrics().await.live(), 0, "round {round}");
        for browser in thieves.iter_mut().chain([&mut owner]) {
            browser.get("/state").await.assert_anonymous();
        }
    }
}

pub(crate) async fn c66_a_public_response_that_sets_our_cookie_is_not_stored_by_caches(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    // Every response of the suite that sets our cookie is checked for this; here the application says otherwise.
    let reply = browser.post("/extra/public?k=a&v=1").await;
    reply.new_cookie();
    assert_eq!(reply.all("cache-control"), ["no-store"]);
    assert_eq!(reply.all("vary"), ["Cookie"]);
    assert!(reply.all("cdn-cache-control").is_empty() && reply.all("surrogate-control").is_empty());
    // A header of the application's that is as strict stays.
    for (value, expected) in [
        ("private, max-age=60", "private, max-age=60"),
        ("no-store", "no-store"),
        ("max-age=60, s-maxage=600", "no-store"),
        // These keep only the named headers from shared caches, or say something else.
        ("private=\"x-user\", max-age=60", "no-store"),
        ("public, x-private, no-store-please", "no-store"),
    ] {
        let path = format!("/extra/public?k=a&v={value}&value={value}").replace(' ', "%20").replace('"', "%22");
        let reply = browser.post(&path).await;
        reply.new_cookie();
        assert_eq!(reply.all("cache-control"), [expected], "{value}");
    }
    // Nothing of ours in it: the application's caching stays, and says by what it varies.
    let reply = browser.get("/extra/cached").await;
    reply.assert_no_cookie();
    assert_eq!(
        (reply.all("cache-control"), reply.all("vary")),
        (vec!["public, max-age=60".into()], vec!["Cookie".into()])
    );
    assert_eq!(browser.get("/state").await.all("cache-control"), ["no-store"]);
    let removal = browser.post("/logout").await;
    removal.assert_removal();
    assert_eq!(removal.all("cache-control"), ["no-store"]);
}
