//! Canaries in keys, payload, subject and label: through a session's whole life and all that can go wrong in it, none
//! of them, nor a token nor an id, shows in a log line, an event, a `Debug`, an error or anything that a store is given.

#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "a test fails by panicking")]

mod support;

use std::error::Error;
use std::fmt::{Debug, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secure_sessions::store::{Bucket, Entry, Listed, Page, Revision, SessionId, Tags, Tombstone, Which};
use secure_sessions::{
    Event, Keyring, Login, ManualClock, MemoryStore, Session, SessionManager, SessionStore, StoreError,
};
use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::span;

use support::{Head, set_cookie};

/// In the payload, its keys, the subject and the label.
const CANARY: &str = "CANARY";

/// All that was said: log lines, events, rows, and every `Debug` and error of the test's own.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<String>>);

impl Said {
    fn add(&self, line: &str) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.push_str(line);
        said.push('\n');
    }

    fn show(&self, value: &impl Debug) {
        self.add(&format!("{value:?} {value:#?}"));
    }

    fn error(&self, error: &dyn Error) {
        let mut next = Some(error);
        while let Some(error) = next {
            self.add(&format!("{error} {error:?} {error:#?}"));
            next = error.source();
        }
    }

    fn row(&self, bytes: &[u8]) {
        // As text, in hexadecimal and in base64url: whichever way a secret would be looked for.
        self.add(&String::from_utf8_lossy(bytes));
        self.add(&hex(bytes));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

impl tracing::Subscriber for Said {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        attributes.record(&mut Fields(self));
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut Fields(self));
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        // The test's own runtime logs nothing; whatever comes is about sessions.
        event.record(&mut Fields(self));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Fields<'a>(&'a Said);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.add(&format!("log {field}: {value:?}"));
    }
}

/// A store that writes down what it is given, and fails when told to.
struct Spy {
    store: MemoryStore,
    said: Said,
    ids: Arc<Mutex<Vec<SessionId>>>,
    broken: Arc<AtomicBool>,
}

impl Spy {
    fn given(&self, bucket: &Bucket) -> Result<(), StoreError> {
        self.said.show(bucket);
        // The id is what a row stands under; everything else in it must say nothing.
        self.ids.lock().unwrap().push(bucket.id);
        let unnamed = Bucket { id: SessionId::from_bytes([0; 16]), ..bucket.clone() };
        self.said.row(&Entry::Bucket(unnamed).to_record());
        self.up()
    }

    fn up(&self) -> Result<(), StoreError> {
        let broken = self.broken.load(Ordering::Relaxed);
        if broken { Err(StoreError::unavailable("the cable is out")) } else { Ok(()) }
    }
}

impl SessionStore for Spy {
    async fn insert(&self, bucket: &Bucket) -> Result<(), StoreError> {
        self.given(bucket)?;
        self.store.insert(bucket).await
    }

    async fn load(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        self.up()?;
        self.store.load(id).await
    }

    async fn replace(&self, bucket: &Bucket, expected: Revision) -> Result<bool, StoreError> {
        self.given(bucket)?;
        self.store.replace(bucket, expected).await
    }

    async fn renew_into(
        &self,
        bucket: &Bucket,
        old: &SessionId,
        expected: Revision,
        tombstone: Tombstone,
    ) -> Result<bool, StoreError> {
        self.given(bucket)?;
        self.said.show(&tombstone);
        self.store.renew_into(bucket, old, expected, tombstone).await
    }

    async fn remove(&self, id: &SessionId, tombstone: Option<Tombstone>) -> Result<bool, StoreError> {
        self.up()?;
        self.store.remove(id, tombstone).await
    }

    async fn list(&self, tags: Tags<'_>, page: Page) -> Result<Vec<Listed>, StoreError> {
        self.said.show(&tags);
        self.store.list(tags, page).await
    }

    async fn remove_all(&self, which: Which<'_>, except: Option<&SessionId>) -> Result<u64, StoreError> {
        self.said.show(&which);
        self.store.remove_all(which, except).await
    }

    secure_sessions::store::forward_methods!(self => &self.store; count, purge_expired);
}

