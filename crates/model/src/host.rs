//! The work of a host on a request: it judges on arrival, and commits as the engine does, one step of the store at a
//! time. Each step asks the core; a rule that is broken on purpose stands beside the one that it breaks.

use secure_sessions_core::format::MAX_RETIRED;
use secure_sessions_core::{
    Bucket, Ending as Moved, Entry, FIRST_GENERATION, NewBucket, Retired, Succession, Timestamp, Tombstone,
};

use crate::fault::Fault;
use crate::mint::{Coin, handoff_key, id, read};
use crate::planted::Planted;
use crate::protocol::{Known, Protocol, Seen};
use crate::subject::Subject;
use crate::time::{EXPIRES, GRACE_TICKS, IDLE, POLICY, time};
use crate::world::{Answer, BURST, Ending, Kept, Kind, Phase, Who, Why, Work, World};

/// The outcome of a request's first judgement.
enum Judged {
    Admitted {
        newest: Coin,
        owed: bool,
    },
    JustEnded {
        moved: Option<u8>,
    },
    Refused,
    /// The session under this id is to be revoked, wherever it has moved to.
    Replayed(u8),
}

impl Protocol {
    /// A request arrives and is judged.
    pub(crate) fn arrive(&self, world: &mut World, index: usize, cookie: Coin) {
        let session = cookie.session;
        // Before the judgement, which may itself end the session.
        let excused = world.stolen
            || world.failed_over
            || world.slept
            || world.oracle.has_ended(session)
            || world.oracle.is_crowded_out(session, cookie.generation, world.now);
        let judged = match world.store.get(&session).cloned() {
            Some(kept) => match kept.entry() {
                Entry::Bucket(bucket) => self.judge(world, &kept, bucket, cookie),
                Entry::Tombstone(tombstone) => self.under_tombstone(world, tombstone, cookie),
            },
            None => Judged::Refused,
        };
        let honest = world.requests[index].who == Who::Browser;
        if matches!(judged, Judged::Refused | Judged::Replayed(_)) {
            world.faults.note_if(honest && !excused, Fault::HonestRefused);
        }
        if let Judged::Replayed(id) = judged {
            let may_revoke = world.stolen || world.missed || world.failed_over;
            world.faults.note_if(honest && !may_revoke && world.oracle.lives_on(id), Fault::HonestRevoked);
        }
        world.requests[index].phase = match judged {
            Judged::Refused => Phase::Done,
            Judged::Replayed(_) if self.breaks(Planted::ReplayIsIgnored) => Phase::Done,
            Judged::Replayed(id) => Phase::Ending(Ending { from: id, at: id, why: Why::Replay }),
            Judged::JustEnded { moved } => Phase::JustEnded { moved },
            Judged::Admitted { newest, owed } => {
                self.check_admission(world, cookie, newest);
                self.touch(world, cookie, world.now);
                let loaded = world.store.get(&newest.session).expect("its bucket was just judged").clone();
                Phase::Working(Box::new(Work { presented: cookie, arrived: world.now, loaded, newest, owed }))
            }
        };
    }

