//! The outcome of a request whose store fails in between: nothing is lost, doubled, or left alive with a 200.

use std::sync::{Arc, Mutex};

use secure_sessions::store::{Bucket, Revision, SessionId, Tombstone, forward_methods};
use secure_sessions::{
    Event, Keyring, Login, MemoryStore, Session, SessionError, SessionManager, SessionStore, StoreError,
};

use crate::support::faulty::Faulty;
use crate::support::{App, Head, app, set_cookie};

async fn request(manager: &SessionManager, cookie: Option<&str>) -> (secure_sessions::RequestSession, Session) {
    let request = manager.begin();
    let session = request.session(&Head::with(cookie)).await.unwrap();
    (request, session)
}

async fn visit(manager: &SessionManager, cookie: Option<&str>, handler: impl FnOnce(&Session)) -> String {
    let (request, session) = request(manager, cookie).await;
    handler(&session);
    set_cookie(request.finish(200).await.as_ref()).unwrap()
}

async fn alice(app: &App) -> String {
    app.visit(None, |session| {
        session.login("alice").unwrap();
        session.insert("secret", 1).unwrap();
    })
    .await
    .unwrap()
}

/// A store that renews in several steps, and is cut off in the middle: both sessions are there.
#[derive(Clone)]
struct Halfway {
    store: MemoryStore,
    /// The tombstone of the session that is still to end.
    left: Arc<Mutex<Option<Tombstone>>>,
}

impl SessionStore for Halfway {
    async fn renew_into(
        &self,
        bucket: &Bucket,
        old: &SessionId,
        expected: Revision,
        tombstone: Tombstone,
    ) -> Result<bool, StoreError> {
        let is_first = self.left.lock().unwrap().replace(tombstone).is_none();
        if !is_first {
            return self.store.renew_into(bucket, old, expected, tombstone).await;
        }
        self.store.insert(bucket).await?;
        Err(StoreError::Timeout)
    }

    forward_methods!(self => &self.store; insert, load, replace, remove, list, count, remove_all, purge_expired);
}

#[tokio::test]
async fn a_login_that_the_store_may_take_back_is_not_confirmed() {
    for is_taken_back in [false, true] {
        let store = Halfway { store: MemoryStore::new(), left: Arc::default() };
        let builder = SessionManager::builder(Keyring::generate().unwrap(), store.clone());
        let manager = builder.insecure_dev().build().unwrap();
        let cookie = visit(&manager, None, |session| session.insert("n", 1).unwrap()).await;
        let (request, session) = request(&manager, Some(&cookie)).await;
        session.login("alice").unwrap();
        assert!(matches!(session.save().await, Err(SessionError::Store(_))));
        // Both are there, and the store may still take either back.
        assert!(matches!(session.save().await, Err(SessionError::Store(_))));
        let left = store.left.lock().unwrap().unwrap();
        if is_taken_back {
            let alice = manager.sessions_of("alice").await.unwrap();
            assert_eq!(manager.revoke_subject("alice").await.unwrap(), alice.len() as u64);
        } else {
            assert!(store.remove(&left.id, Some(left)).await.unwrap());
        }
        session.save().await.unwrap();
        let cookie = set_cookie(request.finish(200).await.as_ref()).unwrap();
        let (_, session) = self::request(&manager, Some(&cookie)).await;
        assert_eq!((session.subject().as_deref(), session.get("n").unwrap()), (Some("alice"), Some(1)));
        assert_eq!(store.count().await.unwrap(), 1, "taken back: {is_taken_back}");
    }
}

#[tokio::test]
async fn a_second_login_in_one_request_does_not_make_the_first_one_a_logout() {
    let app = app();
    let cookie = alice(&app).await;
    let (request, session) = app.request(Some(&cookie)).await;
    session.login("bob").unwrap();
    session.login("carol").unwrap();
    assert_eq!(set_cookie(request.finish(500).await.as_ref()), None);
    assert_eq!(app.request(Some(&cookie)).await.1.subject().as_deref(), Some("alice"));
}

