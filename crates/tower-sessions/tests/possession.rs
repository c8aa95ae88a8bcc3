//! A client whose bearer token is bound to its key by DPoP, at an application of tower-sessions.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use axum::routing::get;
use forge::device::Device;
use secure_sessions_axum::{Aead, Keyring, MemoryStore, SessionLayer, SessionManager};
use secure_sessions_tower_sessions::v0_15::TowerSessionsLayer;
use tower::ServiceExt;
use tower_sessions::Session;

const TOKEN: &str = "session-token";
const ORIGIN: &str = "https://api.example.org";

fn application() -> Router {
    let builder = SessionManager::builder(Keyring::generate().unwrap(), MemoryStore::new());
    let manager = builder.aead(Aead::Ring).bearer().cookies(false).dpop([ORIGIN]).build().unwrap();
    let failed = |_| StatusCode::INTERNAL_SERVER_ERROR;
    let read = async move |session: Session| {
        session.get::<String>("subject").await.map(Option::unwrap_or_default).map_err(failed)
    };
    let fails = async |session: Session| {
        session.get::<String>("subject").await.unwrap();
        StatusCode::SERVICE_UNAVAILABLE
    };
    let log_in = async move |session: Session| session.insert("subject", "alice").await.map_err(failed);
    let saves = async move |session: Session| {
        session.insert("subject", "bob").await.map_err(failed)?;
        session.save().await.map_err(failed)
    };
    let routes = Router::new()
        .route("/login", get(log_in))
        .route("/saves", get(saves))
        .route("/read", get(read))
        .route("/fails", get(fails))
        .route("/ignores", get(async |session: Session| session.get::<String>("subject").await.is_err().to_string()))
        .route("/unseen", get(async || "unseen"));
    let sessions = TowerSessionsLayer::new().with_subject(|data| Some(data.get("subject")?.as_str()?.to_owned()));
    routes.layer((SessionLayer::new(manager), sessions))
}

struct Client {
    app: Router,
    device: Device,
    token: Option<String>,
    nonce: String,
}

impl Client {
    /// Sends a request with a proof over the nonce that the client has.
    async fn get(&mut self, path: &str) -> Response<Body> {
        let proof = self.device.dpop("GET", &format!("{ORIGIN}{path}"), &self.nonce, self.token.as_deref());
        let mut request = Request::get(path).header("dpop", proof);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("DPoP {token}"));
        }
        let response = self.app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        if let Some(token) = response.headers().get(TOKEN) {
            self.token = Some(token.to_str().unwrap().to_owned());
        }
        response
    }

    /// Sends a request twice, as clients do that have no nonce: the first one is refused, and brings it.
    async fn get_with_nonce(&mut self, path: &str) -> Response<Body> {
        "".clone_into(&mut self.nonce);
        let refused = self.get(path).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{path}");
        let challenge = refused.headers()["www-authenticate"].to_str().unwrap();
        assert_eq!(challenge, r#"DPoP error="use_dpop_nonce", algs="ES256""#, "{path}");
        assert!(!refused.headers().contains_key(TOKEN), "{path}");
        self.nonce = refused.headers()["dpop-nonce"].to_str().unwrap().to_owned();
        self.get(path).await
    }
}

#[tokio::test]
async fn a_client_gets_its_nonce_wherever_a_handler_meets_the_refused_session() {
    let mut client = Client { app: application(), device: Device::new(&[1; 32]), token: None, nonce: String::new() };
    assert_eq!(client.get_with_nonce("/saves").await.status(), StatusCode::OK);
    assert_eq!(client.get_with_nonce("/login").await.status(), StatusCode::OK);
    for _ in 0..2 {
        let read = client.get_with_nonce("/read").await;
        assert_eq!(read.status(), StatusCode::OK);
        assert_eq!(axum::body::to_bytes(read.into_body(), 100).await.unwrap(), "alice");
    }
    // With a good proof a handler's own failure stays, and so does the answer of one that goes on without its session.
    assert_eq!(client.get("/fails").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    "".clone_into(&mut client.nonce);
    assert_eq!(client.get("/ignores").await.status(), StatusCode::OK);
    assert_eq!(client.get("/unseen").await.status(), StatusCode::OK);
}
