//! Device-bound sessions in the model checker: a browser with its keys, and a thief who copies what it holds.
//!
//! A login offers, the browser registers a key, one of its requests binds the session, and refreshes bring tickets. The
//! checker goes through every order in which all this arrives, is answered, crosses and gets lost, and time passes in
//! steps of half a grace. A ticket lives for a grace here, so that histories in which it ends are short. Whether a
//! ticket or a challenge is still good is the core's judgement; stamps cannot be forged, so that there are none here.
//!
//! The bounds: one user, whose login's response, registration and its answer take a grace together; a refresh under way
//! at a time, with a challenge that is fresh; two or three requests of the browser and two of a thief, who does not log
//! out (a logout needs no ticket). A thief's request is one step.
//!
//! One history is known, and not taken for a [`Flaw`]: a request that was sent before the browser had a key, with a token
//! that was superseded more than a grace ago, is refused, once.

mod host;
mod state;

pub use host::Relaxed;
pub use state::{Doing, Flaw, Loot, Moving, Scene};

use stateright::{Model, Property};

use crate::device::state::Step;
use crate::time::GRACE_TICKS;

/// A session from its login on, what its browser does, and what a thief does with a copy of the jar.
#[derive(Debug, Clone)]
pub struct DeviceModel {
    pub(crate) plans: Vec<Doing>,
    pub(crate) thief: Vec<Doing>,
    pub(crate) loot: Option<Loot>,
    pub(crate) ticks: u16,
    /// The number of tickets that the browser may fetch.
    pub(crate) refreshes: u8,
    pub(crate) bound: bool,
    pub(crate) relaxed: Option<Relaxed>,
}

impl DeviceModel {
    /// Returns the model of a browser that has just logged in, and does these things in any order within this time.
    #[must_use]
    pub fn of(plans: &[Doing], ticks: u16) -> Self {
        let plans = plans.to_vec();
        Self { plans, thief: Vec::new(), loot: None, ticks, refreshes: 1, bound: false, relaxed: None }
    }

    /// Lets a thief copy this at any moment, and do each of these things later.
    #[must_use]
    pub fn with_thief(self, loot: Loot, thief: &[Doing]) -> Self {
        Self { loot: Some(loot), thief: thief.to_vec(), ..self }
    }

    /// Begins with a session that is bound already.
    #[must_use]
    pub fn bound(self) -> Self {
        Self { bound: true, ..self }
    }

    /// Lets the browser fetch so many tickets.
    #[must_use]
    pub fn refreshing(self, refreshes: u8) -> Self {
        Self { refreshes, ..self }
    }

    /// Breaks a rule.
    #[must_use]
    pub fn breaking(self, rule: Relaxed) -> Self {
        Self { relaxed: Some(rule), ..self }
    }

    pub(crate) fn breaks(&self, rule: Relaxed) -> bool {
        self.relaxed == Some(rule)
    }
}

impl Model for DeviceModel {
    type State = Scene;
    type Action = Moving;

    fn init_states(&self) -> Vec<Scene> {
        vec![Scene::first(self)]
    }

    fn actions(&self, scene: &Scene, actions: &mut Vec<Moving>) {
        for (index, step) in scene.steps.iter().enumerate() {
            match step {
                Step::Planned if scene.may_send(self.plans[index]) => actions.push(Moving::Send(index)),
                Step::Sent { .. } => actions.extend([Moving::Arrive(index), Moving::Lose(index)]),
                Step::Working { .. } => actions.push(Moving::Commit(index)),
                Step::Answered { .. } => actions.extend([Moving::Deliver(index), Moving::Lose(index)]),
                Step::Planned | Step::Done => {}
            }
        }
        if scene.jar.offer.is_some() && scene.registration.is_none() {
            actions.push(Moving::Register);
        }
        if scene.registration.is_some() {
            actions.extend([Moving::CarryRegistration, Moving::LoseRegistration]);
        }
        let renews = scene.jar.binding.is_some() && scene.refresh.is_none() && scene.refreshes < self.refreshes;
        if renews && scene.jar.ticket.is_none_or(|ticket| ticket.issued < scene.now) {
            actions.extend([Moving::Refresh { beside_cookie: true }, Moving::Refresh { beside_cookie: false }]);
        }
        if scene.refresh.is_some() {
            actions.extend([Moving::CarryRefresh, Moving::LoseRefresh]);
        }
        if scene.loot.is_none() && self.loot.is_some() && scene.jar.token.is_some() {
            actions.push(Moving::Steal);
        }
        if let Some(loot) = &scene.loot {
            for index in (0..self.thief.len()).filter(|index| scene.stolen & 1 << index == 0) {
                actions.extend([Moving::Abuse { index, own: false }, Moving::Abuse { index, own: true }]);
            }
            if loot.proof.is_some() {
                actions.push(Moving::UseProof);
            }
        }
        if scene.now < self.ticks && !scene.is_overdue() {
            actions.push(Moving::Tick);
        }
    }

    fn next_state(&self, scene: &Scene, action: Moving) -> Option<Scene> {
        let mut next = scene.clone();
        self.act(&mut next, action);
        (next != *scene).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing for a token without a ticket", |_, scene: &Scene| !scene.has(Flaw::Served)),
            Property::always("a token without a ticket ends nobody", |_, scene: &Scene| !scene.has(Flaw::EndedByThief)),
            Property::always("token and ticket are over in time", |_, scene: &Scene| !scene.has(Flaw::ServedTooLong)),
            Property::always("the owner gets in", |_, scene: &Scene| !scene.has(Flaw::LockedOut)),
            Property::always("no key but the owner's is bound", |_, scene: &Scene| !scene.has(Flaw::OthersKey)),
            Property::always("a registered key is bound", |_, scene: &Scene| !scene.has(Flaw::NotBound)),
            Property::always("a logout ends the session", |_, scene: &Scene| !scene.has(Flaw::LogoutRefused)),
            Property::sometimes("bound", |_, scene: &Scene| {
                scene.sessions.iter().any(|session| session.newest.device.is_some())
            }),
        ]
    }
}

/// A ticket's life, in steps of time.
pub(crate) const LIFE_TICKS: u16 = GRACE_TICKS;
