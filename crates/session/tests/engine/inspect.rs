//! An inspection finds what a request with the token would find, and changes nothing.

use std::sync::{Arc, Mutex};

use secure_sessions::store::{Bucket, Entry, Revision, SessionId, Tombstone, forward_methods};
use secure_sessions::{
    Clock, Keyring, ManualClock, MemoryStore, SessionManager, SessionStore, StoreError, TokenVerdict, Transport,
};

use crate::support::{App, app, app_with, set_cookie};

/// A store in memory that knows whom it wrote to last.
#[derive(Clone, Default)]
struct Last {
    store: MemoryStore,
    id: Arc<Mutex<Option<SessionId>>>,
}

impl SessionStore for Last {
    async fn insert(&self, bucket: &Bucket) -> Result<(), StoreError> {
        *self.id.lock().unwrap() = Some(bucket.id);
        self.store.insert(bucket).await
    }

    async fn replace(&self, bucket: &Bucket, expected: Revision) -> Result<bool, StoreError> {
        *self.id.lock().unwrap() = Some(bucket.id);
        self.store.replace(bucket, expected).await
    }

    async fn renew_into(
        &self,
        new: &Bucket,
        old: &SessionId,
        revision: Revision,
        stone: Tombstone,
    ) -> Result<bool, StoreError> {
        *self.id.lock().unwrap() = Some(new.id);
        self.store.renew_into(new, old, revision, stone).await
    }

    forward_methods!(self => &self.store;
        load, remove, list, count, remove_all, purge_expired, not_before, raise_not_before);
}

impl Last {
    async fn bucket(&self) -> Bucket {
        let id = self.id.lock().unwrap().unwrap();
        let Some(Entry::Bucket(bucket)) = self.store.load(&id).await.unwrap() else { panic!("it has ended") };
        bucket
    }

    async fn put_back(&self, bucket: &Bucket) {
        self.store.remove(&bucket.id, None).await.unwrap();
        self.store.insert(bucket).await.unwrap();
    }
}

/// Keys that the test has too.
struct Keys([u8; 32], [u8; 32]);

impl Keys {
    fn ring(&self) -> Keyring {
        let seal = secure_sessions::SealKey::from_bytes(self.0).to_text();
        let fingerprint = secure_sessions::FingerprintKey::from_bytes(self.1).to_text();
        Keyring::from_text(&seal, &fingerprint, "").unwrap()
    }
}

const KEYS: Keys = Keys([1; 32], [2; 32]);

/// An application on a store whose buckets the test reads and puts back.
fn site() -> (App, Last) {
    let last = Last::default();
    let (events, clock) = (Arc::new(Mutex::new(Vec::new())), ManualClock::at_present());
    let seen = Arc::clone(&events);
    let manager = SessionManager::builder(KEYS.ring(), last.clone())
        .insecure_dev()
        .clock(clock.clone())
        .observer(move |event: &secure_sessions::Event| seen.lock().unwrap().push(event.clone()))
        .build()
        .unwrap();
    (App { manager, store: last.store.clone(), clock, events }, last)
}

/// Inspects the cookie, then presents it, and compares.
async fn both(app: &App, cookie: &str, name: &str) -> TokenVerdict {
    let before = (app.event_names(), app.store.count().await.unwrap());
    let found = app.manager.inspect(Transport::Cookie, cookie).await.unwrap();
    let verdict = found.verdict;
    assert_eq!(verdict.name(), name, "{verdict}");
    assert_eq!((app.event_names(), app.store.count().await.unwrap()), before, "{name}: an inspection changes nothing");
    assert_eq!(found.data.is_some(), verdict.is_good(), "{name}: the store vouches for it, or there is no data");

    let (request, session) = app.request(Some(cookie)).await;
    assert_eq!(session.is_new(), !verdict.is_good(), "{name}");
    request.finish(200).await;
    let raised = app.event_names().split_off(before.0.len());
    assert_eq!(raised.first().copied(), verdict.event(), "{name}: {raised:?}");
    verdict
}

