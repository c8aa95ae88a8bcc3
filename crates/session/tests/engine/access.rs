//! The logged-in user, as an application asks for them, and data that a release before left in a session.

use std::collections::BTreeMap;

use secure_sessions::testing::{self, SetCookie};
use secure_sessions::{Event, RequestHead, SessionError, SessionStore, Typed, User};
use serde::{Deserialize, Serialize};

use crate::support::{Head, app, app_with, header, set_cookie};

#[derive(Debug, PartialEq, Eq)]
struct Account(String);

/// The users; an error of the database if `None`.
struct Accounts(Option<Vec<&'static str>>);

impl User for Account {
    type State = Accounts;
    type Error = std::io::Error;

    async fn load(subject: &str, accounts: &Accounts) -> Result<Option<Self>, std::io::Error> {
        let names = accounts.0.as_ref().ok_or_else(|| std::io::Error::other("no route to the database"))?;
        Ok(names.iter().find(|name| **name == subject).map(|name| Self((*name).to_owned())))
    }
}

#[tokio::test]
async fn a_session_loads_its_user_and_a_user_who_is_gone_is_logged_out() {
    let app = app();
    let cookie = app.visit(None, |session| session.login("alice").unwrap()).await;
    let (_, session) = app.request(cookie.as_deref()).await;
    let all = Accounts(Some(vec!["bob", "alice"]));
    assert_eq!(session.user::<Account>(&all).await.unwrap(), Some(Account("alice".to_owned())));
    assert_eq!(app.request(None).await.1.user::<Account>(&all).await.unwrap(), None);

    let error = session.user::<Account>(&Accounts(None)).await.unwrap_err();
    assert_eq!(error.to_string(), "the user could not be loaded: no route to the database");
    assert_eq!((error.status(), error.client_text()), (500, "Internal server error."));
    assert_eq!(session.subject().as_deref(), Some("alice"), "a failure logs nobody out");

    let (request, session) = app.request(cookie.as_deref()).await;
    assert_eq!(session.user::<Account>(&Accounts(Some(vec!["bob"]))).await.unwrap(), None);
    let line = header(request.finish(401).await.as_ref(), "set-cookie").unwrap();
    assert!(SetCookie::parse(&line).unwrap().is_removal());
    assert_eq!(app.store.count().await.unwrap(), 0);
}

#[tokio::test]
async fn a_subject_is_parsed_or_a_typed_error_that_does_not_repeat_it() {
    let app = app();
    assert_eq!(app.request(None).await.1.subject_as::<u64>().unwrap(), None);
    let cookie = app.visit(None, |session| session.login("4711").unwrap()).await;
    assert_eq!(app.request(cookie.as_deref()).await.1.subject_as::<u64>().unwrap(), Some(4711));
    let cookie = app.visit(None, |session| session.login("alice").unwrap()).await;
    let error = app.request(cookie.as_deref()).await.1.subject_as::<u64>().unwrap_err();
    assert!(error.to_string().contains("u64") && !error.to_string().contains("alice"), "{error}");
    assert_eq!(error.status(), 500);
}

struct Navigation(&'static str, Option<&'static str>);

impl RequestHead for Navigation {
    fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
        if let Some(accept) = self.1.filter(|_| name == "accept") {
            visit(accept.as_bytes());
        }
    }

    fn method(&self) -> &str {
        self.0
    }
}

