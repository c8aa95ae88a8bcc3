//! A small identity provider: discovery, keys, an authorization endpoint that asks nobody, a token endpoint that checks
//! the code, the client and PKCE, and logout. It lies if it is told to.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64_simd::URL_SAFE_NO_PAD;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use openidconnect::core::{
    CoreEdDsaPrivateSigningKey, CoreJsonWebKeySet, CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreResponseType,
    CoreSubjectIdentifierType, CoreTokenType,
};
use openidconnect::{
    AccessToken, Audience, AuthUrl, EmptyAdditionalProviderMetadata, EmptyExtraTokenFields, EndUserUsername,
    IdTokenClaims, IdTokenFields, IssuerUrl, JsonWebKey, JsonWebKeyId, JsonWebKeySetUrl, Nonce, PkceCodeChallenge,
    PkceCodeVerifier, PrivateSigningKey, RefreshToken, ResponseTypes, StandardClaims, SubjectIdentifier, TokenUrl,
    UserInfoUrl,
};
use rcgen::{KeyPair, PKCS_ED25519};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::provider::{IdToken, InSession, TokenAnswer};

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
    /// The keys cannot be fetched.
    NoKeys,
    /// A request for the keys waits at the gate, too.
    LateKeys,
    /// No lie: the token names groups, and takes 8 kB.
    Groups,
    /// The access token is longer than a value of the vault may be.
    Huge,
}

/// A code that was given out, and what it was asked for with.
struct Grant {
    nonce: Nonce,
    challenge: String,
    redirect_uri: String,
    sid: String,
}

/// The application's answer to a logout token.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

pub(crate) struct Server {
    pub(crate) base: String,
    key: Mutex<Arc<CoreEdDsaPrivateSigningKey>>,
    other_key: CoreEdDsaPrivateSigningKey,
    grants: Mutex<HashMap<String, Grant>>,
    /// The sessions of alice. The browser has the same id in a cookie.
    sessions: Mutex<BTreeSet<String>>,
    /// The address at which the application wants to be told of logouts, as it was registered.
    pub(crate) logout_uri: Mutex<String>,
    pub(crate) lie: Mutex<Lie>,
    /// Each answer of the token endpoint takes one permit, and waits for it.
    pub(crate) gate: Semaphore,
    /// The number of codes that came to the token endpoint.
    pub(crate) redeemed: Mutex<usize>,
    /// The number of tokens that it has made.
    issued: Mutex<usize>,
    /// The number of times that the keys were asked for, with or without success.
    pub(crate) fetched: Mutex<usize>,
    /// The answers to the logout tokens that the page for logout has sent.
    pub(crate) replies: Mutex<Vec<Reply>>,
    http: HttpClient<HttpConnector, Full<axum::body::Bytes>>,
}

fn key(id: &str) -> CoreEdDsaPrivateSigningKey {
    let pem = KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_pem();
    CoreEdDsaPrivateSigningKey::from_ed25519_pem(&pem, Some(JsonWebKeyId::new(id.to_owned()))).unwrap()
}

pub(crate) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

