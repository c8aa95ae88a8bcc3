//! Rules that are broken on purpose.

/// A rule of the protocol that a host breaks. The checker must find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// A commit overwrites whatever is there.
    SwapIgnoresTheRevision,
    /// A commit whose bucket is gone makes a new one under the old id.
    CommitRecreates,
    /// A login leaves the old bucket where it is.
    RenewKeepsTheOld,
    /// A request under a tombstone is led to the session that came after.
    HandoffCrossesRenew,
    /// A superseded token is refused.
    NoHandoff,
    /// A dead token is taken at its word.
    DeadIsAlive,
    /// A dead token is refused, and nothing else is done about it.
    ReplayIsIgnored,
    /// A superseded token lives for one grace, whoever knows of its successor.
    DiesAGraceAfterItsSuccessor,
    /// A response carries what was newest when its request arrived.
    StaleResponse,
    /// A bucket never forgets a superseded token.
    KeepsTheDead,
    /// A token that the bucket does not know is taken for a replay.
    LostWriteIsTheft,
    /// A token that the bucket does not know is taken at its word.
    UnrememberedIsAdmitted,
    /// The idle timeout is not looked at.
    IgnoresIdle,
    /// The purge does not look at the deadlines.
    PurgeTakesTheLiving,
    /// The tombstone of a renewed session does not name its successor.
    TombstoneWithoutSuccessor,
    /// An ending that finds a tombstone stops there.
    EndingDoesNotFollow,
    /// An ending that finds a second tombstone stops there.
    EndingFollowsOneStep,
    /// A logout everywhere does not look again after it met a renewal.
    SweepsOnce,
    /// The end of a provider's session does not look again after it met a renewal.
    GroupSweepsOnce,
    /// A renewal leaves the group of its session behind.
    RenewalLosesTheGroup,
    /// A rotation leaves the group of its session behind.
    RotationLosesTheGroup,
    /// The tombstone of an anonymous session names its successor too.
    AnonymousIsReplayed,
    /// A token of a renewed session is a replay at once.
    ReplayWithinTheGrace,
    /// A bucket forgets what was pushed out of its list.
    NoWatermark,
    /// A token that was pushed out of the list never dies.
    WatermarkNeverDies,
    /// A login as another subject takes the session's data along.
    OtherSubjectInherits,
}
