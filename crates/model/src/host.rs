//! What a host does with a request: it judges on arrival, and commits as the engine does, one step of the store at a
//! time. Each step asks the core; a rule that is broken on purpose stands beside the one that it breaks.

use secure_sessions_core::format::MAX_RETIRED;
use secure_sessions_core::{
    Admitted, Bucket, Entry, FIRST_GENERATION, NewBucket, Retired, Succession, Timestamp, Tombstone, Verdict,
};

use crate::checked::{Protocol, Seen};
use crate::fault::Fault;
use crate::mint::{Coin, handoff_key, id, read};
use crate::planted::Planted;
use crate::time::{EXPIRES, GRACE_TICKS, IDLE, POLICY, time};
use crate::world::{Answer, Kept, Kind, Phase, Who, Work, World};

/// How the first judgement of a request ended.
enum Judged {
    Admitted { newest: Coin, owed: bool },
    JustEnded,
    Refused,
}

impl Protocol {
    /// A request arrives and is judged.
    pub(crate) fn arrive(&self, world: &mut World, index: usize, cookie: Coin) {
        let session = cookie.session;
        // Before the judgement, which may itself end the session.
        let excused = world.stolen || world.failed_over || world.slept || world.oracle.has_ended(session);
        let judged = match world.store.get(&session).map(Kept::shared).as_deref() {
            Some(Entry::Bucket(bucket)) => self.judge(world, bucket, cookie),
            Some(Entry::Tombstone(tombstone)) if time(world.now) < tombstone.expires_at => {
                self.under_tombstone(world, cookie)
            }
            _ => Judged::Refused,
        };
        if matches!(judged, Judged::Refused) {
            let honest = world.requests[index].who == Who::Browser;
            world.faults.note_if(honest && !excused, Fault::HonestRefused);
        }
        world.requests[index].phase = match judged {
            Judged::Refused => Phase::Done,
            Judged::JustEnded => Phase::JustEnded,
            Judged::Admitted { newest, owed } => {
                self.check_admission(world, cookie, newest);
                self.touch(world, cookie, world.now);
                let loaded = world.store.get(&newest.session).expect("its bucket was just judged").clone();
                Phase::Working(Box::new(Work { presented: cookie, arrived: world.now, loaded, newest, owed }))
            }
        };
    }

    fn judge(&self, world: &mut World, bucket: &Bucket, cookie: Coin) -> Judged {
        let (now, session) = (time(world.now), cookie.session);
        let mut bucket = bucket.clone();
        if self.breaks(Planted::IgnoresIdle) {
            bucket.idle_timeout = None;
        }
        let opened = self.mint.sealer.open(self.mint.make(cookie).token.clone()).expect("sealed here");
        let verdict = self.mint.sealer.admit(&bucket, opened, now, None, &POLICY);
        let dead = world.oracle.is_dead(session, cookie.generation, world.now);
        let judged = match verdict {
            Verdict::Current(admitted) => Judged::Admitted { newest: read(&admitted), owed: false },
            Verdict::Superseded(_) if self.breaks(Planted::NoHandoff) => Judged::Refused,
            Verdict::Superseded(superseded) => {
                self.saw(Seen::Handoff);
                match self.mint.sealer.follow(&bucket, superseded.handoff_key(), now, None) {
                    Ok((newest, _)) => Judged::Admitted { newest: read(&newest), owed: true },
                    // A bucket keeps its handoff for as long as a superseded token lives.
                    Err(error) => panic!("a live token leads nowhere: {error}"),
                }
            }
            Verdict::Replayed if self.breaks(Planted::DeadIsAlive) => Judged::Admitted { newest: cookie, owed: false },
            Verdict::Replayed => {
                self.saw(Seen::Replay);
                if !self.breaks(Planted::ReplayIsIgnored) {
                    self.revoke(world, session);
                }
                Judged::Refused
            }
            Verdict::Unremembered if self.breaks(Planted::UnrememberedIsAdmitted) => {
                Judged::Admitted { newest: cookie, owed: false }
            }
            Verdict::Unremembered => {
                self.saw(Seen::Unremembered);
                if self.breaks(Planted::LostWriteIsTheft) {
                    self.revoke(world, session);
                }
                let gone = !matches!(world.store.get(&session).map(Kept::entry), Some(Entry::Bucket(_)));
                world.faults.note_if(gone, Fault::LostWritePunished);
                Judged::Refused
            }
            Verdict::Expired => {
                self.saw(Seen::Expired);
                Judged::Refused
            }
            other => panic!("{other:?}: nobody writes to this store but the host"),
        };
        if dead && !world.failed_over {
            world.faults.note_if(matches!(judged, Judged::Admitted { .. }), Fault::DeadAdmitted);
            let expired = bucket.is_expired(now, &POLICY);
            world.faults.note_if(!expired && !world.oracle.has_ended(session), Fault::DeadUnnoticed);
        }
        judged
    }