impl Server {
    /// Starts a provider whose token endpoint lets everybody through.
    pub(crate) async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Arc::new(Self {
            base: format!("http://{}", listener.local_addr().unwrap()),
            key: Mutex::new(Arc::new(key("current"))),
            other_key: key("current"),
            grants: Mutex::default(),
            sessions: Mutex::default(),
            logout_uri: Mutex::default(),
            lie: Mutex::new(Lie::None),
            gate: Semaphore::new(1000),
            redeemed: Mutex::new(0),
            issued: Mutex::new(0),
            fetched: Mutex::new(0),
            replies: Mutex::default(),
            http: HttpClient::builder(TokioExecutor::new()).build_http(),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(configuration))
            .route("/keys", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/userinfo", get(userinfo))
            .route("/logout", get(logout))
            .with_state(Arc::clone(&server));
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    fn lies(&self) -> Lie {
        *self.lie.lock().unwrap()
    }

    fn key(&self) -> Arc<CoreEdDsaPrivateSigningKey> {
        Arc::clone(&self.key.lock().unwrap())
    }

    /// Signs with a new key from now on, and lists that alone.
    pub(crate) fn rotate(&self) {
        *self.key.lock().unwrap() = Arc::new(key("next"));
    }

    /// The ids of alice's sessions, in the order of their names.
    pub(crate) fn sessions(&self) -> Vec<String> {
        self.sessions.lock().unwrap().iter().cloned().collect()
    }

    /// The claims of a good logout token, with a new `jti`.
    pub(crate) fn claims(&self) -> Value {
        let mut issued = self.issued.lock().unwrap();
        *issued += 1;
        json!({
            "iss": self.base, "aud": CLIENT, "iat": now(), "exp": now() + 120, "jti": format!("logout {issued}"),
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        })
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        sign(&self.key(), header, claims)
    }

    /// Signs with a key that has the name of the listed one.
    pub(crate) fn sign_with_another_key(&self, header: &Value, claims: &Value) -> String {
        sign(&self.other_key, header, claims)
    }

    /// The header of a good logout token.
    pub(crate) fn header(&self) -> Value {
        json!({ "alg": "EdDSA", "typ": "logout+jwt", "kid": self.key().as_verification_key().key_id().unwrap() })
    }

    /// Tells the application that a session or a subject has logged out.
    pub(crate) async fn announce(&self, member: &str, name: &str) -> Reply {
        let mut claims = self.claims();
        claims[member] = json!(name);
        self.post(&self.sign(&self.header(), &claims)).await
    }

    /// Ends a session, as an administrator does, and tells the application.
    pub(crate) async fn end(&self, sid: &str) -> Reply {
        self.sessions.lock().unwrap().remove(sid);
        let mut claims = self.claims();
        claims["sid"] = json!(sid);
        claims["sub"] = json!("alice");
        self.post(&self.sign(&self.header(), &claims)).await
    }

    /// Sends a logout token to the application.
    pub(crate) async fn post(&self, token: &str) -> Reply {
        self.post_form(&format!("logout_token={token}")).await
    }

    pub(crate) async fn post_form(&self, form: &str) -> Reply {
        let request = axum::http::Request::post(self.logout_uri.lock().unwrap().as_str())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(form.to_owned()))
            .unwrap();
        let (parts, body) = self.http.request(request).await.unwrap().into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap();
        Reply { status: parts.status, headers: parts.headers, body }
    }
}

pub(crate) fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode_to_string(json.to_string())
}

fn sign(key: &CoreEdDsaPrivateSigningKey, header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let signature = key.sign(&CoreJwsSigningAlgorithm::EdDsa, message.as_bytes()).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode_to_string(signature))
}

async fn configuration(State(server): State<Arc<Server>>) -> Json<Value> {
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
    let metadata = metadata.set_token_endpoint(Some(TokenUrl::new(url("/token")).unwrap()));
    let metadata = metadata.set_userinfo_endpoint(Some(UserInfoUrl::new(url("/userinfo")).unwrap()));
    let mut metadata = serde_json::to_value(metadata).unwrap();
    metadata["end_session_endpoint"] = json!(url("/logout"));
    metadata["backchannel_logout_supported"] = json!(true);
    metadata["backchannel_logout_session_supported"] = json!(true);
    Json(metadata)
}

async fn keys(State(server): State<Arc<Server>>) -> Result<Json<CoreJsonWebKeySet>, StatusCode> {
    *server.fetched.lock().unwrap() += 1;
    match server.lies() {
        Lie::NoKeys => return Err(StatusCode::SERVICE_UNAVAILABLE),
        Lie::LateKeys => server.gate.acquire().await.unwrap().forget(),
        _ => {}
    }
    Ok(Json(CoreJsonWebKeySet::new(vec![server.key().as_verification_key()])))
}

/// Logs alice in, or finds her logged in by the cookie.
async fn authorize(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    Query(asked): Query<HashMap<String, String>>,
) -> impl IntoResponse {
    assert_eq!(asked["client_id"], CLIENT);
    assert_eq!(asked["response_type"], "code");
    assert_eq!(asked["scope"], "openid");
    assert_eq!(asked["code_challenge_method"], "S256");
    let code = openidconnect::CsrfToken::new_random().into_secret();
    let back = format!("{}?code={code}&state={}", asked["redirect_uri"], asked["state"]);
    let known = headers.get(header::COOKIE).map(|cookie| cookie.to_str().unwrap().replace("provider=", ""));
    let mut sessions = server.sessions.lock().unwrap();
    let sid = known.filter(|sid| sessions.contains(sid)).unwrap_or_else(|| {
        let sid = openidconnect::CsrfToken::new_random().into_secret();
        sessions.insert(sid.clone());
        sid
    });
    let cookie = format!("provider={sid}");
    let grant = Grant {
        nonce: Nonce::new(asked["nonce"].clone()),
        challenge: asked["code_challenge"].clone(),
        redirect_uri: asked["redirect_uri"].clone(),
        sid,
    };
    server.grants.lock().unwrap().insert(code, grant);
    ([(header::SET_COOKIE, cookie)], Redirect::to(&back))
}

