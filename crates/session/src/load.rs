//! From a request's cookies to a verdict.

use std::sync::{Arc, Mutex};

use arc_swap::Guard;
use secure_sessions_core::{
    Bucket, DecodeError, HandoffError, KeyKind, Opened, Refusal, Sealer, SessionId, Timestamp, Token, Verdict,
};
use secure_sessions_store::{Entry, Recent, SessionStore};

use crate::binding::Binding;
use crate::caller::Caller;
use crate::commit;
use crate::config::OnReplay;
use crate::cookie;
use crate::error::SessionError;
use crate::event::{EndReason, Event};
use crate::head::{BodySize, RequestHead};
use crate::manager::SessionManager;
use crate::state::{Anonymous, Base, Live, State};
use crate::transport::{self, Transport};

/// The most cookies of our name, or bearer tokens, that one request is opened for.
const MAX_DUPLICATES: usize = 4;

/// What a request came with, opened; nothing of it is believed yet.
pub(crate) struct Presented {
    /// The keys that were in force when the request began. Borrowed, so that the cores of a busy server do not contend for
    /// a count of references; see [`detach`](Self::detach).
    sealer: Guard<Arc<Sealer>>,
    at: Timestamp,
    body: BodySize,
    /// Of each session the token with the highest generation.
    first: Option<Opened>,
    others: Vec<Opened>,
    /// Cookies of our name, or bearer tokens.
    count: usize,
    /// All of them were no tokens of ours at all.
    only_garbage: bool,
}

