//! Nothing that operators are told lets anyone into a session: every event is raised, and everything that any sink got is
//! searched for every secret there was.

#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use secure_sessions::store::{
    Bucket, Entry, MemoryStore, Revision, SessionId, SessionStore, StoreError, Timestamp, Tombstone, VaultStore,
};
use secure_sessions::{
    AuditLog, CrossOrigin, DeviceSkipped, Event, FlashLevel, Keyring, Login, ManualClock, Observer, RequestHead,
    SessionManager, Throttled,
};
use support::output::Output;
use support::{App, Head};

const CANARIES: [&str; 7] =
    ["canary-payload", "canary-subject", "canary-issuer", "canary-sid", "canary-label", "canary-flash", "canary-key"];

/// A store that remembers every id, and fails when told to.
#[derive(Clone, Default)]
struct Spy {
    store: MemoryStore,
    ids: Arc<Mutex<Vec<[u8; 16]>>>,
    is_down: Arc<AtomicBool>,
}

impl Spy {
    fn up(&self) -> Result<&MemoryStore, StoreError> {
        let down = self.is_down.load(Ordering::SeqCst);
        if down { Err(StoreError::unavailable(std::io::Error::other("connection lost"))) } else { Ok(&self.store) }
    }

    fn saw(&self, bucket: &Bucket) {
        self.ids.lock().unwrap().push(*bucket.id.as_bytes());
    }
}

impl SessionStore for Spy {
    async fn insert(&self, bucket: &Bucket) -> Result<(), StoreError> {
        self.saw(bucket);
        self.up()?.insert(bucket).await
    }

    async fn renew_into(
        &self,
        bucket: &Bucket,
        old: &SessionId,
        expected: Revision,
        tombstone: Tombstone,
    ) -> Result<bool, StoreError> {
        self.saw(bucket);
        self.up()?.renew_into(bucket, old, expected, tombstone).await
    }

    secure_sessions::store::forward_methods!(self => self.up()?;
        load, replace, remove, list, count, remove_all, purge_expired, not_before, raise_not_before);
}

/// The site with every sink there is.
struct Site {
    app: App,
    spy: Spy,
    output: Output,
    audit: AuditLog,
    keys: Vec<String>,
    secrets: Mutex<BTreeSet<String>>,
}

impl Site {
    fn new(output: &Output) -> Self {
        let (seal, fingerprint) = Keyring::generate_texts().unwrap();
        let keys = vec![seal.to_string(), fingerprint.to_string()];
        let (spy, clock) = (Spy::default(), ManualClock::at_present());
        let events = Arc::new(Mutex::new(Vec::new()));
        let (seen, said) = (Arc::clone(&events), output.clone());
        let audit = AuditLog::builder(Lines(output.clone())).event_limit(None).clock(clock.clone()).start().unwrap();
        let limit = secure_sessions::EventLimit { burst: 1, per_minute: 0 };
        let limited = output.clone();
        let builder = SessionManager::builder(ring(&keys, ""), spy.clone())
            .insecure_dev()
            .vault(spy.store.clone())
            .clock(clock.clone())
            .event_limit(None)
            .observer(move |event: &Event| {
                said.say(&format!("{event} {event:?} {event:#?}"));
                seen.lock().unwrap().push(event.clone());
            })
            .observer(Throttled::new(move |event: &Event| limited.say(&event.to_string()), limit))
            .observer(audit.clone());
        #[cfg(feature = "metrics")]
        let builder = builder.observer(secure_sessions::Metrics::new());
        let app = App { manager: builder.build().unwrap(), store: spy.store.clone(), clock, events };
        Self { app, spy, output: output.clone(), audit, keys, secrets: Mutex::default() }
    }

    async fn visit(&self, cookie: Option<&str>, handler: impl FnOnce(&secure_sessions::Session)) -> Option<String> {
        let next = self.app.visit(cookie, handler).await;
        self.secrets.lock().unwrap().extend(next.clone());
        next
    }

    async fn login(&self) -> Option<String> {
        self.visit(None, |session| {
            let login = Login::new("canary-subject").provider_session("canary-issuer", "canary-sid");
            session.login_with(login).unwrap();
            session.insert("canary-key", "canary-payload").unwrap();
            session.set_label("canary-label").unwrap();
            session.flash(FlashLevel::Info, "canary-flash").unwrap();
            self.secrets.lock().unwrap().insert(session.csrf_token().unwrap());
        })
        .await
    }

    async fn change(&self, cookie: Option<&str>, n: u64) -> Option<String> {
        self.visit(cookie, |session| session.insert("n", n).unwrap()).await
    }

    /// The bucket of the newest session.
    async fn bucket(&self) -> Bucket {
        let id = SessionId::from_bytes(*self.spy.ids.lock().unwrap().last().unwrap());
        match self.spy.store.load(&id).await.unwrap() {
            Some(Entry::Bucket(bucket)) => bucket,
            _ => panic!("it has ended"),
        }
    }

