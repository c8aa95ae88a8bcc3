//! The application under attack, twice: the same accounts, routes and data over two kinds of session.

pub mod ours;
pub mod peer;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use secure_sessions_axum::SessionError;
use serde::{Deserialize, Serialize};

use crate::users::HashError;

/// The account of a session's holder, which is also the answer to `GET /account`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The account's name.
    pub user: String,
    /// `customer` or `admin`.
    pub role: String,
    /// A gift voucher, good for one order.
    pub voucher: Voucher,
    /// The text on the card that comes with the order.
    pub note: String,
}

/// The state of the gift voucher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Voucher {
    /// Good for one order.
    #[default]
    Unspent,
    /// Used.
    Spent,
}

/// The body of `POST /login`.
#[derive(Debug, Deserialize)]
pub struct Credentials {
    user: String,
    password: String,
}

/// The body of `POST /note`.
#[derive(Debug, Deserialize)]
pub struct Note {
    note: String,
}

/// The reason why a request was not served.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no session, or nobody is logged in.
    #[error("not logged in")]
    NotLoggedIn,
    /// The name or the password is wrong.
    #[error("wrong name or password")]
    WrongPassword,
    /// Logged in, and not an administrator.
    #[error("for administrators only")]
    NotAdmin,
    /// The voucher was good for one order.
    #[error("the voucher is already spent")]
    VoucherSpent,
    /// The session could not be read or changed.
    #[error("{}", .0.client_text())]
    Session(#[from] SessionError),
    /// Passwords cannot be checked.
    #[error("internal server error")]
    Hash(#[from] HashError),
    /// A value could not be written as JSON.
    #[error("internal server error")]
    Json(#[from] serde_json::Error),
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::NotLoggedIn | Self::WrongPassword => StatusCode::UNAUTHORIZED,
            Self::NotAdmin => StatusCode::FORBIDDEN,
            Self::VoucherSpent => StatusCode::CONFLICT,
            Self::Session(error) => StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            Self::Hash(_) | Self::Json(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(serde_json::json!({ "error": self.to_string() }))).into_response()
    }
}

/// Returns the answer to `POST /voucher` if the voucher was still good.
fn order() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "order": "one reading chair", "paid_with": "voucher" }))
}

/// Returns the answer to `GET /admin`.
fn admin_page() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "admin": "all customers, all orders, all refunds" }))
}
