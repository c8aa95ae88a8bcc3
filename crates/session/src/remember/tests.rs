use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use secure_sessions_store::MemoryStore;

use super::*;
use crate::adapter::head::RequestHead;
use crate::adapter::reply::ResponseHeaders;
use crate::builder::Builder;
use crate::clock::ManualClock;
use crate::manager::SessionManager;
use crate::session::Session;
use crate::transport::{DEFAULT_BEARER_HEADER, Transport};

/// A future's output, if it is ready at the first poll.
trait Now: Future + Sized {
    fn now_or_never(self) -> Option<Self::Output> {
        match pin!(self).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }
}

impl<F: Future> Now for F {}

struct App {
    manager: SessionManager,
    clock: ManualClock,
}

/// A request with this token, in a cookie or as a bearer token.
struct Head<'t>(Transport, Option<&'t str>);

impl RequestHead for Head<'_> {
    fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
        match (self, name) {
            (Self(Transport::Cookie, Some(token)), "cookie") => visit(format!("session={token}").as_bytes()),
            (Self(Transport::Bearer, Some(token)), "authorization") => visit(format!("Bearer {token}").as_bytes()),
            _ => {}
        }
    }

    fn method(&self) -> &'static str {
        "GET"
    }
}

/// The token that a response carries.
#[derive(Default)]
struct Answer(Option<String>);

