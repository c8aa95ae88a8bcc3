//! The state at one moment: sessions, the browser's jar and keys, a thief's loot, and the messages under way.

use crate::device::{DeviceModel, LIFE_TICKS};
use crate::time::GRACE_TICKS;

/// The work of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Doing {
    /// Reads the session.
    Look,
    /// Changes data.
    Change,
    /// Moves the session to a new bucket.
    Renew,
    /// Logs the user in, in a new bucket. The response offers to bind it.
    Login,
    /// Logs another user in. The session before ends, and names no successor.
    Switch,
    /// Ends the session. A browser sends it even if it may fetch no ticket.
    Logout,
}

impl Doing {
    /// Says if a new session begins, which needs none before it.
    pub(crate) fn logs_in(self) -> bool {
        matches!(self, Self::Login | Self::Switch)
    }
}

/// The things that a thief copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Loot {
    /// The session's cookie.
    Token,
    /// The session's cookie, and the ticket.
    Jar,
    /// Both, and a signature by the device's key over its latest challenge: malware that leaves again.
    JarAndProof,
}

/// The flaws that must never occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Flaw {
    /// A bound session's data or newer token went to somebody who had no ticket.
    Served = 1,
    /// A request without a ticket ended a bound session.
    EndedByThief = 1 << 1,
    /// Token and ticket were good for longer than a ticket's life and a grace.
    ServedTooLong = 1 << 2,
    /// The owner's browser was refused with the ticket that its key brought, or lost the key of a live session.
    LockedOut = 1 << 3,
    /// A session was bound to a key that is not its owner's.
    OthersKey = 1 << 4,
    /// A request with the ticket of a key that was registered for its session left the session unbound.
    NotBound = 1 << 5,
    /// A logout left its session alive.
    LogoutRefused = 1 << 6,
}

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moving {
    /// The browser sends a request.
    Send(usize),
    /// A request arrives and is judged.
    Arrive(usize),
    /// A handler is done: its changes are committed.
    Commit(usize),
    /// A response arrives.
    Deliver(usize),
    /// A request or its response gets lost.
    Lose(usize),
    /// The browser follows the offer that it got.
    Register,
    /// The registration arrives, or its answer does.
    CarryRegistration,
    /// The registration gets lost, or its answer does.
    LoseRegistration,
    /// The browser asks for the next ticket. After a link from another site no cookie comes along.
    Refresh {
        /// Set to `true` if the session's cookie comes along.
        beside_cookie: bool,
    },
    /// The refresh arrives, or its answer does.
    CarryRefresh,
    /// The refresh gets lost, or its answer does.
    LoseRefresh,
    /// The thief copies what the browser holds.
    Steal,
    /// The thief sends a request and gets its response.
    Abuse {
        /// Which of the thief's requests.
        index: usize,
        /// With the ticket of the thief's own key, which is registered for a session of the thief's own.
        own: bool,
    },
    /// The thief exchanges the stolen signature for a ticket.
    UseProof,
    /// Half a grace passes.
    Tick,
}

/// A device, named after the session that its key was made for.
pub(crate) type Device = u8;
/// The thief's own device, and the thief's own session.
pub(crate) const THIEF: u8 = u8::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Token {
    pub(crate) session: u8,
    pub(crate) generation: u8,
    pub(crate) device: Option<Device>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ticket {
    pub(crate) device: Device,
    /// The session that the device was registered for.
    pub(crate) handle: Option<u8>,
    pub(crate) issued: u16,
}

/// The browser's knowledge of its key: the identifier's contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Binding {
    pub(crate) device: Device,
    pub(crate) handle: u8,
}

/// The challenge of a login's response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Offer {
    pub(crate) session: u8,
    pub(crate) issued: u16,
}

/// A superseded token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Retired {
    pub(crate) token: Token,
    pub(crate) at: u16,
    pub(crate) dead_after: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    pub(crate) since: u16,
    pub(crate) newest: Token,
    pub(crate) retired: Vec<Retired>,
    /// The time at which it ended.
    pub(crate) ended_at: Option<u16>,
    /// Set to `true` if it was renewed: then it is over, and lives on in another bucket.
    pub(crate) moved: bool,
    /// The time at which it was bound, kept beside the protocol: a renewal carries it on.
    pub(crate) bound_at: Option<u16>,
    /// The last proof, where a broken rule keeps it.
    pub(crate) proof: Option<u16>,
}

impl Session {
    pub(crate) fn first(token: Token, now: u16) -> Self {
        Self { since: now, newest: token, retired: vec![], ended_at: None, moved: false, bound_at: None, proof: None }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.ended_at.is_some()
    }

    /// Returns `true` if a request that arrives now may come from a browser that had no key for this session yet.
    pub(crate) fn may_be_registering(&self, now: u16) -> bool {
        now <= self.since + 2 * GRACE_TICKS
    }
}

