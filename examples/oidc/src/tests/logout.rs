//! Logout: the provider's ends the sessions here, and the user's goes on to the provider.

use serde_json::{Value, json};
use tokio::time;

use super::provider::{Reply, now, part};
use super::*;
use crate::provider::KEYS_REST;

impl Server {
    /// The id of the only session.
    fn session(&self) -> String {
        let [sid] = &self.sessions()[..] else { panic!("{:?}", self.sessions()) };
        sid.clone()
    }

    /// Returns a logout token that names the only session (`sid`), or its user (`sub`).
    fn logout_token(&self, member: &str) -> String {
        let mut claims = self.claims();
        claims[member] = json!(if member == "sid" { self.session() } else { "alice".to_owned() });
        self.sign(&self.header(), &claims)
    }
}

impl Reply {
    /// Checks that the logout was done.
    fn is_done(&self) {
        assert_eq!((self.status, self.body.as_str()), (StatusCode::OK, ""), "{self:?}");
        self.is_private();
    }

    /// Checks that the token was refused, and returns the reason.
    fn refused(&self) -> String {
        assert_eq!(self.status, StatusCode::BAD_REQUEST, "{self:?}");
        self.error("invalid_request")
    }

    /// Checks that the provider is asked to come back.
    fn is_put_off(&self) {
        assert_eq!(self.status, StatusCode::SERVICE_UNAVAILABLE, "{self:?}");
        self.error("temporarily_unavailable");
    }

    fn error(&self, error: &str) -> String {
        self.is_private();
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/json");
        let body: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(body["error"], error);
        body["error_description"].as_str().unwrap().to_owned()
    }

    fn is_private(&self) {
        assert_eq!(self.headers[header::CACHE_CONTROL], "no-store");
        assert!(!self.headers.contains_key(header::SET_COOKIE), "{self:?}");
    }
}

#[tokio::test]
async fn a_session_that_ends_at_the_provider_ends_those_that_began_with_it() {
    let site = Site::start().await;
    let mut browser = site.logged_in().await;
    let sid = site.server.session();
    // The same browser once more, say in a second profile that shares the provider's cookie.
    let mut twin = Browser { cookie: String::new(), ..browser.clone() };
    twin.log_in().await;
    assert_eq!(site.server.session(), sid);
    let mut phone = site.logged_in().await;
    assert_eq!(site.manager.sessions_of("alice").await.unwrap().len(), 3);

    site.server.end(&sid).await.is_done();
    assert!(!browser.is_logged_in().await && !twin.is_logged_in().await);
    assert_eq!(browser.get("/profile").await.0, StatusCode::UNAUTHORIZED, "the tokens went with the session");
    assert!(phone.is_logged_in().await, "that is another session at the provider");
    // The next login is a new session there, too.
    browser.log_in().await;
}

#[tokio::test]
async fn a_logout_token_without_a_session_ends_all_sessions_of_its_subject() {
    let site = Site::start().await;
    let (mut browser, mut phone) = (site.logged_in().await, site.logged_in().await);
    let bob = testing::session(&site.manager).login("bob").cookie().await.unwrap();

    site.server.announce("sub", "alice").await.is_done();
    assert!(!browser.is_logged_in().await && !phone.is_logged_in().await);
    assert!(testing::look(&site.manager, &bob).await.unwrap().subject().is_some());
}

#[tokio::test]
async fn a_logout_of_a_session_that_is_gone_is_a_success() {
    let site = Site::start().await;
    site.server.announce("sid", "never seen").await.is_done();
    site.server.announce("sub", "nobody").await.is_done();
}