/// Reads the head: decodes and opens what it holds of ours. `None` if it holds no cookie of our name and no bearer token.
///
/// Where both transports are on and a request uses both, the bearer token alone counts, whatever becomes of it: browsers
/// send cookies by themselves, so who names a token means that one.
pub(crate) fn present(manager: &SessionManager, head: &dyn RequestHead) -> (Option<Presented>, Caller) {
    let mut presented: Option<Presented> = None;
    let mut take = |transport: Transport, value: &[u8]| {
        let presented = presented.get_or_insert_with(|| Presented::new(manager, transport));
        presented.count += 1;
        if presented.count <= MAX_DUPLICATES {
            presented.take(manager, value);
        }
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
            count: 0,
            only_garbage: true,
        }
    }

    fn take(&mut self, manager: &SessionManager, value: &[u8]) {
        let opened = match Token::decode(value).map(|token| self.sealer.open(token)) {
            // As with an unknown key: a host of a later release made it, and the cookie is left alone.
            Err(DecodeError::LaterVersion { .. }) => {
                self.only_garbage = false;
                return;
            }
            Err(_) | Ok(Err(Refusal::NotAuthentic)) => return,
            Ok(Ok(opened)) => opened,
            Ok(Err(refusal)) => {
                self.only_garbage = false;
                match refusal {
                    Refusal::UnknownKey { kind, id } => manager.emit(&Event::UnknownKey { kind, key: id }),
                    Refusal::Forged { kind, id } => manager.emit(&Event::Forged { kind, key: id }),
                    Refusal::Unmarked(suspect) => {
                        manager.emit(&Event::Forged { kind: KeyKind::Seal, key: suspect.key() });
                    }
                    _ => {}
                }
                return;
            }
        };
        self.only_garbage = false;
        let id = opened.session_id();
        let Some(first) = &mut self.first else {
            self.first = Some(opened);
            return;
        };
        match std::iter::once(first).chain(&mut self.others).find(|other| other.session_id() == id) {
            Some(other) if other.generation() < opened.generation() => *other = opened,
            Some(_) => {}
            None => self.others.push(opened),
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

    /// Whether what a store says, which may not be up to date, is enough: a cache may admit a session's newest token. It
    /// must not refuse any, nor hand one off.
    fn is_settled_by(&self, manager: &SessionManager, recent: &Recent) -> bool {
        recent.is_fresh || matches!(&recent.entry, Some(Entry::Bucket(bucket)) if self.is_newest(manager, bucket))
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
    let opened = presented.first.as_ref().filter(|_| presented.others.is_empty())?;
    if !opened.is_timely(presented.at, manager.not_before()) {
        return None;
    }
    let Some(Entry::Bucket(bucket)) = manager.store().load_now(&opened.session_id())?.entry else { return None };
    if bucket.touch_due(presented.at, &manager.times().bucket) || !presented.is_newest(manager, &bucket) {
        return None;
    }
    let mut verdicts = Verdicts::default();
    verdicts.add(judge(manager, presented, Some(Entry::Bucket(bucket))));
    let base = verdicts.base(manager, presented, caller);
    Some(Box::new(Mutex::new(State::new(base, true, presented.only_garbage, caller.clone()))))
}

/// Asks the store about what the request came with.
pub(crate) async fn load(
    manager: &SessionManager,
    mut presented: Presented,
    caller: Caller,
) -> Result<Box<Mutex<State>>, SessionError> {
    let mut verdicts = Verdicts::default();
    while let Some(opened) = &presented.first {
        let id = opened.session_id();
        let judged = if opened.is_timely(presented.at, manager.not_before()) {
            let failed = |error| manager.store_failed("load", error);
            let recent = manager.store().load_recent(&id).await.map_err(failed)?;
            let entry = if presented.is_settled_by(manager, &recent) {
                recent.entry
            } else {
                manager.store().load(&id).await.map_err(failed)?
            };
            judge(manager, &mut presented, entry)
        } else {
            expired(manager, &id)
        };
        presented.first = presented.others.pop();
        if matches!(judged, Judged::Replayed) {
            revoke(manager, &id, presented.body).await?;
        }
        verdicts.add(judged);
    }
    let mut base = verdicts.base(manager, &presented, &caller);
    // On arrival, not at the end: a handler of many minutes must not make its session look idle.
    if let Base::Live(live) = &mut base
        && commit::is_touch_due(manager, live, presented.at)
    {
        // It seldom is, and most requests need no room for it.
        Box::pin(commit::touch(manager, live, presented.at)).await;
    }
    Ok(Box::new(Mutex::new(State::new(base, true, presented.only_garbage, caller))))
}

/// What the tokens of one request came to.
#[derive(Default)]
struct Verdicts {
    anonymous: Anonymous,
    live: Option<Arc<Live>>,
    lives: usize,
}

impl Verdicts {
    fn add(&mut self, judged: Judged) {
        match judged {
            Judged::Live(admitted) => {
                self.lives += 1;
                self.live = Some(admitted);
            }
            Judged::Refused { was_ended, only_login } => {
                self.anonymous.was_ended |= was_ended;
                self.anonymous.only_login |= only_login;
            }
            Judged::Replayed => self.anonymous.was_ended = true,
        }
    }

    /// The one session that is alive, if it is one.
    fn base(self, manager: &SessionManager, presented: &Presented, caller: &Caller) -> Base {
        let only_login = Base::Anonymous(Anonymous { only_login: true, ..self.anonymous });
        match self.live {
            Some(live) if self.lives == 1 && is_refused(manager, presented, caller, &live) => only_login,
            Some(live) if self.lives == 1 => Base::Live(live),
            Some(_) => {
                manager.emit(&Event::Ambiguous { count: self.lives });
                only_login
            }
            None => Base::Anonymous(self.anonymous),
        }
    }
}

/// Whether the session is bound to another client, which the request is refused for.
fn is_refused(manager: &SessionManager, presented: &Presented, caller: &Caller, live: &Live) -> bool {
    if !caller.is_other_than_bound(presented.sealer.keyring(), live) {
        return false;
    }
    manager.emit(&Event::BindingMismatch { session: manager.handle(&live.bucket.id) });
    manager.binding().is_some_and(Binding::refuses)
}

enum Judged {
    Live(Arc<Live>),
    Refused { was_ended: bool, only_login: bool },
    Replayed,
}

const REFUSED: Judged = Judged::Refused { was_ended: false, only_login: false };
const OVER: Judged = Judged::Refused { was_ended: true, only_login: false };

fn expired(manager: &SessionManager, id: &SessionId) -> Judged {
    manager.emit(&Event::Expired { session: manager.handle(id) });
    OVER
}

/// A dead token was presented: somebody holds a copy.
async fn revoke(manager: &SessionManager, id: &SessionId, body: BodySize) -> Result<(), SessionError> {
    let revoked = manager.on_replay() == OnReplay::Revoke && !body.may_be_held_back();
    if revoked {
        manager.store().remove(id, None).await.map_err(|error| manager.store_failed("remove", error))?;
    }
    manager.emit(&Event::Replayed { session: manager.handle(id), revoked });
    Ok(())
}

/// Of the first token, which it takes, and what the store says of it.
#[inline]
fn judge(manager: &SessionManager, presented: &mut Presented, entry: Option<Entry>) -> Judged {
    let Some(opened) = presented.first.take() else { return REFUSED };
    let (id, not_before, at, sealer) = (opened.session_id(), manager.not_before(), presented.at, &presented.sealer);
    let bucket = match entry {
        Some(Entry::Bucket(bucket)) => bucket,
        Some(Entry::Tombstone(tombstone)) if at < tombstone.expires_at => {
            return Judged::Refused { was_ended: true, only_login: true };
        }
        _ => {
            let (session, reason) = (Some(manager.handle(&id)), EndReason::PresentedAfterEnd);
            manager.emit(&Event::Ended { session, count: 0, reason });
            return OVER;
        }
    };
    match sealer.admit(&bucket, opened, at, not_before, &manager.times().bucket) {
        Verdict::Current(newest) => {
            let arrival = newest.arrival(at);
            Judged::Live(Arc::new(Live { bucket, newest, arrival, owed: None }))
        }
        Verdict::Superseded(superseded) => {
            match sealer.follow(&bucket, superseded.handoff_key(), at, not_before) {
                Ok((newest, token)) => {
                    manager.emit_if_heard(|| Event::HandedOff { session: manager.handle(&id) });
                    let arrival = superseded.arrival(at);
                    Judged::Live(Arc::new(Live { bucket, newest, arrival, owed: Some(token) }))
                }
                Err(HandoffError::Expired) => expired(manager, &id),
                Err(HandoffError::UnknownKey { kind, id: key }) => {
                    manager.emit(&Event::UnknownKey { kind, key });
                    REFUSED
                }
                Err(HandoffError::Critical { .. }) => REFUSED,
                // A bucket keeps its handoff for as long as a superseded token lives.
                Err(_) => {
                    manager.emit(&Event::StoreTampered { session: manager.handle(&id) });
                    REFUSED
                }
            }
        }
        Verdict::Expired => expired(manager, &id),
        Verdict::Replayed => Judged::Replayed,
        Verdict::Critical { .. } => REFUSED,
        Verdict::Unremembered => {
            manager.emit(&Event::Unremembered { session: manager.handle(&id) });
            REFUSED
        }
        _ => {
            manager.emit(&Event::StoreTampered { session: manager.handle(&id) });
            REFUSED
        }
    }
}
