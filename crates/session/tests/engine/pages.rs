//! The parts of a session that pages need besides data: flash messages, CSRF tokens, and a browser that forgets at logout.

use secure_sessions::{
    Binding, ClearSiteData, Event, FlashLevel, MAX_FLASH_LEN, RequestHead, ResponseHeaders, Session, SessionError,
    SessionStore,
};

use crate::support::{App, Head, app, app_with, set_cookie};

fn take(session: &Session) -> Vec<String> {
    session
        .take_flashes()
        .unwrap()
        .into_iter()
        .map(|flash| format!("{}: {}", flash.level.as_str(), flash.text))
        .collect()
}

async fn read(app: &App, cookie: Option<&str>) -> (Vec<String>, Option<String>) {
    let mut seen = Vec::new();
    let cookie = app.visit(cookie, |session| seen = take(session)).await;
    (seen, cookie)
}

#[tokio::test]
async fn a_flash_message_is_read_exactly_once_and_makes_a_session() {
    let app = app();
    let cookie = app
        .visit(None, |session| {
            session.flash(FlashLevel::Success, "Saved.").unwrap();
            session.flash(FlashLevel::Error, "Not sent.").unwrap();
        })
        .await;
    let (seen, cookie) = read(&app, cookie.as_deref()).await;
    assert_eq!(seen, ["success: Saved.", "error: Not sent."]);
    let (request, session) = app.request(cookie.as_deref()).await;
    assert_eq!(take(&session), [""; 0]);
    let reply = request.finish(200).try_now().ok().flatten();
    assert_eq!(set_cookie(reply.as_ref()), None, "reading none changes nothing");
}

#[tokio::test]
async fn a_message_rides_on_renew_and_login_and_ends_with_a_logout() {
    let app = app();
    let cookie = app.visit(None, |session| session.flash(FlashLevel::Info, "a").unwrap()).await;
    let cookie = app.visit(cookie.as_deref(), |session| session.renew().unwrap()).await;
    let cookie = app
        .visit(cookie.as_deref(), |session| {
            session.login("alice").unwrap();
            session.flash(FlashLevel::Info, "b").unwrap();
        })
        .await;
    let (seen, cookie) = read(&app, cookie.as_deref()).await;
    assert_eq!(seen, ["info: a", "info: b"]);

    let cookie = app.visit(cookie.as_deref(), |session| session.flash(FlashLevel::Info, "for alice").unwrap()).await;
    let cookie = app
        .visit(cookie.as_deref(), |session| {
            session.logout().unwrap();
            session.flash(FlashLevel::Info, "alice was logged out").unwrap();
            session.login("bob").unwrap();
        })
        .await;
    let (seen, _) = read(&app, cookie.as_deref()).await;
    assert_eq!(seen, ["info: alice was logged out"], "bob does not read what was left for alice");
}

#[tokio::test]
async fn reading_messages_loses_no_newer_one_and_a_5xx_keeps_those_it_read() {
    let app = app();
    let cookie = app.visit(None, |session| session.flash(FlashLevel::Info, "a").unwrap()).await;
    let (reader, session) = app.request(cookie.as_deref()).await;
    assert_eq!(take(&session), ["info: a"]);
    app.visit(cookie.as_deref(), |session| session.flash(FlashLevel::Info, "b").unwrap()).await;
    let cookie = set_cookie(reader.finish(200).await.as_ref());
    let (failing, session) = app.request(cookie.as_deref()).await;
    assert_eq!(take(&session), ["info: b"]);
    failing.finish(500).await;
    assert_eq!(read(&app, cookie.as_deref()).await.0, ["info: b"]);
}

#[tokio::test]
async fn an_overlong_message_or_overfull_cookie_is_a_typed_error_without_effect() {
    let app = app();
    let (request, session) = app.request(None).await;
    let error = session.flash(FlashLevel::Info, "x".repeat(MAX_FLASH_LEN + 1)).unwrap_err();
    assert!(matches!(error, SessionError::Flash { length: 513 }) && error.status() == 400);
    session.insert("big", "x".repeat(1600)).unwrap();
    let mut left = 0;
    let error = loop {
        match session.flash(FlashLevel::Info, "x".repeat(100)) {
            Ok(()) => left += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SessionError::TooLarge { .. }), "{error}");
    let cookie = set_cookie(request.finish(200).await.as_ref());
    assert_eq!(read(&app, cookie.as_deref()).await.0.len(), left);
}

