//! Histories of one session: browsers, a network that delays and loses, hosts with clocks of their own, one bucket.
//!
//! A browser has one jar, with one cookie. A request carries what the jar holds when it is sent; a Set-Cookie that
//! arrives replaces it, in whatever order they arrive. A host does what the engine does: it judges on arrival, rotates
//! for an update or when the rotation interval has passed, touches only when that is due, and answers a superseded token
//! with the one that is newest at the time of the response.

pub(crate) mod wire;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use secure_sessions_core::format::MAX_RETIRED;
use secure_sessions_core::{Arrival, Bucket, BucketPolicy, Millis, Timestamp};

use self::wire::{Seen, Wire};
use crate::support::random::Dice;

const HOUR: u64 = 60 * 60 * 1000;
const HOSTS: usize = 3;
/// More updates at once than a bucket remembers.
const FLOOD: u64 = MAX_RETIRED as u64 + 12;

/// When a retired token dies: ours, or one of the simpler rules that the simulation must find wanting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    Ours,
    /// A grace after it was superseded.
    GraceAfterSuccessor,
    /// A grace after a newer token was first seen.
    GraceAfterFirstSight,
    /// Ours, but what was pushed out of the list is forgotten.
    NoWatermark,
    /// Ours, but what was pushed out of the list never dies.
    WatermarkNeverDies,
}

/// The conditions of a history.
#[derive(Debug, Clone)]
pub(crate) struct Conditions {
    pub(crate) rule: Rule,
    pub(crate) grace: u64,
    /// The largest difference between two hosts' clocks.
    pub(crate) skew: u64,
    /// The longest way of a request, or of a response.
    pub(crate) max_delay: u64,
    /// The longest that a handler takes.
    pub(crate) max_handling: u64,
    pub(crate) renewal: Option<u64>,
    pub(crate) bursts: u64,
    /// The share of bursts with more updates at once than a bucket remembers: one in this many.
    pub(crate) floods: Option<u64>,
}

impl Conditions {
    /// Within the bound that the protocol promises: every way takes at most (grace - clock skew) / 2.
    pub(crate) fn within_the_bound(dice: &mut Dice) -> Self {
        let grace = [2_000, 10_000, 60_000, 300_000][usize::try_from(dice.within(0, 3)).expect("small")];
        let skew = if dice.one_in(2) { 0 } else { dice.within(0, grace / 2) };
        let renewal = match dice.within(0, 3) {
            0 => None,
            1 => Some(dice.within(1, grace)),
            _ => Some(15 * 60 * 1000),
        };
        let max_delay = (grace - skew) / 2;
        let bursts = dice.within(2, 12);
        Self { rule: Rule::Ours, grace, skew, max_delay, max_handling: max_delay, renewal, bursts, floods: None }
    }

    fn policy(&self) -> BucketPolicy {
        BucketPolicy { grace: Millis::new(self.grace), touch_step: None }
    }
}

/// An admission that must never happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    Replayed,
    Unremembered,
    /// Refused for a crowd although no burst was large enough for one.
    Evicted,
    /// The token is admitted, and leads nowhere.
    LeadsNowhere,
    /// Data that is not the newest.
    OldData,
}

/// The number of times that each thing happened in a history.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) rotations: u64,
    pub(crate) handoffs: u64,
    pub(crate) lost_responses: u64,
    pub(crate) crossed_responses: u64,
    /// When the handler was done, its token had died and nothing led to the newest any more.
    pub(crate) conflicts: u64,
    /// Requests that were refused, without an alarm, because they came with a token that a flood had pushed out.
    pub(crate) evicted: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.rotations += other.rotations;
        self.handoffs += other.handoffs;
        self.lost_responses += other.lost_responses;
        self.crossed_responses += other.crossed_responses;
        self.conflicts += other.conflicts;
        self.evicted += other.evicted;
    }
}

struct Request<C> {
    browser: usize,
    cookie: C,
    host: usize,
    updates: bool,
    /// The time that the handler takes.
    handling: u64,
    arrival: Option<Arrival>,
    superseded: bool,
}

enum Event<C> {
    Sent { browser: usize, updates: bool },
    Arrived(Request<C>),
    Handled(Request<C>),
    Answered { browser: usize, generation: u32, cookie: C },
}

/// One session and everybody who has a part in it.
pub(crate) struct World<W: Wire> {
    pub(crate) dice: Dice,
    pub(crate) tally: Tally,
    conditions: Conditions,
    wire: W,
    bucket: Bucket,
    /// The session's newest data.
    newest: u64,
    jars: Vec<(u32, W::Cookie)>,
    /// The time by which each host's clock is ahead of the slowest one's.
    ahead: [u64; HOSTS],
    now: u64,
    due: BinaryHeap<(Reverse<(u64, u64)>, usize)>,
    events: Vec<Option<Event<W::Cookie>>>,
}

