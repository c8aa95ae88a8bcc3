//! The device that a session is bound to, and what somebody gets who steals its cookies.

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use axum_extra::extract::CookieJar;
use base64_simd::URL_SAFE_NO_PAD;
use browser::Front;
use secure_sessions_axum::{Device, Session};
use serde::Deserialize;

use super::{Page, render};
use crate::app::App;
use crate::error::AppError;
use crate::shell::Shell;
use crate::when;

/// The life of a ticket: as short as the library allows, so that nobody waits for long.
pub const TICKET_LIFE: std::time::Duration = std::time::Duration::from_secs(5 * 60);
/// For how long an ended ticket is still accepted: the default of the library.
const GRACE_MS: u64 = 60_000;
const SHOWN_EVENTS: usize = 6;

#[derive(Template)]
#[template(path = "binding.html")]
struct BindingPage {
    shell: Shell,
    /// The commands that start the victim's browser and the thief's; `None` over plain http, where nothing is bound.
    commands: Option<[String; 2]>,
    device: Device,
    ticket: Option<Ticket>,
    /// Both cookies, as the browser sends them.
    cookies: String,
    events: Vec<(&'static str, String)>,
}

/// The contents of a ticket.
struct Ticket {
    device: String,
    left_ms: u64,
    left: String,
}

impl Ticket {
    /// Reads a ticket as the library writes it: when it ends, whose it is, for which session, and a stamp.
    fn read(text: &str, now: u64) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode_to_vec(text).ok()?;
        let not_after = u64::from_be_bytes(*bytes.first_chunk()?);
        let device = bytes.get(8..16)?.iter().map(|byte| format!("{byte:02x}")).collect();
        let left_ms = not_after.saturating_add(GRACE_MS).saturating_sub(now);
        Some(Self { device, left_ms, left: when::span(std::time::Duration::from_millis(left_ms / 1000 * 1000)) })
    }
}

/// `GET /device`.
pub async fn show(State(app): State<App>, session: Session, jar: CookieJar) -> Page {
    let names = cookie_names(&app);
    let pairs = names.iter().filter_map(|name| Some(format!("{name}={}", jar.get(name)?.value())));
    let handle = session.id().map(|handle| handle.to_string());
    let events = handle.map(|handle| app.events.about(&handle, SHOWN_EVENTS)).unwrap_or_default();
    let device = session.device();
    render(&BindingPage {
        shell: Shell::of(&session, "/device")?,
        commands: app.commands.clone(),
        cookies: pairs.collect::<Vec<_>>().join("; "),
        ticket: jar
            .get(&names[1])
            .filter(|_| device == Device::Bound)
            .and_then(|cookie| Ticket::read(cookie.value(), app.now())),
        events: events.into_iter().map(|event| (event.name, event.text)).collect(),
        device,
    })
}

#[derive(Template)]
#[template(path = "thief.html")]
struct ThiefPage {
    shell: Shell,
}

/// `GET /device/thief`.
pub async fn thief() -> Page {
    render(&ThiefPage { shell: Shell::without_session() })
}

/// Cookies of somebody else, as `name=value; name=value`.
#[derive(Debug, Deserialize)]
pub struct Stolen {
    cookies: String,
}

/// `POST /device/thief`: puts stolen cookies into this browser, as a thief does with a tool.
pub async fn use_stolen(State(app): State<App>, Form(form): Form<Stolen>) -> Result<Response, AppError> {
    let names = cookie_names(&app);
    let ours = form.cookies.split(';').filter_map(|pair| pair.trim().split_once('=')).filter(|(name, value)| {
        let is_value =
            !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        is_value && names.iter().any(|ours| ours == name)
    });
    let set = ours.map(|(name, value)| (SET_COOKIE, format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax")));
    Ok((AppendHeaders(set.collect::<Vec<_>>()), Redirect::to("/device")).into_response())
}

/// The session's cookie, and the ticket's.
fn cookie_names(app: &App) -> [String; 2] {
    let name = app.sessions.cookie_name();
    [name.to_owned(), format!("{name}-device")]
}

/// Returns the command that opens the demo in a Chromium with a profile of this name, which trusts the demo's key.
#[must_use]
pub fn chromium(front: &Front, profile: &str) -> String {
    let arguments = front.chromium_arguments().join(" ");
    let profile = std::env::temp_dir().join(format!("secure-sessions-demo-{profile}"));
    format!("chromium --user-data-dir={} {arguments} {}/device", profile.display(), front.origin("localhost"))
}