struct WithHeader(Head, Vec<&'static str>, String);

impl RequestHead for WithHeader {
    fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
        self.0.for_each_value(name, visit);
        self.1.iter().filter(|header| **header == name).for_each(|_| visit(self.2.as_bytes()));
    }

    fn method(&self) -> &'static str {
        "POST"
    }
}

#[tokio::test]
async fn a_csrf_token_passes_by_configured_header_or_field_in_its_session_only() {
    let app = app_with(|builder| builder.csrf_header("x-shop-token"));
    let mut token = String::new();
    let cookie = app.visit(None, |session| token = session.csrf_token().unwrap()).await;
    let (_, session) = app.request(cookie.as_deref()).await;
    let verify = |headers: Vec<&'static str>, value: &str| {
        session.verify_csrf(&WithHeader(Head::with(None), headers, value.to_owned())).is_ok()
    };
    assert!(verify(vec!["x-shop-token"], &token));
    assert!(!verify(vec!["x-csrf-token"], &token) && !verify(vec![], &token));
    assert!(!verify(vec!["x-shop-token", "x-shop-token"], &token), "of two headers none counts");
    assert!(session.verify_csrf_field(&token).is_ok());
    let error = session.verify_csrf_field("").unwrap_err();
    assert!(matches!(error, SessionError::Csrf) && error.status() == 403);
    let id = session.id();
    assert_eq!(app.events.lock().unwrap().last(), Some(&Event::CsrfMismatch { session: id }));
    let (_, stranger) = app.request(None).await;
    assert!(stranger.verify_csrf_field(&token).is_err());
}

#[tokio::test]
async fn a_login_form_passes_though_the_session_in_the_cookie_is_refused() {
    let app = app_with(|builder| builder.bind_to(Binding::new().user_agent()));
    let agent = |cookies: &[&String], agent: &str| Head {
        cookies: cookies.iter().map(|cookie| format!("session={cookie}")).collect(),
        headers: vec![("user-agent", agent.to_owned())],
        ..Head::with(None)
    };
    let log_in = async |head: &Head, user: &str| {
        let (request, session) = app.try_request(head).await.unwrap();
        session.login(user).unwrap();
        set_cookie(request.finish(200).await.as_ref()).unwrap()
    };
    let bound = log_in(&agent(&[], "old"), "alice").await;
    let other = log_in(&agent(&[], "old"), "bob").await;
    let ended = log_in(&agent(&[], "old"), "carol").await;
    let (request, session) = app.try_request(&agent(&[&ended], "old")).await.unwrap();
    session.logout().unwrap();
    request.finish(200).await;
    let refused = [
        ("ended a moment ago", agent(&[&ended], "old")),
        ("of another client", agent(&[&bound], "new")),
        ("one of two", agent(&[&bound, &other], "old")),
    ];
    for (name, head) in refused {
        // The page with the form makes no session, since its cookie would replace the one that the browser has.
        let (request, session) = app.try_request(&head).await.unwrap();
        let token = session.csrf_token().unwrap();
        assert_eq!(set_cookie(request.finish(200).await.as_ref()), None, "{name}");
        // A user who fills the form in takes longer than the time for which a cookie that was just ended is kept.
        app.pass(61);
        let (request, session) = app.try_request(&head).await.unwrap();
        assert!(session.is_csrf_token(&token), "{name}");
        session.login("dora").unwrap();
        let (_, own) = app.try_request(&agent(&[&bound], "old")).await.unwrap();
        assert!(!own.is_csrf_token(&token) && !session.is_csrf_token(&own.csrf_token().unwrap()), "{name}");
        // The token on the response's page is of the session that begins.
        let next = session.csrf_token().unwrap();
        let cookie = set_cookie(request.finish(200).await.as_ref()).unwrap();
        let user_agent = head.headers[0].1.clone();
        let (_, session) = app.try_request(&agent(&[&cookie], &user_agent)).await.unwrap();
        assert!(session.is_csrf_token(&next) && !session.is_csrf_token(&token), "{name}");
        let (_, stranger) = app.try_request(&agent(&[], "new")).await.unwrap();
        assert!(!stranger.is_csrf_token(&token), "{name}");
    }
}