async fn made(app: &App) -> String {
    app.visit(None, |session| session.insert("n", 1).unwrap()).await.unwrap()
}

async fn changed(app: &App, cookie: &str) -> String {
    app.visit(Some(cookie), |session| session.update("n", |n: &mut u64| *n += 1).unwrap()).await.unwrap()
}

#[tokio::test]
async fn an_inspection_finds_of_a_live_session_what_a_request_would_find() {
    let app = app();
    let first = made(&app).await;
    both(&app, &first, "current").await;
    let second = changed(&app, &first).await;
    both(&app, &first, "superseded").await;
    both(&app, &second, "current").await;
    app.pass(61);
    let third = changed(&app, &second).await;
    app.pass(61);
    both(&app, &first, "replayed").await;
    both(&app, &third, "ended").await;

    let idle = made(&app).await;
    app.pass(60 * 60);
    both(&app, &idle, "expired").await;
    app.pass(8 * 3600);
    both(&app, &idle, "expired").await;

    let early = made(&app).await;
    app.pass(1);
    app.manager.set_not_before(app.clock.now()).await.unwrap();
    both(&app, &early, "not_before").await;
}

#[tokio::test]
async fn an_inspection_finds_of_an_ended_session_what_a_request_would_find() {
    let app = app();
    let login = |session: &secure_sessions::Session| session.login("alice").unwrap();
    let cookie = app.visit(None, login).await.unwrap();
    app.visit(Some(&cookie), |session| session.logout().unwrap()).await;
    both(&app, &cookie, "just_ended").await;
    app.pass(60);
    both(&app, &cookie, "ended").await;

    let old = app.visit(None, login).await.unwrap();
    let new = app.visit(Some(&old), |session| session.renew().unwrap()).await.unwrap();
    let inspected = app.manager.inspect(Transport::Cookie, &new).await.unwrap().token.unwrap();
    let TokenVerdict::JustRenewed { successor, .. } = both(&app, &old, "just_renewed").await else { panic!() };
    assert_eq!((successor, inspected.subject.as_deref()), (inspected.session, Some("alice")));
    app.pass(61);
    let verdict = both(&app, &old, "replayed").await;
    assert_eq!(verdict, TokenVerdict::Replayed { successor: Some(inspected.session) });
    let said = verdict.to_string();
    assert!(said.contains("ends the renewed session, unless `on_replay` says otherwise"), "{said}");
    both(&app, &new, "ended").await;
}

#[tokio::test]
async fn an_inspection_finds_of_a_strange_token_what_a_request_would_find() {
    let (app, _) = site();
    let cookie = made(&app).await;
    both(&app, "hello", "not_a_token").await;
    let bytes = |text: &str| {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let bits = text.bytes().map(|byte| alphabet.iter().position(|letter| *letter == byte).unwrap());
        let (mut bytes, mut held, mut count) = (Vec::new(), 0, 0);
        for six in bits {
            (held, count) = ((held << 6 | six) & 0xffff, count + 6);
            if count >= 8 {
                count -= 8;
                bytes.push(u8::try_from(held >> count & 0xff).unwrap());
            }
        }
        bytes
    };
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut token = bytes(&cookie);
        change(&mut token);
        forge::base64url(&token)
    };
    both(&app, &with(&|token| token[0] = 9), "later_version").await;
    both(&app, &with(&|token| token[40] ^= 1), "not_authentic").await;
    let damaged = with(&|token| *token.last_mut().unwrap() ^= 1);
    both(&app, &damaged, "damaged").await;
    let alone = app.manager.inspect_offline(Transport::Cookie, &damaged);
    assert_eq!((alone.verdict.name(), alone.token), ("unmarked", None));
    let alone = app.manager.inspect_offline(Transport::Cookie, &cookie);
    assert_eq!((alone.verdict.name(), alone.data.is_none(), alone.session), ("authentic", true, None));
    let plaintext = vec![0; forge::PLAINTEXT_FIXED + 64];
    let forged = forge::unmarked(&KEYS.0, forge::key_id(&KEYS.1), "session", &[7; 24], &plaintext);
    both(&app, &forge::base64url(&[&forged[..], &[0; 16]].concat()), "forged").await;
    let (malformed, _) = forge::token(&KEYS.0, &KEYS.1, "session", &[7; 24], &[255; forge::PLAINTEXT_FIXED + 64]);
    both(&app, &forge::base64url(&malformed), "malformed").await;
    both(&app, &made(&app_with(|builder| builder)).await, "unknown_key").await;
    // Under another name, nothing of it is ours.
    let other = SessionManager::builder(KEYS.ring(), app.store.clone()).insecure_dev().cookie_name("other").build();
    assert_eq!(other.unwrap().inspect_offline(Transport::Cookie, &cookie).verdict.name(), "not_authentic");
}