/// The things that the browser holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Jar {
    pub(crate) token: Option<Token>,
    pub(crate) ticket: Option<Ticket>,
    pub(crate) binding: Option<Binding>,
    pub(crate) offer: Option<Offer>,
}

/// The things that the thief holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Stolen {
    pub(crate) at: u16,
    pub(crate) token: Token,
    pub(crate) ticket: Option<Ticket>,
    /// A signature over a refresh's challenge, and when that was issued.
    pub(crate) proof: Option<(Binding, u16)>,
}

/// The effect of a response on the jar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Cookie {
    Keep,
    Set(Token),
    Remove,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Response {
    pub(crate) cookie: Cookie,
    pub(crate) offer: Option<Offer>,
    pub(crate) removes_ticket: bool,
}

/// The state of a request of the browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Planned,
    Sent {
        token: Token,
        ticket: Option<Ticket>,
        had_key: bool,
        at: u16,
    },
    Working {
        token: Token,
        arrived: u16,
        adopts: Option<Device>,
        proved: Option<u16>,
        removes_ticket: bool,
        brought: bool,
    },
    Answered {
        response: Response,
        at: u16,
    },
    Done,
}

/// A registration on its way, there or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Registration {
    pub(crate) offer: Offer,
    pub(crate) at: u16,
    pub(crate) answer: Option<Ticket>,
}

/// A refresh on its way, there or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Refreshing {
    pub(crate) binding: Binding,
    pub(crate) witness: Option<Token>,
    pub(crate) at: u16,
    pub(crate) answer: Option<Refreshed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Refreshed {
    Ticket(Ticket),
    /// The browser forgets the key that it knows by the binding's name.
    Ended,
}

/// Everything at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scene {
    pub(crate) now: u16,
    pub(crate) sessions: Vec<Session>,
    pub(crate) jar: Jar,
    pub(crate) steps: Vec<Step>,
    pub(crate) registration: Option<Registration>,
    pub(crate) refresh: Option<Refreshing>,
    pub(crate) refreshes: u8,
    pub(crate) loot: Option<Stolen>,
    /// Which of the thief's requests were made, as bits.
    pub(crate) stolen: u8,
    pub(crate) flaws: u8,
}

impl Scene {
    pub(crate) fn first(model: &DeviceModel) -> Self {
        let device = model.bound.then_some(0);
        let token = Token { session: 0, generation: 1, device };
        let mut session = Session::first(token, 0);
        session.bound_at = device.map(|_| 0);
        let jar = Jar {
            token: Some(token),
            ticket: device.map(|device| Ticket { device, handle: Some(0), issued: 0 }),
            binding: device.map(|device| Binding { device, handle: 0 }),
            offer: (!model.bound).then_some(Offer { session: 0, issued: 0 }),
        };
        Self {
            now: 0,
            sessions: vec![session],
            jar,
            steps: vec![Step::Planned; model.plans.len()],
            registration: None,
            refresh: None,
            refreshes: 0,
            loot: None,
            stolen: 0,
            flaws: 0,
        }
    }

    pub(crate) fn of(&self, session: u8) -> &Session {
        &self.sessions[usize::from(session)]
    }

    pub(crate) fn of_mut(&mut self, session: u8) -> &mut Session {
        &mut self.sessions[usize::from(session)]
    }

    pub(crate) fn has(&self, flaw: Flaw) -> bool {
        self.flaws & flaw as u8 != 0
    }

    pub(crate) fn note_if(&mut self, seen: bool, flaw: Flaw) {
        if seen {
            self.flaws |= flaw as u8;
        }
    }

    /// Returns `true` if the browser sends a request now. It defers one whose ticket has ended, and fetches another ticket
    /// first.
    pub(crate) fn may_send(&self, doing: Doing) -> bool {
        let has_ticket = self.ticket_now().is_some() || self.jar.binding.is_none();
        self.jar.token.is_some() && (has_ticket || (doing == Doing::Logout || doing.logs_in()))
    }

    /// The ticket that a browser sends: the cookie goes with its life.
    pub(crate) fn ticket_now(&self) -> Option<Ticket> {
        self.jar.ticket.filter(|ticket| self.now <= ticket.issued + LIFE_TICKS)
    }

    /// Returns `true` if something is under way that must arrive, or get lost, before time goes on. A login's response, the
    /// registration and its answer take a grace together.
    pub(crate) fn is_overdue(&self) -> bool {
        let was_sent = self.steps.iter().any(|step| match step {
            Step::Sent { at, .. } | Step::Answered { at, .. } => *at < self.now,
            _ => false,
        });
        let offered = self.jar.offer.or(self.registration.map(|registration| registration.offer));
        was_sent
            || self.registration.is_some_and(|registration| registration.at < self.now)
            || self.refresh.is_some_and(|refresh| refresh.at < self.now)
            || offered.is_some_and(|offer| offer.issued + GRACE_TICKS <= self.now)
    }
}