#[tokio::test]
async fn logout_keeping_data_keeps_none_of_a_session_that_was_left_before() {
    let leave: [fn(&Session); 2] = [|session| session.login("bob").unwrap(), |session| session.logout().unwrap()];
    for leave in leave {
        for writes in [false, true] {
            let app = app();
            let cookie = alice(&app).await;
            let (request, session) = app.request(Some(&cookie)).await;
            leave(&session);
            if writes {
                session.insert("basket", 1).unwrap();
            }
            session.logout_keeping_data().unwrap();
            let expected: Vec<String> = if writes { vec!["basket".to_owned()] } else { Vec::new() };
            assert_eq!(session.keys(), expected, "at once");
            let next = set_cookie(request.finish(200).await.as_ref()).unwrap();
            let (_, session) = app.request(Some(&next)).await;
            assert_eq!((session.subject(), session.keys()), (None, expected), "afterwards");
            assert!(app.request(Some(&cookie)).await.1.is_new());
        }
    }
}

#[tokio::test]
async fn what_follows_a_discard_is_not_taken_for_what_was_saved_before() {
    let (manager, store) = Faulty::new();
    let cookie = visit(&manager, None, |session| session.insert("n", 0).unwrap()).await;
    for carried_out in [true, false] {
        let (request, session) = request(&manager, Some(&cookie)).await;
        store.fail("replace", 0, carried_out);
        session.insert("before", carried_out).unwrap();
        assert!(matches!(session.save().await, Err(SessionError::Store(_))));
        session.discard();
        session.insert("after", carried_out).unwrap();
        let next = set_cookie(request.finish(200).await.as_ref()).unwrap();
        let (_, session) = self::request(&manager, Some(&next)).await;
        assert_eq!(session.get::<bool>("after").unwrap(), Some(carried_out));
    }
}

#[tokio::test]
async fn a_stronger_login_after_a_save_that_failed_is_not_taken_for_it() {
    let stronger: [fn(&Session); 2] = [
        |session| session.login_with(Login::new("alice").assurance(2)).unwrap(),
        |session| session.step_up(2).unwrap(),
    ];
    for stronger in stronger {
        for carried_out in [true, false] {
            let (manager, store) = Faulty::new();
            let cookie = visit(&manager, None, |session| session.insert("n", 0).unwrap()).await;
            let (request, session) = request(&manager, Some(&cookie)).await;
            store.fail("renew_into", 0, carried_out);
            session.login_with(Login::new("alice").assurance(1)).unwrap();
            session.save().await.unwrap_err();
            stronger(&session);
            let next = set_cookie(request.finish(200).await.as_ref()).unwrap();
            let (_, session) = self::request(&manager, Some(&next)).await;
            assert_eq!((session.subject().as_deref(), session.assurance()), (Some("alice"), Some(2)));
            assert_eq!(manager.count().await.unwrap(), 1);
        }
    }
}

#[tokio::test]
async fn a_second_step_up_after_a_save_that_failed_counts() {
    for carried_out in [true, false] {
        let (manager, store) = Faulty::new();
        let cookie = visit(&manager, None, |session| session.login("alice").unwrap()).await;
        let (request, session) = request(&manager, Some(&cookie)).await;
        store.fail("renew_into", 0, carried_out);
        session.step_up(2).unwrap();
        session.save().await.unwrap_err();
        session.step_up(3).unwrap();
        let next = set_cookie(request.finish(200).await.as_ref()).unwrap();
        assert_eq!(self::request(&manager, Some(&next)).await.1.assurance(), Some(3));
    }
}

#[tokio::test]
async fn a_login_that_failed_and_was_carried_out_leaves_another_subject_nothing() {
    let (manager, store) = Faulty::new();
    let cookie = visit(&manager, None, |session| session.insert("n", 0).unwrap()).await;
    let (request, session) = request(&manager, Some(&cookie)).await;
    store.fail("renew_into", 0, true);
    session.login_with(Login::new("alice").label("alice's")).unwrap();
    session.insert("secret", 1).unwrap();
    session.save().await.unwrap_err();
    session.discard();
    session.login("bob").unwrap();
    let next = set_cookie(request.finish(200).await.as_ref()).unwrap();
    let (_, session) = self::request(&manager, Some(&next)).await;
    assert_eq!(session.subject().as_deref(), Some("bob"));
    assert!(!session.contains_key("secret"));
    let [info] = session.sessions().await.unwrap().try_into().unwrap();
    assert_eq!(info.label, None);
}

