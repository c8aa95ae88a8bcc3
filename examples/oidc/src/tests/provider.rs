//! A small identity provider: discovery, keys, an authorization endpoint that asks nobody, and a token endpoint that
//! checks the code, the client and PKCE. It lies if it is told to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Form, Query, State};
use axum::http::StatusCode;
use axum::response::Redirect;
use axum::routing::{get, post};
use axum::{Json, Router};
use openidconnect::core::{
    CoreEdDsaPrivateSigningKey, CoreIdToken, CoreIdTokenClaims, CoreIdTokenFields, CoreJsonWebKeySet,
    CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreResponseType, CoreSubjectIdentifierType, CoreTokenResponse,
    CoreTokenType,
};
use openidconnect::{
    AccessToken, Audience, AuthUrl, EmptyAdditionalClaims, EmptyAdditionalProviderMetadata, EmptyExtraTokenFields,
    IssuerUrl, JsonWebKeyId, JsonWebKeySetUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier, PrivateSigningKey,
    ResponseTypes, StandardClaims, SubjectIdentifier, TokenUrl,
};
use rcgen::{KeyPair, PKCS_ED25519};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

pub(crate) const CLIENT: &str = "shop";
pub(crate) const SECRET: &str = "between the shop and the provider";

/// The flaw of the next ID tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Lie {
    None,
    /// The token answers another login.
    Nonce,
    /// The token is for another application.
    Audience,
    /// The token is signed with a key that the provider does not list.
    Key,
    /// The access token is another one than the ID token names.
    AccessToken,
}

/// A code that was given out, and what it was asked for with.
struct Grant {
    nonce: Nonce,
    challenge: String,
    redirect_uri: String,
}

pub(crate) struct Server {
    pub(crate) base: String,
    key: CoreEdDsaPrivateSigningKey,
    other_key: CoreEdDsaPrivateSigningKey,
    grants: Mutex<HashMap<String, Grant>>,
    pub(crate) lie: Mutex<Lie>,
    /// Each request to the token endpoint takes one permit, and waits for it.
    pub(crate) gate: Semaphore,
    /// The number of codes that came to the token endpoint.
    pub(crate) redeemed: Mutex<usize>,
}

fn key(id: &str) -> CoreEdDsaPrivateSigningKey {
    let pem = KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_pem();
    CoreEdDsaPrivateSigningKey::from_ed25519_pem(&pem, Some(JsonWebKeyId::new(id.to_owned()))).unwrap()
}

impl Server {
    /// Starts a provider whose token endpoint lets everybody through.
    pub(crate) async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Arc::new(Self {
            base: format!("http://{}", listener.local_addr().unwrap()),
            key: key("current"),
            other_key: key("current"),
            grants: Mutex::default(),
            lie: Mutex::new(Lie::None),
            gate: Semaphore::new(1000),
            redeemed: Mutex::new(0),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(configuration))
            .route("/keys", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .with_state(Arc::clone(&server));
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    fn lies(&self) -> Lie {
        *self.lie.lock().unwrap()
    }
}

async fn configuration(State(server): State<Arc<Server>>) -> Json<CoreProviderMetadata> {
    let url = |path: &str| format!("{}{path}", server.base);
    let metadata = CoreProviderMetadata::new(
        IssuerUrl::new(server.base.clone()).unwrap(),
        AuthUrl::new(url("/authorize")).unwrap(),
        JsonWebKeySetUrl::new(url("/keys")).unwrap(),
        vec![ResponseTypes::new(vec![CoreResponseType::Code])],
        vec![CoreSubjectIdentifierType::Public],
        vec![CoreJwsSigningAlgorithm::EdDsa],
        EmptyAdditionalProviderMetadata {},
    );
    Json(metadata.set_token_endpoint(Some(TokenUrl::new(url("/token")).unwrap())))
}

async fn keys(State(server): State<Arc<Server>>) -> Json<CoreJsonWebKeySet> {
    Json(CoreJsonWebKeySet::new(vec![server.key.as_verification_key()]))
}

async fn authorize(State(server): State<Arc<Server>>, Query(asked): Query<HashMap<String, String>>) -> Redirect {
    assert_eq!(asked["client_id"], CLIENT);
    assert_eq!(asked["response_type"], "code");
    assert_eq!(asked["scope"], "openid");
    assert_eq!(asked["code_challenge_method"], "S256");
    let code = openidconnect::CsrfToken::new_random().into_secret();
    let back = format!("{}?code={code}&state={}", asked["redirect_uri"], asked["state"]);
    let grant = Grant {
        nonce: Nonce::new(asked["nonce"].clone()),
        challenge: asked["code_challenge"].clone(),
        redirect_uri: asked["redirect_uri"].clone(),
    };
    server.grants.lock().unwrap().insert(code, grant);
    Redirect::to(&back)
}

async fn token(
    State(server): State<Arc<Server>>,
    headers: axum::http::HeaderMap,
    Form(asked): Form<HashMap<String, String>>,
) -> Result<Json<CoreTokenResponse>, (StatusCode, Json<Value>)> {
    *server.redeemed.lock().unwrap() += 1;
    server.gate.acquire().await.unwrap().forget();
    let refused = |error| (StatusCode::BAD_REQUEST, Json(json!({ "error": error })));
    let expected = openidconnect::http::HeaderValue::from_static(
        // CLIENT and SECRET, each form-encoded (RFC 6749, section 2.3.1), in base64.
        "Basic c2hvcDpiZXR3ZWVuK3RoZStzaG9wK2FuZCt0aGUrcHJvdmlkZXI=",
    );
    if headers.get("authorization") != Some(&expected) {
        return Err(refused("invalid_client"));
    }
    // A code is good for one use.
    let grant = server.grants.lock().unwrap().remove(&asked["code"]).ok_or_else(|| refused("invalid_grant"))?;
    let verifier = PkceCodeVerifier::new(asked["code_verifier"].clone());
    let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
    if challenge.as_str() != grant.challenge || asked["redirect_uri"] != grant.redirect_uri {
        return Err(refused("invalid_grant"));
    }
    Ok(Json(answer(&server, grant.nonce)))
}

fn answer(server: &Server, nonce: Nonce) -> CoreTokenResponse {
    let lie = server.lies();
    let audience = if lie == Lie::Audience { "another shop" } else { CLIENT };
    let nonce = if lie == Lie::Nonce { Nonce::new_random() } else { nonce };
    let key = if lie == Lie::Key { &server.other_key } else { &server.key };
    let access = AccessToken::new("access".to_owned());
    let named = AccessToken::new(if lie == Lie::AccessToken { "another" } else { "access" }.to_owned());
    let now = std::time::SystemTime::now();
    let claims = CoreIdTokenClaims::new(
        IssuerUrl::new(server.base.clone()).unwrap(),
        vec![Audience::new(audience.to_owned())],
        (now + std::time::Duration::from_secs(300)).into(),
        now.into(),
        StandardClaims::new(SubjectIdentifier::new("alice".to_owned())),
        EmptyAdditionalClaims {},
    );
    let claims = claims.set_nonce(Some(nonce)).set_auth_time(Some((now - std::time::Duration::from_secs(60)).into()));
    let id_token = CoreIdToken::new(claims, key, CoreJwsSigningAlgorithm::EdDsa, Some(&named), None).unwrap();
    let fields = CoreIdTokenFields::new(Some(id_token), EmptyExtraTokenFields {});
    CoreTokenResponse::new(access, CoreTokenType::Bearer, fields)
}
