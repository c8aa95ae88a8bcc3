//! Preferences.

use askama::Template;
use axum::Form;
use axum::response::Redirect;
use secure_sessions_axum::Session;
use serde::Deserialize;

use super::{Page, check_csrf, render};
use crate::catalogue::Currency;
use crate::error::AppError;
use crate::shell::{KeySizes, Shell};
use crate::visitor::{MAX_NAME, Preferences, Theme, key};

#[derive(Template)]
#[template(path = "preferences.html")]
struct PreferencesPage {
    shell: Shell,
    csrf: String,
    preferences: Preferences,
    themes: [Theme; 3],
    currencies: [Currency; 3],
    sizes: KeySizes,
}

/// `GET /preferences`.
pub async fn show(session: Session) -> Page {
    render(&PreferencesPage {
        shell: Shell::of(&session, "/preferences")?,
        csrf: session.csrf_token()?,
        preferences: session.get(key::PREFERENCES)?.unwrap_or_default(),
        themes: Theme::ALL,
        currencies: Currency::ALL,
        sizes: KeySizes::of(&session),
    })
}

/// The form.
#[derive(Debug, Deserialize)]
pub struct PreferencesForm {
    csrf: String,
    name: String,
    theme: Theme,
    currency: Currency,
}

/// `POST /preferences`.
pub async fn save(session: Session, Form(form): Form<PreferencesForm>) -> Result<Redirect, AppError> {
    check_csrf(&session, &form.csrf)?;
    let name = form.name.trim().chars().take(MAX_NAME).collect();
    session.insert(key::PREFERENCES, Preferences { theme: form.theme, name, currency: form.currency })?;
    Ok(Redirect::to("/preferences"))
}