/// A site and its clock, and the browser that visits it.
struct Site {
    manager: SessionManager,
    said: Said,
    cookies: Mutex<Vec<String>>,
}

impl Site {
    async fn visit(&self, cookie: Option<&str>, handler: impl FnOnce(&Session)) -> Option<String> {
        let request = self.manager.begin();
        self.said.show(&request);
        let session = match request.session(&Head::with(cookie)).await {
            Ok(session) => session,
            Err(error) => {
                self.said.error(&error);
                self.said.add(error.client_text());
                return None;
            }
        };
        self.said.show(&session);
        handler(&session);
        self.said.show(&session);
        let reply = request.finish(200).await;
        // A reply carries the cookie to the client: its `Debug` must not.
        self.said.show(&reply);
        reply.as_ref().and_then(|reply| reply.failure()).inspect(|error| self.said.error(*error));
        let value = set_cookie(reply.as_ref()).filter(|value| !value.is_empty());
        self.cookies.lock().unwrap().extend(value.clone());
        value
    }
}

/// A value that refuses to be written, and says what it holds.
struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A sequence of unknown length is refused.
        serializer.collect_seq(std::iter::repeat_n(CANARY, 3).filter(|word| !word.is_empty()))
    }
}

async fn go_through_everything(site: &Site, clock: &ManualClock, broken: &AtomicBool) {
    let said = &site.said;
    let first = site
        .visit(None, |session| {
            let login = Login::new("CANARY-subject").provider_session("CANARY-issuer", "CANARY-session");
            session.login_with(login).unwrap();
            session.insert("CANARY-key", "CANARY-value").unwrap();
            session.set_label("CANARY-label").unwrap();
        })
        .await;
    let second = site
        .visit(first.as_deref(), |session| {
            said.error(&session.get::<u64>("CANARY-key").unwrap_err());
            if let Err(error) = session.insert("CANARY-odd", Unwritable) {
                said.error(&error);
            }
            said.error(&session.insert("CANARY-large", "CANARY".repeat(2000)).unwrap_err());
            said.error(&session.set_label(&"CANARY".repeat(2000)).unwrap_err());
            said.error(&session.login(&"CANARY".repeat(2000)).unwrap_err());
            session.update("CANARY-key", |text: &mut String| text.push_str(CANARY)).unwrap();
            said.show(&session.data());
            said.show(&session.id());
        })
        .await;
    // Handed the newest; then conflicting writers.
    site.visit(first.as_deref(), |session| session.insert("CANARY-two", 2).unwrap()).await;
    said.show(&site.manager.sessions_of("CANARY-subject").await.unwrap().len());
    // The store is away at load, then at commit.
    broken.store(true, Ordering::Relaxed);
    site.visit(second.as_deref(), |_| panic!("no session without a store")).await;
    site.visit(None, |session| session.insert("CANARY-key", CANARY).unwrap()).await;
    broken.store(false, Ordering::Relaxed);
    // A token that was damaged, one of elsewhere, and what is no token.
    let mut damaged = second.clone().unwrap();
    damaged.replace_range(60..61, if damaged.as_bytes()[60] == b'A' { "B" } else { "A" });
    let elsewhere = SessionManager::builder(Keyring::generate().unwrap(), MemoryStore::new()).insecure_dev();
    let elsewhere = Site { manager: elsewhere.build().unwrap(), said: said.clone(), cookies: Mutex::default() };
    let foreign = elsewhere.visit(None, |session| session.insert("CANARY-key", CANARY).unwrap()).await;
    for odd in [Some(damaged), foreign, Some("CANARY".repeat(60)), Some("CANARY".to_owned())] {
        site.visit(odd.as_deref(), |session| assert!(session.is_empty())).await;
    }
    // Theft: the first cookie comes back when it is dead.
    let mut newest = site.visit(second.as_deref(), |session| session.insert("CANARY-n", 1).unwrap()).await;
    for _ in 0..3 {
        clock.advance(Duration::from_secs(90));
        newest = site
            .visit(newest.as_deref(), |session| session.update_or("n", || 0_u64, |n: &mut u64| *n += 1).unwrap())
            .await;
    }
    clock.advance(Duration::from_secs(90));
    site.visit(first.as_deref(), |session| assert!(session.is_empty())).await;
    // An expired one; a renewed one; one that was logged out.
    let other = site.visit(None, |session| session.login("CANARY-subject").unwrap()).await;
    let renewed = site.visit(other.as_deref(), |session| session.renew().unwrap()).await;
    site.visit(renewed.as_deref(), |session| session.logout().unwrap()).await;
    site.visit(renewed.as_deref(), |session| assert!(session.was_ended())).await;
    let idle = site.visit(None, |session| session.insert("CANARY-key", CANARY).unwrap()).await;
    clock.advance(Duration::from_secs(3 * 60 * 60));
    site.visit(idle.as_deref(), |session| assert!(session.is_empty())).await;
    said.show(&site.manager.revoke_provider_session("CANARY-issuer", "CANARY-session").await.unwrap());
    said.error(&site.manager.revoke_provider_session(&"CANARY".repeat(2000), "1").await.unwrap_err());
    said.show(&site.manager.revoke_subject("CANARY-subject").await.unwrap());
    said.error(&Keyring::from_text("sealk1_CANARY", "CANARY", "CANARY").unwrap_err());
    said.error(&Keyring::from_file("/nonexistent").unwrap_err());
}

