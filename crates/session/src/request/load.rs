//! The way from a request's cookies to a verdict: decode, open, load the bucket, judge.

use std::sync::{Arc, Mutex};

use arc_swap::Guard;
use secure_sessions_core::{
    Bucket, DecodeError, Ending, HandoffError, KeyKind, Meta, Newest, Opened, Refusal, SessionId, Suspect, Timestamp,
    Token, Verdict,
};
use secure_sessions_store::{Entry, SessionStore, StoreError};

use crate::adapter::head::{BodySize, RequestHead};
use crate::config::OnReplay;
use crate::config::binding::Binding;
use crate::error::SessionError;
use crate::event::{EndReason, Event};
use crate::manager::SessionManager;
use crate::remember::{Remembered, Sealing};
use crate::request::caller::Caller;
use crate::request::ending;
use crate::request::state::{Admission, Also, Anonymous, Base, Other, State};
use crate::request::upkeep;
use crate::transport::cookie;
use crate::transport::{self, Transport};

/// The maximum number of sessions that one request may present. Values that are not our tokens do not count.
const MAX_SESSIONS: usize = 4;

/// The tokens that a request presented, opened but not yet judged.
pub(crate) struct Presented {
    /// The keys in force when the request began. They are borrowed, so that the cores of a busy server do not contend
    /// for one reference count; see [`detach`](Self::detach).
    sealer: Guard<Arc<Sealing>>,
    at: Timestamp,
    body: BodySize,
    /// The token to judge next. For each session only the token with the highest generation is kept.
    first: Option<Opened>,
    others: Vec<Opened>,
    /// The tokens sealed with one of our keys that lack the right mark.
    suspects: Vec<Suspect>,
    /// `true` if one of the tokens was remembered instead of opened.
    recalled: bool,
    /// The first token, if it is to be remembered once it is judged current.
    second_visit: Option<Remembered>,
    /// `true` if none of the values was a token of ours: the response then removes the cookie.
    only_garbage: bool,
}

/// Reads the head, and decodes and opens our tokens in it. Returns `None` if it holds no cookie of our name and no
/// bearer token.
///
/// If a request uses both transports, the bearer token alone counts, even if it is refused: browsers send cookies by
/// themselves, so a client that names a token means that one.
pub(crate) fn present(manager: &SessionManager, head: &dyn RequestHead) -> (Option<Presented>, Caller) {
    let mut presented: Option<Presented> = None;
    let mut take = |transport: Transport, value: &[u8]| {
        presented.get_or_insert_with(|| Presented::new(manager, transport)).take(manager, value);
    };
    let mut bearer = false;
    if manager.bearer().is_some() {
        bearer = transport::each_token(head, &mut |value| take(Transport::Bearer, value));
    }
    if !bearer && manager.takes_cookies() {
        head.for_each_value("cookie", &mut |header| {
            cookie::for_each_value(header, manager.cookie_name(), |value| take(Transport::Cookie, value));
        });
    }
    let transport = if bearer || !manager.takes_cookies() { Transport::Bearer } else { Transport::Cookie };
    (presented, Caller::new(manager, transport, head))
}

impl Presented {
    fn new(manager: &SessionManager, transport: Transport) -> Self {
        Self {
            sealer: manager.sealer(transport),
            at: manager.now(),
            body: BodySize::Exact(0),
            first: None,
            others: Vec::new(),
            suspects: Vec::new(),
            recalled: false,
            second_visit: None,
            only_garbage: true,
        }
    }

