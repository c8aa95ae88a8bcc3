//! From a request's cookies to a verdict.

use std::sync::{Arc, Mutex};

use arc_swap::Guard;
use secure_sessions_core::{
    Bucket, DecodeError, Ending, HandoffError, KeyKind, Meta, Opened, Refusal, SessionId, Suspect, Timestamp, Token,
    Verdict,
};
use secure_sessions_store::{Entry, SessionStore, StoreError};

use crate::binding::Binding;
use crate::caller::Caller;
use crate::commit;
use crate::config::OnReplay;
use crate::cookie;
use crate::ending;
use crate::error::SessionError;
use crate::event::{EndReason, Event};
use crate::head::{BodySize, RequestHead};
use crate::manager::SessionManager;
use crate::remember::{Remembered, Sealing};
use crate::state::{Also, Anonymous, Base, Live, Other, State};
use crate::transport::{self, Transport};

/// The most sessions that one request is asked about. What is no token of ours does not count, whatever its number.
const MAX_SESSIONS: usize = 4;

/// What a request came with, opened; nothing of it is believed yet.
pub(crate) struct Presented {
    /// The keys that were in force when the request began. Borrowed, so that the cores of a busy server do not contend for
    /// a count of references; see [`detach`](Self::detach).
    sealer: Guard<Arc<Sealing>>,
    at: Timestamp,
    body: BodySize,
    /// Of each session the token with the highest generation.
    first: Option<Opened>,
    others: Vec<Opened>,
    /// Sealed with a key of ours, without a right mark.
    suspects: Vec<Suspect>,
    /// One of them was remembered, and not opened.
    recalled: bool,
    /// The first one, where it is to be remembered if it is found to be current.
    second_visit: Option<Remembered>,
    /// There were values, and all of them were no tokens of ours at all: the response removes the cookie.
    only_garbage: bool,
}

/// Reads the head: decodes and opens what it holds of ours. `None` if it holds no cookie of our name and no bearer token.
///
/// Where both transports are on and a request uses both, the bearer token alone counts, whatever becomes of it: browsers
/// send cookies by themselves, so who names a token means that one.
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
        head.each_value("cookie", &mut |header| {
            cookie::each_value(header, manager.cookie_name(), |value| take(Transport::Cookie, value));
        });
    }
    let transport = if bearer || !manager.takes_cookies() { Transport::Bearer } else { Transport::Cookie };
    (presented, Caller::new(manager, transport, head))
}

impl Presented {
    fn new(manager: &SessionManager, transport: Transport) -> Self {
        Self {
            sealer: manager.sealer_for(transport),
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

    /// Opens one value. Each that is not opened, and is not surely garbage, keeps the response from removing the cookie: it
    /// might be the good one.
    fn take(&mut self, manager: &SessionManager, value: &[u8]) {
        if let Some(opened) = self.sealer.recall(value, self.at) {
            self.recalled = true;
            return self.add(opened);
        }
        let opened = match Token::decode(value).map(|token| self.sealer.open(token)) {
            Ok(Ok(opened)) => opened,
            // A blank that some client put behind the value does not make it garbage, nor a token.
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
                    // Those beyond were made by whoever made the first ones, or are damaged like them.
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
            // Of one session the newest token counts.
            Some(other) if other.generation() < opened.generation() => *other = opened,
            Some(_) => {}
            None if sessions < MAX_SESSIONS => self.others.push(opened),
            None => {}
        }
    }
}

impl Presented {
    /// Before anything waits: keeps of the head what a verdict may depend on, and the keys, since a thread has few places
    /// to borrow from.
    pub(crate) fn detach(&mut self, head: &dyn RequestHead) {
        self.body = head.body_size();
        self.sealer = Guard::from_inner(Arc::clone(&self.sealer));
    }

    /// Forgets the tokens of a session whose token is not its newest.
    fn forget(&self, id: &SessionId) {
        if self.recalled {
            self.sealer.forget(id);
        }
    }

    /// Remembers the token that was found to be this session's newest, if it comes for the second time.
    fn remember(&mut self, live: &Live) {
        let current = |remembered: &Remembered| remembered.is_of(&live.newest);
        if let Some(remembered) = self.second_visit.take_if(|remembered| current(remembered)) {
            self.sealer.remember(remembered);
        }
    }

    /// Whether the first token is the newest of this bucket, which is alive.
    fn is_newest(&self, manager: &SessionManager, bucket: &Bucket) -> bool {
        self.first.as_ref().is_some_and(|opened| {
            !bucket.is_expired(self.at, &manager.times().bucket)
                && bucket.current.matches(&opened.fingerprint())
                && bucket.generation == opened.generation()
        })
    }
}

/// The state of a request that came without a cookie or bearer token of ours.
pub(crate) fn without_cookie(caller: Caller) -> Box<Mutex<State>> {
    Box::new(Mutex::new(State::new(Base::Anonymous(Anonymous::default()), false, false, caller)))
}

/// The state of the usual request, whose only token is its session's newest, where the store answers without a wait.
///
/// `None`: it is for [`load`] to ask the store, from the beginning.
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
    if bucket.touch_due(presented.at, &manager.times().bucket) || !presented.is_newest(manager, &bucket) {
        return None;
    }
    let mut verdicts = Verdicts::default();
    verdicts.add(judge(manager, presented, caller, Some(Entry::Bucket(bucket))));
    Some(verdicts.state(manager, presented.only_garbage, caller))
}

/// Asks the store about what the request came with.
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
                Ok(entry) => judge(manager, &mut presented, &caller, entry),
                // It stays unreadable until it is removed, which a logout does: no reason to refuse this browser for ever.
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
            expired(manager, &id)
        };
        presented.first = presented.others.pop();
        if let Judged::Replayed(session) = &judged {
            revoke(manager, session, presented.body).await?;
        }
        verdicts.add(judged);
    }
    if let Some(live) = &mut verdicts.live {
        // On arrival, not at the end: a handler of many minutes must not make its session look idle.
        if commit::is_touch_due(manager, live, presented.at) {
            // It seldom is, and most requests need no room for it.
            Box::pin(commit::touch(manager, live, presented.at)).await;
        }
    }
    Ok(verdicts.state(manager, presented.only_garbage, &caller))
}

