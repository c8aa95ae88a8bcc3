//! Bearer tokens that are bound to a client's key by DPoP (RFC 9449), with the cases of its section 11.

#![cfg(all(feature = "device", feature = "ring"))]

use std::sync::Arc;
use std::time::Duration;

use forge::device::{Device, dpop_claims};
use secure_sessions::{
    Aead, BodySize, Builder, Device as Standing, Keyring, ManualClock, Reply, RequestHead, Session, SessionError,
    SessionManager,
};

use crate::support::faulty::Faulty;
use crate::support::{App, app_with, bearer, header};

const ORIGIN: &str = "https://api.example.org";
const URL: &str = "https://api.example.org/orders";
/// The life of a nonce, in seconds.
const LIFE: u64 = 120;

fn app() -> App {
    app_and(|builder| builder)
}

fn app_and(configure: impl FnOnce(Builder) -> Builder) -> App {
    app_with(|builder| configure(by_dpop(builder)))
}

fn by_dpop(builder: Builder) -> Builder {
    builder.aead(Aead::Ring).bearer().cookies(false).dpop([ORIGIN])
}

/// An app on a store whose calls fail as planned.
fn faulty_app() -> (App, Faulty) {
    let (store, clock) = (Faulty::alone(), ManualClock::at_present());
    let builder = SessionManager::builder(Keyring::generate().unwrap(), store.clone());
    let manager = by_dpop(builder.insecure_dev().clock(clock.clone())).build().unwrap();
    (App { manager, store: store.store.clone(), clock, events: Arc::default() }, store)
}

fn device(seed: u8) -> Device {
    Device::new(&[seed; 32])
}

#[derive(Clone)]
struct Head {
    method: &'static str,
    path: Option<&'static str>,
    headers: Vec<(&'static str, String)>,
}

impl Head {
    fn new(authorization: Option<String>, proof: Option<String>) -> Self {
        let headers = [("authorization", authorization), ("dpop", proof)];
        let headers = headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        Self { method: "GET", path: Some("/orders"), headers }
    }

    fn dpop(token: &str, proof: String) -> Self {
        Self::new(Some(format!("DPoP {token}")), Some(proof))
    }

    fn bearer(token: &str) -> Self {
        Self::new(Some(format!("Bearer {token}")), None)
    }
}

impl RequestHead for Head {
    fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
        self.headers.iter().filter(|(other, _)| *other == name).for_each(|(_, value)| visit(value.as_bytes()));
    }

    fn method(&self) -> &str {
        self.method
    }

    fn path(&self) -> Option<&str> {
        self.path
    }

    fn body_size(&self) -> BodySize {
        BodySize::Exact(0)
    }
}

/// Answers a request, with 401 if nobody is logged in. Returns the subject, or the reason of a refused proof.
async fn send(app: &App, head: &Head) -> (Result<Option<String>, &'static str>, Option<Reply>) {
    let request = app.manager.begin();
    match request.session(head).await {
        Ok(session) => {
            let subject = session.subject();
            let status = if subject.is_some() { 200 } else { 401 };
            (Ok(subject), request.finish(status).await)
        }
        Err(SessionError::ProofRefused { reason }) => (Err(reason), request.finish(401).await),
        Err(error) => panic!("{error}"),
    }
}

async fn subject(app: &App, head: &Head) -> Result<Option<String>, &'static str> {
    send(app, head).await.0
}

fn alice() -> Result<Option<String>, &'static str> {
    Ok(Some("alice".to_owned()))
}