    /// Opens one value. A value that does not open, but is not certainly garbage, keeps the response from removing the
    /// cookie: it might be the valid one.
    fn take(&mut self, manager: &SessionManager, value: &[u8]) {
        if let Some(opened) = self.sealer.recall(value, self.at) {
            self.recalled = true;
            return self.add(opened);
        }
        let opened = match Token::decode(value).map(|token| self.sealer.open(token)) {
            Ok(Ok(opened)) => opened,
            // Some clients add a blank to the value. It is no token then, but not garbage either.
            Err(_) if value.trim_ascii().len() < value.len() => return self.only_garbage = false,
            Err(DecodeError::LaterVersion { version }) => {
                self.only_garbage = false;
                return manager.emit(&Event::LaterVersion { version });
            }
            Err(_) | Ok(Err(Refusal::NotAuthentic)) => return,
            Ok(Err(refusal)) => {
                self.only_garbage = false;
                match refusal {
                    Refusal::UnknownKey { kind, id } => manager.emit(&Event::UnknownKey { kind, key: id }),
                    Refusal::Forged { kind, id } => manager.emit(&Event::Forged { kind, key: id }),
                    // Further suspects would only cost store reads: they raise the same alarm as the first ones.
                    Refusal::Unmarked(suspect) if self.suspects.len() < MAX_SESSIONS => self.suspects.push(suspect),
                    _ => {}
                }
                return;
            }
        };
        if self.first.is_none() {
            self.second_visit = self.sealer.second_visit(value, &opened, self.at);
        }
        self.add(opened);
    }

    fn add(&mut self, opened: Opened) {
        self.only_garbage = false;
        let id = opened.session_id();
        let Some(first) = &mut self.first else {
            self.first = Some(opened);
            return;
        };
        let sessions = 1 + self.others.len();
        match std::iter::once(first).chain(&mut self.others).find(|other| other.session_id() == id) {
            // Two cookies of one session are no ambiguity: the newest token counts.
            Some(other) if other.generation() < opened.generation() => *other = opened,
            Some(_) => {}
            // Further sessions are ignored: one request must not cause any number of store reads.
            None if sessions < MAX_SESSIONS => self.others.push(opened),
            None => {}
        }
    }
}

impl Presented {
    /// Prepares for a wait: copies the parts of the head that a verdict depends on, and owns the keys instead of
    /// borrowing them, because a thread has few slots to borrow from.
    pub(crate) fn detach(&mut self, head: &dyn RequestHead) {
        self.body = head.body_size();
        self.sealer = Guard::from_inner(Arc::clone(&self.sealer));
    }

    /// Returns the id of the session whose token is judged first.
    pub(crate) fn session_id(&self) -> Option<SessionId> {
        self.first.as_ref().map(Opened::session_id)
    }

    /// Forgets the remembered tokens of a session whose presented token is not its newest.
    fn forget(&self, id: &SessionId) {
        if self.recalled {
            self.sealer.forget(id);
        }
    }

    /// Remembers the token judged to be this session's newest, if it is presented for the second time.
    fn remember(&mut self, live: &Admission) {
        let current = |remembered: &Remembered| remembered.is_of(&live.newest);
        if let Some(remembered) = self.second_visit.take_if(|remembered| current(remembered)) {
            self.sealer.remember(remembered);
        }
    }

    /// Returns the proof that the bucket is alive and the first token is its newest.
    fn newest(&self, manager: &SessionManager, bucket: &Bucket) -> Option<Newest> {
        let opened = self.first.as_ref()?;
        self.sealer.newest(bucket, opened, self.at, manager.not_before(), &manager.times().bucket)
    }
}

/// Returns the state of a request that came without a cookie or bearer token of ours.
pub(crate) fn without_cookie(caller: Caller) -> Box<Mutex<State>> {
    Box::new(Mutex::new(State::new(Base::Anonymous(Anonymous::default()), false, false, caller)))
}

/// Returns the state of the usual request, whose only token is its session's newest, if the store answers at once.
///
/// Returns `None` in every other case: [`load`] then starts over.
pub(crate) fn load_now(
    manager: &SessionManager,
    presented: &mut Presented,
    caller: &Caller,
) -> Option<Box<Mutex<State>>> {
    let alone = presented.others.is_empty() && presented.suspects.is_empty();
    let opened = presented.first.as_ref().filter(|_| alone)?;
    if !opened.is_timely(presented.at, manager.not_before()) {
        return None;
    }
    let bucket = manager.store().peek(&opened.session_id())?;
    // A touch writes, and a token that is not the newest may revoke its session: both must wait for the store.
    if !caller.untouched && bucket.touch_due(presented.at, &manager.times().bucket) {
        return None;
    }
    let newest = presented.newest(manager, &bucket)?;
    let judged = judge(manager, presented, caller, Some(Entry::Bucket(bucket)), Some(newest));
    if let Judged::Live(live) = judged {
        return Some(Box::new(Mutex::new(State::new(Base::Live(live), true, false, caller.clone()))));
    }
    let mut verdicts = Verdicts::default();
    verdicts.add(judged);
    Some(verdicts.state(manager, presented.only_garbage, caller))
}