#[tokio::test]
async fn only_a_browser_that_navigates_is_sent_to_the_login_page() {
    let html = Some("text/html,application/xhtml+xml,*/*;q=0.8");
    let with = app_with(|builder| builder.login_url("/login"));
    for (app, method, accept, location) in [
        (&with, "GET", html, Some("/login?next=/orders%3Fpage%3D2")),
        (&with, "HEAD", html, Some("/login?next=/orders%3Fpage%3D2")),
        (&with, "POST", html, None),
        (&with, "GET", Some("application/json"), None),
        (&with, "GET", Some("*/*"), None),
        (&with, "GET", None, None),
        (&app(), "GET", html, None),
    ] {
        let error = app.request(None).await.1.not_logged_in(&Navigation(method, accept), "/orders?page=2");
        assert_eq!(error.location(), location, "{method} {accept:?}");
        assert_eq!(error.status(), if location.is_some() { 303 } else { 401 });
        assert!(error.is_not_logged_in());
    }
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Old {
    cart: Vec<u32>,
    currency: u16,
    note: String,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct New {
    cart: Vec<BTreeMap<String, u32>>,
    currency: Option<String>,
    note: String,
}

#[tokio::test]
async fn fields_of_another_type_count_as_their_default_until_a_change() {
    let app = app();
    let old = || Old { cart: vec![1, 2], currency: 978, note: "kept".to_owned() };
    let cookie = app
        .visit(None, |session| {
            Typed::<Old>::new(session.clone()).unwrap().set(old()).unwrap();
            session.insert("other", true).unwrap();
        })
        .await;
    let (request, session) = app.request(cookie.as_deref()).await;
    assert!(matches!(Typed::<New>::new(session.clone()), Err(SessionError::Data(_))));
    let mut new = Typed::<New>::or_default(session.clone()).unwrap();
    assert_eq!(*new, New { note: "kept".to_owned(), ..New::default() });
    let event = app.events.lock().unwrap().last().cloned().unwrap();
    let Event::Unreadable { session: handle, fields } = &event else { panic!("{event:?}") };
    assert_eq!((handle, fields.as_slice()), (&session.id(), &["cart".to_owned(), "currency".to_owned()][..]));
    assert!(event.to_string().contains("cart, currency"));
    assert_eq!(*Typed::<Old>::new(session.clone()).unwrap(), old(), "reading changes nothing: a rollback finds it all");

    new.update(|new| new.note.push('!')).unwrap();
    assert_eq!(new.note, "kept!");
    assert_eq!(*Typed::<New>::new(session.clone()).unwrap(), New { note: "kept!".to_owned(), ..New::default() });
    assert!(session.contains_key("other"), "what is no field is left alone");
    let cookie = set_cookie(request.finish(200).await.as_ref());
    let (_, session) = app.request(cookie.as_deref()).await;
    assert_eq!(Typed::<New>::or_default(session).unwrap().note, "kept!");
    assert_eq!(app.event_names().iter().filter(|name| **name == "unreadable").count(), 1);
}

#[tokio::test]
async fn a_view_with_defaults_loses_no_update_to_a_conflict() {
    let app = app();
    let cookie = app.visit(None, |session| session.insert("cart", [1, 2]).unwrap()).await;
    let (one, first) = app.request(cookie.as_deref()).await;
    let (two, second) = app.request(cookie.as_deref()).await;
    for session in [&first, &second] {
        Typed::<New>::or_default(session.clone()).unwrap().update(|new| new.cart.push(BTreeMap::new())).unwrap();
    }
    one.finish(200).await;
    let newest = set_cookie(two.finish(200).await.as_ref());
    let (_, session) = app.request(newest.as_deref()).await;
    assert_eq!(Typed::<New>::new(session.clone()).unwrap().cart.len(), 2);

    let cookie = app.visit(None, |session| session.insert("cart", [1, 2]).unwrap()).await;
    let (_, session) = app.request(cookie.as_deref()).await;
    Typed::<New>::or_default(session.clone()).unwrap().set(New::default()).unwrap();
    assert_eq!(*Typed::<New>::new(session).unwrap(), New::default(), "an equal value replaces them, too");
}

#[tokio::test]
async fn a_test_seeds_a_session_with_a_token_and_looks_into_it_afterwards() {
    let (manager, clock) = testing::manager();
    let seeded = testing::session(&manager).login("alice").typed(Old { note: "x".to_owned(), ..Old::default() });
    let (cookie, token) = seeded.cookie_and_csrf_token().await.unwrap();
    clock.advance(std::time::Duration::from_secs(120));
    let session = testing::look(&manager, &cookie).await.unwrap();
    assert!(session.is_csrf_token(&token));
    assert_eq!(session.keys(), ["note"]);
    let whole = format!("{cookie}; Path=/; HttpOnly");
    assert_eq!(testing::look(&manager, &whole).await.unwrap().subject().as_deref(), Some("alice"));
    assert!(testing::look(&manager, "session=garbage").await.unwrap().is_new());

    let (cookie, token) = testing::session(&manager).cookie_and_csrf_token().await.unwrap();
    assert!(testing::look(&manager, &cookie).await.unwrap().is_csrf_token(&token), "also for a session without data");
    assert_eq!(testing::session(&manager).cookie().await.unwrap(), "");

    let request = manager.begin();
    request.session(&Head::with(None)).await.unwrap().flash(secure_sessions::FlashLevel::Info, "a").unwrap();
    let line = header(request.finish(200).await.as_ref(), "set-cookie").unwrap();
    let cookie = SetCookie::parse(&line).unwrap();
    assert_eq!((cookie.attribute("SameSite"), cookie.attribute("secure"), cookie.max_age()), (Some("Lax"), None, None));
    assert_eq!(testing::look(&manager, &cookie.to_string()).await.unwrap().flashes().len(), 1);
    assert_eq!(SetCookie::parse("; Path=/"), None);
}
