//! The target on a plain sealed cookie: the whole account as JSON in axum-extra's private cookie jar. Encrypted and
//! authenticated with AES-256-GCM; what decrypts is believed.

use axum::extract::{FromRef, State};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use axum_extra::extract::PrivateCookieJar;
use axum_extra::extract::cookie::{Cookie, Key, SameSite};

use super::{Account, Credentials, Note, Refused, Voucher, admin_page, order};
use crate::users::Users;

/// The cookie's name.
pub const COOKIE_NAME: &str = "lab-peer";

#[derive(Clone)]
struct Peer {
    users: Users,
    key: Key,
}

impl FromRef<Peer> for Key {
    fn from_ref(peer: &Peer) -> Self {
        peer.key.clone()
    }
}

/// The routes, over the jar's key.
pub fn router(users: Users, key: Key) -> Router {
    Router::new()
        .route("/login", post(login))
        .route("/account", get(account))
        .route("/voucher", post(spend_voucher))
        .route("/note", post(write_note))
        .route("/admin", get(admin))
        .route("/logout", post(logout))
        .with_state(Peer { users, key })
}

async fn login(
    State(peer): State<Peer>,
    jar: PrivateCookieJar,
    Json(credentials): Json<Credentials>,
) -> Result<(PrivateCookieJar, Json<Account>), Refused> {
    let account = peer.users.verify(&credentials.user, credentials.password).await?.ok_or(Refused::WrongPassword)?;
    let account = Account {
        user: account.name.to_owned(),
        role: account.role.name().to_owned(),
        voucher: Voucher::Unspent,
        note: String::new(),
    };
    Ok((with_account(jar, &account)?, Json(account)))
}

async fn account(jar: PrivateCookieJar) -> Result<Json<Account>, Refused> {
    Ok(Json(account_of(&jar)?))
}

async fn spend_voucher(jar: PrivateCookieJar) -> Result<(PrivateCookieJar, Json<serde_json::Value>), Refused> {
    let mut account = account_of(&jar)?;
    if account.voucher == Voucher::Spent {
        return Err(Refused::VoucherSpent);
    }
    account.voucher = Voucher::Spent;
    Ok((with_account(jar, &account)?, order()))
}

async fn write_note(
    jar: PrivateCookieJar,
    Json(Note { note }): Json<Note>,
) -> Result<(PrivateCookieJar, Json<Account>), Refused> {
    let account = Account { note, ..account_of(&jar)? };
    Ok((with_account(jar, &account)?, Json(account)))
}

async fn admin(jar: PrivateCookieJar) -> Result<Json<serde_json::Value>, Refused> {
    if account_of(&jar)?.role == "admin" { Ok(admin_page()) } else { Err(Refused::NotAdmin) }
}

async fn logout(jar: PrivateCookieJar) -> (PrivateCookieJar, Json<serde_json::Value>) {
    (jar.remove(cookie(String::new())), Json(serde_json::json!({ "logged_out": true })))
}

fn cookie(value: String) -> Cookie<'static> {
    Cookie::build((COOKIE_NAME, value)).path("/").http_only(true).same_site(SameSite::Lax).build()
}

fn with_account(jar: PrivateCookieJar, account: &Account) -> Result<PrivateCookieJar, Refused> {
    Ok(jar.add(cookie(serde_json::to_string(account)?)))
}

fn account_of(jar: &PrivateCookieJar) -> Result<Account, Refused> {
    let cookie = jar.get(COOKIE_NAME).ok_or(Refused::NotLoggedIn)?;
    serde_json::from_str(cookie.value()).map_err(|_| Refused::NotLoggedIn)
}

/// Reads any cookie, as a thief of the key can.
#[must_use]
pub fn open(key: &Key, value: &str) -> Option<Account> {
    let header = HeaderValue::try_from(format!("{COOKIE_NAME}={value}")).ok()?;
    let headers = HeaderMap::from_iter([(COOKIE, header)]);
    account_of(&PrivateCookieJar::from_headers(&headers, key.clone())).ok()
}

/// And makes any cookie: its value, as a browser would send it.
#[must_use]
pub fn forge(key: &Key, account: &Account) -> Option<String> {
    let jar = with_account(PrivateCookieJar::new(key.clone()), account).ok()?;
    let response = jar.into_response();
    let set_cookie = response.headers().get(SET_COOKIE)?.to_str().ok()?;
    let (_, value) = set_cookie.split(';').next()?.split_once('=')?;
    Some(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_the_key_reads_and_makes_cookies() {
        let key = Key::generate();
        let account =
            Account { user: "x".into(), role: "admin".into(), voucher: Voucher::Spent, note: "\"ü; =".into() };
        let value = forge(&key, &account).expect("made");
        assert_eq!(open(&key, &value), Some(account));
        assert_eq!(open(&Key::generate(), &value), None);
    }
}
