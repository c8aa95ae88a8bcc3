//! Routes under `/extra`: what the suite needs beyond the acceptance program. Mounted only with `EXTRA=1`.

use std::collections::HashMap;
use std::time::Duration;

use ciborium::Value as Cbor;
use secure_sessions::{FlashLevel, Login, Session, SessionError, Transport};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::query::Query;
use crate::sample::Sample;
use crate::views::{incremented, state};

/// A route with a session, under `/extra`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Runs the steps given as `do=`, in order, in one request.
    Steps,
    /// Answers with everything that the session tells about itself.
    About,
    /// Inserts a JSON value.
    Json,
    /// Inserts a value of every type that is hard to carry.
    SampleIn,
    /// Compares what came back.
    SampleOut,
    /// Inserts, and redirects.
    Redirect,
    /// Inserts, and sets cookies of the application's own.
    OwnCookies,
    /// Inserts, and calls the response public.
    Public,
    /// Reads only, with a `Cache-Control` of the application's own.
    Cached,
    /// The session's `Debug`.
    Debug,
    /// Asks for a proof of the device that is at most `max_age_ms` old.
    Proof,
}

impl Work {
    pub(crate) async fn run(self, session: &Session, query: &Query) -> Result<Answer, SessionError> {
        let insert = || session.insert(query.text("k"), query.text("v"));
        Ok(match self {
            Self::Steps => return steps(session, query).await,
            Self::About => Answer::ok(json!({
                "id": session.id().map(|handle| handle.to_string()),
                "authenticated_at": session.authenticated_at().map(|at| at.as_millis()),
                "issued_at": session.issued_at().map(|at| at.as_millis()),
                "expires_at": session.expires_at().map(|at| at.as_millis()),
                "empty": session.is_empty(),
                "assurance": session.assurance(),
                "device": format!("{:?}", session.device()).to_lowercase(),
                "transport": if session.transport() == Transport::Bearer { "bearer" } else { "cookie" },
            })),
            Self::Json => {
                let value: Value = serde_json::from_str(query.text("v")).unwrap_or_default();
                session.insert(query.text("k"), value)?;
                Answer::ok(state(session)?)
            }
            Self::SampleIn => {
                session.insert("sample", Sample::new())?;
                Answer::ok(json!({}))
            }
            Self::SampleOut => {
                let back = session.get::<Sample>("sample")?;
                Answer::ok(json!({ "equal": back.is_some_and(|sample| sample.is_intact()) }))
            }
            Self::Redirect => {
                insert()?;
                Answer { status: 303, ..Answer::ok(json!({})) }.with("location", "/state")
            }
            Self::OwnCookies => {
                insert()?;
                Answer::ok(json!({}))
                    .with("set-cookie", "theme=dark; Path=/")
                    .with("set-cookie", "session2=x; Path=/; HttpOnly")
            }
            Self::Public => {
                insert()?;
                let value = query.first("value").unwrap_or("public, max-age=3600");
                Answer::ok(json!({}))
                    .with("cache-control", value)
                    .with("cdn-cache-control", "max-age=3600")
                    .with("surrogate-control", "max-age=3600")
            }
            Self::Cached => Answer::ok(state(session)?).with("cache-control", "public, max-age=60"),
            Self::Debug => Answer::ok(json!({ "session": format!("{session:?} {session:#?}") })),
            Self::Proof => {
                let target = format!("/extra/proof?max_age_ms={}", query.number("max_age_ms"));
                match session.require_fresh_proof(Duration::from_millis(query.number("max_age_ms")), &target) {
                    Ok(()) => Answer::ok(json!({ "proved": true })),
                    Err(error) => match error.location() {
                        Some(location) => Answer::from(&error).with("location", location),
                        None => Answer::from(&error),
                    },
                }
            }
        })
    }
}

/// Runs every step, whatever the ones before it did.
async fn steps(session: &Session, query: &Query) -> Result<Answer, SessionError> {
    let mut outcomes = Vec::new();
    let mut status = 200;
    for text in query.all("do") {
        let (name, argument) = text.split_once(':').unwrap_or((text, ""));
        if name == "status" {
            status = argument.parse().unwrap_or(status);
        }
        outcomes.push(match step(session, name, argument).await {
            Ok(value) => json!({ "ok": value }),
            Err(error) => json!({ "error": error.to_string(), "status": error.status() }),
        });
    }
    let body = json!({ "steps": outcomes, "state": state(session)? });
    Ok(Answer { status, ..Answer::ok(body) })
}