    fn under_tombstone(&self, world: &World, cookie: Coin) -> Judged {
        let successor = world.store.get(&(cookie.session + 1)).map(Kept::entry);
        match successor {
            Some(Entry::Bucket(bucket)) if self.breaks(Planted::HandoffCrossesRenew) => {
                Judged::Admitted { newest: self.mint.find(&bucket.current), owed: true }
            }
            _ => Judged::JustEnded,
        }
    }

    /// What must be true when a request is let in.
    fn check_admission(&self, world: &mut World, cookie: Coin, newest: Coin) {
        let session = cookie.session;
        world.faults.note_if(newest.session != session, Fault::CrossedSessions);
        let Some(Entry::Bucket(bucket)) = world.store.get(&session).map(|kept| kept.entry().clone()) else { return };
        world.faults.note_if(newest != self.mint.find(&bucket.current), Fault::OldData);
        if !world.failed_over {
            world.faults.note_if(newest.data != world.oracle.committed(session), Fault::LostUpdate);
            world.faults.note_if(world.oracle.has_ended(session), Fault::EndedCameBack);
            let latest = time(world.oracle.last_written(session)).after(IDLE).after(bucket.touch_step(&POLICY));
            world.faults.note_if(time(world.now) > latest, Fault::ExpiredAdmitted);
        }
    }

    /// Writes when the session was last seen, if that is due.
    fn touch(&self, world: &mut World, presented: Coin, arrived: u16) {
        let (session, now) = (presented.session, time(world.now));
        let Some(Entry::Bucket(bucket)) = world.store.get(&session).map(Kept::shared).as_deref().cloned() else {
            return;
        };
        if bucket.touch_due(now, &POLICY) {
            let next = bucket.touched(&presented.arrived(&self.mint, time(arrived)), now, &POLICY);
            self.write(world, session, &bucket, next, (presented.generation, arrived), None);
        }
    }

    /// One step of a handler that is done: it answers, or finds that others were faster and must try again.
    pub(crate) fn work(&self, world: &mut World, index: usize) {
        let kind = world.requests[index].kind;
        let next = match world.requests[index].phase.clone() {
            Phase::JustEnded if kind == Kind::Login => {
                // A login always ends logged in. (Nothing was admitted that could be carried over.)
                Phase::Answered { cookie: Answer::Set(self.begin(world, index, 0)), at: world.now }
            }
            Phase::JustEnded => Phase::Done,
            Phase::Working(work) => match kind {
                Kind::Read => self.end_of_read(world, &work),
                Kind::Write => self.try_to_rotate(world, index, *work),
                Kind::Login => self.try_to_renew(world, index, *work),
                Kind::Logout => self.log_out(world, &work),
            },
            other => panic!("no handler is at work: {other:?}"),
        };
        let by_thief = world.requests[index].who == Who::Thief;
        world.requests[index].phase = match next {
            Phase::Answered { cookie: Answer::Set(coin), .. } if by_thief => {
                world.loot = Some(coin);
                Phase::Done
            }
            Phase::Answered { .. } if by_thief => Phase::Done,
            next => next,
        };
    }

    /// Nothing changed: upkeep, and the newest token for a browser that does not hold it.
    fn end_of_read(&self, world: &mut World, work: &Work) -> Phase {
        if !work.owed {
            self.touch(world, work.presented, work.arrived);
            return Phase::Done;
        }
        let newest = match self.catch_up(world, work) {
            Some(_) if self.breaks(Planted::StaleResponse) => Some(work.newest),
            caught_up => caught_up.map(|(_, newest)| newest),
        };
        match newest {
            Some(newest) => {
                if let Some(Entry::Bucket(bucket)) = world.store.get(&newest.session).map(Kept::entry) {
                    let stale = self.mint.find(&bucket.current) != newest;
                    world.faults.note_if(stale, Fault::StaleAnswer);
                }
                self.touch(world, work.presented, work.arrived);
                Phase::Answered { cookie: Answer::Set(newest), at: world.now }
            }
            None => Phase::Done,
        }
    }