/// Raises the alarm that the seal key has leaked, unless the bucket shows that the token is a genuine one whose holder
/// damaged its mark: else anyone with a cookie could raise it. Nothing else comes of such a token.
async fn accuse(manager: &SessionManager, suspect: &Suspect) {
    match manager.store().load(&suspect.session_id()).await {
        Ok(Some(Entry::Bucket(bucket))) if suspect.is_damaged(&bucket) => {}
        Ok(_) => manager.emit(&Event::Forged { kind: KeyKind::Seal, key: suspect.key() }),
        // Nobody can tell now. A forger's next try will.
        Err(error) => {
            manager.store_failed("load", error);
        }
    }
}

/// What the tokens of one request came to.
#[derive(Default)]
struct Verdicts {
    anonymous: Anonymous,
    live: Option<Arc<Live>>,
    /// Of a request that came with several live sessions, all but the first.
    more: Vec<Other>,
    unjudged: Vec<Other>,
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
            Judged::Replayed(_) => self.anonymous.was_ended = true,
        }
    }

    /// Serves the request as the one session that is alive, if it is one.
    fn state(self, manager: &SessionManager, only_garbage: bool, caller: &Caller) -> Box<Mutex<State>> {
        let Self { anonymous, live, more, unjudged } = self;
        let mut admitted = Vec::new();
        let base = match live {
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
        state.also = Also { admitted, unjudged };
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
    Live(Arc<Live>),
    Refused {
        was_ended: bool,
        only_login: bool,
    },
    /// Authentic, and its session could not be judged: see [`Also::unjudged`].
    Unjudged {
        session: Other,
        was_ended: bool,
    },
    /// Somebody holds a copy of a token of this session.
    Replayed(Other),
}

const REFUSED: Judged = Judged::Refused { was_ended: false, only_login: false };
const OVER: Judged = Judged::Refused { was_ended: true, only_login: false };
/// The browser may hold a newer cookie, or be about to get one.
const OUTDATED: Judged = Judged::Refused { was_ended: false, only_login: true };

fn expired(manager: &SessionManager, id: &SessionId) -> Judged {
    manager.emit(&Event::Expired { session: manager.handle(id) });
    OVER
}

/// A dead token was presented: somebody holds a copy. Ends the session, wherever it has moved to.
async fn revoke(manager: &SessionManager, session: &Other, body: BodySize) -> Result<(), SessionError> {
    let Other { id, subject } = session;
    let revokes = manager.on_replay() == OnReplay::Revoke && !body.may_be_held_back();
    let outcome = if revokes { ending::end(manager, id, subject.as_deref(), false).await } else { Ok(None) };
    let ended = outcome.as_ref().ok().and_then(Option::as_ref);
    // Also if it could not be ended: a theft must not go unseen because of that.
    manager.emit(&Event::Replayed { session: manager.handle(ended.unwrap_or(id)), revoked: ended.is_some() });
    outcome.map(drop)
}

/// Judges the first token, which it takes, against what the store has under its session's id.
#[inline]
fn judge(manager: &SessionManager, presented: &mut Presented, caller: &Caller, entry: Option<Entry>) -> Judged {
    let Some(opened) = presented.first.take() else { return REFUSED };
    let (id, at) = (opened.session_id(), presented.at);
    let bound = bound_as(manager, &opened);
    let judged = match entry {
        Some(Entry::Bucket(bucket)) => judge_by(manager, presented, opened, bucket),
        Some(Entry::Tombstone(tombstone)) => match tombstone.ending(at, &manager.times().bucket) {
            Ending::Recent if tombstone.successor.is_some() => {
                Judged::Unjudged { session: Other { id, subject: opened.subject() }, was_ended: true }
            }
            Ending::Recent => Judged::Refused { was_ended: true, only_login: true },
            Ending::Replayed(successor) => Judged::Replayed(Other { id: successor, subject: opened.subject() }),
            Ending::Past => ended(manager, &id),
        },
        None => ended(manager, &id),
    };
    match &judged {
        Judged::Live(live) if live.owed.is_none() => presented.remember(live),
        _ => presented.forget(&id),
    }
    admit_client(manager, presented, caller, bound.as_ref(), judged, &id)
}

/// Returns what a token says of its client, which needs no verdict; `None` unless sessions are bound.
fn bound_as(manager: &SessionManager, opened: &Opened) -> Option<Meta> {
    manager.binding()?;
    let mut meta = Meta::default();
    meta.binding = opened.binding();
    Some(meta)
}

/// Lets nothing pass that a client presents and its binding refuses: it must not see the session, nor end it, nor keep it
/// alive.
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
        Judged::Live(live) => &live.newest.meta,
        Judged::Unjudged { .. } | Judged::Replayed { .. } => bound,
    };
    if is_refused(manager, presented, caller, id, meta) { OUTDATED } else { judged }
}

