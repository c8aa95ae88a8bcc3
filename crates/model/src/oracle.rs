//! What is true of each session, kept beside the protocol and without its code.

use crate::time::GRACE_TICKS;

/// What is true.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Oracle {
    /// From session 0 on.
    sessions: Vec<Session>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
struct Session {
    /// The updates that were committed, as bits.
    committed: u8,
    ended: bool,
    /// When the bucket was last written.
    written: u16,
    /// From generation 1 on.
    superseded: Vec<Superseded>,
}

/// When a token was superseded, and the last moment of its life once that is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Superseded {
    at: u16,
    dead_after: Option<u16>,
}

impl Oracle {
    pub(crate) fn began(&mut self, session: u8, data: u8, now: u16) {
        assert_eq!(usize::from(session), self.sessions.len());
        self.sessions.push(Session { committed: data, written: now, ..Session::default() });
    }

    pub(crate) fn ended(&mut self, session: u8) {
        self.of_mut(session).ended = true;
    }

    pub(crate) fn has_ended(&self, session: u8) -> bool {
        self.of(session).ended
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
            of.superseded.push(Superseded { at: now, dead_after: None });
        }
        let (generation, arrived) = arrival;
        for (older, superseded) in (1..generation).zip(&mut of.superseded) {
            assert!(older < generation);
            if superseded.dead_after.is_none() && superseded.at + GRACE_TICKS < arrived {
                superseded.dead_after = Some(arrived + GRACE_TICKS);
            }
        }
    }

    pub(crate) fn is_dead(&self, session: u8, generation: u32, now: u16) -> bool {
        let index = usize::try_from(generation).expect("small") - 1;
        let superseded = self.of(session).superseded.get(index);
        superseded.and_then(|superseded| superseded.dead_after).is_some_and(|dead_after| now > dead_after)
    }

    fn of(&self, session: u8) -> &Session {
        &self.sessions[usize::from(session)]
    }

    fn of_mut(&mut self, session: u8) -> &mut Session {
        &mut self.sessions[usize::from(session)]
    }
}