    /// Applies the change to the newest state that is known, seals, and swaps.
    fn try_to_rotate(&self, world: &mut World, index: usize, work: Work) -> Phase {
        let session = work.presented.session;
        let Entry::Bucket(loaded) = work.loaded.entry() else { panic!("a bucket was admitted") };
        let bit = 1 << index;
        let coin = Coin {
            session,
            generation: loaded.next_generation().expect("few generations"),
            maker: maker(index),
            data: work.newest.data | bit,
            at: world.now,
        };
        let minted = self.mint.make(coin);
        let succession = Succession {
            fingerprint: minted.fingerprint,
            handoff: minted.handoff.clone(),
            subject: None,
            label: None,
            expires_at: EXPIRES,
            idle_timeout: Some(IDLE),
        };
        let arrival = work.presented.arrived(&self.mint, time(work.arrived));
        let next = loaded.rotated(&arrival, succession, time(world.now), &POLICY).expect("few generations");
        let swaps = match world.store.get(&session).map(Kept::entry) {
            Some(Entry::Bucket(kept)) => {
                kept.revision == loaded.revision || self.breaks(Planted::SwapIgnoresTheRevision)
            }
            _ => self.breaks(Planted::CommitRecreates),
        };
        if swaps {
            self.write(world, session, loaded, next, (work.presented.generation, work.arrived), Some(bit));
            return Phase::Answered { cookie: Answer::Set(coin), at: world.now };
        }
        self.saw(Seen::Conflict);
        match self.catch_up(world, &work) {
            Some((loaded, newest)) => Phase::Working(Box::new(Work { loaded, newest, ..work })),
            None => Phase::Done,
        }
    }

    /// Moves the session to a new bucket; the old one ends in the same step.
    fn try_to_renew(&self, world: &mut World, index: usize, work: Work) -> Phase {
        let session = work.presented.session;
        let Entry::Bucket(loaded) = work.loaded.entry() else { panic!("a bucket was admitted") };
        match world.store.get(&session).map(Kept::entry) {
            Some(Entry::Bucket(kept)) if kept.revision == loaded.revision => {
                let coin = self.begin(world, index, work.newest.data);
                if !self.breaks(Planted::RenewKeepsTheOld) {
                    self.entomb(world, session);
                }
                world.oracle.ended(session);
                Phase::Answered { cookie: Answer::Set(coin), at: world.now }
            }
            Some(Entry::Bucket(_)) => {
                self.saw(Seen::Conflict);
                match self.catch_up(world, &work) {
                    Some((loaded, newest)) => Phase::Working(Box::new(Work { loaded, newest, ..work })),
                    None => Phase::Done,
                }
            }
            // The old bucket is gone: a new one with the data admitted at load.
            _ => Phase::Answered { cookie: Answer::Set(self.begin(world, index, work.newest.data)), at: world.now },
        }
    }

    fn log_out(&self, world: &mut World, work: &Work) -> Phase {
        let session = work.presented.session;
        match world.store.get(&session).map(Kept::entry) {
            Some(Entry::Bucket(_)) => {
                self.entomb(world, session);
                world.oracle.ended(session);
            }
            // The browser may already hold a newer login's cookie.
            Some(Entry::Tombstone(_)) => return Phase::Done,
            None => {}
        }
        Phase::Answered { cookie: Answer::Remove, at: world.now }
    }

    /// The newest state, through the handoff if the token moved on; `None` if there is no way.
    fn catch_up(&self, world: &World, work: &Work) -> Option<(Kept, Coin)> {
        let kept = world.store.get(&work.presented.session)?;
        let Entry::Bucket(bucket) = kept.entry() else { return None };
        let now = time(world.now);
        if bucket.is_expired(now, &POLICY) {
            return None;
        }
        if bucket.current.matches(&self.mint.make(work.newest).fingerprint) {
            return Some((kept.clone(), work.newest));
        }
        let newest = self.mint.sealer.follow(bucket, &handoff_key(work.presented.session), now, None);
        let (newest, _): (Admitted, _) = newest.ok()?;
        Some((kept.clone(), read(&newest)))
    }

