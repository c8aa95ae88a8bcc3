//! Private and large values: kept with the session, gone with it, and never more than the session knows of.

mod faults;
mod lifetime;
mod races;
mod spill_over;
mod values;

use secure_sessions::SessionError;

use crate::support::shelf::Shelf;
use crate::support::{App, app_with};

pub(crate) fn app() -> (App, Shelf) {
    let shelf = Shelf::default();
    let vault = shelf.clone();
    (app_with(move |builder| builder.vault(vault)), shelf)
}

pub(crate) async fn keep(app: &App, cookie: Option<&str>, key: &str, value: &str) -> String {
    app.visit(cookie, |session| session.vault().insert(key, value).unwrap()).await.unwrap()
}

pub(crate) async fn read(app: &App, cookie: &str, key: &str) -> Result<Option<String>, SessionError> {
    app.request(Some(cookie)).await.1.vault().get(key).await
}

pub(crate) async fn expect(app: &App, cookie: &str, key: &str, value: &str) {
    assert_eq!(read(app, cookie, key).await.unwrap().as_deref(), Some(value), "{key}");
}
