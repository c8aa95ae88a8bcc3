//! Ending is ending: logout, renewal, replay and login beside one another, in orders that are made, not hoped for.

mod hosts;
mod logins;
mod logouts;
mod presented;
mod renewals;

use secure_sessions::Session;

use crate::support::App;

/// The cookie of a session that alice is logged in to.
pub(crate) async fn alice(app: &App) -> String {
    app.visit(None, |session| session.login("alice").unwrap()).await.unwrap()
}

pub(crate) async fn renewed(app: &App, cookie: &str) -> String {
    let next = app.visit(Some(cookie), |session| session.renew().unwrap()).await.unwrap();
    assert_ne!(next, cookie);
    next
}

/// Returns the user who is logged in with this cookie.
pub(crate) async fn subject(app: &App, cookie: &str) -> Option<String> {
    app.request(Some(cookie)).await.1.subject()
}

pub(crate) type Ends = fn(&Session);
pub(crate) const ENDINGS: [Ends; 3] = [
    |session| session.logout().unwrap(),
    |session| session.logout_everywhere().unwrap(),
    |session| session.logout_keeping_data().unwrap(),
];