impl<W: Wire> World<W> {
    pub(crate) fn new(mut dice: Dice, conditions: Conditions, mut wire: W) -> Self {
        let now = 1_750_000_000_000;
        let mut ahead = [0; HOSTS];
        for host in &mut ahead {
            *host = if dice.one_in(2) { conditions.skew } else { dice.within(0, conditions.skew) };
        }
        let (bucket, cookie) = wire.create(0, Timestamp::from_millis(now));
        Self {
            dice,
            tally: Tally::default(),
            jars: vec![(bucket.generation, cookie)],
            conditions,
            wire,
            bucket,
            newest: 0,
            ahead,
            now,
            due: BinaryHeap::new(),
            events: Vec::new(),
        }
    }

    /// Somebody copies the first browser's cookie.
    pub(crate) fn steal(&mut self) {
        self.jars.push(self.jars[0].clone());
    }

    /// Bursts of requests of these browsers, and gaps of every length between them.
    pub(crate) fn run(&mut self, browsers: &[usize]) -> Result<(), Fault> {
        for _ in 0..self.conditions.bursts {
            if self.conditions.floods.is_some_and(|floods| self.dice.one_in(floods)) {
                let browser = browsers[self.pick(browsers.len())];
                for _ in 0..self.dice.within(1, 2 * FLOOD) {
                    self.schedule(self.now, Event::Sent { browser, updates: true });
                }
            }
            for _ in 0..self.dice.within(1, 5) {
                let browser = browsers[self.pick(browsers.len())];
                let updates = self.dice.one_in(3);
                let at = self.now + self.delay();
                self.schedule(at, Event::Sent { browser, updates });
            }
            let (grace, max_delay) = (self.conditions.grace, self.conditions.max_delay);
            let gap = match self.dice.within(0, 5) {
                0 => self.dice.within(0, 50),
                1 => self.dice.within(0, max_delay),
                2 => self.dice.within(0, grace),
                3 => self.dice.within(grace, 3 * grace),
                4 => grace,
                _ => self.dice.within(HOUR, 5 * HOUR),
            };
            self.pass(gap)?;
        }
        self.settle_down()
    }

    /// Everything under way arrives.
    pub(crate) fn settle_down(&mut self) -> Result<(), Fault> {
        while let Some((Reverse((at, _)), _)) = self.due.peek() {
            let at = *at;
            self.pass(at - self.now)?;
        }
        Ok(())
    }

    /// Time passes, and what is due happens.
    pub(crate) fn pass(&mut self, length: u64) -> Result<(), Fault> {
        let until = self.now + length;
        while let Some((Reverse((at, _)), index)) = self.due.peek().copied() {
            if at > until {
                break;
            }
            self.due.pop();
            self.now = at;
            let event = self.events[index].take().expect("happens once");
            self.happen(event)?;
        }
        self.now = until;
        Ok(())
    }

    /// One request of this browser, there and back without delay.
    pub(crate) fn visit(&mut self, browser: usize, updates: bool) -> Result<(), Fault> {
        let mut request = self.request(browser, updates);
        request.handling = 0;
        if !self.admit(&mut request)? {
            return Ok(());
        }
        if let Some((generation, cookie)) = self.handle(&request)? {
            self.jars[browser] = (generation, cookie);
        }
        Ok(())
    }

    /// Sends as many updates of this browser as push out the tokens that were superseded before, all there and back without
    /// delay and one after another.
    pub(crate) fn flood(&mut self, browser: usize) -> Result<(), Fault> {
        for _ in 0..FLOOD {
            self.visit(browser, true)?;
        }
        Ok(())
    }

    fn happen(&mut self, event: Event<W::Cookie>) -> Result<(), Fault> {
        match event {
            Event::Sent { browser, updates } => {
                self.tally.requests += 1;
                let request = self.request(browser, updates);
                // Some requests never arrive.
                if !self.dice.one_in(20) {
                    let at = self.now + self.delay();
                    self.schedule(at, Event::Arrived(request));
                }
            }
            Event::Arrived(mut request) => {
                if !self.admit(&mut request)? {
                    return Ok(());
                }
                let at = self.now + request.handling;
                self.schedule(at, Event::Handled(request));
            }
            Event::Handled(request) => {
                let Some((generation, cookie)) = self.handle(&request)? else { return Ok(()) };
                if self.dice.one_in(6) {
                    self.tally.lost_responses += 1;
                } else {
                    let at = self.now + self.delay();
                    self.schedule(at, Event::Answered { browser: request.browser, generation, cookie });
                }
            }
            Event::Answered { browser, generation, cookie } => {
                self.tally.crossed_responses += u64::from(generation < self.jars[browser].0);
                self.jars[browser] = (generation, cookie);
            }
        }
        Ok(())
    }

    fn request(&mut self, browser: usize, updates: bool) -> Request<W::Cookie> {
        let handling = match self.dice.within(0, 9) {
            0 => self.dice.within(0, self.conditions.max_handling),
            1 => self.conditions.max_handling,
            2..=4 => self.dice.within(0, self.conditions.max_handling.min(300)),
            _ => 0,
        };
        let cookie = self.jars[browser].1.clone();
        Request { browser, cookie, host: self.pick(HOSTS), updates, handling, arrival: None, superseded: false }
    }