#[tokio::test]
async fn a_token_for_refused_cookies_is_good_for_just_these_cookies() {
    let app = app();
    let user = async |name: &str| app.visit(None, |session| session.login(name).unwrap()).await.unwrap();
    let both = |one: &str, two: &str| Head {
        cookies: vec![format!("session={one}"), format!("session={two}")],
        ..Head::with(None)
    };
    let planted = user("mallory").await;
    for _ in 0..8 {
        let (own, victim) = (user("mallory").await, user("alice").await);
        let (_, page) = app.try_request(&both(&planted, &own)).await.unwrap();
        let token = page.csrf_token().unwrap();
        let (_, reversed) = app.try_request(&both(&own, &planted)).await.unwrap();
        assert!(page.is_csrf_token(&token) && reversed.is_csrf_token(&token));
        // An attacker who plants a cookie of theirs beside the victim's has no token for the two.
        for head in [both(&planted, &victim), both(&own, &victim)] {
            let (_, attacked) = app.try_request(&head).await.unwrap();
            assert!(!attacked.is_csrf_token(&token));
        }
    }
}

#[tokio::test]
async fn a_page_after_a_logout_in_vain_has_a_token_for_the_next_login() {
    let app = app();
    let cookie = app.visit(None, |session| session.login("alice").unwrap()).await;
    app.visit(cookie.as_deref(), |session| session.logout().unwrap()).await;
    let (request, session) = app.request(cookie.as_deref()).await;
    session.logout().unwrap();
    let token = session.csrf_token().unwrap();
    assert_eq!(set_cookie(request.finish(200).await.as_ref()), None, "there may be a newer cookie");
    let (_, session) = app.request(cookie.as_deref()).await;
    assert!(session.is_csrf_token(&token));
}

#[tokio::test]
async fn a_csrf_token_outlives_rotations_and_dies_with_login_renew_and_logout() {
    let app = app();
    let mut token = String::new();
    let mut cookie = app.visit(None, |session| token = session.csrf_token().unwrap()).await;
    for step in 0..3 {
        cookie = app.visit(cookie.as_deref(), |session| session.insert("n", step).unwrap()).await;
    }
    let (_, session) = app.request(cookie.as_deref()).await;
    assert!(session.is_csrf_token(&token), "a rotation keeps it");
    for change in ["login", "renew"] {
        let mut next = String::new();
        cookie = app
            .visit(cookie.as_deref(), |session| {
                if change == "login" {
                    session.login("alice").unwrap()
                } else {
                    session.renew().unwrap()
                }
                // For the page that answers: already of the session that it leads to.
                next = session.csrf_token().unwrap();
            })
            .await;
        let (_, session) = app.request(cookie.as_deref()).await;
        assert!(!session.is_csrf_token(&token) && session.is_csrf_token(&next), "{change}");
        token = next;
    }
    app.visit(cookie.as_deref(), |session| session.logout().unwrap()).await;
    let (_, session) = app.request(cookie.as_deref()).await;
    assert!(!session.is_csrf_token(&token));
}

