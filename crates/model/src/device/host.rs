//! A host judges, binds and commits here, and answers the browser's key, as the engine does.

use secure_sessions_core::{DeviceId, DevicePolicy, DeviceTicket};

use crate::device::state::{
    Binding, Cookie, Device, Doing, Flaw, Loot, Moving, Offer, Refreshed, Refreshing, Registration, Response, Retired,
    Scene, Session, Step, Stolen, THIEF, Ticket, Token,
};
use crate::device::{DeviceModel, LIFE_TICKS};
use crate::time::{GRACE_TICKS, POLICY, time};

const DEVICES: DevicePolicy = DevicePolicy { ticket_life: POLICY.grace, grace: POLICY.grace };

/// A rule of device-bound sessions that the host breaks. The checker must find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relaxed {
    /// The device in the presented token counts, not that in the newest.
    AsksThePresented,
    /// A session is bound by a ticket of another one's handle.
    BindsByAnyTicket,
    /// A key is registered by the challenge of another session.
    RegistersByAnyChallenge,
    /// The token keeps the last proof, so that its heirs need no ticket.
    ProofInTheToken,
    /// The bucket keeps the last proof, so that its requests need no ticket.
    ProofInTheBucket,
    /// A refresh's ticket does not name the session.
    RefreshWithoutHandle,
    /// A login keeps the device of the session before.
    LoginKeepsTheDevice,
    /// A renewal drops the device.
    RenewalDropsTheDevice,
    /// A dead token revokes, whoever presents it.
    TheDeadRevokeUnproved,
    /// A ticket ends with its life, whatever is under way.
    NoGrace,
    /// A request that was under way when its session was bound is refused.
    NoneIsEarly,
    /// Tickets do not end.
    TicketsDoNotEnd,
    /// Challenges do not end.
    ChallengesDoNotEnd,
    /// A logout needs a ticket.
    LogoutNeedsATicket,
    /// A useless ticket stays in the jar.
    LeavesUselessTickets,
    /// A refresh beside a new session's cookie ends the binding, though the browser is registering another.
    EndsWhileRegistering,
    /// The same once that session is bound.
    EndsOnceBound,
    /// The same from a grace after the login on, though the refresh was sent before.
    EndsAfterAGrace,
    /// A refresh beside the cookie of a session that has just ended ends the binding, though the browser may have logged in
    /// since.
    EndsBesideTheJustEnded,
}

/// The host says by this what a token is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worth {
    Current,
    Superseded,
    Dead,
    Nothing,
}

/// The relation of a request to its session's device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Unbound,
    Adopts(Device),
    Bound,
    Early,
    Refused,
}

impl DeviceModel {
    pub(crate) fn act(&self, scene: &mut Scene, action: Moving) {
        let now = scene.now;
        match action {
            Moving::Send(index) => {
                let ticket = scene.ticket_now();
                if let Some(token) = scene.jar.token {
                    scene.steps[index] = Step::Sent { token, ticket, had_key: scene.jar.binding.is_some(), at: now };
                }
            }
            Moving::Arrive(index) => self.arrive(scene, index),
            Moving::Commit(index) => self.commit_browsers(scene, index),
            Moving::Deliver(index) => deliver(scene, index),
            Moving::Lose(index) => scene.steps[index] = Step::Done,
            Moving::Register => {
                scene.registration = scene.jar.offer.take().map(|offer| Registration { offer, at: now, answer: None });
            }
            Moving::CarryRegistration => carry_registration(scene),
            Moving::LoseRegistration => scene.registration = None,
            Moving::Refresh { beside_cookie } => {
                let witness = scene.jar.token.filter(|_| beside_cookie);
                scene.refreshes += 1;
                scene.refresh = scene.jar.binding.map(|binding| Refreshing { binding, witness, at: now, answer: None });
            }
            Moving::CarryRefresh => self.carry_refresh(scene),
            Moving::LoseRefresh => scene.refresh = None,
            Moving::Steal => self.steal(scene),
            Moving::Abuse { index, own } => self.abuse(scene, index, own),
            Moving::UseProof => self.use_proof(scene),
            Moving::Tick => scene.now += 1,
        }
    }

