//! The way from a request's cookies to a verdict: decode, open, load the bucket, judge. All that asks the store is here.

use std::sync::{Mutex, PoisonError};

use secure_sessions_core::{KeyKind, Suspect};
use secure_sessions_store::{Entry, SessionStore, StoreError};

use self::judge::Judge;
use self::judged::{Judged, Verdicts};
use self::standing::stand_by_device;
use crate::adapter::head::BodySize;
use crate::config::OnReplay;
use crate::detached::Detached;
use crate::error::SessionError;
use crate::event::Event;
use crate::manager::SessionManager;
use crate::request::caller::Caller;
use crate::request::ending;
use crate::request::state::{Base, Other, State};
use crate::request::upkeep;

mod judge;
mod judged;
mod presented;
mod standing;

#[cfg(feature = "device")]
pub(crate) use self::presented::open;
pub(crate) use self::presented::{Presented, present};

/// Returns the state of a request that came without a cookie or bearer token of ours.
pub(crate) fn without_cookie(caller: Caller) -> Box<Mutex<State>> {
    State::boxed(Base::default(), false, false, caller)
}

/// Returns the state of the usual request, whose only token is its session's newest, if the store answers at once.
///
/// Returns `None` in every other case: [`load`] then starts over.
pub(crate) fn load_now(
    manager: &SessionManager,
    presented: &mut Presented,
    caller: &Caller,
) -> Option<Box<Mutex<State>>> {
    let at = presented.at;
    let opened = presented.first.as_ref().filter(|_| presented.is_only())?;
    if !manager.is_not_before_known(at) || !opened.is_timely(at, manager.not_before()) {
        return None;
    }
    let id = opened.session_id();
    let bucket = manager.store().peek(&id)?;
    // A touch writes, and a token that is not the newest may revoke its session: both must wait for the store.
    if !caller.untouched && bucket.touch_due(at, &manager.times().bucket) {
        return None;
    }
    let newest = presented.newest(manager, &bucket)?;
    let judged = Judge { manager, caller, presented }.by_entry(Some(Entry::Bucket(bucket)), Some(newest));
    // Most requests end here, so they do not go through the verdicts on several tokens.
    if let Judged::Live(live) = judged {
        let mut state = State::boxed(Base::Live(live), true, false, caller.clone());
        stand_by_device(manager, state.get_mut().unwrap_or_else(PoisonError::into_inner));
        return Some(state);
    }
    let mut verdicts = Verdicts::default();
    verdicts.add(id, judged);
    Some(verdicts.state(manager, presented.only_garbage, caller))
}

/// Judges the request's tokens by the store, and returns the request's state.
pub(crate) async fn load(
    manager: &SessionManager,
    mut presented: Presented,
    caller: Caller,
) -> Result<Box<Mutex<State>>, SessionError> {
    let (at, body) = (presented.at, presented.body);
    for suspect in std::mem::take(&mut presented.suspects) {
        accuse(manager, &suspect).await;
    }
    if presented.first.is_some() {
        manager.know_not_before(at).await?;
    }
    let mut verdicts = Verdicts::default();
    let mut judge = Judge { manager, caller: &caller, presented: &mut presented };
    while let Some(opened) = &judge.presented.first {
        let id = opened.session_id();
        let judged = if opened.is_timely(at, manager.not_before()) {
            match manager.store().load(&id).await {
                Ok(entry) => judge.by_entry(entry, None),
                Err(error @ StoreError::Corrupt(_)) => {
                    manager.store_failed("load", error);
                    judge.without_entry()
                }
                Err(error) => return Err(manager.store_failed("load", error)),
            }
        } else {
            judge.by_times()
        };
        // Revoked here, where the store can be waited for, and before the handler runs.
        if let Judged::Replayed(session) = &judged {
            revoke(manager, session.clone(), body).await?;
        }
        verdicts.add(id, judged);
        judge.presented.advance();
    }
    if let Some(live) = &mut verdicts.live {
        // Touched on arrival, not at the end: a handler of many minutes must not make its session look idle.
        if !caller.untouched && upkeep::is_touch_due(manager, live, at) {
            // Boxed, because it is seldom due, and most requests' futures should not reserve room for it.
            Box::pin(upkeep::touch(manager, live, at)).await;
        }
    }
    Ok(verdicts.state(manager, presented.only_garbage, &caller))
}

/// Raises the alarm that the seal key has leaked, unless the bucket shows that the token is genuine and its holder
/// damaged the mark: otherwise anyone with a cookie could raise it. Such a token has no other effect.
async fn accuse(manager: &SessionManager, suspect: &Suspect) {
    match manager.store().load(&suspect.session_id()).await {
        Ok(Some(Entry::Bucket(bucket))) if suspect.is_damaged(&bucket) => {}
        Ok(_) => manager.emit(&Event::Forged { kind: KeyKind::Seal, key: suspect.key() }),
        // Without the bucket there is no way to tell. A forger's next attempt will raise the alarm.
        Err(error) => {
            manager.store_failed("load", error);
        }
    }
}

/// Ends the session of a replayed token, even if a renew has moved it: somebody holds a copy of that token.
///
/// It goes on if the request is dropped, because whoever replays a token may hang up at any moment.
fn revoke(manager: &SessionManager, session: Other, body: BodySize) -> Detached<Result<(), SessionError>> {
    let (commits, manager) = (manager.commits(), manager.clone());
    Detached::once_started(commits, async move {
        let Other { id, subject, vault } = session;
        // A proxy may have held a large body back until the cookie in its head was outdated: no theft, so no revocation.
        let revokes = manager.on_replay() == OnReplay::Revoke && !body.may_be_held_back();
        let outcome =
            if revokes { ending::end(&manager, &id, subject.as_deref(), false, vault).await } else { Ok(None) };
        let ended = outcome.as_ref().ok().and_then(Option::as_ref);
        // Raised even if the session could not be ended: a theft must not go unseen because the store failed.
        manager.emit(&Event::Replayed { session: manager.handle(ended.unwrap_or(&id)), revoked: ended.is_some() });
        outcome.map(drop)
    })
}