#[derive(Default)]
struct Headers(Vec<(&'static str, String)>);

impl ResponseHeaders for Headers {
    fn for_each_value(&self, _: &'static str, _: &mut dyn FnMut(&[u8])) {}
    fn append(&mut self, name: &'static str, value: &str, _: bool) {
        self.0.push((name, value.to_owned()));
    }
    fn set(&mut self, _: &'static str, _: &'static str) {}
    fn remove(&mut self, _: &'static str) {}
}

async fn cleared(app: &App, cookie: Option<&str>, status: u16, logout: bool) -> Option<String> {
    let (request, session) = app.request(cookie).await;
    if logout {
        session.logout().unwrap();
    }
    let mut headers = Headers::default();
    if let Some(reply) = request.finish(status).await {
        reply.apply(&mut headers);
    }
    headers.0.into_iter().find(|(name, _)| *name == "clear-site-data").map(|(_, value)| value)
}

#[tokio::test]
async fn only_a_logout_asks_the_browser_to_clear_site_data_and_only_if_configured() {
    let silent = app();
    let cookie = silent.visit(None, |session| session.login("alice").unwrap()).await;
    assert_eq!(cleared(&silent, cookie.as_deref(), 200, true).await, None);

    let app = app_with(|builder| builder.clear_site_data([ClearSiteData::Cache, ClearSiteData::Storage]));
    let cookie = app.visit(None, |session| session.login("alice").unwrap()).await;
    assert_eq!(cleared(&app, cookie.as_deref(), 200, false).await, None);
    assert_eq!(cleared(&app, None, 200, true).await, None, "there is no session to end");
    assert_eq!(cleared(&app, Some("garbage"), 200, false).await, None, "a removal of garbage is no logout");
    // Also when the handler fails: the session is over.
    assert_eq!(cleared(&app, cookie.as_deref(), 500, true).await.as_deref(), Some("\"cache\", \"storage\""));
    assert_eq!(app.store.count().await.unwrap(), 0);
    // A late second click must not clear what a new login's pages keep.
    assert_eq!(cleared(&app, cookie.as_deref(), 200, true).await, None);
}

/// A request whose response no user may see.
struct Unseen {
    cookie: Option<String>,
    method: &'static str,
    purpose: &'static str,
}

impl RequestHead for Unseen {
    fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
        Head::with(self.cookie.as_deref()).for_each_value(name, visit);
        if name == "sec-purpose" && !self.purpose.is_empty() {
            visit(self.purpose.as_bytes());
        }
    }

    fn method(&self) -> &str {
        self.method
    }
}

#[tokio::test]
async fn messages_stay_if_nobody_sees_the_page_that_takes_them() {
    let heads = [
        ("HEAD", "", true),
        ("GET", "prefetch", true),
        ("GET", "prefetch;prerender", true),
        ("GET", "", false),
        ("POST", "other", false),
    ];
    for waits in [false, true] {
        for (method, purpose, stays) in heads {
            let app = app();
            let cookie = app.visit(None, |session| session.flash(FlashLevel::Info, "Saved.").unwrap()).await;
            if waits {
                app.pass(120); // A touch is due, so the store is waited for.
            }
            let request = app.manager.begin();
            let session = request.session(&Unseen { cookie: cookie.clone(), method, purpose }).await.unwrap();
            assert_eq!(take(&session), ["info: Saved."], "it is on the page all the same");
            let cookie = set_cookie(request.finish(200).await.as_ref()).or(cookie);
            let (_, session) = app.request(cookie.as_deref()).await;
            assert_eq!(session.flashes().len(), usize::from(stays), "{method} {purpose}");
        }
    }
}

#[tokio::test]
async fn messages_can_be_looked_at_and_their_levels_are_words() {
    let app = app();
    let cookie = app.visit(None, |session| session.flash(FlashLevel::Warning, "Full.").unwrap()).await;
    for _ in 0..2 {
        let (request, session) = app.request(cookie.as_deref()).await;
        let flashes = session.flashes();
        assert_eq!((flashes.len(), flashes[0].level.to_string()), (1, "warning".to_owned()));
        assert_eq!(set_cookie(request.finish(200).await.as_ref()), None, "looking changes nothing");
        let (_, other) = app.request(None).await;
        other.insert("flash", &flashes[0]).unwrap();
        let fields: std::collections::BTreeMap<String, String> = other.get("flash").unwrap().unwrap();
        assert_eq!((fields["level"].as_str(), fields["text"].as_str()), ("warning", "Full."));
        assert_eq!(other.get::<secure_sessions::Flash>("flash").unwrap().as_ref(), flashes.first());
    }
    assert_eq!(app.request(None).await.1.flashes(), []);
}

#[tokio::test]
async fn a_form_needs_exactly_one_token_of_its_session() {
    let app = app();
    let mut field = String::new();
    let cookie = app.visit(None, |session| field = session.csrf_field().unwrap()).await;
    let token = field
        .strip_prefix(r#"<input type="hidden" name="csrf_token" value=""#)
        .and_then(|rest| rest.strip_suffix(r#"">"#))
        .unwrap();
    let (_, session) = app.request(cookie.as_deref()).await;
    for (form, rest) in [
        (format!("csrf_token={token}"), ""),
        (format!("csrf_token={token}&a=1&b=%26"), "a=1&b=%26"),
        (format!("a=1&csrf_token={token}&b=2"), "a=1&b=2"),
        (format!("xcsrf_token=1&csrf_tokenx=2&csrf_token={token}"), "xcsrf_token=1&csrf_tokenx=2"),
    ] {
        assert_eq!(session.verify_csrf_form(form.as_bytes()).unwrap(), rest.as_bytes(), "{form}");
    }
    let (_, other) = app.request(app.visit(None, |session| session.insert("n", 1).unwrap()).await.as_deref()).await;
    for (session, form) in [
        (&session, String::new()),
        (&session, "a=1".to_owned()),
        (&session, "csrf_token=".to_owned()),
        (&session, "csrf_token".to_owned()),
        (&session, format!("csrf_token={token}&csrf_token={token}")),
        (&session, format!("a=csrf_token={token}")),
        (&session, format!("\u{ff}csrf_token={token}")),
        (&other, format!("csrf_token={token}")),
    ] {
        assert!(matches!(session.verify_csrf_form(form.as_bytes()), Err(SessionError::Csrf)), "{form}");
    }
}