    fn judge(&self, world: &mut World, kept: &Kept, bucket: &Bucket, cookie: Coin) -> Judged {
        let (now, session) = (time(world.now), cookie.session);
        let verdict = self.judged.get((kept.clone(), cookie, world.now), |_| {
            let mut bucket = bucket.clone();
            if self.breaks(Planted::IgnoresIdle) {
                bucket.idle_timeout = None;
            }
            let opened = self.mint.sealer.open(self.mint.make(cookie).token.clone()).expect("sealed here");
            Known::of(&self.mint.sealer.admit(&bucket, opened, now, None, &POLICY))
        });
        let dead = world.oracle.is_dead(session, cookie.generation, world.now);
        let judged = match verdict {
            Known::Current(newest) => Judged::Admitted { newest, owed: false },
            Known::Superseded if self.breaks(Planted::NoHandoff) => Judged::Refused,
            Known::Superseded => {
                self.saw(Seen::Handoff);
                // A bucket keeps its handoff for as long as a superseded token lives.
                let newest = self.follow(kept, world.now).expect("a live token leads to the newest");
                Judged::Admitted { newest, owed: true }
            }
            Known::Replayed if self.breaks(Planted::DeadIsAlive) => Judged::Admitted { newest: cookie, owed: false },
            Known::Replayed => {
                self.saw(Seen::Replay);
                Judged::Replayed(session)
            }
            Known::Evicted => {
                self.saw(Seen::CrowdedOut);
                Judged::Refused
            }
            Known::Unremembered if self.breaks(Planted::UnrememberedIsAdmitted) => {
                Judged::Admitted { newest: cookie, owed: false }
            }
            Known::Unremembered => {
                self.saw(Seen::Unremembered);
                if self.breaks(Planted::LostWriteIsTheft) {
                    self.revoke(world, session);
                }
                let gone = !matches!(world.store.get(&session).map(Kept::entry), Some(Entry::Bucket(_)));
                world.faults.note_if(gone, Fault::LostWritePunished);
                Judged::Refused
            }
            Known::Expired => {
                self.saw(Seen::Expired);
                Judged::Refused
            }
        };
        let crowded_out = world.oracle.is_crowded_out(session, cookie.generation, world.now);
        let is_replay = matches!(judged, Judged::Replayed(_)) && !self.breaks(Planted::ReplayIsIgnored);
        if !world.failed_over {
            world.faults.note_if(is_replay && (!dead || crowded_out), Fault::RevokedTooEarly);
        }
        if dead && !world.failed_over {
            world.faults.note_if(matches!(judged, Judged::Admitted { .. }), Fault::DeadAdmitted);
            let excused = crowded_out || bucket.is_expired(now, &POLICY) || world.oracle.has_ended(session);
            world.faults.note_if(!is_replay && !excused, Fault::DeadUnnoticed);
        }
        judged
    }

    fn under_tombstone(&self, world: &mut World, tombstone: &Tombstone, cookie: Coin) -> Judged {
        let next = world.store.get(&(cookie.session + 1)).map(Kept::entry);
        if let (Some(Entry::Bucket(bucket)), true) = (next, self.breaks(Planted::HandoffCrossesRenew)) {
            return Judged::Admitted { newest: self.mint.find(&bucket.current), owed: true };
        }
        let successor = tombstone.successor.map(|id| id.as_bytes()[0]);
        let judged = match (tombstone.ending(time(world.now), &POLICY), successor) {
            (Moved::Recent, Some(successor)) if self.breaks(Planted::ReplayWithinTheGrace) => {
                Judged::Replayed(successor)
            }
            (Moved::Recent, successor) => Judged::JustEnded { moved: successor.map(|_| cookie.session) },
            (Moved::Replayed(_), Some(successor)) => {
                self.saw(Seen::MovedOn);
                Judged::Replayed(successor)
            }
            (Moved::Replayed(_) | Moved::Past, _) => Judged::Refused,
        };
        let moved_on = world.oracle.has_moved_on(cookie.session, world.now);
        let is_replay = matches!(judged, Judged::Replayed(_));
        world.faults.note_if(is_replay && !moved_on, Fault::RevokedTooEarly);
        let lives_on = world.oracle.lives_on(cookie.session);
        world.faults.note_if(moved_on && lives_on && !is_replay && !world.slept, Fault::DeadUnnoticed);
        judged
    }