    fn is_good(&self, ticket: Ticket, now: u16) -> bool {
        let policy = if self.breaks(Relaxed::NoGrace) {
            DevicePolicy { grace: secure_sessions_core::Millis::new(0), ..DEVICES }
        } else {
            DEVICES
        };
        let not_after = time(ticket.issued).after(DEVICES.ticket_life);
        let ticket = DeviceTicket { not_after, device: DeviceId::from_bytes([ticket.device; 16]), handle: None };
        ticket.is_good(time(now), &policy) || self.breaks(Relaxed::TicketsDoNotEnd)
    }

    fn standing(&self, scene: &Scene, token: Token, ticket: Option<Ticket>) -> Standing {
        let session = scene.of(token.session);
        let ticket = ticket.filter(|ticket| self.is_good(*ticket, scene.now));
        let asked = if self.breaks(Relaxed::AsksThePresented) { token } else { session.newest };
        let Some(device) = asked.device else {
            let is_meant =
                |ticket: &Ticket| ticket.handle == Some(token.session) || self.breaks(Relaxed::BindsByAnyTicket);
            return ticket.filter(is_meant).map_or(Standing::Unbound, |ticket| Standing::Adopts(ticket.device));
        };
        let is_kept = session.proof.is_some_and(|at| scene.now <= at + LIFE_TICKS + GRACE_TICKS);
        if is_kept || ticket.is_some_and(|ticket| ticket.device == device) {
            return Standing::Bound;
        }
        let own = session.retired.iter().find(|retired| retired.token == token);
        let was_just_bound = own.is_some_and(|own| scene.now <= own.at + GRACE_TICKS);
        if token.device.is_none() && was_just_bound && !self.breaks(Relaxed::NoneIsEarly) {
            return Standing::Early;
        }
        Standing::Refused
    }

    fn arrive(&self, scene: &mut Scene, index: usize) {
        let Step::Sent { token, ticket, had_key, .. } = scene.steps[index] else { return };
        let (now, doing) = (scene.now, self.plans[index]);
        let worth = worth(scene, token);
        let standing = match worth {
            Worth::Current | Worth::Superseded => self.standing(scene, token, ticket),
            Worth::Dead => match token.device {
                Some(device) if ticket.is_none_or(|ticket| ticket.device != device) => Standing::Refused,
                _ => Standing::Bound,
            },
            Worth::Nothing => {
                // A login needs no session before it.
                let response = Response { cookie: Cookie::Keep, offer: None, removes_ticket: false };
                scene.steps[index] = if doing.logs_in() {
                    let (adopts, proved) = (None, None);
                    Step::Working { token, arrived: now, adopts, proved, removes_ticket: false, brought: false }
                } else {
                    Step::Answered { response, at: now }
                };
                return;
            }
        };
        let refused = standing == Standing::Refused;
        let may_be_registering = scene.of(token.session).may_be_registering(now);
        let removes_ticket = ticket.is_some()
            && (refused || (standing == Standing::Unbound && !may_be_registering))
            && !self.breaks(Relaxed::LeavesUselessTickets);
        if worth == Worth::Dead && !refused {
            // Somebody moved the session on with a copy, which takes a ticket, or a session that was not bound then.
            scene.note_if(self.loot.is_none_or(|loot| loot == Loot::Token && self.bound), Flaw::LockedOut);
            scene.of_mut(token.session).ended_at = Some(now);
            scene.steps[index] = Step::Done;
            return;
        }
        if refused && !doing.logs_in() && (doing != Doing::Logout || self.breaks(Relaxed::LogoutNeedsATicket)) {
            let is_its_own = scene.jar.binding.zip(ticket).is_some_and(|(own, sent)| own.device == sent.device);
            let is_live = worth != Worth::Dead;
            scene.note_if(doing == Doing::Logout, Flaw::LogoutRefused);
            // Without a ticket it fetches one; with a useless one it must lose that first.
            // One that was sent without a key cannot bring its ticket. With a token that was superseded more than a
            // grace ago it is refused, once: the next one brings the ticket, and its token is alive.
            let own = scene.of(token.session).retired.iter().find(|retired| retired.token == token);
            let was_superseded_long_ago = own.is_some_and(|own| own.at + GRACE_TICKS < now);
            let is_early = ticket.is_none() && !had_key && !was_superseded_long_ago;
            scene
                .note_if(is_live && (is_its_own || is_early || (ticket.is_some() && !removes_ticket)), Flaw::LockedOut);
            let response = Response { cookie: Cookie::Keep, offer: None, removes_ticket };
            scene.steps[index] = Step::Answered { response, at: now };
            return;
        }
        let adopts = if let Standing::Adopts(device) = standing { Some(device) } else { None };
        let proved = ticket.filter(|_| standing == Standing::Bound).map(|ticket| ticket.issued);
        // A device has the name of the session that its key was registered for.
        let brought = ticket.is_some_and(|ticket| ticket.device == token.session);
        scene.steps[index] = Step::Working { token, arrived: now, adopts, proved, removes_ticket, brought };
    }

