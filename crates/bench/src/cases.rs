//! The requests that are compared. Each is one GET with a cookie, answered by a status.

mod actix;
mod application;
mod floors;
mod ours;
mod peers;
mod rocket;
mod shim;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, ensure};

pub use self::application::Answer;
use self::application::Application;
use self::ours::Passing;
pub use self::ours::{REMEMBERING, RING, RUSTCRYPTO, UNSEALED};
pub use self::shim::{SHIM, SHIM_REMEMBERING};

/// The route that looks at no session.
const UNSEEN: &str = "/unseen";
/// The route that sets a cookie, and knows no session.
const SETTING: &str = "/setting";
/// The route that reads one value of the session.
const READ: &str = "/read";
/// The route that changes one value of the session.
const WRITE: &str = "/write";
/// The route that logs in and fills a session, before anything is measured.
const FILL: &str = "/fill";

/// The case that the others of a framework are measured against.
pub const BARE: &str = "bare route";
/// Sets a cookie as long as ours: what a framework, and the client that the benchmark calls it by, take for that.
pub const BARE_SETTING: &str = "bare route that sets a cookie";
/// A layer that does nothing.
pub const NO_OP: &str = "no-op layer";

/// The frameworks, each with its own bare route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Framework {
    /// Axum 0.8.
    Axum,
    /// Actix Web 4.
    Actix,
    /// Rocket 0.5.
    Rocket,
}

impl Framework {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Axum, Self::Actix, Self::Rocket];

    /// The framework's usual choice.
    #[must_use]
    pub const fn usual(self) -> &'static str {
        match self {
            Self::Axum => "tower-sessions 0.15",
            Self::Actix => "actix-session 0.11, private cookie",
            Self::Rocket => "Rocket 0.5, private cookies",
        }
    }
}

/// The other crate that seals its cookies on Axum.
pub const PRIVATE_JAR: &str = "axum-extra 0.12, private jar";

impl fmt::Display for Framework {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Axum => "axum",
            Self::Actix => "actix-web",
            Self::Rocket => "rocket",
        })
    }
}

/// The kinds of requests, in the order in which they take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A route without any session.
    Floor,
    /// A route under the session's layer that never looks at the session.
    Unseen,
    /// A visitor without a session, whose (absent) value the handler asks for.
    Anonymous,
    /// A logged-in user, one of whose values the handler reads.
    Read,
    /// A logged-in user, one of whose values the handler changes.
    Write,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Floor, Self::Unseen, Self::Anonymous, Self::Read, Self::Write];

    fn path(self) -> &'static str {
        match self {
            Self::Floor | Self::Unseen => UNSEEN,
            Self::Anonymous | Self::Read => READ,
            Self::Write => WRITE,
        }
    }

    /// A handler that asks for the value of an absent session answers that nobody is there.
    fn status(self) -> u16 {
        if self == Self::Anonymous { 401 } else { 200 }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Floor => "no session",
            Self::Unseen => "never looked at",
            Self::Anonymous => "anonymous read",
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}

/// One application and the request that is sent to it again and again.
pub struct Case {
    /// The framework that it runs in.
    pub framework: Framework,
    /// The kind of the request.
    pub kind: Kind,
    /// The name of the side whose sessions these are.
    pub name: &'static str,
    /// The calls to the store, if it counts them.
    pub calls: Option<Arc<Calls>>,
    application: Application,
    path: &'static str,
    jar: Vec<(String, String)>,
    /// Time passes between the requests.
    passing: Option<Passing>,
}

/// The number of calls to a store.
#[derive(Debug, Default)]
pub struct Calls {
    reads: AtomicU64,
    writes: AtomicU64,
}

