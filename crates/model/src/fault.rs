//! The faults that must never occur.

/// A violation of what the protocol promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Fault {
    /// The newest token does not hold an update that was committed.
    LostUpdate = 1,
    /// A request saw something else than the newest state of its session.
    OldData = 1 << 1,
    /// A session that has ended was admitted, or its bucket came back.
    EndedCameBack = 1 << 2,
    /// An honest browser was refused although its session lives and every way was short enough.
    HonestRefused = 1 << 3,
    /// A dead token was admitted.
    DeadAdmitted = 1 << 4,
    /// A dead token was presented and its session was not revoked.
    DeadUnnoticed = 1 << 5,
    /// A token of one session led to another: session fixation.
    CrossedSessions = 1 << 6,
    /// A bucket keeps more than it needs.
    Unbounded = 1 << 7,
    /// A store that lost writes cost a session.
    LostWritePunished = 1 << 8,
    /// An idle session was admitted.
    ExpiredAdmitted = 1 << 9,
    /// The purge removed a session that was not over.
    PurgedAlive = 1 << 10,
    /// A response carried a token that was no longer the newest.
    StaleAnswer = 1 << 11,
    /// An honest browser's own request revoked its session.
    HonestRevoked = 1 << 12,
    /// A session was revoked for a token that was not dead.
    RevokedTooEarly = 1 << 13,
    /// An ending was acknowledged, and a session that it was renewed into lives.
    SuccessorLives = 1 << 14,
    /// A logout everywhere was acknowledged, and a session of the subject lives.
    SubjectLives = 1 << 15,
    /// Another subject's session began with what was there before.
    Inherited = 1 << 16,
    /// The end of a session at an identity provider was acknowledged, and a session that came from it lives.
    GroupLives = 1 << 17,
}

/// The faults that a history has shown.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Faults(u32);

impl Faults {
    pub(crate) fn note(&mut self, fault: Fault) {
        self.0 |= fault as u32;
    }

    pub(crate) fn note_if(&mut self, seen: bool, fault: Fault) {
        if seen {
            self.note(fault);
        }
    }

    pub(crate) fn has(self, fault: Fault) -> bool {
        self.0 & fault as u32 != 0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}