/// Asks for a nonce as a client does at first: by a proof without one.
async fn nonce(app: &App) -> String {
    let (refused, reply) = send(app, &Head::new(None, Some(device(9).dpop("GET", URL, "", None)))).await;
    assert_eq!(refused, Err("nonce"));
    let challenge = header(reply.as_ref(), "www-authenticate").unwrap();
    assert_eq!(challenge, r#"DPoP error="use_dpop_nonce", algs="ES256""#);
    header(reply.as_ref(), "dpop-nonce").unwrap()
}

/// Runs a handler for this request, and returns the token that its response brings.
async fn handled(app: &App, head: &Head, handler: impl FnOnce(&Session)) -> Option<String> {
    let request = app.manager.begin();
    handler(&request.session(head).await.unwrap());
    bearer(request.finish(200).await.as_ref())
}

async fn log_in(app: &App, device: &Device) -> String {
    let proof = device.dpop("GET", URL, &nonce(app).await, None);
    handled(app, &Head::new(None, Some(proof)), |session| session.login("alice").unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_login_with_a_proof_binds_its_token_and_the_key_stays_with_it() {
    let (app, owner) = (app(), device(1));
    let token = log_in(&app, &owner).await;
    assert!(app.event_names().contains(&"device_bound"));
    let nonce = nonce(&app).await;
    let head = Head::dpop(&token, owner.dpop("GET", URL, &nonce, Some(&token)));
    // The next token, after a change and after a renewal, is bound too.
    let changed = handled(&app, &head, |session| {
        assert_eq!(session.device(), Standing::Bound);
        session.require_device().unwrap();
        session.insert("k", 1).unwrap();
    });
    let changed = changed.await.unwrap();
    let head = Head::dpop(&changed, owner.dpop("GET", URL, &nonce, Some(&changed)));
    let renewed = handled(&app, &head, |session| session.renew().unwrap()).await.unwrap();
    let thief = device(2);
    for token in [&token, &changed, &renewed] {
        assert_eq!(subject(&app, &Head::bearer(token)).await, Ok(None));
        let proof = thief.dpop("GET", URL, &nonce, Some(token));
        assert_eq!(subject(&app, &Head::dpop(token, proof)).await, Ok(None));
    }
    let head = Head::dpop(&renewed, owner.dpop("GET", URL, &nonce, Some(&renewed)));
    assert_eq!(subject(&app, &head).await, alice());
}

#[tokio::test]
async fn a_request_keeps_its_proof_until_it_has_left_the_session() {
    let ((app, store), owner) = (faulty_app(), device(1));
    let token = log_in(&app, &owner).await;
    let head = Head::dpop(&token, owner.dpop("GET", URL, &nonce(&app).await, Some(&token)));
    let request = app.manager.begin();
    let session = request.session(&head).await.unwrap();
    // The login fails after the commit has found out that the write before it was carried out.
    session.insert("n", 1).unwrap();
    store.fail("replace", 0, true);
    session.save().await.unwrap_err();
    session.login("bob").unwrap();
    store.fail("renew_into", 0, false);
    session.save().await.unwrap_err();
    session.discard();
    assert_eq!(session.device(), Standing::Bound);
    // The next commit finds out that this login was not carried out.
    session.insert("n", 2).unwrap();
    session.save().await.unwrap();
    assert_eq!((session.device(), session.subject().as_deref()), (Standing::Bound, Some("alice")));
    // And this one was.
    session.login("bob").unwrap();
    store.fail("renew_into", 0, true);
    session.save().await.unwrap_err();
    session.discard();
    session.insert("n", 3).unwrap();
    session.save().await.unwrap();
    assert_eq!((session.device(), session.subject().as_deref()), (Standing::Unbound, Some("bob")));
}

#[tokio::test]
async fn a_refused_proof_is_reported_once_however_often_it_is_asked_for() {
    let (app, owner) = (app(), device(1));
    let proof = owner.dpop("GET", "https://api.example.org/other", &nonce(&app).await, None);
    let request = app.manager.begin();
    let deferred = request.defer(&Head::new(None, Some(proof.clone())));
    for _ in 0..2 {
        let refused = request.session(&Head::new(None, Some(proof.clone()))).await.unwrap_err();
        assert!(matches!(refused, SessionError::ProofRefused { reason: "target" }), "{refused}");
        let refused = deferred.session().await.unwrap_err();
        assert!(matches!(refused, SessionError::ProofRefused { reason: "target" }), "{refused}");
    }
    // Another head of the same request changes nothing: it was refused.
    let good = owner.dpop("GET", URL, &nonce(&app).await, None);
    request.session(&Head::new(None, Some(good))).await.unwrap_err();
    assert_eq!(app.event_names(), ["device_endpoint_refused"]);
}

#[tokio::test]
async fn a_bound_token_under_bearer_gets_nothing_and_a_401_that_asks_for_dpop() {
    let (app, owner) = (app(), device(1));
    let old = log_in(&app, &owner).await;
    let nonce = nonce(&app).await;
    let head = Head::dpop(&old, owner.dpop("GET", URL, &nonce, Some(&old)));
    let new = handled(&app, &head, |session| session.insert("k", 1).unwrap()).await.unwrap();
    // Neither the token, nor a proof beside the scheme, nor a handoff, nor a write.
    let beside = Head::new(Some(format!("Bearer {new}")), Some(owner.dpop("GET", URL, &nonce, Some(&new))));
    for head in [Head::bearer(&new), Head::bearer(&old), beside] {
        let (seen, reply) = send(&app, &head).await;
        assert_eq!((seen, bearer(reply.as_ref())), (Ok(None), None));
        let challenge = header(reply.as_ref(), "www-authenticate").unwrap();
        assert_eq!(challenge, r#"DPoP error="invalid_token", algs="ES256""#);
        assert!(header(reply.as_ref(), "dpop-nonce").is_some());
    }
    let written = handled(&app, &Head::bearer(&new), |session| session.insert("k", 2).unwrap()).await;
    assert_eq!(written, None);
    // A dead token under the wrong scheme ends nothing either.
    app.pass(LIFE);
    let fresh = self::nonce(&app).await;
    let head = Head::dpop(&new, owner.dpop("GET", URL, &fresh, Some(&new)));
    assert_eq!(subject(&app, &head).await, alice());
    app.pass(70);
    assert_eq!(subject(&app, &Head::bearer(&old)).await, Ok(None));
    assert_eq!(subject(&app, &head).await, alice());
    assert!(!app.event_names().contains(&"replayed"));
    // A user without a key at hand can leave.
    handled(&app, &Head::bearer(&new), |session| session.logout().unwrap()).await;
    assert_eq!(subject(&app, &head).await, Ok(None));
}

#[tokio::test]
async fn an_unbound_token_works_under_bearer_alone_until_a_login_binds_it() {
    let (app, owner) = (app(), device(1));
    let guest = handled(&app, &Head::new(None, None), |session| session.insert("cart", 3).unwrap()).await.unwrap();
    let nonce = nonce(&app).await;
    let proof = owner.dpop("GET", URL, &nonce, Some(&guest));
    let (seen, reply) = send(&app, &Head::dpop(&guest, proof.clone())).await;
    assert_eq!(seen, Ok(None));
    assert!(header(reply.as_ref(), "www-authenticate").unwrap().contains("invalid_token"));
    let head = Head::new(Some(format!("Bearer {guest}")), Some(proof));
    // A proof alone binds nothing.
    let guest = handled(&app, &head, |session| {
        assert_eq!(session.device(), Standing::Unbound);
        session.insert("cart", 4).unwrap();
    });
    let guest = guest.await.unwrap();
    let proof = owner.dpop("GET", URL, &nonce, Some(&guest));
    let head = Head::new(Some(format!("Bearer {guest}")), Some(proof));
    let token = handled(&app, &head, |session| session.login("alice").unwrap()).await.unwrap();
    assert_eq!(subject(&app, &Head::bearer(&token)).await, Ok(None));
    let head = Head::dpop(&token, owner.dpop("GET", URL, &nonce, Some(&token)));
    assert_eq!(subject(&app, &head).await, alice());
    handled(&app, &head, |session| assert_eq!(session.get::<u32>("cart").unwrap(), Some(4))).await;
}

/// RFC 9449, section 11.1.
#[tokio::test]
async fn a_replayed_proof_fits_one_request_and_dies_with_its_nonce() {
    let (app, owner) = (app(), device(1));
    let token = log_in(&app, &owner).await;
    let head = Head::dpop(&token, owner.dpop("GET", URL, &nonce(&app).await, Some(&token)));
    assert_eq!(subject(&app, &head).await, alice());
    assert_eq!(subject(&app, &head).await, alice(), "no proof is kept: the nonce bounds the replay");
    assert_eq!(subject(&app, &Head { method: "POST", ..head.clone() }).await, Err("method"));
    assert_eq!(subject(&app, &Head { path: Some("/transfer"), ..head.clone() }).await, Err("target"));
    app.pass(LIFE);
    assert_eq!(subject(&app, &head).await, alice());
    app.pass(1);
    let (seen, reply) = send(&app, &head).await;
    assert_eq!(seen, Err("nonce"));
    // The nonce of the refusal is good at once.
    let fresh = header(reply.as_ref(), "dpop-nonce").unwrap();
    let head = Head::dpop(&token, owner.dpop("GET", URL, &fresh, Some(&token)));
    assert_eq!(subject(&app, &head).await, alice());
}

/// RFC 9449, section 11.2.
#[tokio::test]
async fn a_proof_made_in_advance_lacks_the_nonce_that_it_would_need() {
    let (app, owner) = (app(), device(1));
    let token = log_in(&app, &owner).await;
    let old = nonce(&app).await;
    // An attacker who had the key for a moment signs for next week: they choose `iat`, but not the nonce.
    app.pass(7 * 60);
    for nonce in ["", "guessed", old.as_str(), &old.replace(&old[..4], "AAAA")] {
        let head = Head::dpop(&token, owner.dpop("GET", URL, nonce, Some(&token)));
        assert_eq!(subject(&app, &head).await, Err("nonce"), "{nonce}");
    }
}

/// RFC 9449, section 11.3.
#[tokio::test]
async fn a_proof_without_a_nonce_is_never_accepted() {
    let (app, other, owner) = (app(), self::app(), device(1));
    let token = log_in(&app, &owner).await;
    let header = format!(r#"{{"typ":"dpop+jwt","alg":"ES256","jwk":{}}}"#, owner.jwk());
    let claims = format!(r#"{{"jti":"a","iat":1,"htm":"GET","htu":"{URL}"}}"#);
    assert_eq!(subject(&app, &Head::dpop(&token, owner.sign(&header, &claims))).await, Err("nonce"));
    // Nor with one of another deployment's.
    let head = Head::dpop(&token, owner.dpop("GET", URL, &nonce(&other).await, Some(&token)));
    assert_eq!(subject(&app, &head).await, Err("nonce"));
    // And no login goes through unbound because its nonce was taken away.
    let head = Head::new(None, Some(owner.sign(&header, &claims)));
    assert_eq!(subject(&app, &head).await, Err("nonce"));
}

/// RFC 9449, section 11.4.
#[tokio::test]
async fn what_an_injected_script_takes_away_dies_with_the_nonce() {
    let (app, owner) = (app(), device(1));
    let token = log_in(&app, &owner).await;
    let nonce = nonce(&app).await;
    // It could have the key sign while it ran, and sent the token and a supply of proofs home.
    let supply: Vec<_> = ["/orders", "/transfer"]
        .into_iter()
        .map(|path| {
            let proof = owner.dpop("GET", &format!("{ORIGIN}{path}"), &nonce, Some(&token));
            Head { path: Some(path), ..Head::dpop(&token, proof) }
        })
        .collect();
    for head in &supply {
        assert_eq!(subject(&app, head).await, alice());
    }
    app.pass(LIFE + 1);
    for head in &supply {
        assert_eq!(subject(&app, head).await, Err("nonce"));
    }
}

/// RFC 9449, section 11.5.
#[tokio::test]
async fn another_signed_jwt_is_no_proof() {
    let (app, owner) = (app(), device(1));
    let token = log_in(&app, &owner).await;
    let nonce = nonce(&app).await;
    let claims = dpop_claims("GET", URL, &nonce, Some(token.as_bytes()));
    for typ in ["dbsc+jwt", "JWT", "at+jwt", "application/dpop+jwt", "DPOP+JWT"] {
        let header = format!(r#"{{"typ":"{typ}","alg":"ES256","jwk":{}}}"#, owner.jwk());
        assert_eq!(subject(&app, &Head::dpop(&token, owner.sign(&header, &claims))).await, Err("type"), "{typ}");
    }
    let untyped = format!(r#"{{"alg":"ES256","jwk":{}}}"#, owner.jwk());
    assert_eq!(subject(&app, &Head::dpop(&token, owner.sign(&untyped, &claims))).await, Err("malformed"));
}

/// RFC 9449, section 11.6.
#[tokio::test]
async fn no_other_algorithm_or_kind_of_key_is_accepted() {
    let (app, owner) = (app(), device(1));
    let token = log_in(&app, &owner).await;
    let nonce = nonce(&app).await;
    let claims = dpop_claims("GET", URL, &nonce, Some(token.as_bytes()));
    let jwk = owner.jwk();
    for alg in ["none", "HS256", "RS256", "ES384", "EdDSA", "es256"] {
        let header = format!(r#"{{"typ":"dpop+jwt","alg":"{alg}","jwk":{jwk}}}"#);
        assert_eq!(subject(&app, &Head::dpop(&token, owner.sign(&header, &claims))).await, Err("algorithm"), "{alg}");
    }
    let private = jwk.replacen('{', r#"{"d":"AAAA","#, 1);
    let secret = r#"{"kty":"oct","k":"AAAA"}"#;
    let off_curve = format!(r#"{{"kty":"EC","crv":"P-256","x":"{0}","y":"{0}"}}"#, "A".repeat(43));
    for (jwk, reason) in [(private.as_str(), "key"), (secret, "key"), (&off_curve, "signature")] {
        let header = format!(r#"{{"typ":"dpop+jwt","alg":"ES256","jwk":{jwk}}}"#);
        assert_eq!(subject(&app, &Head::dpop(&token, owner.sign(&header, &claims))).await, Err(reason), "{jwk}");
    }
    let header = r#"{"typ":"dpop+jwt","alg":"ES256"}"#;
    assert_eq!(subject(&app, &Head::dpop(&token, owner.sign(header, &claims))).await, Err("key_missing"));
    // The signature of one key, with another key beside it.
    let header = format!(r#"{{"typ":"dpop+jwt","alg":"ES256","jwk":{jwk}}}"#);
    assert_eq!(subject(&app, &Head::dpop(&token, device(2).sign(&header, &claims))).await, Err("signature"));
}

/// RFC 9449, section 11.7.
#[tokio::test]
async fn a_proof_covers_method_url_and_token_and_nothing_else_of_the_request() {
    let (app, owner) = (app(), device(1));
    let token = log_in(&app, &owner).await;
    let head = Head::dpop(&token, owner.dpop("GET", URL, &nonce(&app).await, Some(&token)));
    let mut other = Head { path: Some("/orders?id=7"), ..head.clone() };
    other.headers.push(("x-any", "thing".to_owned()));
    assert_eq!(subject(&app, &other).await, alice());
    // One changed character of what is signed is noticed.
    let (start, end) = head.headers[1].1.split_at(head.headers[1].1.find('.').unwrap() + 30);
    let swapped = if end.starts_with('A') { "B" } else { "A" };
    let changed = Head::dpop(&token, format!("{start}{swapped}{}", &end[1..]));
    assert!(subject(&app, &changed).await.is_err());
}

/// RFC 9449, section 11.8.
#[tokio::test]
async fn a_proof_is_for_one_token_and_a_token_for_one_key() {
    let (app, owner, thief) = (app(), device(1), device(2));
    let (token, own) = (log_in(&app, &owner).await, log_in(&app, &thief).await);
    let nonce = nonce(&app).await;
    // The thief's key, with the stolen token; the owner's proof for another token; and one for no token.
    let head = Head::dpop(&token, thief.dpop("GET", URL, &nonce, Some(&token)));
    assert_eq!(subject(&app, &head).await, Ok(None));
    assert_eq!(app.event_names().last(), Some(&"device_mismatch"));
    for other in [Some(own.as_str()), None] {
        let head = Head::dpop(&token, owner.dpop("GET", URL, &nonce, other));
        assert_eq!(subject(&app, &head).await, Err("token"));
    }
    // Nor does a proof for a token serve for a login.
    let head = Head::new(None, Some(owner.dpop("GET", URL, &nonce, Some(&token))));
    assert_eq!(subject(&app, &head).await, Err("token"));
}

/// RFC 9449, section 11.8: the key of a session changes by a login alone. (11.9 and 11.11 are about authorization codes and
/// registered clients, which there are none of here.)
#[tokio::test]
async fn a_client_with_a_new_key_logs_in_again_and_the_old_key_is_worth_nothing() {
    let (app, old, new) = (app(), device(1), device(2));
    let first = log_in(&app, &old).await;
    let nonce = nonce(&app).await;
    let head = Head::new(None, Some(new.dpop("GET", URL, &nonce, None)));
    let second = handled(&app, &head, |session| session.login("alice").unwrap()).await.unwrap();
    let with = |key: &Device, token: &str| Head::dpop(token, key.dpop("GET", URL, &nonce, Some(token)));
    assert_eq!(subject(&app, &with(&old, &second)).await, Ok(None));
    assert_eq!(subject(&app, &with(&new, &first)).await, Ok(None));
    assert_eq!(subject(&app, &with(&new, &second)).await, alice());
    // A login on the session itself: it keeps the key that its own request proves.
    let again = handled(&app, &with(&new, &second), |session| session.login("alice").unwrap()).await.unwrap();
    assert_eq!(subject(&app, &Head::bearer(&again)).await, Ok(None));
    assert_eq!(subject(&app, &with(&new, &again)).await, alice());
}

/// RFC 9449, section 11.10.
#[tokio::test]
async fn the_token_s_hash_is_sha_256_and_no_other() {
    let (app, owner) = (app(), device(1));
    let token = log_in(&app, &owner).await;
    let nonce = nonce(&app).await;
    let header = format!(r#"{{"typ":"dpop+jwt","alg":"ES256","jwk":{}}}"#, owner.jwk());
    let start = format!(r#"{{"jti":"a","iat":1,"htm":"GET","htu":"{URL}","nonce":"{nonce}","ath":"#);
    for ath in ["\"\"".to_owned(), format!("\"{token}\""), format!("\"{}\"", "A".repeat(86)), "null".to_owned()] {
        let head = Head::dpop(&token, owner.sign(&header, &format!("{start}{ath}}}")));
        assert_eq!(subject(&app, &head).await, Err("token"), "{ath}");
    }
}

/// RFC 9449, sections 4.3 and 9: `htu` is compared with our own origins, after normalization.
#[tokio::test]
async fn a_url_counts_in_any_spelling_at_our_origins_and_never_by_the_host_header() {
    let (app, owner) = (app(), device(1));
    let token = log_in(&app, &owner).await;
    let nonce = nonce(&app).await;
    let head = |url: &str, path| {
        let mut head = Head { path, ..Head::dpop(&token, owner.dpop("GET", url, &nonce, Some(&token))) };
        head.headers.push(("host", "evil.example".to_owned()));
        head.headers.push(("x-forwarded-host", "evil.example".to_owned()));
        head
    };
    for url in [URL, "HTTPS://API.EXAMPLE.ORG:443/orders", "https://api.example.org/%6frders?a#b"] {
        assert_eq!(subject(&app, &head(url, Some("/orders?q=1"))).await, alice(), "{url}");
    }
    for url in ["https://evil.example/orders", "http://api.example.org/orders", "/orders", "https://api.example.org/"] {
        assert_eq!(subject(&app, &head(url, Some("/orders"))).await, Err("target"), "{url}");
    }
    assert_eq!(subject(&app, &head(URL, None)).await, Err("target"), "a framework that reports no path");
}

#[tokio::test]
async fn a_doubled_missing_or_endless_proof_is_a_401_and_leaves_the_session_alone() {
    let (app, owner) = (app(), device(1));
    let token = log_in(&app, &owner).await;
    let good = Head::dpop(&token, owner.dpop("GET", URL, &nonce(&app).await, Some(&token)));
    let doubled = |index: usize| {
        let mut head = good.clone();
        head.headers.push(head.headers[index].clone());
        head
    };
    let missing = Head::new(Some(format!("dpop {token}")), None);
    let garbage = |proof: &str| Head::dpop(&token, proof.to_owned());
    for (head, reason) in [
        (doubled(0), "malformed"),
        (doubled(1), "malformed"),
        (missing, "proof_missing"),
        (garbage(""), "malformed"),
        (garbage("a.b.c"), "malformed"),
        (garbage(&"a".repeat(100_000)), "too_long"),
    ] {
        let (seen, reply) = send(&app, &head).await;
        assert_eq!(seen, Err(reason));
        let challenge = header(reply.as_ref(), "www-authenticate").unwrap();
        assert_eq!(challenge, r#"DPoP error="invalid_dpop_proof", algs="ES256""#);
        assert_eq!(app.event_names().last(), Some(&"device_endpoint_refused"));
        // The same answer to whoever opens the session before it is used, however often.
        let request = app.manager.begin();
        let deferred = request.defer(&head);
        for _ in 0..2 {
            assert!(matches!(deferred.session().await, Err(SessionError::ProofRefused { .. })));
        }
    }
    assert_eq!(subject(&app, &good).await, alice());
}

#[tokio::test]
async fn a_busy_client_gets_each_nonce_in_time_and_a_fresh_proof_can_be_asked_for() {
    let (app, owner) = (app(), device(1));
    let token = log_in(&app, &owner).await;
    let mut current = nonce(&app).await;
    for _ in 0..10 {
        app.pass(45);
        let (seen, reply) = send(&app, &Head::dpop(&token, owner.dpop("GET", URL, &current, Some(&token)))).await;
        assert_eq!(seen, alice());
        assert_eq!(header(reply.as_ref(), "www-authenticate"), None);
        current = header(reply.as_ref(), "dpop-nonce").unwrap_or(current);
    }
    let fresh = nonce(&app).await;
    let head = |nonce: &str| Head::dpop(&token, owner.dpop("GET", URL, nonce, Some(&token)));
    app.pass(20);
    let request = app.manager.begin();
    let session = request.session(&head(&fresh)).await.unwrap();
    session.require_fresh_proof(Duration::from_secs(20), "/orders").unwrap();
    let error = session.require_fresh_proof(Duration::from_secs(10), "/orders").unwrap_err();
    assert_eq!(error.status(), 401);
    let reply = request.finish(401).await;
    assert!(header(reply.as_ref(), "www-authenticate").unwrap().contains("use_dpop_nonce"));
    let fresh = header(reply.as_ref(), "dpop-nonce").unwrap();
    let check = |session: &Session| session.require_fresh_proof(Duration::from_secs(10), "/orders").unwrap();
    handled(&app, &head(&fresh), check).await;
}

#[tokio::test]
async fn a_handler_that_chooses_bearer_binds_it_and_remembering_changes_nothing() {
    let configure = |builder: Builder| builder.cookies(true).remember_tokens(16);
    let (app, owner) = (app_and(configure), device(1));
    let proof = owner.dpop("GET", URL, &nonce(&app).await, None);
    // Without a token, the request might still use the cookie: the handler chooses, after the login or before.
    let head = Head::new(None, Some(proof));
    let token = handled(&app, &head, |session| {
        session.login("alice").unwrap();
        session.use_bearer().unwrap();
    });
    let token = token.await.unwrap();
    let nonce = nonce(&app).await;
    for _ in 0..3 {
        assert_eq!(subject(&app, &Head::bearer(&token)).await, Ok(None));
        let head = Head::dpop(&token, owner.dpop("GET", URL, &nonce, Some(&token)));
        assert_eq!(subject(&app, &head).await, alice());
    }
}
