//! The endings of sessions: one wherever it has moved to, or all of a subject or group, one step of the store at a time.

use secure_sessions_core::{Bucket, Entry, Tombstone};

use crate::fault::Fault;
use crate::planted::Planted;
use crate::protocol::{Protocol, Seen};
use crate::subject::Subject;
use crate::world::{Answer, Ending, Everywhere, Kept, Phase, Why, Work, World};

impl Ending {
    pub(crate) fn of(work: &Work, why: Why) -> Self {
        let from = work.presented.session;
        Self { from, at: from, why }
    }
}

impl Protocol {
    /// Looks for the subject's other sessions; what it finds it ends in its next step.
    pub(crate) fn log_out_everywhere(&self, world: &World, work: &Work) -> Phase {
        let (from, subject) = (work.presented.session, work.newest.subject);
        if subject == Subject::Nobody {
            return Phase::Done; // A typed error: nobody is logged in.
        }
        let everywhere = Everywhere { subject, began: world.sessions, others: false };
        let found = self.sessions_of(world, subject, from);
        if found.is_empty() {
            return Phase::Ending(Ending::of(work, Why::LogoutEverywhere(everywhere)));
        }
        Phase::Sweeping { from, found, everywhere }
    }

    /// Ends what was found; if others were faster, it looks again.
    pub(crate) fn sweep(&self, world: &mut World, from: u8, found: &[u8], everywhere: Everywhere) -> Phase {
        let missed = self.revoke_each(world, found);
        let everywhere = Everywhere { others: true, ..everywhere };
        let more = self.sessions_of(world, everywhere.subject, from);
        if missed == 0 || more.is_empty() || self.breaks(Planted::SweepsOnce) {
            return Phase::Ending(Ending { from, at: from, why: Why::LogoutEverywhere(everywhere) });
        }
        Phase::Sweeping { from, found: more, everywhere }
    }

    /// Looks for the sessions that came from the user's session at the identity provider.
    pub(crate) fn look_for_group(&self, world: &World) -> Phase {
        Phase::EndingGroup { found: self.sessions_in_group(world), began: world.sessions }
    }

    /// Ends what was found; if others were faster, it looks again.
    pub(crate) fn end_group(&self, world: &mut World, found: &[u8], began: u8) -> Phase {
        let missed = self.revoke_each(world, found);
        (0..missed).for_each(|_| self.saw(Seen::Followed));
        let more = self.sessions_in_group(world);
        if missed == 0 || more.is_empty() || self.breaks(Planted::GroupSweepsOnce) {
            world.faults.note_if(world.oracle.any_lives(Subject::User, began), Fault::GroupLives);
            return Phase::Done;
        }
        Phase::EndingGroup { found: more, began }
    }

    /// Ends these sessions. Returns how many of them others had ended before.
    fn revoke_each(&self, world: &mut World, found: &[u8]) -> usize {
        let mut missed = 0;
        for session in found {
            if matches!(world.store.get(session).map(Kept::entry), Some(Entry::Bucket(_))) {
                self.revoke(world, *session);
            } else {
                missed += 1;
            }
        }
        missed
    }

    fn sessions_in_group(&self, world: &World) -> Vec<u8> {
        let tag = self.mint.group(Subject::User);
        let is_in = |kept: &Kept| matches!(kept.entry(), Entry::Bucket(bucket) if bucket.group == tag);
        world.store.iter().filter(|(_, kept)| is_in(kept)).map(|(id, _)| *id).collect()
    }

    fn sessions_of(&self, world: &World, subject: Subject, except: u8) -> Vec<u8> {
        let tag = self.mint.tag(subject);
        let is_of = |kept: &Kept| match (kept.entry(), &tag) {
            (Entry::Bucket(Bucket { subject: Some(subject), .. }), Some(tag)) => subject.as_bytes() == tag.as_bytes(),
            _ => false,
        };
        world.store.iter().filter(|(id, kept)| **id != except && is_of(kept)).map(|(id, _)| *id).collect()
    }

    /// One step of an ending: what it finds under the id at which it has arrived.
    pub(crate) fn end(&self, world: &mut World, index: usize, ending: Ending) -> Phase {
        let Ending { from, at, why } = ending;
        let found = match world.store.get(&at).map(Kept::shared).as_deref() {
            Some(Entry::Bucket(_)) if why == Why::Replay => {
                self.revoke(world, at);
                true
            }
            Some(Entry::Bucket(_)) => {
                self.entomb(world, at);
                world.oracle.ended(at);
                true
            }
            Some(Entry::Tombstone(Tombstone { successor: Some(next), .. })) => {
                self.saw(Seen::Followed);
                let stops = match self.planted() {
                    Some(Planted::EndingDoesNotFollow) => true,
                    Some(Planted::EndingFollowsOneStep) => at != from,
                    _ => false,
                };
                if !stops {
                    return Phase::Ending(Ending { at: next.as_bytes()[0], ..ending });
                }
                false
            }
            _ => false,
        };
        world.faults.note_if(!world.failed_over && world.oracle.lives_on(from), Fault::SuccessorLives);
        let others = match why {
            Why::Replay => return Phase::Done,
            Why::Replaced => return self.log_in(world, index, Subject::Other, 0),
            Why::Logout => false,
            Why::LogoutEverywhere(Everywhere { subject, began, others }) => {
                world.faults.note_if(world.oracle.any_lives(subject, began), Fault::SubjectLives);
                others
            }
        };
        // Under a tombstone of another's making the browser may already hold a newer login's cookie.
        if found || others || !world.store.contains_key(&from) {
            Phase::Answered { cookie: Answer::Remove, at: world.now }
        } else {
            Phase::Done
        }
    }
}
