//! The moves of a session to a new bucket: renewals and logins.

use secure_sessions_core::{Bucket, Entry, Tombstone};

use crate::fault::Fault;
use crate::mint::{Coin, id};
use crate::planted::Planted;
use crate::protocol::{Protocol, Seen};
use crate::subject::Subject;
use crate::time::{POLICY, time};
use crate::world::{Answer, Ending, Kept, Kind, Phase, Why, Work, World};

impl Protocol {
    /// Moves the session to a new bucket; the old one ends in the same step.
    pub(crate) fn try_to_renew(&self, world: &mut World, index: usize, work: Work) -> Phase {
        let session = work.presented.session;
        let Entry::Bucket(loaded) = work.loaded.entry() else { panic!("a bucket was admitted") };
        match world.store.get(&session).map(Kept::entry) {
            Some(Entry::Bucket(kept)) if kept.revision == loaded.revision => {
                world.faults.note_if(world.oracle.has_ended(session), Fault::EndedCameBack);
                let (subject, data) = self.after_the_move(world, index, &work);
                let coin = self.begin(world, index, subject, data);
                if world.requests[index].kind == Kind::Renew && self.breaks(Planted::RenewalLosesTheGroup) {
                    lose_the_group(world, coin.session);
                }
                let replaced = is_replaced(work.newest.subject, subject);
                world.faults.note_if(replaced && data != 0, Fault::Inherited);
                if !self.breaks(Planted::RenewKeepsTheOld) {
                    self.succeed(world, session, coin, replaced);
                }
                if replaced {
                    world.oracle.ended(session);
                } else {
                    world.oracle.moved(session, coin.session, world.now);
                }
                Phase::Answered { cookie: Answer::Set(coin), at: world.now }
            }
            Some(Entry::Bucket(_)) => {
                self.saw(Seen::Conflict);
                match self.catch_up(world, &work) {
                    Some((loaded, newest)) => Phase::Working(Box::new(Work { loaded, newest, ..work })),
                    None => Phase::Done,
                }
            }
            // The old bucket is gone.
            _ if world.requests[index].kind == Kind::Renew => Phase::Done,
            _ => {
                let (subject, data) = self.after_the_move(world, index, &work);
                if is_replaced(work.newest.subject, subject) {
                    return self.end(world, index, Ending::of(&work, Why::Replaced));
                }
                // A new one with the data admitted at load.
                self.log_in(world, index, subject, data)
            }
        }
    }

    /// Returns the subject that the session belongs to after a renewal or a login, and its data.
    fn after_the_move(&self, world: &World, index: usize, work: &Work) -> (Subject, u8) {
        let Coin { subject, data, .. } = work.newest;
        let next = match world.requests[index].kind {
            Kind::Login => Subject::User,
            Kind::LoginOther => Subject::Other,
            _ => subject,
        };
        let inherits = !is_replaced(subject, next) || self.breaks(Planted::OtherSubjectInherits);
        (next, if inherits { data } else { 0 })
    }

    /// The old session's place is taken by a tombstone.
    fn succeed(&self, world: &mut World, session: u8, coin: Coin, replaced: bool) {
        let logged_in = world.oracle.subject(session) != Subject::Nobody;
        let named = match self.planted() {
            Some(Planted::TombstoneWithoutSuccessor) => false,
            Some(Planted::AnonymousIsReplayed) => true,
            _ => logged_in && !replaced,
        };
        let kept = |session| world.store.get(session).map(Kept::entry);
        let tombstone = match (kept(&session), kept(&coin.session)) {
            (Some(Entry::Bucket(old)), Some(Entry::Bucket(next))) if named => {
                Tombstone::renewed(old, next, time(world.now), &POLICY)
            }
            _ => Tombstone::new(id(session), time(world.now), &POLICY),
        };
        world.store.insert(session, Kept::new(Entry::Tombstone(tombstone)));
    }

    /// A login of which nothing is left but its own session.
    pub(crate) fn log_in(&self, world: &mut World, index: usize, subject: Subject, data: u8) -> Phase {
        Phase::Answered { cookie: Answer::Set(self.begin(world, index, subject, data)), at: world.now }
    }
}

fn lose_the_group(world: &mut World, session: u8) {
    if let Some(Entry::Bucket(bucket)) = world.store.get(&session).map(Kept::entry) {
        let without = Bucket { group: None, ..bucket.clone() };
        world.store.insert(session, Kept::new(Entry::Bucket(without)));
    }
}

/// Returns `true` if a login is of somebody else than the subject who is logged in.
fn is_replaced(before: Subject, after: Subject) -> bool {
    before != Subject::Nobody && before != after
}
