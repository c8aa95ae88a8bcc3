//! The protocol as the model checker sees it: what can happen next, and what it leads to.

use std::collections::BTreeMap;

use stateright::{Model, Property};

use crate::fault::{Fault, Faults};
use crate::mint::Coin;
use crate::oracle::Oracle;
use crate::protocol::Protocol;
use crate::time::SLEEP_TICKS;
use crate::world::{Answer, BURST, Kind, Phase, Request, Who, World};

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Half a grace passes.
    Tick,
    /// A request leaves with what the jar, or the thief, holds.
    Send(usize),
    /// A request or a response gets lost.
    Lose(usize),
    /// A request arrives and is judged.
    Arrive(usize),
    /// A handler takes its next step.
    Work(usize),
    /// A response reaches the browser.
    Deliver(usize),
    /// The responses of a burst reach the browser, that of its first request last.
    DeliverFirst(usize),
    /// The thief copies the jar.
    Steal,
    /// The standby gets what the store has.
    Replicate,
    /// The standby takes over.
    FailOver,
    /// Nobody does anything for longer than a session lives.
    Sleep,
    /// The purge removes sessions that are over.
    Purge,
}

impl Protocol {
    fn holds(world: &World, who: Who) -> Option<Coin> {
        match who {
            Who::Browser => world.jar,
            Who::Thief => world.loot,
            Who::Provider => None,
        }
    }

