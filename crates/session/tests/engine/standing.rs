//! A session's standing depends on more than its token: on its client, its transport, its keys, its subject's others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use secure_sessions::store::{Listed, Page, Tags, forward_methods};
use secure_sessions::{
    Binding, Event, KeySourceError, Keyring, Login, MemoryStore, SessionError, SessionLimit, SessionManager,
    SessionStore, StoreError, Transport,
};

use crate::support::{App, Head, app, app_with, set_cookie};

/// A request with this user agent.
fn agent(cookie: Option<&str>, agent: &str) -> Head {
    Head { headers: vec![("user-agent", agent.to_owned())], ..Head::with(cookie) }
}

async fn visit(app: &App, head: &Head, handler: impl FnOnce(&secure_sessions::Session)) -> Option<String> {
    let (request, session) = app.try_request(head).await.unwrap();
    handler(&session);
    set_cookie(request.finish(200).await.as_ref())
}

/// A second process with other settings on the same keys and store.
fn beside(app: &App, configure: impl FnOnce(secure_sessions::Builder) -> secure_sessions::Builder) -> App {
    let builder = SessionManager::builder(app.manager.keyring(), app.store.clone());
    let manager = configure(builder.insecure_dev().clock(app.clock.clone())).build().unwrap();
    App { manager, store: app.store.clone(), clock: app.clock.clone(), events: Arc::clone(&app.events) }
}

#[tokio::test]
async fn adding_or_changing_a_binding_logs_nobody_out_and_binds_the_next_token() {
    let plain = app();
    let cookie = visit(&plain, &agent(None, "a"), |session| session.login("alice").unwrap()).await;
    let by_agent = beside(&plain, |builder| builder.bind_to(Binding::new().user_agent()));
    // Not bound yet: anyone's.
    let (_, session) = by_agent.try_request(&agent(cookie.as_deref(), "b")).await.unwrap();
    assert_eq!(session.subject().as_deref(), Some("alice"));
    let cookie = visit(&by_agent, &agent(cookie.as_deref(), "a"), |session| session.insert("n", 1).unwrap()).await;
    let (_, session) = by_agent.try_request(&agent(cookie.as_deref(), "b")).await.unwrap();
    assert!(session.is_new() && !session.was_ended());
    // Bound to other properties than are asked for now: no reason to refuse.
    let by_both = beside(&plain, |builder| builder.bind_to(Binding::new().user_agent().address()));
    let (_, session) = by_both.try_request(&agent(cookie.as_deref(), "b")).await.unwrap();
    assert_eq!(session.get::<u64>("n").unwrap(), Some(1));
    // And turned off again.
    let (_, session) = plain.try_request(&agent(cookie.as_deref(), "b")).await.unwrap();
    assert_eq!(session.get::<u64>("n").unwrap(), Some(1));
}

#[tokio::test]
async fn the_room_of_a_binding_is_counted_before_it_is_made() {
    let bound = app_with(|builder| builder.bind_to(Binding::new().user_agent()));
    let (request, session) = bound.try_request(&agent(None, "a")).await.unwrap();
    // The largest that is let in also fits at commit.
    let largest = (1..4000).rev().find(|n| session.insert("big", "x".repeat(*n)).is_ok()).unwrap();
    assert!(largest > 1500);
    let reply = request.finish(200).await.unwrap();
    assert!(reply.failure().is_none(), "{:?}", reply.failure());
}

#[tokio::test]
async fn a_subject_of_a_megabyte_and_a_label_that_is_too_long_change_nothing() {
    let app = app();
    let (request, session) = app.request(None).await;
    let megabyte = "x".repeat(1 << 20);
    assert!(matches!(session.login(&megabyte), Err(SessionError::Meta(_))));
    assert!(matches!(session.login_with(Login::new("alice").label(&*megabyte)), Err(SessionError::Label(_))));
    assert!(session.subject().is_none() && session.assurance().is_none());
    assert_eq!(set_cookie(request.finish(200).await.as_ref()), None);
    assert_eq!(app.store.count().await.unwrap(), 0);
}