    /// A new session, with its first token.
    pub(crate) fn begin(&self, world: &mut World, index: usize, data: u8) -> Coin {
        let session = world.sessions;
        world.sessions += 1;
        let coin = Coin { session, generation: FIRST_GENERATION, maker: maker(index), data, at: world.now };
        let new = NewBucket {
            id: id(session),
            subject: None,
            label: None,
            expires_at: EXPIRES,
            idle_timeout: Some(IDLE),
            first: self.mint.make(coin).fingerprint,
        };
        world.oracle.began(session, data, world.now);
        let bucket = Bucket::create(new, time(world.now));
        world.store.insert(session, Kept::new(Entry::Bucket(bucket)));
        coin
    }

    fn write(
        &self,
        world: &mut World,
        session: u8,
        before: &Bucket,
        mut next: Bucket,
        arrival: (u32, u16),
        update: Option<u8>,
    ) {
        let now = time(world.now);
        if self.breaks(Planted::DiesAGraceAfterItsSuccessor) {
            for retired in next.retired.iter_mut().filter(|retired| retired.dead_after.is_none()) {
                retired.dead_after = Some(retired.superseded_at.after(POLICY.grace));
            }
        }
        if self.breaks(Planted::KeepsTheDead) {
            keep_the_dead(before, &mut next);
        }
        world.faults.note_if(!is_bounded(&next, now), Fault::Unbounded);
        world.faults.note_if(world.oracle.has_ended(session) && !world.failed_over, Fault::EndedCameBack);
        world.oracle.wrote(session, arrival, update, world.now);
        let held = self.mint.find(&next.current).data;
        world.faults.note_if(!world.failed_over && held != world.oracle.committed(session), Fault::LostUpdate);
        world.store.insert(session, Kept::new(Entry::Bucket(next)));
    }

    fn entomb(&self, world: &mut World, session: u8) {
        let tombstone = Tombstone::new(id(session), time(world.now), &POLICY);
        world.store.insert(session, Kept::new(Entry::Tombstone(tombstone)));
    }

    fn revoke(&self, world: &mut World, session: u8) {
        world.store.remove(&session);
        world.oracle.ended(session);
    }

    /// Removes what is over.
    pub(crate) fn purge(&self, world: &mut World) {
        let now = time(world.now);
        let takes = |entry: &Entry| entry.purge_at() <= now || self.breaks(Planted::PurgeTakesTheLiving);
        let over: Vec<u8> = world.store.iter().filter(|(_, kept)| takes(kept.entry())).map(|(id, _)| *id).collect();
        for session in over {
            if let Some(Entry::Bucket(bucket)) = world.store.remove(&session).as_ref().map(Kept::entry) {
                self.saw(Seen::Purged);
                world.faults.note_if(!bucket.is_expired(now, &POLICY), Fault::PurgedAlive);
                world.oracle.ended(session);
            }
        }
    }
}

fn maker(index: usize) -> u8 {
    u8::try_from(index).expect("few requests") + 1
}

/// Whether a bucket that was just written keeps only what it must.
fn is_bounded(bucket: &Bucket, now: Timestamp) -> bool {
    let handoff_is_over = bucket.retired.is_empty() && now >= time_after_grace(bucket.rotated_at);
    bucket.retired.len() <= MAX_RETIRED
        && bucket.retired.iter().all(|retired| retired.is_alive(now))
        && !(handoff_is_over && bucket.handoff.is_some())
}

fn time_after_grace(at: Timestamp) -> Timestamp {
    at.after(POLICY.grace)
}

fn keep_the_dead(before: &Bucket, next: &mut Bucket) {
    let forgotten: Vec<Retired> = before
        .retired
        .iter()
        .filter(|retired| !next.retired.iter().any(|kept| kept.generation == retired.generation))
        .copied()
        .collect();
    next.retired.extend(forgotten);
}

const _: () = assert!(GRACE_TICKS == 2, "a way takes half a grace at most");