    /// Returns `true` if another request that is the same in every way would be sent first.
    fn has_earlier_twin(world: &World, index: usize) -> bool {
        let of = |request: &Request| (request.who, request.kind);
        let twin = of(&world.requests[index]);
        world.requests[..index].iter().any(|other| of(other) == twin && other.phase == Phase::Planned)
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let planned = |who| move |kind: &Kind| Request { who, kind: *kind, phase: Phase::Planned };
        let browser = self.browser.iter().map(planned(Who::Browser));
        let provider = [Kind::ProviderLogout];
        let provider = provider.iter().filter(|_| self.provider).map(planned(Who::Provider));
        let thief = self.thief.iter().map(planned(Who::Thief));
        let requests: Vec<Request> = browser.chain(thief).chain(provider).collect();
        let mut world = World {
            now: 0,
            store: BTreeMap::new(),
            standby: None,
            jar: None,
            loot: None,
            oracle: Oracle::default(),
            faults: Faults::default(),
            sessions: 0,
            slept: false,
            failed_over: false,
            stolen: false,
            missed: false,
            requests,
        };
        let first = world.requests.len();
        world.jar = Some(self.begin(&mut world, first, self.first, 0));
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if !world.faults.is_empty() {
            return;
        }
        for (index, request) in world.requests.iter().enumerate() {
            match &request.phase {
                Phase::Planned if request.who == Who::Provider => actions.push(Action::Work(index)),
                Phase::Planned => {
                    if Self::holds(world, request.who).is_some() && !Self::has_earlier_twin(world, index) {
                        actions.push(Action::Send(index));
                    }
                }
                Phase::Sent { .. } => {
                    actions.push(Action::Arrive(index));
                    actions.extend(self.loses.then_some(Action::Lose(index)));
                }
                Phase::Working(_)
                | Phase::JustEnded { .. }
                | Phase::Sweeping { .. }
                | Phase::EndingGroup { .. }
                | Phase::Ending(_) => {
                    actions.push(Action::Work(index));
                }
                Phase::Answered { .. } => {
                    actions.push(Action::Deliver(index));
                    actions.extend((request.kind == Kind::Burst).then_some(Action::DeliverFirst(index)));
                    actions.extend(self.loses.then_some(Action::Lose(index)));
                }
                Phase::Done => {}
            }
        }
        // When nobody has anything left to do, more time shows nothing.
        let over = world.requests.iter().all(|request| request.phase == Phase::Done);
        if over {
            return;
        }
        if world.now % SLEEP_TICKS < self.ticks && !world.is_overdue() {
            actions.push(Action::Tick);
        }
        if !self.thief.is_empty() && !world.stolen && world.jar.is_some() {
            actions.push(Action::Steal);
        }
        if self.fails_over && !world.failed_over {
            actions.push(if world.standby.is_none() { Action::Replicate } else { Action::FailOver });
        }
        if self.sleeps {
            let resting = world.requests.iter().all(|request| matches!(request.phase, Phase::Planned | Phase::Done));
            actions.extend((resting && !world.slept).then_some(Action::Sleep));
            actions.push(Action::Purge);
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        match action {
            Action::Tick => world.now += 1,
            Action::Send(index) => {
                let cookie = Self::holds(&world, world.requests[index].who)?;
                match world.requests[index].who {
                    // The thief's ways are as short as he likes.
                    Who::Thief | Who::Provider => self.arrive(&mut world, index, cookie),
                    Who::Browser => world.requests[index].phase = Phase::Sent { cookie, at: world.now },
                }
            }
            Action::Lose(index) => {
                let request = &mut world.requests[index];
                world.missed |= request.kind.moves() && matches!(request.phase, Phase::Answered { .. });
                request.phase = Phase::Done;
            }
            Action::Arrive(index) => {
                let Phase::Sent { cookie, .. } = world.requests[index].phase else { return None };
                self.arrive(&mut world, index, cookie);
            }
            Action::Work(index) => self.work(&mut world, index),
            Action::Deliver(index) => {
                let Phase::Answered { cookie, .. } = world.requests[index].phase else { return None };
                world.deliver(index, cookie);
            }
            Action::DeliverFirst(index) => {
                let Phase::Answered { cookie: Answer::Set(last), .. } = world.requests[index].phase else {
                    return None;
                };
                world.deliver(index, Answer::Set(Coin { generation: last.generation - (BURST - 1), ..last }));
            }
            Action::Steal => {
                world.loot = world.jar;
                world.stolen = true;
            }
            Action::Replicate => world.standby = Some(world.store.clone()),
            Action::FailOver => {
                world.store = world.standby.take()?;
                world.failed_over = true;
            }
            Action::Sleep => {
                world.now = SLEEP_TICKS;
                world.slept = true;
            }
            Action::Purge => self.purge(&mut world),
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no update is lost", |_, world: &World| !world.faults.has(Fault::LostUpdate)),
            Property::always("old data never comes back", |_, world: &World| !world.faults.has(Fault::OldData)),
            Property::always("ended is final", |_, world: &World| !world.faults.has(Fault::EndedCameBack)),
            Property::always("an honest browser is not refused", |_, world: &World| {
                !world.faults.has(Fault::HonestRefused)
            }),
            Property::always("a dead token is not admitted", |_, world: &World| !world.faults.has(Fault::DeadAdmitted)),
            Property::always("a dead token is noticed", |_, world: &World| !world.faults.has(Fault::DeadUnnoticed)),
            Property::always("no token leads to another session", |_, world: &World| {
                !world.faults.has(Fault::CrossedSessions)
            }),
            Property::always("a bucket keeps what it needs", |_, world: &World| !world.faults.has(Fault::Unbounded)),
            Property::always("a lost write is no theft", |_, world: &World| {
                !world.faults.has(Fault::LostWritePunished)
            }),
            Property::always("a response carries the newest token", |_, world: &World| {
                !world.faults.has(Fault::StaleAnswer)
            }),
            Property::always("an honest browser revokes nothing", |_, world: &World| {
                !world.faults.has(Fault::HonestRevoked)
            }),
            Property::always("only a dead token revokes", |_, world: &World| !world.faults.has(Fault::RevokedTooEarly)),
            Property::always("an ending reaches every successor", |_, world: &World| {
                !world.faults.has(Fault::SuccessorLives)
            }),
            Property::always("everywhere is everywhere", |_, world: &World| !world.faults.has(Fault::SubjectLives)),
            Property::always("the provider's logout reaches every session", |_, world: &World| {
                !world.faults.has(Fault::GroupLives)
            }),
            Property::always("another subject inherits nothing", |_, world: &World| {
                !world.faults.has(Fault::Inherited)
            }),
            Property::always("idle is over", |_, world: &World| !world.faults.has(Fault::ExpiredAdmitted)),
            Property::always("the purge spares the living", |_, world: &World| !world.faults.has(Fault::PurgedAlive)),
        ]
    }
}
