//! The tokens that a request presents, decoded and opened. Nothing in here decides what they are worth.

use std::sync::Arc;

use arc_swap::Guard;
use secure_sessions_core::{
    Bucket, DecodeError, Handle, Newest, Opened, Refusal, SessionId, Suspect, Timestamp, Token,
};

use crate::adapter::head::{BodySize, RequestHead};
use crate::event::Event;
use crate::manager::SessionManager;
use crate::remember::{Remembered, Sealing};
use crate::request::caller::Caller;
use crate::request::state::Admission;
use crate::transport::cookie;
use crate::transport::{self, Transport};

/// The maximum number of sessions that one request may present. Values that are not our tokens do not count.
const MAX_SESSIONS: usize = 4;

/// The tokens that a request presented, opened but not yet judged.
pub(crate) struct Presented {
    /// The keys in force when the request began. They are borrowed, so that the cores of a busy server do not contend
    /// for one reference count; see [`detach`](Self::detach).
    pub(super) sealer: Guard<Arc<Sealing>>,
    /// When the request arrived.
    pub(super) at: Timestamp,
    pub(super) body: BodySize,
    /// The token to judge next. For each session only the token with the highest generation is kept.
    pub(super) first: Option<Opened>,
    others: Vec<Opened>,
    /// The tokens sealed with one of our keys that lack the right mark.
    pub(super) suspects: Vec<Suspect>,
    /// `true` if one of the tokens was remembered instead of opened.
    recalled: bool,
    /// The first token, if it is to be remembered once it is judged current.
    second_visit: Option<Remembered>,
    /// `true` if none of the values was a token of ours: the response then removes the cookie.
    pub(super) only_garbage: bool,
}

/// Reads the head, and decodes and opens our tokens in it. Returns `None` if it holds no cookie of our name and no
/// bearer token.
pub(crate) fn present(manager: &SessionManager, head: &dyn RequestHead) -> (Option<Presented>, Caller) {
    let (presented, transport) = open(manager, head);
    let mut caller = Caller::new(manager, transport, head);
    if presented.is_some() {
        caller.read_tickets(manager, head);
    }
    (presented, caller)
}

/// Opens the tokens of a request, and tells how they came.
///
/// If a request uses both transports, the bearer token alone counts, even if it is refused: browsers send cookies by
/// themselves, so a client that names a token means that one.
pub(crate) fn open(manager: &SessionManager, head: &dyn RequestHead) -> (Option<Presented>, Transport) {
    let mut presented: Option<Presented> = None;
    let mut take = |transport: Transport, value: &[u8]| {
        presented.get_or_insert_with(|| Presented::new(manager, transport)).take(manager, value);
    };
    let mut bearer = false;
    if manager.bearer().is_some() {
        bearer = transport::each_token(head, manager.dpop().is_some(), &mut |_, value| take(Transport::Bearer, value));
    }
    if !bearer && manager.takes_cookies() {
        head.for_each_value("cookie", &mut |header| {
            cookie::for_each_value(header, manager.cookie_name(), |value| take(Transport::Cookie, value));
        });
    }
    let transport = if bearer || !manager.takes_cookies() { Transport::Bearer } else { Transport::Cookie };
    (presented, transport)
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
                return self.refuse(manager, refusal);
            }
        };
        if self.first.is_none() {
            self.second_visit = self.sealer.second_visit(value, &opened, self.at);
        }
        self.add(opened);
    }

    /// Reports a token that names one of our keys, or one that this host may not have received yet.
    fn refuse(&mut self, manager: &SessionManager, refusal: Refusal) {
        match refusal {
            Refusal::UnknownKey { kind, id } => manager.emit(&Event::UnknownKey { kind, key: id }),
            Refusal::Forged { kind, id } => manager.emit(&Event::Forged { kind, key: id }),
            // Further suspects would only cost store reads: they raise the same alarm as the first ones.
            Refusal::Unmarked(suspect) if self.suspects.len() < MAX_SESSIONS => self.suspects.push(suspect),
            _ => {}
        }
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

    /// Returns the token of the only session that was presented, or `None` if there are several, or suspects.
    #[cfg(feature = "device")]
    pub(crate) fn into_only(self) -> Option<Opened> {
        if self.is_only() { self.first } else { None }
    }

    /// Returns `true` if at most one session was presented, and no suspect.
    pub(super) fn is_only(&self) -> bool {
        self.others.is_empty() && self.suspects.is_empty()
    }

    /// Returns the handle of the session whose token is judged first.
    pub(crate) fn handle(&self) -> Option<Handle> {
        self.first.as_ref().map(|opened| self.sealer.keyring().handle(&opened.session_id()))
    }

    /// Goes on to the next token, after the first one was judged.
    pub(super) fn advance(&mut self) {
        self.first = self.others.pop();
    }

    /// Returns the proof that the bucket is alive and the first token is its newest.
    pub(super) fn newest(&self, manager: &SessionManager, bucket: &Bucket) -> Option<Newest> {
        let opened = self.first.as_ref()?;
        self.sealer.newest(bucket, opened, self.at, manager.not_before(), &manager.times().bucket)
    }

    /// Forgets the remembered tokens of a session whose presented token is not its newest.
    pub(super) fn forget(&self, id: &SessionId) {
        if self.recalled {
            self.sealer.forget(id);
        }
    }

    /// Remembers the token judged to be this session's newest, if it is presented for the second time.
    pub(super) fn remember(&mut self, live: &Admission) {
        let current = |remembered: &Remembered| remembered.is_of(&live.newest);
        if let Some(remembered) = self.second_visit.take_if(|remembered| current(remembered)) {
            self.sealer.remember(remembered);
        }
    }
}