impl ResponseHeaders for Answer {
    fn for_each_value(&self, _: &'static str, _: &mut dyn FnMut(&[u8])) {}

    fn append(&mut self, name: &'static str, value: &str, _: bool) {
        match name {
            "set-cookie" => {
                let value = value.strip_prefix("session=").and_then(|value| value.split(';').next());
                self.0 = value.map(str::to_owned);
            }
            DEFAULT_BEARER_HEADER => self.0 = Some(value.to_owned()),
            _ => {}
        }
    }

    fn set(&mut self, _: &'static str, _: &'static str) {}

    fn remove(&mut self, _: &'static str) {}
}

fn app(places: usize) -> App {
    app_with(places, |builder| builder)
}

fn app_with(places: usize, configure: impl FnOnce(Builder) -> Builder) -> App {
    let (keyring, clock) = (crate::Keyring::generate().expect("random"), ManualClock::at_present());
    let builder = SessionManager::builder(keyring, MemoryStore::new()).insecure_dev().clock(clock.clone());
    App { manager: configure(builder.remember_tokens(places)).build().expect("a manager"), clock }
}

impl App {
    fn visit_by(&self, head: &Head<'_>, handler: impl FnOnce(&Session)) -> Option<String> {
        let request = self.manager.begin();
        let session = request.session(head).now_or_never().expect("no wait").expect("a session");
        handler(&session);
        let reply = request.finish(200).now_or_never().expect("no wait").expect("a reply");
        let mut answer = Answer::default();
        reply.apply(&mut answer);
        answer.0
    }

    fn visit(&self, token: &str, handler: impl FnOnce(&Session)) -> Option<String> {
        self.visit_by(&Head(Transport::Cookie, Some(token)), handler)
    }

    fn login(&self, subject: &str) -> String {
        let token = self.visit_by(&Head(Transport::Cookie, None), |session| session.login(subject).expect("a login"));
        token.expect("a cookie")
    }

    fn remembers(&self, token: &str) -> bool {
        let sealing = self.manager.sealer(Transport::Cookie);
        sealing.recall(token.as_bytes(), self.manager.now()).is_some()
    }

    /// Returns how many tokens are remembered in all.
    fn count(&self) -> usize {
        let sealing = self.manager.sealer(Transport::Cookie);
        let memory = sealing.memory.as_ref().expect("it is on");
        memory.sets.iter().map(|set| locked(set).remembered.len()).sum()
    }

    /// Leaves what is stale to the requests: no thread comes in between and removes it.
    fn never_sweep(&self) {
        let sealing = self.manager.sealer(Transport::Cookie);
        sealing.memory.as_ref().expect("it is on").is_swept.store(true, Ordering::SeqCst);
    }

    /// Forgets all, as if another process had issued the tokens.
    fn restart(&self) {
        self.manager.forget_where(|_| true);
    }
}

fn subject(session: &Session) -> Option<String> {
    session.subject()
}

#[test]
fn a_token_is_remembered_when_it_is_issued_or_comes_again_and_is_current() {
    let app = app(100);
    let token = app.login("ada");
    assert!(app.remembers(&token), "it was just issued");
    app.restart();
    for remembered in [false, true, true] {
        app.visit(&token, |session| assert_eq!(subject(session).as_deref(), Some("ada")));
        assert_eq!(app.remembers(&token), remembered);
    }
    let next = app.visit(&token, |session| session.insert("n", 1).expect("room")).expect("a new token");
    assert!(app.remembers(&next));
    // The superseded token is handed the newest, and gives up its place.
    app.visit(&token, |session| assert_eq!(session.get::<u8>("n").expect("a number"), Some(1)));
    assert!(!app.remembers(&token));
}

#[test]
fn what_is_remembered_says_what_was_sealed() {
    let app = app(100);
    let token = app.login("ada");
    let token = app.visit(&token, |session| session.insert("text", "x".repeat(300)).expect("room")).expect("a token");
    let remembered =
        app.manager.sealer(Transport::Cookie).recall(token.as_bytes(), app.manager.now()).expect("remembered");
    let decoded = secure_sessions_core::Token::decode(token.as_bytes()).expect("a token");
    let opened = app.manager.sealer(Transport::Cookie).open(decoded).expect("ours");
    assert_eq!(remembered.session_id(), opened.session_id());
    assert_eq!(remembered.generation(), opened.generation());
    assert_eq!(remembered.fingerprint().as_bytes(), opened.fingerprint().as_bytes());
    assert_eq!(remembered.sealed_under(), opened.sealed_under());
    assert_eq!(remembered.subject(), opened.subject());
    app.visit(&token, |session| assert_eq!(session.get::<String>("text").expect("text").map(|x| x.len()), Some(300)));
}

type End = fn(&App, &str);

#[test]
fn every_ending_forgets_the_sessions_tokens() {
    let endings: [(&str, End); 6] = [
        ("logout", |app, token| drop(app.visit(token, |session| session.logout().expect("a session")))),
        ("renewal", |app, token| drop(app.visit(token, |session| session.renew().expect("a session")))),
        ("login", |app, token| drop(app.visit(token, |session| session.login("ada").expect("a session")))),
        ("everywhere", |app, token| {
            app.visit(token, |session| session.logout_everywhere().expect("a session"));
        }),
        ("subject", |app, _| {
            app.manager.revoke_subject("ada").now_or_never().expect("no wait").expect("a store");
        }),
        ("everything", |app, _| {
            app.manager.revoke_everything().now_or_never().expect("no wait").expect("a store");
        }),
    ];
    for (name, end) in endings {
        let app = app(100);
        let token = app.login("ada");
        assert!(app.remembers(&token));
        end(&app, &token);
        assert!(!app.remembers(&token), "{name}");
        app.visit(&token, |session| assert_eq!(subject(session), None, "{name}"));
    }
}

#[test]
fn a_revocation_by_name_forgets_that_session_alone() {
    let app = app(100);
    let (token, other) = (app.login("ada"), app.login("ada"));
    let mut handle = None;
    app.visit(&token, |session| handle = session.id());
    let handle = handle.expect("a session");
    app.manager.revoke("ada", &handle).now_or_never().expect("no wait").expect("a session");
    assert!(!app.remembers(&token) && app.remembers(&other));
}

#[test]
fn a_replay_forgets_every_token_of_its_session() {
    let app = app(100);
    let stolen = app.login("ada");
    app.clock.advance(Duration::from_secs(5));
    let newest = app.visit(&stolen, |session| session.insert("n", 1).expect("room")).expect("a token");
    for _ in 0..4 {
        app.clock.advance(Duration::from_secs(50));
        app.visit(&newest, |_| {});
    }
    assert!(app.remembers(&newest));
    app.visit(&stolen, |session| assert_eq!(subject(session), None));
    assert!(!app.remembers(&newest) && !app.remembers(&stolen));
    app.visit(&newest, |session| assert_eq!(subject(session), None));
    // Dead tokens find no place, however often they come.
    for token in [&stolen, &newest, &stolen, &newest, &stolen, &newest] {
        app.visit(token, |session| assert_eq!(subject(session), None));
    }
    assert_eq!(app.count(), 0);
}

#[test]
fn a_session_that_ended_elsewhere_is_over_though_its_token_is_remembered() {
    let app = app(100);
    let token = app.login("ada");
    let id = app
        .manager
        .sealer(Transport::Cookie)
        .recall(token.as_bytes(), app.manager.now())
        .expect("remembered")
        .session_id();
    let removed = crate::SessionStore::remove(app.manager.store(), &id, None).now_or_never().expect("no wait");
    assert!(removed.expect("a store"));
    assert!(app.remembers(&token), "nobody told this process");
    app.visit(&token, |session| assert_eq!(subject(session), None));
    assert!(!app.remembers(&token));
}

#[test]
fn a_forged_or_altered_cookie_is_never_answered_from_memory() {
    let app = app(4);
    let token = app.login("ada");
    assert!(app.remembers(&token));
    for at in 0..token.len() {
        let mut altered = token.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).expect("ASCII");
        assert!(!app.remembers(&altered), "altered at {at}");
        app.visit(&altered, |session| assert_eq!(subject(session), None, "altered at {at}"));
    }
    for other in [&token[1..], &token[..token.len() - 1], &token[token.len() - END..], ""] {
        assert!(!app.remembers(other), "{other}");
    }
    assert!(app.remembers(&token), "nothing of that cost the genuine token its place");
}

#[test]
fn new_keys_come_with_an_empty_memory() {
    let app = app(100);
    let token = app.login("ada");
    let before = arc_swap::Guard::into_inner(app.manager.sealer(Transport::Cookie));
    app.manager.set_keyring(app.manager.keyring()).expect("the same keys");
    assert!(!app.remembers(&token));
    assert!(before.recall(token.as_bytes(), app.manager.now()).is_none(), "a request under way");
    app.visit(&token, |session| assert_eq!(subject(session).as_deref(), Some("ada")));
    let token = app.visit(&token, |session| session.insert("n", 1).expect("room")).expect("a token");
    assert!(app.remembers(&token));
    app.manager.set_keyring(crate::Keyring::generate().expect("random")).expect("a ring");
    app.visit(&token, |session| assert_eq!(subject(session), None, "its keys are gone"));
}

#[test]
fn a_token_of_other_keys_than_those_in_force_is_not_remembered_as_issued() {
    let app = app(100);
    let request = app.manager.begin();
    let session = request.session(&Head(Transport::Cookie, None)).now_or_never().expect("no wait").expect("a session");
    session.login("ada").expect("a login");
    session.save().now_or_never().expect("no wait").expect("saved");
    app.manager.set_keyring(crate::Keyring::generate().expect("random")).expect("a ring");
    drop(request.finish(200).now_or_never().expect("no wait"));
    assert_eq!(app.count(), 0);
}

#[test]
fn there_are_never_more_than_so_many() {
    for places in [1, 3, 4, 9, 64] {
        let app = app(places);
        for number in 0..200 {
            app.login(&format!("subject {number}"));
            assert!(app.count() <= places);
        }
        assert!(app.count() > places / 4);
    }
}

#[test]
fn a_bearer_token_is_no_cookie_and_the_other_way_round() {
    let app = app_with(100, Builder::bearer);
    let cookie = app.login("ada");
    let bearer = app.visit_by(&Head(Transport::Cookie, None), |session| {
        session.use_bearer().expect("it is on");
        session.login("bob").expect("a login");
    });
    let bearer = bearer.expect("a token");
    let of =
        |transport, token: &str| app.manager.sealer(transport).recall(token.as_bytes(), app.manager.now()).is_some();
    assert!(of(Transport::Cookie, &cookie) && of(Transport::Bearer, &bearer));
    assert!(!of(Transport::Bearer, &cookie) && !of(Transport::Cookie, &bearer));
    app.visit_by(&Head(Transport::Bearer, Some(&bearer)), |session| {
        assert_eq!(subject(session).as_deref(), Some("bob"))
    });
    app.visit_by(&Head(Transport::Bearer, Some(&cookie)), |session| assert_eq!(subject(session), None));
    app.visit_by(&Head(Transport::Cookie, Some(&bearer)), |session| assert_eq!(subject(session), None));
    app.manager.set_keyring(app.manager.keyring()).expect("the same keys");
    assert!(!of(Transport::Cookie, &cookie) && !of(Transport::Bearer, &bearer));
}

#[test]
fn nothing_is_remembered_for_longer_than_a_minute_nor_by_a_clock_put_back() {
    let app = app(100);
    app.never_sweep();
    let token = app.login("ada");
    app.clock.advance(Duration::from_millis(59_999));
    assert!(app.remembers(&token));
    app.clock.advance(Duration::from_millis(1));
    assert_eq!(app.count(), 1);
    assert!(!app.remembers(&token));
    assert_eq!(app.count(), 0, "it was overwritten as well");
    let token = app.login("ada");
    app.clock.set_millis(1_000);
    assert!(!app.remembers(&token));
}

#[test]
fn by_default_nothing_is_remembered() {
    let app = app(0);
    let token = app.login("ada");
    assert!(app.manager.sealer(Transport::Cookie).memory.is_none() && !app.remembers(&token));
}
