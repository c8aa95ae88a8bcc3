//! The start: what this browser holds, and what the server keeps.

use askama::Template;
use axum::extract::State;
use axum_extra::extract::CookieJar;
use secure_sessions_axum::store::{Bucket, Entry, SessionId};
use secure_sessions_axum::{Session, SessionStore};

use super::{Page, render};
use crate::app::App;
use crate::error::AppError;
use crate::format::{FormatError, Outline};
use crate::keys::KeyFile;
use crate::shell::Shell;
use crate::when;

const SHOWN_EVENTS: usize = 6;
const SHOWN_CHARACTERS: usize = 48;

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    shell: Shell,
    cookie: Option<CookieView>,
    has_refused_cookie: bool,
    row: Option<RowView>,
    events: Vec<EventView>,
}

struct CookieView {
    name: String,
    value: String,
    size: usize,
    token_length: usize,
    parts: Vec<Part>,
}

struct Part {
    name: &'static str,
    class: &'static str,
    start: usize,
    bytes: usize,
    about: String,
}

struct RowView {
    facts: Vec<Fact>,
    size: usize,
}

struct Fact {
    name: &'static str,
    value: String,
}

struct EventView {
    name: &'static str,
    text: String,
    when: String,
}

/// `GET /`.
pub async fn show(State(app): State<App>, session: Session, jar: CookieJar) -> Page {
    let now = when::now();
    let presented = jar.get(app.sessions.cookie_name()).map(|cookie| cookie.value().to_owned());
    let (mut cookie, mut row) = (None, None);
    // A session that is not new was admitted: its cookie is worth a look inside.
    if let Some(value) = presented.as_deref().filter(|_| !session.is_new())
        && let Ok((view, id)) = dissect(&app.keys, app.sessions.cookie_name(), value)
    {
        cookie = Some(view);
        row = row_of(&app, id, now).await?;
    }
    let handle = session.id().map(|handle| handle.to_string());
    let events = handle.map(|handle| app.events.about(&handle, SHOWN_EVENTS)).unwrap_or_default();
    let events = events.into_iter().map(|event| EventView {
        name: event.name,
        text: event.text,
        when: when::relative(when::millis(event.at), now),
    });
    render(&HomePage {
        shell: Shell::of(&session, "/")?,
        has_refused_cookie: cookie.is_none() && presented.is_some(),
        cookie,
        row,
        events: events.collect(),
    })
}

/// Takes a cookie apart for display, with the server's own key.
fn dissect(keys: &KeyFile, name: &str, value: &str) -> Result<(CookieView, SessionId), FormatError> {
    let outline = Outline::of(value)?;
    let key = keys.seal_key(outline.seal_key_id).ok_or(FormatError::Key)?;
    let (content, lengths) = key.open(name, value)?;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let keys = match lengths.keys.len() {
        0 => "empty".to_owned(),
        _ => lengths.keys.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>().join(", "),
    };
    let described = [
        (
            "version, key ids",
            "p-head",
            9,
            format!(
                "version {}, keys {} and {}",
                outline.version,
                hex(&outline.seal_key_id),
                hex(&outline.fingerprint_key_id)
            ),
        ),
        ("nonce", "p-nonce", 24, "random".to_owned()),
        ("ids and times", "p-ids", lengths.fixed, format!("token {} of its session", content.generation)),
        ("engine’s entries", "p-meta", lengths.meta, "who is logged in, since when".to_owned()),
        ("your data", "p-data", lengths.data, keys),
        ("bloat", "p-bloat", lengths.bloat, "random filling".to_owned()),
        ("tag", "p-tag", 16, "seals all of the above".to_owned()),
        ("issue mark", "p-issue", 16, "by both keys: we issued it".to_owned()),
    ];
    let mut start = 0;
    let parts = described.map(|(name, class, bytes, about)| {
        start += bytes;
        Part { name, class, start: start - bytes, bytes, about }
    });
    let view = CookieView {
        name: name.to_owned(),
        value: abbreviated(value),
        size: name.len() + value.len(),
        token_length: outline.length,
        parts: parts.into(),
    };
    Ok((view, SessionId::from_bytes(content.session_id)))
}

fn abbreviated(value: &str) -> String {
    let start: String = value.chars().take(SHOWN_CHARACTERS).collect();
    format!("{start}… {} characters", value.len())
}

async fn row_of(app: &App, id: SessionId, now: u64) -> Result<Option<RowView>, AppError> {
    let entry = app.sessions.store().load(&id).await?;
    Ok(match entry {
        Some(Entry::Bucket(bucket)) => Some(row_view(&bucket, now)),
        _ => None,
    })
}

fn row_view(bucket: &Bucket, now: u64) -> RowView {
    let short = |bytes: &[u8]| {
        let start: String = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        format!("{start}… ({} bytes)", bytes.len())
    };
    let time = |time: secure_sessions_axum::Timestamp| when::relative(time.as_millis(), now);
    let facts = vec![
        Fact { name: "id", value: short(bucket.id.as_bytes()) },
        Fact {
            name: "subject",
            value: match &bucket.subject {
                Some(tag) => format!("{}, a keyed tag", short(tag.as_bytes())),
                None => "none: nobody is logged in".to_owned(),
            },
        },
        Fact { name: "fingerprint", value: format!("{}, of the current token", short(bucket.current.as_bytes())) },
        Fact { name: "generation", value: format!("{}; {}", bucket.generation, revision(bucket)) },
        Fact { name: "retired", value: retired(bucket) },
        Fact {
            name: "handoff",
            value: match &bucket.handoff {
                Some(sealed) => format!("{}, sealed under a key that only your cookies hold", short(sealed)),
                None => "none: no earlier token is alive".to_owned(),
            },
        },
        Fact { name: "made", value: time(bucket.created_at) },
        Fact { name: "last seen", value: time(bucket.last_seen_at) },
        Fact { name: "expires", value: time(bucket.expires_at) },
        Fact {
            name: "idle timeout",
            value: bucket.idle_timeout.map_or("none".to_owned(), |idle| when::span(idle.into())),
        },
    ];
    RowView { facts, size: bucket.to_record().len() }
}

fn revision(bucket: &Bucket) -> String {
    match bucket.revision.get() {
        1 => "written once".to_owned(),
        count => format!("written {count} times"),
    }
}

fn retired(bucket: &Bucket) -> String {
    match bucket.retired.len() {
        0 => "none".to_owned(),
        1 => "1 superseded token that still counts".to_owned(),
        count => format!("{count} superseded tokens that still count"),
    }
}