/// A change to the good token's header and claims, and the reason for the refusal.
type Flaw = (fn(&mut Value, &mut Value), &'static str);

const FLAWS: &[Flaw] = &[
    (|header, _| header["alg"] = json!("HS256"), "algorithm"),
    (|header, _| header["alg"] = json!("none"), "algorithm"),
    (|header, _| header["alg"] = json!("RSA1_5"), "RSA1_5"),
    // Another algorithm than the key is for.
    (|header, _| header["alg"] = json!("ES256"), "no key"),
    (|header, _| header["kid"] = json!("another"), "no key"),
    (|header, _| header["crit"] = json!(["b64"]), "crit"),
    (|header, _| header["typ"] = json!("at+jwt"), "another type"),
    (|_, claims| claims["iss"] = json!("https://elsewhere.example"), "issuer"),
    (|_, claims| claims["aud"] = json!("another shop"), "client"),
    (|_, claims| claims["aud"] = json!(["another shop"]), "client"),
    (|_, claims| claims["iat"] = json!(now() + 120), "in the future"),
    (|_, claims| claims["exp"] = json!(now() - 120), "expired"),
    (|_, claims| claims["events"] = json!({}), "events"),
    (|_, claims| claims["events"] = json!({ "http://schemas.openid.net/event/another": {} }), "events"),
    (|_, claims| claims["events"] = json!({ "http://schemas.openid.net/event/backchannel-logout": true }), "events"),
    (|_, claims| claims["events"] = json!(["http://schemas.openid.net/event/backchannel-logout"]), "invalid type"),
    (|_, claims| claims["nonce"] = json!("an ID token's"), "nonce"),
    (|_, claims| claims["sid"] = json!(7), "invalid type"),
    (|_, claims| claims["sid"] = json!(""), "sid"),
    (|_, claims| claims["sid"] = json!("s".repeat(2049)), "2049"),
    (|_, claims| drop_members(claims, &["sid", "sub"]), "neither"),
    (|_, claims| drop_members(claims, &["iss"]), "`iss`"),
    (|_, claims| drop_members(claims, &["aud"]), "`aud`"),
    (|_, claims| drop_members(claims, &["iat"]), "`iat`"),
    (|_, claims| drop_members(claims, &["exp"]), "`exp`"),
    (|_, claims| drop_members(claims, &["jti"]), "`jti`"),
    (|_, claims| drop_members(claims, &["events"]), "`events`"),
];

fn drop_members(claims: &mut Value, names: &[&str]) {
    claims.as_object_mut().unwrap().retain(|name, _| !names.contains(&name.as_str()));
}

#[tokio::test]
async fn a_logout_token_with_any_flaw_ends_nothing() {
    let site = Site::start().await;
    let server = &site.server;
    let mut browser = site.logged_in().await;
    let good = || {
        let mut claims = server.claims();
        claims["sid"] = json!(server.session());
        claims["sub"] = json!("alice");
        (server.header(), claims)
    };
    for (number, (spoil, reason)) in FLAWS.iter().enumerate() {
        let (mut header, mut claims) = good();
        spoil(&mut header, &mut claims);
        let refused = server.post(&server.sign(&header, &claims)).await.refused();
        assert!(refused.contains(reason), "{number}: {refused}");
    }

    let (header, claims) = good();
    let token = server.sign(&header, &claims);
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (_, others) = good();
    let unsigned = format!("{}.{}.", part(&json!({ "alg": "none" })), part(&claims));
    let altered = format!("{}.{}.{signature}", part(&header), part(&others));
    for (token, reason) in [
        (server.sign_with_another_key(&header, &claims), "no key"),
        (altered, "no key"),
        (unsigned, "algorithm"),
        (format!("{message}."), "no key"),
        (format!("{message}.{signature}="), "base64url"),
        (format!("{token}.{signature}"), "base64url"),
        (message.to_owned(), "divided by dots"),
        (String::new(), "divided by dots"),
    ] {
        let refused = server.post(&token).await.refused();
        assert!(refused.contains(reason), "{token}: {refused}");
    }
    let (twice, long) = (format!("logout_token={token}&logout_token={token}"), "x".repeat(100_000));
    for form in ["", "token=1", &twice, &format!("logout_token={long}")] {
        assert!(server.post_form(form).await.refused().contains("no form with one"));
    }

    assert!(browser.is_logged_in().await);
    server.post(&token).await.is_done();
    assert!(!browser.is_logged_in().await, "the good token is good");
}

#[tokio::test]
async fn a_logout_token_may_name_several_clients_and_no_type_or_key_id() {
    let site = Site::start().await;
    let mut browser = site.logged_in().await;
    let mut claims = site.server.claims();
    claims["aud"] = json!(["another shop", CLIENT]);
    claims["sid"] = json!(site.server.session());
    site.server.post(&site.server.sign(&json!({ "alg": "EdDSA" }), &claims)).await.is_done();
    assert!(!browser.is_logged_in().await);
}

#[tokio::test]
async fn a_logout_token_ends_sessions_once() {
    let site = Site::start().await;
    let mut browser = site.logged_in().await;
    let mut claims = site.server.claims();
    claims["iat"] = json!(now() - 5);
    claims["sub"] = json!("alice");
    let token = site.server.sign(&site.server.header(), &claims);
    site.server.post(&token).await.is_done();
    assert!(!browser.is_logged_in().await);

    browser.log_in().await;
    assert!(site.server.post(&token).await.refused().contains("sent before"));
    assert!(browser.is_logged_in().await);
}

#[tokio::test]
async fn a_logout_while_the_store_is_down_is_done_when_it_is_sent_again() {
    for member in ["sid", "sub"] {
        let site = Site::start().await;
        let mut browser = site.logged_in().await;
        let token = site.server.logout_token(member);
        site.store.down.store(true, Ordering::Relaxed);
        site.server.post(&token).await.is_put_off();
        site.store.down.store(false, Ordering::Relaxed);
        assert!(browser.is_logged_in().await);
        site.server.post(&token).await.is_done();
        assert!(!browser.is_logged_in().await, "{member}");
    }
}

#[tokio::test]
async fn a_logout_while_the_keys_cannot_be_fetched_is_put_off() {
    let site = Site::start().await;
    let mut browser = site.logged_in().await;
    *site.server.lie.lock().unwrap() = Lie::NoKeys;
    site.server.announce("sub", "alice").await.is_put_off();
    assert!(browser.is_logged_in().await);
    *site.server.lie.lock().unwrap() = Lie::None;
    pass(Duration::from_secs(11)).await;
    site.server.announce("sub", "alice").await.is_done();
    assert!(!browser.is_logged_in().await);
}

#[tokio::test]
async fn keys_that_cannot_be_fetched_are_not_asked_for_by_every_stranger() {
    let site = Site::start().await;
    let server = &site.server;
    let asked = || *server.fetched.lock().unwrap();
    *server.lie.lock().unwrap() = Lie::NoKeys;
    for _ in 0..2 {
        let (before, begun) = (asked(), time::Instant::now());
        for _ in 0..20 {
            server.announce("sub", "nobody").await.is_put_off();
        }
        let fetches = asked() - before;
        assert!((1..=most_fetches(begun)).contains(&fetches), "{fetches}");
        pass(Duration::from_secs(11)).await;
    }
    *server.lie.lock().unwrap() = Lie::None;
    let before = asked();
    server.announce("sub", "nobody").await.is_done();
    assert_eq!(asked(), before + 1);
}

/// Returns the most fetches of keys that strangers can have caused since then: one, and one more after each rest.
fn most_fetches(since: time::Instant) -> usize {
    1 + usize::try_from(since.elapsed().as_secs() / KEYS_REST.as_secs()).unwrap()
}

#[tokio::test]
async fn a_token_that_the_kept_keys_verify_waits_for_no_fetch() {
    let site = Site::start().await;
    let server = &site.server;
    let mut browser = site.logged_in().await;
    server.announce("sub", "nobody").await.is_done();
    pass(Duration::from_secs(11)).await;

    let before = *server.fetched.lock().unwrap();
    *server.lie.lock().unwrap() = Lie::LateKeys;
    server.gate.forget_permits(1000);
    let mut claims = server.claims();
    claims["sub"] = json!("alice");
    let forged = server.sign_with_another_key(&server.header(), &claims);
    let (refused, ()) = tokio::join!(server.post(&forged), async {
        while *server.fetched.lock().unwrap() == before {
            tokio::task::yield_now().await;
        }
        let announced = server.announce("sub", "alice");
        time::timeout(Duration::from_secs(60), announced).await.unwrap().is_done();
        server.gate.add_permits(1000);
    });
    assert!(refused.refused().contains("no key"));
    assert!(!browser.is_logged_in().await);
}

#[tokio::test]
async fn a_fetch_of_keys_goes_on_when_its_caller_hangs_up() {
    let site = Site::start().await;
    let server = &site.server;
    let asked = || *server.fetched.lock().unwrap();
    *server.lie.lock().unwrap() = Lie::LateKeys;
    server.gate.forget_permits(1000);
    let mut claims = server.claims();
    claims["sub"] = json!("nobody");
    hang_up(&site, &server.sign(&server.header(), &claims), || asked() == 1).await;
    server.gate.add_permits(1000);
    server.announce("sub", "nobody").await.is_done();
    assert_eq!(asked(), 1);
}

#[tokio::test]
async fn a_logout_whose_provider_hangs_up_is_done() {
    for member in ["sid", "sub"] {
        let site = Site::start().await;
        let mut browser = site.logged_in().await;
        let token = site.server.logout_token(member);
        site.store.gate.forget_permits(1000);
        hang_up(&site, &token, || site.store.removals.load(Ordering::Relaxed) == 1).await;
        site.store.gate.add_permits(1000);
        is_logged_out_soon(&mut browser).await;
        assert!(site.server.post(&token).await.refused().contains("sent before"), "{member}");
    }
}

/// Waits until the session of this browser has ended.
async fn is_logged_out_soon(browser: &mut Browser<'_>) {
    let ended = async {
        while browser.is_logged_in().await {
            tokio::task::yield_now().await;
        }
    };
    time::timeout(Duration::from_secs(60), ended).await.unwrap();
}

/// Sends a logout token, and hangs up once the application has come so far.
async fn hang_up(site: &Site, token: &str, so_far: impl Fn() -> bool) {
    let request = Request::post("/backchannel-logout")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(format!("logout_token={token}")))
        .unwrap();
    let come = async {
        while !so_far() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = site.app.clone().oneshot(request) => panic!("{answer:?}"),
        () = come => {}
    }
}

