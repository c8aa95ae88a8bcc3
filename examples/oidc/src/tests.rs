//! The way of a user through the example, against a provider of the tests' own.

mod provider;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use openidconnect::AsyncHttpClient;
use secure_sessions_axum::testing;
use tower::ServiceExt;

use self::provider::{CLIENT, Lie, SECRET, Server};
use super::*;

const CALLBACK: &str = "http://localhost:3000/callback";

struct Site {
    app: Router,
    manager: SessionManager,
    server: Arc<Server>,
    /// The provider as the browser reaches it.
    provider: Provider,
}

impl Site {
    async fn start() -> Self {
        let server = Server::start().await;
        let (manager, _clock) = testing::manager();
        let provider = Provider::new(
            IssuerUrl::new(server.base.clone()).unwrap(),
            ClientId::new(CLIENT.to_owned()),
            ClientSecret::new(SECRET.to_owned()),
            RedirectUrl::new(CALLBACK.to_owned()).unwrap(),
        )
        .unwrap();
        Self { app: app(manager.clone(), provider.clone()), manager, server, provider }
    }

    fn browser(&self) -> Browser<'_> {
        Browser { site: self, cookie: String::new() }
    }
}

/// A browser with one cookie.
#[derive(Clone)]
struct Browser<'s> {
    site: &'s Site,
    cookie: String,
}

/// An answer's status, and its text or the address that it redirects to.
type Answered = (StatusCode, String);

impl Browser<'_> {
    async fn send(&mut self, request: axum::http::request::Builder) -> Answered {
        let request = request.header(header::COOKIE, &self.cookie).body(Body::empty()).unwrap();
        let response = self.site.app.clone().oneshot(request).await.unwrap();
        if let Some(set) = response.headers().get(header::SET_COOKIE) {
            self.cookie = set.to_str().unwrap().split(';').next().unwrap().to_owned();
        }
        let status = response.status();
        if let Some(location) = response.headers().get(header::LOCATION) {
            return (status, location.to_str().unwrap().to_owned());
        }
        (status, String::from_utf8(to_bytes(response.into_body(), 100_000).await.unwrap().into()).unwrap())
    }

    async fn get(&mut self, url: &str) -> Answered {
        self.send(Request::get(url)).await
    }

    async fn home(&mut self) -> String {
        self.get("/").await.1
    }

    /// Starts a login, and goes to the provider. Returns the address that the provider sends the browser back to.
    async fn log_in_at_the_provider(&mut self) -> String {
        let (status, url) = self.send(Request::post("/login")).await;
        assert_eq!(status, StatusCode::SEE_OTHER, "{url}");
        let request = Request::get(&url).body(Vec::new()).unwrap();
        let response = self.site.provider.call(request).await.unwrap();
        let back = response.headers()[header::LOCATION].to_str().unwrap().to_owned();
        assert!(back.starts_with(CALLBACK), "{back}");
        back
    }
}

#[tokio::test]
async fn the_providers_user_is_logged_in_with_a_new_id_and_its_time() {
    let site = Site::start().await;
    let mut browser = site.browser();
    let back = browser.log_in_at_the_provider().await;
    let mut before = browser.clone();
    assert_eq!(browser.get(&back).await, (StatusCode::SEE_OTHER, "/".to_owned()));
    assert!(browser.home().await.contains("Hello alice."));
    // The login moved the session to a new id.
    assert!(!before.home().await.contains("Hello"));
    assert_eq!(site.manager.sessions_of("alice").await.unwrap().len(), 1);

    browser.send(Request::post("/logout")).await;
    assert!(!browser.home().await.contains("Hello"));
}

