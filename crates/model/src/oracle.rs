//! The truth about each session, kept beside the protocol and without its code.

use secure_sessions_core::format::MAX_RETIRED;

use crate::subject::Subject;
use crate::time::GRACE_TICKS;

/// The truth about all sessions.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Oracle {
    /// From session 0 on.
    sessions: Vec<Session>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Session {
    subject: Subject,
    /// The updates that were committed, as bits.
    committed: u8,
    ended: bool,
    /// When the bucket was last written.
    written: u16,
    /// From generation 1 on.
    superseded: Vec<Superseded>,
    /// The superseded generations that the bucket has room for, the least recently presented first.
    listed: Vec<u32>,
    /// The session that a logged-in session was renewed to, and the time.
    moved: Option<(u8, u16)>,
    /// The session that was renewed into it.
    from: Option<u8>,
}

/// When a token was superseded, and the last moment of its life once that is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Superseded {
    at: u16,
    dead_after: Option<u16>,
    pushed_out: bool,
}

impl Superseded {
    fn is_dead(&self, now: u16) -> bool {
        self.dead_after.is_some_and(|dead_after| now > dead_after)
    }
}

impl Oracle {
    pub(crate) fn began(&mut self, session: u8, subject: Subject, data: u8, now: u16) {
        assert_eq!(usize::from(session), self.sessions.len());
        self.sessions.push(Session {
            subject,
            committed: data,
            ended: false,
            written: now,
            superseded: Vec::new(),
            listed: Vec::new(),
            moved: None,
            from: None,
        });
    }

    pub(crate) fn ended(&mut self, session: u8) {
        self.of_mut(session).ended = true;
    }

    /// A session ended because it was renewed. Only a logged-in one is the same session still.
    pub(crate) fn moved(&mut self, session: u8, to: u8, now: u16) {
        self.ended(session);
        if self.of(session).subject != Subject::Nobody {
            self.of_mut(session).moved = Some((to, now));
            self.of_mut(to).from = Some(session);
        }
    }

    pub(crate) fn has_ended(&self, session: u8) -> bool {
        self.of(session).ended
    }

    /// Returns `true` if the session is alive, or one that it was renewed into.
    pub(crate) fn lives_on(&self, session: u8) -> bool {
        let of = self.of(session);
        !of.ended || of.moved.is_some_and(|(to, _)| self.lives_on(to))
    }

    /// Returns `true` if a session of this subject is alive that was among the first `began`, or was renewed from one of
    /// them.
    pub(crate) fn any_lives(&self, subject: Subject, began: u8) -> bool {
        let is_meant = |session: &Session| session.subject == subject && !session.ended;
        (0..).zip(&self.sessions).any(|(id, session)| is_meant(session) && self.root(id) < began)
    }

    fn root(&self, session: u8) -> u8 {
        self.of(session).from.map_or(session, |from| self.root(from))
    }

    pub(crate) fn subject(&self, session: u8) -> Subject {
        self.of(session).subject
    }

    pub(crate) fn committed(&self, session: u8) -> u8 {
        self.of(session).committed
    }

    pub(crate) fn last_written(&self, session: u8) -> u16 {
        self.of(session).written
    }

    /// A bucket was written for a request that came with a token of this generation; with `update`, it was a rotation.
    pub(crate) fn wrote(&mut self, session: u8, arrival: (u32, u16), update: Option<u8>, now: u16) {
        let of = self.of_mut(session);
        of.written = now;
        if let Some(bit) = update {
            of.committed |= bit;
            of.superseded.push(Superseded { at: now, dead_after: None, pushed_out: false });
            of.listed.push(u32::try_from(of.superseded.len()).expect("few"));
        }
        let (generation, arrived) = arrival;
        for (older, superseded) in (1..generation).zip(&mut of.superseded) {
            assert!(older < generation);
            if superseded.dead_after.is_none() && superseded.at + GRACE_TICKS < arrived {
                superseded.dead_after = Some(arrived + GRACE_TICKS);
            }
        }
        let Session { superseded, listed, .. } = of;
        listed.retain(|generation| !superseded[index(*generation)].is_dead(now));
        if let Some(place) = listed.iter().position(|listed| *listed == generation) {
            listed.remove(place);
            listed.push(generation);
        }
        for generation in listed.drain(..listed.len().saturating_sub(MAX_RETIRED)) {
            superseded[index(generation)].pushed_out = true;
        }
    }

    pub(crate) fn is_dead(&self, session: u8, generation: u32, now: u16) -> bool {
        self.of(session).superseded.get(index(generation)).is_some_and(|superseded| superseded.is_dead(now))
    }

    /// Returns `true` if a token may be one that was pushed out and is alive: then nobody can tell it from a dead one.
    pub(crate) fn is_crowded_out(&self, session: u8, generation: u32, now: u16) -> bool {
        let Session { superseded, listed, .. } = self.of(session);
        let mut later = superseded.iter().skip(index(generation));
        !listed.contains(&generation) && later.any(|token| token.pushed_out && !token.is_dead(now))
    }

    /// Returns `true` if a logged-in session moved on more than a grace ago.
    pub(crate) fn has_moved_on(&self, session: u8, now: u16) -> bool {
        self.of(session).moved.is_some_and(|(_, at)| now > at + GRACE_TICKS)
    }

    fn of(&self, session: u8) -> &Session {
        &self.sessions[usize::from(session)]
    }

    fn of_mut(&mut self, session: u8) -> &mut Session {
        &mut self.sessions[usize::from(session)]
    }
}

fn index(generation: u32) -> usize {
    usize::try_from(generation).expect("small") - 1
}