#[tokio::test]
async fn a_login_says_when_and_how_the_subject_authenticated() {
    let app = app();
    let (request, session) = app.request(None).await;
    let at = secure_sessions::Timestamp::from_millis(1_000);
    session.login_with(Login::new("alice").assurance(2).authenticated_at(at).label("phone")).unwrap();
    assert_eq!((session.assurance(), session.authenticated_at()), (Some(2), Some(at)));
    assert!(matches!(
        session.require_recent_auth(Duration::from_secs(60)),
        Err(SessionError::AuthenticationTooOld { age: Some(_), .. })
    ));
    let cookie = set_cookie(request.finish(200).await.as_ref());
    let (_, session) = app.request(cookie.as_deref()).await;
    assert_eq!(session.sessions().await.unwrap()[0].label.as_deref(), Some("phone"));
    session.require_assurance(2).unwrap();
    // A time to come counts as now.
    let later = secure_sessions::Timestamp::from_millis(u64::MAX);
    session.login_with(Login::new("alice").authenticated_at(later)).unwrap();
    assert!(session.authenticated_at() < Some(later) && session.assurance().is_none());
    session.require_recent_auth(Duration::ZERO).unwrap();
}

#[tokio::test]
async fn a_login_voids_the_request_s_earlier_step_up_even_after_a_failed_save() {
    let app = app_with(|builder| builder.session_limit(SessionLimit::Refuse(1)));
    let cookie = app.visit(None, |session| session.login("alice").unwrap()).await;
    app.visit(None, |session| session.login("bob").unwrap()).await;
    let (request, session) = app.request(cookie.as_deref()).await;
    session.step_up(3).unwrap();
    session.login("bob").unwrap();
    assert_eq!(session.assurance(), None);
    assert!(matches!(session.save().await, Err(SessionError::TooManySessions { limit: 1 })));
    assert_eq!((session.subject().as_deref(), session.assurance()), (Some("bob"), None));
    let reply = request.finish(200).await.unwrap();
    assert!(matches!(reply.failure(), Some(SessionError::TooManySessions { .. })));
    assert_eq!(set_cookie(Some(&reply)), None);
    let (_, session) = app.request(cookie.as_deref()).await;
    assert_eq!(session.subject().as_deref(), Some("alice"), "what was there before stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_logins_through_two_processes_leave_exactly_the_limit() {
    for limit in [SessionLimit::EvictOldest(3), SessionLimit::Refuse(3)] {
        let one = Arc::new(app_with(|builder| builder.session_limit(limit)));
        let two = Arc::new(beside(&one, |builder| builder.session_limit(limit)));
        let logins = (0..40).map(|n| {
            let app = Arc::clone(if n % 2 == 0 { &one } else { &two });
            tokio::spawn(async move {
                let (request, session) = app.request(None).await;
                session.login("alice").unwrap();
                request.finish(200).await.unwrap().failure().is_none()
            })
        });
        let mut let_in = 0;
        for login in logins.collect::<Vec<_>>() {
            let_in += usize::from(login.await.unwrap());
        }
        let live = one.manager.sessions_of("alice").await.unwrap().len();
        match limit {
            SessionLimit::Refuse(_) => assert!((1..=3).contains(&live) && let_in == live, "{let_in} {live}"),
            _ => assert_eq!((live, let_in), (3, 40)),
        }
    }
}

/// A store that counts the whole buckets that it lists.
#[derive(Clone)]
struct Listing(MemoryStore, Arc<AtomicUsize>);

impl SessionStore for Listing {
    async fn list(&self, tags: Tags<'_>, page: Page) -> Result<Vec<Listed>, StoreError> {
        let listed = self.0.list(tags, page).await?;
        self.1.fetch_add(listed.len(), Ordering::SeqCst);
        Ok(listed)
    }

    forward_methods!(self => &self.0;
        insert, load, replace, renew_into, remove, list_lifespans, count, remove_all, purge_expired);
}

#[tokio::test]
async fn a_login_under_a_limit_and_a_revocation_list_no_whole_bucket() {
    let store = Listing(MemoryStore::new(), Arc::default());
    let builder = SessionManager::builder(Keyring::generate().unwrap(), store.clone());
    let manager = builder.insecure_dev().session_limit(SessionLimit::EvictOldest(2)).build().unwrap();
    for _ in 0..4 {
        let request = manager.begin();
        request.session(&Head::with(None)).await.unwrap().login("alice").unwrap();
        assert!(request.finish(200).await.unwrap().failure().is_none());
    }
    assert_eq!((store.0.count().await.unwrap(), store.1.load(Ordering::SeqCst)), (2, 0));
    let sessions = manager.sessions_of("alice").await.unwrap();
    assert_eq!((sessions.len(), store.1.load(Ordering::SeqCst)), (2, 2), "a list for a person has the labels");
    manager.revoke("alice", &sessions[0].handle).await.unwrap();
    assert_eq!((store.0.count().await.unwrap(), store.1.load(Ordering::SeqCst)), (1, 2));
}

#[tokio::test]
async fn a_bearer_request_says_so_and_a_cookie_never_becomes_one() {
    let app = app_with(secure_sessions::Builder::bearer);
    let (request, session) = app.request(None).await;
    assert_eq!(session.transport(), Transport::Cookie);
    session.use_bearer().unwrap();
    session.login("alice").unwrap();
    assert_eq!(session.transport(), Transport::Bearer);
    let reply = request.finish(200).await;
    assert_eq!(set_cookie(reply.as_ref()), None);
    let token = crate::support::bearer(reply.as_ref()).unwrap();
    let head = Head { headers: vec![("authorization", format!("bearer {token}"))], ..Head::with(None) };
    let (_, session) = app.try_request(&head).await.unwrap();
    assert_eq!((session.subject().as_deref(), session.transport()), (Some("alice"), Transport::Bearer));

    let cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    let (_, session) = app.request(cookie.as_deref()).await;
    assert!(matches!(session.use_bearer(), Err(SessionError::NoBearer(_))));
    // Keys that change are those of both transports.
    app.manager.set_keyring(Keyring::generate().unwrap()).unwrap();
    let (_, session) = app.try_request(&head).await.unwrap();
    assert!(session.is_new());
    assert!(app.event_names().ends_with(&["keys_changed", "unknown_key"]));
}

#[tokio::test]
async fn a_reload_puts_other_keys_in_force_and_one_that_fails_leaves_them() {
    let app = app();
    let cookie = app.visit(None, |session| session.login("alice").unwrap()).await;
    let (old, unchanged) = (app.manager.keyring(), app.manager.keyring());
    assert!(!app.manager.reload_keys(|| Ok(unchanged)).unwrap());
    let failed = app.manager.reload_keys(|| Keyring::from_text("", "", ""));
    assert!(matches!(failed, Err(KeySourceError::Keyring(_))));
    assert!(app.manager.keyring().states().eq(old.states()));
    assert_eq!(app.event_names().last(), Some(&"key_reload_failed"));
    let (_, session) = app.request(cookie.as_deref()).await;
    assert_eq!(session.subject().as_deref(), Some("alice"));
    assert!(app.manager.reload_keys(Keyring::generate).unwrap());
    assert_eq!(app.event_names().last(), Some(&"keys_changed"));
}

#[tokio::test(start_paused = true)]
async fn a_watch_asks_its_source_until_stopped_and_reports_each_failure_once() {
    let app = app();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let watch = app.manager.watch_keys(Duration::from_secs(10), move || match counted.fetch_add(1, Ordering::SeqCst) {
        0..3 => Keyring::from_text("", "", ""),
        3 => Keyring::from_file("no/such/file"),
        _ => Keyring::generate(),
    });
    let seen = |name: &str| app.event_names().iter().filter(|seen| **seen == name).count();
    while seen("keys_changed") == 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(seen("key_reload_failed"), 2, "one for each reason");
    watch.stop().await;
    let after = asked.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(asked.load(Ordering::SeqCst), after);
    assert!(app.events.lock().unwrap().iter().all(|event| !format!("{event}{event:?}").contains("sealk1_")));
    assert!(
        app.events
            .lock()
            .unwrap()
            .iter()
            .any(|event| matches!(event, Event::KeyReloadFailed { message } if message.contains("no/such/file")))
    );
}