    /// A request arrives and is judged. `false`: it is served without a session, and gets no cookie.
    fn admit(&mut self, request: &mut Request<W::Cookie>) -> Result<bool, Fault> {
        let now = self.clock(request.host);
        let (arrival, state) = match self.wire.present(&self.bucket, &request.cookie, now, &self.conditions.policy()) {
            Seen::Current(arrival, state) => (arrival, Some(state)),
            Seen::Superseded(arrival) => {
                self.tally.handoffs += 1;
                request.superseded = true;
                (arrival, self.wire.newest(&self.bucket, &request.cookie, now).map(|(state, _)| state))
            }
            Seen::Replayed => return Err(Fault::Replayed),
            Seen::Evicted if self.conditions.floods.is_none() => return Err(Fault::Evicted),
            Seen::Evicted => {
                self.tally.evicted += 1;
                return Ok(false);
            }
            Seen::Unremembered => return Err(Fault::Unremembered),
        };
        request.arrival = Some(arrival);
        self.must_be_newest(state)?;
        Ok(true)
    }

    /// A handler is done: its commit, and the cookie that its response carries.
    fn handle(&mut self, request: &Request<W::Cookie>) -> Result<Option<(u32, W::Cookie)>, Fault> {
        let now = self.clock(request.host);
        let policy = self.conditions.policy();
        let arrival = request.arrival.expect("was judged");
        let age = now.since(self.bucket.rotated_at).get();
        if request.updates || self.conditions.renewal.is_some_and(|renewal| age >= renewal) {
            let Some((newest, _)) = self.wire.newest(&self.bucket, &request.cookie, now) else {
                self.tally.conflicts += 1;
                return Ok(None);
            };
            self.must_be_newest(Some(newest))?;
            let state = self.newest + u64::from(request.updates);
            let (succession, cookie) = self.wire.succeed(&self.bucket, state, now);
            let next = self.bucket.rotated(&arrival, succession, now, &policy).expect("few generations");
            self.write(next, &arrival);
            self.newest = state;
            self.tally.rotations += 1;
            return Ok(Some((self.bucket.generation, cookie)));
        }
        if self.bucket.touch_due(now, &policy) {
            let next = self.bucket.touched(&arrival, now, &policy);
            self.write(next, &arrival);
        }
        if !request.superseded {
            return Ok(None);
        }
        let Some((state, cookie)) = self.wire.newest(&self.bucket, &request.cookie, now) else {
            self.tally.conflicts += 1;
            return Ok(None);
        };
        self.must_be_newest(Some(state))?;
        Ok(Some((self.bucket.generation, cookie)))
    }

    fn write(&mut self, mut next: Bucket, arrival: &Arrival) {
        assert!(next.revision > self.bucket.revision);
        let grace = Millis::new(self.conditions.grace);
        for retired in next.retired.iter_mut().filter(|retired| retired.dead_after.is_none()) {
            match self.conditions.rule {
                Rule::Ours | Rule::NoWatermark | Rule::WatermarkNeverDies => {}
                Rule::GraceAfterSuccessor => retired.dead_after = Some(retired.superseded_at.after(grace)),
                Rule::GraceAfterFirstSight if retired.generation < arrival.generation => {
                    retired.dead_after = Some(arrival.at.after(grace));
                }
                Rule::GraceAfterFirstSight => {}
            }
        }
        match (self.conditions.rule, &mut next.evicted) {
            (Rule::NoWatermark, evicted) => *evicted = None,
            (Rule::WatermarkNeverDies, Some(evicted)) => evicted.dead_after = None,
            _ => {}
        }
        self.bucket = next;
    }

    fn must_be_newest(&self, state: Option<u64>) -> Result<(), Fault> {
        match state {
            None => Err(Fault::LeadsNowhere),
            Some(state) if state != self.newest => Err(Fault::OldData),
            Some(_) => Ok(()),
        }
    }

    /// The way of a request or a response: often short, sometimes as long as it may be.
    fn delay(&mut self) -> u64 {
        let max_delay = self.conditions.max_delay;
        match self.dice.within(0, 5) {
            0 => 0,
            1 | 2 => self.dice.within(0, max_delay.min(200)),
            3 | 4 => self.dice.within(0, max_delay),
            _ => max_delay,
        }
    }

    fn clock(&self, host: usize) -> Timestamp {
        Timestamp::from_millis(self.now + self.ahead[host])
    }

    fn pick(&mut self, among: usize) -> usize {
        let last = u64::try_from(among - 1).expect("small");
        usize::try_from(self.dice.within(0, last)).expect("small")
    }

    fn schedule(&mut self, at: u64, event: Event<W::Cookie>) {
        let index = self.events.len();
        self.events.push(Some(event));
        // Events that are due at the same moment happen in either order.
        let order = self.dice.next();
        self.due.push((Reverse((at, order)), index));
    }
}