#[test]
fn no_log_line_event_debug_error_or_row_reveals_session_content_or_user() {
    let (seal, fingerprint) = Keyring::generate_texts().unwrap();
    let keyring = Keyring::from_text(&seal, &fingerprint, "").unwrap();
    let (said, ids, broken) = (Said::default(), Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
    let clock = ManualClock::at_present();
    said.show(&keyring);
    let store =
        Spy { store: MemoryStore::new(), said: said.clone(), ids: Arc::clone(&ids), broken: Arc::clone(&broken) };
    let events = said.clone();
    let builder = SessionManager::builder(keyring, store)
        .insecure_dev()
        .clock(clock.clone())
        .observer(move |event: &Event| events.add(&format!("event {event} {event:?}")));
    let site = Site { manager: builder.build().unwrap(), said: said.clone(), cookies: Mutex::default() };
    said.show(&site.manager);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    tracing::subscriber::with_default(said.clone(), || {
        runtime.block_on(go_through_everything(&site, &clock, &broken));
    });

    let said = said.0.lock().unwrap().clone();
    // It went through what it should have.
    for event in ["created", "rotated", "renewed", "handed_off", "replayed", "expired", "unknown_key", "store_error"] {
        assert!(said.contains(&format!("log event: \"{event}\"")), "nothing was logged of {event}");
    }
    assert!(said.contains("the cable is out"), "the log says why the store failed");

    // An error names the key that it is about, and nothing else of the session.
    let named = ["the value of `CANARY-key`", "the new value of `CANARY-large`"];
    for name in named {
        assert!(said.contains(name), "no error said {name}");
    }
    let said = named.iter().fold(said, |said, name| said.replace(name, ""));
    let lines_with = |secret: &str| said.lines().filter(|line| line.contains(secret)).collect::<Vec<_>>();
    assert_eq!(lines_with(CANARY), [""; 0], "a canary was heard");
    assert_eq!(lines_with(&hex(CANARY.as_bytes())), [""; 0], "a canary was stored");
    for key in [&seal, &fingerprint] {
        let (_, secret) = key.split_once('_').unwrap();
        assert_eq!(lines_with(&secret[..12]), [""; 0], "a key");
    }
    for cookie in site.cookies.lock().unwrap().iter() {
        // Version and key ids at its beginning are the same in all of them, and no secret.
        assert_eq!(lines_with(&cookie[16..32]), [""; 0], "a token");
        assert_eq!(lines_with(&cookie[cookie.len() - 16..]), [""; 0], "a token's issue mark");
    }
    for id in ids.lock().unwrap().iter() {
        let decimal = id.as_bytes()[..6].iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        for text in [hex(&id.as_bytes()[..6]), hex(&id.as_bytes()[..6]).to_uppercase(), decimal] {
            assert_eq!(lines_with(&text), [""; 0], "a session id");
        }
    }
}
