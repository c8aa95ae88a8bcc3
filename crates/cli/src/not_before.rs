//! The time before which cookies are refused.

use secure_sessions::store::SessionStore;
use secure_sessions::{Clock, Keyring, SessionError, SessionManager, SystemClock, Timestamp};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::arguments::{NotBeforeCommand, StoreArguments};
use crate::error::Failure;
use crate::output::{Answer, when};
use crate::store;

pub(crate) async fn run(command: NotBeforeCommand, arguments: &StoreArguments) -> Result<Answer, Failure> {
    let Some(text) = command.time else {
        let kept = store::open(arguments).await?.sessions.not_before().await?;
        let shown = kept.map(when);
        let text = match &shown {
            Some(shown) => format!("Cookies issued before {shown} are refused."),
            None => "No cookie is refused for the time at which it was issued.".to_owned(),
        };
        return Ok(Answer::new(text, json!({ "not_before": shown })));
    };
    // Before the store is asked: a mistyped time is the likelier mistake.
    let at = if text == "now" { None } else { Some(parsed(&text)?) };
    let store = store::open(arguments).await?.sessions;
    let at = match at {
        Some(at) => at,
        // The server's clock is the one that all hosts share, if there is one.
        None => store.now().await?.unwrap_or_else(|| SystemClock.now()),
    };
    // The time has nothing to do with keys, so any will do.
    let manager = SessionManager::builder(Keyring::generate()?, store).build()?;
    let in_force = match manager.set_not_before(at).await {
        Err(SessionError::NotBefore { ahead }) => {
            let at = when(at);
            return Err(Failure::Usage(format!(
                "{at} is {ahead:?} in the future, by the earlier of this host's clock and the store's: every login would be refused \
                 until then, and it could not be taken back"
            )));
        }
        outcome => outcome?,
    };
    let shown = when(in_force);
    let text = if in_force > at {
        format!("Cookies issued before {shown} are refused: this later time was set before, and stays.")
    } else {
        format!("Cookies issued before {shown} are refused, on every host 10 seconds from now at the latest.")
    };
    Ok(Answer::new(text, json!({ "not_before": shown })))
}

fn parsed(text: &str) -> Result<Timestamp, Failure> {
    let wrong = || Failure::Usage(format!("`{text}` is no time: write `now`, or a time such as 2026-01-31T12:00:00Z"));
    let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| wrong())?;
    let millis = u64::try_from(at.unix_timestamp_nanos() / 1_000_000).map_err(|_| wrong())?;
    Ok(Timestamp::from_millis(millis))
}