#[tokio::test]
async fn an_inspection_finds_of_a_store_that_is_wrong_what_a_request_would_find() {
    let (app, last) = site();
    let first = made(&app).await;
    let backup = last.bucket().await;
    let second = changed(&app, &first).await;
    last.put_back(&backup).await;
    both(&app, &second, "unremembered").await;

    let first = made(&app).await;
    changed(&app, &first).await;
    let mut bucket = last.bucket().await;
    bucket.handoff.as_mut().unwrap()[40] ^= 1;
    last.put_back(&bucket).await;
    both(&app, &first, "store_tampered").await;

    // The newest token has an entry that a later release wrote.
    let (nonce, critical) = ([7; 24], [0xa1, 0x18, 0x20, 0x00]);
    let mut bucket = last.bucket().await;
    let plaintext = forge::Plaintext {
        session_id: *bucket.id.as_bytes(),
        handoff_key: [3; 32],
        generation: bucket.generation,
        issued_at: app.clock.now().as_millis(),
        expires_at: bucket.expires_at.as_millis(),
        meta: critical.to_vec(),
        data: vec![0xa0],
        bloat: vec![0; 64],
    };
    let (token, fingerprint) = forge::token(&KEYS.0, &KEYS.1, "session", &nonce, &plaintext.to_bytes());
    bucket.current = secure_sessions::store::Fingerprint::from_bytes(fingerprint);
    last.put_back(&bucket).await;
    let verdict = both(&app, &forge::base64url(&token), "critical_entry").await;
    assert_eq!(verdict, TokenVerdict::CriticalEntry { key: 32 });
}

#[tokio::test]
async fn an_inspection_finds_a_token_that_was_pushed_out_as_a_request_does() {
    let app = app();
    let cookie = made(&app).await;
    // More responses than a bucket remembers are under way at once.
    let mut under_way = Vec::new();
    for _ in 0..200 {
        let (request, session) = app.request(Some(&cookie)).await;
        session.update("n", |n: &mut u64| *n += 1).unwrap();
        under_way.push(request);
    }
    let mut first = None;
    for request in under_way {
        let handed_out = set_cookie(request.finish(200).await.as_ref()).unwrap();
        first.get_or_insert(handed_out);
    }
    let first = first.unwrap();
    both(&app, &first, "crowded_out").await;
}

#[tokio::test]
async fn a_bearer_token_is_inspected_as_one() {
    let app = app_with(|builder| builder.cookies(false).bearer());
    let (request, session) = app.request(None).await;
    session.login("alice").unwrap();
    let token = crate::support::bearer(request.finish(200).await.as_ref()).unwrap();
    let found = app.manager.inspect(Transport::Bearer, &token).await.unwrap();
    assert_eq!((found.verdict, found.session.unwrap().generation), (TokenVerdict::Current, 1));
    assert_eq!(app.manager.inspect(Transport::Cookie, &token).await.unwrap().verdict, TokenVerdict::NotAuthentic);
}