/// Judges a token by its bucket.
#[inline]
fn judge_by(manager: &SessionManager, presented: &Presented, opened: Opened, bucket: Bucket) -> Judged {
    let (id, not_before, at, sealer) = (opened.session_id(), manager.not_before(), presented.at, &presented.sealer);
    let policy = &manager.times().bucket;
    let corrected = bucket.corrected(at, policy);
    let is_corrected = corrected.is_some();
    let bucket = corrected.unwrap_or(bucket);
    let live = |bucket, newest, arrival, owed| {
        let mut live = Live::new(manager, bucket, newest, arrival, owed);
        live.is_corrected |= is_corrected;
        Judged::Live(Arc::new(live))
    };
    let tampered = || {
        manager.emit(&Event::StoreTampered { session: manager.handle(&id) });
        REFUSED
    };
    match sealer.admit(&bucket, opened, at, not_before, policy) {
        Verdict::Current(newest) => {
            let arrival = newest.arrival(at);
            live(bucket, newest, arrival, None)
        }
        Verdict::Superseded(superseded) => match sealer.follow(&bucket, superseded.handoff_key(), at, not_before) {
            Ok((newest, token)) => {
                manager.emit_if_heard(|| Event::HandedOff { session: manager.handle(&id) });
                live(bucket, newest, superseded.arrival(at), Some(token))
            }
            Err(HandoffError::Expired) => expired(manager, &id),
            Err(HandoffError::UnknownKey { kind, id: key }) => {
                manager.emit(&Event::UnknownKey { kind, key });
                REFUSED
            }
            Err(HandoffError::Critical { key }) => critical(manager, key),
            // A bucket keeps its handoff for as long as a superseded token lives.
            Err(_) => tampered(),
        },
        Verdict::Expired => expired(manager, &id),
        Verdict::Replayed => Judged::Replayed(Other { id, subject: None }),
        Verdict::Critical { key } => critical(manager, key),
        Verdict::Evicted => {
            manager.emit(&Event::CrowdedOut { session: manager.handle(&id) });
            OUTDATED
        }
        Verdict::Unremembered => {
            manager.emit(&Event::Unremembered { session: manager.handle(&id) });
            REFUSED
        }
        _ => tampered(),
    }
}

/// A host of a later release wrote an entry that must not be passed over: as with a later version, the cookie stays.
fn critical(manager: &SessionManager, key: u64) -> Judged {
    manager.emit(&Event::CriticalEntry { key });
    OUTDATED
}

fn ended(manager: &SessionManager, id: &SessionId) -> Judged {
    let (session, reason) = (Some(manager.handle(id)), EndReason::PresentedAfterEnd);
    manager.emit(&Event::Ended { session, count: 0, reason, logged_in: false });
    OVER
}