/// Judges the request's tokens by the store, and returns the request's state.
pub(crate) async fn load(
    manager: &SessionManager,
    mut presented: Presented,
    caller: Caller,
) -> Result<Box<Mutex<State>>, SessionError> {
    for suspect in std::mem::take(&mut presented.suspects) {
        accuse(manager, &suspect).await;
    }
    let mut verdicts = Verdicts::default();
    while let Some(opened) = &presented.first {
        let id = opened.session_id();
        let judged = if opened.is_timely(presented.at, manager.not_before()) {
            match manager.store().load(&id).await {
                Ok(entry) => judge(manager, &mut presented, &caller, entry, None),
                // Only a logout removes a corrupt entry, so an error here would lock this browser out for good.
                Err(error @ StoreError::Corrupt(_)) => {
                    let bound = bound_as(manager, opened);
                    manager.store_failed("load", error);
                    let session = Other { id, subject: opened.subject() };
                    admit_client(
                        manager,
                        &presented,
                        &caller,
                        bound.as_ref(),
                        Judged::Unjudged { session, was_ended: false },
                        &id,
                    )
                }
                Err(error) => return Err(manager.store_failed("load", error)),
            }
        } else {
            presented.forget(&id);
            let (bound, judged) = (bound_as(manager, opened), expired(manager, &id, opened.subject()));
            admit_client(manager, &presented, &caller, bound.as_ref(), judged, &id)
        };
        presented.first = presented.others.pop();
        // Revoked here, where the store can be waited for, and before the handler runs.
        if let Judged::Replayed(session) = &judged {
            revoke(manager, session, presented.body).await?;
        }
        verdicts.add(judged);
    }
    if let Some(live) = &mut verdicts.live {
        // Touched on arrival, not at the end: a handler of many minutes must not make its session look idle.
        if !caller.untouched && upkeep::is_touch_due(manager, live, presented.at) {
            // Boxed, because it is seldom due, and most requests' futures should not reserve room for it.
            Box::pin(upkeep::touch(manager, live, presented.at)).await;
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

/// The verdicts on all tokens of one request.
#[derive(Default)]
struct Verdicts {
    anonymous: Anonymous,
    live: Option<Arc<Admission>>,
    /// The live sessions after the first, if the request presented several.
    more: Vec<Other>,
    unjudged: Vec<Other>,
    expired: Vec<Other>,
}

impl Verdicts {
    fn add(&mut self, judged: Judged) {
        match judged {
            Judged::Live(admitted) if self.live.is_some() => self.more.push(Other::from(&*admitted)),
            Judged::Live(admitted) => self.live = Some(admitted),
            Judged::Refused { was_ended, only_login } => {
                self.anonymous.was_ended |= was_ended;
                self.anonymous.only_login |= only_login;
            }
            Judged::Unjudged { session, was_ended } => {
                self.unjudged.push(session);
                self.anonymous.was_ended |= was_ended;
                self.anonymous.only_login = true;
            }
            Judged::Expired(session) => {
                self.expired.push(session);
                self.anonymous.was_ended = true;
            }
            Judged::Replayed(_) => self.anonymous.was_ended = true,
        }
    }

    /// Returns the request's state: its live session if there is exactly one, otherwise anonymous.
    fn state(self, manager: &SessionManager, only_garbage: bool, caller: &Caller) -> Box<Mutex<State>> {
        let Self { anonymous, live, more, unjudged, expired } = self;
        let mut admitted = Vec::new();
        let base = match live {
            // One of them may be planted by an attacker: serve neither, until a login ends them all.
            Some(live) if !more.is_empty() => {
                manager.emit(&Event::Ambiguous { count: 1 + more.len() });
                admitted = more;
                admitted.push(Other::from(&*live));
                Base::Anonymous(Anonymous { only_login: true, ..anonymous })
            }
            Some(live) => Base::Live(live),
            None => Base::Anonymous(anonymous),
        };
        let mut state = State::new(base, true, only_garbage, caller.clone());
        state.also = Also { admitted, unjudged, expired };
        Box::new(Mutex::new(state))
    }
}

/// Returns `true`, and raises the event, if the session is bound to another client and the request is refused for that.
fn is_refused(manager: &SessionManager, presented: &Presented, caller: &Caller, id: &SessionId, meta: &Meta) -> bool {
    if !caller.is_other(presented.sealer.keyring(), id, meta) {
        return false;
    }
    manager.emit(&Event::BindingMismatch { session: manager.handle(id) });
    manager.binding().is_some_and(Binding::refuses)
}

enum Judged {
    Live(Arc<Admission>),
    Refused {
        was_ended: bool,
        only_login: bool,
    },
    /// The token is authentic, but its session could not be judged: see [`Also::unjudged`].
    Unjudged {
        session: Other,
        was_ended: bool,
    },
    /// The token is authentic, but its session is over by this host's clock.
    Expired(Other),
    /// The token is a replay: somebody holds a copy of a token of this session.
    Replayed(Other),
}

const REFUSED: Judged = Judged::Refused { was_ended: false, only_login: false };
const OVER: Judged = Judged::Refused { was_ended: true, only_login: false };
/// The verdict where the browser may hold a newer cookie, or be about to get one: only a login may replace it.
const OUTDATED: Judged = Judged::Refused { was_ended: false, only_login: true };

fn expired(manager: &SessionManager, id: &SessionId, subject: Option<String>) -> Judged {
    manager.emit(&Event::Expired { session: manager.handle(id) });
    Judged::Expired(Other { id: *id, subject })
}

/// Ends the session of a replayed token, even if a renew has moved it: somebody holds a copy of that token.
async fn revoke(manager: &SessionManager, session: &Other, body: BodySize) -> Result<(), SessionError> {
    let Other { id, subject } = session;
    // A proxy may have held a large body back until the cookie in its head was outdated: no theft, so no revocation.
    let revokes = manager.on_replay() == OnReplay::Revoke && !body.may_be_held_back();
    let outcome = if revokes { ending::end(manager, id, subject.as_deref(), false).await } else { Ok(None) };
    let ended = outcome.as_ref().ok().and_then(Option::as_ref);
    // Raised even if the session could not be ended: a theft must not go unseen because the store failed.
    manager.emit(&Event::Replayed { session: manager.handle(ended.unwrap_or(id)), revoked: ended.is_some() });
    outcome.map(drop)
}

/// Judges `presented.first` (removing it) against the store's entry for its session. What was already proven is not
/// judged again.
#[inline]
fn judge(
    manager: &SessionManager,
    presented: &mut Presented,
    caller: &Caller,
    entry: Option<Entry>,
    proven: Option<Newest>,
) -> Judged {
    let Some(opened) = presented.first.take() else { return REFUSED };
    let (id, at) = (opened.session_id(), presented.at);
    let bound = bound_as(manager, &opened);
    let judged = match entry {
        Some(Entry::Bucket(bucket)) => judge_by(manager, presented, opened, bucket, proven),
        Some(Entry::Tombstone(tombstone)) => match tombstone.ending(at, &manager.times().bucket) {
            // Within a grace of a renew an honest request may still be under way: no replay, but a logout ends it.
            Ending::Recent if tombstone.successor.is_some() => {
                Judged::Unjudged { session: Other { id, subject: opened.subject() }, was_ended: true }
            }
            // The browser may already hold a newer login's cookie, which this response must not overwrite.
            Ending::Recent => Judged::Refused { was_ended: true, only_login: true },
            Ending::Replayed(successor) => Judged::Replayed(Other { id: successor, subject: opened.subject() }),
            Ending::Past => ended(manager, &id),
        },
        None => ended(manager, &id),
    };
    match &judged {
        Judged::Live(live) if live.to_deliver.is_none() => presented.remember(live),
        _ => presented.forget(&id),
    }
    admit_client(manager, presented, caller, bound.as_ref(), judged, &id)
}

/// Returns the binding in a token, which is readable before the verdict; `None` unless sessions are bound.
fn bound_as(manager: &SessionManager, opened: &Opened) -> Option<Meta> {
    manager.binding()?;
    let mut meta = Meta::default();
    meta.binding = opened.binding();
    Some(meta)
}

/// Refuses a client that its session's binding rejects: it must not read the session, end it, or keep it alive.
#[inline]
fn admit_client(
    manager: &SessionManager,
    presented: &Presented,
    caller: &Caller,
    bound: Option<&Meta>,
    judged: Judged,
    id: &SessionId,
) -> Judged {
    let Some(bound) = bound else { return judged };
    let meta = match &judged {
        Judged::Refused { .. } => return judged,
        // An expired session of another client is over, and no more.
        Judged::Expired(_) => {
            let refuses = manager.binding().is_some_and(Binding::refuses);
            let is_other = caller.is_other(presented.sealer.keyring(), id, bound);
            return if refuses && is_other { OVER } else { judged };
        }
        Judged::Live(live) => &live.newest.meta,
        Judged::Unjudged { .. } | Judged::Replayed { .. } => bound,
    };
    if is_refused(manager, presented, caller, id, meta) { OUTDATED } else { judged }
}

/// Judges a token by its bucket.
#[inline]
fn judge_by(
    manager: &SessionManager,
    presented: &Presented,
    opened: Opened,
    bucket: Bucket,
    proven: Option<Newest>,
) -> Judged {
    let (id, not_before, at, sealer) = (opened.session_id(), manager.not_before(), presented.at, &presented.sealer);
    let policy = &manager.times().bucket;
    let corrected = bucket.corrected(at, policy);
    let is_corrected = corrected.is_some();
    let bucket = corrected.unwrap_or(bucket);
    let live = |bucket, newest, arrival, to_deliver| {
        let mut live = Admission::new(manager, bucket, newest, arrival, to_deliver);
        live.is_corrected |= is_corrected;
        Judged::Live(Arc::new(live))
    };
    let tampered = || {
        manager.emit(&Event::StoreTampered { session: manager.handle(&id) });
        REFUSED
    };
    let verdict = match proven {
        Some(newest) => sealer.admit_newest(newest, &bucket, opened),
        None => sealer.admit(&bucket, opened, at, not_before, policy),
    };
    match verdict {
        Verdict::Current(newest) => {
            let arrival = newest.arrival(at);
            live(bucket, newest, arrival, None)
        }
        Verdict::Superseded(superseded) => match sealer.follow(&bucket, superseded.handoff_key(), at, not_before) {
            Ok((newest, token)) => {
                manager.emit_if_heard(|| Event::HandedOff { session: manager.handle(&id) });
                live(bucket, newest, superseded.arrival(at), Some(token))
            }
            Err(HandoffError::Expired) => expired(manager, &id, None),
            Err(HandoffError::UnknownKey { kind, id: key }) => {
                manager.emit(&Event::UnknownKey { kind, key });
                REFUSED
            }
            Err(HandoffError::Critical { key }) => critical(manager, key),
            // A bucket keeps its handoff while a superseded token lives, so this one was tampered with.
            Err(_) => tampered(),
        },
        Verdict::Expired => expired(manager, &id, None),
        Verdict::Replayed => Judged::Replayed(Other { id, subject: None }),
        Verdict::Critical { key } => critical(manager, key),
        // Too many responses were under way at once: the token is honest, so refuse it without revoking.
        Verdict::Evicted => {
            manager.emit(&Event::CrowdedOut { session: manager.handle(&id) });
            OUTDATED
        }
        // We issued the token, but the bucket does not know it: the store has lost writes.
        Verdict::Unremembered => {
            manager.emit(&Event::Unremembered { session: manager.handle(&id) });
            REFUSED
        }
        _ => tampered(),
    }
}

/// Refuses a token with an entry of a later release that must not be ignored. The cookie stays, as for a later version.
fn critical(manager: &SessionManager, key: u64) -> Judged {
    manager.emit(&Event::CriticalEntry { key });
    OUTDATED
}

fn ended(manager: &SessionManager, id: &SessionId) -> Judged {
    let (session, reason) = (Some(manager.handle(id)), EndReason::PresentedAfterEnd);
    manager.emit(&Event::Ended { session, count: 0, reason, logged_in: false });
    OVER
}