#[tokio::test]
async fn changed_keys_of_the_provider_are_fetched_and_not_for_every_stranger() {
    let site = Site::start().await;
    let server = &site.server;
    let fetched = || *server.fetched.lock().unwrap();
    let good = || {
        let mut claims = server.claims();
        claims["sub"] = json!("alice");
        (server.header(), claims)
    };
    let (header, claims) = good();
    let of_the_old_key = server.sign(&header, &claims);
    let begun = time::Instant::now();
    server.announce("sub", "nobody").await.is_done();
    assert_eq!(fetched(), 1);
    for _ in 0..20 {
        let (header, claims) = good();
        server.post(&server.sign_with_another_key(&header, &claims)).await.refused();
    }
    assert!(fetched() <= most_fetches(begun), "{}", fetched());

    server.rotate();
    pass(Duration::from_secs(11)).await;
    let mut browser = site.logged_in().await;
    let before = fetched();
    server.announce("sid", &server.session()).await.is_done();
    assert!(!browser.is_logged_in().await);
    assert_eq!(fetched(), before + 1);
    server.announce("sub", "nobody").await.is_done();
    assert_eq!(fetched(), before + 1);
    assert!(server.post(&of_the_old_key).await.refused().contains("no key"));

    // A key that the provider has withdrawn, without a signature by its next one.
    let (header, claims) = good();
    let of_the_second_key = server.sign(&header, &claims);
    server.rotate();
    pass(Duration::from_secs(601)).await;
    assert!(server.post(&of_the_second_key).await.refused().contains("no key"));
}