async fn token(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    Form(asked): Form<HashMap<String, String>>,
) -> Result<Json<TokenAnswer>, (StatusCode, Json<Value>)> {
    let answer = redeem(&server, &headers, &asked);
    *server.redeemed.lock().unwrap() += 1;
    server.gate.acquire().await.unwrap().forget();
    answer.map(Json).map_err(|error| (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))))
}

fn redeem(server: &Server, headers: &HeaderMap, asked: &HashMap<String, String>) -> Result<TokenAnswer, &'static str> {
    let expected = openidconnect::http::HeaderValue::from_static(
        // CLIENT and SECRET, each form-encoded (RFC 6749, section 2.3.1), in base64.
        "Basic c2hvcDpiZXR3ZWVuK3RoZStzaG9wK2FuZCt0aGUrcHJvdmlkZXI=",
    );
    if headers.get("authorization") != Some(&expected) {
        return Err("invalid_client");
    }
    // A code is good for one use.
    let grant = server.grants.lock().unwrap().remove(&asked["code"]).ok_or("invalid_grant")?;
    let verifier = PkceCodeVerifier::new(asked["code_verifier"].clone());
    let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
    if challenge.as_str() != grant.challenge || asked["redirect_uri"] != grant.redirect_uri {
        return Err("invalid_grant");
    }
    Ok(answer(server, grant))
}

fn answer(server: &Server, grant: Grant) -> TokenAnswer {
    let lie = server.lies();
    let audience = if lie == Lie::Audience { "another shop" } else { CLIENT };
    let nonce = if lie == Lie::Nonce { Nonce::new_random() } else { grant.nonce };
    let listed = server.key();
    let key = if lie == Lie::Key { &server.other_key } else { &*listed };
    let access = AccessToken::new(access_token().repeat(if lie == Lie::Huge { 9 } else { 1 }));
    let named = if lie == Lie::AccessToken { AccessToken::new("another".to_owned()) } else { access.clone() };
    let now = std::time::SystemTime::now();
    let groups = "group".repeat(if lie == Lie::Groups { 1600 } else { 1 });
    let claims = IdTokenClaims::new(
        IssuerUrl::new(server.base.clone()).unwrap(),
        vec![Audience::new(audience.to_owned())],
        (now + std::time::Duration::from_secs(300)).into(),
        now.into(),
        StandardClaims::new(SubjectIdentifier::new("alice".to_owned()))
            .set_preferred_username(Some(EndUserUsername::new(groups))),
        InSession { sid: Some(grant.sid) },
    );
    let claims = claims.set_nonce(Some(nonce)).set_auth_time(Some((now - std::time::Duration::from_secs(60)).into()));
    let id_token = IdToken::new(claims, key, CoreJwsSigningAlgorithm::EdDsa, Some(&named), None).unwrap();
    let fields = IdTokenFields::new(Some(id_token), EmptyExtraTokenFields {});
    let mut response = TokenAnswer::new(access, CoreTokenType::Bearer, fields);
    response.set_refresh_token(Some(RefreshToken::new("refresh".repeat(500))));
    response
}

/// As long as those of some providers, which list the user's groups in it.
fn access_token() -> String {
    format!("access.{}", "group".repeat(1600))
}

async fn userinfo(headers: HeaderMap) -> Result<Json<Value>, StatusCode> {
    let expected = format!("Bearer {}", access_token());
    if headers.get("authorization").is_none_or(|sent| sent != expected.as_str()) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    Ok(Json(json!({ "sub": "alice", "email": "alice@example.org" })))
}

/// Logs the user of the ID token out, tells the application, and sends the browser back to it.
async fn logout(State(server): State<Arc<Server>>, Query(asked): Query<HashMap<String, String>>) -> Redirect {
    assert_eq!(asked["client_id"], CLIENT);
    let claims = asked["id_token_hint"].split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode_to_vec(claims).unwrap()).unwrap();
    assert_eq!(claims["iss"], server.base);
    let reply = server.end(claims["sid"].as_str().unwrap()).await;
    server.replies.lock().unwrap().push(reply);
    Redirect::to(&asked["post_logout_redirect_uri"])
}
