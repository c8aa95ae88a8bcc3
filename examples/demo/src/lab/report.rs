//! The findings of an attack's run.

use std::time::{Duration, SystemTime};

use super::Attack;
use super::probe::{Exchange, Pair};
use super::searches::StoreFindings;

/// A run of one attack on both targets.
#[derive(Debug)]
pub struct Report {
    /// Which attack.
    pub attack: Attack,
    /// The time at which it began.
    pub started: SystemTime,
    /// The time that it took.
    pub took: Duration,
    /// The requests that were sent, and their answers.
    pub steps: Vec<Step>,
    /// The result on each target.
    pub outcome: Pair<Outcome>,
    /// The other findings that there are to show.
    pub findings: Findings,
}

/// One request to each target.
#[derive(Debug)]
pub struct Step {
    /// The event, described in a sentence.
    pub title: String,
    /// The purpose of the step.
    pub role: StepRole,
    /// Both exchanges.
    pub exchanges: Pair<Exchange>,
}

/// The purpose of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepRole {
    /// Prepares the attack.
    Preparation,
    /// Is the attack: a good server refuses it.
    Attack,
    /// Is an honest request: a good server serves it although it is under attack.
    Honest,
    /// Shows what became of the session; either answer has its reason.
    Aftermath,
}

/// The result of an attack on one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// In a word.
    pub verdict: Verdict,
    /// In a sentence or two.
    pub text: String,
}

/// The result of an attack, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The attack failed.
    Held,
    /// The attack succeeded.
    Broken,
    /// There is nothing to attack.
    NotApplicable,
    /// The run did not go as planned, and proves nothing.
    Inconclusive,
}

impl Verdict {
    /// As the badge says it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Broken => "broken",
            Self::NotApplicable => "nothing to attack",
            Self::Inconclusive => "inconclusive",
        }
    }

    /// For the style sheet.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Broken => "broken",
            Self::NotApplicable => "neutral",
            Self::Inconclusive => "unsure",
        }
    }
}

impl Outcome {
    /// Held if the first is true, broken if only the second is, inconclusive if neither.
    #[must_use]
    pub fn decide(held: bool, broken: bool, if_held: &str, if_broken: &str) -> Self {
        match (held, broken) {
            (true, false) => Self { verdict: Verdict::Held, text: if_held.to_owned() },
            (false, true) => Self { verdict: Verdict::Broken, text: if_broken.to_owned() },
            _ => Self {
                verdict: Verdict::Inconclusive,
                text: "The answers are not what this attack expects in either case. See the steps.".to_owned(),
            },
        }
    }
}

/// The findings of an attack besides its steps.
#[derive(Debug, Default)]
pub enum Findings {
    /// Nothing.
    #[default]
    None,
    /// The parts of a cookie in which bits were flipped, and the answers.
    Flips(Pair<Vec<FlippedPart>>),
    /// The store's content, and what was looked for in it.
    Store(StoreFindings),
}

/// The flips within one part of a cookie.
#[derive(Debug, Clone)]
pub struct FlippedPart {
    /// The part's name.
    pub name: &'static str,
    /// The number of its bytes, each flipped once.
    pub bytes: usize,
    /// The number of altered cookies that were refused.
    pub refused: usize,
    /// The events that they raised, each with its number.
    pub events: Vec<(&'static str, usize)>,
}