#[tokio::test]
async fn a_saved_login_gets_its_cookie_though_the_store_fails_afterwards() {
    let makes: [fn(&Session); 3] = [
        |session| session.login("alice").unwrap(),
        |session| session.renew().unwrap(),
        |session| session.logout_keeping_data().unwrap(),
    ];
    for makes in makes {
        let (manager, store) = Faulty::new();
        let cookie = visit(&manager, None, |session| {
            session.login("alice").unwrap();
            session.insert("n", 1).unwrap();
        })
        .await;
        let (request, session) = request(&manager, Some(&cookie)).await;
        makes(&session);
        session.save().await.unwrap();
        store.fail("load", 0, false);
        let reply = request.finish(200).await;
        let next = set_cookie(reply.as_ref()).expect("the client has no other way to this session");
        store.heal();
        assert_eq!(self::request(&manager, Some(&next)).await.1.get::<u64>("n").unwrap(), Some(1));
    }
}

/// As of a Redis that must have a replica and has none: the primary has the tombstone, and a failover loses it.
#[tokio::test]
async fn a_logout_that_the_store_never_acknowledges_is_an_error() {
    for (failures, is_error) in [(1, false), (2, true)] {
        let (manager, store) = Faulty::new();
        let cookie = visit(&manager, None, |session| session.login("alice").unwrap()).await;
        let (request, session) = request(&manager, Some(&cookie)).await;
        session.logout().unwrap();
        (0..failures).for_each(|_| store.fail("remove", 0, true));
        let reply = request.finish(200).await.unwrap();
        assert_eq!(reply.failure().is_some(), is_error, "{failures} calls fail");
        assert!(manager.sessions_of("alice").await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_logout_after_a_save_that_failed_is_not_taken_for_an_earlier_one() {
    let (manager, store) = Faulty::new();
    let cookie = visit(&manager, None, |session| session.login("alice").unwrap()).await;
    let (request, session) = request(&manager, Some(&cookie)).await;
    session.logout_keeping_data().unwrap();
    session.login("bob").unwrap();
    store.fail("renew_into", 0, true);
    session.save().await.unwrap_err();
    session.logout_keeping_data().unwrap();
    request.finish(200).await;
    assert!(manager.sessions_of("bob").await.unwrap().is_empty());
}

#[tokio::test]
async fn the_next_save_goes_on_with_the_session_that_a_failed_one_made() {
    let (manager, store) = Faulty::new();
    let (request, session) = request(&manager, None).await;
    store.fail("insert", 0, true);
    session.insert("a", 1).unwrap();
    session.save().await.unwrap_err();
    store.fail("replace", 0, false);
    session.insert("b", 2).unwrap();
    session.save().await.unwrap_err();
    let cookie = set_cookie(request.finish(200).await.as_ref()).unwrap();
    let (_, session) = self::request(&manager, Some(&cookie)).await;
    assert_eq!(session.keys(), ["a", "b"]);
    assert_eq!(manager.count().await.unwrap(), 1);
}

#[tokio::test]
async fn a_replay_that_could_not_be_revoked_is_reported_all_the_same() {
    let store = Faulty::alone();
    let (clock, replays) = (secure_sessions::ManualClock::at_present(), Arc::new(Mutex::new(Vec::new())));
    let seen = Arc::clone(&replays);
    let observer = move |event: &Event| {
        if let Event::Replayed { revoked, .. } = event {
            seen.lock().unwrap().push(*revoked);
        }
    };
    let builder = SessionManager::builder(Keyring::generate().unwrap(), store.clone()).insecure_dev();
    let manager = builder.clock(clock.clone()).observer(observer).build().unwrap();
    let cookie = visit(&manager, None, |session| session.login("alice").unwrap()).await;
    visit(&manager, Some(&cookie), |session| session.renew().unwrap()).await;
    clock.advance(std::time::Duration::from_secs(61));
    store.fail("remove", 0, false);
    assert!(manager.begin().session(&Head::with(Some(&cookie))).await.is_err());
    assert_eq!(*replays.lock().unwrap(), [false]);
    request(&manager, Some(&cookie)).await;
    assert_eq!(*replays.lock().unwrap(), [false, true]);
}

type Ends = fn(&Session);
const ENDINGS: [Ends; 4] = [
    |session| session.logout().unwrap(),
    |session| session.logout_everywhere().unwrap(),
    |session| session.logout_keeping_data().unwrap(),
    |session| {
        session.logout().unwrap();
        session.login("bob").unwrap();
    },
];

/// Every way in which one call of the store may fail during a logout that also ends a second session: whenever the
/// answer is a success, of neither anything is left.
#[tokio::test]
async fn an_ending_that_is_tried_again_after_any_fault_leaves_nothing_alive() {
    for (kind, end) in ENDINGS.iter().enumerate() {
        for name in ["load", "remove", "renew_into", "insert", "remove_all"] {
            for skip in 0..4 {
                for carried_out in [false, true] {
                    for saves in [false, true] {
                        check_ending(kind, *end, name, skip, carried_out, saves).await;
                    }
                }
            }
        }
    }
}

async fn check_ending(kind: usize, end: Ends, name: &'static str, skip: u32, carried_out: bool, saves: bool) {
    let (manager, store) = Faulty::new();
    let own = visit(&manager, None, |session| session.login("alice").unwrap()).await;
    // The other one moves on just before, so that it cannot be judged.
    let other = visit(&manager, None, |session| session.login("alice").unwrap()).await;
    let moved = visit(&manager, Some(&other), |session| session.renew().unwrap()).await;
    let mut head = Head::with(Some(&own));
    head.cookies.push(format!("session={other}"));
    let request = manager.begin();
    let session = request.session(&head).await.unwrap();
    assert_eq!(session.subject().as_deref(), Some("alice"));
    end(&session);
    store.fail(name, skip, carried_out);
    if saves {
        let _ = session.save().await;
    }
    let reply = request.finish(200).await.unwrap();
    let what = format!("ending {kind}, {name} {skip} {carried_out}, save {saves}");
    if reply.failure().is_some() {
        return;
    }
    store.heal();
    for cookie in [&own, &other, &moved] {
        assert_eq!(self::request(&manager, Some(cookie)).await.1.subject(), None, "{what}");
    }
    let tags_of_alice = manager.sessions_of("alice").await.unwrap();
    assert_eq!(tags_of_alice.len(), 0, "{what}");
    let expected = match set_cookie(Some(&reply)) {
        Some(value) if !value.is_empty() => 1,
        _ => 0,
    };
    assert_eq!(manager.count().await.unwrap(), expected, "{what}");
}

/// A step of one request, or of its store at a commit.
#[derive(Debug, Clone, Copy)]
enum Step {
    Insert(u8, u8),
    Remove(u8),
    Clear,
    /// Counts, so that an operation that is lost or made twice shows.
    Count,
    Login(&'static str),
    Renew,
    Logout,
    LogoutKeepingData,
    Flash,
    Save,
    /// A save whose write fails: carried out or not.
    FailedSave(bool),
}

/// The session as its handler should see it, and as the next request should find it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Model {
    subject: Option<&'static str>,
    data: std::collections::BTreeMap<String, u64>,
    flashes: usize,
}

impl Model {
    fn step(&mut self, step: Step) {
        match step {
            Step::Insert(key, value) => drop(self.data.insert(format!("k{key}"), value.into())),
            Step::Remove(key) => drop(self.data.remove(&format!("k{key}"))),
            Step::Clear => self.data.clear(),
            Step::Count => *self.data.entry("n".to_owned()).or_default() += 1,
            Step::Login(subject) => {
                if self.subject.is_some_and(|current| current != subject) {
                    *self = Self::default();
                }
                self.subject = Some(subject);
            }
            Step::Logout => *self = Self::default(),
            Step::LogoutKeepingData => *self = Self { data: std::mem::take(&mut self.data), ..Self::default() },
            Step::Flash => self.flashes = 8.min(self.flashes + 1),
            Step::Renew | Step::Save | Step::FailedSave(_) => {}
        }
    }

    fn of(session: &Session) -> Self {
        let subject = session.subject().map(|subject| if subject == "alice" { "alice" } else { "bob" });
        let data = session.keys().into_iter().map(|key| (key.clone(), session.get(&key).unwrap().unwrap())).collect();
        Self { subject, data, flashes: 0 }
    }
}

fn act(session: &Session, step: Step) {
    match step {
        Step::Insert(key, value) => session.insert(&format!("k{key}"), u64::from(value)).unwrap(),
        Step::Remove(key) => drop(session.remove(&format!("k{key}")).unwrap()),
        Step::Clear => session.clear().unwrap(),
        Step::Count => session.update("n", |n: &mut u64| *n += 1).unwrap(),
        Step::Login(subject) => session.login(subject).unwrap(),
        Step::Renew => session.renew().unwrap(),
        Step::Logout => session.logout().unwrap(),
        Step::LogoutKeepingData => session.logout_keeping_data().unwrap(),
        Step::Flash => session.flash(secure_sessions::FlashLevel::Info, "text").unwrap(),
        Step::Save | Step::FailedSave(_) => {}
    }
}

fn steps() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    use proptest::prelude::*;
    let step = prop_oneof![
        3 => (0..3_u8, 0..3_u8).prop_map(|(key, value)| Step::Insert(key, value)),
        1 => (0..3_u8).prop_map(Step::Remove),
        1 => Just(Step::Clear),
        3 => Just(Step::Count),
        2 => prop_oneof![Just(Step::Login("alice")), Just(Step::Login("bob"))],
        1 => Just(Step::Renew),
        1 => Just(Step::Logout),
        1 => Just(Step::LogoutKeepingData),
        1 => Just(Step::Flash),
        2 => Just(Step::Save),
        3 => any::<bool>().prop_map(Step::FailedSave),
    ];
    prop::collection::vec(step, 1..10)
}

/// Runs one request after a first one that made a session, and says where it parts from the model.
async fn run(first: &[Step], second: &[Step]) -> Result<(), String> {
    let (manager, store) = Faulty::new();
    let mut model = Model::default();
    let mut cookie = None;
    for steps in [first, second] {
        let (request, session) = request(&manager, cookie.as_deref()).await;
        for step in steps {
            act(&session, *step);
            model.step(*step);
            let seen = Model { flashes: model.flashes, ..Model::of(&session) };
            if seen != model {
                return Err(format!("after {step:?} it shows {seen:?}, not {model:?}"));
            }
            match step {
                Step::Save => session.save().await.map_err(|error| error.to_string())?,
                Step::FailedSave(carried_out) => {
                    for write in ["insert", "replace", "renew_into", "remove"] {
                        // Which write it will be the engine knows.
                        store.fail(write, 0, *carried_out);
                    }
                    let _ = session.save().await;
                    store.heal();
                }
                _ => continue,
            }
            let seen = Model { flashes: model.flashes, ..Model::of(&session) };
            if seen != model {
                return Err(format!("after {step:?} it shows {seen:?}, not {model:?}"));
            }
        }
        let reply = request.finish(200).await;
        if let Some(failure) = reply.as_ref().and_then(|reply| reply.failure()) {
            return Err(failure.to_string());
        }
        match set_cookie(reply.as_ref()) {
            Some(value) if value.is_empty() => cookie = None,
            Some(value) => cookie = Some(value),
            None => {}
        }
        let (_, session) = self::request(&manager, cookie.as_deref()).await;
        let mut found = Model::of(&session);
        found.flashes = session.take_flashes().unwrap().len();
        if found != model {
            return Err(format!("the next request finds {found:?}, not {model:?}"));
        }
    }
    let left = manager.count().await.unwrap();
    if left > 1 { Err(format!("{left} sessions are left")) } else { Ok(()) }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]

    #[test]
    fn no_operation_is_lost_or_made_twice_whatever_the_store_does(first in steps(), second in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcome = runtime.block_on(run(&first, &second));
        proptest::prop_assert_eq!(outcome, Ok(()));
    }
}
