//! The target on secure-sessions: each part of the account is a key of the session, the name is its subject.

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use secure_sessions_axum::{Session, SessionError, SessionLayer, SessionManager};

use super::{Account, Credentials, Note, Refused, Voucher, admin_page, order};
use crate::users::Users;

/// The session's keys.
pub mod key {
    /// `customer` or `admin`.
    pub const ROLE: &str = "role";
    /// A [`Voucher`](crate::lab::target::Voucher).
    pub const VOUCHER: &str = "voucher";
    /// Free text.
    pub const NOTE: &str = "note";
}

/// The routes, with their own session layer.
pub fn router(users: Users, manager: SessionManager) -> Router {
    Router::new()
        .route("/login", post(login))
        .route("/account", get(account))
        .route("/voucher", post(spend_voucher))
        .route("/note", post(write_note))
        .route("/admin", get(admin))
        .route("/logout", post(logout))
        .layer(SessionLayer::new(manager))
        .with_state(users)
}

async fn login(
    State(users): State<Users>,
    session: Session,
    Json(credentials): Json<Credentials>,
) -> Result<Json<Account>, Refused> {
    let account = users.verify(&credentials.user, credentials.password).await?.ok_or(Refused::WrongPassword)?;
    session.login(account.name)?;
    session.insert(key::ROLE, account.role.name())?;
    session.insert(key::VOUCHER, Voucher::Unspent)?;
    session.insert(key::NOTE, "")?;
    Ok(Json(account_of(&session)?))
}

async fn account(session: Session) -> Result<Json<Account>, Refused> {
    Ok(Json(account_of(&session)?))
}

async fn spend_voucher(session: Session) -> Result<Json<serde_json::Value>, Refused> {
    let account = account_of(&session)?;
    if account.voucher == Voucher::Spent {
        return Err(Refused::VoucherSpent);
    }
    session.insert(key::VOUCHER, Voucher::Spent)?;
    // Now, and not at the end of the request: the order must not go out if the voucher's use could not be kept. (Two
    // requests at the same moment may still both pass: what must happen once needs a transaction in a database.)
    session.save().await?;
    Ok(order())
}

async fn write_note(session: Session, Json(Note { note }): Json<Note>) -> Result<Json<Account>, Refused> {
    account_of(&session)?;
    session.insert(key::NOTE, note)?;
    Ok(Json(account_of(&session)?))
}

async fn admin(session: Session) -> Result<Json<serde_json::Value>, Refused> {
    if account_of(&session)?.role == "admin" { Ok(admin_page()) } else { Err(Refused::NotAdmin) }
}

async fn logout(session: Session) -> Result<Json<serde_json::Value>, Refused> {
    session.logout()?;
    Ok(Json(serde_json::json!({ "logged_out": true })))
}

fn account_of(session: &Session) -> Result<Account, Refused> {
    let user = session.subject().ok_or(Refused::NotLoggedIn)?;
    let text = |key| Ok::<String, SessionError>(session.get(key)?.unwrap_or_default());
    Ok(Account {
        user,
        role: text(key::ROLE)?,
        voucher: session.get(key::VOUCHER)?.unwrap_or_default(),
        note: text(key::NOTE)?,
    })
}