    async fn put_back(&self, bucket: &Bucket) {
        self.spy.store.remove(&bucket.id, None).await.unwrap();
        self.spy.store.insert(bucket).await.unwrap();
    }
}

fn ring(keys: &[String], compromised: &str) -> Keyring {
    Keyring::from_text(&keys[0], &keys[1], compromised).unwrap()
}

struct Lines(Output);

impl secure_sessions::AuditSink for Lines {
    fn append(&mut self, record: &secure_sessions::AuditRecord) -> std::io::Result<()> {
        self.0.say(&record.to_json());
        self.0.say(&format!("{record:?}"));
        Ok(())
    }
}

struct CrossSite;

impl RequestHead for CrossSite {
    fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
        match name {
            "sec-fetch-site" => visit(b"cross-site"),
            "origin" => visit(b"https://evil.example"),
            _ => {}
        }
    }

    fn method(&self) -> &'static str {
        "POST"
    }
}

/// Raises every event that there is.
/// Texts only, under any key.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Texts {
    n: String,
    #[serde(flatten)]
    rest: std::collections::BTreeMap<String, u64>,
}

async fn raise_all(site: &Site) {
    let app = &site.app;
    // created, rotated, handed_off, replayed
    let first = site.login().await;
    let second = site.change(first.as_deref(), 1).await;
    site.visit(first.as_deref(), |_| ()).await;
    app.pass(61);
    let third = site.change(second.as_deref(), 2).await;
    app.pass(61);
    site.visit(first.as_deref(), |_| ()).await;
    // ended (revoked, presented after the end)
    site.visit(third.as_deref(), |_| ()).await;
    site.login().await;
    assert_eq!(app.manager.revoke_provider_session("canary-issuer", "canary-sid").await.unwrap(), 1);
    let one = site.login().await;
    app.manager.revoke_subject("canary-subject").await.unwrap();
    site.visit(one.as_deref(), |_| ()).await;
    // renewed, ended (logout)
    let one = site.change(None, 1).await;
    let one = site.visit(one.as_deref(), |session| session.login("canary-subject").unwrap()).await;
    let one = site.visit(one.as_deref(), |session| session.renew().unwrap()).await;
    site.visit(one.as_deref(), |session| session.logout().unwrap()).await;
    // rotated (interval), expired
    let one = site.login().await;
    app.pass(16 * 60);
    let one = site.visit(one.as_deref(), |_| ()).await;
    app.pass(60 * 60);
    site.visit(one.as_deref(), |_| ()).await;
    // forged: a genuine cookie with a damaged mark, whose session can no longer tell that
    let one = site.login().await.unwrap();
    site.visit(Some(&one), |session| session.logout().unwrap()).await;
    let mut damaged = one.clone().into_bytes();
    let at = damaged.len() - 8;
    damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
    site.visit(Some(&String::from_utf8(damaged).unwrap()), |_| ()).await;
    // unremembered: a backup is restored
    let one = site.login().await.unwrap();
    let backup = site.bucket().await;
    let two = site.change(Some(&one), 2).await;
    site.put_back(&backup).await;
    site.visit(two.as_deref(), |_| ()).await;
    // store_tampered: the way to the successor is not ours
    let one = site.login().await;
    site.change(one.as_deref(), 1).await;
    let mut bucket = site.bucket().await;
    bucket.handoff.as_mut().unwrap()[40] ^= 1;
    site.put_back(&bucket).await;
    site.visit(one.as_deref(), |_| ()).await;
    // vault_lost: the store of private values is emptied
    let keep = |session: &secure_sessions::Session| session.vault().insert("canary-key", "canary-payload").unwrap();
    let one = site.visit(None, keep).await;
    VaultStore::purge(&site.spy.store, Timestamp::from_millis(u64::MAX), 100).await.unwrap();
    let (_, session) = app.request(one.as_deref()).await;
    session.vault().get::<String>("canary-key").await.unwrap_err();
    // ambiguous
    let (one, two) = (site.login().await.unwrap(), site.login().await.unwrap());
    let cookies = vec![format!("session={one}; session={two}")];
    app.try_request(&Head { cookies, ..Head::with(None) }).await.unwrap();
    // conflict_retry
    let (a, session) = app.request(Some(&one)).await;
    session.insert("a", "canary-payload").unwrap();
    let (b, session) = app.request(Some(&one)).await;
    session.insert("b", "canary-payload").unwrap();
    a.finish(200).await;
    b.finish(200).await;
    // unreadable: neither a value nor a key that is no field of the type's own
    let (_, session) = app.request(Some(&two)).await;
    session.insert("n", 1).unwrap();
    secure_sessions::Typed::<Texts>::or_default(session).unwrap();
    // not_before
    app.manager.set_not_before(secure_sessions::Clock::now(&app.clock)).await.unwrap();
    // store_error
    site.spy.is_down.store(true, Ordering::SeqCst);
    app.try_request(&Head::with(Some(&one))).await.unwrap_err();
    site.spy.is_down.store(false, Ordering::SeqCst);
    // csrf_mismatch, cross_origin
    let (_, session) = app.request(Some(&two)).await;
    session.verify_csrf_field("").unwrap_err();
    let check = CrossOrigin::builder().events_to(&app.manager).build().unwrap();
    check.check(&CrossSite, "/canary-payload", None).unwrap_err();
    // rotated (compromised key), unknown_key
    app.manager
        .set_keyring(ring(&[Keyring::generate_texts().unwrap().0.to_string(), site.keys[1].clone()], &site.keys[0]))
        .unwrap();
    site.visit(Some(&two), |_| ()).await;
    app.manager.set_keyring(Keyring::generate().unwrap()).unwrap();
    site.visit(Some(&two), |_| ()).await;
    // key_reload_failed: a key that is spoilt
    let spoilt = format!("{}x", site.keys[0]);
    app.manager.reload_keys(|| Keyring::from_text(&spoilt, &site.keys[1], "")).unwrap_err();
    // suppressed, and what only a configuration of its own raises.
    for event in [
        Event::BindingMismatch { session: session.id().unwrap() },
        Event::DeviceOffered { session: session.id().unwrap() },
        Event::DeviceBound { session: session.id().unwrap() },
        Event::DeviceMissing { session: session.id().unwrap(), skipped: Some(DeviceSkipped::Unreachable) },
        Event::DeviceMismatch { session: session.id().unwrap() },
        Event::DeviceEndpointRefused { reason: "signature" },
        Event::CrowdedOut { session: session.id().unwrap() },
        Event::LaterVersion { version: 2 },
        Event::CriticalEntry { key: 32 },
        Event::LoginRefused { limit: 3 },
        Event::Suppressed { event: "forged", count: 3 },
    ] {
        site.audit.observe(&event);
        site.output.say(&format!("{event} {event:?}"));
        app.events.lock().unwrap().push(event);
    }
}