/// Moves the clock that the age of the keys is measured by.
async fn pass(time: Duration) {
    time::pause();
    time::advance(time).await;
    time::resume();
}

#[tokio::test]
async fn a_login_that_the_providers_logout_overtakes_is_refused() {
    for member in ["sid", "sub"] {
        let site = Site::start().await;
        let gate = &site.server.gate;
        gate.forget_permits(1000);
        let mut browser = site.browser();
        let back = browser.log_in_at_the_provider().await;
        let sid = site.server.session();
        let name = if member == "sid" { &sid } else { "alice" };
        // The ID token is made, and does not arrive before the logout is done.
        let (answer, ()) = tokio::join!(browser.get(&back), async {
            while *site.server.redeemed.lock().unwrap() < 1 {
                tokio::task::yield_now().await;
            }
            site.server.announce(member, name).await.is_done();
            gate.add_permits(1000);
        });
        assert_eq!(answer.0, StatusCode::FORBIDDEN, "{member}: {}", answer.1);
        assert!(!browser.is_logged_in().await);
        assert_eq!(site.manager.sessions_of("alice").await.unwrap().len(), 0);
    }
}

#[tokio::test]
async fn a_logout_here_goes_on_to_the_provider_which_ends_its_other_sessions() {
    let site = Site::start().await;
    let mut browser = site.logged_in().await;
    let mut twin = Browser { cookie: String::new(), ..browser.clone() };
    twin.log_in().await;
    let (status, url) = browser.send(Request::post("/logout")).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert!(!browser.is_logged_in().await, "here it has ended by now");
    assert!(twin.is_logged_in().await);

    assert!(url.starts_with(&format!("{}/logout?", site.server.base)), "{url}");
    assert_eq!(browser.visit_the_provider(&url).await, "http://localhost:3000/");
    assert_eq!(site.server.sessions(), [""; 0]);
    assert!(!twin.is_logged_in().await);
    let replies = site.server.replies.lock().unwrap();
    let [reply] = &replies[..] else { panic!("{replies:?}") };
    reply.is_done();
}

