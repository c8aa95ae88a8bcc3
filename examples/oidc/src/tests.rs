//! The way of a user through the example, against a provider of the tests' own.

mod logout;
mod provider;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use openidconnect::AsyncHttpClient;
use secure_sessions_axum::store::{Bucket, Revision, SessionId, Tombstone, Which, forward_methods};
use secure_sessions_axum::{SessionStore, StoreError, testing};
use tokio::sync::Semaphore;
use tower::ServiceExt;

use self::provider::{CLIENT, Lie, SECRET, Server};
use super::*;

const CALLBACK: &str = "http://localhost:3000/callback";

/// A store in memory that can be down, slow, or silent about what it has done.
#[derive(Clone)]
struct Store {
    memory: MemoryStore,
    down: Arc<AtomicBool>,
    /// `true` if the answer to the next renewal gets lost.
    silent: Arc<AtomicBool>,
    /// Each removal of several sessions takes one permit, and waits for it.
    gate: Arc<Semaphore>,
    /// The number of removals that came to the gate.
    removals: Arc<AtomicUsize>,
}

impl Store {
    fn new() -> Self {
        Self {
            memory: MemoryStore::new(),
            down: Arc::default(),
            silent: Arc::default(),
            gate: Arc::new(Semaphore::new(1000)),
            removals: Arc::default(),
        }
    }

    fn up(&self) -> Result<&MemoryStore, StoreError> {
        if self.down.load(Ordering::Relaxed) { Err(StoreError::Timeout) } else { Ok(&self.memory) }
    }
}

impl SessionStore for Store {
    forward_methods!(self => self.up()?; insert, load, replace, remove, list, count, purge_expired);

    async fn renew_into(
        &self,
        bucket: &Bucket,
        old: &SessionId,
        expected: Revision,
        tombstone: Tombstone,
    ) -> Result<bool, StoreError> {
        let renewed = self.up()?.renew_into(bucket, old, expected, tombstone).await?;
        if self.silent.swap(false, Ordering::Relaxed) { Err(StoreError::Timeout) } else { Ok(renewed) }
    }

    async fn remove_all(&self, which: Which<'_>, except: Option<&SessionId>) -> Result<u64, StoreError> {
        self.removals.fetch_add(1, Ordering::Relaxed);
        self.gate.acquire().await.unwrap().forget();
        self.up()?.remove_all(which, except).await
    }
}

struct Site {
    app: Router,
    manager: SessionManager,
    store: Store,
    server: Arc<Server>,
    /// The provider as the browser reaches it.
    provider: Provider,
}

impl Site {
    async fn start() -> Self {
        let server = Server::start().await;
        let store = Store::new();
        let builder = SessionManager::builder(Keyring::generate().unwrap(), store.clone()).vault(store.memory.clone());
        let manager = builder.insecure_dev().build().unwrap();
        let mut provider = Provider::new(
            IssuerUrl::new(server.base.clone()).unwrap(),
            ClientId::new(CLIENT.to_owned()),
            ClientSecret::new(SECRET.to_owned()),
            RedirectUrl::new(CALLBACK.to_owned()).unwrap(),
        )
        .unwrap();
        // Several tests have the provider wait for what they do meanwhile, and a busy machine takes its time for that.
        provider.patience = Duration::from_secs(120);
        let app = app(manager.clone(), provider.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        *server.logout_uri.lock().unwrap() = format!("http://{address}/backchannel-logout");
        tokio::spawn(serve(listener, app.clone()).into_future());
        Self { app, manager, store, server, provider }
    }

    fn browser(&self) -> Browser<'_> {
        Browser { site: self, cookie: String::new(), at_the_provider: String::new() }
    }

    /// Returns a browser in which alice has logged in.
    async fn logged_in(&self) -> Browser<'_> {
        let mut browser = self.browser();
        browser.log_in().await;
        browser
    }
}

/// A browser with one cookie here, and one at the provider.
#[derive(Clone)]
struct Browser<'s> {
    site: &'s Site,
    cookie: String,
    at_the_provider: String,
}

/// An answer's status, and its text or the address that it redirects to.
type Answered = (StatusCode, String);

fn cookie(set: &header::HeaderValue) -> String {
    set.to_str().unwrap().split(';').next().unwrap().to_owned()
}

impl Browser<'_> {
    async fn send(&mut self, request: axum::http::request::Builder) -> Answered {
        let request = request.header(header::COOKIE, &self.cookie).body(Body::empty()).unwrap();
        let response = self.site.app.clone().oneshot(request).await.unwrap();
        if let Some(set) = response.headers().get(header::SET_COOKIE) {
            self.cookie = cookie(set);
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
        let back = self.visit_the_provider(&url).await;
        assert!(back.starts_with(CALLBACK), "{back}");
        back
    }

    /// Returns the address that the provider redirects the browser to.
    async fn visit_the_provider(&mut self, url: &str) -> String {
        let request = Request::get(url).header(header::COOKIE, &self.at_the_provider).body(Vec::new()).unwrap();
        let response = self.site.provider.call(request).await.unwrap();
        if let Some(set) = response.headers().get(header::SET_COOKIE) {
            self.at_the_provider = cookie(set);
        }
        response.headers()[header::LOCATION].to_str().unwrap().to_owned()
    }

    async fn log_in(&mut self) {
        let back = self.log_in_at_the_provider().await;
        assert_eq!(self.get(&back).await, (StatusCode::SEE_OTHER, "/".to_owned()));
        assert!(self.is_logged_in().await);
    }

    async fn is_logged_in(&mut self) -> bool {
        self.home().await.contains("Hello alice.")
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
async fn tokens_of_8_kb_stay_in_the_session_and_call_the_provider() {
    let site = Site::start().await;
    let mut browser = site.browser();
    assert_eq!(browser.get("/profile").await.0, StatusCode::UNAUTHORIZED);
    let back = browser.log_in_at_the_provider().await;
    browser.get(&back).await;
    assert_eq!(browser.get("/profile").await, (StatusCode::OK, "alice@example.org".to_owned()));
    assert!(browser.cookie.len() < 1000, "the cookie has {} bytes", browser.cookie.len());
    let tokens: Tokens = {
        let session = testing::look(&site.manager, &browser.cookie).await.unwrap();
        session.vault().get(TOKENS).await.unwrap().unwrap()
    };
    assert!(tokens.access.secret().len() > 8000 && tokens.refresh.is_some());
    // They went with the session.
    browser.send(Request::post("/logout")).await;
    assert_eq!(browser.get("/profile").await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn tokens_that_cannot_be_kept_leave_nobody_logged_in() {
    let site = Site::start().await;
    *site.server.lie.lock().unwrap() = Lie::Huge;
    let mut browser = site.browser();
    let back = browser.log_in_at_the_provider().await;
    assert_eq!(browser.get(&back).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(!browser.is_logged_in().await);
    assert_eq!(site.manager.sessions_of("alice").await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_login_that_the_store_did_not_confirm_logs_nobody_in() {
    let site = Site::start().await;
    let mut browser = site.browser();
    let back = browser.log_in_at_the_provider().await;
    site.store.silent.store(true, Ordering::Relaxed);
    assert_eq!(browser.get(&back).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!browser.is_logged_in().await);
    assert_eq!(site.manager.sessions_of("alice").await.unwrap().len(), 0);
    // The next one is like any other.
    browser.log_in().await;
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
