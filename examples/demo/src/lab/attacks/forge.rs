//! Makes an administrator's cookie with the real keys, which the attacker is given: the demo's own seal key, and the
//! private jar's key.

use axum_extra::extract::cookie::Key;
use ciborium::Value;

use super::{Conclusion, is_refused};
use crate::format::{self, Content, FormatError, META_AUTHENTICATED_AT, META_SUBJECT, Outline, SealKey};
use crate::lab::LabError;
use crate::lab::probe::{Exchange, Pair, Request, Side};
use crate::lab::report::{Findings, Outcome};
use crate::lab::script::Script;
use crate::lab::target::{Account, Voucher, ours, peer};

/// The keys that have leaked.
pub struct Leaked {
    /// Seals the cookies of the target on secure-sessions.
    pub ours: SealKey,
    /// Seals the cookies of the private jar.
    pub peer: Key,
}

/// Runs the attack.
///
/// # Errors
///
/// [`LabError`] if the targets do not answer, or do not serve an honest user.
pub async fn run(script: &mut Script<'_>, leaked: &Leaked) -> Conclusion {
    let carol = script.log_in("carol").await?;
    let control = script
        .prepare("Carol is an administrator: the page opens for her", |side| Request::get("/admin", carol.get(side)))
        .await?;
    let alice = script.log_in("alice").await?;
    let refused = script
        .prepare("Alice is not: it does not open for her", |side| Request::get("/admin", alice.get(side)))
        .await?;

    let invented = Pair { ours: invent(&leaked.ours, &alice.ours)?, peer: invent_peer(&leaked.peer)? };
    let by_invention = script
        .attack("A cookie made from nothing with the leaked key: user mallory, role admin", |side| {
            Request::get("/admin", invented.get(side))
        })
        .await?;

    let edited = Pair { ours: edit(&leaked.ours, &alice.ours)?, peer: edit_peer(&leaked.peer, &alice.peer)? };
    let by_edit = script
        .attack(
            "Alice’s cookie, captured, opened with the leaked key, edited to role admin and sealed again",
            |side| Request::get("/admin", edited.get(side)),
        )
        .await?;
    let owner = script
        .honest("Alice’s own cookie: is she still logged in?", |side| Request::get("/account", alice.get(side)))
        .await?;

    let as_planned = control.ours.is_served() && is_refused(&refused.ours) && owner.ours.is_served();
    let both = |test: fn(&Exchange) -> bool, pair: fn(&Pair<Exchange>) -> &Exchange| {
        test(pair(&by_invention)) && test(pair(&by_edit))
    };
    let ours = Outcome::decide(
        as_planned
            && both(is_refused, |pair| &pair.ours)
            && both(|exchange| exchange.reported("forged"), |pair| &pair.ours),
        by_invention.ours.is_served() || by_edit.ours.is_served(),
        "Both cookies decrypt, and both were refused: the mark at their end takes a second, independent key, too. The event names the key that has leaked. Nobody was logged out.",
        "A forged cookie opened the administrators' page.",
    );
    let peer = Outcome::decide(
        both(is_refused, |pair| &pair.peer),
        by_invention.peer.is_served() && by_edit.peer.is_served(),
        "The forged cookies were refused.",
        "What decrypts is believed: with its one key the attacker is anybody, and nothing tells the operator.",
    );
    Ok((Pair { ours, peer }, Findings::None))
}

/// A whole session that never was. The attacker knows the format and the id of the fingerprint key, which every cookie
/// has in the open, and guesses the issue mark.
fn invent(key: &SealKey, seen: &str) -> Result<String, LabError> {
    let now = now();
    let content = Content {
        session_id: format::random()?,
        handoff_key: format::random()?,
        generation: 1,
        issued_at: now,
        expires_at: now + 8 * 60 * 60 * 1000,
        meta: Value::Map(vec![
            (Value::from(META_SUBJECT), Value::from("mallory")),
            (Value::from(META_AUTHENTICATED_AT), Value::from(now)),
        ]),
        data: Value::Map(vec![
            (Value::from(ours::key::NOTE), Value::from("")),
            (Value::from(ours::key::ROLE), Value::from("admin")),
            (Value::from(ours::key::VOUCHER), Value::from("unspent")),
        ]),
    };
    let fingerprint_key_id = Outline::of(seen)?.fingerprint_key_id;
    Ok(key.seal(Side::Ours.cookie_name(), fingerprint_key_id, &content, format::random()?)?)
}

/// A real cookie with another role. Its id, its handoff key and its issue mark are the real ones.
fn edit(key: &SealKey, captured: &str) -> Result<String, LabError> {
    let name = Side::Ours.cookie_name();
    let (mut content, _) = key.open(name, captured)?;
    for (key, value) in content.data.as_map_mut().into_iter().flatten() {
        if key.as_text() == Some(ours::key::ROLE) {
            *value = Value::from("admin");
        }
    }
    let token = format::decode(captured)?;
    let issue_mark = *token.last_chunk().ok_or(FormatError::Token)?;
    Ok(key.seal(name, Outline::of(captured)?.fingerprint_key_id, &content, issue_mark)?)
}

fn invent_peer(key: &Key) -> Result<String, LabError> {
    let account = Account {
        user: "mallory".to_owned(),
        role: "admin".to_owned(),
        voucher: Voucher::Unspent,
        note: String::new(),
    };
    peer::forge(key, &account).ok_or(LabError::Forge)
}

fn edit_peer(key: &Key, captured: &str) -> Result<String, LabError> {
    let account = peer::open(key, captured).ok_or(LabError::Forge)?;
    peer::forge(key, &Account { role: "admin".to_owned(), ..account }).ok_or(LabError::Forge)
}

fn now() -> u64 {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}