#[tokio::test]
async fn a_logout_here_holds_when_the_provider_does_not_answer() {
    let site = Site::start().await;
    let mut browser = site.logged_in().await;
    *site.server.lie.lock().unwrap() = Lie::NoKeys;
    assert_eq!(browser.send(Request::post("/logout")).await, (StatusCode::SEE_OTHER, "/".to_owned()));
    assert!(!browser.is_logged_in().await);
    // Nobody was logged in.
    assert_eq!(browser.send(Request::post("/logout")).await, (StatusCode::SEE_OTHER, "/".to_owned()));
}

#[tokio::test]
async fn a_logout_here_does_not_wait_for_the_provider() {
    let site = Site::start().await;
    let mut browser = site.logged_in().await;
    let mut copy = browser.clone();
    *site.server.lie.lock().unwrap() = Lie::LateKeys;
    site.server.gate.forget_permits(1000);
    let (answer, ()) = tokio::join!(browser.send(Request::post("/logout")), async {
        is_logged_out_soon(&mut copy).await;
        site.server.gate.add_permits(1000);
    });
    assert!(answer.1.starts_with(&site.server.base), "{answer:?}");
}

#[tokio::test]
async fn an_id_token_of_8_kb_does_not_go_into_the_address_of_the_logout() {
    let site = Site::start().await;
    let mut browser = site.browser();
    *site.server.lie.lock().unwrap() = Lie::Groups;
    browser.log_in().await;
    let (status, url) = browser.send(Request::post("/logout")).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert!(url.starts_with(&format!("{}/logout?client_id={CLIENT}&", site.server.base)), "{url}");
    assert!(url.len() < 200 && !url.contains("id_token_hint"), "{url}");
    assert!(!browser.is_logged_in().await);
}