#[tokio::test]
async fn no_event_holds_a_secret_or_a_raw_id_on_any_sink() {
    let output = Output::default();
    let log = output.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || log.clone())
        .finish();
    let _log = tracing::subscriber::set_default(subscriber);
    #[cfg(feature = "metrics")]
    let recorder = labels::Labels(output.clone());
    #[cfg(feature = "metrics")]
    let _recorder = metrics::set_default_local_recorder(&recorder);

    let site = Site::new(&output);
    raise_all(&site).await;
    site.audit.flush().unwrap();

    let raised: BTreeSet<&str> = site.app.event_names().into_iter().collect();
    let missing: Vec<_> = Event::NAMES.iter().filter(|name| !raised.contains(**name)).collect();
    assert!(missing.is_empty(), "not raised: {missing:?}");

    let text = output.text();
    // The sinks were there at all.
    assert!(
        text.contains(r#""event":"authn_token_reuse""#) && text.contains("secure_sessions: a forged token was refused")
    );
    #[cfg(feature = "metrics")]
    assert!(text.contains("secure_sessions_events_total event=replayed cause=revoked"));

    let mut secrets: BTreeSet<String> = CANARIES.map(str::to_owned).into();
    for cookie_or_token in site.secrets.lock().unwrap().iter() {
        // Any part of it, however it was cut.
        secrets
            .extend(cookie_or_token.as_bytes().chunks_exact(16).map(|part| String::from_utf8(part.to_vec()).unwrap()));
    }
    for key in &site.keys {
        secrets.insert(key.split_once('_').unwrap().1.to_owned());
    }
    for id in site.spy.ids.lock().unwrap().iter() {
        secrets.extend(spellings(id));
    }
    assert!(secrets.len() > 100);
    for secret in secrets {
        assert!(!text.contains(&secret), "`{secret}` is in:\n{text}");
    }
}

/// Bytes as they come to be printed.
fn spellings(bytes: &[u8]) -> [String; 5] {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [hex.to_uppercase(), hex, base64(bytes, b"-_"), base64(bytes, b"+/"), format!("{bytes:?}")]
}

fn base64(bytes: &[u8], last: &[u8; 2]) -> String {
    let alphabet: Vec<u8> = (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').chain(*last).collect();
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let value = |six: &[u8]| (0..6).fold(0, |value, at| value << 1 | usize::from(six.get(at).copied().unwrap_or(0)));
    bits.chunks(6).map(|six| char::from(alphabet[value(six)])).collect()
}

#[cfg(feature = "metrics")]
mod labels {
    use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

    use super::Output;

    /// Writes down the name and the labels of every counter that is touched.
    pub struct Labels(pub Output);

    impl Recorder for Labels {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            let labels: String = key.labels().map(|label| format!(" {}={}", label.key(), label.value())).collect();
            self.0.say(&format!("{}{labels}", key.name()));
            Counter::noop()
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }
}
