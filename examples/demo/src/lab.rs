//! The attack lab: runs real attacks against two targets of this very server, and keeps what they found.

pub mod attacks;
pub mod probe;
pub mod report;
pub mod script;
pub mod searches;
pub mod target;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use self::attacks::forge::Leaked;
use self::probe::Probe;
use self::report::Report;
use self::script::Script;
use crate::format::FormatError;
use crate::rows::Database;

/// The number of runs that are kept.
const KEPT_RUNS: usize = 64;

/// The attacks, in the order of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// An administrator's cookie, with the leaked key.
    Forge,
    /// Back to an earlier cookie.
    Rollback,
    /// A cookie after logout.
    Logout,
    /// Altered cookies.
    Flips,
    /// The store's rows.
    Store,
}

impl Attack {
    /// Every attack.
    pub const ALL: [Self; 5] = [Self::Forge, Self::Rollback, Self::Logout, Self::Flips, Self::Store];

    /// As it stands in addresses.
    #[must_use]
    pub fn slug(self) -> &'static str {
        match self {
            Self::Forge => "forge",
            Self::Rollback => "rollback",
            Self::Logout => "logout",
            Self::Flips => "flips",
            Self::Store => "store",
        }
    }

    /// The attack with this slug.
    #[must_use]
    pub fn from_slug(slug: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|attack| attack.slug() == slug)
    }

    /// Its number on the page, from 1.
    #[must_use]
    pub fn number(self) -> usize {
        1 + Self::ALL.iter().take_while(|attack| **attack != self).count()
    }

    /// Its name.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Forge => "Forge an administrator’s cookie",
            Self::Rollback => "Take a session back to an earlier cookie",
            Self::Logout => "Replay a cookie after logout",
            Self::Flips => "Flip bits in a cookie",
            Self::Store => "Read the store",
        }
    }

    /// Returns the things that the attacker is given.
    #[must_use]
    pub fn given(self) -> &'static str {
        match self {
            Self::Forge => "the real key that seals the cookies, and a captured cookie of Alice’s",
            Self::Rollback => "an earlier cookie of a session that is still alive",
            Self::Logout => "copies of every cookie of a session that was logged out",
            Self::Flips => "a good cookie of Alice’s, and the patience to alter each byte of it",
            Self::Store => "a copy of the whole database",
        }
    }

    /// Returns the attacker's plan.
    #[must_use]
    pub fn plan(self) -> &'static str {
        match self {
            Self::Forge => {
                "One session is made from nothing, and Alice’s is edited. Both decrypt without fault: they are sealed with \
                 the real key."
            }
            Self::Rollback => {
                "Alice spends a gift voucher. Then the cookie from before is presented: at once, and after her session \
                 was seen moving on."
            }
            Self::Logout => "Alice logs out. Then the copies are presented.",
            Self::Flips => "One bit is flipped in each byte, and every result is sent.",
            Self::Store => "Alice’s name, role, voucher, note and cookie are looked for in every byte of it.",
        }
    }
}

/// The reason why an attack could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// A target did not answer.
    #[error("the lab could not reach its own server: {0}")]
    Http(#[from] reqwest::Error),
    /// A target did not serve an honest user.
    #[error("`{line}` was answered with {status}, which the attack cannot go on from")]
    Unexpected {
        /// The request.
        line: String,
        /// The answer.
        status: u16,
    },
    /// A cookie is not what the lab knows.
    #[error("the lab cannot work on this cookie: {0}")]
    Format(#[from] FormatError),
    /// A cookie of the private jar could not be read or made.
    #[error("the lab cannot work on this cookie of the private jar")]
    Forge,
    /// The database could not be read.
    #[error("the lab cannot read the database: {0}")]
    Database(#[from] sqlx::Error),
    /// The database's file could not be read.
    #[error("the lab cannot read the database's file: {0}")]
    File(#[from] std::io::Error),
}

/// The lab. Cheap to clone.
#[derive(Clone)]
pub struct Lab(Arc<Inner>);

struct Inner {
    probe: Probe,
    leaked: Leaked,
    database: Database,
    grace: Duration,
    /// One run at a time, so that the events of a step are those of its request.
    turn: tokio::sync::Mutex<()>,
    runs: Mutex<VecDeque<(String, Arc<Report>)>>,
}

impl Lab {
    /// A lab without runs.
    #[must_use]
    pub fn new(probe: Probe, leaked: Leaked, database: Database, grace: Duration) -> Self {
        let (turn, runs) = (tokio::sync::Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { probe, leaked, database, grace, turn, runs }))
    }

    /// The grace of the target on secure-sessions.
    #[must_use]
    pub fn grace(&self) -> Duration {
        self.0.grace
    }

    /// Runs an attack; gives the id under which its report is kept.
    ///
    /// # Errors
    ///
    /// [`LabError`] if it could not be run to its end.
    pub async fn run(&self, attack: Attack) -> Result<String, LabError> {
        let Inner { probe, leaked, database, grace, turn, runs } = &*self.0;
        let _turn = turn.lock().await;
        let (started, clock) = (SystemTime::now(), Instant::now());
        let mut script = Script::new(probe);
        let (outcome, findings) = match attack {
            Attack::Forge => attacks::forge::run(&mut script, leaked).await,
            Attack::Rollback => attacks::rollback::run(&mut script, *grace).await,
            Attack::Logout => attacks::logout::run(&mut script, *grace).await,
            Attack::Flips => attacks::flips::run(&mut script).await,
            Attack::Store => attacks::store::run(&mut script, database, &leaked.ours).await,
        }?;
        let took = clock.elapsed();
        let report = Report { attack, started, took, steps: script.into_steps(), outcome, findings };

        let id: String = crate::format::random::<8>()?.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut runs = runs.lock().unwrap_or_else(PoisonError::into_inner);
        if runs.len() == KEPT_RUNS {
            runs.pop_front();
        }
        runs.push_back((id.clone(), Arc::new(report)));
        Ok(id)
    }

    /// The report of a run.
    #[must_use]
    pub fn report(&self, id: &str) -> Option<Arc<Report>> {
        let runs = self.0.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.iter().find(|(run, _)| run == id).map(|(_, report)| Arc::clone(report))
    }

    /// The newest run of an attack.
    #[must_use]
    pub fn newest(&self, attack: Attack) -> Option<(String, Arc<Report>)> {
        let runs = self.0.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.iter().rev().find(|(_, report)| report.attack == attack).cloned()
    }
}