    fn commit_browsers(&self, scene: &mut Scene, index: usize) {
        let Step::Working { token, arrived, adopts, proved, removes_ticket, brought } = scene.steps[index] else {
            return;
        };
        let doing = self.plans[index];
        let is_over = scene.of(token.session).is_over();
        let (cookie, offer) = self.commit(scene, doing, token, arrived, adopts, proved);
        let stays = !is_over && matches!(doing, Doing::Look | Doing::Change);
        scene.note_if(stays && brought && scene.of(token.session).newest.device.is_none(), Flaw::NotBound);
        let response = Response { cookie, offer, removes_ticket: removes_ticket || cookie == Cookie::Remove };
        scene.steps[index] = Step::Answered { response, at: scene.now };
    }

    /// Commits what a request changes: on top of the newest token, whatever that has become.
    fn commit(
        &self,
        scene: &mut Scene,
        doing: Doing,
        token: Token,
        arrived: u16,
        adopts: Option<Device>,
        proved: Option<u16>,
    ) -> (Cookie, Option<Offer>) {
        let now = scene.now;
        let number = u8::try_from(scene.sessions.len()).unwrap_or(THIEF);
        let old = scene.of(token.session).clone();
        let device = old.newest.device.or(adopts);
        match doing {
            Doing::Login | Doing::Switch => {
                // The same user's tombstone names the successor, as after a renewal.
                let of = scene.of_mut(token.session);
                (of.ended_at, of.moved) = (Some(now), doing == Doing::Login);
                let kept = old.newest.device.filter(|_| self.breaks(Relaxed::LoginKeepsTheDevice));
                let newest = Token { session: number, generation: 1, device: kept };
                scene.sessions.push(Session::first(newest, now));
                return (Cookie::Set(newest), Some(Offer { session: number, issued: now }));
            }
            _ if old.is_over() => return (Cookie::Keep, None),
            Doing::Logout => {
                scene.of_mut(token.session).ended_at = Some(now);
                return (Cookie::Remove, None);
            }
            Doing::Renew => {
                let device = device.filter(|_| !self.breaks(Relaxed::RenewalDropsTheDevice));
                let newest = Token { session: number, generation: 1, device };
                let of = scene.of_mut(token.session);
                (of.ended_at, of.moved) = (Some(now), true);
                let bound_at = old.bound_at.or(device.map(|_| now));
                scene.sessions.push(Session { bound_at, proof: old.proof, ..Session::first(newest, now) });
                scene.note_if(device == Some(THIEF), Flaw::OthersKey);
                return (Cookie::Set(newest), None);
            }
            Doing::Look | Doing::Change => {}
        }
        let in_the_bucket = self.breaks(Relaxed::ProofInTheBucket);
        let binds = device != old.newest.device;
        let rotates = doing == Doing::Change || binds;
        if in_the_bucket || (self.breaks(Relaxed::ProofInTheToken) && rotates) {
            let of = scene.of_mut(token.session);
            of.proof = proved.map(|at| at.max(arrived)).or(of.proof);
        }
        let of = scene.of_mut(token.session);
        if rotates {
            of.retired.push(Retired { token: of.newest, at: now, dead_after: None });
            of.newest = Token { generation: of.newest.generation + 1, device, ..of.newest };
            of.bound_at = of.bound_at.or(device.map(|_| now));
        }
        // The one that arrived with a token has left the older ones behind.
        for older in of.retired.iter_mut().filter(|older| older.token.generation < token.generation) {
            if older.dead_after.is_none() && older.at + GRACE_TICKS < arrived {
                older.dead_after = Some(arrived + GRACE_TICKS);
            }
        }
        let newest = of.newest;
        scene.note_if(newest.device == Some(THIEF), Flaw::OthersKey);
        (if newest == token { Cookie::Keep } else { Cookie::Set(newest) }, None)
    }

