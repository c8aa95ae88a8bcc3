//! The end of a request: commit what is to be kept, then say what the response needs.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::commit::{self, When, is_renewal_due};
use crate::detached::Detached;
use crate::manager::SessionManager;
use crate::reply::Reply;
use crate::request::Request;
use crate::state::{Base, Live, State};
use crate::transport::Transport;

/// The end of a request: a future of the response's [`Reply`], `None` if it needs nothing.
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

    /// Returns the reply, if it needs no store and no waiting: most requests only read.
    ///
    /// # Errors
    ///
    /// Itself, to be awaited, if there is something to commit.
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
/// A timed-out (408) or abandoned (499) handler is stopped anywhere, so half of its work is as wrong as that of one that
/// failed (5xx).
fn commits(status: u16) -> bool {
    status < 500 && !matches!(status, 408 | 499)
}

/// Ends a request whose session something asked for, and which takes no more changes.
pub(crate) fn finish(request: &Arc<Request>, status: u16) -> Finish {
    let Some(mut state) = request.loaded_state() else {
        // The store failed, and the handler's answer says so to this client alone.
        return Finish(Inner::Now(Some(Reply::new(&request.manager).to(status))));
    };
    let failed = !commits(status);
    if failed {
        state.discard();
    }
    if is_settled(&request.manager, &state) {
        return Finish(Inner::Now(Some(reply(&request.manager, &state).to(status))));
    }
    drop(state);
    let committing = Arc::clone(request);
    let commit = async move { Some(complete(&committing, failed).await.to(status)) };
    Finish(Inner::Later(Detached::always(request.manager.commits(), commit)))
}

async fn complete(request: &Arc<Request>, failed: bool) -> Reply {
    let result = commit::commit(request, When::Finish).await;
    let Some(state) = request.loaded_state() else { return Reply::default() };
    match result {
        Ok(()) => reply(&request.manager, &state),
        // Nothing that was asked for is half done: no cookie leaves. The handler's own failure stays.
        Err(error) => Reply { failure: Some(error).filter(|_| !failed), ..Reply::new(&request.manager) },
    }
}

/// Returns `true` if there is nothing to write and nothing to ask the store.
fn is_settled(manager: &SessionManager, state: &State) -> bool {
    if !state.pending.is_empty() || state.unresolved.is_some() {
        return false;
    }
    match &state.base {
        Base::Anonymous(_) => true,
        Base::Live(live) => {
            let now = manager.now();
            live.owed.is_none()
                && live.newest.keys.compromised().is_none()
                && !is_renewal_due(manager, live, now)
                && !commit::is_touch_due(manager, live, now)
        }
    }
}

/// Says what the response sends: by the session's transport alone, never by both.
fn reply(manager: &SessionManager, state: &State) -> Reply {
    // Not beside the cookie of a session that begins after a logout: the browser would forget that one, too.
    let clear_site_data =
        manager.clear_site_data().filter(|_| state.ended_by_logout && state.live().is_none()).cloned();
    let reply = Reply { clear_site_data, ..Reply::new(manager) };
    match (state.caller.transport, manager.bearer()) {
        (Transport::Bearer, Some(bearer)) => {
            let token = match &state.base {
                Base::Live(live) => live.owed.as_ref().map(|token| {
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

fn set_cookie(manager: &SessionManager, live: &Live) -> Option<String> {
    let token = live.owed.as_ref()?;
    let persistent = live.newest.meta.persistent.unwrap_or(manager.persistent());
    let max_age = persistent.then(|| live.bucket.expires_at.since(manager.now()));
    let cookie = manager.cookie().set(token, max_age);
    remember(manager, Transport::Cookie, manager.cookie().value(&cookie), live);
    Some(cookie)
}

/// Remembers a token that leaves with the response, if tokens are remembered.
fn remember(manager: &SessionManager, transport: Transport, text: &str, live: &Live) {
    manager.sealer_for(transport).remember_issued(text, &live.newest, live.bucket.subject.as_ref());
}
