//! The way of a user through the example, with 1Password's software authenticator in the place of the browser's.

mod browser;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use passkey_authenticator::{Authenticator, MemoryStore as Passkeys, UiHint, UserCheck, UserValidationMethod};
use passkey_client::{Client, DefaultClientData};
use passkey_crypto::rust_crypto::RustCryptoBackend;
use passkey_types::Passkey;
use passkey_types::ctap2::{Aaguid, Ctap2Error};
use passkey_types::webauthn::{CredentialCreationOptions, CredentialRequestOptions};
use public_suffix::PublicSuffixList;
use secure_sessions_axum::{ManualClock, testing};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;

const ORIGIN: &str = "http://localhost:3000";

/// Touches the authenticator and passes its fingerprint reader, whenever it asks.
struct Finger;

#[async_trait::async_trait]
impl UserValidationMethod for Finger {
    type PasskeyItem = Passkey;

    async fn check_user<'a>(&self, _: UiHint<'a, Passkey>, _: bool, _: bool) -> Result<UserCheck, Ctap2Error> {
        Ok(UserCheck { presence: true, verification: true })
    }

    fn is_presence_enabled(&self) -> bool {
        true
    }

    fn is_verification_enabled(&self) -> Option<bool> {
        Some(true)
    }
}

fn start() -> (Router, ManualClock) {
    let (manager, clock) = testing::manager();
    (app(manager, &Url::parse(ORIGIN).unwrap()).unwrap(), clock)
}

/// A browser with one cookie.
#[derive(Clone)]
struct Browser {
    site: Router,
    cookie: String,
}

impl Browser {
    fn new(site: &Router) -> Self {
        Self { site: site.clone(), cookie: String::new() }
    }

    async fn send(&mut self, request: Request<Body>) -> (StatusCode, String) {
        let response = self.site.clone().oneshot(request).await.unwrap();
        if let Some(set) = response.headers().get(header::SET_COOKIE) {
            self.cookie = set.to_str().unwrap().split(';').next().unwrap().to_owned();
        }
        let status = response.status();
        (status, String::from_utf8(to_bytes(response.into_body(), 100_000).await.unwrap().into()).unwrap())
    }

    async fn post(&mut self, path: &str, body: &Value) -> (StatusCode, String) {
        let request = Request::post(path).header(header::COOKIE, &self.cookie);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    async fn home(&mut self) -> String {
        self.send(Request::get("/").header(header::COOKIE, &self.cookie).body(Body::empty()).unwrap()).await.1
    }
}

/// A user's device.
struct Device(Client<Passkeys, Finger, RustCryptoBackend, PublicSuffixList, ()>);

impl Device {
    fn new() -> Self {
        let authenticator = Authenticator::new(Aaguid::new_empty(), Passkeys::new(), Finger, RustCryptoBackend);
        Self(Client::new(authenticator).allows_insecure_localhost(true))
    }

    async fn register(&mut self, browser: &mut Browser, name: &str) -> (StatusCode, String) {
        let (status, challenge) = browser.post("/register/start", &json!({ "name": name })).await;
        assert_eq!(status, StatusCode::OK, "{challenge}");
        let challenge: CredentialCreationOptions = serde_json::from_str(&challenge).unwrap();
        let passkey = self.0.register(&Url::parse(ORIGIN).unwrap(), challenge, DefaultClientData).await.unwrap();
        browser.post("/register/finish", &serde_json::to_value(passkey).unwrap()).await
    }

