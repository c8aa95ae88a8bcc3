//! The end of a request: commits its changes, then decides which headers the response needs.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::adapter::reply::{RareHeaders, Reply};
use crate::detached::Detached;
use crate::error::SessionError;
use crate::event::Event;
use crate::manager::SessionManager;
use crate::request::cell::Request;
use crate::request::commit::{self, When};
use crate::request::dpop;
use crate::request::state::{Admission, Base, State};
use crate::request::upkeep::{is_rotation_due, is_touch_due};
use crate::transport::Transport;

/// The end of a request: a future of the response's [`Reply`], or `None` if the response needs nothing.
#[must_use = "the session's changes are lost unless this is awaited"]
pub struct Finish(Inner);

enum Inner {
    Now(Option<Reply>),
    Later(Detached<Option<Reply>>),
}

impl Finish {
    #[inline]
    pub(crate) fn nothing() -> Self {
        Self(Inner::Now(None))
    }

    /// Returns the reply at once if it needs no waiting, as for most requests: they only read.
    ///
    /// # Errors
    ///
    /// Returns `self`, to be awaited, if there is a commit to wait for.
    #[inline]
    pub fn try_now(self) -> Result<Option<Reply>, Self> {
        match self.0 {
            Inner::Now(reply) => Ok(reply),
            later @ Inner::Later(_) => Err(Self(later)),
        }
    }
}

impl Future for Finish {
    type Output = Option<Reply>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Reply>> {
        match &mut self.0 {
            Inner::Now(reply) => Pin::new(&mut ready(reply.take())).poll(context),
            Inner::Later(commit) => Pin::new(commit).poll(context),
        }
    }
}

/// Returns `true` if a response with this status commits what its request changed.
///
/// A handler that timed out (408) or was abandoned (499) stopped at an arbitrary point, so its changes are as
/// incomplete as those of one that failed (5xx).
fn commits(status: u16) -> bool {
    status < 500 && !matches!(status, 408 | 499)
}

/// Ends a request whose session was asked for, and which takes no more changes.
pub(crate) fn finish(request: &Arc<Request>, status: u16) -> Finish {
    let Some(mut state) = request.loaded_state() else {
        // The store failed while loading, or the proof was refused. The handler's response says so, and must not be cached.
        let rare = request.refused().map(|refused| Box::new(refused.headers(&request.manager)));
        return Finish(Inner::Now(Some(Reply { rare, ..read_only(&request.manager) }.to(status))));
    };
    let failed = !commits(status);
    if failed {
        state.discard();
    }
    if is_settled(&request.manager, &state) {
        return Finish(Inner::Now(Some(reply(&request.manager, &state).to(status))));
    }
    drop(state);
    if let Some(result) = commit::commit_now(request) {
        return Finish(Inner::Now(Some(completed(request, failed, result).to(status))));
    }
    let committing = Arc::clone(request);
    let commit = async move { Some(complete(&committing, failed).await.to(status)) };
    Finish(Inner::Later(Detached::always(request.manager.commits(), commit)))
}

async fn complete(request: &Arc<Request>, failed: bool) -> Reply {
    let result = commit::commit(request, When::Finish).await;
    completed(request, failed, result)
}

fn completed(request: &Arc<Request>, failed: bool, result: Result<(), SessionError>) -> Reply {
    let Some(state) = request.loaded_state() else { return Reply::default() };
    match result {
        Ok(()) => reply(&request.manager, &state),
        // A failed commit sends no cookie, so nothing is half done. A handler's own failure is not replaced.
        Err(error) => {
            if !failed {
                error.report_as("the response was replaced: its session was not committed");
            }
            Reply { failure: Some(Box::new(error)).filter(|_| !failed), ..read_only(&request.manager) }
        }
    }
}

/// Returns `true` if there is nothing to write and no reason to ask the store.
fn is_settled(manager: &SessionManager, state: &State) -> bool {
    if !state.pending.is_empty() || state.unresolved.is_some() {
        return false;
    }
    match &state.base {
        Base::Anonymous(_) => true,
        Base::Live(live) => {
            // Judged as of the arrival: upkeep that falls due while the handler runs is left to the next request.
            let now = live.arrival.at;
            let is_upkeep_due = || is_rotation_due(manager, live, now) || is_touch_due(manager, live, now);
            live.to_deliver.is_none()
                && live.newest.keys.compromised().is_none()
                && (state.caller.untouched || !is_upkeep_due())
        }
    }
}