#[tokio::test]
async fn an_answer_that_comes_again_is_refused_also_with_the_old_cookie() {
    let site = Site::start().await;
    let mut browser = site.browser();
    let back = browser.log_in_at_the_provider().await;
    let mut before = browser.clone();
    browser.get(&back).await;
    assert_eq!(browser.get(&back).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(before.get(&back).await.0, StatusCode::BAD_REQUEST);
    assert!(browser.home().await.contains("Hello alice."), "the login itself stays");
    assert_eq!(*site.server.redeemed.lock().unwrap(), 1);
}

#[tokio::test]
async fn of_two_answers_at_the_same_time_one_redeems_the_code() {
    let site = Site::start().await;
    let gate = &site.server.gate;
    gate.forget_permits(1000);
    let mut browser = site.browser();
    let back = browser.log_in_at_the_provider().await;
    let (mut one, mut other) = (browser.clone(), browser);
    // The first answer waits at the token endpoint until the second one has been refused, or has come there too.
    let redeemed = async |codes: usize| {
        while *site.server.redeemed.lock().unwrap() < codes {
            tokio::task::yield_now().await;
        }
    };
    let (first, second) = tokio::join!(one.get(&back), async {
        redeemed(1).await;
        let refused = tokio::select! {
            answer = other.get(&back) => Some(answer.0),
            () = redeemed(2) => None,
        };
        gate.add_permits(1000);
        refused
    });
    assert_eq!((first.0, second), (StatusCode::SEE_OTHER, Some(StatusCode::BAD_REQUEST)));
}

#[tokio::test]
async fn an_answer_to_another_browsers_login_logs_nobody_in() {
    let site = Site::start().await;
    // Mallory logs in at the provider, and gets alice to open the address.
    let back = site.browser().log_in_at_the_provider().await;
    let mut stranger = site.browser();
    assert_eq!(stranger.get(&back).await.0, StatusCode::BAD_REQUEST);

    let mut alice = site.browser();
    let own = alice.log_in_at_the_provider().await;
    assert_eq!(alice.get(&back).await.0, StatusCode::BAD_REQUEST);
    assert!(!alice.home().await.contains("Hello"));
    // Her own login goes on.
    assert_eq!(alice.get(&own).await.0, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_code_that_was_given_to_another_login_is_refused_by_pkce() {
    let site = Site::start().await;
    let stolen = site.browser().log_in_at_the_provider().await;
    let code = |back: &str| back.split(['=', '&']).nth(1).unwrap().to_owned();
    let mut browser = site.browser();
    let back = browser.log_in_at_the_provider().await;
    let injected = back.replace(&code(&back), &code(&stolen));
    assert_eq!(browser.get(&injected).await.0, StatusCode::BAD_GATEWAY);
    assert!(!browser.home().await.contains("Hello"));
}

#[tokio::test]
async fn an_id_token_that_is_not_for_this_login_is_refused() {
    let site = Site::start().await;
    for lie in [Lie::Nonce, Lie::Audience, Lie::Key, Lie::AccessToken] {
        *site.server.lie.lock().unwrap() = lie;
        let mut browser = site.browser();
        let back = browser.log_in_at_the_provider().await;
        assert_eq!(browser.get(&back).await.0, StatusCode::BAD_GATEWAY, "{lie:?}");
        assert!(!browser.home().await.contains("Hello"), "{lie:?}");
    }
}

#[tokio::test]
async fn a_login_that_the_provider_refuses_is_used_up() {
    let site = Site::start().await;
    let mut browser = site.browser();
    let back = browser.log_in_at_the_provider().await;
    let state = back.rsplit('=').next().unwrap();
    let refusal = format!("/callback?error=access_denied&state={state}");
    assert_eq!(browser.get(&refusal).await.0, StatusCode::FORBIDDEN);
    assert_eq!(browser.get(&back).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_time_of_the_login_is_the_providers() {
    let site = Site::start().await;
    let mut browser = site.browser();
    let back = browser.log_in_at_the_provider().await;
    browser.get(&back).await;
    let probe = Router::new().route(
        "/",
        get(async |session: Session| -> Result<&'static str, SessionError> {
            session.require_recent_auth(Duration::from_secs(30))?;
            Ok("recent")
        }),
    );
    let probe = probe.layer(SessionLayer::new(site.manager.clone()));
    let request = Request::get("/").header(header::COOKIE, &browser.cookie).body(Body::empty()).unwrap();
    assert_eq!(probe.oneshot(request).await.unwrap().status(), StatusCode::FORBIDDEN);
}