async fn step(session: &Session, name: &str, argument: &str) -> Result<Value, SessionError> {
    let (key, value) = argument.split_once('=').unwrap_or((argument, ""));
    let number = value.parse::<u64>().or_else(|_| argument.parse()).unwrap_or_default();
    Ok(match name {
        "set" => json!(session.insert(key, value)?),
        "remove" => json!(session.remove(key)?),
        "take" => json!(session.take::<String>(key)?),
        "take-number" => json!(session.take::<u64>(key)?),
        "take-once" => json!(session.take_once::<String>(key).await?),
        "touch" => json!(session.touch().await?),
        "remember" => json!(session.remember_for(Duration::from_millis(number))?),
        "get" => json!(session.get::<String>(key)?),
        "get-number" => json!(session.get::<u64>(key)?),
        "contains" => json!(session.contains_key(key)),
        "clear" => json!(session.clear()?),
        "incr" => json!(incremented(session, key)?),
        "unserialisable" => json!(session.insert(key, Unserialisable)?),
        "deep" => json!(session.insert(key, nested(number))?),
        "big" => json!(session.insert(key, "x".repeat(usize::try_from(number).unwrap_or(usize::MAX)))?),
        "login" => json!(session.login(argument)?),
        "login-with" => json!(session.login_with(
            Login::new(key).assurance(u8::try_from(number).unwrap_or(u8::MAX)).label(format!("level {number}"))
        )?),
        "login-from" => json!(session.login_with(Login::new(key).provider_session("https://login.example", value))?),
        "login-big" => json!(session.login(&"x".repeat(usize::try_from(number).unwrap_or(usize::MAX)))?),
        "step-up" => json!(session.step_up(u8::try_from(number).unwrap_or(u8::MAX))?),
        "require-device" => json!(session.require_device()?),
        "recent" => json!(session.require_recent_auth(Duration::from_millis(number))?),
        "assurance" => json!(session.require_assurance(u8::try_from(number).unwrap_or(u8::MAX))?),
        "use-bearer" => json!(session.use_bearer()?),
        "revoke-others" => json!(session.revoke_others().await?),
        "logout-everywhere" => json!(session.logout_everywhere()?),
        "logout-keeping-data" => json!(session.logout_keeping_data()?),
        "hash-map" => json!(session.insert(key, hashed(number))?),
        "hash-maps" => json!(session.insert(key, [hashed(number), hashed(number + 1)])?),
        "keep" => json!(session.vault().insert(key, value)?),
        "keep-big" => {
            let value = "x".repeat(usize::try_from(number).unwrap_or(usize::MAX));
            json!(session.vault().insert(key, value)?)
        }
        "kept" => json!(session.vault().get::<String>(key).await?),
        "kept-length" => json!(session.vault().get::<String>(key).await?.map(|text| text.len())),
        "kept-many" => json!(session.vault().get_many::<String>(&argument.split(',').collect::<Vec<_>>()).await?),
        "kept-keys" => json!(session.vault().keys()),
        "kept-incr" => json!(kept_incremented(session, key).await?),
        "renew" => json!(session.renew()?),
        "logout" => json!(session.logout()?),
        "discard" => {
            session.discard();
            Value::Null
        }
        "save" => json!(session.save().await?),
        "is-live" => json!(session.is_live().await?),
        "lifetime" => json!(session.set_lifetime(Duration::from_millis(number))?),
        "idle" => json!(session.set_idle_timeout(Duration::from_millis(number))?),
        "persistent" => json!(session.set_persistent(argument == "true")?),
        "label" => json!(session.set_label(argument)?),
        "label-big" => json!(session.set_label(&"x".repeat(usize::try_from(number).unwrap_or(usize::MAX)))?),
        "flash" => json!(session.flash(FlashLevel::Info, argument)?),
        "flashes" => session.take_flashes()?.into_iter().map(|flash| json!(flash.text)).collect(),
        "sleep" => {
            tokio::time::sleep(Duration::from_millis(number)).await;
            Value::Null
        }
        #[expect(clippy::panic, reason = "this is what the step is for")]
        "panic" => panic!("as asked"),
        // `status` is looked at by the caller.
        _ => Value::Null,
    })
}

/// Counts one more under a key in the vault.
async fn kept_incremented(session: &Session, key: &str) -> Result<u64, SessionError> {
    let count = |n: &mut u64| {
        *n += 1;
        *n
    };
    session.vault().update(key, count).await
}

/// A map of so many entries. Each has a hasher of its own, so that no two iterate alike.
fn hashed(count: u64) -> HashMap<String, u64> {
    (0..count).map(|n| (format!("entry {n}"), n)).collect()
}

/// Arrays in arrays.
fn nested(depth: u64) -> Cbor {
    (0..depth).fold(Cbor::Null, |inner, _| Cbor::Array(vec![inner]))
}

/// A value whose type cannot be serialised.
struct Unserialisable;

impl Serialize for Unserialisable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("this type is never serialisable"))
    }
}