    /// The answer to the challenge that a path gives.
    async fn answer(&mut self, browser: &mut Browser, path: &str, body: &Value) -> Value {
        let (status, challenge) = browser.post(path, body).await;
        assert_eq!(status, StatusCode::OK, "{challenge}");
        let challenge: CredentialRequestOptions = serde_json::from_str(&challenge).unwrap();
        let answer = self.0.authenticate(&Url::parse(ORIGIN).unwrap(), challenge, DefaultClientData).await.unwrap();
        serde_json::to_value(answer).unwrap()
    }
}

/// A device and a browser of alice, who has registered and logged out.
async fn alice(site: &Router) -> (Device, Browser) {
    let (mut device, mut browser) = (Device::new(), Browser::new(site));
    assert_eq!(device.register(&mut browser, "alice").await.0, StatusCode::NO_CONTENT);
    browser.post("/logout", &Value::Null).await;
    (device, browser)
}

#[tokio::test]
async fn a_passkey_registers_logs_out_and_logs_in_again() {
    let (site, _clock) = start();
    let (mut device, mut browser) = (Device::new(), Browser::new(&site));
    assert_eq!(device.register(&mut browser, "alice").await, (StatusCode::NO_CONTENT, String::new()));
    assert!(browser.home().await.contains("alice</b>"));

    browser.post("/logout", &Value::Null).await;
    assert!(!browser.home().await.contains("Hello"));

    let answer = device.answer(&mut browser, "/login/start", &json!({ "name": "alice" })).await;
    let before = browser.clone();
    assert_eq!(browser.post("/login/finish", &answer).await, (StatusCode::NO_CONTENT, String::new()));
    assert!(browser.home().await.contains("alice</b>"));
    // The login moved the session to a new id.
    assert!(!before.clone().home().await.contains("Hello"));
}

#[tokio::test]
async fn an_answered_challenge_is_used_up_also_with_the_cookie_from_before() {
    let (site, _clock) = start();
    let (mut device, mut browser) = alice(&site).await;
    let answer = device.answer(&mut browser, "/login/start", &json!({ "name": "alice" })).await;
    let mut before = browser.clone();
    assert_eq!(browser.post("/login/finish", &answer).await.0, StatusCode::NO_CONTENT);
    assert_eq!(browser.post("/login/finish", &answer).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(before.post("/login/finish", &answer).await.0, StatusCode::BAD_REQUEST);
    assert!(!before.home().await.contains("Hello"));
}

#[tokio::test]
async fn an_answer_that_arrives_twice_at_once_logs_in_once() {
    let (site, _clock) = start();
    let (mut device, mut browser) = alice(&site).await;
    let answer = device.answer(&mut browser, "/login/start", &json!({ "name": "alice" })).await;
    let (mut one, mut other) = (browser.clone(), browser);
    let (one, other) = tokio::join!(one.post("/login/finish", &answer), other.post("/login/finish", &answer));
    let mut statuses = [one.0, other.0];
    statuses.sort();
    assert_eq!(statuses, [StatusCode::NO_CONTENT, StatusCode::BAD_REQUEST]);
}

#[tokio::test]
async fn a_challenge_that_failed_is_used_up_too() {
    let (site, _clock) = start();
    let (mut device, mut browser) = alice(&site).await;
    let answer = device.answer(&mut browser, "/login/start", &json!({ "name": "alice" })).await;
    let mut forged = answer.clone();
    forged["response"]["signature"] = json!("AAAA");
    assert_eq!(browser.post("/login/finish", &forged).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(browser.post("/login/finish", &answer).await.0, StatusCode::BAD_REQUEST);
    assert!(!browser.home().await.contains("Hello"));
}

#[tokio::test]
async fn an_account_closes_only_after_a_recent_authentication() {
    let (site, clock) = start();
    let (mut device, mut browser) = (Device::new(), Browser::new(&site));
    device.register(&mut browser, "alice").await;
    clock.advance(RECENT + Duration::from_secs(1));
    assert_eq!(browser.post("/close", &Value::Null).await.0, StatusCode::FORBIDDEN);
    assert!(browser.home().await.contains("alice</b>"));

    let answer = device.answer(&mut browser, "/confirm/start", &Value::Null).await;
    // A challenge to confirm is none to log in.
    assert_eq!(browser.post("/login/finish", &answer).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(browser.post("/confirm/finish", &answer).await.0, StatusCode::NO_CONTENT);
    assert_eq!(browser.post("/close", &Value::Null).await.0, StatusCode::NO_CONTENT);
    assert!(!browser.home().await.contains("Hello"));
    assert_eq!(browser.post("/login/start", &json!({ "name": "alice" })).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn another_users_passkey_does_not_log_in_as_alice() {
    let (site, _clock) = start();
    let (_, mut browser) = alice(&site).await;
    let mut mallory = Device::new();
    mallory.register(&mut Browser::new(&site), "mallory").await;
    let (_, challenge) = browser.post("/login/start", &json!({ "name": "alice" })).await;
    let mut challenge: Value = serde_json::from_str(&challenge).unwrap();
    // Mallory's authenticator is told that any of its passkeys will do.
    let own = mallory.0.authenticator().store().keys().next().unwrap().clone();
    challenge["publicKey"]["allowCredentials"][0]["id"] =
        serde_json::to_value(passkey_types::Bytes::from(own)).unwrap();
    let challenge: CredentialRequestOptions = serde_json::from_value(challenge).unwrap();
    let answer = mallory.0.authenticate(&Url::parse(ORIGIN).unwrap(), challenge, DefaultClientData).await.unwrap();
    let answer = serde_json::to_value(answer).unwrap();
    assert_eq!(browser.post("/login/finish", &answer).await.0, StatusCode::BAD_REQUEST);
    assert!(!browser.home().await.contains("Hello"));
}