    fn carry_refresh(&self, scene: &mut Scene) {
        let Some(refresh) = scene.refresh else { return };
        let Binding { device, handle } = refresh.binding;
        match refresh.answer {
            None => {
                let handle = (!self.breaks(Relaxed::RefreshWithoutHandle)).then_some(handle);
                let ended = refresh.witness.is_some_and(|token| self.contradicts(scene, token, refresh.binding));
                let ticket = Ticket { device, handle, issued: scene.now };
                let answer = Some(if ended { Refreshed::Ended } else { Refreshed::Ticket(ticket) });
                scene.refresh = Some(Refreshing { at: scene.now, answer, ..refresh });
            }
            Some(Refreshed::Ticket(ticket)) => {
                scene.jar.ticket = Some(ticket);
                scene.refresh = None;
            }
            Some(Refreshed::Ended) => {
                let forgotten = scene.jar.binding.take();
                let session = scene.jar.token.map(|token| scene.of(token.session));
                let needed = session.filter(|session| !session.is_over()).and_then(|session| session.newest.device);
                scene.note_if(needed.is_some() && forgotten.map(|binding| binding.device) == needed, Flaw::LockedOut);
                scene.refresh = None;
            }
        }
    }

    /// Returns `true` if the session whose cookie came along is over, or belongs to another device.
    fn contradicts(&self, scene: &Scene, token: Token, binding: Binding) -> bool {
        let (now, session) = (scene.now, scene.of(token.session));
        if let Some(ended_at) = session.ended_at {
            // A tombstone goes in the last millisecond of its grace, which these steps of time do not tell apart.
            let has_just_ended = now <= ended_at + GRACE_TICKS && !self.breaks(Relaxed::EndsBesideTheJustEnded);
            return !session.moved && !has_just_ended;
        }
        let is_late = self.breaks(Relaxed::EndsAfterAGrace) && now > session.since + GRACE_TICKS;
        let breaks = match session.newest.device {
            Some(_) => self.breaks(Relaxed::EndsOnceBound),
            None => self.breaks(Relaxed::EndsWhileRegistering),
        };
        if session.may_be_registering(now) && !is_late && !breaks {
            return false;
        }
        match session.newest.device {
            _ if matches!(worth(scene, token), Worth::Dead | Worth::Nothing) => false,
            Some(device) => device != binding.device,
            None => binding.handle != token.session,
        }
    }

    fn steal(&self, scene: &mut Scene) {
        let (Some(loot), Some(token)) = (self.loot, scene.jar.token) else { return };
        let ticket = scene.jar.ticket.filter(|_| loot != Loot::Token);
        let proof = scene.jar.binding.filter(|_| loot == Loot::JarAndProof).map(|binding| (binding, scene.now));
        scene.loot = Some(Stolen { at: scene.now, token, ticket, proof });
    }

    fn use_proof(&self, scene: &mut Scene) {
        let now = scene.now;
        let Some(loot) = &mut scene.loot else { return };
        let Some((binding, issued)) = loot.proof.take() else { return };
        let is_young = time(now) <= time(issued).after(DEVICES.challenge_life());
        if is_young || self.breaks(Relaxed::ChallengesDoNotEnd) {
            loot.ticket = Some(Ticket { device: binding.device, handle: Some(binding.handle), issued: now });
        }
    }