    /// Checks the conditions that must hold when a request is let in.
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
            world.oracle.wrote(session, (presented.generation, arrived), None, world.now);
            self.write(world, session, Kept::new(Entry::Bucket(self.spoilt(&bucket, next))));
        }
    }

    /// One step of a handler that is done: it answers, or finds that others were faster and must try again.
    pub(crate) fn work(&self, world: &mut World, index: usize) {
        let kind = world.requests[index].kind;
        let next = match world.requests[index].phase.clone() {
            // A login always ends logged in. (Nothing was admitted that could be carried over.)
            Phase::JustEnded { .. } if kind == Kind::Login => self.log_in(world, index, Subject::User, 0),
            Phase::JustEnded { .. } if kind == Kind::LoginOther => self.log_in(world, index, Subject::Other, 0),
            Phase::JustEnded { moved: Some(from) } if kind == Kind::Logout => {
                self.end(world, index, Ending { from, at: from, why: Why::Logout })
            }
            // Nobody is logged in who could log out everywhere; nothing else comes of it either.
            Phase::JustEnded { .. } => Phase::Done,
            Phase::Working(work) => match kind {
                Kind::Read => self.end_of_read(world, &work),
                Kind::Write | Kind::Burst => self.try_to_rotate(world, index, *work),
                Kind::Renew | Kind::Login | Kind::LoginOther => self.try_to_renew(world, index, *work),
                Kind::Logout => self.end(world, index, Ending::of(&work, Why::Logout)),
                Kind::LogoutEverywhere => self.log_out_everywhere(world, &work),
                Kind::ProviderLogout => panic!("the provider has no session here"),
            },
            Phase::Sweeping { from, found, everywhere } => self.sweep(world, from, &found, everywhere),
            Phase::Planned => self.look_for_group(world),
            Phase::EndingGroup { found, began } => self.end_group(world, &found, began),
            Phase::Ending(ending) => self.end(world, index, ending),
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
        let swaps = match world.store.get(&session).map(Kept::entry) {
            Some(Entry::Bucket(kept)) => {
                kept.revision == loaded.revision || self.breaks(Planted::SwapIgnoresTheRevision)
            }
            _ => self.breaks(Planted::CommitRecreates),
        };
        if swaps {
            let changes = if world.requests[index].kind == Kind::Burst { BURST } else { 1 };
            let (kept, newest) = self.changed.get((work.clone(), index, world.now), |(work, index, now)| {
                let (mut bucket, mut newest) = (loaded.clone(), work.newest);
                for _ in 0..changes {
                    (bucket, newest) = self.rotate(*now, *index, work, &bucket, newest);
                }
                (Kept::new(Entry::Bucket(bucket)), newest)
            });
            for _ in 0..changes {
                let arrival = (work.presented.generation, work.arrived);
                world.oracle.wrote(session, arrival, Some(bit(index)), world.now);
            }
            self.write(world, session, kept);
            return Phase::Answered { cookie: Answer::Set(newest), at: world.now };
        }
        self.saw(Seen::Conflict);
        match self.catch_up(world, &work) {
            Some((loaded, newest)) => Phase::Working(Box::new(Work { loaded, newest, ..work })),
            None => Phase::Done,
        }
    }

    /// Issues the session's next token.
    fn rotate(&self, now: u16, index: usize, work: &Work, bucket: &Bucket, newest: Coin) -> (Bucket, Coin) {
        let coin = Coin {
            generation: bucket.next_generation().expect("few generations"),
            maker: maker(index),
            data: newest.data | bit(index),
            at: now,
            ..newest
        };
        let minted = self.mint.make(coin);
        let succession = Succession {
            fingerprint: minted.fingerprint,
            handoff: minted.handoff.clone(),
            subject: self.mint.tag(coin.subject),
            group: self.mint.group(coin.subject).filter(|_| !self.breaks(Planted::RotationLosesTheGroup)),
            label: None,
            expires_at: EXPIRES,
            idle_timeout: Some(IDLE),
        };
        let arrival = work.presented.arrived(&self.mint, time(work.arrived));
        let next = bucket.rotated(&arrival, succession, time(now), &POLICY).expect("few generations");
        (self.spoilt(bucket, next), coin)
    }

    /// The newest state, through the handoff if the token moved on; `None` if there is no way.
    pub(crate) fn catch_up(&self, world: &World, work: &Work) -> Option<(Kept, Coin)> {
        let kept = world.store.get(&work.presented.session)?;
        let Entry::Bucket(bucket) = kept.entry() else { return None };
        let now = time(world.now);
        if bucket.is_expired(now, &POLICY) {
            return None;
        }
        if bucket.current.matches(&self.mint.make(work.newest).fingerprint) {
            return Some((kept.clone(), work.newest));
        }
        Some((kept.clone(), self.follow(kept, world.now)?))
    }

    /// Returns the token in a bucket's handoff for the tokens of its session.
    fn follow(&self, kept: &Kept, now: u16) -> Option<Coin> {
        self.followed.get((kept.clone(), now), |(kept, now)| {
            let Entry::Bucket(bucket) = kept.entry() else { return None };
            let key = handoff_key(bucket.id.as_bytes()[0]);
            let newest = self.mint.sealer.follow(bucket, &key, time(*now), None);
            newest.ok().map(|(newest, _)| read(&newest))
        })
    }

    /// A new session, with its first token.
    pub(crate) fn begin(&self, world: &mut World, index: usize, subject: Subject, data: u8) -> Coin {
        let session = world.sessions;
        world.sessions += 1;
        let coin = Coin { session, subject, generation: FIRST_GENERATION, maker: maker(index), data, at: world.now };
        let new = NewBucket {
            id: id(session),
            subject: self.mint.tag(subject),
            group: self.mint.group(subject),
            label: None,
            expires_at: EXPIRES,
            idle_timeout: Some(IDLE),
            first: self.mint.make(coin).fingerprint,
        };
        world.oracle.began(session, subject, data, world.now);
        let bucket = Bucket::create(new, time(world.now));
        world.store.insert(session, Kept::new(Entry::Bucket(bucket)));
        coin
    }

    /// The next bucket of a host that breaks a rule.
    fn spoilt(&self, before: &Bucket, mut next: Bucket) -> Bucket {
        if self.breaks(Planted::DiesAGraceAfterItsSuccessor) {
            for retired in next.retired.iter_mut().filter(|retired| retired.dead_after.is_none()) {
                retired.dead_after = Some(retired.superseded_at.after(POLICY.grace));
            }
        }
        match self.planted() {
            Some(Planted::KeepsTheDead) => keep_the_dead(before, &mut next),
            Some(Planted::NoWatermark) => next.evicted = None,
            Some(Planted::WatermarkNeverDies) => {
                next.evicted = next.evicted.or(before.evicted);
                next.evicted.iter_mut().for_each(|evicted| evicted.dead_after = None);
            }
            _ => {}
        }
        next
    }

    /// Writes a bucket, and checks what must be true of it.
    fn write(&self, world: &mut World, session: u8, kept: Kept) {
        let Entry::Bucket(bucket) = kept.entry() else { panic!("only buckets are written") };
        world.faults.note_if(!is_bounded(bucket, time(world.now)), Fault::Unbounded);
        world.faults.note_if(world.oracle.has_ended(session) && !world.failed_over, Fault::EndedCameBack);
        let held = self.mint.find(&bucket.current).data;
        world.faults.note_if(!world.failed_over && held != world.oracle.committed(session), Fault::LostUpdate);
        world.store.insert(session, kept);
    }

    pub(crate) fn entomb(&self, world: &mut World, session: u8) {
        let tombstone = Tombstone::new(id(session), time(world.now), &POLICY);
        world.store.insert(session, Kept::new(Entry::Tombstone(tombstone)));
    }

    pub(crate) fn revoke(&self, world: &mut World, session: u8) {
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

/// The update that a request makes.
fn bit(index: usize) -> u8 {
    1 << index
}

fn maker(index: usize) -> u8 {
    u8::try_from(index).expect("few requests") + 1
}

/// Returns `true` if a bucket that was just written keeps only the entries that it must.
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