/// Returns the headers to send, for the session's own transport alone.
fn reply(manager: &SessionManager, state: &State) -> Reply {
    let reply = Reply { rare: rare_headers(manager, state), ..read_only(manager) };
    match (state.caller.transport, manager.bearer()) {
        (Transport::Bearer, Some(bearer)) => {
            let token = match &state.base {
                Base::Live(live) => live.to_deliver.as_ref().map(|token| {
                    let text = token.encode();
                    remember(manager, Transport::Bearer, &text, live);
                    text
                }),
                Base::Anonymous(_) => state.remove_cookie.then(String::new),
            };
            Reply { bearer: token.map(|token| (bearer.header, token)), ..reply }
        }
        _ => {
            let set_cookie = match &state.base {
                Base::Live(live) => set_cookie(manager, live),
                Base::Anonymous(_) if state.remove_cookie => Some(manager.cookie().remove().to_owned()),
                Base::Anonymous(_) => None,
            };
            Reply { set_cookie, ..reply }
        }
    }
}

/// Returns the headers of a login or a logout: `Clear-Site-Data`, the offer to bind the session to a device, and the removal
/// of a ticket that is worth nothing any more; and those about DPoP.
fn rare_headers(manager: &SessionManager, state: &State) -> Option<Box<RareHeaders>> {
    // Not together with the cookie of a session that begins after the logout: the browser would clear that cookie too.
    let clear_site_data =
        manager.clear_site_data().filter(|_| state.ended_by_logout && state.live().is_none()).cloned();
    let devices = manager.devices().filter(|_| state.caller.transport == Transport::Cookie);
    // An old session is never offered: an attacker who stole its cookie could bind it, and lock its user out.
    let offering = devices.filter(|devices| state.logged_in && devices.offers());
    let registration = offering.zip(state.live()).filter(|(_, live)| {
        let meta = &live.newest.meta;
        // A logout after the login, in the same request, leaves a session of nobody.
        meta.subject.is_some() && meta.device.is_none()
    });
    let registration = registration.map(|(devices, live)| {
        let session = manager.handle(&live.bucket.id);
        manager.emit(&Event::DeviceOffered { session });
        let challenge = manager.sealer(Transport::Cookie).keyring().registration_challenge(session, manager.now());
        let path = &devices.settings.path;
        format!(r#"(ES256);path="{path}";challenge="{challenge}";authorization="{session}""#)
    });
    // A login leaves a ticket alone: the browser replaces it when it has registered its key.
    let is_outdated = state.ended_by_logout && state.caller.has_ticket();
    let removal = devices.filter(|_| state.remove_ticket || is_outdated);
    let removal = removal.map(|devices| devices.cookie.remove().to_owned());
    let RareHeaders { nonce, challenge, .. } = dpop_headers(manager, state);
    let any = clear_site_data.is_some() || registration.is_some() || removal.is_some() || nonce.is_some();
    any.then(|| Box::new(RareHeaders { clear_site_data, registration, removal, nonce, challenge }))
}

/// Returns the headers about DPoP: the next nonce where it is due, and what a 401 asks the client for.
fn dpop_headers(manager: &SessionManager, state: &State) -> RareHeaders {
    if manager.dpop().is_none() || state.caller.transport != Transport::Bearer {
        return RareHeaders::default();
    }
    if state.remove_ticket {
        return dpop::challenge(manager, Some("use_dpop_nonce"));
    }
    if state.live().is_none() {
        return dpop::challenge(manager, state.device.is_refused().then_some("invalid_token"));
    }
    if state.caller.possession.is_nonce_due(manager.now()) { dpop::next_nonce(manager) } else { RareHeaders::default() }
}

/// Returns the reply to a request that only read its session: caching headers, and no token.
fn read_only(manager: &SessionManager) -> Reply {
    Reply::new(manager.takes_cookies(), manager.bearer().is_some())
}

fn set_cookie(manager: &SessionManager, live: &Admission) -> Option<String> {
    let token = live.to_deliver.as_ref()?;
    let persistent = live.newest.meta.persistent.unwrap_or(manager.persistent());
    let max_age = persistent.then(|| live.bucket.expires_at.since(manager.now()));
    let cookie = manager.cookie().set(token, max_age);
    remember(manager, Transport::Cookie, manager.cookie().value(&cookie), live);
    Some(cookie)
}

/// Remembers a token that leaves with the response, if tokens are remembered.
fn remember(manager: &SessionManager, transport: Transport, text: &str, live: &Admission) {
    manager.sealer(transport).remember_issued(text, &live.newest, live.bucket.subject.as_ref());
}