    /// One whole request of the thief's.
    fn abuse(&self, scene: &mut Scene, index: usize, own: bool) {
        let (now, doing) = (scene.now, self.thief[index]);
        let Some(loot) = scene.loot else { return };
        scene.stolen |= 1 << index;
        let token = loot.token;
        // The host would issue this for the thief's own key.
        let handle = if self.breaks(Relaxed::RegistersByAnyChallenge) { token.session } else { THIEF };
        let ticket = if own { Some(Ticket { device: THIEF, handle: Some(handle), issued: now }) } else { loot.ticket };
        let bound_at = scene.of(token.session).bound_at;
        let standing = match worth(scene, token) {
            Worth::Nothing => return,
            Worth::Dead => {
                let good = ticket.filter(|ticket| self.is_good(*ticket, now));
                let is_proved = token.device.is_none_or(|device| good.is_some_and(|ticket| ticket.device == device));
                if is_proved || self.breaks(Relaxed::TheDeadRevokeUnproved) {
                    // A dead token of the time before the binding is a replay like any other.
                    scene.note_if(!is_proved, Flaw::EndedByThief);
                    scene.of_mut(token.session).ended_at = Some(now);
                }
                return;
            }
            Worth::Current | Worth::Superseded => self.standing(scene, token, ticket),
        };
        if standing == Standing::Refused {
            return;
        }
        let settled = token.device.is_some() || bound_at.is_some_and(|at| now > at + GRACE_TICKS);
        let good_for = match self.loot {
            Some(Loot::Jar) => LIFE_TICKS + GRACE_TICKS,
            _ => 2 * (LIFE_TICKS + GRACE_TICKS),
        };
        let without = self.loot == Some(Loot::Token);
        scene.note_if(settled && without, Flaw::Served);
        scene.note_if(settled && !without && now > loot.at + good_for, Flaw::ServedTooLong);
        let adopts = if let Standing::Adopts(device) = standing { Some(device) } else { None };
        if let (Cookie::Set(newest), _) = self.commit(scene, doing, token, now, adopts, None) {
            scene.loot = Some(Stolen { token: newest, ..loot });
        }
    }
}

/// Returns the worth of a token to its bucket.
fn worth(scene: &Scene, token: Token) -> Worth {
    let session = scene.of(token.session);
    if session.is_over() {
        return Worth::Nothing;
    }
    if session.newest == token {
        return Worth::Current;
    }
    match session.retired.iter().find(|retired| retired.token == token) {
        Some(Retired { dead_after: Some(dead_after), .. }) if scene.now > *dead_after => Worth::Dead,
        Some(_) => Worth::Superseded,
        None => Worth::Nothing,
    }
}

fn deliver(scene: &mut Scene, index: usize) {
    let Step::Answered { response, .. } = scene.steps[index] else { return };
    match response.cookie {
        Cookie::Keep => {}
        Cookie::Set(token) => scene.jar.token = Some(token),
        Cookie::Remove => (scene.jar.token, scene.jar.binding) = (None, None),
    }
    scene.jar.offer = response.offer.or(scene.jar.offer);
    if response.removes_ticket {
        scene.jar.ticket = None;
    }
    scene.steps[index] = Step::Done;
}

fn carry_registration(scene: &mut Scene) {
    let Some(registration) = scene.registration else { return };
    let session = registration.offer.session;
    match registration.answer {
        None => {
            // The browser makes a key for each offer.
            let ticket = Ticket { device: session, handle: Some(session), issued: scene.now };
            scene.registration = Some(Registration { at: scene.now, answer: Some(ticket), ..registration });
        }
        Some(ticket) => {
            scene.jar.ticket = Some(ticket);
            scene.jar.binding = Some(Binding { device: ticket.device, handle: session });
            scene.registration = None;
        }
    }
}
