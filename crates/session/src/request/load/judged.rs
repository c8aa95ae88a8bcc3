//! The verdicts: `Judged` is that on one token, and `Verdicts` collects those on all tokens of a request.

use std::sync::{Arc, Mutex, PoisonError};

use secure_sessions_core::SessionId;

use super::standing::stand_by_device;
use crate::event::Event;
use crate::manager::SessionManager;
use crate::request::caller::Caller;
use crate::request::device::Standing;
use crate::request::state::{Admission, Also, Anonymous, Base, Other, State};

/// The verdict on one token, and what follows from it for the request.
pub(super) enum Judged {
    Live(Arc<Admission>),
    Refused(Anonymous),
    /// The token is authentic, but its session could not be judged: see [`Also::unjudged`].
    Unjudged {
        session: Other,
        was_ended: bool,
    },
    /// The token is admitted, but its session is bound to a device that the request does not prove.
    Unproved {
        session: Other,
        standing: Standing,
    },
    /// The token is authentic, but its session is over by this host's clock.
    Expired(Other),
    /// The token is a replay: somebody holds a copy of a token of this session.
    Replayed(Other),
}

impl Judged {
    pub(super) const REFUSED: Self = Self::Refused(Anonymous { was_ended: false, only_login: false });
    /// The session is over.
    pub(super) const OVER: Self = Self::Refused(Anonymous { was_ended: true, only_login: false });
    /// The browser may hold a newer cookie, or be about to get one: only a login may replace it.
    pub(super) const OUTDATED: Self = Self::Refused(Anonymous { was_ended: false, only_login: true });
    /// The session is over, and the browser may hold the cookie of a newer one.
    pub(super) const JUST_OVER: Self = Self::Refused(Anonymous { was_ended: true, only_login: true });
}

/// The verdicts on all tokens of one request.
#[derive(Default)]
pub(super) struct Verdicts {
    anonymous: Anonymous,
    pub(super) live: Option<Arc<Admission>>,
    /// The live sessions after the first, if the request presented several.
    more: Vec<Other>,
    unjudged: Vec<Other>,
    expired: Vec<Other>,
    /// The standing of the request to the device of a session that was refused for it.
    device: Standing,
    /// The sessions whose tokens were refused for good.
    refused: Vec<SessionId>,
}

impl Verdicts {
    pub(super) fn add(&mut self, id: SessionId, judged: Judged) {
        match judged {
            Judged::Live(admitted) if self.live.is_some() => self.more.push(Other::from(&*admitted)),
            Judged::Live(admitted) => self.live = Some(admitted),
            Judged::Refused(Anonymous { was_ended, only_login }) => {
                self.refused.push(id);
                self.anonymous.was_ended |= was_ended;
                self.anonymous.only_login |= only_login;
            }
            Judged::Unjudged { session, was_ended } => {
                self.unjudged.push(session);
                self.anonymous.was_ended |= was_ended;
                self.anonymous.only_login = true;
            }
            Judged::Unproved { session, standing } => {
                self.unjudged.push(session);
                self.device = standing;
                self.anonymous.only_login = true;
            }
            Judged::Expired(session) => {
                self.expired.push(session);
                self.anonymous.was_ended = true;
            }
            Judged::Replayed(_) => {
                self.refused.push(id);
                self.anonymous.was_ended = true;
            }
        }
    }

    /// Returns the request's state: its live session if there is exactly one, otherwise anonymous.
    pub(super) fn state(self, manager: &SessionManager, only_garbage: bool, caller: &Caller) -> Box<Mutex<State>> {
        let Self { anonymous, live, more, unjudged, expired, device, refused } = self;
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
        let mut boxed = State::boxed(base, true, only_garbage, caller.clone());
        let state = boxed.get_mut().unwrap_or_else(PoisonError::into_inner);
        state.also = Also { admitted, unjudged, expired };
        state.device = device;
        if state.live().is_none() {
            state.unserved = refused;
            state.unserved.extend(state.also.ids());
            state.unserved.sort_unstable();
        }
        stand_by_device(manager, state);
        boxed
    }
}