impl Calls {
    fn read(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    fn write(&self) {
        self.writes.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads and writes so far.
    #[must_use]
    pub fn so_far(&self) -> (u64, u64) {
        (self.reads.load(Ordering::Relaxed), self.writes.load(Ordering::Relaxed))
    }
}

/// Returns every case in the order of frameworks and kinds, with its session made and its first request answered. With
/// `counted`, stores count what they are asked.
///
/// # Errors
///
/// If one of the applications does not answer as it should.
pub async fn all(counted: bool) -> Result<Vec<Case>> {
    let mut cases = floors::all()?;
    cases.extend(ours::all(counted).await?);
    cases.extend(shim::all(counted).await?);
    cases.extend(peers::all(counted).await?);
    cases.extend(actix::all().await?);
    cases.extend(rocket::all().await?);
    cases.sort_by_key(|case| (case.framework, case.kind));
    for case in &mut cases {
        let answer = case.once().await;
        ensure!(case.is_expected(&answer), "{case} answered {}", answer.status);
        case.keep(&answer)?;
    }
    Ok(cases)
}

impl Case {
    /// Makes a case without a session. It has a cookie to carry, as long as ours, of another name: Rocket parses it
    /// whoever looks, and its client copies it.
    fn without_session(
        framework: Framework,
        kind: Kind,
        name: &'static str,
        mut application: Application,
    ) -> Result<Self> {
        let jar = vec![("other".to_owned(), "A".repeat(COOKIE_LEN))];
        application.present(&jar)?;
        Ok(Self { framework, kind, name, application, path: kind.path(), jar, calls: None, passing: None })
    }

    /// Makes a case of this kind: unless the visitor is anonymous, a session comes from the application's own `FILL` route,
    /// and its cookie is sent from then on.
    async fn new(framework: Framework, kind: Kind, name: &'static str, application: Application) -> Result<Self> {
        let mut case = Self::without_session(framework, kind, name, application)?;
        if matches!(kind, Kind::Floor | Kind::Anonymous) {
            return Ok(case);
        }
        case.jar.clear();
        let answer = case.application.answer(FILL).await;
        ensure!(answer.status == 200, "{case}: {FILL} answered {}", answer.status);
        ensure!(!answer.cookies.is_empty(), "{case}: {FILL} set no cookie");
        case.keep(&answer)?;
        Ok(case)
    }

    /// Sends one request and returns its answer: what is measured.
    pub async fn once(&mut self) -> Answer {
        self.application.answer(self.path).await
    }

    /// Returns `true` if the handler saw what it should see.
    #[must_use]
    pub fn is_expected(&self, answer: &Answer) -> bool {
        answer.status == self.kind.status()
    }

    /// Does what a browser does with an answer: presents the newest cookies from then on. Not measured.
    ///
    /// # Errors
    ///
    /// If a cookie is not what a browser would take.
    pub fn keep(&mut self, answer: &Answer) -> Result<()> {
        for header in &answer.cookies {
            let pair = header.split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            self.jar.retain(|(other, _)| other != name);
            self.jar.push((name.to_owned(), value.to_owned()));
        }
        if let Some(passing) = &self.passing {
            passing.pass();
        }
        if answer.cookies.is_empty() { Ok(()) } else { self.application.present(&self.jar) }
    }
}

/// The length of our cookie's value, with the session that is measured.
const COOKIE_LEN: usize = 770;

/// Returns the value that [`SETTING`] sets.
fn plain_cookie() -> String {
    format!("session={}; Path=/; Secure; HttpOnly; SameSite=Lax", "A".repeat(COOKIE_LEN))
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} / {} / {}", self.framework, self.kind, self.name)
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Case").field(&self.to_string()).finish_non_exhaustive()
    }
}

/// The contents of a session: 300 bytes as CBOR, of which a request reads or changes the first.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Contents {
    user_id: u64,
    name: String,
    email: String,
    cart: Vec<u32>,
    note: String,
}

const USER_ID: u64 = 4711;

impl Contents {
    fn new() -> Self {
        Self {
            user_id: USER_ID,
            name: "Ada Lovelace".to_owned(),
            email: "ada@example.org".to_owned(),
            cart: (1..=20).map(|item| item * 1000).collect(),
            note: "n".repeat(160),
        }
    }
}

/// Returns a handler's status, which says if it saw the session's value. Writes count it up.
fn status(user_id: Option<u64>) -> u16 {
    if user_id >= Some(USER_ID) { 200 } else { 401 }
}
